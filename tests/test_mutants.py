"""Every fault is caught by its check alone; every check has a fault that it alone catches."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from lab5.grading.suite import ADVISED, CHECKS, MADE, check_submission
from tests.conftest import FIXTURES
from tests.mutants import FAULTS, HARMLESS, Variation


def parameters(variations: dict[str, Variation]) -> list:
    return [
        pytest.param(one, id=name, marks=() if one.fast else pytest.mark.slow)
        for name, one in variations.items()
    ]


def needing(name: str) -> set[str]:
    """The checks that need ``name``, directly or not."""
    found = {name}
    for one in MADE:  # what is needed comes first
        if found & set(one.needs):
            found.add(one.name)
    return found - {name}


@pytest.mark.slow
def test_the_good_hand_in_fails_nothing(grader):
    states = {name: result.status for name, result in grader.results.items()}
    assert {n: s for n, s in states.items() if s not in ("pass", "advice", "manual")} == {}


@pytest.mark.parametrize("variation", parameters(FAULTS))
def test_a_fault_fails_its_check_alone(variation, grader, tmp_path):
    results = grader(variation, tmp_path)
    broken = results[variation.breaks]
    differ = grader.worse(results)
    assert broken.status == "fail", differ
    assert broken.why
    assert broken.got or broken.want
    may = {variation.breaks, *needing(variation.breaks)}
    for name in variation.also:
        assert name in differ, f"{name} does not break: take it out of also"
        may |= {name, *needing(name)}
    for name in variation.advises:
        assert results[name].status == "advice", name
    assert {n: differ[n] for n in set(differ) - may - {*variation.advises}} == {}
    assert "error" not in {result.status for result in results.values()}


def test_every_check_has_a_fault_or_advice_that_is_its_alone():
    alone = {fault.breaks for fault in FAULTS.values() if not fault.also}
    alone |= {one.advises[0] for one in HARMLESS.values() if len(one.advises) == 1}
    assert alone == {name for name, check in CHECKS.items() if not check.manual}


def test_every_advice_is_given_by_a_variation():
    assert {name for one in HARMLESS.values() for name in one.advises} == set(ADVISED)


def test_there_are_sixty_faults_in_every_item():
    assert len(FAULTS) >= 60
    assert {CHECKS[fault.breaks].item for fault in FAULTS.values()} == {
        check.item for check in CHECKS.values()
    }


def test_every_fault_says_what_it_is():
    said = [fault.edit.__doc__ for fault in FAULTS.values()]
    assert len(set(said)) == len(said)
    assert all(text.endswith(".") and "\n" not in text for text in said)


@pytest.mark.slow
@pytest.mark.parametrize(
    "variation",
    [FAULTS[name] for name in ("labels-in-another-order", "opset-11", "folder-in-the-zip")],
    ids=lambda variation: variation.name,
)
def test_the_whole_suite_finds_the_same(variation, grader, tmp_path):
    """In a child process and with nothing taken from the good hand-in."""
    found = grader(variation, tmp_path)
    whole = check_submission(
        tmp_path / grader.handins[variation.name].archive,
        weights=FIXTURES / "best_model.pth",
        template=FIXTURES / "EAI_lab5.ipynb",
    )
    assert {c.name: c.status for c in whole.checks} == {
        name: result.status for name, result in found.items()
    }


def test_xdist_keeps_together_what_shares_a_grader(tmp_path):
    """Otherwise each of its processes makes all graders, and grades each batch of ``tests/hostile``."""
    (tmp_path / "test_groups.py").write_text(
        "import pytest\n"
        "marks = [pytest.mark.xdist_group(f'group-{n % 2}') for n in range(8)]\n"
        "@pytest.mark.parametrize('n', [pytest.param(n, marks=marks[n]) for n in range(8)])\n"
        "def test(n, worker_id): print(f'{n % 2} ran in {worker_id}')\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadgroup", "-rP", tmp_path]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert len(set(re.findall(r"(\d ran in gw\d)", done.stdout))) == 2
