"""What a student is told, as text; and Moodle's feedback zip of it."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from lab5.classroom.entry import Marked
from lab5.files import replacing
from lab5.grading.render import explained, marked_by
from lab5.text import LANGUAGES, Language, Text

FILE: Final = "feedback.txt"
_TIME: Final = (1980, 1, 1, 0, 0, 0)  # the same bytes in each run


def lines(marked: Marked, lang: Language) -> list[str]:
    """The points, each item's, and every check that did not pass, with what to do."""
    graded = marked.graded
    if graded is None:
        return [(marked.why or Text("It could not be graded.", "無法評分。")).say(lang)]
    found = [marked_by(graded, lang)]
    for item in graded.items:
        points = f" {item.earned:g}/{item.points}" if item.points else ""
        found.append(f"{item.id} {item.title.say(lang)}{points}")
        for one in graded.checks:
            if one.item == item.id and one.status != "pass":
                found += [f"  {line}" for line in explained(one, lang)]
    return found


def write(path: Path, marked: Sequence[Marked], lang: Language) -> None:
    """The zip for "Upload multiple feedback files in a zip", in Moodle's own folder names.

    Each student's file is in both languages, ``lang`` first. Whoever did not come out of Moodle's
    download is not in it.
    """
    languages = sorted(LANGUAGES, key=lambda one: one != lang)
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for one in sorted(marked, key=lambda one: one.handin.key):
            if one.handin.folder:
                text = "\n\n".join("\n".join(lines(one, each)) for each in languages)
                info = zipfile.ZipInfo(f"{one.handin.folder}/{FILE}", _TIME)
                info.external_attr = 0o100644 << 16
                # Notepad knows UTF-8 by its mark
                archive.writestr(info, (text + "\n").encode("utf-8-sig"), zipfile.ZIP_DEFLATED)
