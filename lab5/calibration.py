"""Calibration readers for 1.4: the handed-out one, and those of the other ``--calibration`` modes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from onnxruntime.quantization import CalibrationDataReader

from lab5.assignment import CALIBRATIONS, IMAGE_SIZE, INPUT_NAME, REAL_IMAGES, SYNTHETIC
from lab5.data import PICTURE_SUFFIXES
from lab5.errors import CalibrationError
from lab5.files import visible
from lab5.preprocess import preprocess, preprocess_batch

if TYPE_CHECKING:
    from torch import nn


class BatchReader(CalibrationDataReader):
    """Gives onnxruntime a list of batches, (N, 3, 32, 32) float32 each, as they are."""

    def __init__(self, batches, input_name):
        self.batches, self.input_name = batches, input_name
        self.rewind()

    def get_next(self):
        batch = next(self.iterator, None)
        return None if batch is None else {self.input_name: batch}

    def rewind(self):
        self.iterator = iter(self.batches)


def even_batches(images: np.ndarray) -> list[np.ndarray]:
    """``images`` (N, ...) in equal parts of at most 32.

    Larger ones are slower, and onnxruntime's percentile calibration crashes on uneven ones.
    """
    size = max(n for n in range(1, 33) if len(images) % n == 0)
    return [images[i : i + size] for i in range(0, len(images), size)]


class CIFARLikeCalibReader(BatchReader):
    """Batches from a folder of pictures, or random normal ones when there is none.

    The interface and the numbers are those of the handed-out notebook after ``np.random.seed(0)``.

    Raises:
        CalibrationError: a file in the folder is no picture that can be read.
    """

    def __init__(self, image_dir=None, input_name=INPUT_NAME, batch_size=32, num_batches=10):
        files = _pictures(Path(image_dir)) if image_dir else []
        if files:
            images = np.concatenate([_read(file) for file in files[: batch_size * num_batches]])
            batches = [images[i : i + batch_size] for i in range(0, len(images), batch_size)]
        else:
            random, shape = np.random.RandomState(0), (batch_size, 3, IMAGE_SIZE, IMAGE_SIZE)
            batches = [random.randn(*shape).astype(np.float32) for _ in range(num_batches)]
        super().__init__(batches, input_name)


def make_reader(mode: str, model: nn.Module | None, input_name: str = INPUT_NAME) -> BatchReader:
    """A ``CalibrationDataReader`` for the network ``model``.

    Args:
        mode: ``random`` (the handed-out notebook's 50 noise images), ``synthetic`` (images made from
            the network, the only mode that needs it), ``cifar10`` (training images from the cache),
            or a folder of pictures.

    Raises:
        CalibrationError: the mode is unknown, the folder holds no picture, or the images of this
            network are not finite.
        DataMissing: ``cifar10`` is not in the cache.
    """
    if mode == "random":
        return CIFARLikeCalibReader(None, input_name, batch_size=1, num_batches=50)
    if mode == SYNTHETIC:
        from lab5.synthetic import synthetic_images

        images = synthetic_images(model)
        if not np.isfinite(images).all():
            raise CalibrationError(
                "No calibration images can be made for these weights: the gradients are not finite. "
                "Check the checkpoint, or give --calibration cifar10 or a folder of pictures.",
                zh="無法為這組權重產生校準影像：梯度不是有限數。"
                "請檢查權重檔，或改用 --calibration cifar10 或圖片資料夾。",
            )
        return BatchReader(even_batches(images), input_name)
    if mode == "cifar10":
        from lab5 import data

        images = preprocess_batch(data.load().train.images[:REAL_IMAGES])
        return BatchReader(even_batches(images), input_name)
    if not _pictures(Path(mode)):
        raise CalibrationError(
            f"--calibration {mode} is neither one of {', '.join(CALIBRATIONS)} nor a folder with pictures "
            f"({', '.join(PICTURE_SUFFIXES)}). Check the path.",
            zh=f"--calibration {mode} 不是 {'、'.join(CALIBRATIONS)} 之一，也不是含有圖片"
            f"（{'、'.join(PICTURE_SUFFIXES)}）的資料夾。請檢查路徑。",
        )
    return CIFARLikeCalibReader(mode, input_name, batch_size=1, num_batches=REAL_IMAGES)


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(f for f in visible(folder, "**/*") if f.suffix.lower() in PICTURE_SUFFIXES)


def _read(file: Path) -> np.ndarray:
    """A picture as (1, 3, 32, 32) float32."""
    from PIL import Image

    from lab5.decoding import upright_rgb

    try:
        with Image.open(file) as picture:
            return preprocess(upright_rgb(picture))
    except Exception as error:  # Pillow raises a dozen types for a damaged file
        raise CalibrationError(
            f"{file} is no picture that can be read ({type(error).__name__}). Remove it.",
            zh=f"{file} 不是可讀取的圖片（{type(error).__name__}）。請移除它。",
        ) from error
