"""3: the report, one PDF: the student's screenshots, the figures of this pair of models, a reflection.

``python -m lab5.report N26140692``. typst sets assets/report.typ with this package's fonts
only, so that the same data gives the same bytes everywhere. What only the student can supply and has
not is left empty with a sentence saying what belongs there.
"""

from __future__ import annotations

import datetime
import json
import tempfile
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lab5.assignment import (
    ITEMS,
    MIN_REFLECTION_CHARS,
    MIN_SCREENSHOTS,
    FileNames,
)
from lab5.errors import ReportError, UsageError
from lab5.files import replacing
from lab5.text import LANGUAGES, Language, Text

if TYPE_CHECKING:
    from lab5.report.analysis import Block, Files
    from lab5.report.measure import Measurements
    from lab5.report.student import Screenshot, Supplied


NO_SCREENSHOTS: Final = Text(
    "Screenshots belong here: open the public page on a phone, a tablet or another device, upload at "
    "least 3 pictures, and put screenshots of the results into submission/screenshots/.",
    "此處應放截圖：用手機、平板等其他裝置開啟公開網址，上傳至少 3 張圖片，"
    "把結果畫面的截圖放進 submission/screenshots/。",
)
NO_REFLECTION: Final = Text(
    "Your own reflection and suggestions belong here (at least 10 characters): write them into "
    "submission/reflection.md.",
    "此處應為你自己的心得與建議（至少 10 個字）：請寫在 submission/reflection.md。",
)
# Behind the caption of every emulated screenshot, and nowhere else in what the report says itself.
EMULATED: Final = Text(" (emulated)", "（模擬）")


@dataclass(frozen=True)
class Missing:
    """Something that only the student can supply and that the report lacks."""

    item: str  # of the rubric
    text: Text


def make_report(
    path: Path,
    names: FileNames,
    measurements: Measurements,
    submission: Path | None,
    lang: Language = LANGUAGES[0],
    *,
    date: datetime.date | None = None,
) -> list[Missing]:
    """Write the report to ``path``, all or nothing, and say what is still the student's to supply.

    Args:
        submission: the student's folder with ``screenshots/`` and ``reflection.md``, if any.
        lang: ``zh-TW`` or ``en``.
        date: shown in the title block; today unless given.

    Raises:
        UsageError: ``lang`` is another one.
        ReportError: typst could not set it.
    """
    if lang not in LANGUAGES:
        raise UsageError(
            f"There is no report in {lang!r}. Choose one of {', '.join(LANGUAGES)}.",
            zh=f"沒有 {lang!r} 的報告，請選擇 {'、'.join(LANGUAGES)}。",
        )
    from lab5.report.student import read_submission

    supplied = read_submission(submission)
    data, files = _document(names, measurements, supplied, lang, date or datetime.date.today())
    pdf = _typeset(data, files)
    with replacing(path) as temporary:
        temporary.write_bytes(pdf)
    return _missing(supplied)


def _missing(supplied: Supplied) -> list[Missing]:
    found = []
    if (have := len(supplied.devices)) < MIN_SCREENSHOTS:
        text = Text(
            f"3.1 at least {MIN_SCREENSHOTS} screenshots from other devices ({have} usable so far): put "
            "them into submission/screenshots/"
            + "".join(f"\n    {x.name}: {x.why.en}" for x in supplied.left_out),
            f"3.1 至少 {MIN_SCREENSHOTS} 張其他裝置的截圖（目前 {have} 張可用）：放進 submission/screenshots/"
            + "".join(f"\n    {x.name}：{x.why.zh}" for x in supplied.left_out),
        )
        found.append(Missing("3.1", text))
    if supplied.reflection_length < MIN_REFLECTION_CHARS:
        text = Text(
            f"3.3 reflection and suggestions, at least {MIN_REFLECTION_CHARS} characters: write "
            "submission/reflection.md",
            f"3.3 心得與建議，至少 {MIN_REFLECTION_CHARS} 個字：寫在 submission/reflection.md",
        )
        found.append(Missing("3.3", text))
    return found


# The document


def _document(
    names: FileNames, m: Measurements, supplied: Supplied, lang: Language, date: datetime.date
) -> tuple[dict[str, Any], Files]:
    """report.typ's data.json, every string in characters that the fonts have, and the pictures."""
    from lab5.report.analysis import analysis, tiles

    def section(number: str) -> Block:
        text = f"{number} {ITEMS[number].title.say(lang)}"
        return {"kind": "heading", "level": 1, "text": text}

    screenshots, files = _screenshots(supplied, lang)
    figures, pictures = analysis(m, lang)
    blocks = [section("3.1"), *screenshots, section("3.2"), *figures, section("3.3")]
    blocks += _reflection(supplied, lang)
    data = {
        "lang": lang[:2],
        "region": "TW" if lang == "zh-TW" else None,
        "title": Text("EAI Lab 5 Report", "EAI Lab 5 報告").say(lang),
        "subtitle": Text(
            "A compressed model on the web: ResNet18 in FP32 and INT8",
            "壓縮模型的網頁部署：ResNet18 的 FP32 與 INT8",
        ).say(lang),
        "author": names.student_id,
        "facts": [
            [Text("Student", "學號").say(lang), names.student_id],
            [Text("Date", "日期").say(lang), date.isoformat()],
        ],
        "header": f"EAI Lab 5 · {names.student_id}",
        "tiles": tiles(m, lang),
        "blocks": blocks,
    }
    missing: set[str] = set()
    data = _in_font(data, missing)
    notes: set[str] = set()
    data["blocks"] += [_in_font(b, notes) for b in _left_out(supplied, missing, lang)]
    return data, files | pictures


def _in_font(data: Any, missing: set[str]) -> Any:
    from lab5.report.student import typeset

    match data:
        case str():
            return typeset(data, missing)
        case dict():
            return {key: _in_font(value, missing) for key, value in data.items()}
        case list() | tuple():
            return [_in_font(value, missing) for value in data]
    return data


def _screenshots(supplied: Supplied, lang: Language) -> tuple[list[Block], Files]:
    blocks: list[Block] = []
    files: Files = {}
    count = len(supplied.devices)
    if count:
        text = Text(
            f"{count} screenshots supplied by the student.", f"學生提供的截圖 {count} 張。"
        ).say(lang)
        blocks.append({"kind": "text", "runs": [{"t": text}]})
    if count < MIN_SCREENSHOTS:
        blocks.append({"kind": "todo", "runs": [{"t": NO_SCREENSHOTS.say(lang)}]})
    slots = [
        Text(f"screenshot {n}", f"第 {n} 張截圖").say(lang)
        for n in range(len(supplied.devices) + 1, MIN_SCREENSHOTS + 1)
    ]
    blocks.append(_picture_rows(supplied.devices, slots, lang, files))
    if supplied.emulated:
        text = Text(
            "Emulated screens (a browser's emulation, no real device; not counted for 3.1)",
            "模擬裝置的畫面（由瀏覽器模擬，不是實機，不計入 3.1 的三張）",
        ).say(lang)
        blocks.append({"kind": "heading", "level": 2, "text": text})
        blocks.append(_picture_rows(supplied.emulated, [], lang, files, emulated=True))
    return blocks, files


_TEXT_WIDTH: Final = 170.0  # mm, as report.typ's page leaves it
_GUTTER: Final = 4.0  # mm


def _picture_rows(
    pictures: list[Screenshot],
    slots: list[str],
    lang: Language,
    files: Files,
    *,
    emulated: bool = False,
) -> Block:
    """Pictures in rows of three, two when all are wide; as high as the page can spare."""
    count = len(pictures) + len(slots)
    wide = bool(pictures) and all(p.width > p.height for p in pictures)
    columns = 2 if wide and not slots else 3
    width = (_TEXT_WIDTH - _GUTTER * (columns - 1)) / columns
    tallest = 50.0 if emulated else 118.0 if count <= columns else 84.0  # mm
    label = EMULATED.say(lang) if emulated else ""
    cells: list[dict[str, Any]] = []
    for i, picture in enumerate(pictures):
        name = f"{'emulated' if emulated else 'device'}-{i}.jpg"
        files[name] = picture.jpeg
        cells.append(
            {
                "file": name,
                "caption": picture.caption + label,
                "alt": Text("Screenshot: ", "截圖：").say(lang) + picture.caption + label,
                "height": min(tallest, width * picture.height / picture.width),
                "width": min(width, tallest * picture.width / picture.height),
            }
        )
    cells += [{"text": text, "height": 30.0} for text in slots]
    rows = [cells[i : i + columns] for i in range(0, len(cells), columns)]
    return {
        "kind": "pictures",
        "columns": columns,
        "rows": [{"height": max(c["height"] for c in row), "cells": row} for row in rows],
    }


def _reflection(supplied: Supplied, lang: Language) -> list[Block]:
    blocks = list(supplied.reflection)
    if supplied.reflection_length < MIN_REFLECTION_CHARS:
        blocks.append({"kind": "todo", "runs": [{"t": NO_REFLECTION.say(lang)}]})
    return blocks


_LISTED: Final = 12  # what was left out, by name


def _left_out(supplied: Supplied, missing: set[str], lang: Language) -> list[Block]:
    from lab5.report.student import breakable

    items = [
        [
            {"t": breakable(x.name[:60]), "c": True},
            {"t": Text(f": {x.why.en}", f"：{x.why.zh}").say(lang)},
        ]
        for x in supplied.left_out[:_LISTED]
    ]
    if (more := len(supplied.left_out) - _LISTED) > 0:
        items.append([{"t": Text(f"{more} more", f"還有 {more} 個").say(lang)}])
    if missing:
        shown = sorted(missing)[:_LISTED]
        listed = ", ".join(f"U+{ord(c):04X} {unicodedata.name(c, '')}".strip() for c in shown)
        listed += " …" if len(missing) > _LISTED else ""
        text = Text(
            f"Characters that the fonts lack are shown as □, {len(missing)} kinds: {listed}",
            f"字型沒有的字元以 □ 代替，共 {len(missing)} 種：{listed}",
        ).say(lang)
        items.append([{"t": text}])
    if not items:
        return []
    title = Text("Appendix: left out of this report", "附錄：沒有放進報告的內容").say(lang)
    return [{"kind": "heading", "level": 1, "text": title}, {"kind": "list", "items": items}]


def _typeset(data: dict[str, Any], files: Files) -> bytes:
    import typst

    from lab5.report.student import ASSETS

    sources = {
        "main.typ": (ASSETS / "report.typ").read_bytes(),
        "data.json": json.dumps(data, ensure_ascii=False).encode(),
    }
    with tempfile.TemporaryDirectory(prefix="lab5-") as folder:
        for name, content in (sources | files).items():
            (Path(folder) / name).write_bytes(content)
        try:
            return typst.compile(
                Path(folder) / "main.typ",
                root=Path(folder),  # typst reads nothing outside
                font_paths=[ASSETS],
                ignore_system_fonts=True,
                format="pdf",
                pdf_standards=["ua-1"],  # PDF/UA: refuses a picture without alternative text
            )
        except Exception as error:  # typst raises its own error, and RuntimeError
            raise ReportError(
                f"typst could not set the report: {error}. "
                "Reinstall it: pip install --force-reinstall typst",
                zh="typst 無法排版報告。請重新安裝：pip install --force-reinstall typst",
            ) from error
