"""2.1: a picture becomes what the network was trained on, by the assignment's five steps."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lab5 import assignment
from lab5.preprocess import CIFAR10_MEAN, CIFAR10_STD, preprocess, preprocess_batch

MODES = ["1", "L", "P", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "LAB", "HSV", "LA", "PA"]


def as_the_assignment_writes_it(image: Image.Image) -> np.ndarray:
    img = image.convert("RGB").resize((32, 32))
    arr = np.asarray(img, dtype=np.float32) / 255.0
    arr = (arr - CIFAR10_MEAN) / CIFAR10_STD
    return arr.transpose(2, 0, 1)[None, ...]


def in_pure_numpy(pixels: np.ndarray) -> np.ndarray:
    """(32, 32, 3) uint8 -> (1, 3, 32, 32), from the numbers alone."""
    out = np.empty((1, 3, 32, 32))
    for c, (mean, std) in enumerate(
        zip(assignment.CIFAR10_MEAN, assignment.CIFAR10_STD, strict=True)
    ):
        out[0, c] = (pixels[:, :, c] / 255 - mean) / std
    return out


def random_image(mode: str, size: tuple[int, int], seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    colours = Image.fromarray(rng.integers(0, 256, (*size[::-1], 4), dtype=np.uint8), "RGBA")
    if mode in ("RGBA", "RGBa"):
        return colours.convert(mode)
    if mode == "PA":
        return colours.convert("RGB").convert("P").convert("PA")
    if mode == "LAB":
        return Image.merge("LAB", colours.split()[:3])
    return colours.convert("LA") if mode == "LA" else colours.convert("RGB").convert(mode)


@settings(deadline=None, max_examples=60)
@given(
    mode=st.sampled_from(MODES),
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    seed=st.integers(0, 2**32 - 1),
)
def test_it_is_the_assignments_five_steps(mode, width, height, seed):
    image = random_image(mode, (width, height), seed)
    before = image.tobytes()
    x = preprocess(image)
    np.testing.assert_array_equal(x, as_the_assignment_writes_it(image))
    assert x.shape == (1, 3, 32, 32)
    assert x.dtype == np.float32
    assert (image.mode, image.size, image.tobytes()) == (mode, (width, height), before)


@given(seed=st.integers(0, 2**32 - 1))
def test_a_32x32_picture_is_only_normalised(seed):
    image = random_image("RGB", (32, 32), seed)
    np.testing.assert_allclose(preprocess(image), in_pure_numpy(np.asarray(image)), atol=2e-6)


def test_a_batch_is_the_same_as_one_at_a_time():
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    one_by_one = np.concatenate([preprocess(Image.fromarray(image)) for image in images])
    np.testing.assert_array_equal(preprocess_batch(images), one_by_one)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_same_picture_always_gives_the_same_bytes(seed):
    image = random_image("RGBA", (97, 41), seed)
    assert preprocess(image).tobytes() == preprocess(image.copy()).tobytes()
