"""The points and notes that a person gives by hand: what the class's pages export.

They lie beside ``index.html`` as ``marks*.json`` and are read only; nothing here writes such a file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lab5.assignment import TOTAL_POINTS
from lab5.errors import UsageError
from lab5.grading.core import Result
from lab5.grading.graded import Graded
from lab5.text import printable

FILES: Final = "marks*.json"  # a browser calls the second one marks (1).json
OTHER: Final = "other"  # points beside those of a check, of either sign


@dataclass(frozen=True)
class Own:
    """What a person gave a hand-in: ``points`` by check, a note, and when, in milliseconds since 1970."""

    points: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    at: int = 0

    def total(self, waiting: Iterable[str]) -> float:
        """The points that count where these checks wait for a person: a check that has found out by now, in
        another run, counts by itself.
        """
        counted = {*waiting, OTHER}
        return round(sum(value for name, value in self.points.items() if name in counted), 2)

    def as_dict(self) -> dict[str, Any]:
        return {"points": dict(self.points), "note": self.note, "at": self.at}


NOBODYS: Final = Own()


def waits(check: Result) -> bool:
    """Whether its points are a person's to give: no check could."""
    return check.status in ("manual", "error") and check.points > 0


def waiting(graded: Graded) -> tuple[str, ...]:
    """The names of the checks whose points are a person's to give."""
    return tuple(check.name for check in graded.checks if waits(check))


def read(folder: Path) -> dict[str, Own]:
    """By the hand-ins' keys, what the files there say; of two words on one hand-in the later one.

    Raises:
        UsageError: one of the files is no export of the class's pages.
    """
    found: dict[str, Own] = {}
    for path in sorted(folder.glob(FILES)):
        try:
            marks = json.loads(path.read_text(encoding="utf-8-sig"))["marks"]
            for key, one in marks.items():
                own = _own(one)
                if key not in found or own.at >= found[key].at:
                    found[key] = own
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            OverflowError,
            RecursionError,
        ) as error:
            raise UsageError(
                f"{path} cannot be read as the marks that you gave ({type(error).__name__}: {error}). It "
                "stays as it is: mend it, or move it away and export it again from index.html.",
                zh=f"無法讀取你評的分數 {path}（{type(error).__name__}：{error}）。檔案維持原狀："
                "請修正，或移到別處後從 index.html 重新匯出。",
            ) from error
    return found


def _own(one: dict[str, Any]) -> Own:
    points = {str(name): float(value) for name, value in one["points"].items()}
    if not all(abs(value) <= TOTAL_POINTS for value in points.values()):  # nor is NaN
        raise ValueError(f"points that are no number from {-TOTAL_POINTS} to {TOTAL_POINTS}")
    return Own(points, printable(str(one.get("note", ""))), int(float(one.get("at", 0))))
