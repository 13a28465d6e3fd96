"""The conformance suite: every rubric item as checks.

``check_submission`` makes them all on one zip. The caller reads nothing of it: what parses it and what
runs its code are in two rooms (sandbox), and the caller believes only what a check can give.
"""

from __future__ import annotations

import contextlib
import importlib
import secrets
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from lab5.assignment import ADVISED, STUDENT_ID
from lab5.cli import RunCode
from lab5.errors import SubmissionError
from lab5.grading.core import (
    CHECKS,
    GROUPS,
    STATUSES,
    Advice,
    Check,
    Fault,
    Result,
    check,
    error_text,
    made_order,
    out_of_time,
    share_out,
    shown_order,
)
from lab5.grading.graded import Graded
from lab5.grading.portrait import PARTS, Portrait, believed
from lab5.grading.rooms import Observed, Rooms, run_probes
from lab5.grading.sandbox.keeper import Limits
from lab5.grading.sandbox.messages import dumps
from lab5.grading.sandbox.room import Outcome, Visit
from lab5.text import Text

__all__ = [
    "ADVISED",
    "CHECKS",
    "GROUPS",
    "MADE",
    "SHOWN",
    "Advice",
    "Check",
    "Fault",
    "Result",
    "check",
    "check_submission",
]

for _module in ("layout", "topic1", "topic2", "topic3", "template"):  # each registers its checks
    importlib.import_module(f"lab5.grading.checks.{_module}")
share_out()

SHOWN = tuple(shown_order())
MADE = tuple(made_order())

SECONDS: Final = 60.0  # by the clock, for a zip
_SHARE: Final = 5  # of these: the most that one check takes which runs no code
_PORTRAIT: Final = 4  # a quarter more is for the portrait, when the checks are made
_CLOSING: Final = 6  # … what is kept for the checks when the notebook's code takes the rest


def check_submission(
    path: str | Path,
    *,
    weights: str | Path | None = None,
    template: str | Path | None = None,
    run_code: RunCode = "walled",
    strict: bool = False,
    seconds: float = SECONDS,
    seed: int | None = None,
    rooms: Rooms | None = None,
    portrait: bool = False,
) -> Graded:
    """Make every check on a zip; ``as_dict`` of what is returned is what ``lab5 grade --json`` writes.

    Args:
        weights: the checkpoint that the zip's models should carry.
        template: the handed-out notebook.
        run_code: how the notebook's code is run; where it never is, the checks that need it are blocked.
        strict: count advice as a fail.
        seconds: by the clock; a check that is not done then is an error.
        seed: of what the notebook's functions are called with; any by default.
        rooms: made before, for many zips; ``run_code`` is theirs.
        portrait: also say by what it can be compared with others, and how its report looks.

    Raises:
        SubmissionError: there is no such file.
        NoWallError: the code should be run behind a wall, and none can be built here.
        SandboxError: the process that makes the checks does not start.
    """
    files = {"archive": Path(path)}
    for key, given in (("weights", weights), ("template", template)):
        if given:
            files[key] = Path(given)
    for file in files.values():
        if file.is_dir():
            raise SubmissionError(
                f"{file} is a folder without a zip in it: zip the files.",
                zh=f"{file} 是資料夾，裡面沒有 zip：請先壓縮。",
            )
        if not file.is_file():
            raise SubmissionError(f"There is no file {file}.", zh=f"找不到檔案 {file}。")
    seed = secrets.randbelow(1 << 31) if seed is None else seed
    with contextlib.ExitStack() as opened:
        rooms = rooms or opened.enter_context(Rooms(run_code))
        rooms.wait()
        start = time.monotonic()
        grading = opened.enter_context(
            contextlib.closing(_Grading(rooms, files, seed, start + seconds))
        )
        done = grading.results()
        if strict:
            done = {name: result.strictly() for name, result in done.items()}
        drawn = grading.portrait() if portrait else None
        rooms.renew()
        return Graded(
            str(path),
            grading.student_id,
            tuple(done[one.name] for one in SHOWN),
            round(time.monotonic() - start, 2),
            seed,
            drawn,
        )


class _Grading:
    """One zip, between the two rooms."""

    def __init__(self, rooms: Rooms, files: Mapping[str, Path], seed: int, until: float) -> None:
        self._rooms, self._seed, self._until = rooms, seed, until
        self._files = {key: file.resolve() for key, file in files.items()}
        self._seconds = until - time.monotonic()
        self._reader: Visit | None = None
        self._outcomes: dict[str, Observed] = {}  # of the probes, as they were written
        self.student_id: str | None = None

    def close(self) -> None:
        if self._reader:
            self._reader.close()

    def results(self) -> dict[str, Result]:
        """Of every check, by name."""
        done: dict[str, Result] = {}
        look = self._ask({"do": "look"}, self._seconds / _SHARE)
        found = look.value if look.ended == "done" and isinstance(look.value, dict) else {}
        self.student_id = _student_id(found.get("student_id"))
        with ThreadPoolExecutor(1) as pool:  # while the files are looked at
            probes = pool.submit(self._run_probes, found)
            late = ""
            for one in MADE:
                if one.runs and not self._outcomes:
                    self._take(probes)
                if late or (late := "" if time.monotonic() < self._until else one.name):
                    done[one.name] = Result(one.name, "error", why=out_of_time(late).text)
                else:
                    done[one.name] = self._made(one, done)
        return done

    def portrait(self) -> Portrait:
        """What can be made of it in a time of its own; no part costs another."""
        found = {}
        seconds = self._seconds / _PORTRAIT
        self._until = time.monotonic() + seconds
        for part in PARTS:
            if time.monotonic() > self._until:
                break
            outcome = self._ask({"do": "portrait", "part": part}, seconds)
            with contextlib.suppress(AttributeError, LookupError, TypeError, ValueError):
                if outcome.ended == "done":
                    found[part] = believed(part, outcome.value["part"])
        return Portrait(**found)

    def _ask(self, request: dict[str, Any], seconds: float) -> Outcome:
        """The reader's answer; a new one is let in when the last was lost."""
        if self._reader is None:
            self._let_in(seconds)
        return self._answer(request, seconds)

    def _let_in(self, seconds: float) -> None:
        """A reader that knows what the probes saw; where that ends it, one that is told that they crashed."""
        for _ in range(2):
            self._reader = self._rooms.reading.visit(
                "lab5.grading.worker:answer", files=self._files, limits=READER
            )
            if not self._outcomes or self._told(seconds):
                return

    def _told(self, seconds: float) -> bool:
        self._answer({"do": "outcomes", "outcomes": self._outcomes}, seconds)
        if self._reader is None:
            crashed = dumps({"ended": "crashed", "error": "its answer ended the reader"})
            self._outcomes = dict.fromkeys(self._outcomes, (crashed, ""))
        return self._reader is not None

    def _answer(self, request: dict[str, Any], seconds: float) -> Outcome:
        if self._reader is None:
            return Outcome("crashed", error="nobody can read it")
        left = max(0.1, min(seconds, self._until - time.monotonic()))
        found = self._reader.ask({**request, "seed": self._seed}, left)
        if found.ended not in ("done", "raised"):
            self._reader.close()
            self._reader = None
        return found

    def _made(self, one: Check, done: Mapping[str, Result]) -> Result:
        if one.runs and self._rooms.code is None:
            return Result(
                one.name,
                "blocked",
                why=Text(
                    "Not made: the notebook's code is not run.", "未執行：不執行 notebook 的程式。"
                ),
            )
        request = {
            "do": "check",
            "check": one.name,
            "states": {need: done[need].status for need in one.needs},
        }
        found = self._ask(request, self._seconds if one.runs else self._seconds / _SHARE)
        if found.ended == "done":
            with contextlib.suppress(KeyError, TypeError, ValueError):
                return _believed(one, found.value["result"])
            return Result(one.name, "error", why=error_text("an answer of another form"))
        if time.monotonic() >= self._until:
            return Result(one.name, "error", why=out_of_time(one.name).text)
        return _lost(one.name, found)

    def _run_probes(self, found: Mapping[str, Any]) -> dict[str, Observed]:
        """How each probe ended, as it was written: the reader reads it."""
        cells, given = found.get("cells"), found.get("given")
        if self._rooms.code is None or not isinstance(cells, list) or not isinstance(given, dict):
            return {}
        until = self._until - self._seconds / _CLOSING
        return dict(run_probes(self._rooms.code, cells, given, until))

    def _take(self, probes: Future[dict[str, Observed]]) -> None:
        if found := probes.result():
            self._outcomes = found
            if self._reader is not None:
                self._told(self._seconds)


# Together with the rooms themselves under 4 GB
READER: Final = Limits(memory=8 << 30, resident=2 << 30, file_size=512 << 20, disk=640 << 20)


def _student_id(claimed: Any) -> str | None:
    return claimed if isinstance(claimed, str) and STUDENT_ID.fullmatch(claimed) else None


def _believed(one: Check, value: dict[str, Any]) -> Result:
    """A result as it was claimed, as far as this check can give it.

    Raises:
        KeyError, TypeError, ValueError: it has another form.
    """
    status = value["status"]
    if status not in STATUSES:
        raise ValueError(status)
    earned = float(one.points if status in ("pass", "advice") else 0)
    if status == "fail":
        earned = round(float(value["earned"]), 2)
        if not 0 <= earned <= one.points:
            raise ValueError(f"{earned} of {one.points} points")
    texts = {
        part: Text(str(value[part]["en"]), str(value[part]["zh"]))
        for part in ("why", "want", "got", "hint")
    }
    return Result(one.name, status, earned, **texts)


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
