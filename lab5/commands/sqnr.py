"""``lab5 sqnr``: which layer quantisation hurts."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

from lab5.cli import Parser, add_figures, add_images, at_least, command, console
from lab5.files import replacing, write_json
from lab5.study.sqnr import IMAGES, Sqnr, sqnr, svg
from lab5.text import Text


def parser() -> Parser:
    found = Parser("sqnr", Text("Which layer quantisation hurts", "各層的量化雜訊比 (SQNR)"))
    found.add("fp32", Text("the FP32 file", "FP32 檔"), type=Path, metavar="FP32.onnx")
    found.add("int8", Text("the INT8 file", "INT8 檔"), type=Path, metavar="INT8.onnx")
    add_images(found, IMAGES)
    add_figures(found)
    found.add("--svg", Text("write a chart there", "寫出圖表"), type=Path)
    return found


@command
def main(argv: list[str] | None = None) -> None:
    args = parser().parse_args(argv)
    at_least(args, images=1)
    from lab5.preprocess import preprocess_batch
    from lab5.study import data

    if data.cached():
        pictures = data.load().test.images[: args.images]
        source = Text("CIFAR-10 test images", "CIFAR-10 測試影像")
    else:
        from lab5.study.synthetic import dead_leaves

        pictures = dead_leaves(args.images, seed=1)
        source = Text("synthetic images", "合成影像")
    rows = sqnr(args.fp32, args.int8, preprocess_batch(pictures))
    count = len(pictures)
    title = Text(f"SQNR in dB on {count} {source.en}", f"{count} 張{source.zh}的 SQNR (dB)")
    console.print(_table(rows, title))
    if args.json:
        result = {
            "images": count,
            "source": source.en,
            "tensors": [dataclasses.asdict(row) for row in rows],
        }
        write_json(args.json, result, indent=2)
    if args.svg:
        with replacing(args.svg) as temporary:
            temporary.write_text(svg(rows), encoding="utf-8")


def _table(rows: list[Sqnr], title: Text) -> Any:
    from rich.table import Table

    layer, operator = Text("layer", "層"), Text("operator", "運算子")
    table = Table(str(layer), str(operator), title=str(title))
    for column in (Text("weight", "權重"), Text("step", "單步"), Text("activation", "輸出")):
        table.add_column(str(column), justify="right")
    for row in rows:
        figures = (row.weight, row.step, row.activation)
        table.add_row(row.layer, row.operator, *("-" if v is None else f"{v:.1f}" for v in figures))
    return table


if __name__ == "__main__":
    sys.exit(main())
