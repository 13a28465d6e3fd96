"""``lab5 quantize``: only the quantisation."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from lab5.assignment import CHECKPOINT, SYNTHETIC
from lab5.cli import add_calibration, command, console
from lab5.errors import CalibrationError, ExportError
from lab5.files import find, model_size
from lab5.quantize import METHODS, checked_fp32, quantize


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="lab5 quantize",
        description="1.4: quantise an FP32 ONNX file to INT8 / 靜態量化為 INT8",
    )
    found.add_argument("fp32", type=Path, metavar="FP32.onnx")
    found.add_argument("int8", type=Path, metavar="INT8.onnx")
    add_calibration(found)
    found.add_argument(
        "--weights",
        type=Path,
        help=f"what FP32.onnx was exported from; the synthetic images need it (default {CHECKPOINT})",
    )
    found.add_argument("--method", choices=METHODS, default="MinMax")
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
