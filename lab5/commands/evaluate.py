"""``lab5 evaluate``: PyTorch, FP32 and INT8 side by side on the test set."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lab5.assignment import CHECKPOINT, CLASSES
from lab5.cli import (
    Parser,
    add_calibration,
    add_data,
    add_figures,
    add_images,
    add_weights,
    at_least,
    command,
    console,
    progress,
)
from lab5.files import find, sha256, write_json
from lab5.study.data import load
from lab5.study.evaluate import Evaluation, Paired, evaluate
from lab5.text import Text, in_a_line

if TYPE_CHECKING:
    from rich.table import Table


def _table(evaluation: Evaluation) -> Table:
    from rich.table import Table

    figures = evaluation.figures()
    count = f"{len(evaluation.labels):,}"
    table = Table(title=str(Text(f"{count} test images", f"{count} 張測試影像")))
    table.add_column("")
    for name in figures:
        table.add_column(name, justify="right")

    def row(title: str | Text, cells: Iterator[str]) -> None:
        table.add_row(str(title), *cells)

    models = figures.values()
    row("top-1", (f"{m['top1']:.2f}%" for m in models))
    agreement = Text("agreement with FP32 ONNX", "與 FP32 ONNX 相同")
    row(agreement, (f"{m['agreement']:.2f}%" for m in models))
    distance = Text("relative L2 to FP32 ONNX", "與 FP32 ONNX 的相對 L2")
    row(distance, (f"{m['relative_l2']:.2g}" for m in models))
    table.add_section()
    for i, name in enumerate(CLASSES):
        row(name, (f"{m['per_class'][i]:.1f}%" for m in models))
    return table


def _statement(pair: Paired) -> Text:
    low, high = pair.interval
    p = f"p = {pair.p_value:.2g}"
    return Text(
        f"INT8 − FP32: {pair.difference:+.2f} pp (95% CI {low:+.2f} … {high:+.2f}); right on FP32 "
        f"alone: {pair.only_first}, on INT8 alone: {pair.only_second}; exact McNemar {p}: "
        f"{'a difference' if pair.differs else 'no difference shown'} at the 5% level",
        f"INT8 − FP32：{pair.difference:+.2f} 個百分點（95% 信賴區間 {low:+.2f} … {high:+.2f}）；"
        f"只有 FP32 答對 {pair.only_first} 張，只有 INT8 答對 {pair.only_second} 張；"
        f"McNemar 精確檢定 {p}：在 5% 水準下{'有差異' if pair.differs else '看不出差異'}",
    )


def report(evaluation: Evaluation, weights: Path) -> dict[str, Any]:
    """The figures as plain JSON values, with what they were measured on."""
    import onnx
    import onnxruntime
    import torch

    models = evaluation.figures()
    for figures in models.values():
        figures["per_class"] = {
            name: None if math.isnan(value) else float(value)  # NaN is no JSON
            for name, value in zip(CLASSES, figures["per_class"], strict=True)
        }
    pair = evaluation.int8_against_fp32
    return {
        "weights": weights.name,
        "sha256": sha256(weights),
        "calibration": evaluation.calibration,
        "images": len(evaluation.labels),
        "models": models,
        "int8_against_fp32": {
            "difference_pp": pair.difference,
            "interval_pp": list(pair.interval),
            "only_fp32_right": pair.only_first,
            "only_int8_right": pair.only_second,
            "mcnemar_p": pair.p_value,
        },
        "versions": {m.__name__: m.__version__ for m in (torch, onnx, onnxruntime, np)},
    }


def parser() -> Parser:
    found = Parser(
        "evaluate",
        Text(
            "PyTorch, FP32 ONNX and INT8 ONNX on the test set",
            "三種模型在測試集的準確率",
        ),
    )
    add_weights(found)
    add_data(found)
    add_images(found)
    add_calibration(found)
    add_figures(found)
    return found


@command
def main(argv: list[str] | None = None) -> None:
    args = parser().parse_args(argv)
    at_least(args, images=1)
    weights = find(args.weights, CHECKPOINT)
    split = load(args.data).test.first(args.images)
    with progress() as bar:
        task = bar.add_task(in_a_line(Text("evaluate", "評估")), total=3 * len(split))
        found = evaluate(
            weights,
            split,
            calibration=args.calibration,
            tick=lambda n: bar.advance(task, n),
        )
    console.print(_table(found))
    console.print(str(_statement(found.int8_against_fp32)), soft_wrap=True)
    if args.json:
        write_json(args.json, report(found, weights), indent=2)


if __name__ == "__main__":
    sys.exit(main())
