"""What a pair of models does, measured now: the figures of report 3.2.

Speed is measured at batch 1 on one thread, FP32 and INT8 by turns so that both meet the same
machine; answers are compared on CIFAR-10's test images, or on synthetic ones where it is missing.
The definitions of top-1, agreement and relative L2 are those of lab5.study.evaluate.
"""

from __future__ import annotations

import base64
import io
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from lab5.assignment import CLASSES, IMAGE_SIZE
from lab5.errors import QuantizationError, ReportError
from lab5.files import model_size
from lab5.study.machine import Machine, this_machine

if TYPE_CHECKING:
    import onnxruntime as ort

    from lab5.study.data import Cifar10, Split

IMAGES: Final = 300  # test images compared unless told otherwise: 2 x 300 runs of the network
SYNTHETIC_IMAGES: Final = 50  # relative L2 to 6% of itself (standard error); 100 would give 4%
SQNR_IMAGES: Final = 16  # within 0.9 dB of 96 images in every layer; 8 are within 1.5
EXAMPLES: Final = 6  # pictures shown with both top-3
_BLOCK: Final = 5  # timed runs before it is the other model's turn
_MIN_TURNS: Final = 3  # a spread needs more than one, however slow the machine


@dataclass(frozen=True)
class Latency:
    """Milliseconds an image: percentiles of ``runs`` timed runs."""

    p5: float
    p25: float
    median: float
    p75: float
    p95: float
    runs: int


@dataclass(frozen=True)
class Agreement:
    """FP32 and INT8 on the same images.

    ``changed_confidence`` and ``confidence`` are medians of FP32's top-1 probability over the images
    that changed their class (None without any) and over all.
    """

    synthetic: bool
    images: int
    same: int  # images with the same top-1
    relative_l2: float
    confidence: float
    changed_confidence: float | None


@dataclass(frozen=True)
class ClassAccuracy:
    """Right answers among the ``images`` of one class."""

    name: str
    images: int
    fp32: int
    int8: int


@dataclass(frozen=True)
class Confusion:
    """How often images of ``label`` were taken for ``predicted``."""

    label: str
    predicted: str
    fp32: int
    int8: int


@dataclass(frozen=True)
class Accuracy:
    """Top-1 on ``images`` of the ``available`` test images, as counts."""

    images: int
    available: int
    fp32: int  # right answers
    int8: int
    only_fp32: int  # right in FP32 alone
    only_int8: int
    classes: tuple[ClassAccuracy, ...]
    confusions: tuple[Confusion, ...]  # those whose count changed, largest change first


@dataclass(frozen=True)
class LayerSqnr:
    """Signal to quantisation noise of one layer in dB, as lab5.study.sqnr defines it.

    ``weight`` is None without weights; ``activation`` sums up all the noise before it.
    """

    name: str
    weight: float | None
    activation: float | None


@dataclass(frozen=True)
class Example:
    """One 32x32 picture (PNG, base64), what it shows, and both top-3 as (class, probability)."""

    png: str
    label: str
    fp32: tuple[tuple[str, float], ...]
    int8: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Measurements:
    """All of report 3.2. ``dataclasses.asdict`` gives plain JSON values."""

    fp32_bytes: int  # external data included
    int8_bytes: int
    fp32_latency: Latency
    int8_latency: Latency
    cpu_share: float  # of the time that timing took: well below 1 where other programs ran
    agreement: Agreement
    accuracy: Accuracy | None  # None without the data set
    sqnr: tuple[LayerSqnr, ...]  # in the order of the network; empty if it cannot be told
    examples: tuple[Example, ...]
    machine: Machine

    @property
    def speedup(self) -> float:
        """FP32's median time over INT8's."""
        return self.fp32_latency.median / self.int8_latency.median

    @property
    def size_cut(self) -> float:
        """Share of FP32's file size that INT8 saves."""
        return 1 - self.int8_bytes / self.fp32_bytes


def measure(
    fp32: Path,
    int8: Path,
    dataset: Cifar10 | None,
    *,
    images: int | None = IMAGES,
    seconds: float = 1.0,
) -> Measurements:
    """Measure the two files.

    Args:
        dataset: CIFAR-10; None compares the models on synthetic images and leaves accuracy out.
        images: how many of its test images, from the first; None is all of them.
        seconds: how long to time both models together.

    Raises:
        UsageError: a file is missing or is no ONNX file, or its data are (``model_files``).
        ReportError: it is no classifier of 32x32 pictures.
    """
    from lab5.session import PROVIDERS, build_session, build_timed_session
    from lab5.study.evaluate import session_logits

    sizes = [model_size(path) for path in (fp32, int8)]
    test = dataset.test.first(images) if dataset is not None else None
    if test is not None and not len(test):
        test = None
    try:
        *latencies, cpu_share = _latencies(
            build_timed_session(str(fp32)), build_timed_session(str(int8)), seconds
        )
        sessions = [build_session(str(path), PROVIDERS) for path in (fp32, int8)]
        shown = test.images if test is not None else _synthetic()
        first, second = (session_logits(session, shown) for session in sessions)  # (N, 10) each
        if test is not None:
            examples = _examples(first, second, shown, [CLASSES[i] for i in test.labels])
        else:
            drawings, labels = _drawings()
            drawn = [session_logits(session, drawings) for session in sessions]
            examples = _examples(drawn[0], drawn[1], drawings, labels)
    except ReportError:
        raise
    except Exception as error:  # onnxruntime raises a dozen types
        raise ReportError(
            f"{fp32.name} and {int8.name} cannot be measured: {error}. Expected the assignment's "
            "two models; make them with: python -m lab5.package",
            zh=f"無法量測 {fp32.name} 與 {int8.name}。應為本作業的兩個模型；"
            "請用 python -m lab5.package 產生。",
        ) from error
    return Measurements(
        fp32_bytes=sizes[0],
        int8_bytes=sizes[1],
        fp32_latency=latencies[0],
        int8_latency=latencies[1],
        cpu_share=cpu_share,
        agreement=_agreement(first, second, synthetic=test is None),
        accuracy=_accuracy(first, second, test, len(dataset.test)) if dataset and test else None,
        sqnr=_sqnr(fp32, int8, shown),
        examples=examples,
        machine=this_machine(),
    )


def _latencies(
    fp32: ort.InferenceSession, int8: ort.InferenceSession, seconds: float
) -> tuple[Latency, Latency, float]:
    image = np.random.default_rng(0).standard_normal((1, 3, IMAGE_SIZE, IMAGE_SIZE), np.float32)
    times: tuple[list[float], list[float]] = ([], [])
    start, cpu = time.perf_counter(), time.thread_time()  # one thread: the calling one does it all
    while time.perf_counter() < start + seconds or len(times[0]) < _MIN_TURNS * _BLOCK:
        for session, kept in zip((fp32, int8), times, strict=True):
            feed = {session.get_inputs()[0].name: image}
            session.run(None, feed)  # warms up after the other model's turn
            for _ in range(_BLOCK):
                before = time.perf_counter()
                session.run(None, feed)
                kept.append((time.perf_counter() - before) * 1000)
    cpu_share = (time.thread_time() - cpu) / (time.perf_counter() - start)
    return _latency(times[0]), _latency(times[1]), cpu_share


def _latency(times: list[float]) -> Latency:
    p5, p25, median, p75, p95 = map(float, np.percentile(times, (5, 25, 50, 75, 95)))
    return Latency(p5, p25, median, p75, p95, runs=len(times))


def _agreement(fp32: np.ndarray, int8: np.ndarray, *, synthetic: bool) -> Agreement:
    from lab5.compare import softmax
    from lab5.study.evaluate import relative_l2

    same = fp32.argmax(1) == int8.argmax(1)  # (N,)
    confidence = softmax(fp32).max(1)  # (N,)
    return Agreement(
        synthetic=synthetic,
        images=len(same),
        same=int(same.sum()),
        relative_l2=relative_l2(int8, fp32),
        confidence=float(np.median(confidence)),
        changed_confidence=None if same.all() else float(np.median(confidence[~same])),
    )


def _accuracy(fp32: np.ndarray, int8: np.ndarray, test: Split, available: int) -> Accuracy:
    from lab5.study.evaluate import paired

    pair = paired(fp32, int8, test.labels)
    tables = [_confusion_matrix(logits, test.labels) for logits in (fp32, int8)]  # two of (10, 10)
    change = np.abs(tables[1] - tables[0])
    np.fill_diagonal(change, 0)
    order = np.argsort(-change, axis=None, kind="stable")[: np.count_nonzero(change)]
    return Accuracy(
        images=len(test),
        available=available,
        fp32=int(tables[0].trace()),
        int8=int(tables[1].trace()),
        only_fp32=pair.only_first,
        only_int8=pair.only_second,
        classes=tuple(
            ClassAccuracy(name, int(tables[0][i].sum()), int(tables[0][i, i]), int(tables[1][i, i]))
            for i, name in enumerate(CLASSES)
        ),
        confusions=tuple(
            Confusion(CLASSES[i], CLASSES[j], int(tables[0][i, j]), int(tables[1][i, j]))
            for i, j in zip(*np.unravel_index(order, change.shape), strict=True)
        ),
    )


def _confusion_matrix(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(10, 10) counts, a row for the label and a column for the prediction."""
    counts = np.zeros((len(CLASSES), len(CLASSES)), int)
    np.add.at(counts, (labels, logits.argmax(1)), 1)
    return counts


def _examples(
    fp32: np.ndarray, int8: np.ndarray, images: np.ndarray, labels: Sequence[str]
) -> tuple[Example, ...]:
    """Up to half of them where the two models differ; the rest from the first."""
    from lab5.compare import softmax, top_k

    differ = np.flatnonzero(fp32.argmax(1) != int8.argmax(1))[: EXAMPLES // 2]
    rest = [i for i in range(len(images)) if i not in differ][: EXAMPLES - len(differ)]
    return tuple(
        Example(
            _png(images[i]),
            labels[i],
            tuple(top_k(softmax(fp32[i])).items()),
            tuple(top_k(softmax(int8[i])).items()),
        )
        for i in (*differ, *rest)
    )


def _drawings() -> tuple[np.ndarray, list[str]]:
    """The project's own pictures (N, 32, 32, 3) uint8 and what they show, in place of CIFAR-10's."""
    from PIL import Image

    from lab5.web.examples import draw_examples

    with tempfile.TemporaryDirectory(prefix="lab5-") as folder:
        paths = draw_examples(Path(folder))
        images = [np.asarray(Image.open(path).resize((IMAGE_SIZE, IMAGE_SIZE))) for path in paths]
    return np.stack(images), [path.stem for path in paths]


def _png(pixels: np.ndarray) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def _synthetic() -> np.ndarray:
    """Seeded (N, 32, 32, 3) uint8 images that calibration has not seen."""
    from lab5.study.synthetic import dead_leaves

    images: np.ndarray = dead_leaves(SYNTHETIC_IMAGES, seed=1)
    return images


def _sqnr(fp32: Path, int8: Path, images: np.ndarray) -> tuple[LayerSqnr, ...]:
    from lab5.preprocess import preprocess_batch
    from lab5.study.sqnr import sqnr

    try:
        rows = sqnr(fp32, int8, preprocess_batch(images[:SQNR_IMAGES]))
    except QuantizationError:  # a pair that is not FP32 and QOperator: the rest still stands
        return ()
    return tuple(LayerSqnr(row.layer, row.weight, row.activation) for row in rows)
