"""``lab5 quantize``: only the quantisation."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from lab5.assignment import CHECKPOINT, SYNTHETIC
from lab5.cli import Parser, add_calibration, command, console
from lab5.errors import CalibrationError, ExportError
from lab5.files import find, model_size
from lab5.quantize import METHODS, checked_fp32, quantize
from lab5.text import Text


def parser() -> Parser:
    found = Parser(
        "quantize", Text("1.4: quantise an FP32 ONNX file to INT8", "1.4：靜態量化為 INT8")
    )
    found.add("fp32", Text("the FP32 file", "FP32 檔"), type=Path, metavar="FP32.onnx")
    found.add(
        "int8", Text("the INT8 file to write", "要寫出的 INT8 檔"), type=Path, metavar="INT8.onnx"
    )
    add_calibration(found)
    weights = Text(
        f"what FP32.onnx was exported from; the synthetic images need it ({CHECKPOINT} by default)",
        f"FP32.onnx 的權重檔，合成影像會用到（預設 {CHECKPOINT}）",
    )
    found.add("--weights", weights, type=Path)
    method = Text("how ranges are found; MinMax by default", "校準方法，預設 MinMax")
    found.add("--method", method, choices=METHODS, default="MinMax")
    return found


@command
def main(argv: list[str] | None = None) -> None:
    args = parser().parse_args(argv)
    checked_fp32(args.fp32)
    from lab5.study.calibration import calibrate

    model = _network(args) if args.calibration == SYNTHETIC else None  # no other needs it
    reader, improve = calibrate(args.calibration)(model)
    quantize(args.fp32, args.int8, reader, args.method, improve)
    sizes = [model_size(file) / 1e6 for file in (args.fp32, args.int8)]
    console.print(f"{args.int8}: {sizes[1]:.1f} MB, FP32 {sizes[0]:.1f} MB")


def _network(args: argparse.Namespace) -> Any:
    """The network of ``--weights``, which must be the one that was exported."""
    from lab5.checkpoint import open_model
    from lab5.export import verify_parity

    weights = find(args.weights, CHECKPOINT)
    model = open_model(weights)
    try:
        verify_parity(args.fp32, model)
    except ExportError as error:
        raise CalibrationError(
            f"{args.fp32} was not exported from {weights}: their logits differ. "
            "Give the weights it was exported from with --weights.",
            zh=f"{args.fp32} 不是由 {weights} 匯出的：輸出不同。請用 --weights 指定原本的權重。",
        ) from error
    return model


if __name__ == "__main__":
    sys.exit(main())
