"""A class as a table: CSV that Excel opens as it is, one line a student."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from lab5.classroom.entry import Marked
from lab5.files import replacing
from lab5.grading.core import GROUPS, STATUSES
from lab5.grading.graded import Graded
from lab5.text import Language, Text, printable

_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")


def defused(text: str) -> str:
    """As a spreadsheet shows it, however it begins, and never computes it."""
    text = printable(text)
    risky = text.startswith(("\t", "\r", "\n")) or text.lstrip().startswith(_FORMULA)
    return f"'{text}" if risky else text


def status(graded: Graded | None) -> str:
    """The worst of its checks'; "error" where there are none."""
    worst = max((one.status for one in graded.checks), key=STATUSES.index) if graded else "error"
    return str(worst)


def write(path: Path, marked: Sequence[Marked], lang: Language) -> None:
    """UTF-8 with a byte order mark; texts in ``lang``."""
    out = io.StringIO(newline="")
    lines = csv.writer(out, lineterminator="\r\n")
    head = {
        "key": Text("Hand-in", "繳交"),
        "student": Text("Full name", "姓名"),
        "moodle": Text("Moodle's number", "Moodle 編號"),
        "id": Text("Student id", "學號"),
        "zip": Text("File", "檔案"),
    }
    tail = {
        "total": Text("Points of the checks", "檢查得分"),
        "given": Text("Points that a person gave", "人工評分"),
        "sum": Text("All points", "總分"),
        "manual": Text("Points for a person to give", "待人工評閱分數"),
        "status": Text("Worst status", "最差狀態"),
        "notes": Text("Notes", "備註"),
        "sha256": Text.of("SHA-256"),
    }
    titles = [f"{name} {title.say(lang)}" for name, title in GROUPS.items()]
    lines.writerow(
        [*(one.say(lang) for one in head.values()), *titles, *(t.say(lang) for t in tail.values())]
    )
    for one in marked:
        graded, handin = one.graded, one.handin
        who = (handin.key, handin.student, handin.moodle, (graded and graded.student_id) or "")
        said = [*([one.why] if one.why else []), *one.notes]
        notes = " ".join(note.say(lang).replace("\n", " ") for note in said)
        points: list[object] = [""] * (len(GROUPS) + 4)
        if graded:
            points = [*(item.earned for item in graded.items), graded.earned]
            points += [one.given, one.total, one.to_give]
        lines.writerow(
            [
                *map(defused, (*who, handin.name)),
                *points,
                status(graded),
                defused(notes),
                one.sha256,
            ]
        )
    with replacing(path) as temporary:
        temporary.write_text(out.getvalue(), encoding="utf-8-sig", newline="")
