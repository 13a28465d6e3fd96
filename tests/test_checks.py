"""The framework: what becomes of a check, and what the registry must look like."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from lab5.assignment import ITEMS, TOTAL_POINTS
from lab5.grading import rubric
from lab5.grading.core import STATUSES, Advice, Blocked, Check, Fault, Manual, Result, Text, judge
from lab5.grading.rubric import as_markdown
from lab5.grading.suite import ADVISED, CHECKS, GROUPS, MADE, SHOWN

ROOT = Path(__file__).parent.parent


def made(function, **changes):
    values = {
        "name": "one", "item": "1.3", "points": 4, "title": Text("It is so.", "如此"),
        "hint": Text("do it", "去做"),
        "needs": (), "runs": False, "manual": False, "function": function,
    }  # fmt: skip
    return Check(**{**values, **changes})


def raising(error):
    def function(evidence):
        raise error

    return made(function)


def test_a_fact_that_holds():
    result = judge(made(lambda e: None), None, {})
    assert (result.status, result.earned, result.why) == ("pass", 4, Text())


def test_a_remark_is_kept():
    assert judge(made(lambda e: Text("seen", "看過")), None, {}).why == Text("seen", "看過")


def test_a_fault_of_the_student():
    result = judge(raising(Fault(Text("no", "否"), want=13, got=18)), None, {})
    assert (result.status, result.earned) == ("fail", 0)
    assert (result.why, result.want) == (Text("no", "否"), Text("13", "13"))
    assert (result.got, result.hint) == (Text("18", "18"), Text("do it", "去做"))


def test_a_fault_may_earn_a_part():
    assert judge(raising(Fault(Text("no", "否"), share=0.25)), None, {}).earned == 1


def test_any_other_exception_is_our_error():
    result = judge(raising(KeyError("x")), None, {})
    assert (result.status, result.earned) == ("error", 0)
    assert "no fault of the hand-in" in result.why.en


def test_advice_costs_nothing_and_strictly_everything():
    name = next(iter(ADVISED))
    result = judge(made(raising(Advice(Text("so", "如此"))).function, name=name), None, {})
    assert (result.status, result.earned, result.why.en) == ("advice", 4, "so")
    strict = result.strictly()
    assert (strict.status, strict.earned, strict.why) == ("fail", 0, result.why)
    assert judge(made(lambda e: None), None, {}).strictly().status == "pass"


def test_what_the_table_does_not_name_is_no_advice():
    assert judge(raising(Advice(Text("so", "如此"))), None, {}).status == "fail"
    assert set(ADVISED) <= set(CHECKS)


@pytest.mark.parametrize("shape", [(3, 32, 32), (3072,), (), (2, 10)])
def test_a_shape_is_no_pair_of_languages(shape):
    result = judge(raising(Fault(Text("no", "否"), want=(1, 3, 32, 32), got=shape)), None, {})
    assert result.got == Text(str(shape), str(shape))
    assert result.got.say("zh-TW") == str(shape)


def test_statuses_from_the_best_to_the_worst():
    assert STATUSES == ("pass", "advice", "manual", "blocked", "fail", "error")


def test_advice_blocks_nothing():
    need = next(iter(CHECKS))
    one = made(lambda e: None, needs=(need,))
    assert judge(one, None, {need: Result(need, "advice")}).status == "pass"


def test_manual_and_blocked():
    assert judge(raising(Manual(Text("look", "請看"))), None, {}).status == "manual"
    assert judge(raising(Blocked(Text("gone", "沒有了"))), None, {}).status == "blocked"


@pytest.mark.parametrize("status", ["fail", "blocked", "error"])
def test_what_needs_a_check_that_did_not_pass_is_blocked(status):
    need = next(iter(CHECKS))
    ran = []
    one = made(ran.append, needs=(need,))
    result = judge(one, None, {need: Result(need, status)})
    assert result.status == "blocked"
    assert CHECKS[need].title.en in result.why.en
    assert ran == []


@pytest.mark.parametrize("status", ["pass", "advice", "manual"])
def test_what_nobody_found_wrong_blocks_nothing(status):
    need = next(iter(CHECKS))
    one = made(lambda e: None, needs=(need,))
    assert judge(one, None, {need: Result(need, status)}).status == "pass"


@pytest.mark.parametrize("item", ITEMS.values(), ids=lambda item: item.number)
def test_the_points_of_an_item_add_up_to_the_assignments(item):
    assert sum(c.points for c in CHECKS.values() if c.item == item.number) == item.points


def test_the_points_add_up():
    assert sum(c.points for c in CHECKS.values()) == TOTAL_POINTS == 100
    assert {c.item for c in CHECKS.values()} == set(GROUPS)


def test_a_check_needs_only_what_is_made_before_it():
    before = set()
    for one in MADE:
        assert set(one.needs) <= before, one.name
        before.add(one.name)
    assert before == set(CHECKS)


def test_what_runs_no_code_is_made_first():
    """So the notebook's code cannot take its time."""
    runs = [one.runs for one in MADE]
    assert runs == sorted(runs)


def test_checks_are_shown_by_item():
    assert list(dict.fromkeys(one.item for one in SHOWN)) == list(GROUPS)
    assert {one.name for one in SHOWN} == set(CHECKS)


def test_what_runs_code_needs_the_notebook():
    def needs(name):
        return {name, *(deep for need in CHECKS[name].needs for deep in needs(need))}

    for one in CHECKS.values():
        if one.runs:
            assert "notebook-present" in needs(one.name), one.name


@pytest.mark.parametrize("one", CHECKS.values(), ids=lambda one: one.name)
def test_a_title_is_short_and_states_a_fact(one):
    assert one.title.en.endswith(".")
    assert "\n" not in one.title.en
    assert len(one.title.en) <= 100
    assert one.title.en[0].isupper() or one.title.en.startswith(
        ("compare_", "preprocess", "build_")
    )
    assert not re.search(r"\b(should|must|check(s|ed)?|test(s|ed)?|verif\w+)\b", one.title.en), (
        one.title.en
    )
    assert re.search(r"[\u4e00-\u9fff]", one.title.zh), "no Chinese title"
    assert not one.title.zh.endswith("。")
    assert len(one.title.zh) <= 50
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", one.name)
    assert one.manual or one.hint, "it says what to do"
    assert not one.manual or one.points


def test_titles_are_unique():
    for lang in ("en", "zh-TW"):
        titles = [c.title.say(lang) for c in CHECKS.values()]
        assert len(set(titles)) == len(titles)


def test_the_page_of_the_rubric_is_current():
    page = ROOT / "docs" / "rubric.md"
    assert page.read_text(encoding="utf-8") == as_markdown(), (
        "python -m lab5.rubric > docs/rubric.md"
    )


def cells(page):
    """The text of each cell of a page's tables, as a reader sees it."""
    inline = [t for t in MarkdownIt().enable("table").parse(page) if t.type == "inline"]
    seen = ("text", "text_special")
    return [
        "".join(c.content for c in cell.children if c.type in seen or c.content == "<br>")
        for cell in inline
    ]


def test_a_reader_of_the_rubric_sees_the_titles():
    shown = {part for cell in cells(as_markdown()) for part in cell.split("<br>")}
    titles = {text for one in CHECKS.values() for text in (one.title.en, one.title.zh)}
    assert any("<student id>" in title for title in titles)
    assert titles <= shown


@pytest.mark.parametrize(
    "text",
    ["<b>a</b> &amp; &lt;", "*a*", "**a**", "`b`", "__c__", "_c_ a_b_c", "[d](e)", "![d](e)", "f|g", "\\*h\\*", "`|`"],
)  # fmt: skip
def test_a_text_of_the_rubric_is_no_markdown(text):
    assert cells(f"| a |\n| --- |\n| {rubric._cell(text)} |\n")[1:] == [text]
