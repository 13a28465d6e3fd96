"""Taking a notebook's code apart: what is run, what is not, what a broken line costs."""

from __future__ import annotations

import ast
import contextlib
import json
import sys
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab5.grading import newer_python
from lab5.grading.core import Fault
from lab5.grading.evidence.program import Cell, NotebookUnreadable, Program, read_cells
from lab5.grading.suite import CHECKS


def program(*sources):
    return Program.of(Cell("code", source) for source in sources)


def value(name, *sources, **options):
    """What ``name`` is after only what it needs was run."""
    code = program(*sources)
    space = {}
    errors = code.run(code.bindings(name), space, **options)
    assert errors == [], errors
    return space[name]


def test_only_what_is_needed_is_run():
    assert value("f", "a = 1", "1 / 0\nwhile True: pass", "def f(): return a")() == 1


def test_what_a_need_needs_is_run_too():
    assert value(
        "c", "import math", "a = math.floor(2.5)", "b = a + 1", "c = [b for _ in 'x']"
    ) == [3]


def test_the_last_binding_before_the_use_counts():
    assert value("y", "x = 1", "y = x", "x = 2") == 1


def test_a_function_sees_what_is_bound_after_it():
    assert value("f", "def f(): return x", "x = 1", "x = 2")() == 2


def test_what_changes_a_name_in_place_is_run():
    assert value("x", "x = [1]", "x.append(2)", "x[0] = 5", "y = 1 / 0") == [5, 2]
    assert value("n", "n = 1", "n += 2") == 3


def test_a_branch_keeps_what_was_bound_before():
    assert value("x", "x = 1", "if False:\n    x = 2") == 1


def test_main_counts_as_top_level():
    assert value("x", 'if __name__ == "__main__":\n    x = 3') == 3
    assert value("x", "if '__main__' == __name__:\n    x = 3") == 3


def test_local_names_are_no_needs():
    assert value("f", "x = 1 / 0", "def f():\n    x = 2\n    return x")() == 2


def test_shell_and_magic_lines_are_dropped():
    source = (
        "!pip install \\\n    torch\n%matplotlib inline\nx = 1\nfiles = !ls\nx?\nif x:\n    !ls\n"
    )
    assert value("x", source) == 1
    assert value("x", "%%time\nx = 1") == 1
    assert program("%%bash\nx = 1", "%%writefile a.py\nx = 1").bindings("x") == []


def test_a_percent_sign_in_a_string_stays():
    assert value("x", 'x = """\n%d\n!\n"""') == "\n%d\n!\n"


def test_a_syntax_error_costs_only_its_statement():
    code = program("a = 1\ndef broken(:\n    pass\n\ndef good():\n    return a\n")
    assert code.broken == {"broken": "def"}
    assert [cell for cell, _ in code.errors] == [0]
    space = {}
    code.run(code.bindings("good"), space)
    assert space["good"]() == 1


def test_an_error_is_reported_and_the_rest_runs():
    code = program("a = 1 / 0", "def f():\n    return a")
    space = {}
    errors = code.run(code.bindings("f"), space)
    assert "ZeroDivisionError" in errors[0]
    assert callable(space["f"])


@pytest.mark.parametrize("error", ["raise SystemExit(3)", "raise KeyboardInterrupt"])
def test_a_cell_cannot_end_the_run(error):
    code = program(f"def g():\n    {error}\na = g()", "b = 2", "c = (b, a)")
    assert len(code.run(code.bindings("c"), {})) == 2


def test_a_module_that_is_not_here_gets_a_stand_in():
    code = program("import no_such_module as m\nx = m.y.z(1)")
    space = {}
    errors = code.run(code.bindings("x"), space, missing=lambda name: str)
    assert errors[0].startswith("missing: ")


def test_instead_wins_over_the_notebook():
    assert value("y", "def x(): return 1", "y = x()", instead={"x": lambda: 7}) == 7


def test_reaching_finds_the_calls_through_functions():
    code = program(
        "def deep(): torch.onnx.export(1)",
        "def shallow(): deep()",
        "x = 1",
        "shallow()",
        "unrelated = 2",
    )
    found, through = code.reaching(lambda n: isinstance(n, ast.Attribute) and n.attr == "export")
    assert [ast.unparse(code.statements[i].node) for i in found] == ["shallow()"]
    assert through == {"deep", "shallow"}


def _write(tmp_path, content):
    path = tmp_path / "n.ipynb"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def test_formats_3_and_4_are_read(tmp_path):
    four = {"cells": [{"cell_type": "code", "source": ["a\n", "b"]}], "nbformat": 4}
    three = {"worksheets": [{"cells": [{"cell_type": "code", "input": "a\nb"}]}], "nbformat": 3}
    for content in (four, three):
        assert read_cells(_write(tmp_path, content)) == [Cell("code", "a\nb")]


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_the_coding_is_no_matter(tmp_path, coding):
    text = json.dumps(
        {"cells": [{"cell_type": "code", "source": "a = '學號'"}]}, ensure_ascii=False
    )
    assert read_cells(_write(tmp_path, text.encode(coding))) == [Cell("code", "a = '學號'")]


def test_worksheets_and_what_is_missing(tmp_path):
    cell = {"cell_type": "code", "input": ["a"]}
    two = {"worksheets": [{"cells": [cell]}, {"cells": [cell, {"cell_type": "markdown"}]}]}
    assert [c.source for c in read_cells(_write(tmp_path, two))] == ["a", "a", ""]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'{"cells": 3}', b'{"cells": [3]}', b'{"worksheets": []}',
     b"[" * 100_000, b"\xff\xfe", b'{"cells": [{"cell_type": "code", "source": 3}]}'],
)  # fmt: skip
def test_what_is_no_notebook_is_said_to_be_none(tmp_path, content):
    with pytest.raises(NotebookUnreadable):
        read_cells(_write(tmp_path, content))


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab=(:[\n \t'\"!%#\\xdef0", max_size=80))
def test_any_cell_is_survived(source):
    code = program(source)
    everything = range(len(code.statements))
    assert code.needed(everything) == list(everything)


def test_what_ipython_runs_is_no_error():
    code = program("    %time x = 1\n    !ls", ">>> y = 2", "pip install torch", "%%time\nz = 3")
    assert code.errors == []
    assert all(code.bindings(name) for name in "xyz")


def test_a_cell_that_ipython_refuses_is_an_error():
    assert [cell for cell, _ in program("pip install torch\nx = 1").errors] == [0]


def test_top_level_await():
    assert value("x", "async def f(): return 5", "x = await f()") == 5


@pytest.mark.parametrize(
    ("source", "version"),
    [
        ("type Pair = tuple[int, int]", (3, 12)),
        ("def first[T](x: list[T]) -> T:\n    return x[0]", (3, 12)),
        ("x = f\"{'\\n'.join(names)} {names}\"", (3, 12)),
        ("try:\n    f()\nexcept KeyError, ValueError:\n    pass", (3, 14)),
        ('x = t"{name}"', (3, 14)),
    ],
)
def test_newer_syntax_names_its_version(source, version):
    code = program("a = 1", source)
    expected = None if sys.version_info >= version else version
    assert code.newer == expected
    assert bool(code.errors) == bool(expected)


@pytest.mark.parametrize("source", ['f"{a b}"', 'print("', "type = = 3", "except A, B:", "x = t'"])
def test_a_syntax_error_in_every_version_is_no_newer_syntax(source):
    code = program(source)
    assert code.errors
    assert code.newer is None


@pytest.mark.parametrize(
    "source",
    ['y = f"{d["k"]}"', 'y = f"{d["k"]:>{d["w"]}}"', 'y = f"{"".join(f"{c}" for c in d["k"])}"'],
)
def test_nested_quotes_are_read(source):
    d = "d = {'k': 'v', 'w': 1}"
    assert value("y", d, source) == "v"


@given(st.text(alphabet="fxt{}\"':!=# \n\\[]()a,", max_size=40))
def test_any_string_is_survived(source):
    requoted, needed = newer_python.requoted(source), newer_python.needed_by(source)
    assert requoted == source or ast.parse(requoted)
    assert needed is None or needed > sys.version_info[:2]


# What is left blank


@pytest.mark.parametrize(
    "body",
    ["pass", "...", "return", "'Doc.'", "'Doc.'\n    pass", "raise NotImplementedError",
     "raise NotImplementedError('TODO')", "p = ...", "return ..."],
)  # fmt: skip
def test_what_does_nothing_is_blank(body):
    given = SimpleNamespace(program=program(f"def f(x):\n    {body}", "def g(x): return x"))
    with pytest.raises(Fault) as caught:
        CHECKS["nothing-left-blank"].function(given)
    assert caught.value.got.en == "f"


@pytest.mark.parametrize(
    "source",
    ["def f(x): return None", "def f(x):\n    'Clear it.'\n    return None, None",
     "def f(x):\n    print(x)\n    return", "def f(x):\n    if x: return\n    raise ValueError(x)",
     "class A(B):\n    def f(self): raise NotImplementedError"],
)  # fmt: skip
def test_what_does_something_is_not_blank(source):
    CHECKS["nothing-left-blank"].function(SimpleNamespace(program=program(source)))


@pytest.mark.parametrize(
    ("line", "stays"),
    [
        ("pass", False), ("return", False), ("return None  # TODO", False), ("return arr", False), ("...", False),
        ("raise NotImplementedError", False), ("raise NotImplementedError('TODO')", False), ("p = ...", False),
        ("demo = gr.Interface(...)", False), ("demo = ...", False), (")", False),
        ("return arr[None]", True), ("raise StopIteration", True), ("p = None", True), (r"p = '\d'", True),
    ],
)  # fmt: skip
def test_a_blank_of_the_template_need_not_stay(line, stays, tmp_path):
    template = tmp_path / "template.ipynb"
    cell = {"cell_type": "code", "source": f"def f(x):\n    {line}\n"}
    template.write_text(json.dumps({"nbformat": 4, "cells": [cell]}), encoding="utf-8")
    given = SimpleNamespace(
        template=template, cells=[Cell("code", "def f(x):\n    return x + 1\n")]
    )
    with pytest.raises(Fault) if stays else contextlib.nullcontext():
        CHECKS["template-lines"].function(given)
