"""What is written of a class, each by its option of ``lab5 grade``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab5.classroom import feedback, gradescope, table
from lab5.classroom.entry import Marked
from lab5.files import replacing
from lab5.grading.render import RENDERERS
from lab5.text import Language


@dataclass(frozen=True)
class Writer:
    """``write(path, marked, language)``, and what ``--help`` says of its option."""

    write: Callable[[Path, Sequence[Marked], Language], None]
    metavar: str
    help: str


def _json(path: Path, marked: Sequence[Marked], lang: Language) -> None:
    graded = [one.graded for one in marked if one.graded]
    not_graded = {str(one.handin.where): one.why for one in marked if one.why}
    with replacing(path) as temporary:
        text = RENDERERS["json"](graded, lang, not_graded)
        temporary.write_text(text, encoding="utf-8")


def _html(folder: Path, marked: Sequence[Marked], lang: Language) -> None:
    from lab5.classroom import html

    html.write(folder, marked, title="EAI Lab 5")


# option -> what writes it
WRITERS: Final = {
    "json": Writer(_json, "F", "write the results there / 輸出 JSON"),
    "csv": Writer(table.write, "F", "a table for Excel / 輸出 CSV"),
    "html": Writer(_html, "DIR", "pages to go through in a browser / 輸出網頁"),
    "gradescope": Writer(gradescope.write, "F", "results.json; of several hand-ins a folder of them"),
    "feedback-zip": Writer(feedback.write, "F", "for Moodle's upload of feedback files / 回饋檔"),
}
