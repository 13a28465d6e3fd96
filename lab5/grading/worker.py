"""The visitor that makes the checks of one zip, one after the other, over the same evidence."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

from lab5.grading import handin
from lab5.grading.core import Result, judge
from lab5.grading.handin import Evidence
from lab5.grading.portrait import made
from lab5.grading.suite import CHECKS


@functools.cache
def _opened(archive: str, weights: str | None, template: str | None, seed: int) -> Evidence:
    folder = Path("opened").absolute()
    folder.mkdir()
    return Evidence(
        Path(archive),
        folder,
        weights=Path(weights) if weights else None,
        template=Path(template) if template else None,
        seed=seed,
    )


def share(request: dict[str, Any]) -> None:
    """``handin.share`` of what all visitors are given."""
    weights, template = (request.get(key) for key in ("weights", "template"))
    handin.share(request["seed"], weights and Path(weights), template and Path(template))


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Do what ``request["do"]`` names: ``look`` at the zip, take ``outcomes``, make a ``check``, or a
    part of its ``portrait``.
    """
    files = (request["archive"], request.get("weights"), request.get("template"))
    evidence = _opened(*files, request["seed"])
    if request["do"] == "look":
        return {"student_id": evidence.zip.student_id, **evidence.to_run()}
    if request["do"] == "outcomes":
        evidence.take(request["outcomes"])
        return {}
    if request["do"] == "portrait":
        return {"part": made(request["part"], evidence)}
    done = {name: Result(name, status) for name, status in request["states"].items()}
    return {"result": dataclasses.asdict(judge(CHECKS[request["check"]], evidence, done))}
