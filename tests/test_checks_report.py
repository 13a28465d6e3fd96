"""What the checks read of reports: texts and small PDFs, without grading a zip."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab5.grading.checks.topic3 import _FP32, _INT8, _reflection, comparisons, figures, prose
from lab5.grading.core import Fault, Manual
from lab5.grading.evidence.pdf import legible, read_report, tidy
from lab5.grading.suite import CHECKS
from tests.handin import REPORT
from tests.mutants import harmless_report
from tests.mutants.core import HARMLESS, HandIn

MINE = {n: v for n, v in HARMLESS.items() if v.edit.__module__ == harmless_report.__name__}
MACHINE = ("report-readable", "screenshots", "analysis-figures", "reflection")


def statuses(edit, folder) -> dict[str, str]:
    """What becomes of the report's checks."""
    from tests import handin

    varied = HandIn(SimpleNamespace(good={REPORT: handin.report()}))
    edit(varied)
    path = folder / REPORT
    path.write_bytes(varied.files[REPORT])
    evidence, found = SimpleNamespace(report=read_report(path)), {}
    for name in MACHINE:
        try:
            CHECKS[name].function(evidence)
            found[name] = "pass"
        except Manual:
            found[name] = "manual"
        except Fault:
            found[name] = "fail"
    return found


@pytest.mark.parametrize("name", MINE)
def test_a_right_report_earns_all(name, tmp_path):
    assert statuses(MINE[name].edit, tmp_path) == dict.fromkeys(MACHINE, "pass")


@pytest.mark.parametrize("name", harmless_report.TO_A_PERSON)
def test_what_a_program_cannot_judge_goes_to_a_person(name, tmp_path):
    check, edit = harmless_report.TO_A_PERSON[name]
    found = statuses(edit, tmp_path)
    assert found[check] == "manual"
    assert "fail" not in found.values()


# Figures

NUMBERS = ["{}", "{:.2f}", "{:.1e}", "{:,.1f}"]
NAMES = [("FP32", "INT8"), ("Float32", "int-8"), ("ＦＰ３２", "ＩＮＴ８"), ("量化前", "量化後")]
UNITS = [" ms", "毫秒", " MB", "%", " s"]
LAYOUTS = {
    "sentence": "{a} takes {x}{u}, {b} takes {y}{u}.",
    "chinese": "{a}為{x}{u}，{b}為{y}{u}。",
    "arrow": "{a} → {b}: {x}{u} → {y}{u}",
    "row": "{a} | {b}\n{x}{u} | {y}{u}",
    "columns": "{a}\n{x}{u}\n{b}\n{y}{u}",
    "caption": "Table 1: inference time ({u})\n{a} {b}\nResNet18 {x} {y}",
    "in front": "{x}{u} ({a}), {y}{u} ({b})",
}


def counts(text: str) -> bool:
    text = tidy(text)
    named = _FP32.search(text) and _INT8.search(text)
    return bool(named and (len(figures(text)) >= 2 or comparisons(text)))


@given(
    st.sampled_from([*LAYOUTS.values()]),
    st.sampled_from(NAMES),
    st.sampled_from([*UNITS, ""]),
    st.sampled_from(NUMBERS),
    st.tuples(st.floats(4, 9e4), st.floats(4, 9e4)),
    st.booleans(),
)
def test_two_figures_of_both_models_count(layout, names, unit, style, values, swapped):
    a, b = names[::-1] if swapped else names
    x, y = (style.format(value) for value in values)
    if unit or "{u})" not in layout:
        assert counts(layout.format(a=a, b=b, u=unit, x=x, y=y))


@pytest.mark.parametrize(
    "text",
    [
        "INT8 比 FP32 快 3～4 倍", "INT8 比 FP32 慢三到四倍", "INT8 is 4x faster than FP32",
        "INT8 is three to four times slower than FP32.", "FP32 與 INT8 的預測 10 張中有 9 張一致",
        "FP32 and INT8 agree on 9 of 10 pictures", "FP32 6.5×10⁻³ 秒 INT8 1.6×10⁻³ 秒",
        "FP32: 45\nINT8: 11", "Metric\nTime\nSize\nFP32\n6\n45\nINT8\n2\n11",
        "F P 3 2 : 6 . 5 m s\nI N T 8 : 1 . 6 m s", "F\nP\n3\n2\n:\n6\n.\n5\nI\nN\nT\n8\n:\n1\n.\n6",
        "檔案大小 44.7 MB → 11.3 MB，FP32 與 INT8",
    ],
)  # fmt: skip
def test_figures_as_people_write_them(text):
    assert counts(text)


OTHERS = [
    "N26140692", "2025/11/26", "114年11月26日", "11:32", "Page 3 of 5", "圖 1", "Figure 2", "Top-3",
    "CIFAR-10", "ResNet18", "32×32", "(1, 3, 32, 32)", "opset 13", "72 小時", "72 hours", "3.2", "(10%)",
    "iPhone 15", "iOS 17.2", "Python 3.10", "ORT v1.20.1", "https://a1b2.gradio.live", "10 類", "5 台",
    "學號 611123456", "Lab 5", "390x844 px", "[1]", "32-bit",
]  # fmt: skip


@given(
    st.lists(st.sampled_from(OTHERS), min_size=1, max_size=12),
    st.sampled_from([" ", "\n", "，", "; "]),
)
def test_other_numbers_do_not_count(others, separator):
    assert not counts("FP32 and INT8" + separator + separator.join(others))


@given(st.text(max_size=400))
def test_any_text_is_tidied_once(text):
    once = tidy(text)
    assert "\u200b" not in once
    figures(once), comparisons(once), prose(once), _reflection(once), legible(once)


@pytest.mark.parametrize(
    "piece",
    [
        "1,",
        "1.",
        "FP32",
        "3 ",
        "心得\n",
        "a-\n",
        "(1",
        "1x1",
        "時間 ",
        "我",
        "3.3",
        "圖 1",
        "一",
        "_",
        "\n",
        "@",
    ],
)
def test_long_texts_take_little_time(piece):
    import time

    text, start = piece * (50_000 // len(piece)), time.process_time()
    once = tidy(text)
    figures(once), comparisons(once), prose(once), _reflection(once), legible(once)
    assert time.process_time() - start < 10


# Text that is none


@pytest.mark.parametrize(
    ("text", "real"),
    [
        ("這次學會了量化校準的重要性，也發現匯出時要確認版本。", True),
        ("This is what the report of the lab says about both models and their time.", True),
        ("7KLV LV ZKDW WKH UHSRUW RI WKH ODE VDBV DERXW ERWK PRGHOV " * 5, False),
        ("\ufffd" * 40 + "FP32 INT8 6.52 1.61 the time", False),
        ("\ue001\ue002\ue003" * 20, False),
        ("鼕齫龘爨籲麤灩虋" * 10, False),
        ("short", False),
    ],
)
def test_text_in_unknown_characters_is_noticed(text, real):
    assert legible(text) is real


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("⼼得與建議", "心得與建議"), ("ｆｐ３２", "fp32"), ("quanti\u00ad\nzation", "quantization"),
        ("quanti-\nzation", "quantization"), ("心\u200b得", "心得"), ("心 得", "心得"), ("eﬃcient", "efficient"),
        ("\u200f心得\u202a", "心得"), ("心\n得\n建\n議", "心得建議"), ("3\n4\n5\n6", "3\n4\n5\n6"),
    ],
)  # fmt: skip
def test_a_text_is_tidied(text, want):
    assert tidy(text) == want
