"""Files: an interrupted write leaves the old one; a command finds its own; a model has its data."""

from __future__ import annotations

import os
import stat
from importlib import import_module
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from lab5 import files
from lab5.errors import Lab5Error, UsageError
from lab5.files import find, model_files, model_size, replacing, visible
from lab5.grading.evidence.onnx_file import OnnxFile
from lab5.report.measure import measure
from lab5.study import data
from lab5.study.data import Cifar10, Split
from lab5.web.spaces import export_space
from tests.conftest import FIXTURES


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_the_new_file_takes_the_name(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"old")
    with replacing(path) as temporary:
        temporary.write_bytes(b"new")
        assert path.read_bytes() == b"old"
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".onnx"
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["model.onnx"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_keeps_the_old_file(tmp_path, error):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"old")

    def interrupted():
        with replacing(path) as temporary:
            temporary.write_bytes(b"half a new o")
            raise error

    with pytest.raises(error):
        interrupted()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["model.onnx"]


def test_a_failure_leaves_nothing_where_nothing_was(tmp_path):
    with pytest.raises(ValueError, match="stop"), replacing(tmp_path / "a.json"):
        raise ValueError("stop")
    assert names(tmp_path) == []


def test_a_writer_that_removed_the_temporary_file_fails(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), replacing(path) as temporary:
        temporary.unlink()
    assert path.read_text() == "old"


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "none" / "a.json"):
        pytest.fail("there is nowhere to write to")


def test_a_folder_is_not_replaced(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError, match="a"), replacing(tmp_path / "a") as temporary:
        temporary.write_text("file")
    assert names(tmp_path) == ["a"]


def test_two_writers_do_not_mix(tmp_path):
    path = tmp_path / "a"
    with replacing(path) as first, replacing(path) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"  # its block ended last
    assert names(tmp_path) == ["a"]


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_the_users_umask_counts(tmp_path, umask):
    before = os.umask(umask)
    try:
        with replacing(tmp_path / "a") as temporary:
            temporary.write_text("x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o666 & ~umask


# Where a command finds what it is not given


def test_what_is_given_is_taken(tmp_path):
    assert find(tmp_path / "none.pth", "best_model.pth") == tmp_path / "none.pth"


@pytest.mark.parametrize("name", ["best_model.pth", "EAI_lab5.ipynb"])
def test_the_current_folder_comes_before_the_repository(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find(None, name) == FIXTURES / name
    Path(name).mkdir()  # no file
    assert find(None, name) == FIXTURES / name
    Path(name).rmdir()
    Path(name).touch()
    assert find(None, name).resolve() == tmp_path / name


@pytest.mark.parametrize("name", ["no such file", ""])
def test_where_it_was_looked_for_is_said(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as error:
        find(None, name)
    assert all(
        str(place) in text
        for place in (tmp_path, files.FIXTURES)
        for text in (error.value.text.en, error.value.text.zh)
    )


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("package", ["N26140692"]),
        ("app", ["--no-share"]),
        ("report", ["N26140692"]),
        ("screenshots", []),
        ("evaluate", []),
        ("bench", []),
        ("bench", ["--quality"]),
        ("quantize", ["{fp32}", "int8.onnx", "--calibration", "synthetic"]),
    ],
)
def test_a_command_finds_the_repositorys_weights(
    module, arguments, fp32, tmp_path, monkeypatch, capsys
):
    """From a folder with nothing in it."""
    monkeypatch.setenv("LAB5_CACHE", str(tmp_path / "cache"))
    images = Split(np.zeros((20, 32, 32, 3), np.uint8), np.arange(20) % 10)
    data.store(Cifar10(images, images))
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")

    def read_checkpoint(path):
        raise Lab5Error(f"the weights are {path}", zh="…")

    monkeypatch.setattr("lab5.checkpoint.read_checkpoint", read_checkpoint)
    main = import_module(f"lab5.commands.{module}").main
    assert main([word.format(fp32=fp32) for word in arguments]) == 1
    assert f"the weights are {FIXTURES / 'best_model.pth'}" in capsys.readouterr().err


# A model and its data


def saved(path, *locations, values=1000):
    """A model with a weight of ``values`` float32 in each of ``locations``; what it should weigh."""
    tensors = [numpy_helper.from_array(np.ones(values, np.float32), "inside")]
    for i, location in enumerate(locations):
        tensor = TensorProto(name=f"w{i}", data_type=TensorProto.FLOAT, dims=[values])
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)
        tensors.append(tensor)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [values])
    nodes = [helper.make_node("Sum", [t.name for t in tensors], ["y"])]
    model = helper.make_model(
        helper.make_graph(nodes, "g", [], [y], tensors),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=7,
    )
    path.write_bytes(model.SerializeToString())
    return path


def test_a_model_without_data_files(tmp_path):
    path = saved(tmp_path / "a.onnx")
    (tmp_path / "a.onnx.data").write_bytes(bytes(500))  # nothing refers to it
    assert model_files(path) == [path]
    assert model_size(path) == path.stat().st_size


def test_every_data_file_counts_once(tmp_path):
    (tmp_path / "sub").mkdir()
    for name, size in (("other.data", 4000), ("sub/more.bin", 8000)):
        (tmp_path / name).write_bytes(bytes(size))
    path = saved(tmp_path / "a.onnx", "other.data", "sub/more.bin", "other.data")
    assert model_files(path) == [path, tmp_path / "other.data", tmp_path / "sub" / "more.bin"]
    assert model_size(path) == path.stat().st_size + 12_000


def test_a_missing_data_file_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"'other\.data', which is not there"):
        model_files(saved(tmp_path / "a.onnx", "other.data"))


@pytest.mark.parametrize(
    "location", ["../secret", "{there}/secret", "link", "../inside/own", "{here}/own"]
)
def test_data_outside_the_folder_are_refused(tmp_path, location):
    here, there = tmp_path / "inside", tmp_path
    here.mkdir()
    for path in (there / "secret", here / "own"):
        path.write_bytes(bytes(4000))
    if location == "link":
        (here / "link").symlink_to(there / "secret")
    with pytest.raises(UsageError, match="outside its own folder"):
        model_files(saved(here / "a.onnx", location.format(here=here, there=there)))


@given(
    st.lists(st.sampled_from(["w.data", "sub", "link", "..", "."]), min_size=1, max_size=4).map(
        "/".join
    )
)
def test_any_location_is_inside_or_refused(tmp_path_factory, location):
    outside = tmp_path_factory.mktemp("any")
    folder = outside / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "link").symlink_to(outside)
    for where in (outside, folder, folder / "sub"):
        (where / "w.data").write_bytes(bytes(4000))
    data = folder / location
    inside = (
        data.is_file()
        and data.resolve().is_relative_to(folder.resolve())
        and ".." not in data.relative_to(folder).parts
    )
    path = saved(folder / "a.onnx", location)
    if inside:
        assert model_files(path) == [path, data]
    else:
        with pytest.raises(UsageError):
            model_files(path)


@pytest.mark.parametrize("content", [b"", b"no model", b"\xff" * 100, None])
def test_what_is_no_model_is_refused(tmp_path, content):
    path = tmp_path / "a.onnx"
    if content is not None:
        path.write_bytes(content)
    if content == b"":
        assert model_files(path) == [path]  # an empty message is a model without anything
        return
    with pytest.raises(UsageError, match="is no ONNX file"):
        model_files(path)


@pytest.fixture(scope="module")
def external(fp32, tmp_path_factory):
    """The network with its weights in ``other.data``."""
    path = tmp_path_factory.mktemp("external") / "x_FP32.onnx"
    onnx.save(onnx.load(fp32), path, save_as_external_data=True, location="other.data")
    assert path.stat().st_size < 100_000
    return path


def test_the_report_counts_the_data(external, fp32):
    found = measure(external, fp32, None, seconds=0.01)
    assert found.fp32_bytes == pytest.approx(found.int8_bytes, rel=0.01)
    assert abs(found.size_cut) < 0.01


def test_the_grader_counts_the_data(external, fp32):
    found = OnnxFile(external).size
    assert found == model_size(external) == pytest.approx(fp32.stat().st_size, rel=0.01)


def test_an_exported_space_has_the_data(external, tmp_path):
    """Two models that call their data by one name."""
    other = tmp_path / "other" / "x_INT8.onnx"
    other.parent.mkdir()
    (other.parent / "other.data").write_bytes(bytes(4000))
    saved(other, "other.data")
    space = tmp_path / "space"
    export_space(external, other, space)
    for folder, model in (("fp32", external), ("int8", other)):
        copied = space / folder / model.name
        assert model_size(copied) == model_size(model)
        for ours, theirs in zip(model_files(copied), model_files(model), strict=True):
            assert ours.read_bytes() == theirs.read_bytes()
    names = {"app.py", "README.md", "requirements.txt", "lab5", "fp32", "int8"}
    assert {path.name for path in space.iterdir()} == names


def test_a_space_without_the_data_is_not_begun(tmp_path):
    path = saved(tmp_path / "a.onnx", "other.data")
    with pytest.raises(UsageError, match="not there"):
        export_space(path, path, tmp_path / "space")
    assert not (tmp_path / "space").exists()


# Litter

LITTER = ("._0.png", ".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX/0.png", "~$0.png", ".x.png",
          ".ipynb_checkpoints/0-checkpoint.png", "a/__MACOSX/._0.png", "a/thumbs.db")  # fmt: skip


def test_litter_is_not_seen_in_any_folder_of_pictures(tmp_path):
    for name in (*LITTER, "0.png", "a/1.png", "a/mac.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    seen = {p.relative_to(tmp_path).as_posix() for p in visible(tmp_path, "**/*") if p.is_file()}
    assert seen == {"0.png", "a/1.png", "a/mac.png"}
    assert {p.name for p in visible(tmp_path)} == {"0.png", "a"}
