"""The results for those who read them: the terminal, and JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lab5.cli import console
from lab5.text import Language, Text, printable

_MARKS: Final = {
    "pass": "[green]✓[/]",
    "advice": "[blue]i[/]",
    "fail": "[red]✗[/]",
    "blocked": "[yellow]–[/]",
    "manual": "[cyan]?[/]",
    "error": "[magenta]![/]",
}
_WORDS: Final = {
    "pass": Text("pass", "通過"),
    "advice": Text("advice, no points lost", "建議，不扣分"),
    "fail": Text("fail", "未通過"),
    "blocked": Text("blocked", "未檢查"),
    "manual": Text("for a person", "待人工評閱"),
    "error": Text("our error", "檢查程式錯誤"),
}
_PARTS: Final = {
    "why": Text("why", "原因"),
    "want": Text("want", "應為"),
    "got": Text("got", "實際"),
    "hint": Text("hint", "建議"),
}


def as_json(
    results: list[dict[str, Any]], lang: Language, not_graded: Mapping[str, Text] | None = None
) -> dict[str, Any]:
    """The results as ``grade_schema.json`` describes them, texts in ``lang``.

    Args:
        not_graded: what was asked for and could not be graded -> why.
    """
    from importlib.metadata import PackageNotFoundError, version

    def plain(value: Any) -> Any:
        if isinstance(value, Text):
            return value.say(lang)
        if isinstance(value, str):
            return printable(value)
        if isinstance(value, dict):
            return {key: plain(inner) for key, inner in value.items()}
        return [plain(inner) for inner in value] if isinstance(value, list) else value

    try:
        number = version("lab5")
    except PackageNotFoundError:  # run from a checkout
        number = "unknown"
    return {
        "suite": {"name": "lab5", "version": number, "lang": lang},
        "submissions": [plain(result) for result in results],
        "not_graded": [plain({"path": p, "why": why}) for p, why in (not_graded or {}).items()],
    }


def print_table(result: dict[str, Any], lang: Language = "zh-TW") -> None:
    """Print one hand-in's items, what was wrong and what to do; what was not made, by its reason."""
    from rich.table import Table
    from rich.text import Text as Styled

    table = Table(title=f"{Path(result['path']).name}  {result['student_id'] or '?'}", box=None)
    table.add_column("")
    table.add_column(Text("Item", "項目").say(lang))
    table.add_column("")
    table.add_column(Text("Points", "分數").say(lang), justify="right")
    for item in result["items"]:
        points = f"{item['earned']:g}/{item['points']}" if item["points"] else ""
        table.add_row(_MARKS[item["status"]], item["id"], Styled(item["title"].say(lang)), points)
    words = Text("Total", "總分").say(lang)
    total = f"{result['earned']:g}/{result['points']}"
    table.add_row("", "", Styled(words, style="bold"), f"[bold]{total}[/]")
    console.print(table)
    if result["manual"]:
        more = Text(
            f"{result['manual']} more points are for a person to give.",
            f"另有 {result['manual']} 分待人工評閱。",
        )
        console.print(more.say(lang))
    blocked: dict[str, list[str]] = {}
    for one in result["checks"]:
        if one["status"] == "blocked":
            names = blocked.setdefault(one["why"].say(lang), [])
            names.append(f"{one['item']} {one['name']}")
        elif one["status"] != "pass" or one["why"]:
            _print_check(one, lang)
    word = _WORDS["blocked"].say(lang)
    for why, names in blocked.items():
        console.print(f"\n{_MARKS['blocked']} [dim]{word}[/]", end=" ")
        console.print(why, markup=False, highlight=False)
        console.print("  " + ", ".join(names), markup=False, highlight=False)


def _print_check(one: dict[str, Any], lang: Language) -> None:
    status = _WORDS[one["status"]].say(lang)
    console.print(
        f"\n{_MARKS[one['status']]} [bold]{one['item']} {one['name']}[/] [dim]{status}[/]",
        highlight=False,
    )
    console.print(f"  {one['title'].say(lang)}", markup=False)
    for key, word in _PARTS.items():
        if text := one[key].say(lang):
            console.print(f"  {word.say(lang)}: {text}", markup=False, highlight=False)
