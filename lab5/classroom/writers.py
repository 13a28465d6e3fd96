"""What is written of a class, each by the name of its option of ``lab5 grade``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from lab5.classroom import feedback, gradescope, table
from lab5.classroom.entry import Marked
from lab5.files import replacing
from lab5.grading.render import RENDERERS
from lab5.text import Language


def _json(path: Path, marked: Sequence[Marked], lang: Language) -> None:
    graded = (one.graded for one in marked if one.graded)
    not_graded = {str(one.handin.where): one.why for one in marked if one.why}
    with replacing(path) as temporary:
        text = RENDERERS["json"](graded, lang, not_graded)
        temporary.write_text(text, encoding="utf-8")


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
