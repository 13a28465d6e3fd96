"""2.1: any picture becomes what the network was trained on."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from lab5 import assignment
from lab5.preprocess import CIFAR10_MEAN, CIFAR10_STD, preprocess, preprocess_batch

MODES = ["1", "L", "P", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "LAB", "HSV", "LA", "PA"]
DEEP_MODES = ["I", "F", "I;16", "I;16L", "I;16B"]
BLACK, WHITE = (0 - CIFAR10_MEAN) / CIFAR10_STD, (1 - CIFAR10_MEAN) / CIFAR10_STD  # (3,)


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


def pixels_of(arr: np.ndarray) -> np.ndarray:
    """(1, 3, 32, 32) normalised -> (32, 32, 3) in 0..255."""
    return (arr[0].transpose(1, 2, 0) * CIFAR10_STD + CIFAR10_MEAN) * 255


def random_image(mode: str, size: tuple[int, int], seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    deep = {"I": np.int32, "F": np.float32}.get(mode, "<u2" if mode.startswith("I;16") else None)
    if deep is not None:
        values = rng.integers(0, 65536, size[::-1]).astype(deep)
        if mode == "F":
            values /= 257
        if mode == "I;16B":
            values = values.astype(">u2")
        return Image.frombytes(mode, size, values.tobytes())
    colours = Image.fromarray(rng.integers(0, 256, (*size[::-1], 4), dtype=np.uint8), "RGBA")
    if mode in ("RGBA", "RGBa"):
        return colours.convert(mode)
    if mode == "PA":
        return colours.convert("RGB").convert("P").convert("PA")
    if mode == "LAB":
        return Image.merge("LAB", colours.split()[:3])
    return colours.convert("LA") if mode == "LA" else colours.convert("RGB").convert(mode)


@settings(deadline=None, max_examples=150)
@given(
    mode=st.sampled_from(MODES + DEEP_MODES),
    width=st.integers(1, 200),
    height=st.integers(1, 200),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_mode_and_size_gives_one_normalised_float32_image(mode, width, height, seed):
    image = random_image(mode, (width, height), seed)
    before = image.tobytes()
    x = preprocess(image)
    assert x.shape == (1, 3, 32, 32)
    assert x.dtype == np.float32
    assert x.flags["C_CONTIGUOUS"]
    tolerance = 1e-5
    assert (x[0].min((1, 2)) >= BLACK - tolerance).all()
    assert (x[0].max((1, 2)) <= WHITE + tolerance).all()
    assert (image.mode, image.size, image.tobytes()) == (mode, (width, height), before)


@settings(deadline=None, max_examples=60)
@given(
    mode=st.sampled_from(["1", "L", "P", "RGB", "CMYK", "YCbCr"]),
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    seed=st.integers(0, 2**32 - 1),
)
def test_ordinary_pictures_go_through_the_assignments_pipeline(mode, width, height, seed):
    image = random_image(mode, (width, height), seed)
    np.testing.assert_array_equal(preprocess(image), as_the_assignment_writes_it(image))


@given(seed=st.integers(0, 2**32 - 1))
def test_a_32x32_picture_is_only_normalised(seed):
    image = random_image("RGB", (32, 32), seed)
    np.testing.assert_allclose(preprocess(image), in_pure_numpy(np.asarray(image)), atol=2e-6)


def test_a_batch_is_the_same_as_one_at_a_time():
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    one_by_one = np.concatenate([preprocess(Image.fromarray(image)) for image in images])
    np.testing.assert_array_equal(preprocess_batch(images), one_by_one)


@given(alpha=st.integers(0, 255), colour=st.tuples(*[st.integers(0, 255)] * 3))
def test_alpha_is_composited_on_white(alpha, colour):
    found = pixels_of(preprocess(Image.new("RGBA", (50, 20), (*colour, alpha))))
    expected = np.array(colour) * alpha / 255 + 255 * (1 - alpha / 255)
    assert np.abs(found - expected).max() <= 2  # two 8-bit roundings


@pytest.mark.parametrize("mode", ["P", "L", "RGB", "1"])
def test_a_transparent_colour_of_a_png_becomes_white(mode):
    image = Image.new(mode, (32, 32), 0)
    image.info["transparency"] = (0, 0, 0) if mode == "RGB" else 0
    assert pixels_of(preprocess(image)).min() > 254.9


@pytest.mark.parametrize("mode", DEEP_MODES)
def test_deep_grey_is_scaled_not_clipped(mode):
    full = 255 if mode == "F" else 65535
    ramp = np.tile(np.linspace(0, full, 32), (32, 1))
    kind = {"I": "<i4", "F": "<f4", "I;16B": ">u2"}.get(mode, "<u2")
    image = Image.frombytes(mode, (32, 32), ramp.astype(kind).tobytes())
    np.testing.assert_allclose(pixels_of(preprocess(image))[..., 0], ramp * 255 / full, atol=0.51)


def test_a_float_picture_from_0_to_1_is_scaled():
    ramp = np.tile(np.linspace(0, 1, 32, dtype=np.float32), (32, 1))
    image = Image.frombytes("F", (32, 32), ramp.tobytes())
    np.testing.assert_allclose(pixels_of(preprocess(image))[..., 0], ramp * 255, atol=0.51)


def test_not_a_number_becomes_black():
    image = Image.frombytes("F", (32, 32), np.full((32, 32), np.nan, np.float32).tobytes())
    np.testing.assert_allclose(pixels_of(preprocess(image)), 0, atol=1e-3)


@pytest.mark.parametrize("suffix", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_whatever_the_format(suffix, orientation):
    corners = np.zeros((64, 48, 3), np.uint8)
    corners[:32, :24] = 255, 0, 0
    corners[32:, :24] = 0, 255, 0
    corners[32:, 24:] = 0, 0, 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(corners).save(file, suffix, exif=exif)
    turned = Image.open(io.BytesIO(file.getvalue()))
    turned.load()
    upright = ImageOps.exif_transpose(turned).convert("RGB")
    difference = preprocess(Image.open(file)) - as_the_assignment_writes_it(upright)
    assert np.abs(difference).max() < 3 / 255 / 0.24  # two roundings of the resize


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_same_picture_always_gives_the_same_bytes(seed):
    image = random_image("RGBA", (97, 41), seed)
    assert preprocess(image).tobytes() == preprocess(image.copy()).tobytes()
