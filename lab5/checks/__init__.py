"""The conformance suite: every rubric item as checks.

``check_submission`` makes them all on one zip, in a child process, so that nothing in the zip can stop
or harm the caller.
"""

from __future__ import annotations

import importlib
import tempfile
import time
from pathlib import Path
from typing import Any

from lab5.assignment import TOTAL_POINTS
from lab5.checks.core import CHECKS, GROUPS, Check, Fault, Result, Text, check, error_text, say
from lab5.errors import SubmissionError
from lab5.sandbox import PATIENCE, Outcome, Sandbox

__all__ = ["CHECKS", "GROUPS", "Check", "Fault", "Result", "check", "check_submission", "say"]

for _module in ("layout", "topic1", "topic2", "topic3", "template"):  # each registers its checks
    importlib.import_module(f"lab5.checks.{_module}")

SECONDS = 300.0  # for one check, the time of all probes of the notebook included
MEMORY = 8 << 30  # bytes of address space


def check_submission(
    path: str | Path,
    *,
    weights: str | Path | None = None,
    template: str | Path | None = None,
    static: bool = False,
) -> dict[str, Any]:
    """Make every check on a zip: ``{path, student_id, earned, points, manual, items, checks, seconds}``.

    Texts are pairs (English, zh-TW) or the same string for both; ``lab5.grade.as_json`` picks one.

    Args:
        weights: the checkpoint that the zip's models should carry.
        template: the handed-out notebook.
        static: run none of the notebook's code; the checks that need it are blocked.

    Raises:
        SubmissionError: there is no such file.
        SandboxError: the process that makes the checks does not start.
    """
    archive = Path(path)
    for file in (archive, *(Path(p) for p in (weights, template) if p)):
        if not file.is_file():
            raise SubmissionError(f"There is no file {file}.", zh=f"找不到檔案 {file}。")
    start = time.perf_counter()
    done: dict[str, Result] = {}
    student_id: str | None = None
    with tempfile.TemporaryDirectory(prefix="lab5-", ignore_cleanup_errors=True) as folder:
        order = {
            "archive": str(archive.resolve()),
            "folder": folder,
            "weights": str(Path(weights).resolve()) if weights else None,
            "template": str(Path(template).resolve()) if template else None,
            "static": static,
        }
        jobs = [{**order, "check": name} for name in CHECKS]
        sandbox = Sandbox(seconds=SECONDS / PATIENCE, memory=MEMORY, fork=False, network=True)
        child = sandbox.run("lab5.checks.worker:make", jobs, Path(folder) / "checks")
        for (index, outcome), name in zip(child, CHECKS, strict=True):
            assert jobs[index]["check"] == name
            if outcome.ended == "done":
                done[name] = Result(**_result(outcome.value["result"]))
                student_id = outcome.value["student_id"]
            else:
                done[name] = _lost(name, outcome)
    return {
        "path": str(path),
        "student_id": student_id,
        "earned": round(sum(result.earned for result in done.values()), 2),
        "points": TOTAL_POINTS,
        "manual": sum(CHECKS[n].points for n, r in done.items() if r.status == "manual"),
        "items": [_item(group, done) for group in GROUPS],
        "checks": [
            {
                "name": one.name,
                "item": one.item,
                "title": (one.en, one.zh),
                "status": done[one.name].status,
                "earned": done[one.name].earned,
                "points": one.points,
                "why": done[one.name].why,
                "want": done[one.name].want,
                "got": done[one.name].got,
                "hint": done[one.name].hint,
            }
            for one in sorted(CHECKS.values(), key=lambda one: list(GROUPS).index(one.item))
        ],
        "seconds": round(time.perf_counter() - start, 2),
    }


def _result(value: dict[str, Any]) -> dict[str, Any]:
    """Texts come back from JSON as lists."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in value.items()}


def _lost(name: str, outcome: Outcome) -> Result:
    """A check that took its process along: the file that it looked at did that."""
    if outcome.ended == "raised":
        return Result(name, "error", why=error_text(outcome.error))
    why: Text = (
        f"Looking at the file ended the process ({outcome.error}).",
        f"讀取檔案時程序意外結束（{outcome.error}）。",
    )
    if outcome.ended == "timeout":
        why = ("Looking at the file took too long.", "讀取檔案的時間過長。")
    return Result(name, "fail", why=why, want="", got=outcome.error)


def _item(group: str, done: dict[str, Result]) -> dict[str, Any]:
    """One line of the rubric: the worst status of its checks; ``manual`` only if nothing is worse."""
    mine = [one for one in CHECKS.values() if one.item == group]
    states = {done[one.name].status for one in mine}
    status = next(s for s in ("error", "fail", "blocked", "manual", "pass") if s in states)
    return {
        "id": group,
        "title": GROUPS[group],
        "earned": round(sum(done[one.name].earned for one in mine), 2),
        "points": sum(one.points for one in mine),
        "status": status,
    }
