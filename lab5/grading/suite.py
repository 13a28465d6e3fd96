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

from lab5.errors import SubmissionError
from lab5.grading.core import (
    ADVISED,
    CHECKS,
    GROUPS,
    Advice,
    Check,
    Fault,
    Result,
    check,
    error_text,
    made_order,
    out_of_time,
    shown_order,
)
from lab5.grading.graded import Graded
from lab5.grading.sandbox import Outcome, Sandbox
from lab5.text import Text

__all__ = [
    "ADVISED", "CHECKS", "GROUPS", "MADE", "SHOWN", "Advice", "Check", "Fault", "Result", "check",
    "check_submission",
]  # fmt: skip

for _module in ("layout", "topic1", "topic2", "topic3", "template"):  # each registers its checks
    importlib.import_module(f"lab5.grading.checks.{_module}")

SHOWN = tuple(shown_order())
MADE = tuple(made_order())

SECONDS = 600.0  # by the clock, for a zip
_SHARE = 5  # of these: the most that one check takes which runs no code
_CLOSING = 20  # of these: what is kept for the checks when the notebook's code takes the rest
MEMORY = 8 << 30  # bytes of address space


def check_submission(
    path: str | Path,
    *,
    weights: str | Path | None = None,
    template: str | Path | None = None,
    static: bool = False,
    strict: bool = False,
    seconds: float = SECONDS,
) -> Graded:
    """Make every check on a zip; ``as_dict`` of what is returned is what ``lab5 grade --json`` writes.

    Args:
        weights: the checkpoint that the zip's models should carry.
        template: the handed-out notebook.
        static: run none of the notebook's code; the checks that need it are blocked.
        strict: count advice as a fail.
        seconds: by the clock; a check that is not done then is an error.

    Raises:
        SubmissionError: there is no such file.
        SandboxError: the process that makes the checks does not start.
    """
    archive = Path(path)
    for file in (archive, *(Path(p) for p in (weights, template) if p)):
        if file.is_dir():
            raise SubmissionError(
                f"{file} is a folder without a zip in it: zip the files.",
                zh=f"{file} 是資料夾，裡面沒有 zip：請先壓縮。",
            )
        if not file.is_file():
            raise SubmissionError(f"There is no file {file}.", zh=f"找不到檔案 {file}。")
    start = time.monotonic()
    until = start + seconds
    done: dict[str, Result] = {}
    student_id: str | None = None
    with tempfile.TemporaryDirectory(prefix="lab5-", ignore_cleanup_errors=True) as folder:
        order = {
            "archive": str(archive.resolve()),
            "folder": folder,
            "weights": str(Path(weights).resolve()) if weights else None,
            "template": str(Path(template).resolve()) if template else None,
            "static": static,
            "until": until - seconds / _CLOSING,
        }
        child = Sandbox(memory=MEMORY, fork=False, network=True).run(
            "lab5.grading.worker:make",
            [{**order, "check": one.name} for one in MADE],
            Path(folder) / "checks",
            until=until,
            patience=[seconds if one.runs else seconds / _SHARE for one in MADE],
        )
        for index, outcome in child:
            name = MADE[index].name
            if outcome.ended == "done":
                done[name] = Result(**_result(outcome.value["result"]))
                student_id = outcome.value["student_id"]
            elif outcome.ended == "late":
                error = out_of_time(MADE[outcome.value].name)
                done[name] = Result(name, "error", why=error.text)
            else:
                done[name] = _lost(name, outcome)
    if strict:
        done = {name: result.strictly() for name, result in done.items()}
    return Graded(
        str(path),
        student_id,
        tuple(done[one.name] for one in SHOWN),
        round(time.monotonic() - start, 2),
    )


def _result(value: dict[str, Any]) -> dict[str, Any]:
    """Texts come back from JSON as dicts."""
    return {k: Text(**v) if isinstance(v, dict) else v for k, v in value.items()}


def _lost(name: str, outcome: Outcome) -> Result:
    """A check that took its process along: what is wrong with the file was not seen."""
    if outcome.ended == "raised":
        return Result(name, "error", why=error_text(outcome.error))
    why = Text(
        f"Looking at the file ended the process ({outcome.error}): look at it yourself.",
        f"讀取檔案時程序意外結束（{outcome.error}），請人工檢查。",
    )
    if outcome.ended == "timeout":
        why = Text(
            f"Looking at the file took more than {outcome.error}: look at it yourself.",
            f"讀取檔案超過 {outcome.error}，請人工檢查。",
        )
    return Result(name, "error", why=why)
