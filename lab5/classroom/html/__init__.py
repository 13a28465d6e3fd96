"""A class as pages that open from the disk: an overview, and a page for each hand-in.

    Marked ── one at a time ──> students/<key>.html, pages/<key>-<n>.webp
       │                                 ^
       ├── portraits ── alike ── groups ─┤
       └── rows ─────────────────────────┴──> index.html, last
    marks*.json, exported from the pages ── read, never written ──> both

The browser keeps what a person enters, and exports it: see ``marks``. Every word goes through jinja2's
escaping, and the pages forbid whatever is not a file beside them.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import math
import os
import statistics
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from lab5.assignment import ITEMS, TOTAL_POINTS
from lab5.classroom import marks
from lab5.classroom.alike import Group, groups
from lab5.classroom.entry import Marked
from lab5.classroom.html import words
from lab5.classroom.marks import NOBODYS, Own
from lab5.errors import UsageError
from lab5.files import replacing, visible
from lab5.grading.core import Result
from lab5.grading.graded import Item
from lab5.grading.portrait import Portrait
from lab5.grading.render import SIGNS
from lab5.grading.suite import CHECKS, GROUPS
from lab5.text import Language, Text, in_a_line, printable

if TYPE_CHECKING:
    import jinja2

ASSETS: Final = Path(__file__).parent / "assets"
_SENT_ALONG: Final = ("style.css", "class.js")
_GENERATOR: Final = '<meta name="generator" content="lab5 class">'  # so begins every page
_AGAIN: Final = Text(
    "Not finished yet: run the same command again.", "尚未完成，請再執行一次同一個指令。"
)
_UNFINISHED: Final = f"""<!DOCTYPE html>
<html lang="zh-TW"><head><meta charset="utf-8">{_GENERATOR}<title>lab5</title></head>
<body><p>{_AGAIN}</p></body></html>
"""
_COMMONEST: Final = 12  # faults that are shown
_BESIDE: Final = 12  # of a group, on a hand-in's page: where all look alike, each would name all
_STEP: Final = 10  # points, of the bars of all totals


@dataclass(frozen=True)
class Row:
    """A hand-in in the overview."""

    key: str
    name: str
    student_id: str
    earned: float | None  # None: it was not graded
    given: float  # the person's points
    total: float
    why: Text | None
    items: tuple[Item, ...]
    failed: tuple[str, ...]  # names of checks
    waiting: tuple[str, ...]  # … that a person decides
    own: Own
    pages: int  # of the report, of which there are pictures
    moodle: str  # its number there

    @property
    def href(self) -> str:
        return f"students/{quote(self.key)}.html"

    @property
    def to_mark(self) -> bool:
        """Whether a person has yet to decide something."""
        return any(name not in self.own.points for name in self.waiting)


def write(
    folder: Path,
    marked: Sequence[Marked],
    lang: Language,
    *,
    title: str = "EAI Lab 5",
) -> None:
    """Write ``index.html`` and a page for each hand-in, each whole or not at all; the overview comes last.

    Args:
        lang: as every writer gets it; the pages are in both.
        marked: gone through twice, one at a time: it may read each from a file when it is asked for it.

    Raises:
        UsageError: as ``prepare``, or the folder holds marks that cannot be read.
        OSError: it cannot be written to.
    """
    own = marks.read(folder)
    prepare(folder)
    rows: list[Row] = []
    portraits: dict[str, Portrait] = {}
    for one in marked:
        rows.append(_row(replace(one, own=own.get(one.handin.key, NOBODYS))))
        if one.graded is not None and one.graded.portrait is not None:
            portraits[one.handin.key] = replace(one.graded.portrait, pages=())
    names = Counter(row.name for row in rows)
    rows = [
        replace(row, name=f"{row.name} ({row.moodle})")
        if row.moodle and names[row.name] > 1
        else row
        for row in rows
    ]
    alike = groups(portraits)
    groups_of: dict[str, list[Group]] = defaultdict(list)  # by hand-in
    for group in alike:
        for key in group.keys:
            groups_of[key].append(group)
    title = printable(title)
    shared = {"title": title, "class_id": _class_id(folder, title), "of": TOTAL_POINTS,
              "rows": {row.key: row for row in rows}}  # fmt: skip
    for name in _SENT_ALONG:
        _write(folder / name, (ASSETS / name).read_bytes())
    written: set[Path] = set()
    for place, one in enumerate(marked):
        written |= _write_student(folder, one, rows, place, shared, groups_of)
    index = _environment().get_template("index.html").render(
        **shared, root="", groups=alike, faults=_faults(rows), items=_items(rows),
        totals=_totals(rows), median=_median(rows), in_groups=set(groups_of),
        kept={key: one.as_dict() for key, one in own.items()},
    )  # fmt: skip
    _write(folder / "index.html", index.encode("utf-8"))
    _remove_old(folder, written)


def _write_student(
    folder: Path,
    one: Marked,
    rows: Sequence[Row],
    place: int,
    shared: Mapping[str, object],
    groups_of: Mapping[str, Sequence[Group]],
) -> set[Path]:
    """The page of the hand-in ``one``, whose row is at ``place``: the files that were written."""
    row = rows[place]
    pictures = _pages(one)
    files = {folder / "pages" / name: data for name, data in pictures.items()}
    page = _environment().get_template("student.html").render(
        **shared, root="../", row=row, place=place + 1, pages=list(pictures), checks=_by_status(one),
        archive=printable(one.handin.path.name),
        earlier=[printable(path.name) for path in one.handin.earlier],
        previous=rows[place - 1] if place else None,
        next=rows[place + 1] if place + 1 < len(rows) else None,
        groups=[_seen_from(row.key, group) for group in groups_of.get(row.key, ())],
    )  # fmt: skip
    files[folder / "students" / f"{row.key}.html"] = page.encode("utf-8")  # behind its pictures
    for path, data in files.items():
        _write(path, data)
    return set(files)


def _seen_from(key: str, group: Group) -> tuple[Group, int]:
    """As a hand-in's own page shows it, with the first of many others, and how many it leaves out."""
    mine = group.keys.index(key)
    chosen = sorted({mine, *range(min(len(group.keys), _BESIDE))})
    likenesses = tuple(
        replace(one, where=tuple(one.where[at] for at in chosen if one.where))
        for one in group.likenesses
    )
    keys = tuple(group.keys[at] for at in chosen)
    return Group(keys, likenesses), len(group.keys) - len(chosen)


def _class_id(folder: Path, title: str) -> str:
    """Under which a browser keeps the marks: another class's is another, that of a later run the same."""
    return hashlib.sha256(title.encode() + os.fsencode(folder.resolve())).hexdigest()[:16]


def check(folder: Path) -> None:
    """
    Raises:
        UsageError: what is there is no folder of a class's pages, nor an empty one but for marks.
    """
    index = folder / "index.html"
    if index.is_file() and _is_class_page(index):
        return
    if not folder.is_dir():
        strange = folder if folder.exists() else None
    else:
        strange = next((one for one in visible(folder) if not one.match(marks.FILES)), None)
    if strange:
        raise UsageError(
            f"--html {folder} is no folder of a class's pages, which {strange.name} is none of: it could "
            "be overwritten. Give another folder, or an empty one.",
            zh=f"--html {folder} 不是班級網頁的資料夾（其中有 {strange.name}），寫入可能會蓋掉它。"
            "請指定其他資料夾或空資料夾。",
        )


def prepare(folder: Path) -> None:
    """Make it the folder of a class's pages, which it stays when a run ends before its overview.

    Raises:
        UsageError: as ``check``.
        OSError: it cannot be written to.
    """
    check(folder)
    for below in ("students", "pages"):
        (folder / below).mkdir(parents=True, exist_ok=True)
    if not (folder / "index.html").exists():
        _write(folder / "index.html", _UNFINISHED.encode("utf-8"))


def _is_class_page(page: Path) -> bool:
    with page.open(encoding="utf-8", errors="replace") as file:
        return _GENERATOR in file.read(2000)


def _remove_old(folder: Path, written: Collection[Path]) -> None:
    """What earlier runs wrote of hand-ins that are gone, and nothing else."""
    students = [
        p for p in (folder / "students").glob("*.html") if p in written or _is_class_page(p)
    ]
    keys = {path.stem for path in students}
    pictures = [
        path
        for path in (folder / "pages").glob("*-*.webp")
        if path.stem.rpartition("-")[0] in keys and path.stem.rpartition("-")[2].isdecimal()
    ]
    for path in (*students, *pictures):
        if path not in written:
            path.unlink()


def _write(path: Path, data: bytes) -> None:
    if path.is_file() and path.read_bytes() == data:
        return
    with replacing(path) as temporary:
        temporary.write_bytes(data)


@functools.cache
def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ASSETS, encoding="utf-8"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals.update(
        words=words,
        SIGNS=SIGNS,
        Text=Text,
        in_a_line=in_a_line,
        generator=_GENERATOR,
        OTHER=marks.OTHER,
        zip=zip,
    )
    environment.filters.update(
        quoted=quote, number=lambda value: f"{value:g}", numbered=_numbered, json=_json
    )
    return environment


def _row(one: Marked) -> Row:
    graded, handin = one.graded, one.handin
    checks = graded.checks if graded else ()
    return Row(
        handin.key,
        printable(handin.student or handin.key),
        printable((graded and graded.student_id) or ""),
        graded.earned if graded else None,
        one.given,
        one.total,
        one.why,
        tuple(graded.items) if graded else (),
        tuple(check.name for check in checks if check.status == "fail"),
        marks.waiting(graded) if graded else (),
        one.own,
        len(_pages(one)),
        handin.moodle,
    )


def _by_status(one: Marked) -> dict[str, list[Result]]:
    """The checks by what becomes of them on the page."""
    found: dict[str, list[Result]] = {kind: [] for kind in words.SECTIONS}
    for check in one.graded.checks if one.graded else ():
        found["waiting" if marks.waits(check) else check.status].append(check)
    return found


def _pages(one: Marked) -> dict[str, bytes]:
    """The report's pages, by the names of their files."""
    pages = one.graded.portrait.pages if one.graded and one.graded.portrait else ()
    return {f"{one.handin.key}-{n}.webp": base64.b64decode(page) for n, page in enumerate(pages, 1)}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _numbered(item: str) -> str:
    """The number of a graded item; the groups without points have none."""
    return item if item in ITEMS else ""


# What is plotted


@dataclass(frozen=True)
class Bar:
    """A line of a plot: its name, how long each part is, and what stands behind it."""

    label: Text
    parts: Mapping[str, float]  # kind -> share of the whole length
    shown: str
    check: str = ""


def _graded(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.earned is not None]


def _median(rows: Sequence[Row]) -> float | None:
    totals = [row.total for row in _graded(rows)]
    return statistics.median(totals) if totals else None


def _totals(rows: Sequence[Row]) -> list[Bar]:
    """How many hand-ins have how many points."""
    last = math.ceil(TOTAL_POINTS / _STEP) - 1
    counts = Counter(max(0, min(int(row.total // _STEP), last)) for row in _graded(rows))
    most = max(counts.values(), default=1)
    ends = [*range(_STEP - 1, _STEP * last, _STEP), TOTAL_POINTS]
    labels = [f"{n * _STEP}–{end}" for n, end in enumerate(ends)]
    return [
        Bar(Text.of(labels[n]), {"plain": counts[n] / most}, str(counts[n]))
        for n in reversed(range(last + 1))
    ]


def _items(rows: Sequence[Row]) -> list[Bar]:
    """For each item with points, how many earned it in full, in part, not at all, or wait for a person."""
    found = []
    for number, title in GROUPS.items():
        mine = [item for row in _graded(rows) for item in row.items if item.id == number]
        if not mine or not mine[0].points:
            continue
        counts = Counter(map(_earned, mine))
        mean = statistics.fmean(item.earned for item in mine)
        parts = {kind: counts[kind] / len(mine) for kind in words.EARNED}
        label = Text(f"{number} {title.en}", f"{number} {title.zh}")
        found.append(Bar(label, parts, f"{mean:.1f} / {mine[0].points}"))
    return found


def _earned(item: Item) -> str:
    if item.earned >= item.points:
        return "full"
    if item.status in ("manual", "error"):
        return "waits"
    return "part" if item.earned > 0 else "none"


def _faults(rows: Sequence[Row]) -> list[Bar]:
    """The checks that fail most often."""
    counts = Counter(name for row in rows for name in row.failed)
    found = []
    for name, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:_COMMONEST]:
        check = CHECKS[name]
        number = _numbered(check.item)
        label = Text(f"{number} {check.title.en}", f"{number} {check.title.zh}")
        found.append(Bar(label, {"none": count / max(counts.values())}, str(count), name))
    return found
