"""How right are the models? PyTorch, FP32 ONNX and INT8 ONNX on the same test images, side by side.

``python -m lab5.evaluate --weights best_model.pth``. The measures, used wherever lab5 quotes one:

- top-1: share of the images whose largest logit is the label's, in percent;
- agreement: share of the images to which two models give the same class, in percent;
- relative L2: ‖found − reference‖ / ‖reference‖ over all logits of all images;
- the paired difference of two models' top-1, with McNemar's exact test: two models judged on the
  same images share their luck, so the images on which they differ decide, not two separate rates.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lab5.assignment import CALIBRATIONS, CLASSES
from lab5.errors import DataError
from lab5.models import Pair, make_pair
from lab5.preprocess import preprocess_batch
from lab5.study.data import Split

if TYPE_CHECKING:
    import onnxruntime as ort
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
    return in_batches(images, lambda x: session.run([fetch.name], {feed.name: x})[0], batch, tick)


def torch_logits(model: nn.Module, images: np.ndarray, tick: Tick = _ignore) -> np.ndarray:
    """(N, 32, 32, 3) uint8 images through a model in eval mode -> (N, 10) float32 logits."""
    import torch

    with torch.inference_mode():
        return in_batches(images, lambda x: model(torch.from_numpy(x)).numpy(), tick=tick)


def in_batches(
    images: np.ndarray,
    run: Callable[[np.ndarray], np.ndarray],
    size: int = BATCH,
    tick: Tick = _ignore,
) -> np.ndarray:
    """(N, 32, 32, 3) uint8 images, preprocessed, through ``run`` -> (N, 10) float32 logits."""
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
        calibration: as for ``lab5.study.calibration.calibrate``.
        tick: is told how many images are done, three times ``len(split)`` in all.

    Raises:
        DataError: ``split`` is empty.
        CheckpointError, ExportError, QuantizationError: as the steps raise them.
    """
    if not len(split):
        raise DataError(
            "There are no test images to evaluate on. Give a data set with --data.",
            zh="沒有可用來評估的測試影像。請用 --data 指定資料集。",
        )
    from lab5.checkpoint import open_model
    from lab5.session import PROVIDERS, build_session
    from lab5.study.calibration import calibrate

    model = open_model(weights)
    with tempfile.TemporaryDirectory() as folder:
        pair = Pair(Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx")
        make_pair(model, pair, calibrate(calibration))
        logits = {PYTORCH: torch_logits(model, split.images, tick)}
        for name, path in zip((FP32, INT8), pair, strict=True):
            session = build_session(str(path), PROVIDERS)
            logits[name] = session_logits(session, split.images, tick)
    return Evaluation(split.labels, logits, calibration)
