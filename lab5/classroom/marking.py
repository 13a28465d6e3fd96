"""One hand-in → its results, wherever it is done: a job of the batch."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import lab5
from lab5 import assignment
from lab5.classroom.entry import HandIn, Marked
from lab5.classroom.found import digest, opened
from lab5.cli import RunCode, own_version
from lab5.errors import Lab5Error, SandboxError
from lab5.files import sha256
from lab5.grading import suite
from lab5.grading.rooms import DRAWS, READS, Rooms
from lab5.text import Text

_NOT_MARKS: Final = ("classroom", "commands")  # the folders whose code makes no mark


@dataclass(frozen=True)
class Options:
    """What every hand-in of a class is graded with, as ``check_submission`` takes it.

    Args:
        seed: None is another one for each.
        diagnose: give causes for hints, where one is found.
        portrait: look at what a class's pages show, too.
    """

    weights: Path | None = None
    template: Path | None = None
    run_code: RunCode = "walled"
    strict: bool = False
    seed: int | None = None
    diagnose: bool = False
    portrait: bool = False

    def stored(self) -> dict[str, Any]:
        """What of them a result depends on, as JSON can hold it."""
        files = {"weights": self.weights, "template": self.template}
        return {
            **{name: path and sha256(path) for name, path in files.items()},
            "run_code": self.run_code,
            "strict": self.strict,
            "seed": self.seed,
            "diagnose": self.diagnose,
            "portrait": self.portrait,
        }

    def rooms(self) -> Rooms:
        """For hand-ins that are all graded by these.

        Raises:
            NoWallError
        """
        given = {"weights": self.weights, "template": self.template}
        files = {key: path for key, path in given.items() if path}
        reads = (*READS, *DRAWS) if self.portrait else READS
        return Rooms(self.run_code, reads, seed=self.seed, files=files)

    def absolute(self) -> Options:
        """The same from any folder."""
        weights, template = (path and path.absolute() for path in (self.weights, self.template))
        return replace(self, weights=weights, template=template)


@functools.cache
def suite_version() -> str:
    """Another one whenever a mark may be another: lab5's version, a hash of the code and the assignment."""
    folder = Path(lab5.__file__).parent
    found = hashlib.sha256(assignment.identity())
    for path in sorted(folder.rglob("*.py")):
        name = path.relative_to(folder)
        if name.parts[0] not in _NOT_MARKS:
            found.update(name.as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return f"{own_version()}+{found.hexdigest()[:16]}"


def mark(handin: HandIn, options: Options, rooms: Rooms) -> Marked:
    """Grade it. What is wrong with this hand-in alone is its result.

    Raises:
        SandboxError: the rooms are at fault.
    """
    if handin.trouble:
        return Marked(handin, None, handin.trouble)
    found = ""
    try:
        with opened(handin) as path:
            if path.is_file():
                found = digest(handin, path)
            graded = suite.check_submission(
                path,
                weights=options.weights,
                template=options.template,
                strict=options.strict,
                seed=options.seed,
                portrait=options.portrait,
                rooms=rooms,
            )
            if options.diagnose:
                from lab5.diagnosis.hints import with_causes

                left = suite.SECONDS - graded.seconds  # of what a hand-in may take
                graded = with_causes(graded, path, rooms, options.weights, seconds=left)
    except SandboxError:
        raise
    except Lab5Error as error:
        return Marked(handin, None, error.text, found)
    except Exception as error:
        return Marked(handin, None, Text.of(f"{type(error).__name__}: {error}"), found)
    return Marked(handin, replace(graded, path=str(handin.where)), sha256=found)
