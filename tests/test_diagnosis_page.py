"""The page's function: what each cause predicts of labels and of the text is told from the right one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab5.assignment import CLASSES
from lab5.diagnosis import page
from lab5.diagnosis.core import Findings
from lab5.diagnosis.source import Source
from lab5.grading.evidence.program import Cell
from lab5.grading.stand_ins.pictures import comparison_pictures
from lab5.grading.stand_ins.sessions import PREPROCESSING, logits_of, run_seconds
from lab5.preprocess import preprocess


def calls(probabilities, text, kinds=page.KINDS):
    made = []
    for picture, seconds in zip(comparison_pictures(0), run_seconds(0), strict=True):
        x = preprocess(picture)
        labels = []
        for kind in kinds:
            p = probabilities(logits_of(kind, x, 0)[0].astype(float))
            top = np.argsort(-p, kind="stable")[:3]
            labels.append({"dict": [[CLASSES[i], float(p[i])] for i in top]})
        runs = {k: {"seconds": [seconds[k]], "x": x} for k in page.KINDS}
        made.append({"value": [*labels, text(seconds["fp32"], seconds["int8"])], **runs})
    return made


def right(f: float, i: float) -> str:
    return f"FP32: {f * 1e3:.2f} ms\nINT8: {i * 1e3:.2f} ms\nSpeedup: {f / i:.2f}x"


def named(made) -> list[str]:
    findings = Findings()
    page._answers(made, findings, Source([]), None, list(CLASSES))
    page._figures(made, findings, Source([]), None)
    assert findings.unknown == []
    return [one.name for one in findings.causes]


def test_the_right_one_has_no_cause():
    assert named(calls(page.softmax, right)) == []


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("softmax-missing", lambda z: z),
        ("softmax-twice", lambda z: page.softmax(page.softmax(z))),
        ("softmax-over-the-wrong-axis", np.ones_like),
        ("probabilities-in-per-cent", lambda z: 100 * page.softmax(z)),
        ("another-function-for-softmax", lambda z: 1 / (1 + np.exp(-z))),
    ],
)
def test_another_function_of_the_logits(name, function):
    assert named(calls(function, right)) == [name]


@pytest.mark.parametrize(
    ("name", "kinds"),
    [("one-session-twice", ("fp32", "fp32")), ("one-session-twice", ("int8", "int8")),
     ("models-exchanged", ("int8", "fp32"))],
)  # fmt: skip
def test_another_model(name, kinds):
    assert name in named(calls(page.softmax, right, kinds))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("seconds-for-milliseconds", lambda f, i: f"FP32 {f:.4f} ms, INT8 {i:.4f} ms, {f / i:.2f}x"),
        ("microseconds-for-milliseconds", lambda f, i: f"FP32 {f * 1e6:.0f} ms, INT8 {i * 1e6:.0f} ms, {f / i:.2f}x"),
        ("times-exchanged", lambda f, i: right(i, f).rpartition(":")[0] + f": {f / i:.2f}x"),
        ("clock-started-once", lambda f, i: right(f, f + i)),
        ("preprocessing-is-timed", lambda f, i: right(f + PREPROCESSING, i)),
        ("speedup-upside-down", lambda f, i: right(f, i).rpartition(":")[0] + f": {i / f:.2f}x"),
        ("difference-for-quotient", lambda f, i: right(f, i).rpartition(":")[0] + f": {(f - i) * 1e3:.2f}x"),
        ("constant-figures", lambda f, i: "FP32 35.0 ms, INT8 20.0 ms, 1.75x"),
    ],
)  # fmt: skip
def test_another_text(name, text):
    assert named(calls(page.softmax, text)) == [name]


@given(st.permutations(CLASSES))
def test_any_order_of_the_labels_is_told(order):
    source = Source([Cell("code", f"LABELS = {list(order)}")])
    findings = Findings()
    page._labels(findings, source)
    assert [c.name for c in findings.causes] == (
        [] if list(order) == list(CLASSES) else ["labels-permuted"]
    )
