"""How right are the models? PyTorch, FP32 ONNX and INT8 ONNX on the same test images, side by side.

``python -m lab5.evaluate --weights best_model.pth``. The measures, used wherever lab5 quotes one:

- top-1: share of the images whose largest logit is the label's, in percent;
- agreement: share of the images to which two models give the same class, in percent;
- relative L2: ‖found − reference‖ / ‖reference‖ over all logits of all images;
- the paired difference of two models' top-1, with McNemar's exact test: two models judged on the
  same images share their luck, so the images on which they differ decide, not two separate rates.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lab5.assignment import CALIBRATIONS, CHECKPOINT, CLASSES, SYNTHETIC
from lab5.cli import add_calibration, command, console, progress
from lab5.data import Split, load
from lab5.errors import DataError, UsageError
from lab5.files import find, replacing
from lab5.preprocess import preprocess_batch

if TYPE_CHECKING:
    import onnxruntime as ort
    from rich.table import Table
    from torch import nn

PYTORCH: Final = "PyTorch"
FP32: Final = "FP32 ONNX"
INT8: Final = "INT8 ONNX"

BATCH: Final = 100  # images a forward pass

Tick = Callable[[int], object]  # told how many more images are done


def _ignore(_: int) -> None:
    pass


# Logits


def session_logits(
    session: ort.InferenceSession, images: np.ndarray, tick: Tick = _ignore
) -> np.ndarray:
    """(N, 32, 32, 3) uint8 images through an ONNX Runtime session -> (N, 10) float32 logits.

    The first input and output are used, and the batch size that the file fixes, if it does.
    """
    feed, fetch = session.get_inputs()[0], session.get_outputs()[0]
    batch = feed.shape[0] if isinstance(feed.shape[0], int) else BATCH
    return _logits(images, batch, lambda x: session.run([fetch.name], {feed.name: x})[0], tick)


def torch_logits(model: nn.Module, images: np.ndarray, tick: Tick = _ignore) -> np.ndarray:
    """(N, 32, 32, 3) uint8 images through a model in eval mode -> (N, 10) float32 logits."""
    import torch

    with torch.inference_mode():
        return _logits(images, BATCH, lambda x: model(torch.from_numpy(x)).numpy(), tick)


def _logits(
    images: np.ndarray, size: int, run: Callable[[np.ndarray], np.ndarray], tick: Tick
) -> np.ndarray:
    logits = np.empty((len(images), len(CLASSES)), np.float32)
    for start in range(0, len(images), size):
        batch = images[start : start + size]
        logits[start : start + size] = run(preprocess_batch(batch))
        tick(len(batch))
    return logits


# Measures


def top1(logits: np.ndarray, labels: np.ndarray) -> float:
    """Percent of the (N, 10) logits whose largest is at the (N,) label; NaN without images."""
    return _percent(logits.argmax(1) == labels)


def per_class_top1(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """``top1`` for each class's own images, (10,) in percent; NaN where a class has none."""
    right = logits.argmax(1) == labels
    return np.array([_percent(right[labels == i]) for i in range(len(CLASSES))])


def agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Percent of the images to which two models' (N, 10) logits give the same class."""
    return _percent(first.argmax(1) == second.argmax(1))


def relative_l2(found: np.ndarray, reference: np.ndarray) -> float:
    """‖found − reference‖ / ‖reference‖ over all elements, in float64; 0 when they are equal."""
    reference = reference.astype(np.float64)
    error = float(np.linalg.norm(found - reference))
    return error / (float(np.linalg.norm(reference)) or math.inf) if error else 0.0


def _percent(true: np.ndarray) -> float:
    return 100 * float(true.mean()) if true.size else math.nan


@dataclass(frozen=True)
class Paired:
    """Two models' top-1 compared image by image."""

    images: int
    only_first: int  # images that only the first model gets right
    only_second: int

    @property
    def difference(self) -> float:
        """Second minus first, in percentage points of top-1."""
        return 100 * (self.only_second - self.only_first) / self.images

    @property
    def interval(self) -> tuple[float, float]:
        """95% confidence interval of ``difference``, in percentage points.

        Wald's, with half an image added to each cell of the 2x2 table (Agresti & Min 2005), which
        keeps it honest when the models differ on few images or none.
        """
        n, first, second = self.images + 2, self.only_first + 0.5, self.only_second + 0.5
        centre = (second - first) / n
        spread = 1.96 * math.sqrt((first + second) / n - centre**2) / math.sqrt(n)
        return 100 * (centre - spread), 100 * (centre + spread)

    @property
    def p_value(self) -> float:
        """McNemar's exact test, two-sided: how likely so uneven a split is if neither is better."""
        n, fewer = self.only_first + self.only_second, min(self.only_first, self.only_second)
        tail = sum(
            math.exp(math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * _LN2)
            for k in range(fewer + 1)
        )
        return min(1.0, 2 * tail)

    @property
    def differs(self) -> bool:
        """Whether these images show a difference, at the 5% level."""
        return self.p_value < 0.05


_LN2 = math.log(2)


def paired(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> Paired:
    """Compare the (N, 10) logits of two models on the same (N,) labels."""
    first_right, second_right = first.argmax(1) == labels, second.argmax(1) == labels
    return Paired(
        images=len(labels),
        only_first=int((first_right & ~second_right).sum()),
        only_second=int((second_right & ~first_right).sum()),
    )


# The evaluation


@dataclass(frozen=True)
class Evaluation:
    """What each model said: ``logits`` name -> (N, 10) float32, for ``labels`` (N,) int64."""

    labels: np.ndarray
    logits: Mapping[str, np.ndarray]
    calibration: str  # how INT8 was calibrated

    @property
    def int8_against_fp32(self) -> Paired:
        return paired(self.logits[FP32], self.logits[INT8], self.labels)

    def figures(self) -> dict[str, dict[str, Any]]:
        """By model: ``top1``, ``per_class``, ``agreement`` and ``relative_l2`` to FP32 ONNX."""
        reference = self.logits[FP32]
        return {
            name: {
                "top1": top1(logits, self.labels),
                "agreement": agreement(logits, reference),
                "relative_l2": relative_l2(logits, reference),
                "per_class": per_class_top1(logits, self.labels),
            }
            for name, logits in self.logits.items()
        }


def evaluate(
    weights: Path, split: Split, *, calibration: str = CALIBRATIONS[0], tick: Tick = _ignore
) -> Evaluation:
    """Export and quantise ``weights`` in a temporary folder and run all three models on ``split``.

    Args:
        weights: a checkpoint of the assignment's network.
        calibration: as for ``lab5.calibration.make_reader``; ``synthetic`` refines, too.
        tick: is told how many images are done, three times ``len(split)`` in all.

    Raises:
        DataError: ``split`` is empty.
        CheckpointError, ExportError, QuantizationError: as the steps raise them.
    """
    if not len(split):
        raise DataError(
            "There are no test images to evaluate on. Give a copy of CIFAR-10 with --data.",
            zh="沒有可用來評估的測試影像。請用 --data 指定 CIFAR-10。",
        )
    from lab5.calibration import make_reader
    from lab5.checkpoint import open_model
    from lab5.export import export_fp32
    from lab5.quantize import quantize
    from lab5.session import PROVIDERS, build_session

    model = open_model(weights)
    with tempfile.TemporaryDirectory() as folder:
        fp32, int8 = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        export_fp32(model, fp32)
        reader = make_reader(calibration, model)
        quantize(fp32, int8, reader, refine=calibration == SYNTHETIC)
        logits = {PYTORCH: torch_logits(model, split.images, tick)}
        for name, path in ((FP32, fp32), (INT8, int8)):
            session = build_session(str(path), PROVIDERS)
            logits[name] = session_logits(session, split.images, tick)
    return Evaluation(split.labels, logits, calibration)


# The command


def _table(evaluation: Evaluation) -> Table:
    from rich.table import Table

    figures = evaluation.figures()
    table = Table(title=f"{len(evaluation.labels):,} test images / 張測試影像")
    table.add_column("")
    for name in figures:
        table.add_column(name, justify="right")

    def row(title: str, cells: Iterator[str]) -> None:
        table.add_row(title, *cells)

    models = figures.values()
    row("top-1", (f"{m['top1']:.2f}%" for m in models))
    row("agreement with FP32 ONNX", (f"{m['agreement']:.2f}%" for m in models))
    row("relative L2 to FP32 ONNX", (f"{m['relative_l2']:.2g}" for m in models))
    table.add_section()
    for i, name in enumerate(CLASSES):
        row(name, (f"{m['per_class'][i]:.1f}%" for m in models))
    return table


def _statement(pair: Paired) -> str:
    low, high = pair.interval
    p = f"p = {pair.p_value:.2g}"
    return (
        f"INT8 − FP32: {pair.difference:+.2f} pp (95% CI {low:+.2f} … {high:+.2f}); right on FP32 "
        f"alone: {pair.only_first}, on INT8 alone: {pair.only_second}; exact McNemar {p}: "
        f"{'a difference' if pair.differs else 'no difference shown'} at the 5% level\n"
        f"INT8 − FP32：{pair.difference:+.2f} 個百分點（95% 信賴區間 {low:+.2f} … {high:+.2f}）；"
        f"只有 FP32 答對 {pair.only_first} 張，只有 INT8 答對 {pair.only_second} 張；"
        f"McNemar 精確檢定 {p}：在 5% 水準下{'有差異' if pair.differs else '看不出差異'}"
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
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lab5.evaluate",
        description="PyTorch, FP32 ONNX and INT8 ONNX on the CIFAR-10 test set / 三種模型的準確率",
    )
    parser.add_argument("--weights", type=Path, help=f"the checkpoint, {CHECKPOINT} / 權重檔")
    parser.add_argument("--data", type=Path, help="a copy of CIFAR-10; otherwise the cache")
    parser.add_argument("--images", type=int, help="only the first so many test images")
    add_calibration(parser)
    parser.add_argument("--json", type=Path, help="also write the figures there / 另存為 JSON")
    return parser


@command
def main(argv: list[str] | None = None) -> None:
    args = _parser().parse_args(argv)
    if args.images is not None and args.images < 1:
        raise UsageError("--images must be at least 1.", zh="--images 至少要是 1。")
    weights = find(args.weights, CHECKPOINT)
    split = load(args.data).test.first(args.images)
    with progress() as bar:
        task = bar.add_task("evaluate", total=3 * len(split))
        found = evaluate(
            weights,
            split,
            calibration=args.calibration,
            tick=lambda n: bar.advance(task, n),
        )
    console.print(_table(found))
    console.print(_statement(found.int8_against_fp32), soft_wrap=True)
    if args.json:
        with replacing(args.json) as temporary:
            text = json.dumps(report(found, weights), indent=2)
            temporary.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
