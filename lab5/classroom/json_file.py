"""``--json``: the results of every check of every hand-in, by the schema of ``grade_schema.json``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from lab5.classroom.entry import Marked
from lab5.files import replacing
from lab5.grading.graded import Graded
from lab5.grading.render import json_pieces
from lab5.text import Language, Text


def write(path: Path, marked: Sequence[Marked], lang: Language) -> None:
    """Texts in ``lang``; one hand-in in memory at a time."""
    not_graded: dict[str, Text] = {}

    def graded() -> Iterator[Graded]:
        for one in marked:
            if one.why:
                not_graded[str(one.handin.where)] = one.why
            if one.graded:
                yield one.graded

    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(json_pieces(graded(), lang, not_graded))
