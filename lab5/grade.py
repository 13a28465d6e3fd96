"""Grade hand-ins: ``python -m lab5.grade X.zip [Y.zip …]`` prints a table and writes JSON.

Exit status 0 when grading itself worked, whatever the grades.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

from lab5.cli import command, console
from lab5.errors import UsageError
from lab5.files import replacing

_MARKS: Final = {
    "pass": "[green]✓[/]",
    "fail": "[red]✗[/]",
    "blocked": "[yellow]–[/]",
    "manual": "[cyan]?[/]",
    "error": "[magenta]![/]",
}
_WORDS: Final = {
    "pass": ("pass", "通過"),
    "fail": ("fail", "未通過"),
    "blocked": ("blocked", "未檢查"),
    "manual": ("for a person", "待人工評閱"),
    "error": ("our error", "檢查程式錯誤"),
}


def as_json(results: list[dict[str, Any]], lang: str) -> dict[str, Any]:
    """The results as ``grade_schema.json`` describes them, texts in ``lang``."""
    from importlib.metadata import PackageNotFoundError, version

    from lab5.checks.core import say

    def plain(value: Any) -> Any:
        if isinstance(value, tuple):
            return say((str(value[0]), str(value[1])), lang)
        if isinstance(value, dict):
            return {key: plain(inner) for key, inner in value.items()}
        return [plain(inner) for inner in value] if isinstance(value, list) else value

    try:
        number = version("lab5")
    except PackageNotFoundError:  # run from a checkout
        number = "unknown"
    suite = {"name": "lab5", "version": number, "lang": lang}
    return {"suite": suite, "submissions": [plain(result) for result in results]}


def print_table(result: dict[str, Any], lang: str = "zh-TW") -> None:
    """Print one hand-in's items, what was wrong and what to do; what was not made, by its reason."""
    from rich.table import Table
    from rich.text import Text

    from lab5.checks.core import say

    en = lang == "en"
    table = Table(title=f"{Path(result['path']).name}  {result['student_id'] or '?'}", box=None)
    table.add_column("")
    table.add_column("Item" if en else "項目")
    table.add_column("")
    table.add_column("Points" if en else "分數", justify="right")
    for item in result["items"]:
        points = f"{item['earned']:g}/{item['points']}" if item["points"] else ""
        table.add_row(_MARKS[item["status"]], item["id"], Text(say(item["title"], lang)), points)
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
            names = blocked.setdefault(say(one["why"], lang), [])
            names.append(f"{one['item']} {one['name']}")
        elif one["status"] != "pass" or one["why"]:
            _print_check(one, lang)
    word = _WORDS["blocked"][0 if en else 1]
    for why, names in blocked.items():
        console.print(f"\n{_MARKS['blocked']} [dim]{word}[/]", end=" ")
        console.print(why, markup=False, highlight=False)
        console.print("  " + ", ".join(names), markup=False, highlight=False)


def _print_check(one: dict[str, Any], lang: str) -> None:
    from lab5.checks.core import say

    en = lang == "en"
    status = _WORDS[one["status"]][0 if en else 1]
    console.print(
        f"\n{_MARKS[one['status']]} [bold]{one['item']} {one['name']}[/] [dim]{status}[/]",
        highlight=False,
    )
    console.print(f"  {say(one['title'], lang)}", markup=False)
    words = ("why", "want", "got", "hint") if en else ("原因", "應為", "實際", "建議")
    for word, key in zip(words, ("why", "want", "got", "hint"), strict=True):
        if text := say(one[key], lang):
            console.print(f"  {word}: {text}", markup=False, highlight=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lab5.grade",
        description="Grade <student id>_lab5.zip / 評分 <學號>_lab5.zip",
    )
    parser.add_argument("zips", nargs="+", type=Path, metavar="X.zip", help="hand-ins / 繳交檔")
    parser.add_argument(
        "--json", type=Path, metavar="F", help="write the results there / 輸出 JSON"
    )
    parser.add_argument("--template", type=Path, help="the handed-out notebook / 模板 notebook")
    parser.add_argument("--weights", type=Path, help="the handed-out best_model.pth / 權重檔")
    parser.add_argument("--static", action="store_true", help="run no code of it / 不執行程式")
    parser.add_argument("--lang", choices=("zh-TW", "en"), default="zh-TW")
    return parser


@command
def main(argv: list[str] | None = None) -> None:
    args = _parser().parse_args(argv)
    for path in (*args.zips, args.template, args.weights):
        if path is not None and not path.is_file():
            raise UsageError(f"There is no file {path}.", zh=f"找不到檔案 {path}。")
    if args.json and not args.json.absolute().parent.is_dir():
        raise UsageError(
            f"There is no folder {args.json.absolute().parent}.",
            zh=f"找不到資料夾 {args.json.absolute().parent}。",
        )
    from lab5.checks import check_submission

    results = []
    for path in args.zips:
        with console.status(path.name):
            result = check_submission(
                path, weights=args.weights, template=args.template, static=args.static
            )
        print_table(result, args.lang)
        results.append(result)
    if args.json:
        with replacing(args.json) as temporary:
            temporary.write_text(
                json.dumps(as_json(results, args.lang), ensure_ascii=False, indent=1) + "\n",
                encoding="utf-8",
            )


if __name__ == "__main__":
    sys.exit(main())
