"""What the checks feed to the hand-in's models: seeded, made without a data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab5.assignment import CIFAR10_MEAN, CIFAR10_STD, IMAGE_SIZE

if TYPE_CHECKING:
    import numpy as np

_SHAPE = (3, IMAGE_SIZE, IMAGE_SIZE)


def parity() -> np.ndarray:
    """(2, 3, 32, 32) float32 for comparing two implementations of one network."""
    return scenes(2, seed=1)


def scenes(count: int, seed: int) -> np.ndarray:
    """(N, 3, 32, 32) float32, normalised: a shaded background with blobs and bars of random colours."""
    import numpy as np

    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:IMAGE_SIZE, 0:IMAGE_SIZE] / (IMAGE_SIZE - 1)
    images = np.empty((count, *_SHAPE))
    for image in images:
        from_, to, angle = rng.random(3), rng.random(3), rng.random() * 2 * np.pi
        ramp = (np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.5)) + 0.5
        image[:] = from_[:, None, None] * (1 - ramp) + to[:, None, None] * ramp
        for _ in range(rng.integers(2, 9)):
            cx, cy, size, squeeze = (
                rng.random(),
                rng.random(),
                rng.uniform(0.05, 0.4),
                rng.uniform(0.3, 2),
            )
            distance = np.hypot((x - cx) * squeeze, y - cy)
            mask = np.clip((size - distance) * IMAGE_SIZE, 0, 1)
            image[:] = image * (1 - mask) + rng.random(3)[:, None, None] * mask
        image += rng.normal(0, 0.02, _SHAPE)
    pixels = np.clip(images, 0, 1)
    mean, std = np.array(CIFAR10_MEAN), np.array(CIFAR10_STD)
    found: np.ndarray = ((pixels - mean[:, None, None]) / std[:, None, None]).astype(np.float32)
    return found
