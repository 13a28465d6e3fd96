"""Calibration images for 1.4: the handed-out reader, and images made without any data.

Random noise gives the activations other ranges than photographs do, and INT8 loses accuracy. The
checkpoint itself knows better: each BatchNorm holds the mean and variance that its input had on the
training images. So random overlapping shapes, whose statistics resemble those of photographs ("dead
leaves": Lee, Mumford and Huang, 2001), are moved by a few gradient steps until the network sees the
statistics it was trained on (Yin et al., "DeepInversion", 2020). docs/int8.md has the measurements.

``dead_leaves``, ``match_batchnorm``, ``synthetic_images``, ``BatchReader`` and ``quiet_reader`` are
also what the notebook is filled with: they use nothing of lab5 but the two arrays that it has, too.
"""

from __future__ import annotations

import copy
import math
import random
from pathlib import Path

import numpy as np
import torch
from onnxruntime.quantization import CalibrationDataReader
from PIL import Image, ImageDraw, ImageFilter
from torch import nn

from lab5.assignment import IMAGE_SIZE, INPUT_NAME, REAL_IMAGES
from lab5.data import PICTURE_SUFFIXES
from lab5.errors import CalibrationError
from lab5.files import visible
from lab5.preprocess import CIFAR10_MEAN, CIFAR10_STD, preprocess, preprocess_batch

DEFAULT_MODE = "auto"
MODES = ("auto", "random", "synthetic", "cifar10")  # or a folder of pictures


def dead_leaves(count, seed=0):
    """Random discs and polygons over each other: (count, 32, 32, 3) uint8.

    Drawn at four times the size, blurred as a lens does, and averaged. The sizes follow the power law
    of natural images.
    """
    rng, pictures = random.Random(seed), []
    for _ in range(count):
        canvas = Image.new("RGB", (128, 128))
        draw = ImageDraw.Draw(canvas)
        for leaf in range(60):
            radius = (3**-2 - rng.random() * (3**-2 - 64**-2)) ** -0.5 if leaf else 256
            x, y, grey = rng.uniform(0, 128), rng.uniform(0, 128), rng.uniform(0, 255)
            colour = tuple(int(min(255, max(0, rng.gauss(grey, 60)))) for _ in range(3))
            if rng.random() < 0.5:
                draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
            else:
                angles = sorted(rng.uniform(0, 2 * math.pi) for _ in range(rng.randint(3, 6)))
                corners = [(x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles]
                draw.polygon(corners, fill=colour)
        soft = canvas.filter(ImageFilter.GaussianBlur(3))
        pictures.append(np.asarray(soft.resize((32, 32), Image.Resampling.BOX)))
    return np.stack(pictures)


def match_batchnorm(model, images, steps, rate):
    """Move ``images`` (N, 3, 32, 32) so that each BatchNorm's input has its running statistics.

    Adam on the pixels, learning rate ``rate`` falling as a cosine; ``model`` is left as it is.
    """
    model = copy.deepcopy(model).cpu().eval().requires_grad_(False)
    model = model.to(memory_format=torch.channels_last)
    losses = []

    def compare(norm, inputs):
        var, mean = torch.var_mean(inputs[0].float(), (0, 2, 3), unbiased=False)  # (C,) each
        std = (norm.running_var + norm.eps).sqrt()
        losses.append(((mean - norm.running_mean) / std).square().mean())
        losses.append(((var + norm.eps).sqrt() / std - 1).square().mean())

    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(compare)
    black = torch.from_numpy(((0 - CIFAR10_MEAN) / CIFAR10_STD)[:, None, None])  # (3, 1, 1)
    white = torch.from_numpy(((1 - CIFAR10_MEAN) / CIFAR10_STD)[:, None, None])
    x = torch.from_numpy(images).contiguous(memory_format=torch.channels_last).requires_grad_()
    adam = torch.optim.Adam([x], lr=rate)
    # bfloat16 halves the time where the processor has it; elsewhere it would be emulated.
    fast = bool(getattr(torch.cpu, "_is_avx512_bf16_supported", bool)())
    for step in range(steps):
        adam.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * step / steps)) / 2
        losses.clear()
        with torch.enable_grad(), torch.autocast("cpu", torch.bfloat16, enabled=fast):
            model(x)
            loss = sum(losses)
        adam.zero_grad()
        loss.backward()
        adam.step()
        x.data = x.data.clamp(black, white)
    return x.detach().contiguous().numpy()


def synthetic_images(model, count=128, steps=2, rate=0.15, seed=0):
    """Images for calibration made from the network alone: (count, 3, 32, 32) float32, normalised.

    Deterministic: the same weights give the same images, on one thread or more.
    """
    pictures = dead_leaves(count, seed) / np.float32(255)  # (N, 32, 32, 3)
    images = ((pictures - CIFAR10_MEAN) / CIFAR10_STD).transpose(0, 3, 1, 2)
    return match_batchnorm(model, np.ascontiguousarray(images), steps, rate)


class BatchReader(CalibrationDataReader):
    """A list of batches, (N, 3, 32, 32) float32 each, for onnxruntime's calibration.

    They are given in equal parts of at most 32: larger ones are slower, and onnxruntime's percentile
    calibration crashes on uneven ones.
    """

    def __init__(self, batches, input_name):
        self.batches, self.input_name = [], input_name
        for batch in batches:
            size = max(n for n in range(1, 33) if len(batch) % n == 0)
            self.batches += [batch[i : i + size] for i in range(0, len(batch), size)]
        self.rewind()

    def get_next(self):
        batch = next(self.iterator, None)
        return None if batch is None else {self.input_name: batch}

    def rewind(self):
        self.iterator = iter(self.batches)


def quiet_reader(reader, always, model):
    """``reader``, or a reader of synthetic images if it gives noise (or ``always``).

    Noise is told by values that no pixel can have.
    """
    reader.rewind()
    name, batch = next(iter(reader.get_next().items()))  # (N, 3, 32, 32)
    reader.rewind()
    pixels = batch * CIFAR10_STD[:, None, None] + CIFAR10_MEAN[:, None, None]
    if always or pixels.min() < -0.01 or pixels.max() > 1.01:
        reader = BatchReader([synthetic_images(model)], name)
    return reader


class CIFARLikeCalibReader(BatchReader):
    """Batches from a folder of pictures, or random normal ones when there is none.

    The interface is that of the handed-out notebook.

    Raises:
        CalibrationError: a file in the folder is no picture that can be read.
    """

    def __init__(self, image_dir=None, input_name=INPUT_NAME, batch_size=32, num_batches=10):
        files = _pictures(Path(image_dir)) if image_dir else []
        count = batch_size * num_batches
        if files:
            images = np.concatenate([_read(file) for file in files[:count]])
            count = len(images)
        else:
            shape = (count, 3, IMAGE_SIZE, IMAGE_SIZE)
            images = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
        super().__init__(
            [images[i : i + batch_size] for i in range(0, count, batch_size)], input_name
        )


def make_reader(mode: str, model: nn.Module | None, input_name: str = INPUT_NAME) -> BatchReader:
    """A ``CalibrationDataReader`` for the network ``model``.

    Args:
        mode: ``auto`` (the best that needs no download: synthetic), ``synthetic``, ``random`` (the
            handed-out notebook's 50 noise images), ``cifar10`` (training images from the cache), or
            a folder of pictures.

    Raises:
        CalibrationError: the mode is unknown, the folder holds no picture, or the images of this
            network are not finite.
        DataMissing: ``cifar10`` is not in the cache.
    """
    if mode in ("auto", "synthetic"):
        images = synthetic_images(model)
        if not np.isfinite(images).all():
            raise CalibrationError(
                "No calibration images can be made for these weights: the gradients are not finite. "
                "Check the checkpoint, or give --calibration cifar10 or a folder of pictures.",
                zh="無法為這組權重產生校準影像：梯度不是有限數。"
                "請檢查權重檔，或改用 --calibration cifar10 或圖片資料夾。",
            )
        return BatchReader([images], input_name)
    if mode == "random":
        return CIFARLikeCalibReader(None, input_name, batch_size=1, num_batches=50)
    if mode == "cifar10":
        from lab5 import data

        images = preprocess_batch(data.load().train.images[:REAL_IMAGES])
        return BatchReader([images], input_name)
    if not _pictures(Path(mode)):
        raise CalibrationError(
            f"--calibration {mode} is neither one of {', '.join(MODES)} nor a folder with pictures "
            f"({', '.join(PICTURE_SUFFIXES)}). Check the path.",
            zh=f"--calibration {mode} 不是 {'、'.join(MODES)} 之一，也不是含有圖片"
            f"（{'、'.join(PICTURE_SUFFIXES)}）的資料夾。請檢查路徑。",
        )
    return CIFARLikeCalibReader(mode, input_name, batch_size=1, num_batches=REAL_IMAGES)


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(f for f in visible(folder, "**/*") if f.suffix.lower() in PICTURE_SUFFIXES)


def _read(file: Path) -> np.ndarray:
    """A picture as (1, 3, 32, 32) float32."""
    try:
        with Image.open(file) as picture:
            return preprocess(picture)
    except Exception as error:  # Pillow raises a dozen types for a damaged file
        raise CalibrationError(
            f"{file} is no picture that can be read ({type(error).__name__}). Remove it.",
            zh=f"{file} 不是可讀取的圖片（{type(error).__name__}）。請移除它。",
        ) from error
