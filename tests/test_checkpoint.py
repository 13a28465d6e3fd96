"""1.2: checkpoints as people have them: read without running anything, or refused by what they are."""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import os
import pickle
import tarfile
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils import prune

from lab5.checkpoint import Checkpoint, load_model, open_model, read_checkpoint
from lab5.errors import CheckpointError
from lab5.grading.evidence.checkpoint import checkpoint_layers
from lab5.model import BasicBlock, ResNet18, load_weights

with torch.device("meta"):
    NETWORK = {name: value.shape for name, value in ResNet18(BasicBlock).state_dict().items()}
COUNTERS = [name for name in NETWORK if name.endswith("num_batches_tracked")]


def weights(dtype=torch.float32, seed=1.0):
    """A state dict of one value a tensor, which a file holds in a few bytes."""
    state = OrderedDict()
    for number, (name, shape) in enumerate(NETWORK.items()):
        value = (
            torch.tensor(7) if name in COUNTERS else torch.tensor(seed + number / 99, dtype=dtype)
        )
        state[name] = value.expand(shape)
    return state


def counted(state, prefix=""):
    """As thop leaves it: two counts at the top, two in each block."""
    found = OrderedDict()
    for place in ["", *(f"layer{stage}.{block}." for stage in (1, 2, 3, 4) for block in (0, 1))]:
        if place:
            found |= {k: v for k, v in state.items() if k.startswith(place)}
        else:
            found |= {f"{what}": torch.zeros(1, dtype=torch.float64) for what in THOP}
            found |= {k: v for k, v in state.items() if k.startswith("conv1")}
            continue
        found |= {place + what: torch.ones(1, dtype=torch.float64) for what in THOP}
    found |= {k: v for k, v in state.items() if k.startswith("fc")}
    return OrderedDict((prefix + k, v) for k, v in found.items())


THOP = ("total_ops", "total_params")


def prefixed(state, prefix):
    return OrderedDict((prefix + name, value) for name, value in state.items())


def saved(path, value, **how):
    torch.save(value, path, **how)
    return path


def same(found, expected):
    """The same real weights; counters may be missing."""
    names = [name for name in NETWORK if name not in COUNTERS]
    return all(torch.equal(found[name], expected[name]) for name in names)


def by_the_notebook(path, checkpoint: Checkpoint):
    """What the notebook loads: torch.load, the statements, load_weights."""
    space = {"torch": torch, "state": torch.load(path, map_location="cpu")}
    exec("\n".join(checkpoint.statements), space)
    model = ResNet18(BasicBlock)
    load_weights(model, space["state"])
    return model


# What the course hands out


def test_the_handed_out_form_loads_bit_by_bit(tmp_path, weights: Path):
    plain = torch.load(weights)
    state = counted(plain)
    assert len(state) == 140
    assert list(state)[:2] == list(THOP)
    path = saved(tmp_path / "best_model.pth", state)
    found = read_checkpoint(path)
    assert found.statements == []
    assert "thop" in found.notes[0].en
    expected = load_model(weights)[0].state_dict()
    for name, value in found.network().state_dict().items():
        assert torch.equal(value, expected[name])
    for one, other in zip(checkpoint_layers(path), checkpoint_layers(weights), strict=True):
        np.testing.assert_array_equal(one.folded, other.folded)


# As people save them

WRAPPERS = st.lists(
    st.sampled_from(
        [
            "state_dict",
            "model",
            "net",
            "model_state_dict",
            "ema_state_dict",
            "params",
            'it"s',
            "模型",
            0,
        ]
    ),
    max_size=3,
)
PREFIXES = st.lists(
    st.sampled_from(["module.", "_orig_mod.", "model.", "net.", "backbone."]), max_size=3
).map("".join)
EXTRAS = {
    "epoch": 3,
    "acc": 94.2,
    "optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.1}]},
    "classes": ["cat", "dog"],
    "loss": None,
}
READS_ONLY_HERE = {
    "best_acc": np.float64(94.2),
    "curve": np.arange(3.0),
    "args": argparse.Namespace(lr=0.1),
    "out": Path("x"),
}


@settings(max_examples=20)
@given(
    WRAPPERS,
    PREFIXES,
    st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
    st.booleans(),
    st.booleans(),
    st.sets(st.sampled_from(list(EXTRAS))),
    st.booleans(),
)
def test_any_way_of_saving_gives_the_same_weights(
    tmp_path_factory, wrappers, prefix, dtype, thop, counters, extras, legacy
):
    plain = weights(dtype)
    state = {k: v for k, v in plain.items() if counters or k not in COUNTERS}
    content = counted(state, prefix) if thop else prefixed(state, prefix)
    for wrapper in wrappers:
        content = {key: EXTRAS[key] for key in extras} | {wrapper: content}
    path = tmp_path_factory.getbasetemp() / "any-way.pth"
    saved(path, content, _use_new_zipfile_serialization=not legacy)
    found = read_checkpoint(path)
    assert same(found.state, plain)
    assert same(by_the_notebook(path, found).state_dict(), found.network().state_dict())
    assert len(found.statements) == len(wrappers) + bool(prefix)
    assert all(any("一" <= c <= "鿿" for c in note.zh) for note in found.notes)
    assert not any("torch.load" in note.en for note in found.notes)  # which reads it


@pytest.mark.parametrize("core", ["_core", "core"])
def test_numpys_values_beside_the_weights_are_passed_by(tmp_path, core):
    buffer = io.BytesIO()
    torch.save({"net": weights(), "all": {**EXTRAS, **READS_ONLY_HERE}} | READS_ONLY_HERE, buffer)
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(path, "w") as new:
        for info in old.infolist():
            content = old.read(info)
            new.writestr(info, content.replace(b"numpy._core.", b"numpy.%b." % core.encode()))
    allowed = set(torch.serialization.get_safe_globals())
    found = read_checkpoint(path)
    assert set(torch.serialization.get_safe_globals()) == allowed  # as before
    assert same(found.state, weights())
    assert "torch.load cannot read" in found.notes[0].en


def averaged(state):
    return {"n_averaged": torch.tensor(5), **prefixed(state, "module.")}


MANY = {
    "model before ema": (lambda s, o: {"ema": o, "model": s}, "['ema']"),
    "model before its average, in one": (
        lambda s, o: {
            **prefixed(o, "ema_model."),
            **prefixed(s, "model."),
            "step": torch.tensor(1),
        },
        "ema_model.",
    ),
    "only the average fits": (lambda s, o: {"model": {"a": torch.zeros(1)}, "ema": s}, None),
    "SWA": (lambda s, o: averaged(s), None),
    "the outer one": (lambda s, o: {"best": {"weights": o}, "net": s}, "['best']['weights']"),
    "Lightning": (
        lambda s, o: {
            "pytorch-lightning_version": "2.5",
            "state_dict": {**prefixed(s, "model."), "criterion.weight": torch.ones(10)},
            "hyper_parameters": {"lr": 0.1},
        },
        None,
    ),
    "flat": (lambda s, o: {"epoch": 3, "acc": 94.0, **s}, None),
    "compiled inside": (
        lambda s, o: {k.replace("layer1.", "layer1._orig_mod."): v for k, v in s.items()},
        None,
    ),
    "a tuple": (lambda s, o: ({"lr": 1}, s), None),
    "twice the same": (lambda s, o: {"model": s, "best": s}, None),
}


@pytest.mark.parametrize("kind", MANY)
def test_which_weights_are_taken(tmp_path, kind):
    make, other = MANY[kind]
    path = saved(tmp_path / "a.pth", make(weights(), weights(seed=9.0)))
    found = read_checkpoint(path)
    assert same(found.state, weights())
    assert same(by_the_notebook(path, found).state_dict(), weights())
    told = [note for note in found.notes if "would fit too" in note.en]
    assert len(told) == (other is not None)
    assert all(other in note.en for note in told)


@pytest.mark.parametrize("device", ["cuda:1", "mps"])
def test_saved_on_another_device(tmp_path, monkeypatch, device):
    monkeypatch.setattr(torch.serialization, "location_tag", lambda _: device)
    path = saved(tmp_path / "a.pth", weights())
    monkeypatch.undo()
    assert same(read_checkpoint(path).state, weights())
    checkpoint_layers(path)


def test_parameters_that_ask_for_gradients(tmp_path):
    state = {k: v if k in COUNTERS else torch.nn.Parameter(v) for k, v in weights().items()}
    assert same(load_model(saved(tmp_path / "a.pth", state))[0].state_dict(), weights())


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_safetensors(tmp_path, dtype):
    from safetensors.torch import save_file

    path = tmp_path / "best_model.pth"
    save_file({k: v.contiguous() for k, v in prefixed(weights(dtype), "model.").items()}, path)
    found = read_checkpoint(path)
    assert same(found.state, weights(dtype))
    assert "safetensors file, which the notebook's torch.load cannot read" in found.notes[0].en
    assert len(checkpoint_layers(path)) == 21


def test_commands_print_the_notes(tmp_path, capsys):
    name = "[red]"  # no markup
    open_model(saved(tmp_path / "a.pth", {name: weights()}))
    assert name in capsys.readouterr().out


def test_a_refusal_says_in_another_process_too_what_is_at_fault(tmp_path):
    for change, about in (({"fc.bias": torch.zeros(7)}, "network"), ({"fc.bias": 7}, "weights")):
        error = rejected(saved(tmp_path / "a.pth", weights() | change), "'fc.bias'")
        assert error.about == about
        there = pickle.loads(pickle.dumps(error))
        assert (there.about, there.text) == (about, error.text)


# What the file is


def rejected(path, *words):
    """Refused in both languages by the network's reader and by the grader's."""
    for read in (read_checkpoint, checkpoint_layers):
        with pytest.raises(CheckpointError) as caught:
            read(path)
        error = caught.value
        assert all(word in error.text.en for word in words), error.text.en
        assert any("一" <= c <= "鿿" for c in error.text.zh)
    return error


def test_missing(tmp_path):
    error = rejected(tmp_path / "best_model.pth", "There is no file")
    assert str(tmp_path) in error.text.zh
    rejected(tmp_path, "There is no file")  # a folder is none


def zipped(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return buffer.getvalue()


def bomb():
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("m/data.pkl", "w") as member,
    ):
        for _ in range(1025):
            member.write(bytes(2**20))
    return buffer.getvalue()


def tarred():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("best_model.pth"))
    return buffer.getvalue()


def header(text, length=None):
    return (len(text) if length is None else length).to_bytes(8, "little") + text


FILES = {
    "empty": (b"", "0 bytes"),
    "a web page": (b"<!DOCTYPE html><html>404</html>", "web page"),
    "a web page after blank lines": (b"\xef\xbb\xbf\r\n <html>", "web page"),
    "a Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
    "zeros": (bytes(1000), "begins with zeros"),
    "Keras": (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
    "new Keras": (zipped(config_dot_json="{}", model_dot_weights_dot_h5="x"), "Keras"),
    "ONNX": (b"\x08\x07\x12\x07pytorch", "ONNX"),
    "a tar": (tarred(), "unpack it"),
    "gzip": (b"\x1f\x8b\x08" + bytes(50), "unpack it"),
    "NumPy": (b"\x93NUMPY\1\0", "NumPy"),
    "npz": (zipped(a_dot_npy="x"), "npz"),
    "a notebook": (b'{"cells": []}', "JSON"),
    "a picture": (b"\x89PNG\r\n", "picture"),
    "text": (b"hello", "no PyTorch file"),
    "the first bytes of a zip": (b"PK\3\4" + bytes(18), "cut off"),
    "a zip of nothing": (zipped(), "torch.save did not write"),
    "a zip of something": (zipped(a_dot_txt="x"), "torch.save did not write"),
    "a zip of the checkpoint": (zipped(a__best_model_dot_pth="x"), "'a/best_model.pth'"),
    "a program": (zipped(m__code__a_dot_py="x", m__constants_dot_pkl="x"), "TorchScript"),
    "torch.export": (zipped(m__archive_format="pt2"), "torch.export"),
    "a plain pickle": (pickle.dumps({"fc.bias": 1}), "pickle that torch.save did not write"),
    "half a pickle": (b"\x80\x02}q\x00(", "cut off"),
    "a bomb": (bomb, "GB"),  # takes a second to make
    "safetensors that promise too much": (
        header(b'{"a":{"dtype":"F32","shape":[99999999999],"data_offsets":[0,399999999996]}}'),
        "cut off",
    ),
    "safetensors with a huge header": (header(b"{", 2**30), "cut off"),
    "safetensors that overlap": (
        header(
            b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
            b'"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
        )
        + bytes(4),
        "cut off",
    ),
}


@pytest.mark.parametrize("kind", FILES)
def test_no_checkpoint(tmp_path, kind):
    content, word = FILES[kind]
    (tmp_path / "a.pth").write_bytes(content() if callable(content) else content)
    rejected(tmp_path / "a.pth", word, "a.pth")


def test_torchscript_itself(tmp_path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "a.pth")
    rejected(tmp_path / "a.pth", "TorchScript")


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("share", [0.001, 0.5, 0.9999])
def test_truncated(tmp_path, new, share):
    path = saved(tmp_path / "a.pth", weights(), _use_new_zipfile_serialization=new)
    os.truncate(path, int(path.stat().st_size * share))
    rejected(path, "a.pth")


@settings(max_examples=100)
@given(
    st.binary(max_size=100),
    st.sampled_from([b"", b"\x80\x02", b"\x80\x04", b"PK\3\4", header(b"{")]),
)
def test_any_bytes(tmp_path_factory, content, start):
    path = tmp_path_factory.getbasetemp() / "any.pth"
    path.write_bytes(start + content)
    with pytest.raises(CheckpointError):
        read_checkpoint(path)


@settings(max_examples=30)
@given(st.data())
def test_any_damage_is_an_error_or_harmless(tmp_path_factory, data):
    path = saved(tmp_path_factory.getbasetemp() / "damaged.pth", {"net": weights()})
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with contextlib.suppress(CheckpointError):
        assert read_checkpoint(path).state.keys() >= NETWORK.keys() - set(COUNTERS)


# Nothing is run


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("where", ["alone", "in the state dict", "beside", "in an old file"])
def test_code_is_not_run(tmp_path, where):
    evil = Evil(tmp_path / "ran")
    value = {"alone": evil, "beside": {"model": weights(), "x": {"y": [evil, np.float64(1)]}}}
    path = saved(
        tmp_path / "a.pth",
        value.get(where, weights() | {"fc.bias": evil}),
        _use_new_zipfile_serialization=where != "in an old file",
    )
    rejected(path, "Nothing of it was run", "mkdir", "state_dict()")
    assert not (tmp_path / "ran").exists()


def test_plain_pickled_code_is_not_run(tmp_path):
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        (tmp_path / "a.pth").write_bytes(pickle.dumps(Evil(tmp_path / "ran"), protocol))
        rejected(tmp_path / "a.pth", "a.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("wrap", [lambda m: m, lambda m: {"model": m, "epoch": 1}])
def test_a_whole_pickled_model_is_named(tmp_path, wrap):
    path = saved(tmp_path / "a.pth", wrap(torch.nn.Linear(2, 2)))
    rejected(path, "torch.nn.modules.linear.Linear", "a whole pickled model")


def test_code_in_a_second_pickle_of_the_zip_is_not_run(tmp_path):
    path = saved(tmp_path / "a.pth", weights())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a/evil.pkl", pickle.dumps(Evil(tmp_path / "ran")))
    assert same(read_checkpoint(path).state, weights())
    assert not (tmp_path / "ran").exists()


# What the weights are


def renamed(*pairs):
    def rename(state):
        found = state
        for old, new in pairs:
            found = {k.replace(old, new): v for k, v in found.items()}
        return found

    return rename


def change(name, value):
    return lambda s: s | {name: value(s[name])}


def pruned(_):
    model = torch.nn.Module()
    model.conv1 = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))
    prune.l1_unstructured(model.conv1[0], "weight", 0.5)
    return model.state_dict()


def optimizer(_):
    layer = torch.nn.Linear(2, 2)
    adam = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 2)).sum().backward()
    adam.step()
    return {"optimizer": adam.state_dict(), "epoch": 2}


TORCHVISION = (("left.0", "conv1"), ("left.1", "bn1"), ("left.3", "conv2"), ("left.4", "bn2"))
DEEPER = {f"layer{k}.{b}.left.0.weight": torch.zeros(1) for k, n in enumerate((3, 4, 6, 3), 1) for b in range(n)}  # fmt: skip

# what is saved, with what the message begins, what else it says
CONTENTS = {
    "a list": (lambda s: [1, 2], "It holds a list", "state dict"),
    "nothing": (lambda s: None, "It holds a NoneType", ""),
    "a tensor": (lambda s: s["fc.bias"], "It holds a Tensor", ""),
    "an array": (lambda s: np.zeros(3), "It holds plain values", ""),
    "arrays": (lambda s: {k: v.numpy() for k, v in s.items()}, "'conv1.0.weight' is a numpy array", ""),
    "numbered": (lambda s: {1: torch.zeros(1)}, "1 is no name", ""),
    "empty": (lambda s: {}, "It holds a dict", "state dict"),
    "one missing": (lambda s: {k: v for k, v in s.items() if k != "fc.bias"}, "'fc.bias' is missing", ""),
    "one missing behind a prefix": (
        lambda s: {f"net.{k}": v for k, v in s.items() if k != "conv1.0.weight"},
        "'conv1.0.weight' is missing",
        "",
    ),
    "one too many": (lambda s: s | {"x.y": torch.zeros(1)}, "'x.y' is no name", ""),
    "a number among the names": (lambda s: s | {0: torch.zeros(1)}, "0 is no name", ""),
    "two that became one": (lambda s: s | {"module.fc.bias": s["fc.bias"]}, "'module.fc.bias' is no name", ""),
    "renamed": (renamed(("fc.", "head.")), "'head.weight' is no name", "'fc.weight' is missing"),
    "torchvision": (renamed(*TORCHVISION, ("shortcut", "downsample")), "'layer1.0.conv1.weight' is of torchvision's ResNet18", ""),
    "torchvision inside": (
        lambda s: {"state_dict": prefixed(renamed(*TORCHVISION, ("shortcut", "downsample"))(s), "model.backbone.")},
        "'layer1.0.conv1.weight' is of torchvision's",
        "ResNet18",
    ),
    "kuangliu": (renamed(*TORCHVISION, ("fc.", "linear.")), "'layer1.0.conv1.weight' is of pytorch-cifar's ResNet18", ""),
    "deeper": (lambda s: s | DEEPER, "'layer1.0.left.0.weight' is of the assignment's blocks, but of ResNet34", ""),
    "bottlenecks": (
        lambda s: renamed(("left.0", "conv1"))(DEEPER) | {"layer1.0.conv3.weight": torch.zeros(1)},
        "'layer1.0.conv1.weight' is of torchvision's ResNet50",
        "",
    ),
    "VGG": (lambda s: {"features.0.weight": torch.zeros(1)}, "'features.0.weight' is of a VGG", ""),
    "MobileNet": (lambda s: {"features.0.0.weight": torch.zeros(1)}, "'features.0.0.weight' is of a MobileNet", ""),
    "LeNet": (lambda s: {"conv1.weight": torch.zeros(1), "fc1.weight": torch.zeros(1)}, "'fc1.weight' is of", ""),
    "ViT": (lambda s: {"cls_token": torch.zeros(1)}, "'cls_token' is of a vision transformer", ""),
    "an encoder": (
        lambda s: {"encoder.a": torch.zeros(1), "encoder.b": torch.zeros(1)},
        "names begin with 'encoder.'",
        "",
    ),
    "pruned": (pruned, "'conv1.0.weight_orig' is of pruned weights", "prune.remove"),
    "quantised": (lambda s: s | {"conv1.0.zero_point": torch.zeros(1)}, "'conv1.0.zero_point' is of a quantised", ""),
    "quantised values": (
        change("fc.weight", lambda v: torch.quantize_per_tensor(v.contiguous(), 0.1, 0, torch.qint8)),
        "'fc.weight' holds qint8",
        "quantised",
    ),
    "whole numbers": (change("fc.weight", lambda v: v.to(torch.int8)), "'fc.weight' holds int8", ""),
    "float8": (change("fc.weight", lambda v: v.to(torch.float8_e4m3fn)), "'fc.weight' holds float8", ""),
    "an optimizer": (optimizer, "'exp_avg' is", "optimizer"),
    "an optimizer without state": (
        lambda s: torch.optim.SGD([torch.nn.Parameter(s["fc.bias"])], 0.1).state_dict(),
        "'param_groups' is of an optimizer's",
        "",
    ),
    "100 classes": (
        change("fc.weight", lambda v: torch.zeros(100, 512)),
        "'fc.weight' has shape (100, 512), expected (10, 512)",
        "",
    ),
    "as large as a disk": (
        change("fc.weight", lambda v: torch.zeros(1).expand(10**7, 10**7)),
        "'fc.weight' has shape",
        "expected (10, 512)",
    ),
    "no tensor": (change("fc.bias", lambda v: 1.0), "'fc.bias' is a float, expected a tensor", ""),
    "NaN": (change("fc.bias", lambda v: v * math.nan), "'fc.bias' is not finite", ""),
    "too large for float32": (change("fc.bias", lambda v: v.double() * 1e300), "'fc.bias' is not finite", ""),
    "overflown float16": (change("fc.bias", lambda v: (v * 1e9).half()), "'fc.bias' is not finite", ""),
    "a negative variance": (change("conv1.1.running_var", lambda v: -v), "'conv1.1.running_var' has a negative", ""),
    "complex": (change("fc.bias", lambda v: v.to(torch.complex64)), "'fc.bias' is no plain tensor", ""),
    "sparse": (change("fc.weight", lambda v: v.to_sparse()), "'fc.weight' is no plain tensor", ""),
    "nested": (change("fc.bias", lambda v: torch.nested.nested_tensor([v, v])), "'fc.bias' is no plain tensor", ""),
    "without storage": (change("fc.bias", lambda v: v.to("meta")), "'fc.bias' is no plain tensor", ""),
    "spoiled in a wrapper": (
        lambda s: {"net": prefixed(s | {"fc.bias": s["fc.bias"] * math.nan}, "module.")},
        "'fc.bias' is not finite",
        "",
    ),
    "strange names": (lambda s: {"\n\x1b[31m" + "x" * 10**6: s["fc.bias"]}, r"'\n\x1b[31mxxx", ""),
    "many names": (lambda s: dict.fromkeys(map(str, range(100_000)), s["fc.bias"]), "'0' is no name", ""),
    "many prefixes": (
        lambda s: {f"p{i}.conv1.0.weight": s["fc.bias"] for i in range(20_000)},
        "'p0.",
        "",
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("fault", CONTENTS)
def test_the_message_begins_with_what_explains_it(tmp_path, fault):
    spoil, start, word = CONTENTS[fault]
    error = rejected(
        saved(tmp_path / "a.pth", spoil(weights())), start, word, "a.pth", "strict=False"
    )
    assert error.text.en.startswith(start)
    assert len(error.text.en.splitlines()) <= 5
    assert len(error.text.en) < 1000


def test_deep_nesting(tmp_path):
    path = saved(tmp_path / "a.pth", [])
    with zipfile.ZipFile(path) as old:
        contents = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w") as new:
        for name, content in contents.items():
            deep = b"\x80\x02" + b"]" * 10**5 + b"a" * (10**5 - 1) + b"."
            new.writestr(name, deep if name.endswith("data.pkl") else content)
    rejected(path, "It holds a list")
