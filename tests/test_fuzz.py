"""The readers of foreign files are given what nobody thought of: only their documented errors, in time.

Half of the examples are good files with other bytes in them, half are made by a grammar that knows the
format. What was found stays, in ``FOUND``.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from lab5.files import remove_folder
from lab5.grading import newer_python
from lab5.grading.core import STATUSES
from lab5.grading.evidence.ipython import python_of
from lab5.grading.evidence.onnx_file import OnnxFile, Unreadable
from lab5.grading.evidence.pdf import read_report
from lab5.grading.evidence.program import NotebookUnreadable, Program, read_cells
from lab5.grading.evidence.submission import ROLES, open_submission
from lab5.grading.sandbox.room import Outcome
from lab5.grading.suite import CHECKS, _believed
from lab5.text import Text
from tests.hostile import onnx_files, pdf, zips

SECONDS = 10  # of processor time, for one example
FEW = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
MANY = settings(FEW, max_examples=3000)

Reader = Callable[[Path], Any]


def damaged(good: bytes) -> st.SearchStrategy[bytes]:
    """A good file in which a few places are other bytes, are cut out or stand twice."""
    place = st.integers(0, len(good) - 1)
    change = st.tuples(place, st.integers(0, 40), st.binary(max_size=8), st.integers(1, 3))

    def changed(changes: list[tuple[int, int, bytes, int]]) -> bytes:
        data = good
        for start, length, new, times in changes:
            data = data[:start] + new * times + data[start + length :]
        return data

    return st.lists(change, min_size=1, max_size=6).map(changed)


def in_time(read: Reader, path: Path, data: bytes) -> None:
    path.write_bytes(data)
    start = time.process_time()
    read(path)
    assert time.process_time() - start < SECONDS


# zip

ZIP = zips.raw_zip([(b"N1_report.pdf", b"%PDF", 0, 4, 0x5A3D7E07), (b"a/b.txt", b"", 8, 0, 0)])
MEMBER = st.tuples(
    st.binary(max_size=20)
    | st.sampled_from([b"../x", b"/x", b"N1.ipynb", b"N1_FP32.onnx", b"x.zip"]),
    st.binary(max_size=40),
    st.sampled_from([0, 8, 9, 12, 14, 77]),
    st.sampled_from([0, 4, 1 << 20, 0xFFFFFFFF]),
    st.integers(0, 0xFFFFFFFF),
)


def read_zip(path: Path) -> None:
    """A fault in words, or files in the folder."""
    folder = path.parent / "files"
    folder.mkdir(exist_ok=True)
    found = open_submission(path, folder)
    for member in found.members:
        assert member.path is None or member.path.resolve().is_relative_to(folder.resolve())
        assert member.path is not None or member.trouble
    assert found.student_id is None or found.student_id.isalnum()
    for role in ROLES:
        found.role(role)
    remove_folder(folder)


ZIPS = damaged(ZIP) | st.lists(MEMBER, max_size=6).map(zips.raw_zip)


# Notebook

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=()), max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["cells", "cell_type", "source", "input", "worksheets", "x"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
PIECES = st.sampled_from(
    ["%", "%%", "!", "?", "??", ";", ",", "/", "%%time", "%time ", "!ls {x}", "x = ", "def f(", "class A", "@", ":", "\n", "\n    ", "\t", " ", "#", "\\\n", "'", '"', '"""', "f'{", "f\"{a['b']}\"", "{", "}", "(", ")", "[", "]", "type X = ", "except*", "except A, B:", "try:", "lambda", "import torch", "x", "1", "é", "\0", "\r", "get_ipython()", "await ", "%%bash", "%timeit -n 1 ", "async def f(): ", "yield", "match x:", "\ud800", "\u2028"]
)  # fmt: skip
CODE = st.lists(PIECES, max_size=40).map("".join)


def notebook_of(sources: list[Any]) -> bytes:
    cells = [{"cell_type": "code", "metadata": {}, "source": one} for one in sources]
    return json.dumps({"cells": cells, "nbformat": 4}).encode()


def read_notebook(path: Path) -> None:
    try:
        cells = read_cells(path)
    except NotebookUnreadable:
        return
    program = Program.of(cells)
    program.reaching(lambda node: False)
    program.needed(range(len(program.statements)))
    for cell in cells:
        python_of(cell.source)
        newer_python.needed_by(cell.source)
        newer_python.requoted(cell.source)


NOTEBOOK = notebook_of(["x = 1\n", "%time y = 2\ndef preprocess(image):\n    return image\n"])
NOTEBOOKS = (
    damaged(NOTEBOOK)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.lists(CODE | JSON, max_size=4).map(notebook_of)
)


# ONNX

NAMES = st.sampled_from(["input", "output", "weight", "a", "b", "", "\x1b[2J"])
OPERATORS = st.sampled_from(
    ["Conv", "Gemm", "MatMul", "QLinearConv", "QGemm", "QLinearMatMul", "DequantizeLinear", "QuantizeLinear",
     "BatchNormalization", "Transpose", "Identity", "Cast", "Constant", "Add", "Relu", "Flatten", "Dropout"]
)  # fmt: skip
NODES = st.builds(
    helper.make_node,
    OPERATORS,
    st.lists(NAMES, max_size=9),
    st.lists(NAMES, min_size=1, max_size=2),
    perm=st.none() | st.lists(st.integers(-3, 5), min_size=1, max_size=4),
    transB=st.none() | st.integers(0, 1),
)
TENSORS = st.builds(
    lambda name, kind, dims, raw: TensorProto(name=name, data_type=kind, dims=dims, raw_data=raw),
    NAMES,
    st.integers(0, 20),
    st.lists(st.sampled_from([0, 1, 2, 3, 10, -1, 1 << 40]), max_size=4),
    st.binary(max_size=48),
)
MODEL = onnx_files.linear().SerializeToString()
MODELS = damaged(MODEL[:2000] + MODEL[-200:]) | st.builds(
    lambda nodes, tensors: onnx_files.model(nodes, *tensors).SerializeToString(),
    st.lists(NODES, max_size=8),
    st.lists(TENSORS, max_size=4),
)
PARTS = (
    "locations", "model", "size", "operators", "opset", "layers", "float_layers", "signed_activations", "session",
)  # fmt: skip


def read_model(path: Path) -> None:
    found = OnnxFile(path)
    for part in PARTS:
        with contextlib.suppress(Unreadable):
            getattr(found, part)
    with contextlib.suppress(Unreadable):
        assert found.logits(np.zeros((2, 3, 32, 32), np.float32)).shape == (2, 10)


# PDF

REPORT = pdf.document()
OBJECTS = st.dictionaries(
    st.integers(1, 9),
    st.sampled_from(
        ["<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[3 0 R]/Count 1>>", "<</Type/Pages/Kids[2 0 R 3 0 R 4 0 R]/Count 9>>",
         "<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R/Resources<</XObject<</X 5 0 R>>/Font<</F 6 0 R>>>>>>",
         "<</Type/Page/MediaBox[0 0 -1 1e30]/Rotate 7/UserUnit 1e9/Contents[4 0 R 4 0 R]/Annots[5 0 R]>>", "1 0 R", "[]", "null"]
    )
    | st.binary(max_size=60).map(pdf.stream)
    | st.sampled_from([b"/X Do", b"BT /F 9 Tf (FP32 1 ms) Tj ET", b"q 99 0 0 99 0 0 cm /X Do Q", b"0 0 9 9 re W n"]).map(pdf.stream)
    | st.sampled_from(["/Subtype/Image/Width 9/Height 9", "/Subtype/Form/BBox[0 0 9 9]", "/Filter/LZWDecode", "/Filter[/FlateDecode/ASCIIHexDecode]"]).map(
        lambda more: pdf.stream(b"/X Do" * 9, more)
    ),
    min_size=1,
)  # fmt: skip
REPORTS = damaged(REPORT) | OBJECTS.map(pdf.written)


def read_pdf(path: Path) -> None:
    with contextlib.suppress(Unreadable):
        found = read_report(path)
        found.text.encode("utf-8")
        assert found.large is not None


READERS: dict[str, tuple[Reader, st.SearchStrategy[bytes]]] = {
    "zip": (read_zip, ZIPS),
    "notebook": (read_notebook, NOTEBOOKS),
    "onnx": (read_model, MODELS),
    "pdf": (read_pdf, REPORTS),
}


# What raised something else, or took minutes, once
FOUND: dict[str, list[bytes]] = {
    "zip": [
        zips.raw_zip([(b"\xed\xa0\x80.ipynb", b"{}", 0, 2, 0), (b"\xff.pdf", b"", 77, 9, 0)]),
        b"PK\5\6" + bytes(18),
    ],
    "notebook": [
        notebook_of(['x = f"' + "{a:" * 6000 + '"']),
        notebook_of(["%%time\n" * 800 + "x=1"]),
        notebook_of(["def f(:\n" + "\n" * 300_000]),
        notebook_of(["\\\n" * 50_000]),
        notebook_of(["a = !ls\n" * 3000]),
        notebook_of(["x = '\ud800'"]),
        notebook_of(["\u2028"]),
    ],
    "onnx": [
        onnx_files.model([helper.make_node("Conv", [], ["output"])]).SerializeToString(),
        onnx_files.linear(
            [helper.make_node("Identity", ["b"], ["a"]), helper.make_node("Identity", ["a"], ["b"]),
             helper.make_node("Conv", ["input", "a"], ["c"])]
        ).SerializeToString(),
        onnx_files.declared((1 << 20, 1 << 19)),
    ],
    "pdf": [pdf.pages(["jan" * 2000] * 12), pdf.pages(["1" * 8000] * 50)],
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "data"), [(kind, data) for kind, found in FOUND.items() for data in found]
)
def test_what_was_found_is_read_or_refused(kind, data, tmp_path):
    in_time(READERS[kind][0], tmp_path / "file", data)


@pytest.mark.parametrize("kind", READERS)
@FEW
@given(data=st.data())
def test_anything_is_read_or_refused(kind, data, tmp_path_factory):
    read, files = READERS[kind]
    in_time(read, tmp_path_factory.getbasetemp() / f"fuzzed-{kind}", data.draw(files))


@pytest.mark.slow
@pytest.mark.parametrize("kind", READERS)
@MANY
@given(data=st.data())
def test_much_of_anything_is_read_or_refused(kind, data, tmp_path_factory):
    read, files = READERS[kind]
    in_time(read, tmp_path_factory.getbasetemp() / f"fuzzed-{kind}", data.draw(files))


# The parent's reader of what comes out of the rooms

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
_ARRAY = st.fixed_dictionaries(
    {
        "__array__": st.text("AB=", max_size=12) | _JSON,
        "dtype": st.sampled_from(["<f4", "<f8", "|b1", "O", "<U4", "V8", ""]) | _JSON,
        "shape": st.lists(st.integers(-3, 1 << 40), max_size=4) | _JSON,
    }
)
_WORDS = st.fixed_dictionaries({"en": _JSON, "zh": _JSON})
_CLAIM = st.fixed_dictionaries(
    {
        "status": st.sampled_from(STATUSES) | _JSON,
        "earned": st.floats() | st.integers() | _JSON,
        **dict.fromkeys(("why", "want", "got", "hint"), _WORDS | _JSON),
    }
)


@pytest.mark.parametrize(
    "how",
    [FEW, pytest.param(settings(FEW, max_examples=1000), marks=pytest.mark.slow)],
    ids=["few", "many"],
)
def test_what_comes_out_of_a_room_is_believed_as_far_as_a_check_can_give_it(how):
    @how
    @given(
        st.fixed_dictionaries(
            {
                "ended": st.sampled_from(["done", "raised", "late"]) | _JSON,
                "value": _JSON | _ARRAY | _CLAIM,
            }
        ).map(json.dumps)
        | st.text(),
        st.sampled_from(sorted(CHECKS)),
    )
    def held(text, name):
        outcome = Outcome.read(text)
        assert outcome.ended in ("done", "raised", "timeout", "crashed")
        one = CHECKS[name]
        try:
            result = _believed(one, outcome.value)
        except (KeyError, TypeError, ValueError):
            return
        assert result.name == name
        assert result.status in STATUSES
        assert 0 <= result.earned <= one.points
        assert result.earned in (0, one.points) or result.status == "fail"
        assert all(
            isinstance(getattr(result, part), Text) for part in ("why", "want", "got", "hint")
        )

    held()
