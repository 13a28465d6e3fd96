"""1.1 and 1.2: the network is the assignment's, and only its weights are taken."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from lab5.model import BasicBlock, ResNet18, load_weights

# The reference: names, shapes and arithmetic of the handed-out resnet18.py, without its classes.

STAGES = ((1, 64, 64, 1), (2, 64, 128, 2), (3, 128, 256, 2), (4, 256, 512, 2))


def expected_shapes():
    shapes = {}

    def conv_and_norm(conv, norm, inputs, outputs, kernel):
        shapes[f"{conv}.weight"] = (outputs, inputs, kernel, kernel)
        for name in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{norm}.{name}"] = (outputs,)
        shapes[f"{norm}.num_batches_tracked"] = ()

    conv_and_norm("conv1.0", "conv1.1", 3, 64, 3)
    for stage, inputs, outputs, _ in STAGES:
        for block in (0, 1):
            prefix = f"layer{stage}.{block}"
            first = inputs if block == 0 else outputs
            conv_and_norm(f"{prefix}.left.0", f"{prefix}.left.1", first, outputs, 3)
            conv_and_norm(f"{prefix}.left.3", f"{prefix}.left.4", outputs, outputs, 3)
            if first != outputs:
                conv_and_norm(f"{prefix}.shortcut.0", f"{prefix}.shortcut.1", first, outputs, 1)
    shapes["fc.weight"], shapes["fc.bias"] = (10, 512), (10,)
    return shapes


def reference(state, x):
    """The assignment's network in eval mode, on plain functions: (N, 3, 32, 32) -> (N, 10)."""

    def conv_and_norm(x, conv, norm, stride, padding):
        x = F.conv2d(x, state[f"{conv}.weight"], stride=stride, padding=padding)
        mean, var = state[f"{norm}.running_mean"], state[f"{norm}.running_var"]
        x = (x - mean[:, None, None]) / torch.sqrt(var + 1e-5)[:, None, None]
        return x * state[f"{norm}.weight"][:, None, None] + state[f"{norm}.bias"][:, None, None]

    x = conv_and_norm(x, "conv1.0", "conv1.1", 1, 1).clamp(min=0)
    for stage, _, _, stride in STAGES:
        for block in (0, 1):
            p, s = f"layer{stage}.{block}", stride if block == 0 else 1
            left = conv_and_norm(x, f"{p}.left.0", f"{p}.left.1", s, 1).clamp(min=0)
            left = conv_and_norm(left, f"{p}.left.3", f"{p}.left.4", 1, 1)
            if f"{p}.shortcut.0.weight" in state:
                x = conv_and_norm(x, f"{p}.shortcut.0", f"{p}.shortcut.1", s, 0)
            x = (left + x).clamp(min=0)
    return x.mean((2, 3)) @ state["fc.weight"].T + state["fc.bias"]


@pytest.fixture(scope="module")
def state():
    """Random weights with lively BatchNorm statistics; copy it before changing anything."""
    generator = torch.Generator().manual_seed(5)
    state = {}
    for name, shape in expected_shapes().items():
        values = torch.rand(shape, generator=generator) + 0.5
        if len(shape) > 1:
            fan_in = math.prod(shape[1:])
            values = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5
        elif name.endswith(("bias", "running_mean")):
            values = values - 1
        elif name.endswith("num_batches_tracked"):
            values = torch.tensor(100)
        state[name] = values
    return state


@pytest.fixture(scope="module")
def network(state):
    model = ResNet18(BasicBlock)
    load_weights(model, state)
    return model


# 1.1


def test_names_and_shapes_are_the_assignments():
    found = {name: tuple(v.shape) for name, v in ResNet18(BasicBlock).state_dict().items()}
    assert found == expected_shapes()
    assert list(found) == list(expected_shapes())  # in its order, too


def test_eleven_million_parameters():
    assert sum(p.numel() for p in ResNet18(BasicBlock).parameters()) == 11_173_962


@settings(max_examples=15)
@given(n=st.integers(1, 4), scale=st.sampled_from([0, 1e-6, 1, 100]), seed=st.integers(0, 2**31))
def test_it_computes_what_the_assignments_network_does(network, state, n, scale, seed):
    x = scale * torch.randn(n, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        expected = reference({k: v.double() for k, v in state.items()}, x.double())
        found = network(x)
    assert found.shape == (n, 10)
    error = (found - expected).abs().max() / expected.abs().max().clamp(min=1)
    assert error < 1e-5


def test_the_number_of_classes_is_an_argument():
    assert ResNet18(BasicBlock, num_classes=7)(torch.zeros(2, 3, 32, 32)).shape == (2, 7)


@pytest.mark.parametrize(("inputs", "outputs", "stride"), [(4, 4, 1), (4, 4, 2), (4, 6, 1)])
def test_a_block_has_a_shortcut_where_the_shape_changes(inputs, outputs, stride):
    block = BasicBlock(inputs, outputs, stride).eval()
    assert len(block.shortcut) == (0 if (inputs, stride) == (outputs, 1) else 2)
    assert block(torch.randn(1, inputs, 8, 8)).shape == (1, outputs, 8 // stride, 8 // stride)


def test_it_trains():
    model = ResNet18(BasicBlock).train()
    model(torch.randn(2, 3, 32, 32)).sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


# 1.2


def test_loading_is_strict_and_ends_in_eval_mode(state):
    model = ResNet18(BasicBlock).train()
    load_weights(model, state)
    assert not any(module.training for module in model.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name].to(value.dtype))
    for wrong in (state | {"extra": torch.zeros(1)}, dict(list(state.items())[1:])):
        with pytest.raises(RuntimeError):
            load_weights(ResNet18(BasicBlock), wrong)


def test_a_flop_counters_numbers_are_no_weights(state):
    counts = {
        f"{at}total_{what}": torch.zeros(1) for at in ("", "fc.") for what in ("ops", "params")
    }
    model = ResNet18(BasicBlock)
    load_weights(model, counts | state)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


# The repository's weights


def test_the_repositorys_weights_load(model, weights):
    assert not model.training
    state = torch.load(weights, weights_only=True)
    assert {v.dtype for v in state.values()} == {torch.float16, torch.int64}
    assert weights.stat().st_size < 23e6


@pytest.mark.cifar10
def test_the_repositorys_weights_recognise_pictures(model, cifar10):
    from lab5.study.evaluate import top1, torch_logits

    test = cifar10.test.first(200)
    logits = torch_logits(model, test.images)
    assert np.isfinite(logits).all()
    assert top1(logits, test.labels) > 85  # 94.2 on all: four standard deviations of 200 images
