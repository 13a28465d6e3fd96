"""What a class is made of: a student's hand-in, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lab5.grading.graded import Graded
from lab5.text import Text


@dataclass(frozen=True)
class HandIn:
    """The zip of a student that counts.

    Args:
        path: the zip.
        key: the name of its files among the results: as a file name safe, in the class unique, and
            the same in each run.
        student: the full name, as Moodle's folder says it; "" elsewhere.
        moodle: Moodle's number of the submission, which is no student id; "" elsewhere.
        folder: the folder in which Moodle gave it and wants feedback back; "" elsewhere.
        earlier: the same student's zips that this one replaces.
    """

    path: Path
    key: str
    student: str = ""
    moodle: str = ""
    folder: str = ""
    earlier: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Marked:
    """A hand-in and its results; ``graded`` is None where it could not be graded, and ``why`` says why."""

    handin: HandIn
    graded: Graded | None
    why: Text | None = None
