"""A made-up class as Moodle gives it: good, faulty, hostile and late hand-ins, and some handed in twice.

``python -m tests.classroom FOLDER`` writes one of 40, with its worksheet, in both layouts.
"""

from __future__ import annotations

import csv
import io
import os
import zipfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab5.classroom.entry import HandIn as Known
from lab5.classroom.entry import Marked
from lab5.grading.core import Result
from lab5.grading.graded import Graded
from lab5.grading.suite import SHOWN
from tests import handin
from tests.handin import ID
from tests.hostile import CASES, Hostile, World
from tests.mutants import FAULTS, HandIn, Variants

TIME: Final = 1_790_000_000  # seconds since 1970: when all was handed in
LAYOUTS: Final = {  # where a file of a student lies in the download
    "folders": "{who}_assignsubmission_file/{name}",
    "before 4.1": "{who}_assignsubmission_file_/{name}",
    "flat": "{who}_assignsubmission_file_{name}",
}
NAMES: Final = (
    "王 小明", "Ada Lovelace", "陳怡君", "=HYPERLINK(A1)", "O'Brien, Pat", "林 志豪", "@SUM(A1)",
    "Müller-Łukasz Jürgen", "林 志豪",
)  # fmt: skip

# What a student handed in -> how many do
KINDS: Final = {
    "good": 14, "late": 3, "twice": 3, "no zip": 1,
    "two-screenshots": 2, "no-analysis": 1, "no-reflection": 2, "not-shared": 2, "comparison-fails": 2,
    "weights-not-loaded": 2, "placeholder-in-the-zip-name": 1, "folder-in-the-zip": 1,
    "zip-slip": 1, "forge-every-result": 1, "kill-the-grader": 1, "leave-nested-folders": 1,
    "read-the-ssh-key": 1, "pdf-text-with-escapes": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Student:
    """``number`` is Moodle's; ``kind`` one of ``KINDS``."""

    name: str
    number: int
    id: str
    kind: str

    @property
    def address(self) -> str:
        return f"{self.id.lower()}@gs.example.edu.tw"


def students(kinds: Mapping[str, int] = KINDS) -> list[Student]:
    """Of each kind so many; two have the same name."""
    every = [kind for kind, count in kinds.items() for _ in range(count)]
    return [
        Student(NAMES[i] if i < len(NAMES) else f"Student {i}", 4000 + i, f"N2614{1000 + i}", kind)
        for i, kind in enumerate(every)
    ]


@dataclass(frozen=True)
class Download:
    """Files by their path in it, as writers of their bytes, and when they were handed in."""

    files: dict[str, tuple[Callable[[], bytes], int]]

    def folder(self, path: Path) -> Path:
        for name, (content, when) in self.files.items():
            file = path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content())
            os.utime(file, (when, when))
        return path

    def zip(self, path: Path) -> Path:
        import time

        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for name, (content, when) in self.files.items():
                archive.writestr(zipfile.ZipInfo(name, time.gmtime(when)[:6]), content())
        return path


def download(
    everybody: Sequence[Student], good: Mapping[str, bytes], scratch: Path, layout: str = "folders"
) -> Download:
    """What they handed in, made of the files of a good hand-in; ``scratch`` is an empty folder."""
    world = World(scratch / "world", "lab5-class", "won", "secret", port=9, abstract="lab5-class")
    variants = Variants(None, dict(good), scratch)
    files: dict[str, tuple[Callable[[], bytes], int]] = {}
    for one in everybody:
        who = f"{one.name}_{one.number}"

        def put(name: str, content: Callable[[], bytes], when: int = TIME, who: str = who) -> None:
            files[LAYOUTS[layout].format(who=who, name=name)] = (content, when)

        if one.kind == "no zip":
            put("report.pdf", lambda: b"%PDF-1.7")
            continue
        if one.kind in CASES:
            varied: HandIn = Hostile(variants, CASES[one.kind].base, world)
            CASES[one.kind].edit(varied)
        else:
            varied = HandIn(variants)
            if one.kind in FAULTS:
                FAULTS[one.kind].edit(varied)
        archive = varied.archive.replace(ID, one.id)
        if one.kind == "twice":
            put(archive, lambda: b"a first try", TIME - 3600)
            archive = archive.replace(".zip", " (1).zip")
        put(archive, lambda varied=varied, one=one: _zipped(varied, one, scratch))
    return Download(files)


def _zipped(varied: HandIn, student: Student, scratch: Path) -> bytes:
    """Its files under the student's own id."""
    files = {}
    for name, content in varied.files.items():
        data = content if isinstance(content, bytes) else content()
        if name.endswith(".ipynb"):
            data = data.replace(ID.encode(), student.id.encode())
        files[name.replace(ID, student.id)] = data
    path = scratch / "one.zip"
    varied.pack(path, files)
    found = path.read_bytes()
    path.unlink()
    return found


HEADS: Final = {
    "en": (
        "Identifier", "Full name", "ID number", "Email address", "Status", "Grade", "Maximum Grade",
        "Grade can be changed", "Last modified (submission)", "Last modified (grade)",
        "Feedback comments",
    ),
    "zh-TW": (
        "識別碼", "全名", "學號", "電子郵件信箱", "狀態", "成績", "最高分數", "成績可以更改", "最後修改（學生）",
        "最後修改（老師）", "評語",
    ),
}  # fmt: skip


def worksheet(
    everybody: Sequence[Student],
    *,
    lang: str = "en",
    bom: bool = False,
    line_end: str = "\n",
    maximum: str = "100.00",
    without: Collection[str] = (),
    locked: Collection[Student] = (),
) -> bytes:
    """Moodle's, with a row for somebody who handed in nothing.

    Args:
        without: columns that it lacks.
        locked: whose grades cannot be changed.
    """
    out = io.StringIO()
    lines = csv.writer(out, lineterminator=line_end)
    participant = {"en": "Participant ", "zh-TW": "參與者"}[lang]
    yes, no = {"en": ("Yes", "No"), "zh-TW": ("是", "否")}[lang]
    keep = [i for i, head in enumerate(HEADS["en"]) if head not in without]
    nobody = Student("Nobody, N.", 3999, "N26149999", "nothing")
    lines.writerow([HEADS[lang][i] for i in keep])
    for one in (*everybody, nobody):
        status = {"nothing": "No submission", "late": "Submitted for grading - 2 days 3 hours late"}
        row = [
            f"{participant}{one.number}", one.name, one.id, one.address,
            status.get(one.kind, "Submitted for grading"), "", maximum, no if one in locked else yes,
            "Monday, 1 June 2026, 11:59 PM", "-", "",
        ]  # fmt: skip
        lines.writerow([row[i] for i in keep])
    return ("\ufeff" if bom else "").encode() + out.getvalue().encode()


def graded(student_id: str | None = ID, *, lost: float = 0, error: bool = False) -> Graded:
    """A result of all checks that lacks ``lost`` points, the first check an error of ours."""
    checks = []
    for one in SHOWN:
        status = "manual" if one.manual else "pass"
        taken = 0.0 if one.manual else min(lost, one.points)
        lost -= taken
        status = "fail" if taken else "error" if error and not checks else status
        points = 0 if one.manual or status == "error" else one.points - taken
        checks.append(Result(one.name, status, points))
    return Graded("x.zip", student_id, tuple(checks), 1.0, 1)


def marked(key: str = "a", **fields) -> Marked:
    """``graded``, of a hand-in with these fields."""
    result = fields.pop("graded", None) or graded()
    return Marked(Known(Path(f"{key}.zip"), key, name=f"{key}.zip", **fields), result)


def main(folder: Path) -> None:
    from lab5.checkpoint import load_model

    (folder / "made").mkdir(parents=True)
    good = handin.make(folder / "made", load_model(handin.FIXTURES / "best_model.pth")[0])
    everybody = students()
    (folder / "worksheet.csv").write_bytes(worksheet(everybody, lang="zh-TW", bom=True))
    download(everybody, good, folder / "made", "folders").folder(folder / "unpacked")
    download(everybody, good, folder / "made", "flat").zip(folder / "submissions.zip")


if __name__ == "__main__":
    import sys

    main(Path(sys.argv[1]))
