"""Calibration images from the network alone: deterministic, nearer to what it was trained on."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from lab5.model import BasicBlock, ResNet18
from lab5.preprocess import CIFAR10_MEAN, CIFAR10_STD, preprocess_batch
from lab5.study.synthetic import dead_leaves, match_batchnorm, synthetic_images


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
from lab5.study.synthetic import synthetic_images
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
