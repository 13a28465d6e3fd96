"""The framework: what becomes of a check, and what the registry must look like."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lab5.assignment import ITEMS, TOTAL_POINTS
from lab5.checks import CHECKS, GROUPS, say
from lab5.checks.core import Blocked, Check, Fault, Manual, Result, judge
from lab5.rubric import as_markdown

ROOT = Path(__file__).parent.parent


def made(function, **changes):
    values = {
        "name": "one", "item": "1.3", "points": 4, "en": "It is so.", "zh": "如此", "hint": "do it",
        "needs": (), "runs": False, "manual": False, "function": function,
    }  # fmt: skip
    return Check(**{**values, **changes})


def raising(error):
    def function(evidence):
        raise error

    return made(function)


def test_a_fact_that_holds():
    result = judge(made(lambda e: None), None, {})
    assert (result.status, result.earned, result.why) == ("pass", 4, "")


def test_a_remark_is_kept():
    assert judge(made(lambda e: ("seen", "看過")), None, {}).why == ("seen", "看過")


def test_a_fault_of_the_student():
    result = judge(raising(Fault(("no", "否"), want=13, got=18)), None, {})
    assert (result.status, result.earned) == ("fail", 0)
    assert (result.why, result.want, result.got, result.hint) == (("no", "否"), "13", "18", "do it")


def test_a_fault_may_earn_a_part():
    assert judge(raising(Fault("no", share=0.25)), None, {}).earned == 1


def test_any_other_exception_is_our_error():
    result = judge(raising(KeyError("x")), None, {})
    assert (result.status, result.earned) == ("error", 0)
    assert "no fault of the hand-in" in result.why[0]


def test_manual_and_blocked():
    assert judge(raising(Manual("look")), None, {}).status == "manual"
    assert judge(raising(Blocked("gone")), None, {}).status == "blocked"


@pytest.mark.parametrize("status", ["fail", "blocked", "error", "manual"])
def test_what_needs_a_check_that_did_not_pass_is_blocked(status):
    need = next(iter(CHECKS))
    ran = []
    one = made(ran.append, needs=(need,))
    result = judge(one, None, {need: Result(need, status)})
    assert result.status == "blocked"
    assert CHECKS[need].en in result.why[0]
    assert ran == []


@pytest.mark.parametrize("item", ITEMS.values(), ids=lambda item: item.number)
def test_the_points_of_an_item_add_up_to_the_assignments(item):
    assert sum(c.points for c in CHECKS.values() if c.item == item.number) == item.points


def test_the_points_add_up():
    assert sum(c.points for c in CHECKS.values()) == TOTAL_POINTS == 100
    assert {c.item for c in CHECKS.values()} == set(GROUPS)


def test_a_check_needs_only_what_is_made_before_it():
    before = set()
    for one in CHECKS.values():
        assert set(one.needs) <= before, one.name
        before.add(one.name)


def test_what_runs_code_needs_the_notebook():
    def needs(name):
        return {name, *(deep for need in CHECKS[name].needs for deep in needs(need))}

    for one in CHECKS.values():
        if one.runs:
            assert "notebook-present" in needs(one.name), one.name


@pytest.mark.parametrize("one", CHECKS.values(), ids=lambda one: one.name)
def test_a_title_is_short_and_states_a_fact(one):
    assert one.en.endswith(".")
    assert "\n" not in one.en
    assert len(one.en) <= 100
    assert one.en[0].isupper() or one.en.startswith(("compare_", "preprocess", "build_"))
    assert not re.search(r"\b(should|must|check(s|ed)?|test(s|ed)?|verif\w+)\b", one.en), one.en
    assert re.search(r"[\u4e00-\u9fff]", one.zh), "no Chinese title"
    assert not one.zh.endswith("。")
    assert len(one.zh) <= 50
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", one.name)
    assert one.manual or one.hint, "it says what to do"
    assert not one.manual or one.points


def test_titles_are_unique():
    for lang in ("en", "zh-TW"):
        titles = [say((c.en, c.zh), lang) for c in CHECKS.values()]
        assert len(set(titles)) == len(titles)


def test_the_page_of_the_rubric_is_current():
    page = ROOT / "docs" / "rubric.md"
    assert page.read_text(encoding="utf-8") == as_markdown(), (
        "python -m lab5.rubric > docs/rubric.md"
    )
