"""What is written of a class, each by the name of its option of ``lab5 grade``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from lab5.classroom import feedback, gradescope, table
from lab5.classroom.entry import Marked
from lab5.files import replacing
from lab5.grading.graded import Graded
from lab5.grading.render import json_pieces
from lab5.text import Language, Text


def _json(path: Path, marked: Sequence[Marked], lang: Language) -> None:
    not_graded: dict[str, Text] = {}

    def graded() -> Iterator[Graded]:
        for one in marked:
            if one.why:
                not_graded[str(one.handin.where)] = one.why
            if one.graded:
                yield one.graded

    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(json_pieces(graded(), lang, not_graded))


def _html(folder: Path, marked: Sequence[Marked], lang: Language) -> None:
    from lab5.classroom.html import write

    write(folder, marked, title="EAI Lab 5")


# option -> what writes (where, the class, language)
WRITERS: Final[dict[str, Callable[[Path, Sequence[Marked], Language], None]]] = {
    "json": _json,
    "csv": table.write,
    "html": _html,
    "gradescope": gradescope.write,
    "feedback-zip": feedback.write,
}
