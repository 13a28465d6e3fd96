"""What a student is told, as text; and Moodle's feedback zip of it."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from lab5.classroom.entry import Marked
from lab5.files import replacing, zip_member
from lab5.grading.render import explained
from lab5.text import LANGUAGES, Language, Text

FILE: Final = "feedback.txt"


def points_of(marked: Marked, lang: Language) -> list[str]:
    """Whose points they are, a sentence each, and the person's own words."""
    graded, given, left = marked.graded, marked.given, marked.to_give
    if graded is None:
        return []
    found = [
        Text(
            f"The checks gave {graded.earned:g} of {graded.points} points.",
            f"檢查項目得 {graded.earned:g} 分，滿分 {graded.points} 分。",
        )
    ]
    if given:
        found.append(
            Text(
                f"A person gave {given:g} more: {marked.total:g} in all.",
                f"人工評分 {given:g} 分，合計 {marked.total:g} 分。",
            )
        )
    if left:
        found.append(
            Text(f"{left} more points are for a person to give.", f"另有 {left} 分待人工評閱。")
        )
    note = [marked.own.note] if marked.own.note else []
    return [" ".join(one.say(lang) for one in found), *note]


def lines(marked: Marked, lang: Language) -> list[str]:
    """The points, each item's, and every check that did not pass, with what to do."""
    graded = marked.graded
    if graded is None:
        return [(marked.why or Text("It could not be graded.", "無法評分。")).say(lang)]
    found = points_of(marked, lang)
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
        keys = [one.handin.key for one in marked]
        for place in sorted(range(len(keys)), key=keys.__getitem__):
            one = marked[place]  # one at a time, as no class is too large
            if one.handin.folder:
                text = "\n\n".join("\n".join(lines(one, each)) for each in languages)
                info = zip_member(f"{one.handin.folder}/{FILE}")
                # Notepad knows UTF-8 by its mark
                archive.writestr(info, (text + "\n").encode("utf-8-sig"), zipfile.ZIP_DEFLATED)
