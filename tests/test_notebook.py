"""The notebook: what filling puts in, what it keeps, what it refuses, what it makes when it is run."""

from __future__ import annotations

import ast
import contextlib
import copy
import functools
import hashlib
import importlib
import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab5 import notebook
from lab5.assignment import CALIBRATIONS, TEMPLATE_FP32, TEMPLATE_INT8, FileNames
from lab5.errors import NotebookError
from lab5.grading.evidence.ipython import python_of
from lab5.grading.sandbox.keeper import Limits
from lab5.grading.sandbox.room import Room
from lab5.notebook import chinese, trial
from lab5.notebook.source import Module, module
from tests import top_to_bottom
from tests.templates import BASE, DESIGN, QUANTIZE, SESSION, TEMPLATES, edited

NAMES = FileNames("N26140692")
BLANK = re.compile(
    r"\s*(pass|\.\.\.|return( None)?|arr = None|\w+ ?=( \.\.\.)?|demo = gr\.Interface\(\.\.\.\)|\w.*\.\.\.|.* = ,?"
    r"|.*\w\((\.\.\.)?\)|.*\(\w+\(\)\)|\w+\(|\)|.*=\)?|.*: (pass|\.\.\.)|.*share=\)|demo = gr.*\))\s*"
)


@pytest.fixture(scope="module", autouse=True)
def _tried_in_one_room():
    """``trial`` starts a room for each notebook; here one that has imported what they import."""
    needs = ("numpy", "PIL.Image", "onnxruntime.quantization", "lab5.grading.evidence.program",
             "lab5.grading.stand_ins.anything", "lab5.notebook.trial")  # fmt: skip
    with Room(needs) as room, pytest.MonkeyPatch.context() as patched:
        patched.setattr(trial, "Room", lambda: contextlib.nullcontext(room))
        yield


def sources(nb: dict[str, Any]) -> list[str]:
    return ["".join(cell["source"]).replace("\r\n", "\n") for cell in nb["cells"]]


def code(nb: dict[str, Any]) -> str:
    return "\n".join(
        python_of(text)
        for cell, text in zip(nb["cells"], sources(nb), strict=True)
        if cell["cell_type"] == "code"
    )


def renamed(text: str) -> str:
    code_, hash_, remark = text.partition("#")
    code_ = code_.replace(TEMPLATE_INT8, NAMES.int8).replace(TEMPLATE_FP32, NAMES.fp32)
    return code_ + hash_ + remark


def written(template: dict[str, Any], folder: Path) -> Path:
    path = folder / "template.ipynb"
    path.write_text(json.dumps(template))
    return path


@functools.cache
def opened(name: str) -> dict[str, Any]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return notebook.read_notebook(written(TEMPLATES[name], Path(folder)))


@functools.cache
def filled(name: str = "as_handed_out") -> dict[str, Any]:
    return notebook.fill(opened(name), NAMES)


def count(text: str) -> int:
    return sum(bool(line.strip()) for line in text.split("\n"))


every_template = pytest.mark.parametrize("name", TEMPLATES)


# Every kind of blank


@every_template
def test_what_is_no_blank_stays_in_its_cell_and_order(name):
    for before, after in zip(sources(opened(name)), sources(filled(name)), strict=True):
        rest = iter(after.split("\n"))
        for line in map(renamed, before.split("\n")):
            if line.strip() and not BLANK.fullmatch(line):
                # a comma may be put behind a given argument, a comment be left of a blank's line
                assert any(line.rstrip(", ") == other.rstrip(", ") for other in rest), line


@every_template
def test_filling_a_filled_notebook_changes_nothing(name):
    assert notebook.fill(filled(name), NAMES) == filled(name)


@every_template
def test_format_metadata_and_line_ends_stay_and_the_file_is_valid(name, tmp_path):
    before, after = opened(name), filled(name)
    assert {k: v for k, v in after.items() if k != "cells"} == {
        k: v for k, v in before.items() if k != "cells"
    }
    for old, new in zip(before["cells"], after["cells"], strict=True):
        assert type(new["source"]) is type(old["source"])
        same = ("cell_type", "metadata", "id", "outputs", "execution_count")
        assert [old.get(key) for key in same] == [new.get(key) for key in same]
        old_text, text = "".join(old["source"]), "".join(new["source"])
        assert text == old_text or ("\r\n" in old_text) == ("\r\n" in text)
        assert not re.search(r"(?<!\r)\n", text) or "\r\n" not in text
    nbformat.validate(after)
    notebook.write_notebook(after, tmp_path / "a.ipynb")
    assert notebook.read_notebook(tmp_path / "a.ipynb") == after


# The most lines that may be added, blank ones apart, to a template whose classes are missing
LIMITS = {4: 22, 6: 14, 10: 42}
MOST = 140


def test_the_fill_is_short():
    print(
        f"\n{'lines added to cell':42}{'3':>5}{'4':>5}{'5':>5}{'6':>5}{'7':>5}{'10':>5}{'all':>6}"
    )
    for name in TEMPLATES:
        pairs = zip(sources(opened(name)), sources(filled(name)), strict=True)
        added = [count(after) - count(before) for before, after in pairs]
        print(
            f"{name:42}" + "".join(f"{added[i]:5}" for i in (3, 4, 5, 6, 7, 10)) + f"{sum(added):6}"
        )
        assert sum(added) <= MOST
        assert all(added[cell] <= limit for cell, limit in LIMITS.items())


@pytest.mark.parametrize("end", range(1, len(BASE["cells"])))
def test_a_partly_filled_notebook_keeps_what_is_there(end):
    mixed = copy.deepcopy(opened("as_handed_out"))
    mixed["cells"][:end] = copy.deepcopy(filled()["cells"][:end])
    assert notebook.fill(mixed, NAMES) == filled()


@given(st.sets(st.sampled_from([3, 4, 5, 6, 7, 10])))
@settings(max_examples=8)
def test_any_cells_filled_before(cells):
    mixed = copy.deepcopy(opened("as_handed_out"))
    for cell in cells:
        mixed["cells"][cell] = copy.deepcopy(filled()["cells"][cell])
    assert notebook.fill(mixed, NAMES) == filled()


SPELLINGS = ["# TODO", "# TODO :", "# Todo :", "#TODO:", "# todo："]
BODIES = ["    pass", "    ...", "    # 提醒：在這裡填寫", "", "  return", "\treturn None", "    raise NotImplementedError"]  # fmt: skip


@given(st.sampled_from(SPELLINGS), st.sampled_from(BODIES), st.sampled_from(BODIES))
@settings(max_examples=10)
def test_any_spelling_of_a_marker_and_any_blank(marker, session, preprocess):
    nb = edited(
        (7, SESSION, f"providers):\n{session}\n"),
        (10, '    """PIL 圖片 -> (1, 3, 32, 32) float32"""\n', ""),
        (10, '    if not isinstance(image, Image.Image):\n        raise TypeError("preprocess expects a PIL image")\n', ""),
        (10, "\n\n    return arr\n", f"{preprocess}\n"),
    )  # fmt: skip
    for cell in nb["cells"]:
        cell["source"] = [re.sub(r"# T[Oo][Dd][Oo]( :)?", marker, line) for line in cell["source"]]
    after = notebook.fill(nb, NAMES)
    assert "return ort.InferenceSession(model_path, providers=providers)" in code(after)
    assert notebook.fill(after, NAMES) == after


def test_a_students_own_code_is_kept():
    mine = "    return ort.InferenceSession(model_path, providers=providers)  # 我自己寫的"
    own = "        quant_format=QuantFormat.QDQ, per_channel=True, weight_type=QuantType.QInt8)"
    nb = edited(
        (7, SESSION, f"providers):\n{mine}\n"),
        (6, QUANTIZE, f"    from onnxruntime.quantization import QuantFormat\n    quantize_static(fp32_path, int8_path, reader,\n{own}\n"),
    )  # fmt: skip
    after = "\n".join(sources(notebook.fill(nb, NAMES)))
    assert mine in after
    assert own in after


def test_labels_stay_as_they_were_given():
    assert "LABELS = ['plane', 'car', 'bird'," in code(filled())
    assert "automobile" not in code(filled())


def test_statements_that_unwrap_a_checkpoint_come_before_the_filter():
    line = 'state = state["model_state_dict"]  # 權重包在 model_state_dict 裡'
    nb = edited((4, "state = torch.load", "weights = torch.load"))
    text = sources(notebook.fill(nb, NAMES, unwrap=[line]))[4]
    at = text.index('    weights = weights["model_state_dict"]  # 權重')
    assert at < text.index("weights = {k: v for k, v in weights.items()")


def test_each_calibration_is_a_notebook_of_its_own():
    texts = {
        mode: sources(notebook.fill(BASE, NAMES, mode))[6]
        for mode in ("random", "cifar10", "pictures")
    }
    assert "np.random.seed(0)" in texts["random"]
    assert "CIFAR10(" in texts["cifar10"]
    assert "image_dir='pictures'" in texts["pictures"]
    assert "np.random.seed(0)" not in texts["cifar10"]


def test_synthetic_images_and_refinement_are_carried_by_that_option_only():
    text = sources(notebook.fill(BASE, NAMES, "synthetic"))[6]
    for name in ("synthetic_images", "refine_int8"):
        assert f"def {name}(" in text
        assert name not in code(filled())


# Where the code comes from


def test_nothing_of_lab5_is_imported():
    assert "lab5" not in code(filled())


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("model", "BasicBlock"),
        ("model", "ResNet18"),
        ("session", "build_session"),
        ("compare", "timed_run"),
    ],
)
def test_what_goes_in_is_the_packages_own_source(source, name):
    """Equal as syntax trees: only comments and docstrings may differ."""
    found = [
        node
        for node in ast.walk(ast.parse(code(filled())))
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name
    ]
    (own,) = ast.parse(module(source).source(name)).body
    assert [ast.dump(node) for node in found] == [ast.dump(own)]


def test_every_chinese_comment_finds_its_line():
    """``Module.source`` refuses a comment whose line is gone."""
    modules = ("model", "export", "quantize", "study.refine", "study.synthetic", "calibration", "session", "preprocess", "compare", "app")  # fmt: skip
    known = {name: module(m) for m in modules for name in module(m)._definitions}
    for name, comments in chinese.COMMENTS.items():
        shown = known[name].source(name)
        assert all(comment in shown for comment in comments.values())


def test_modules_say_what_of_them_goes_into_notebooks(monkeypatch):
    """``In notebooks:`` in the docstring names all that is taken, for every kind of calibration."""
    taken: dict[str, set[str]] = {}
    source = Module.source

    def recording(self, name):
        taken.setdefault(self.name, set()).add(name)
        return source(self, name)

    monkeypatch.setattr(Module, "source", recording)
    for calibration in (*CALIBRATIONS, "pictures"):
        notebook.fill(opened("as_handed_out"), NAMES, calibration)
    assert {"lab5.model", "lab5.study.refine", "lab5.app"} <= set(taken)
    for name, definitions in taken.items():
        said = re.search(r"^In notebooks.*", importlib.import_module(name).__doc__, re.M)
        assert said, name
        assert "everything here" in said[0] or definitions <= set(re.findall(r"``(\w+)``", said[0]))


def test_chinese_comments_explain_every_filled_cell():
    for number in (3, 4, 6, 7, 10):
        before = sources(BASE)[number].split("\n")
        new = [line for line in sources(filled())[number].split("\n") if line not in before]
        assert any(re.search(r"#.*[\u4e00-\u9fff]", line) for line in new)


def test_a_notebook_of_4_5_without_any_id_opens_and_gets_some(tmp_path):
    bare = copy.deepcopy(BASE)
    bare["nbformat"], bare["nbformat_minor"] = 4, 5
    bare["cells"] = [{k: c[k] for k in ("cell_type", "source")} for c in bare["cells"]]
    (tmp_path / "a.ipynb").write_text(json.dumps(bare), encoding="utf-8")
    found = notebook.read_notebook(tmp_path / "a.ipynb")
    nbformat.validate(nbformat.from_dict(found))
    assert len({cell["id"] for cell in found["cells"]}) == len(bare["cells"])
    assert sources(found) == sources(bare)


# What is not whole


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ((5, "FP32_MODEL = ", "# TODO : paint it blue\nFP32_MODEL = "), r"Cell 5, line \d+ .*paint"),
        ((7, "x_demo = np", "x_demo = = np"), r"Cell 7, line 8 .*does not parse"),
        ((7, "bench(sess_fp32, x_demo)", "bench()"), r"Cell 7, line \d+ .*bench\(\)"),
        ((7, "run(sess_fp32, x_demo)", "run(sess_fp32, mystery)"), r"Cell 7, line 20 .*'mystery'"),
        ((10, "{speedup:.2f}x", "{accuracy:.2f}"), r"Cell 10, line \d+ .*'accuracy'"),
        ((10, "in_int8, out_int8 = ", "in_int8, out_int8 =\nin_int8, out_int8 = "), r"Cell 10, line \d+ .*no value"),
        ((4, 'torch.load(path, map_location=torch.device("cpu"))', "torch.load()"), r"Cell 4, line 6 .*torch.load\(\)"),
        ((4, "    # TODO : load state dict\n", ""), r"1\.2"),
        ((10, "def compare_fp32_int8(image):", "def compare(image):"), "compare_fp32_int8"),
    ],
)  # fmt: skip
def test_no_blank_survives_in_silence(edit, message):
    with pytest.raises(NotebookError, match=message):
        notebook.fill(edited(edit), NAMES)


def test_a_compare_function_with_nothing_in_it_is_named():
    text = sources(BASE)[10]
    start, end = text.index("    if image is None:"), text.index("# ====== Gradio UI")
    with pytest.raises(NotebookError, match=r"Cell 10, line 51 .*compare_fp32_int8"):
        notebook.fill(edited((10, text[start:end], "    pass\n\n\n")), NAMES)


def test_a_method_that_stays_hollow_is_named():
    hollow = f"{DESIGN}\nclass BasicBlock(nn.Module):\n    def extra(self):\n        pass\n"
    with pytest.raises(NotebookError, match=r"Cell 3, line 11 .*extra"):
        notebook.fill(edited((3, DESIGN, hollow)), NAMES)


# Files


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"nbformat": 4}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"nbformat": 4, "nbformat_minor": 0, "metadata": {}, "cells": 3}',
        b"null",
    ],
)
def test_a_file_that_is_no_notebook(tmp_path, content):
    path = tmp_path / "x.ipynb"
    path.write_bytes(content)
    with pytest.raises(NotebookError, match="not a Jupyter notebook"):
        notebook.read_notebook(path)


def test_a_missing_notebook(tmp_path):
    with pytest.raises(NotebookError, match="There is no file"):
        notebook.read_notebook(tmp_path / "x.ipynb")


def test_a_byte_order_mark_and_an_old_format_are_read(tmp_path):
    path = tmp_path / "x.ipynb"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(BASE).encode())
    assert notebook.read_notebook(path) == BASE
    path.write_text(json.dumps(nbformat.convert(nbformat.from_dict(BASE), 3)))
    assert sources(notebook.fill(notebook.read_notebook(path), NAMES))[-1] == sources(filled())[-1]


def test_a_lone_surrogate_is_written_as_it_was(tmp_path):
    path = written(TEMPLATES["metadata_missing_ids_and_a_lone_surrogate"], tmp_path)
    notebook.write_notebook(notebook.read_notebook(path), tmp_path / "b.ipynb")
    assert b"Lab 5 \\ud83d" in (tmp_path / "b.ipynb").read_bytes()


# What it makes when it is run


@pytest.fixture(scope="session")
def handed_out_weights(tmp_path_factory, weights) -> Path:
    """The checkpoint with what a FLOP counter leaves behind: 140 entries."""
    import torch

    def counter() -> Any:
        return torch.zeros(1, dtype=torch.float64)

    state = {"total_ops": counter(), "total_params": counter()}
    for name, value in torch.load(weights, map_location="cpu", weights_only=True).items():
        block = re.match(r"layer\d\.\d\.", name)
        if block and f"{block[0]}total_ops" not in state:
            state |= {f"{block[0]}total_ops": counter(), f"{block[0]}total_params": counter()}
        state[name] = value
    assert len(state) == 140
    path = tmp_path_factory.mktemp("weights") / "best_model.pth"
    torch.save(state, path)
    return path


@pytest.fixture(scope="session")
def student(once):
    """Runs a notebook in an empty folder with the checkpoint; the folder."""
    kept = str(once("quantised", lambda folder: None))
    with Room(top_to_bottom.PRELOAD) as room:

        def run(whole: dict[str, Any], weights: Path, folder: Path) -> Path:
            empty = folder / "empty"
            empty.mkdir()
            (empty / "best_model.pth").symlink_to(weights)
            notebook.write_notebook(whole, folder / NAMES.notebook)
            order = {
                "notebook": str(folder / NAMES.notebook), "folder": str(empty), "kept": kept,
            }  # fmt: skip
            with room.visit("tests.top_to_bottom:run", limits=Limits(memory=0)) as visit:
                done = visit.ask(order, 500)
            assert done.ended == "done", done.error
            assert "launched {'share': True}" in done.value
            return empty

        yield run


@pytest.fixture(scope="session")
def int8_of(fp32, tmp_path_factory):
    """The INT8 file of these batches, made once."""
    from lab5.calibration import BatchReader
    from lab5.quantize import quantize

    made: dict[bytes, bytes] = {}

    def bytes_of(batches: list[Any]) -> bytes:
        key = hashlib.sha256(b"".join(batch.tobytes() for batch in batches)).digest()
        if key not in made:
            path = tmp_path_factory.mktemp("int8") / NAMES.int8
            quantize(fp32, path, BatchReader(batches, "input"))
            made[key] = path.read_bytes()
        return made[key]

    return bytes_of


in_one_room = pytest.mark.xdist_group("notebooks")


@pytest.mark.slow
@in_one_room
@every_template
def test_run_top_to_bottom_it_makes_the_packages_files(
    name, handed_out_weights, fp32, student, int8_of, tmp_path
):
    empty = student(filled(name), handed_out_weights, tmp_path)
    batches = notebook.notebook_batches(filled(name), fp32)
    assert (empty / NAMES.fp32).read_bytes() == fp32.read_bytes()
    assert (empty / NAMES.int8).read_bytes() == int8_of(batches)


@pytest.mark.slow
@in_one_room
def test_with_synthetic_images_it_makes_that_options_file(
    handed_out_weights, synthetic_int8, student, tmp_path
):
    whole = notebook.fill(BASE, NAMES, "synthetic")
    empty = student(whole, handed_out_weights, tmp_path)
    assert (empty / NAMES.int8).read_bytes() == synthetic_int8.read_bytes()


def test_the_readers_batches_are_given_as_they_are(fp32):
    shapes = {
        b.shape for b in notebook.notebook_batches(filled("reader_in_batches_drawn_at_once"), fp32)
    }
    assert shapes == {(4, 3, 32, 32)}


def test_a_reader_that_cannot_be_run_is_said_so(fp32):
    nb = edited(
        (5, "                yield np.random.randn(", "                yield np.random.rand_n(")
    )
    with pytest.raises(NotebookError, match=r"reader cannot be run .*rand_n"):
        notebook.notebook_batches(notebook.fill(nb, NAMES), fp32)
