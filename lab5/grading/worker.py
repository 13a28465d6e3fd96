"""The child process that makes the checks of one zip, one after the other, over the same evidence."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

from lab5.grading.core import Result, judge
from lab5.grading.handin import Evidence
from lab5.grading.suite import CHECKS
from lab5.text import Text

_opened: dict[str, Evidence] = {}
_done: dict[str, Result] = {}


def make(job: dict[str, Any]) -> dict[str, Any]:
    """Make the check ``job["check"]``; the first job of a process opens the zip.

    The states are kept in a file, for the process that follows when a check takes this one along.
    """
    states = Path(job["folder"]) / "states.json"
    if not _opened:
        if states.exists():
            known = json.loads(states.read_text(encoding="utf-8"))
            _done.update({name: Result(name, status) for name, status in known.items()})
        _opened["zip"] = Evidence(
            Path(job["archive"]),
            Path(tempfile.mkdtemp(dir=job["folder"])),
            kept=Path(job["folder"]) / "outcomes",
            weights=Path(job["weights"]) if job["weights"] else None,
            template=Path(job["template"]) if job["template"] else None,
            static=job["static"],
            until=job["until"],
        )
    one = CHECKS[job["check"]]
    _done[one.name] = Result(one.name, "error")  # until it returns
    states.write_text(json.dumps({name: r.status for name, r in _done.items()}), encoding="utf-8")
    _opened["zip"].check = one.name
    result = _judged(one.name, _opened["zip"], job["static"])
    _done[one.name] = result
    return {"result": dataclasses.asdict(result), "student_id": _opened["zip"].zip.student_id}


def _judged(name: str, evidence: Evidence, static: bool) -> Result:
    if static and CHECKS[name].runs:
        return Result(
            name,
            "blocked",
            why=Text(
                "Not made: --static runs none of the notebook's code.",
                "未執行：--static 不執行 notebook 的程式。",
            ),
        )
    return judge(CHECKS[name], evidence, _done)
