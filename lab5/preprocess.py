"""2.1: a picture to what the network takes."""

from __future__ import annotations

import numpy as np

from lab5 import assignment

CIFAR10_MEAN = np.array(assignment.CIFAR10_MEAN, dtype=np.float32)
CIFAR10_STD = np.array(assignment.CIFAR10_STD, dtype=np.float32)


def preprocess(image):
    """A PIL image of any mode and size -> (1, 3, 32, 32) float32, normalised as in training.

    Alpha is composited on white, EXIF orientation applied, 16-bit and float grey scaled to 0..255.
    """
    from PIL import Image, ImageOps

    size = (32, 32)
    if image.mode[0] in "IF":  # convert("RGB") would clip these at 255, to near white
        full = 65535 if image.mode[0] == "I" else 255 if image.getextrema()[1] > 1 else 1
        grey = np.asarray(image.convert("F").resize(size)) * (255 / full)
        grey = np.nan_to_num(grey).clip(0, 255).round().astype(np.uint8)
        img = Image.fromarray(grey).convert("RGB")
    elif image.has_transparency_data:
        img = image.convert("RGBA").resize(size)
        img = Image.alpha_composite(Image.new("RGBA", size, "white"), img).convert("RGB")
    else:
        img = image.convert("RGB").resize(size)
    img.getexif()[0x0112] = image.getexif().get(0x0112, 1)  # a photograph's orientation
    img = ImageOps.exif_transpose(img)  # after the resize: as good, and 32x32 is quick to turn
    arr = np.asarray(img, dtype=np.float32) / 255.0  # (32, 32, 3), 0..1
    arr = (arr - CIFAR10_MEAN) / CIFAR10_STD
    arr = arr.transpose(2, 0, 1)  # (3, 32, 32)
    return np.ascontiguousarray(arr[None, ...])  # (1, 3, 32, 32)


def preprocess_batch(images: np.ndarray) -> np.ndarray:
    """(N, 32, 32, 3) uint8 RGB -> (N, 3, 32, 32) float32: each image as ``preprocess`` does it."""
    arrays = (np.asarray(images, dtype=np.float32) / 255.0 - CIFAR10_MEAN) / CIFAR10_STD
    return np.ascontiguousarray(arrays.transpose(0, 3, 1, 2))
