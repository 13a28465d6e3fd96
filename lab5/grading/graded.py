"""What became of a zip: its checks' results, and the items of the rubric that they add up to."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from lab5.assignment import TOTAL_POINTS
from lab5.grading.core import GROUPS, STATUSES, Result, Status, as_points
from lab5.grading.portrait import Portrait
from lab5.text import Language, Text, printable


@dataclass(frozen=True)
class Item:
    """One line of the rubric, with the worst status of its checks."""

    id: str
    title: Text
    earned: float
    points: float
    status: Status


@dataclass(frozen=True)
class Graded:
    """A zip's results, in the order of the items.

    Args:
        path: the zip, as it was given.
        seconds: how long it took, by the clock.
        seed: of what its functions were called with: with it, another run does the same.
        portrait: by what it is compared with others, where that was asked for.
    """

    path: str
    student_id: str | None
    checks: tuple[Result, ...]
    seconds: float
    seed: int
    portrait: Portrait | None = None

    @property
    def earned(self) -> float:
        """The points that the checks gave; ``manual`` ones are not in it."""
        return _sum(self.checks)

    @property
    def points(self) -> int:
        """All that can be earned: 100, unless another assignment has other points."""
        return TOTAL_POINTS

    @property
    def manual(self) -> float:
        """The points that only a person can give."""
        return as_points(sum(one.points for one in self.checks if one.status == "manual"))

    @property
    def items(self) -> list[Item]:
        found = []
        for group, title in GROUPS.items():
            mine = [one for one in self.checks if one.item == group]
            status = max((one.status for one in mine), key=STATUSES.index)
            points = as_points(sum(one.points for one in mine))
            found.append(Item(group, title, _sum(mine), points, status))
        return found

    def as_dict(self, lang: Language) -> dict[str, Any]:
        """A submission as ``grade_schema.json`` describes it, texts in ``lang``."""
        return {
            "path": printable(self.path),
            "student_id": self.student_id and printable(self.student_id),
            "earned": self.earned,
            "points": self.points,
            "manual": self.manual,
            "items": [{**vars(one), "title": one.title.say(lang)} for one in self.items],
            "checks": [
                {
                    "item": one.item,
                    "title": one.title.say(lang),
                    "points": one.points,
                    "name": one.name,
                    "status": one.status,
                    "earned": one.earned,
                    **{
                        part: getattr(one, part).say(lang)
                        for part in ("why", "want", "got", "hint")
                    },
                }
                for one in self.checks
            ],
            "seconds": self.seconds,
            "seed": self.seed,
        }

    def stored(self) -> dict[str, Any]:
        """All of it as JSON can hold it, texts in both languages: what ``restored`` reads."""
        return dataclasses.asdict(self)

    @classmethod
    def restored(cls, stored: dict[str, Any]) -> Graded:
        """
        Raises:
            KeyError, TypeError: it is nothing that ``stored`` returned.
        """
        checks = []
        for one in stored["checks"]:
            parts: dict[str, Any] = {
                key: Text(**part) if isinstance(part, dict) else part for key, part in one.items()
            }
            checks.append(Result(**parts))
        portrait = stored.get("portrait")
        portrait = None if portrait is None else Portrait.restored(portrait)
        return cls(**{**stored, "checks": tuple(checks), "portrait": portrait})


def _sum(results: list[Result] | tuple[Result, ...]) -> float:
    return round(sum(one.earned for one in results), 2)
