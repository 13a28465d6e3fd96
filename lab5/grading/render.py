"""The results for those who read them: the terminal, and JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab5.cli import console, own_version
from lab5.grading.core import Result, Status
from lab5.grading.graded import Graded
from lab5.text import Language, Text, printable


@dataclass(frozen=True)
class Sign:
    """A status as people see it."""

    mark: str
    colour: str
    word: Text

    @property
    def styled(self) -> str:
        """The mark, as ``console`` takes it."""
        return f"[{self.colour}]{self.mark}[/]"


SIGNS: Final[dict[Status, Sign]] = {
    "pass": Sign("✓", "green", Text("pass", "通過")),
    "advice": Sign("i", "blue", Text("advice, no points lost", "建議，不扣分")),
    "manual": Sign("?", "cyan", Text("for a person", "待人工評閱")),
    "blocked": Sign("–", "yellow", Text("not checked", "未檢查")),
    "fail": Sign("✗", "red", Text("fail", "未通過")),
    "error": Sign("!", "magenta", Text("our error", "檢查程式錯誤")),
}
PARTS: Final = {
    "why": Text("why", "原因"),
    "want": Text("want", "應為"),
    "got": Text("got", "實際"),
    "hint": Text("how to mend it", "如何修正"),
}


def json_pieces(
    graded: Iterable[Graded], lang: Language, not_graded: Mapping[str, Text]
) -> Iterator[str]:
    """As ``grade_schema.json`` describes it; one hand-in is in memory at a time.

    Args:
        not_graded: looked at when ``graded`` is through.
    """
    suite = {"name": "lab5", "version": own_version(), "lang": lang}
    yield f'{{\n "suite": {_indented(_json(suite), 1)},\n "submissions": ['
    before = "\n  "
    for one in graded:
        yield before + _indented(as_json(one, lang), 2)
        before = ",\n  "
    lost = [{"path": printable(path), "why": why.say(lang)} for path, why in not_graded.items()]
    end = "\n ]" if before.startswith(",") else "]"
    yield f'{end},\n "not_graded": {_indented(_json(lost), 1)}\n}}\n'


def as_json(graded: Graded, lang: Language) -> str:
    """A submission, as ``grade_schema.json`` describes it."""
    return _json(graded.as_dict(lang))


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1)


def _indented(text: str, depth: int) -> str:
    return text.replace("\n", "\n" + " " * depth)  # in a string it is an escape


def as_text(graded: Graded, lang: Language) -> str:
    """A hand-in's items, what was wrong and what to do; what was not made, by its reason."""
    with console.capture() as captured:
        _print_table(graded, lang)
        _print_checks(graded, lang)
    return str(captured.get())


def table(graded: Graded, lang: Language) -> str:
    """The items and the points alone."""
    with console.capture() as captured:
        _print_table(graded, lang)
    return str(captured.get())


# The ways to show a hand-in, for the commands and for pytest; a class is written by ``classroom.writers``.
RENDERERS: Final[dict[str, Callable[[Graded, Language], str]]] = {
    "terminal": as_text,
    "table": table,
    "json": as_json,
}


def explained(one: Result, lang: Language) -> list[str]:
    """What a check states, and what was found, a line each."""
    said = {word.say(lang): getattr(one, part).say(lang) for part, word in PARTS.items()}
    return [one.title.say(lang), *(f"  {word}: {text}" for word, text in said.items() if text)]


def _print_table(graded: Graded, lang: Language) -> None:
    from rich.table import Table
    from rich.text import Text as Styled

    title = printable(f"{Path(graded.path).name}  {graded.student_id or '?'}")
    table = Table(title=Styled(title), box=None)
    table.add_column("")
    table.add_column(Text("Item", "項目").say(lang))
    table.add_column("")
    table.add_column(Text("Points", "分數").say(lang), justify="right")
    for item in graded.items:
        points = f"{item.earned:g}/{item.points}" if item.points else ""
        table.add_row(SIGNS[item.status].styled, item.id, Styled(item.title.say(lang)), points)
    total = f"{graded.earned:g}/{graded.points}"
    table.add_row(
        "", "", Styled(Text("Total", "總分").say(lang), style="bold"), f"[bold]{total}[/]"
    )
    console.print(table)
    if graded.manual:
        more = Text(
            f"{graded.manual:g} more points are for a person to give.",
            f"另有 {graded.manual:g} 分待人工評閱。",
        )
        console.print(more.say(lang))


def _print_checks(graded: Graded, lang: Language) -> None:
    blocked: dict[str, list[str]] = {}
    for one in graded.checks:
        if one.status == "blocked":
            blocked.setdefault(one.why.say(lang), []).append(f"{one.item} {one.name}")
        elif one.status != "pass" or one.why:
            _print_check(one, lang)
    sign = SIGNS["blocked"]
    for why, names in blocked.items():
        console.print(f"\n{sign.styled} [dim]{sign.word.say(lang)}[/]", end=" ")
        console.print(why, markup=False, highlight=False)
        console.print("  " + ", ".join(names), markup=False, highlight=False)


def _print_check(one: Result, lang: Language) -> None:
    sign = SIGNS[one.status]
    console.print(
        f"\n{sign.styled} [bold]{one.item} {one.name}[/] [dim]{sign.word.say(lang)}[/]",
        highlight=False,
    )
    for line in explained(one, lang):
        console.print(line if line.startswith("  ") else f"  {line}", markup=False, highlight=False)
