"""The notebook: what filling puts in, what it keeps, what it refuses."""

from __future__ import annotations

import ast
import copy
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab5 import chinese, notebook
from lab5.assignment import CLASSES, TEMPLATE_FP32, TEMPLATE_INT8, FileNames
from lab5.errors import NotebookError

NAMES = FileNames("N26140692")
TEMPLATE = notebook.read_notebook(Path(__file__).parent.parent / "fixtures" / "EAI_lab5.ipynb")


def sources(nb: dict) -> list[str]:
    return ["".join(cell["source"]) for cell in nb["cells"]]


def code(nb: dict) -> str:
    return "\n".join(
        notebook.python_of("".join(c["source"])) for c in nb["cells"] if c["cell_type"] == "code"
    )


def changed(*replacements: tuple[str, str], template: dict = TEMPLATE) -> dict:
    """The template with each text replaced; a text that is not there is the test's own fault."""
    nb = copy.deepcopy(template)
    for old, new in replacements:
        assert any(old in source for source in sources(nb)), old
        for cell in nb["cells"]:
            cell["source"] = "".join(cell["source"]).replace(old, new).splitlines(keepends=True)
    return nb


def without(*texts: str) -> dict:
    return changed(*((text, "") for text in texts))


def is_subsequence(short: list[str], long: list[str]) -> bool:
    rest = iter(long)
    return all(line in rest for line in short)


@pytest.fixture(scope="module")
def filled() -> dict:
    return notebook.fill(TEMPLATE, NAMES)


# What stays


def test_every_original_line_stays_in_its_cell_and_order(filled):
    assert [c["cell_type"] for c in filled["cells"]] == [c["cell_type"] for c in TEMPLATE["cells"]]
    for before, after in zip(sources(TEMPLATE), sources(filled), strict=True):
        kept = [
            re.sub(r"^([^#]*)", lambda m: rename(m[1]), line)
            for line in before.split("\n")
            if line.strip()
            and not re.fullmatch(r"\s*(pass|\.\.\.|demo = gr.Interface\(\.\.\.\))", line)
        ]
        assert is_subsequence(kept, after.split("\n"))


def rename(text: str) -> str:
    return text.replace(TEMPLATE_INT8, NAMES.int8).replace(TEMPLATE_FP32, NAMES.fp32)


def test_format_metadata_and_ids_stay():
    template = copy.deepcopy(TEMPLATE)
    template["metadata"]["colab"] = {"name": "課程"}
    template["cells"][3]["metadata"]["id"] = "abc"
    filled = notebook.fill(template, NAMES)
    assert (filled["nbformat"], filled["nbformat_minor"]) == (4, 0)
    assert filled["metadata"] == template["metadata"]
    assert filled["cells"][3]["metadata"] == {"id": "abc"}
    assert all("id" not in cell for cell in filled["cells"])


def test_outputs_and_counts_are_cleared():
    template = copy.deepcopy(TEMPLATE)
    template["cells"][3]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "x"}]
    template["cells"][3]["execution_count"] = 7
    cell = notebook.fill(template, NAMES)["cells"][3]
    assert (cell["outputs"], cell["execution_count"]) == ([], None)


def test_the_template_itself_is_not_touched():
    before = json.dumps(TEMPLATE)
    notebook.fill(TEMPLATE, NAMES)
    assert json.dumps(TEMPLATE) == before


def test_filling_a_filled_notebook_changes_nothing(filled):
    assert notebook.fill(filled, NAMES) == filled


@pytest.mark.parametrize("end", range(1, len(TEMPLATE["cells"])))
def test_a_partly_filled_notebook_keeps_what_is_there(filled, end):
    mixed = copy.deepcopy(TEMPLATE)
    mixed["cells"][:end] = copy.deepcopy(filled["cells"][:end])
    assert notebook.fill(mixed, NAMES) == filled


def test_a_students_own_code_is_kept():
    mine = "    return ort.InferenceSession(model_path, providers=providers)  # 我自己寫的"
    nb = changed(
        (
            "def build_session(model_path, providers):\n    ...",
            f"def build_session(model_path, providers):\n{mine}",
        )
    )
    assert mine in code(notebook.fill(nb, NAMES))


# What goes in


def test_nothing_of_lab5_is_imported(filled):
    for node in ast.walk(ast.parse(code(filled))):
        if isinstance(node, ast.ImportFrom):
            assert not (node.module or "").startswith("lab5")
        if isinstance(node, ast.Import):
            assert not any(alias.name.startswith("lab5") for alias in node.names)


def test_the_names_become_the_students(filled):
    text = "\n".join(line.split("#")[0] for line in code(filled).split("\n"))
    assert TEMPLATE_FP32 not in text
    assert TEMPLATE_INT8 not in text
    assert text.count(f'"{NAMES.fp32}"') == 3  # export, quantisation, page
    assert text.count(f'"{NAMES.int8}"') == 2


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("lab5.model", "BasicBlock"),
        ("lab5.model", "ResNet18"),
        ("lab5.export", "write_onnx"),
        ("lab5.session", "build_session"),
        ("lab5.preprocess", "preprocess"),
        ("lab5.compare", "timed_run"),
    ],
)
def test_what_goes_in_is_the_packages_own_source(filled, module, name):
    """Equal as syntax trees: only comments and docstrings may differ."""
    found = [
        node
        for node in ast.walk(ast.parse(code(filled)))
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name
    ]
    own = notebook._Module(module).definitions[name]
    assert [ast.dump(strip(node)) for node in found] == [ast.dump(strip(own))]


def strip(tree: ast.AST) -> ast.AST:
    tree = copy.deepcopy(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            del node.body[0]
    return tree


def test_chinese_comments_explain_every_filled_cell(filled):
    for before, after in zip(sources(TEMPLATE), sources(filled), strict=True):
        if rename(before) != after and "def " in after:
            new = [line for line in after.split("\n") if line not in before.split("\n")]
            assert any(re.match(r"\s*#.*[\u4e00-\u9fff]", line) for line in new), after


def test_every_chinese_comment_finds_its_line():
    modules = [
        f"lab5.{m}"
        for m in (
            "model",
            "export",
            "quantize",
            "refine",
            "calibration",
            "session",
            "preprocess",
            "compare",
            "app",
        )
    ]
    known = {name: module for module in modules for name in notebook._Module(module).definitions}
    for name, comments in chinese.ABOVE.items():
        shown = notebook._Module(known[name]).source(name)
        for comment in comments.values():
            assert comment.splitlines()[0] in shown


# Any template with those markers


SPELLINGS = ["# TODO", "# TODO :", "# Todo :", "#TODO:", "# todo："]
BLANKS = ["    pass", "    ...", "    # 提醒：在這裡填寫", ""]


@given(st.sampled_from(SPELLINGS), st.sampled_from(BLANKS), st.sampled_from(BLANKS))
def test_any_spelling_of_a_marker_and_any_blank(marker, session_blank, preprocess_blank):
    nb = changed(
        (
            "def build_session(model_path, providers):\n    ...",
            f"def build_session(model_path, providers):\n{session_blank}",
        ),
        ("def preprocess(image):\n    pass", f"def preprocess(image):\n{preprocess_blank}"),
    )
    for cell in nb["cells"]:
        cell["source"] = [re.sub(r"# T[Oo][Dd][Oo]( :)?", marker, line) for line in cell["source"]]
    filled = notebook.fill(nb, NAMES)
    assert "return ort.InferenceSession(model_path, options, providers=providers)" in code(filled)
    ast.parse(code(filled))
    assert notebook.fill(filled, NAMES) == filled


@pytest.mark.parametrize(
    "interface",
    [
        "demo = gr.Interface(...)",
        "demo = gr.Interface()",
        "demo = gr.Interface(\n    # 提醒\n)",
        "demo = ...",
        "pass",
        "",
    ],
)
def test_any_blank_of_the_interface(filled, interface):
    nb = changed(("demo = gr.Interface(...)", interface))
    assert code(notebook.fill(nb, NAMES)).split() == code(filled).split()


def test_classes_that_are_not_there_at_all():
    nb = without(
        "class BasicBlock(nn.Module):\n    pass\n\n\n",
        "class ResNet18(nn.Module):\n    # 提醒：__init__ 的第一個參數叫做 ResBlock\n    pass",
    )
    names = [
        n.name
        for n in ast.walk(ast.parse(code(notebook.fill(nb, NAMES))))
        if isinstance(n, ast.ClassDef)
    ]
    assert names[:2] == ["BasicBlock", "ResNet18"]


SKELETON = """class BasicBlock(nn.Module):
    def __init__(self, in_planes, planes, stride=1):
        super().__init__()
        # 提醒：shortcut
        pass

    def forward(self, x):
        ...
"""


def test_a_skeleton_of_methods_with_other_parameter_names(filled):
    nb = changed(("class BasicBlock(nn.Module):\n    pass\n", SKELETON))
    text = code(notebook.fill(nb, NAMES))
    assert "inchannel = in_planes\n" in text
    assert text.count("super().__init__()") == code(filled).count("super().__init__()")
    namespace: dict = {}
    exec(text[: text.index("torch_model =")], namespace)
    block = namespace["BasicBlock"](64, 128, 2)
    assert {name.split(".")[0] for name, _ in block.named_parameters()} == {"left", "shortcut"}


def test_a_header_without_colon_or_on_one_line():
    nb = changed(
        ("def preprocess(image):\n    pass", "def preprocess(image)"),
        (
            "def build_session(model_path, providers):\n    ...",
            "def build_session(model_path, providers): pass",
        ),
    )
    text = code(notebook.fill(nb, NAMES))
    assert "def preprocess(image):\n" in text
    assert "def build_session(model_path, providers):\n" in text


def test_the_colloquial_class_names_of_the_handed_out_notebook_are_put_right():
    shown = ", ".join(f'"{name}"' for name in CLASSES)
    nb = changed((shown, shown.replace("airplane", "plane").replace("automobile", "car")))
    lines = code(notebook.fill(nb, NAMES)).split("\n")
    assignments = [line for line in lines if line.startswith("LABELS = ")]
    assert ["plane" in line.replace("airplane", "") for line in assignments] == [True, False]


@pytest.mark.parametrize(
    ("logits", "ms", "expected"),
    [
        ("out_{}", "{}_ms", "float(np.median(times_fp32))"),
        ("y_{}", "t_{}_ms", "float(np.median(times_fp32))"),
        ("pred_{}", "{}_time", "float(np.median(times_fp32))"),
        ("logits_{}", "{}_sec", "float(np.median(times_fp32)) / 1000"),
    ],
)
def test_whatever_names_the_code_below_reads(logits, ms, expected):
    nb = changed(
        *((f"softmax_np(logits_{k})", f"softmax_np({logits.format(k)})") for k in ("fp32", "int8")),
        ("fp32_ms", ms.format("fp32")),
        ("int8_ms", ms.format("int8")),
    )
    text = code(notebook.fill(nb, NAMES))
    assert f"{logits.format('fp32')}, times_fp32 = timed_run(" in text
    assert f"{ms.format('fp32')} = {expected}\n" in text


# What it refuses


@pytest.mark.parametrize(
    ("cell", "text", "message"),
    [
        (5, "# TODO : paint it blue\n", "Cell 5, line 1"),
        (5, "x = 1  # TODO\n", "Cell 5, line 1"),
    ],
)
def test_a_todo_that_it_does_not_know(cell, text, message):
    nb = copy.deepcopy(TEMPLATE)
    nb["cells"][cell]["source"].insert(0, text)
    with pytest.raises(NotebookError, match=message):
        notebook.fill(nb, NAMES)


def test_a_name_below_the_hole_that_nothing_defines():
    with pytest.raises(NotebookError, match="'mystery_value'"):
        notebook.fill(changed(("speedup = fp32_ms / int8_ms", "speedup = mystery_value")), NAMES)


def test_a_notebook_that_is_another():
    nb = {
        **TEMPLATE,
        "cells": [
            {
                "cell_type": "code",
                "source": "1",
                "outputs": [],
                "metadata": {},
                "execution_count": None,
            }
        ],
    }
    with pytest.raises(NotebookError, match=r"no place for 1\.1, 1\.2"):
        notebook.fill(nb, NAMES)


def test_code_that_does_not_parse():
    with pytest.raises(NotebookError, match=r"Cell 7, line \d+: does not parse"):
        notebook.fill(changed(("x_demo = np", "x_demo = = np")), NAMES)


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


def test_a_byte_order_mark_and_old_format_are_read(tmp_path):
    import nbformat

    path = tmp_path / "x.ipynb"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(TEMPLATE).encode())
    assert notebook.read_notebook(path) == json.loads(json.dumps(nbformat.from_dict(TEMPLATE)))
    old = nbformat.convert(nbformat.from_dict(TEMPLATE), 3)
    path.write_text(json.dumps(old))
    assert "class ResNet18" in code(notebook.fill(notebook.read_notebook(path), NAMES))


def test_written_notebooks_are_the_same_bytes(tmp_path, filled):
    for name in ("a", "b"):
        notebook.write_notebook(filled, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert notebook.read_notebook(tmp_path / "a") == filled
