"""Calibration images made from the checkpoint alone: ``--calibration synthetic``.

Random noise gives the activations other ranges than photographs do, and INT8 loses a little accuracy.
The checkpoint itself knows better: each BatchNorm holds the mean and variance that its input had on
the training images. So random overlapping shapes, whose statistics resemble those of photographs
("dead leaves": Lee, Mumford and Huang, 2001), are moved by a few gradient steps until the network sees
the statistics it was trained on (Yin et al., "DeepInversion", 2020). lab5.study.refine is the other half of
this option; docs/int8.md has the measurements.

In notebooks, with this option: everything here; it uses nothing of lab5 but two arrays that they have.
"""

from __future__ import annotations

import copy
import math
import random

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter
from torch import nn

from lab5.preprocess import CIFAR10_MEAN, CIFAR10_STD


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
