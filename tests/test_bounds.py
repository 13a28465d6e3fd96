"""What the readers of foreign files take is bounded, whatever is in the file."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lab5 import files
from lab5.grading import newer_python
from lab5.grading.core import Fault, Manual
from lab5.grading.evidence import onnx_file
from lab5.grading.evidence.ipython import python_of
from lab5.grading.evidence.onnx_file import OnnxFile, Unreadable
from lab5.grading.evidence.pdf import read_report
from lab5.grading.evidence.program import Cell, NotebookUnreadable, Program, read_cells
from lab5.grading.suite import CHECKS
from lab5.text import MAX_TEXT, Text
from tests.hostile import onnx_files, pdf

PATIENCE = 20  # seconds of processor time, of which all here takes less than a quarter
N = 100_000  # characters

SOURCES = {
    "hashes": "x = 1" + "#" * N, "hash lines": "#\n" * (N // 2) + "%%bash",
    "blanks": "def f(:\n" + " " * N + "\n", "lines": "def f(:\n" + "\n" * N,
    "blank lines": "x y\n" + "  \n\t\n" * (N // 5), "continued": "\\\n" * (N // 2),
    "magics": "%time " * 3000, "shell": "a = !ls\n" * 3000, "help": "a?\n" * 5000, "semicolons": ";" * 20_000,
    "cell magics": "%%time\n" * 4000 + "x=1", "options": "%%timeit -n 1 " + "- " * 10_000,
    "dangling": "f(" + "a = , " * (N // 6) + ")", "braces": 'x = f"' + "{a:" * 30_000 + '"',
    "quotes": "f'{" * 30_000, "parentheses": "(" * N, "excepts": "x y\nexcept " + "a." * (N // 2),
    "definitions": "x y\n" + "def a[" * (N // 6), "decorators": "@\n" * (N // 2) + "x y",
}  # fmt: skip


@pytest.fixture(autouse=True)
def soon():
    """Processor time, as other tests run beside this one."""
    start = time.process_time()
    yield
    assert time.process_time() - start < PATIENCE


@pytest.mark.parametrize("name", SOURCES)
def test_code_is_taken_apart(name):
    assert isinstance(python_of(SOURCES[name]), str)
    Program.of([Cell("code", SOURCES[name])])
    newer_python.needed_by(SOURCES[name])


def notebook(tmp_path, *sources, kind="code"):
    path = tmp_path / "a.ipynb"
    cells = [{"cell_type": kind, "metadata": {}, "source": one} for one in sources]
    path.write_text(json.dumps({"cells": cells}), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        (["# " + "#" * N], "a line of code of 100002 characters"),
        (["x = 1\n"] * 2000, "2000 cells, at most 1000"),
        (["x = 1\n" * 200_000], "1200000 characters of code"),
    ],
)
def test_what_is_too_long_is_said_to_be(tmp_path, sources, said):
    with pytest.raises(NotebookUnreadable, match=said):
        read_cells(notebook(tmp_path, *sources))


def test_a_picture_in_a_markdown_cell_may_be_long(tmp_path):
    source = "![x](data:image/png;base64," + "A" * (2 << 20) + ")"
    assert read_cells(notebook(tmp_path, source, kind="markdown"))[0].source == source


def test_half_of_a_pair_in_a_notebook(tmp_path):
    assert read_cells(notebook(tmp_path, "x = '\ud800'"))[0].source == "x = '?'"


# The report

TEXTS = {
    "reflection": "reflection " * 8000, "digits": "1" * 90_000, "dots": "1.2-3/4:5x6," * 7000,
    "months": "jan" * 30_000, "names": "FP32 INT8 1 ms times as 2 x " * 3200, "ids": "id:::" * 18_000,
    "underscores": "a_" * 45_000, "of": "1 of " * 18_000, "headings": "3.3 suggestions " * 5600,
    "sentences": ". " * 45_000, "addresses": "a.a@" * 22_000, "stars": "*- " * 30_000,
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_a_long_report_is_judged(tmp_path, name):
    path, text = tmp_path / "a.pdf", TEXTS[name]
    path.write_bytes(pdf.pages([text[i : i + 5000] for i in range(0, len(text), 5000)]))
    evidence = SimpleNamespace(report=read_report(path))
    for one in ("report-readable", "screenshots", "analysis-figures", "reflection"):
        try:
            CHECKS[one].function(evidence)
        except (Fault, Manual):
            continue


def test_too_much_text_is_said_to_be(tmp_path):
    path = tmp_path / "a.pdf"
    path.write_bytes(pdf.pages(["1" * 8000] * 50))
    with pytest.raises(Unreadable, match="too much text"):
        read_report(path)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux bounds a process's memory")
@pytest.mark.parametrize(
    "data",
    [lambda: pdf.nested_forms(7, 10), lambda: pdf.bomb(1 << 30)],
    ids=["nested forms", "deflated twice"],
)
def test_a_report_that_unpacks_without_end(tmp_path, data):
    """pdfium ends its process where memory does: it is the process of one hand-in."""
    path = tmp_path / "a.pdf"
    path.write_bytes(data())
    code = """if True:
    import pathlib, sys
    from lab5.grading.evidence import bounds, pdf
    bounds.READING = 256 << 20
    pdf.read_report(pathlib.Path(sys.argv[1]))
    """
    child = subprocess.Popen([sys.executable, "-c", code, path], stderr=subprocess.DEVNULL)
    peak, status = 0, Path(f"/proc/{child.pid}/status")
    while child.poll() is None:  # wait4's maxrss begins with this process's own
        found = re.search(r"VmHWM:\s+(\d+)", status.read_text("ascii"))
        peak = max(peak, int(found[1]) if found else 0)
        time.sleep(0.01)
    assert 0 < peak << 10 < 1 << 30


# The models


def unreadable(tmp_path, data, part):
    path = tmp_path / "a.onnx"
    path.write_bytes(data)
    with pytest.raises(Unreadable) as found:
        part(OnnxFile(path))
    return found.value


def logits(model):
    return model.logits(np.zeros((2, 3, 32, 32), np.float32))


def test_a_model_that_never_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "MAX_RUN", 0.5)
    assert "more than 0.5 s" in unreadable(tmp_path, onnx_files.loop(1 << 62), logits).got.en


def test_a_batch_that_is_too_large(tmp_path):
    data = onnx_files.large_batch(onnx_files.linear().SerializeToString(), 2000)
    assert unreadable(tmp_path, data, logits).got.en == "2000"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux bounds a process's memory")
def test_a_constant_of_eight_gigabytes(tmp_path):
    assert unreadable(tmp_path, onnx_files.expanded(8 << 30), logits).why.en


@pytest.mark.parametrize("shape", [(1 << 20, 1 << 19), (1 << 62, 4)], ids=["huge", "overflowing"])
def test_a_weight_whose_shape_is_a_lie(tmp_path, shape):
    data = onnx_files.declared(shape)
    assert unreadable(tmp_path, data, lambda model: model.layers).why.en


def test_too_many_nodes(tmp_path):
    node = onnx_files.helper.make_node("Relu", ["input"], ["x"])
    data = onnx_files.linear([node] * 30_000).SerializeToString()
    assert "too many nodes" in unreadable(tmp_path, data, lambda model: model.layers).why.en


@pytest.mark.parametrize("steps", [2, 5000])
def test_a_weight_that_is_made_of_itself_or_far_away(tmp_path, steps):
    """It is no weight that is known."""
    chain = [
        onnx_files.helper.make_node("Identity", [f"w{i}"], [f"w{(i + 1) % steps}"])
        for i in range(steps)
    ]
    model = onnx_files.linear(chain)
    model.graph.node[-1].input[1] = f"w{steps - 1}"
    path = tmp_path / "a.onnx"
    path.write_bytes(model.SerializeToString())
    assert OnnxFile(path).layers == []


def test_nodes_without_inputs(tmp_path):
    model = onnx_files.linear()
    model.graph.node.append(onnx_files.helper.make_node("Conv", [], []))
    unreadable(tmp_path, model.SerializeToString(), lambda model: model.float_layers)


# Folders


def nested(folder, depth):
    """Folders in each other, deeper than a path is long, and what stands in them."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("folder", dir_fd=here)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
        below = os.open("folder", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


linux = pytest.mark.skipif(os.mkdir not in os.supports_dir_fd, reason="folders by handles: POSIX")


@linux
def test_a_temporary_folder_goes_whatever_is_in_it(tmp_path, monkeypatch):
    (kept := tmp_path / "kept").mkdir()
    (kept / "file").touch()
    with files.temporary_folder() as folder:
        nested(folder, 1500)
        (folder / "link").symlink_to(kept)
        os.mkfifo(folder / "fifo")
        (folder / "closed").mkdir()
        (folder / "closed" / "file").touch()
        (folder / "closed").chmod(0)
        (folder / os.fsdecode(b"\xff\x1b[2J")).touch()
    assert not folder.exists()
    assert (kept / "file").exists()


@linux
def test_files_of_a_deep_folder(tmp_path):
    nested(tmp_path, 1500)
    os.mkfifo(tmp_path / "a.zip")
    (tmp_path / "b.zip").symlink_to("/dev/zero")
    (tmp_path / "b2.zip").symlink_to("b2.zip")
    (tmp_path / "again").symlink_to(tmp_path)
    (tmp_path / "c.zip").touch()
    found = files.files_below(tmp_path)
    zips = [tmp_path / name for name in ("a.zip", "b.zip", "b2.zip", "c.zip")]
    assert found[:4] == zips
    assert {path.name for path in found[4:]} == {"file"}
    files.remove_folder(tmp_path / "folder")
    assert files.files_below(tmp_path) == [*zips, tmp_path / "file"]
    assert [path.name for path in zips if files.is_plain(path)] == ["c.zip"]


# Words


@pytest.mark.parametrize(
    "char", ["\x1b", "\x07", "\r", "\x9b", "\x7f", "\u202e", "\u2028", "\ud800", "\0"]
)
def test_no_terminal_obeys_a_text(char):
    found = Text.of(f"a{char}[2J\tb\n").en
    assert char not in found
    assert found.startswith("a\\")
    assert found.endswith("[2J\tb\n")


def test_a_text_has_an_end():
    assert len(Text.of("x" * 10_000_000).en) == MAX_TEXT
    assert len(Fault(Text("a", "b"), got="\ud800" * 10_000_000).got.en) <= 6 * MAX_TEXT


def test_lines_of_windows_are_lines():
    assert Text.of("a\r\nb").en == "a\nb"
