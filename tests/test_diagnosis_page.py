"""The page's function: what each cause predicts of labels and of the text is told from the right one."""

from __future__ import annotations

import ast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab5.assignment import CLASSES
from lab5.diagnosis import page
from lab5.diagnosis import page_mends as mends
from lab5.diagnosis.core import Findings
from lab5.diagnosis.source import Source
from lab5.grading.evidence.program import Cell
from lab5.grading.stand_ins.pictures import comparison_pictures
from lab5.grading.stand_ins.sessions import PREPROCESSING, logits_of, run_seconds
from lab5.preprocess import preprocess
from tests.diffs import apply


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


COMPARISON = """LABELS = ['plane', 'car']
def softmax_np(x):
    x = np.asarray(x).reshape(-1)
    e = np.exp(x - x.max())
    return e / e.sum()

def top3_map(probs):
    return {LABELS[i]: float(probs[i]) for i in np.argsort(probs)[::-1][:3]}

sess_fp32 = build_session(MODEL_PATH_FP32, providers)
sess_int8 = build_session(MODEL_PATH_INT8, providers)

def compare(image):
    x = preprocess(image)
    t0 = time.time()
    logits_fp32 = sess_fp32.run(None, {"input": x})[0]
    fp32_ms = (time.time() - t0) * 1000
    t1 = time.time()
    logits_int8 = sess_int8.run(None, {"input": x})[0]
    int8_ms = (time.time() - t1) * 1000
    top3_fp32 = top3_map(softmax_np(logits_fp32))
    top3_int8 = top3_map(softmax_np(logits_int8))
    summary = f"FP32: {fp32_ms:.2f} ms\\nINT8: {int8_ms:.2f} ms"
    return top3_fp32, top3_int8, summary
"""


@pytest.mark.parametrize(
    ("cause", "words", "right", "wrong"),
    [
        ("one_session_twice", "FP32", "sess_int8.run(None", "sess_fp32.run(None"),
        ("one_session_twice", "INT8", "sess_fp32.run(None", "sess_int8.run(None"),
        ("one_session_twice", "FP32", "softmax_np(logits_int8)", "softmax_np(logits_fp32)"),
        ("models_exchanged", "", "    summary =", "    top3_fp32, top3_int8 = top3_int8, top3_fp32\n    summary ="),
        ("models_exchanged", "", "return top3_fp32, top3_int8", "return top3_int8, top3_fp32"),
        ("labels_permuted", "", "LABELS[i]:", "LABELS[i - 1]:"),
        ("least_likely_listed", "", "np.argsort(probs)[::-1]", "np.argsort(probs)"),
        ("probabilities_in_per_cent", "", "float(probs[i])", "float(probs[i]) * 100"),
        ("softmax_twice", "", "softmax_np(logits_int8)", "softmax_np(softmax_np(logits_int8))"),
        ("softmax_missing", "", "    e = np.exp(x - x.max())\n    return e / e.sum()", "    return x"),
        ("seconds_for_milliseconds", "", "(time.time() - t1) * 1000", "time.time() - t1"),
        ("microseconds_for_milliseconds", "", "(time.time() - t1) * 1000", "(time.time() - t1) * 1e6"),
        ("clock_started_once", "", "t1 = time.time()", "t1 = t0"),
        ("preprocessing_is_timed", "FP32", "    x = preprocess(image)\n    t0 = time.time()", "    t0 = time.time()\n    x = preprocess(image)"),
        ("times_exchanged", "", "FP32: {fp32_ms:.2f} ms\\nINT8: {int8_ms", "FP32: {int8_ms:.2f} ms\\nINT8: {fp32_ms"),
        ("one_time_twice", "FP32", "INT8: {int8_ms", "INT8: {fp32_ms"),
    ],
)  # fmt: skip
def test_a_mend_gives_the_right_lines(cause, words, right, wrong):
    assert COMPARISON.count(right) == 1
    text = COMPARISON.replace(right, wrong)
    if "1e6" in wrong or right == "(time.time() - t1) * 1000":  # as nobody errs in one of two lines
        text = text.replace(right.replace("t1", "t0"), wrong.replace("t1", "t0"))
    source = Source([Cell("code", text)])
    place = source.function("compare")
    mend = mends.time if cause in TIMES else mends.answer
    (cell, line), diff = mend(cause, words, source, place)
    assert cell == 0
    assert text.split("\n")[line - 1].strip()
    assert ast.dump(ast.parse(apply(diff, text))) == ast.dump(ast.parse(COMPARISON))


TIMES = {one.__name__ for one in page.TIMES if one is not None}


def test_a_loop_is_divided_by_its_runs():
    looped = "for _ in range(20):\n        logits_fp32 = sess_fp32"
    text = COMPARISON.replace("logits_fp32 = sess_fp32", looped)
    source = Source([Cell("code", text)])
    _, diff = mends.time("not_divided_by_the_runs", "", source, source.function("compare"))
    assert "(time.time() - t0) / 20 * 1000" in apply(diff, text)


def test_sessions_and_the_picture_are_mended():
    crossed = COMPARISON.replace("MODEL_PATH_FP32", "?").replace("PATH_INT8", "PATH_FP32")
    crossed = crossed.replace("?", "MODEL_PATH_INT8")
    assert apply(mends.files(Source([Cell("code", crossed)])), crossed) == COMPARISON
    for wrong in ("preprocess(image)[0]", "np.squeeze(preprocess(image))"):
        text = COMPARISON.replace("preprocess(image)", wrong)
        source = Source([Cell("code", text)])
        (_, line), diff = mends.batch_axis(source, source.function("compare"))
        assert text.split("\n")[line - 1] == f"    x = {wrong}"
        assert apply(diff, text) == COMPARISON
