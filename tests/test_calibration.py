"""Calibration readers: the handed-out one's interface and numbers, and those of the other modes."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnxruntime.quantization import CalibrationDataReader
from PIL import Image

from lab5.assignment import REAL_IMAGES
from lab5.calibration import CIFARLikeCalibReader, even_batches, handed_out_reader
from lab5.errors import CalibrationError, DataMissing
from lab5.model import BasicBlock, ResNet18
from lab5.preprocess import preprocess, preprocess_batch
from lab5.study import synthetic
from lab5.study.calibration import calibrate
from lab5.study.synthetic import dead_leaves, synthetic_images


def everything(reader):
    """All images of a reader, (N, 3, 32, 32)."""
    batches = []
    while (feed := reader.get_next()) is not None:
        ((name, batch),) = feed.items()
        assert name == "input"
        assert batch.dtype == np.float32
        batches.append(batch)
    return np.concatenate(batches)


@pytest.fixture
def small():
    """The network at the smallest cost: random weights, statistics of its own."""
    torch.manual_seed(0)
    return ResNet18(BasicBlock).eval()


def test_the_handed_out_interface_gives_noise_without_a_folder():
    reader = CIFARLikeCalibReader(image_dir=None, input_name="input", batch_size=1, num_batches=50)
    assert isinstance(reader, CalibrationDataReader)
    noise = everything(reader)
    assert noise.shape == (50, 3, 32, 32)
    assert abs(noise.mean()) < 0.05
    assert reader.get_next() is None
    reader.rewind()
    assert (everything(reader) == noise).all()
    assert everything(CIFARLikeCalibReader()).shape == (320, 3, 32, 32)  # its defaults


@given(st.integers(1, 40), st.integers(1, 4))
def test_noise_is_what_the_notebook_draws_after_seeding(size, count):
    np.random.seed(0)
    drawn = [np.random.randn(size, 3, 32, 32).astype(np.float32) for _ in range(count)]
    found = CIFARLikeCalibReader(batch_size=size, num_batches=count).batches
    assert [batch.shape for batch in found] == [batch.shape for batch in drawn]
    assert all((a == b).all() for a, b in zip(found, drawn, strict=True))


def test_the_default_is_50_batches_of_one():
    assert [batch.shape for batch in handed_out_reader().batches] == [(1, 3, 32, 32)] * 50


@pytest.fixture
def folder(tmp_path):
    for i, suffix in enumerate(("png", "jpg", "jpeg", "bmp", "JPG")):
        Image.fromarray(dead_leaves(1, seed=i)[0]).resize((40, 50)).save(tmp_path / f"{i}.{suffix}")
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def test_a_folder_of_pictures(folder):
    images = everything(CIFARLikeCalibReader(image_dir=str(folder), batch_size=2, num_batches=10))
    assert len(images) == 5
    with Image.open(folder / "0.png") as picture:
        assert (images[:1] == preprocess(picture)).all()
    few = CIFARLikeCalibReader(image_dir=folder, batch_size=2, num_batches=1)
    assert len(everything(few)) == 2


def test_a_damaged_picture_is_named(folder):
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(CalibrationError, match=r"broken\.png"):
        CIFARLikeCalibReader(image_dir=folder)


def test_litter_is_no_picture(folder):
    for name in ("._0.png", ".ipynb_checkpoints/0.png", "__MACOSX/0.png", "sub/._1.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"\0\5\x16\7")
    assert len(everything(calibrate(str(folder))(None).reader)) == 5


def test_modes(small, folder, monkeypatch, tmp_path):
    made = np.ones((3, 3, 32, 32), "f4")
    monkeypatch.setattr(synthetic, "synthetic_images", lambda model: made)
    assert everything(calibrate("synthetic")(small).reader).shape == (3, 3, 32, 32)
    assert len(everything(calibrate("random")(small).reader)) == 50
    assert len(everything(calibrate(str(folder))(None).reader)) == 5
    for bad in (str(tmp_path / "none"), "typo", "auto", str(folder / "0.png")):
        with pytest.raises(CalibrationError, match="neither one of"):
            calibrate(bad)
    monkeypatch.setenv("LAB5_CACHE", str(tmp_path / "empty"))
    with pytest.raises(DataMissing):
        calibrate("cifar10")(None)


@pytest.mark.cifar10
def test_real_images_come_from_the_training_split(cifar10):
    images = everything(calibrate("cifar10")(None).reader)
    assert (images == preprocess_batch(cifar10.train.images[: len(images)])).all()
    assert len(images) == REAL_IMAGES


def test_weights_without_finite_gradients_are_refused(small, monkeypatch):
    few = functools.partial(synthetic_images, count=2, steps=1)
    monkeypatch.setattr(synthetic, "synthetic_images", few)
    with torch.no_grad():
        small.layer2[0].left[1].weight.fill_(float("inf"))
    with pytest.raises(CalibrationError, match="not finite"):
        calibrate("synthetic")(small)


@given(st.integers(1, 600))
def test_even_batches_are_equal_parts_of_at_most_32(count):
    images = np.arange(count)[:, None]
    parts = even_batches(images)
    assert (np.concatenate(parts) == images).all()
    assert len({len(part) for part in parts}) == 1
    assert len(parts[0]) <= 32
