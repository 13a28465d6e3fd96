"""Hostile hand-ins: each is graded with a good one behind it, as root and as an ordinary user."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from tests.hostile import CASES, Case
from tests.hostile.run import USERS, Marks, batches, look, marks, unavailable
from tests.mutants.core import Variants

QUICK = [case for case in CASES.values() if case.quick]
REST = [case for case in CASES.values() if not case.quick]
GROUP = {case.name: number for number, batch in enumerate(batches(REST)) for case in batch}


@pytest.fixture(scope="session")
def variants(good_files, once):
    return Variants(None, good_files, once("hostile", lambda folder: None))


@pytest.fixture(scope="session")
def looked(variants, once):
    """What did not hold of a case, among those that are graded together with it."""
    found: dict[tuple[str, str], list[str]] = {}

    def make(folder: Path) -> None:
        text = json.dumps(dataclasses.asdict(marks(variants)))
        (folder / "marks.json").write_text(text, encoding="utf-8")

    def known() -> Marks:
        return Marks(**json.loads((once("marks", make) / "marks.json").read_text("utf-8")))

    def look_at(case: Case, user: str, together: list[Case]) -> list[str]:
        if (why := unavailable(user)) is not None:
            pytest.skip(why)
        if (user, case.name) not in found:
            said = look(together, user, variants, known())
            found.update({(user, name): one for name, one in said.items()})
        return found[user, case.name]

    return look_at


@pytest.mark.parametrize("user", USERS)
def test_one_attack_of_each_kind(user, looked):
    for batch in batches(QUICK):
        for case in batch:
            assert looked(case, user, batch) == [], case.name


def parameters() -> list:
    """xdist keeps together what one command grades."""
    return [
        pytest.param(
            case, user, id=f"{case.kind}-{case.name}-{user}",
            marks=[
                pytest.mark.slow,
                pytest.mark.xdist_group(f"hostile-{user}-{GROUP[case.name]}"),
            ],
        )
        for user in USERS
        for case in REST
    ]  # fmt: skip


@pytest.mark.parametrize(("case", "user"), parameters())
def test_an_attack_gains_nothing_and_harms_nobody(case, user, looked, request):
    asked = {
        item.callspec.params["case"].name
        for item in request.session.items
        if getattr(item, "callspec", None) and item.callspec.params.get("user") == user
        and "case" in item.callspec.params
    }  # fmt: skip
    together = [one for one in REST if one.name in asked and GROUP[one.name] == GROUP[case.name]]
    assert looked(case, user, together) == []


def test_there_are_attacks_of_every_kind():
    assert len(CASES) >= 150
    assert {case.kind for case in CASES.values()} == {case.kind for case in QUICK}
    assert all(case.edit.__doc__ for case in CASES.values())
