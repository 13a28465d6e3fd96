"""2.2: FP32 against INT8 on one picture: top-3, times, speed-up."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lab5.assignment import CLASSES, TOP_K
from lab5.preprocess import preprocess
from lab5.session import PROVIDERS, build_session

Scores = dict[str, float]


def timed_run(session, output_name, feed, repeats=20):
    """Run once to warm up, then ``repeats`` times: the output and the times in ms, (repeats,)."""
    output = session.run([output_name], feed)[0]
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        session.run([output_name], feed)
        times.append((time.perf_counter() - start) * 1000)
    return output, np.array(times)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis, same shape."""
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def top_k(probabilities: np.ndarray, k: int = TOP_K) -> Scores:
    """(10,) probabilities -> the ``k`` likeliest classes, likeliest first."""
    return {
        CLASSES[i]: float(probabilities[i]) for i in np.argsort(-probabilities, kind="stable")[:k]
    }


def make_comparison(fp32: Path, int8: Path) -> Callable[[Any], tuple[Scores, Scores, str]]:
    """The page's function for a pair of models; both sessions are opened once."""
    sess_fp32 = build_session(str(fp32), PROVIDERS)
    sess_int8 = build_session(str(int8), PROVIDERS)
    in_fp32, in_int8 = sess_fp32.get_inputs()[0].name, sess_int8.get_inputs()[0].name
    name_fp32, name_int8 = sess_fp32.get_outputs()[0].name, sess_int8.get_outputs()[0].name

    def compare_fp32_int8(image):
        """A PIL image -> (FP32 top-3, INT8 top-3, a text with both times and the speed-up)."""
        if image is None:
            return {}, {}, "請先上傳一張圖片。 Please upload a picture first."
        x = preprocess(image)
        out_fp32, times_fp32 = timed_run(sess_fp32, name_fp32, {in_fp32: x})
        out_int8, times_int8 = timed_run(sess_int8, name_int8, {in_int8: x})
        fp32_ms, int8_ms = float(np.median(times_fp32)), float(np.median(times_int8))
        summary = (
            f"FP32: {fp32_ms:.2f} ms\nINT8: {int8_ms:.2f} ms\nSpeedup: {fp32_ms / int8_ms:.2f}x"
        )
        return top_k(softmax(out_fp32[0])), top_k(softmax(out_int8[0])), summary

    return compare_fp32_int8
