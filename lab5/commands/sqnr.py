"""``lab5 sqnr``: which layer quantisation hurts."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from lab5.cli import command, console
from lab5.files import replacing
from lab5.study.sqnr import IMAGES, Sqnr, sqnr, svg


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="lab5 sqnr", description="Which layer hurts / 各層的量化雜訊比 (SQNR)"
    )
    found.add_argument("fp32", type=Path, metavar="FP32.onnx")
    found.add_argument("int8", type=Path, metavar="INT8.onnx")
    found.add_argument("--images", type=int, default=IMAGES, help=f"default {IMAGES}")
    found.add_argument("--json", type=Path, help="write the figures there / 寫出數據")
    found.add_argument("--svg", type=Path, help="write a chart there / 寫出圖表")
    return found


@command
def main(argv: list[str] | None = None) -> None:
    args = parser().parse_args(argv)
    from lab5.preprocess import preprocess_batch
    from lab5.study import data

    if data.cached():
        pictures, source = data.load().test.images[: args.images], "CIFAR-10 test images"
    else:
        from lab5.study.synthetic import dead_leaves

        pictures, source = dead_leaves(args.images, seed=1), "synthetic images"
    rows = sqnr(args.fp32, args.int8, preprocess_batch(pictures))
    console.print(_table(rows, f"SQNR in dB on {len(pictures)} {source}"))
    if args.json:
        result = {
            "images": len(pictures),
            "source": source,
            "tensors": [dataclasses.asdict(row) for row in rows],
        }
        with replacing(args.json) as temporary:
            temporary.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if args.svg:
        with replacing(args.svg) as temporary:
            temporary.write_text(svg(rows), encoding="utf-8")


def _table(rows: list[Sqnr], title: str) -> Any:
    from rich.table import Table

    table = Table("layer", "operator", title=title)
    for column in ("weight", "step", "activation"):
        table.add_column(column, justify="right")
    for row in rows:
        figures = (row.weight, row.step, row.activation)
        table.add_row(row.layer, row.operator, *("-" if v is None else f"{v:.1f}" for v in figures))
    return table


if __name__ == "__main__":
    sys.exit(main())
