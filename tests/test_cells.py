"""A cell as plain Python: what IPython accepts parses, and stands where it stood."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.inputtransformer2 import TransformerManager

from lab5.grading.evidence.ipython import python_of

LINES = (
    "x = 1", "if x:", "else:", "    y = 2", "    !ls {x}", "!pip install \\", "  torch", "%cd a",
    "files = !ls", "    v = %pwd", "obj?", "obj.f??", "?help", 'text = "%s" \\', "    % (a)",
    's = """', '!not a command"""', "# !ls", "f(", ")", "", ">>> z = 3", "... ", "In [1]: w = 4",
    "await x", "%matplotlib inline", "print('a?')", "x %= 3", "!!ls", "a = b \\", "  % c", "def (",
)  # fmt: skip


def parses(source: str) -> bool:
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True


@given(st.lists(st.sampled_from(LINES), max_size=7).map("\n".join))
def test_it_parses_if_and_only_if_ipython_accepts_the_cell(source):
    try:
        accepted = parses(TransformerManager().transform_cell(source))
    except SyntaxError:
        accepted = False
    assert parses(python_of(source)) == accepted


@given(st.lists(st.sampled_from(LINES), max_size=7))
def test_lines_stay_where_they_are(lines):
    found = python_of("\n".join([*lines, "here = 1"]))
    if "here = 1" in found.split("\n"):
        assert found.split("\n").index("here = 1") == len(lines)


@given(st.lists(st.sampled_from([*LINES, "\r", "\tx = 1", "x = '\\d'"]), max_size=5).map("\n".join))
def test_plain_python_is_left_alone(source):
    if parses(source):
        assert python_of(source) == source


@pytest.mark.parametrize(
    ("cell", "python"),
    [
        ("%time x = f()", "x = f()"),
        ("if a:\n    %time x = f()\n", "if a:\n    x = f()"),
        ("%timeit -n 3 -r2 f(x)", "f(x)"),
        ("y = %time f()", "y = f()"),
        ("%time", "pass"),
        ("%%time\nx = 1", "x = 1"),
        ("\n\n# how long?\n%%time\nx = 1\n!ls", "x = 1\nget_ipython().system('ls')"),
        ("%%timeit -n 3 a = 2\nx = a", "a = 2\nx = a"),
        ("    a = 1\n    if a:\n        b = 2", "a = 1\nif a:\n    b = 2"),
        (">>> for i in x:\n...     f(i)\n", "for i in x:\n    f(i)"),
        ("In [1]: x = 1\n   ...: y = 2", "x = 1\ny = 2"),
        ("%time !ls", "get_ipython().system('ls')"),
        (
            "!pip install \\\r\n torch\r\nx = 1",
            "get_ipython().system('pip install   torch')\nx = 1",
        ),
        ("pip install torch", "get_ipython().run_line_magic('pip', 'install torch')"),
        ("\ncd ..\n", "get_ipython().run_line_magic('cd', '..')"),
        ("%%bash\nls", "pass"),
        ("%%writefile a.py\nx = 1", "pass"),
    ],
)
def test_what_becomes_of(cell, python):
    assert ast.dump(ast.parse(python_of(cell))) == ast.dump(ast.parse(python))


def test_results_of_shell_and_magics_are_bound():
    names = ast.parse(python_of("a = !ls\nb = %pwd\nt = %timeit -o f()")).body
    assert [ast.unparse(node.targets[0]) for node in names] == ["a", "b", "t"]
    assert "run_line_magic" in ast.unparse(names[2])
    assert ast.unparse(ast.parse(python_of("%%capture out\nx = 1"))).startswith("out = ")


def test_a_name_that_is_no_magic_is_a_syntax_error():
    assert not parses(python_of("ResNet18 model"))
    assert not parses(python_of("pip install torch\nx = 1"))  # IPython: only in a cell of one line


def test_a_line_of_the_body_keeps_its_number():
    source = "\n# note\n%%time\n!pip install \\\n  torch\nx = ("
    assert python_of(source).split("\n")[5] == "x = ("


def test_plain_python_does_not_import_ipython():
    code = "import sys; from lab5.grading.evidence.ipython import python_of; python_of('x = 1'); print('IPython' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
