"""``lab5 bench``: two tables, speed by engine and quality by calibration."""

from __future__ import annotations

import sys
from typing import Any, Final

from lab5.assignment import CHECKPOINT
from lab5.cli import (
    Parser,
    add_data,
    add_figures,
    add_images,
    add_weights,
    at_least,
    command,
    console,
)
from lab5.errors import UsageError
from lab5.files import find, write_json
from lab5.study.bench import bench, quality
from lab5.text import Text, in_a_line


def speed_table(result: dict[str, Any]) -> list[list[str]]:
    """Header and rows of the first table."""
    head: list[str] = [in_a_line(Text("engine", "推論引擎"))]
    body = []
    for row in result["rows"]:
        if row["missing"]:
            body.append([row["name"], row["missing"]])
            continue
        head[1:] = [f"batch {s['batch']}, {s['threads']} thr." for s in row["speeds"]]
        cells = [f"{s['median']:.2f} ({s['p25']:.2f}–{s['p75']:.2f})" for s in row["speeds"]]
        body.append([row["name"], *cells, *_judged(row["answers"])])
    return [[*head, *_JUDGED], *body]


def quality_table(result: dict[str, Any]) -> list[list[str]]:
    """Header and rows of the second table."""
    calibration = in_a_line(Text("calibrated on", "校準資料"))
    interval = in_a_line(Text("95% interval of the drop", "降幅的 95% 信賴區間"))
    table = [[calibration, *_JUDGED, interval, "p"]]
    for row in result["rows"]:
        answers = row["answers"]
        low, high = answers["interval"]
        test = [f"{low:+.2f} … {high:+.2f}", f"{answers['p_value']:.2g}"]
        table.append([row["name"], *_judged(answers), *test])
    return table


_JUDGED: Final = ("top-1 %", "drop pp", "agreement %", "relative L2")


def _judged(answers: dict[str, Any] | None) -> list[str]:
    if not answers:
        return []
    return [
        f"{answers['top1']:.2f}",
        f"{answers['drop']:+.2f}",
        f"{answers['agreement']:.2f}",
        f"{answers['relative_l2']:.4f}",
    ]


def markdown(table: list[list[str]]) -> str:
    """The table for a page; a short row is filled up."""
    head, *body = table
    lines = [head, ["---"] * len(head), *(row + [""] * (len(head) - len(row)) for row in body)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def parser() -> Parser:
    found = Parser(
        "bench",
        Text(
            "Speed by engine, or --quality by calibration",
            "各引擎速度，或各校準方式的品質 (--quality)",
        ),
    )
    found.add("--quality", Text("by calibration", "比較校準方式"), action="store_true")
    add_weights(found)
    add_data(found)
    add_images(found)
    seconds = Text(
        "an engine, a batch size and threads; 2 by default",
        "每種引擎、批次與執行緒數的秒數，預設 2",
    )
    found.add("--seconds", seconds, type=float, default=2.0)
    add_figures(found)
    return found


@command
def main(argv: list[str] | None = None) -> None:
    args = parser().parse_args(argv)
    at_least(args, images=1)
    if args.seconds <= 0:
        raise UsageError("--seconds must be above zero.", zh="--seconds 要大於 0。")
    from lab5.study import data

    weights = find(args.weights, CHECKPOINT)
    if args.quality:
        result = quality(weights, data.load(args.data), args.images)
        table = quality_table(result)
    else:
        known = args.data or data.cached()
        split = data.load(args.data).test.first(args.images) if known else None
        result = bench(weights, split, args.seconds)
        table = speed_table(result)
    machine = result["machine"]
    print(markdown(table))  # not through rich, which would wrap it
    console.print()
    if floor := result.get("floor"):
        work, rate = f"{floor['macs'] / 1e6:.0f}", f"{floor['macs_per_second'] / 1e9:.0f}"
        text = Text(
            f"ms an image, median (middle half). Floor on one thread: {floor['ms']:.2f} ms = "
            f"{work} million multiply-accumulates an image / {rate} billion a second, the fastest "
            "MatMulInteger here",
            f"每張影像的毫秒數，中位數（第 25 至 75 百分位）。單執行緒的下限：{floor['ms']:.2f} ms = "
            f"每張影像 {work} M 次乘加 ÷ 每秒 {rate} G 次（此機器最快的 MatMulInteger）",
        )
        console.print(str(text))
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    known = " ".join(machine["int8_instructions"] or ())
    flags = Text.of(known) if known else Text("no int8 instructions known", "不知有無 int8 指令")
    where = f"{result['date']}, {machine['cpu']}"
    cores = machine["cores"]
    text = Text(
        f"{where} ({flags.en}), {cores} cores; {versions}",
        f"{where} ({flags.zh})，{cores} 個核心；{versions}",
    )
    console.print(str(text))
    if args.json:
        write_json(args.json, result, indent=2)


if __name__ == "__main__":
    sys.exit(main())
