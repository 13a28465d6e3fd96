"""2.1: a picture to what the network takes.

In notebooks: ``preprocess``.
"""

from __future__ import annotations

import numpy as np

from lab5 import assignment

CIFAR10_MEAN = np.array(assignment.CIFAR10_MEAN, dtype=np.float32)
CIFAR10_STD = np.array(assignment.CIFAR10_STD, dtype=np.float32)


def preprocess(image):
    """A PIL image -> (1, 3, 32, 32) float32, normalised as in training: the assignment's five steps.

    What ``convert("RGB")`` alone gets wrong (16 bits, alpha, orientation) ``upright_rgb`` mends before.
    """
    img = image.convert("RGB").resize((32, 32))
    arr = np.asarray(img, dtype=np.float32) / 255.0  # (32, 32, 3), 0..1
    arr = (arr - CIFAR10_MEAN) / CIFAR10_STD
    arr = arr.transpose(2, 0, 1)  # (3, 32, 32)
    arr = arr[None, ...].astype(np.float32)  # (1, 3, 32, 32)
    return arr


def preprocess_batch(images: np.ndarray) -> np.ndarray:
    """(N, 32, 32, 3) uint8 RGB -> (N, 3, 32, 32) float32: each image as ``preprocess`` does it."""
    arrays = (np.asarray(images, dtype=np.float32) / 255.0 - CIFAR10_MEAN) / CIFAR10_STD
    return np.ascontiguousarray(arrays.transpose(0, 3, 1, 2))
