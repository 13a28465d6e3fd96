"""``lab5 diagnose``: which line made a hand-in wrong.

Exit status 0 whatever was found; 2 when what is given cannot be looked at.
"""

from __future__ import annotations

import importlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lab5.assignment import network_source
from lab5.cli import HANDED_OUT_WEIGHTS, Parser, add_language, add_run_code, command, console
from lab5.diagnosis.core import SYMPTOMS
from lab5.errors import UsageError
from lab5.files import replacing, write_json
from lab5.text import Language, Text

if TYPE_CHECKING:
    from lab5.diagnosis.layers import Row


def parser() -> Parser:
    found = Parser("diagnose", Text("Which line made it wrong", "找出是哪一行造成錯誤"))
    paths = Text(
        "a zip, a folder, a notebook, a model, a checkpoint", "zip、資料夾、notebook、模型或權重檔"
    )
    found.add("paths", paths, nargs="*", type=Path, metavar="PATH")
    found.add("--weights", HANDED_OUT_WEIGHTS, type=Path)
    found.add("--json", Text("write the diagnosis there", "輸出 JSON"), type=Path, metavar="F")
    symptom = Text("what the page shows", "網頁上看到的現象")
    found.add("--symptom", symptom, choices=tuple(SYMPTOMS))
    picture = Text("one that got a wrong answer; with --answer", "答錯的圖片，搭配 --answer")
    found.add("--picture", picture, type=Path, action="append", default=[], metavar="F")
    answer = Text('the answer that it got, as "car 100%"', '網頁的答案，例如 "car 100%"')
    found.add("--answer", answer, action="append", default=[], metavar="NAME")
    layers = Text("where the signal is lost, as a table, and a chart there", "逐層比較，並輸出圖表")
    found.add("--layers", layers, type=Path, metavar="SVG", nargs="?", const=Path())
    benchmark = Text(
        "measure the diagnosis on faults put in; writes docs/diagnosis.md",
        "以植入的錯誤評測診斷，寫出 docs/diagnosis.md",
    )
    found.add("--benchmark", benchmark, action="store_true")
    add_run_code(found)
    add_language(found)
    return found


@command
def main(argv: list[str] | None = None) -> None:
    args = parser().parse_args(argv)
    if network_source() and (args.layers is not None or args.benchmark):
        raise UsageError(
            "The assignment names a network of its own, and --layers and --benchmark know lab5.model's layers "
            "only. Leave them out.",
            zh="作業指定了其他網路，而 --layers 與 --benchmark 只認得 lab5.model 的各層。請拿掉這個選項。",
        )
    if args.benchmark:
        _benchmark()
        return
    if len(args.picture) != len(args.answer):
        raise UsageError(
            "Give an --answer for each --picture.", zh="每個 --picture 都要有一個 --answer。"
        )
    for path in (args.weights, *args.picture):
        if path is not None and not path.is_file():
            raise UsageError(f"There is no file {path}.", zh=f"找不到檔案 {path}。")
    if args.json and not args.json.absolute().parent.is_dir():
        raise UsageError(
            f"There is no folder {args.json.absolute().parent}.",
            zh=f"找不到資料夾 {args.json.absolute().parent}。",
        )
    if not args.paths:
        args.paths = [Path()]
        args.symptom = args.symptom or _asked(args.lang)
    from lab5.diagnosis.asked import opened
    from lab5.diagnosis.render import as_text

    start = time.monotonic()
    with opened(args.paths, args.weights, args.run_code, args.picture) as reader:
        with console.status("…"):
            found = reader.diagnosis()
        result = found.as_dict(args.lang)
        print(as_text(found, args.lang), end="")
        if args.symptom:
            result["symptom"] = [line.say(args.lang) for line in reader.symptom(args.symptom)]
            print("\n" + "\n".join(result["symptom"]))
        if args.picture:
            names, text = reader.answers(args.answer)
            result["answers"] = {"causes": names, "says": text.say(args.lang)}
            print("\n" + text.say(args.lang))
        if args.layers is not None:
            _show_layers(reader.layers(), args.layers, args.lang)
    seconds = time.monotonic() - start
    print(Text(f"\n{seconds:.1f} s", f"\n{seconds:.1f} 秒").say(args.lang))
    if args.json:
        write_json(args.json, result, ensure_ascii=False, indent=1)


def _benchmark() -> None:
    """Its faults are those of the tests, which are not installed with the package."""
    root = Path(__file__).parents[2]
    if not (root / "tests/diagnosis_benchmark.py").is_file():
        raise UsageError(
            "--benchmark needs a checkout of the repository.",
            zh="--benchmark 需要完整的 repository。",
        )
    sys.path.insert(0, str(root))
    importlib.import_module("tests.diagnosis_benchmark").run()


def _asked(lang: Language) -> str | None:
    """The symptom that somebody at a terminal chooses; None elsewhere."""
    if not sys.stdin.isatty():
        return None
    print(Text("What does the page show?", "網頁上看到什麼？").say(lang))
    for number, text in enumerate(SYMPTOMS.values(), 1):
        print(f"  {number}  {text.say(lang)}")
    try:
        chosen = input("> ").strip()
    except EOFError:  # Ctrl-D: none of them
        chosen = ""
    names = list(SYMPTOMS)
    return names[int(chosen) - 1] if chosen.isdecimal() and 0 < int(chosen) <= len(names) else None


def _show_layers(rows: list[Row], path: Path, lang: Language) -> None:
    from rich.table import Table

    from lab5.diagnosis.layers import svg

    table = Table(Text("layer", "層").say(lang), title="SQNR (dB)")
    for column in ("FP32 / PyTorch", "INT8 / FP32", ""):
        table.add_column(column, justify="right")
    for row in rows:
        figures = ["-" if v is None else f"{v:.1f}" for v in (row.fp32, row.int8)]
        mark = Text("← jumps here", "← 從這裡開始").say(lang) + f" ({row.jump})" if row.jump else ""
        table.add_row(row.layer, *figures, mark)
    console.print(table)
    if path != Path():
        with replacing(path) as temporary:
            temporary.write_text(svg(rows), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
