"""Calibration images: deterministic, nearer to the network's statistics than what they start from."""

from __future__ import annotations

import functools
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnxruntime.quantization import CalibrationDataReader
from PIL import Image

from lab5 import calibration
from lab5.calibration import (
    BatchReader,
    CIFARLikeCalibReader,
    dead_leaves,
    make_reader,
    match_batchnorm,
    quiet_reader,
    synthetic_images,
)
from lab5.errors import CalibrationError, DataMissing
from lab5.model import BasicBlock, ResNet18
from lab5.preprocess import CIFAR10_MEAN, CIFAR10_STD, preprocess, preprocess_batch


def everything(reader):
    """All images of a reader, (N, 3, 32, 32)."""
    batches = []
    while (feed := reader.get_next()) is not None:
        ((name, batch),) = feed.items()
        assert name == "input"
        assert batch.dtype == np.float32
        batches.append(batch)
    return np.concatenate(batches)


def in_pixels(images):
    return images * CIFAR10_STD[:, None, None] + CIFAR10_MEAN[:, None, None]


@pytest.fixture
def small():
    """The network at the smallest cost: random weights, statistics of its own."""
    torch.manual_seed(0)
    return ResNet18(BasicBlock).eval()


# Dead leaves


def test_dead_leaves_are_pictures_and_repeat():
    first, again, other = dead_leaves(8), dead_leaves(8), dead_leaves(8, seed=1)
    assert first.shape == (8, 32, 32, 3)
    assert first.dtype == np.uint8
    assert (first == again).all()
    assert (first != other).any()
    assert (first[:3] == dead_leaves(3)).all()  # more images do not change the first ones


def test_dead_leaves_are_smooth_as_photographs_are_and_use_the_whole_range():
    pictures = dead_leaves(32).astype(float)
    step = np.abs(np.diff(pictures, axis=2)).mean()
    shuffled = np.abs(pictures - np.roll(pictures, 16, axis=2)).mean()
    assert step < shuffled / 2
    assert pictures.min() < 10
    assert pictures.max() > 245


# Matching


def distance(model, images):
    """The mean distance of all BatchNorm inputs from the running statistics, in their deviations."""
    found = []

    def compare(norm, inputs):
        var, mean = torch.var_mean(inputs[0], (0, 2, 3), unbiased=False)
        std = (norm.running_var + norm.eps).sqrt()
        found.append(((mean - norm.running_mean) / std).square().mean())
        found.append(((var + norm.eps).sqrt() / std - 1).square().mean())

    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(compare) for norm in norms]
    with torch.no_grad():
        model(torch.from_numpy(images))
    for hook in hooks:
        hook.remove()
    return float(sum(found))


def test_matching_comes_nearer_and_stays_a_picture(model):
    start = preprocess_batch(dead_leaves(8))
    end = match_batchnorm(model, start.copy(), 4, 0.1)
    assert distance(model, end) < 0.6 * distance(model, start)
    assert end.shape == start.shape
    assert end.dtype == np.float32
    assert in_pixels(end).min() > -1e-5
    assert in_pixels(end).max() < 1 + 1e-5


def test_matching_changes_neither_its_input_nor_the_network(small):
    start = preprocess_batch(dead_leaves(2))
    kept, state = start.copy(), {k: v.clone() for k, v in small.state_dict().items()}
    small.train()
    match_batchnorm(small, start, 2, 0.1)
    assert small.training
    assert (start == kept).all()
    assert all((state[k] == v).all() for k, v in small.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in small.parameters())
    assert not any(m._forward_pre_hooks for m in small.modules())


def test_it_works_where_gradients_are_off(small):
    with torch.no_grad():
        images = synthetic_images(small, count=2, steps=1)
    assert np.isfinite(images).all()


OTHER_PROCESS = """
import sys, torch
from lab5.calibration import synthetic_images
from lab5.model import BasicBlock, ResNet18
torch.set_num_threads(int(sys.argv[1]))
torch.manual_seed(0)
sys.stdout.buffer.write(synthetic_images(ResNet18(BasicBlock).eval(), count=4, steps=3).tobytes())
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_every_process_and_thread_count_gives_the_same_bytes(small, threads):
    run = [sys.executable, "-c", OTHER_PROCESS, str(threads)]
    there = subprocess.run(run, check=True, capture_output=True, timeout=300).stdout
    assert there == synthetic_images(small, count=4, steps=3).tobytes()


def test_a_seed_gives_its_own_images(small):
    first, second = (synthetic_images(small, count=2, steps=1, seed=s) for s in (0, 1))
    assert (first != second).any()


# Readers


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


@given(st.integers(1, 4), st.integers(1, 4))
def test_batches_are_as_asked(size, count):
    reader = CIFARLikeCalibReader(batch_size=size, num_batches=count)
    assert [len(batch) for batch in reader.batches] == [size] * count


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


def test_modes(small, folder, monkeypatch, tmp_path):
    monkeypatch.setattr(
        calibration, "synthetic_images", lambda model: np.ones((3, 3, 32, 32), "f4")
    )
    for mode in ("auto", "synthetic"):
        assert everything(make_reader(mode, small)).shape == (3, 3, 32, 32)
    assert len(everything(make_reader("random", small))) == 50
    assert len(everything(make_reader(str(folder), None))) == 5
    for bad in (str(tmp_path / "none"), "typo", str(folder / "0.png")):
        with pytest.raises(CalibrationError, match="neither one of"):
            make_reader(bad, None)
    monkeypatch.setenv("LAB5_CACHE", str(tmp_path / "empty"))
    with pytest.raises(DataMissing):
        make_reader("cifar10", None)


@pytest.mark.cifar10
def test_real_images_come_from_the_training_split(cifar10):
    images = everything(make_reader("cifar10", None))
    assert (images == preprocess_batch(cifar10.train.images[: len(images)])).all()
    assert len(images) == calibration.REAL_IMAGES


def test_weights_without_finite_gradients_are_refused(small, monkeypatch):
    few = functools.partial(synthetic_images, count=2, steps=1)
    monkeypatch.setattr(calibration, "synthetic_images", few)
    with torch.no_grad():
        small.layer2[0].left[1].weight.fill_(float("inf"))
    with pytest.raises(CalibrationError, match="not finite"):
        make_reader("auto", small)


# What the notebook does with its reader


def test_noise_is_replaced_and_pictures_are_kept(small, folder, monkeypatch):
    made = np.zeros((2, 3, 32, 32), np.float32)
    monkeypatch.setattr(calibration, "synthetic_images", lambda model: made)
    noise = CIFARLikeCalibReader(image_dir=None, batch_size=1, num_batches=50)
    assert (everything(quiet_reader(noise, False, small)) == made).all()
    pictures = CIFARLikeCalibReader(image_dir=folder, batch_size=1, num_batches=50)
    assert quiet_reader(pictures, False, small) is pictures
    assert len(everything(pictures)) == 5  # nothing was used up by looking
    assert (everything(quiet_reader(pictures, True, small)) == made).all()


def test_a_single_noise_image_is_told_from_a_picture(monkeypatch):
    made = np.zeros((1, 3, 32, 32), np.float32)
    monkeypatch.setattr(calibration, "synthetic_images", lambda model: made)
    for seed in range(20):
        random = np.random.default_rng(seed)
        noise = random.standard_normal((1, 3, 32, 32), dtype=np.float32)
        picture = preprocess_batch(random.integers(0, 256, (1, 32, 32, 3), dtype=np.uint8))
        chosen = quiet_reader(BatchReader([noise], "x"), False, None)
        assert np.shares_memory(chosen.batches[0], made)
        chosen = quiet_reader(BatchReader([picture], "x"), False, None)
        assert np.shares_memory(chosen.batches[0], picture)


@given(st.lists(st.integers(0, 100), max_size=3))
def test_batches_are_given_in_equal_parts_of_at_most_32(sizes):
    batches = [np.arange(n)[:, None] for n in sizes]
    parts = BatchReader(batches, "x").batches
    whole = [np.concatenate([*batches, np.empty((0, 1), int)]), np.empty((0, 1), int)]
    assert (np.concatenate([*parts, whole[1]]) == whole[0]).all()
    assert all(0 < len(part) <= 32 for part in parts)
    if len(sizes) == 1:
        assert len({len(part) for part in parts}) <= 1
