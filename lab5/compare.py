"""2.2: FP32 against INT8 on one picture: top-3, times, speed-up, agreement, file sizes.

In notebooks: ``timed_run``.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from lab5.assignment import CLASSES, TOP_K
from lab5.files import model_size
from lab5.session import build_timed_session
from lab5.text import Language, Text

Scores = dict[str, float]

WINDOW: Final = 7  # runs of either model, the latest, whose times the page states
LOW_CONFIDENCE: Final = 0.5  # top-1 probability below which a picture looks unlike the ten classes
LARGE_SIDE: Final = 256  # pixels: eight times what the network sees
BUSY: Final = 2.5  # slowest run / fastest above which the machine was busy with something else


def timed_run(session, x, repeats=20):
    """The logits (N, 10) of ``x`` (N, 3, 32, 32), and the median time of a run in ms.

    One run warms up, as the first has to allocate memory; then ``repeats`` are timed.
    """
    feed = {session.get_inputs()[0].name: x}
    logits = session.run(None, feed)[0]
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        session.run(None, feed)
        times.append((time.perf_counter() - start) * 1000)
    return logits, float(np.median(times))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis, same shape."""
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def top_k(probabilities: np.ndarray, k: int = TOP_K) -> Scores:
    """(10,) probabilities -> the ``k`` likeliest classes, likeliest first."""
    return {
        CLASSES[i]: float(probabilities[i]) for i in np.argsort(-probabilities, kind="stable")[:k]
    }


@dataclass(frozen=True)
class Comparison:
    """What both models say about one picture: probabilities (10,) and times (N,) in ms."""

    fp32: np.ndarray
    int8: np.ndarray
    fp32_ms: np.ndarray
    int8_ms: np.ndarray
    fp32_mb: float
    int8_mb: float

    @property
    def speedup(self) -> float:
        """FP32's median time over INT8's."""
        return float(np.median(self.fp32_ms) / np.median(self.int8_ms))

    @property
    def agree(self) -> bool:
        """Whether both have the same top-1."""
        return bool(self.fp32.argmax() == self.int8.argmax())

    def text(self, size: tuple[int, int], language: Language = "en") -> str:
        """The performance comparison, a fact a line; ``size`` is the picture's, (width, height)."""
        fp32, int8 = CLASSES[self.fp32.argmax()], CLASSES[self.int8.argmax()]
        apart = np.abs(self.fp32 - self.int8)
        points, most = 100 * apart.max(), CLASSES[apart.argmax()]
        large, small, cut = self.fp32_mb, self.int8_mb, 1 - self.int8_mb / self.fp32_mb
        lines = [
            _times("FP32", self.fp32_ms),
            _times("INT8", self.int8_ms),
            Text(f"Speedup: {self.speedup:.2f}x", f"加速（Speedup）：{self.speedup:.2f} 倍"),
            Text(f"Same answer: yes ({fp32})", f"預測一致：是（{fp32}）")
            if self.agree
            else Text(
                f"Same answer: no (FP32 says {fp32}, INT8 says {int8})",
                f"預測一致：否（FP32 為 {fp32}，INT8 為 {int8}）",
            ),
            Text(
                f"Largest difference in probability: {points:.2f} percentage points ({most})",
                f"機率差異最大：{points:.2f} 個百分點（{most}）",
            ),
            Text(
                f"File size: FP32 {large:.1f} MB, INT8 {small:.1f} MB ({cut:.0%} smaller)",
                f"檔案大小：FP32 {large:.1f} MB，INT8 {small:.1f} MB（小 {cut:.0%}）",
            ),
        ]
        if any(ms.max() > BUSY * ms.min() for ms in (self.fp32_ms, self.int8_ms)):
            lines.append(
                Text(
                    "⚠ The runs took very different times: the machine was busy. Submit again for "
                    "better figures.",
                    "⚠ 各次時間差很多，表示電腦正在忙別的事。再按一次會得到較準的數字。",
                )
            )
        if max(size) > LARGE_SIDE:
            width, height = size
            lines.append(
                Text(
                    f"⚠ The picture is large ({width}x{height}). The network sees 32x32 pixels of "
                    "it, so small things get lost: crop it to the object.",
                    f"⚠ 圖片很大（{width}x{height}），模型只看得到縮成 32x32 的樣子，小東西會消失："
                    "請先裁切，讓物體占滿畫面。",
                )
            )
        if (sure := self.fp32.max()) < LOW_CONFIDENCE:
            classes = ", ".join(CLASSES)
            lines.append(
                Text(
                    f"⚠ The network is not sure ({sure:.0%}). It knows {len(CLASSES)} classes only: {classes}.",
                    f"⚠ 模型不太確定（{sure:.0%}）。它只認得 {len(CLASSES)} 種類別：{classes}。",
                )
            )
        return "\n".join(line.say(language) for line in lines)


def _times(name: str, ms: np.ndarray) -> Text:
    median, fastest, slowest = np.median(ms), ms.min(), ms.max()
    return Text(
        f"{name}: {median:.2f} ms (median of the last {len(ms)} runs, "
        f"{fastest:.2f} to {slowest:.2f} ms)",
        f"{name}：{median:.2f} ms（最近 {len(ms)} 次的中位數，{fastest:.2f} 到 {slowest:.2f} ms）",
    )


class _Timed:
    """A session, and how long its latest runs took."""

    def __init__(self, path: Path) -> None:
        self._session = build_timed_session(str(path), threads=0)
        self._input = self._session.get_inputs()[0].name
        self._times: deque[float] = deque(maxlen=WINDOW)
        for _ in range(1 + WINDOW):  # the first one warms up, and its time drops out
            self.run(np.zeros((1, 3, 32, 32), np.float32))

    def run(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities (10,) of a picture (1, 3, 32, 32), and the times in ms, (WINDOW,)."""
        start = time.perf_counter()
        logits = self._session.run(None, {self._input: x})[0]
        self._times.append((time.perf_counter() - start) * 1000)
        return softmax(logits[0]), np.array(self._times)


class Models:
    """The FP32 and the INT8 session of one network, opened once and warmed up.

    An answer runs each model once, as it should come nearly as fast as that of a page that does
    nothing; its times are those of the latest runs, which a picture's content has no part in. Runs take
    turns, so that those of two visitors never slow each other down.
    """

    def __init__(self, fp32: Path, int8: Path) -> None:
        self._sizes = model_size(fp32) / 1e6, model_size(int8) / 1e6
        self._fp32, self._int8 = _Timed(fp32), _Timed(int8)
        self._turn = threading.Lock()

    def __call__(self, x: np.ndarray) -> Comparison:
        """Compare on one preprocessed picture, (1, 3, 32, 32) float32."""
        with self._turn:
            (fp32, fp32_ms), (int8, int8_ms) = self._fp32.run(x), self._int8.run(x)
        return Comparison(fp32, int8, fp32_ms, int8_ms, *self._sizes)
