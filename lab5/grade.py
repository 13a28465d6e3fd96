"""Grade hand-ins: ``python -m lab5.grade X.zip [Y.zip …]`` prints a table and writes JSON.

Exit status 0 when every zip was graded, whatever the grades; 1 when one could not be.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lab5.cli import command, console
from lab5.errors import Lab5Error, SubmissionError, UsageError
from lab5.files import replacing

if TYPE_CHECKING:
    from lab5.checks.core import Text

_MARKS: Final = {
    "pass": "[green]✓[/]",
    "advice": "[blue]i[/]",
    "fail": "[red]✗[/]",
    "blocked": "[yellow]–[/]",
    "manual": "[cyan]?[/]",
    "error": "[magenta]![/]",
}
_WORDS: Final = {
    "pass": ("pass", "通過"),
    "advice": ("advice, no points lost", "建議，不扣分"),
    "fail": ("fail", "未通過"),
    "blocked": ("blocked", "未檢查"),
    "manual": ("for a person", "待人工評閱"),
    "error": ("our error", "檢查程式錯誤"),
}


def as_json(
    results: list[dict[str, Any]], lang: str, not_graded: Mapping[str, Text] | None = None
) -> dict[str, Any]:
    """The results as ``grade_schema.json`` describes them, texts in ``lang``.

    Args:
        not_graded: what was asked for and could not be graded -> why.
    """
    from importlib.metadata import PackageNotFoundError, version

    from lab5.checks.core import Text, printable

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


def print_table(result: dict[str, Any], lang: str = "zh-TW") -> None:
    """Print one hand-in's items, what was wrong and what to do; what was not made, by its reason."""
    from rich.table import Table
    from rich.text import Text

    en = lang == "en"
    table = Table(title=f"{Path(result['path']).name}  {result['student_id'] or '?'}", box=None)
    table.add_column("")
    table.add_column("Item" if en else "項目")
    table.add_column("")
    table.add_column("Points" if en else "分數", justify="right")
    for item in result["items"]:
        points = f"{item['earned']:g}/{item['points']}" if item["points"] else ""
        table.add_row(_MARKS[item["status"]], item["id"], Text(item["title"].say(lang)), points)
    total = f"{result['earned']:g}/{result['points']}"
    table.add_row("", "", Text("Total" if en else "總分", style="bold"), f"[bold]{total}[/]")
    console.print(table)
    if result["manual"]:
        console.print(
            f"{result['manual']} more points are for a person to give."
            if en
            else f"另有 {result['manual']} 分待人工評閱。"
        )
    blocked: dict[str, list[str]] = {}
    for one in result["checks"]:
        if one["status"] == "blocked":
            names = blocked.setdefault(one["why"].say(lang), [])
            names.append(f"{one['item']} {one['name']}")
        elif one["status"] != "pass" or one["why"]:
            _print_check(one, lang)
    word = _WORDS["blocked"][0 if en else 1]
    for why, names in blocked.items():
        console.print(f"\n{_MARKS['blocked']} [dim]{word}[/]", end=" ")
        console.print(why, markup=False, highlight=False)
        console.print("  " + ", ".join(names), markup=False, highlight=False)


def _print_check(one: dict[str, Any], lang: str) -> None:
    en = lang == "en"
    status = _WORDS[one["status"]][0 if en else 1]
    console.print(
        f"\n{_MARKS[one['status']]} [bold]{one['item']} {one['name']}[/] [dim]{status}[/]",
        highlight=False,
    )
    console.print(f"  {one['title'].say(lang)}", markup=False)
    words = ("why", "want", "got", "hint") if en else ("原因", "應為", "實際", "建議")
    for word, key in zip(words, ("why", "want", "got", "hint"), strict=True):
        if text := one[key].say(lang):
            console.print(f"  {word}: {text}", markup=False, highlight=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lab5.grade",
        description="Grade <student id>_lab5.zip / 評分 <學號>_lab5.zip",
    )
    parser.add_argument(
        "zips",
        nargs="+",
        type=Path,
        metavar="X.zip",
        help="hand-ins, or folders of them / 繳交檔或資料夾",
    )
    parser.add_argument(
        "--json", type=Path, metavar="F", help="write the results there / 輸出 JSON"
    )
    parser.add_argument("--template", type=Path, help="the handed-out notebook / 模板 notebook")
    parser.add_argument("--weights", type=Path, help="the handed-out best_model.pth / 權重檔")
    parser.add_argument("--static", action="store_true", help="run no code of it / 不執行程式")
    parser.add_argument("--strict", action="store_true", help="advice is a fail / 建議視為未通過")
    parser.add_argument("--lang", choices=("zh-TW", "en"), default="zh-TW")
    return parser


@command
def main(argv: list[str] | None = None) -> None:
    args = _parser().parse_args(argv)
    for path in (args.template, args.weights):
        if path is not None and not path.is_file():
            raise UsageError(f"There is no file {path}.", zh=f"找不到檔案 {path}。")
    if args.json and not args.json.absolute().parent.is_dir():
        raise UsageError(
            f"There is no folder {args.json.absolute().parent}.",
            zh=f"找不到資料夾 {args.json.absolute().parent}。",
        )
    from lab5.checks import Text, check_submission

    results: list[dict[str, Any]] = []
    not_graded: dict[str, Text] = {}
    for path in _zips(args.zips):
        try:
            with console.status(path.name):
                result = check_submission(
                    path,
                    weights=args.weights,
                    template=args.template,
                    static=args.static,
                    strict=args.strict,
                )
            print_table(result, args.lang)
            results.append(result)
        except SubmissionError as error:
            not_graded[str(path)] = Text(error.en, error.zh)
        except Lab5Error:  # ours, which no other zip would be spared
            raise
        except Exception as error:  # of this zip alone: the others are graded all the same
            not_graded[str(path)] = Text.of(f"{type(error).__name__}: {error}")
        if args.json:
            with replacing(args.json) as temporary:
                found = as_json(results, args.lang, not_graded)
                temporary.write_text(
                    json.dumps(found, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
                )
    if not_graded:
        raise SubmissionError(
            "Not graded:\n" + "\n".join(f"  {p}: {why.en}" for p, why in not_graded.items()),
            zh="未評分：\n" + "\n".join(f"  {p}：{why.zh}" for p, why in not_graded.items()),
        )


def _zips(given: Iterable[Path]) -> Iterator[Path]:
    """The zips named, and those in folders named; a folder without any stands for itself."""
    for path in given:
        found = (p for p in sorted(path.rglob("*")) if p.suffix.lower() == ".zip" and p.is_file())
        inside = [p for p in found if not p.name.startswith("._")] if path.is_dir() else []
        yield from inside or [path]


if __name__ == "__main__":
    sys.exit(main())
