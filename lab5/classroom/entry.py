"""What a class is made of: a student's hand-in, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from lab5.classroom.marks import NOBODYS, Own, waiting
from lab5.grading.core import as_points
from lab5.grading.graded import Graded
from lab5.text import NOTHING, Text, printable


@dataclass(frozen=True)
class HandIn:
    """The zip of a student that counts.

    Args:
        path: the zip, or Moodle's zip that it is in.
        key: the name of its files among the results: as a file name safe, in the class unique, and
            the same in each run.
        member: what it is called in Moodle's zip; "" where it is a file of its own.
        name: its file name as the student gave it.
        student: the full name, as Moodle's folder says it; "" elsewhere.
        moodle: Moodle's number of the submission, which is no student id; "" elsewhere.
        folder: the folder in which Moodle gave it and wants feedback back; "" elsewhere, and where
            its name is no text.
        earlier: the same student's zips that this one replaces.
        trouble: why there is nothing to grade.
    """

    path: Path
    key: str
    member: str = ""
    name: str = ""
    student: str = ""
    moodle: str = ""
    folder: str = ""
    earlier: tuple[Path, ...] = ()
    trouble: Text = NOTHING

    @property
    def where(self) -> Path:
        """The zip, though it be in another, in words that can be written."""
        return Path(printable(f"{self.path}/{self.member}" if self.member else str(self.path)))


@dataclass(frozen=True)
class Marked:
    """A hand-in and its results.

    Args:
        graded: None where it could not be graded, and ``why`` says why.
        sha256: of the zip, in hexadecimal; "" where it could not be read.
        notes: what a person should know who enters the marks; nothing for the student.
        own: the points and words that a person gave it (``marks``).
    """

    handin: HandIn
    graded: Graded | None
    why: Text | None = None
    sha256: str = ""
    notes: tuple[Text, ...] = ()
    own: Own = NOBODYS

    @property
    def given(self) -> float:
        """The person's points that count."""
        return self.own.total(waiting(self.graded)) if self.graded else 0.0

    @property
    def total(self) -> float:
        """The checks' points and the person's; 0 where there are no results."""
        return round(self.graded.earned + self.given, 2) if self.graded else 0.0

    @property
    def to_give(self) -> float:
        """The points of the checks that still wait for a person."""
        if self.graded is None:
            return 0
        still = set(waiting(self.graded)) - self.own.points.keys()
        return as_points(sum(one.points for one in self.graded.checks if one.name in still))

    def shared_with(self, handin: HandIn) -> Marked:
        """The same of another hand-in that holds the same bytes under the same name."""
        graded = self.graded and replace(self.graded, path=str(handin.where))
        return replace(self, handin=handin, graded=graded)
