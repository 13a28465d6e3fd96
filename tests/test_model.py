"""1.1 and 1.2: the network is the assignment's, and only its weights are taken."""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from lab5.errors import CheckpointError
from lab5.checkpoint import load_model
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


def saved(path, value):
    torch.save(value, path)
    return path


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


def wrap_module(state):
    return {f"module.{name}": value for name, value in state.items()}


WRAPPERS = {
    "plain": (lambda s: s, []),
    "state_dict": (lambda s: {"state_dict": s, "epoch": 3}, ["'state_dict'"]),
    "model": (lambda s: {"model": s, "optimizer": {"lr": 0.1}}, ["'model'"]),
    "both": (lambda s: {"state_dict": {"model": s}}, ["'state_dict'", "'model'"]),
    "DataParallel": (wrap_module, ["'module.'"]),
    "all": (lambda s: {"state_dict": wrap_module(s)}, ["'state_dict'", "'module.'"]),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_wrapped_checkpoints(tmp_path, state, network, wrapper):
    wrap, mentioned = WRAPPERS[wrapper]
    model, notes = load_model(saved(tmp_path / "a.pth", wrap(state)))
    assert len(notes) == len(mentioned)
    assert all(word in note for word, note in zip(mentioned, notes, strict=True))
    for found, expected in zip(model.parameters(), network.parameters(), strict=True):
        assert torch.equal(found, expected)
    again = ResNet18(BasicBlock)
    load_weights(again, wrap(state))  # the notebook's way takes the same ones
    assert torch.equal(again.fc.weight, network.fc.weight)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_load_as_float32(tmp_path, state, dtype):
    cast = {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}
    model, notes = load_model(saved(tmp_path / "a.pth", cast))
    assert notes == []
    for name, value in model.state_dict().items():
        assert value.dtype in (torch.float32, torch.int64)
        assert torch.equal(value, cast[name].to(value.dtype))


def test_the_format_before_torch_1_6_loads(tmp_path, state, network):
    path = tmp_path / "old.pth"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    assert torch.equal(load_model(path)[0].fc.weight, network.fc.weight)


def test_parameters_that_ask_for_gradients_load(tmp_path, network):
    path = saved(tmp_path / "a.pth", network.state_dict(keep_vars=True))
    assert not load_model(path)[0].training


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def rejected(path, *words):
    with pytest.raises(CheckpointError) as caught:
        load_model(path)
    error = caught.value
    assert all(word in error.en for word in words), error.en
    assert any("一" <= c <= "鿿" for c in error.zh)
    return error


def test_missing(tmp_path):
    error = rejected(tmp_path / "best_model.pth", "There is no file")
    assert str(tmp_path) in error.zh
    rejected(tmp_path, "There is no file")  # a folder is none


FILES = {
    "empty": (b"", "0 bytes"),
    "a web page": (b"<!DOCTYPE html><html>404</html>", "web page"),
    "a Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
    "zeros": (bytes(1000), "no PyTorch file"),
    "another zip": (b"PK\3\4" + bytes(18), "damaged"),
    "a pickle": (pickle.dumps({"fc.bias": 1}), "tensors"),
    "half a pickle": (b"\x80\x02}q\x00(", ""),
}


@pytest.mark.parametrize("kind", FILES)
def test_no_checkpoint(tmp_path, kind):
    content, word = FILES[kind]
    (tmp_path / "a.pth").write_bytes(content)
    rejected(tmp_path / "a.pth", word)


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("share", [0.001, 0.5, 0.9999])
def test_truncated(tmp_path, state, new, share):
    path = tmp_path / "a.pth"
    torch.save(state, path, _use_new_zipfile_serialization=new)
    os.truncate(path, int(path.stat().st_size * share))
    rejected(path, "a.pth")


@settings(max_examples=100)
@given(st.binary(max_size=100), st.sampled_from([b"", b"\x80\x02", b"\x80\x04", b"PK\3\4"]))
def test_any_bytes(tmp_path_factory, content, start):
    path = tmp_path_factory.getbasetemp() / "any.pth"
    path.write_bytes(start + content)
    rejected(path, "any.pth")


@pytest.mark.parametrize("where", ["alone", "in the state dict", "as a key", "in an old file"])
def test_code_is_not_run(tmp_path, state, where):
    evil = Evil(tmp_path / "ran")
    value = {"alone": evil, "as a key": {"fc.bias": state["fc.bias"], "x": {"y": [evil]}}}
    path = tmp_path / "a.pth"
    torch.save(
        value.get(where, state | {"fc.bias": evil}),
        path,
        _use_new_zipfile_serialization=where != "in an old file",
    )
    rejected(path, "Nothing of it was run", "state_dict()")
    assert not (tmp_path / "ran").exists()


def test_plain_pickled_code_is_not_run(tmp_path):
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        (tmp_path / "a.pth").write_bytes(pickle.dumps(Evil(tmp_path / "ran"), protocol))
        rejected(tmp_path / "a.pth", "Nothing of it was run")
    assert not (tmp_path / "ran").exists()


def test_a_whole_pickled_model_is_told_apart(tmp_path, network):
    rejected(saved(tmp_path / "a.pth", network), "a whole pickled model")


def test_code_in_a_second_pickle_of_the_zip_is_not_run(tmp_path, state):
    path = saved(tmp_path / "a.pth", state)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a/evil.pkl", pickle.dumps(Evil(tmp_path / "ran")))
    with contextlib.suppress(CheckpointError):
        load_model(path)
    assert not (tmp_path / "ran").exists()


def change(name, value):
    return lambda s: s | {name: value(s[name])}


CONTENTS = {
    "a list": (lambda s: [1, 2], ["is a list", "state dict"]),
    "nothing": (lambda s: None, ["is a NoneType"]),
    "numbered": (lambda s: {1: torch.zeros(1)}, ["expected a state dict"]),
    "empty": (lambda s: {}, ["missing: conv1.0.weight", "more"]),
    "one missing": (lambda s: {k: v for k, v in s.items() if k != "fc.bias"}, ["missing: fc.bias"]),
    "one too many": (lambda s: s | {"x.y": torch.zeros(1)}, ["unexpected: x.y"]),
    "torchvision's names": (
        lambda s: {k.replace("left.0", "conv1"): v for k, v in s.items()},
        ["missing: layer1.0.left.0.weight", "more"],
    ),
    "100 classes": (
        change("fc.weight", lambda v: torch.zeros(100, 512)),
        ["fc.weight: shape (100, 512), expected (10, 512)"],
    ),
    "transposed": (change("fc.weight", lambda v: v.T), ["shape (512, 10)"]),
    "as large as a disk": (
        change("fc.weight", lambda v: torch.zeros(1).expand(10**7, 10**7)),
        ["expected (10, 512)"],
    ),
    "no tensor": (change("fc.bias", lambda v: 1.0), ["fc.bias: a float, expected a tensor"]),
    "NaN": (change("fc.bias", lambda v: v * math.nan), ["fc.bias: not finite"]),
    "infinite": (change("conv1.1.bias", lambda v: v / 0), ["conv1.1.bias: not finite"]),
    "too large for float32": (change("fc.bias", lambda v: v.double() * 1e300), ["not finite"]),
    "overflown float16": (change("fc.bias", lambda v: (v * 1e9).half()), ["not finite"]),
    "a negative variance": (change("conv1.1.running_var", lambda v: -v), ["negative variance"]),
    "complex": (change("fc.bias", lambda v: v.to(torch.complex64)), ["no plain tensor"]),
    "sparse": (change("fc.weight", lambda v: v.to_sparse()), ["no plain tensor"]),
    "without storage": (change("fc.bias", lambda v: v.to("meta")), ["no plain tensor"]),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("fault", CONTENTS)
def test_another_networks_or_spoiled_weights(tmp_path, state, fault):
    spoil, words = CONTENTS[fault]
    rejected(saved(tmp_path / "a.pth", spoil(state)), *words)


def test_a_long_list_of_faults_is_cut(tmp_path):
    error = rejected(saved(tmp_path / "a.pth", {}), "never load it with strict=False")
    assert len(error.en.splitlines()) < 20
    assert f"… {len(expected_shapes()) - 12} more" in error.en


# The repository's weights


def test_the_repositorys_weights_load(model, weights):
    assert not model.training
    state = torch.load(weights, weights_only=True)
    assert {v.dtype for v in state.values()} == {torch.float16, torch.int64}
    assert weights.stat().st_size < 23e6


@pytest.mark.cifar10
def test_the_repositorys_weights_recognise_pictures(model, cifar10):
    from lab5.evaluate import top1, torch_logits

    test = cifar10.test.first(200)
    logits = torch_logits(model, test.images)
    assert np.isfinite(logits).all()
    assert top1(logits, test.labels) > 85  # 94.2 on all: four standard deviations of 200 images
