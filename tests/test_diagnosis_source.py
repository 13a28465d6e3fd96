"""Places and mends: a diff says what was changed, and applied gives it."""

from __future__ import annotations

import ast

from hypothesis import given
from hypothesis import strategies as st

from lab5.diagnosis.fp32_mends import strides
from lab5.diagnosis.source import Source
from lab5.grading.evidence.program import Cell
from tests.diffs import apply

lines = st.lists(st.sampled_from(["a = 1", "b = 2", "", "# c"]), min_size=1, max_size=8)


@given(lines, st.data())
def test_a_diff_applied_gives_the_lines_that_were_wanted(before, data):
    first = data.draw(st.integers(1, len(before)))
    last = data.draw(st.integers(first - 1, len(before)))
    new = data.draw(st.lists(st.sampled_from(["x = 3", "", "y = 4"]), max_size=3))
    source = Source([Cell("code", "\n".join(before))])
    wanted = [*before[: first - 1], *new, *before[last:]]
    diff = source.diff(0, first, last, new)
    if wanted == before:
        assert diff == ""
    else:
        assert apply(diff, "\n".join(before)) == "\n".join(wanted)


ONE = 'quantize_static(a, b, r, quant_format="QOperator", per_channel=True)\n'
MANY = "def f():\n    quantize_static(\n        a,\n        b,\n        quant_format='QOperator',  # 格式\n    )\n"


def test_keywords_are_set_added_and_taken_away():
    for text in (ONE, MANY):
        source = Source([Cell("markdown", "#"), Cell("code", text)])
        call = source.call("quantize_static")
        diff = source.with_keywords(
            call,
            "import q",
            quant_format="QuantFormat.QOperator",
            reduce_range="True",
            per_channel=None,
        )
        new = apply(diff, text)
        (found,) = [n for n in ast.walk(ast.parse(new)) if isinstance(n, ast.Call)]
        assert {k.arg: ast.unparse(k.value) for k in found.keywords} == {
            "quant_format": "QuantFormat.QOperator", "reduce_range": "True",
        }  # fmt: skip
        assert "import q" in new
        assert call.cell == 1


def test_a_cell_that_does_not_parse_costs_no_other():
    source = Source(
        [Cell("code", "def f(:\n"), Cell("code", "%time x = 1\ndef g():\n    return 2\n")]
    )
    assert source.function("f") is None
    assert source.function("g").at == (1, 2)


def test_what_a_function_calls_is_looked_into():
    source = Source([Cell("code", "def h(a):\n    return a[::-1]\ndef g(x):\n    return h(x)\n")])
    hit = source.within(source.function("g"), lambda n: isinstance(n, ast.Slice))
    assert hit.at == (0, 2)


def test_strides_are_read_however_the_stages_are_called():
    text = (
        "make = self.make_layer\na = make_layer(block, 64, 2, 1)\nb = make_layer(block=B, num=2)\n"
    )
    stages = "".join(f"l{n} = self.make_layer(ResBlock, 64, 2, stride={n})\n" for n in (1, 2, 2, 2))
    assert strides(Source([Cell("code", stages)])) == "1, 1, 2, 2, 2"
    assert strides(Source([Cell("code", text)])) == "?"
