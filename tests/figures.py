"""Measurements written by hand, for the tests of what the report says about them."""

from __future__ import annotations

import base64
import dataclasses
import io
from typing import Any

from PIL import Image

from lab5.assignment import CLASSES
from lab5.report.measure import (
    Accuracy,
    Agreement,
    ClassAccuracy,
    Confusion,
    Example,
    Latency,
    LayerSqnr,
    Machine,
    Measurements,
)


def latency(median: float) -> Latency:
    return Latency(0.95 * median, 0.98 * median, median, 1.02 * median, 1.05 * median, runs=100)


def accuracy(only_fp32: int = 12, only_int8: int = 9, images: int = 10_000) -> Accuracy:
    each = images // len(CLASSES)
    right = 9 * each // 10
    classes = tuple(ClassAccuracy(name, each, right, right) for name in CLASSES)
    lost = dataclasses.replace(classes[3], int8=right - only_fp32 + only_int8)
    classes = (*classes[:3], lost, *classes[4:])
    return Accuracy(
        images=images,
        available=10_000,
        fp32=sum(c.fp32 for c in classes),
        int8=sum(c.int8 for c in classes),
        only_fp32=only_fp32,
        only_int8=only_int8,
        classes=classes,
        confusions=(Confusion("cat", "dog", 31, 34),),
    )


def example(label: str = "cat", int8: str = "cat") -> Example:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), "teal").save(buffer, "PNG")
    rest = (("deer", 0.06), ("bird", 0.01))
    return Example(
        base64.b64encode(buffer.getvalue()).decode(),
        label,
        ((label, 0.93), *rest),
        ((int8, 0.91), *rest),
    )


def figures(**changes: Any) -> Measurements:
    """A plausible pair on the whole test set; any field can be given otherwise."""
    names = ("conv1.0", "layer1.0.left.0", "layer4.1.left.3", "fc")
    sqnr = tuple(LayerSqnr(n, 38.5 - 2 * i, 30.2 - 2 * i) for i, n in enumerate(names))
    defaults = Measurements(
        fp32_bytes=44_686_485,
        int8_bytes=11_233_193,
        fp32_latency=latency(6.51),
        int8_latency=latency(1.93),
        cpu_share=0.99,
        agreement=Agreement(False, 10_000, 9_962, 0.0213, 0.99, 0.51),
        accuracy=accuracy(),
        sqnr=(*sqnr[:2], LayerSqnr("layer1.0.Add", None, 27.1), *sqnr[2:]),
        examples=(example("cat", "dog"), example("ship", "ship")),
        machine=Machine("Test CPU", 2, ("avx512_vnni",), "Linux x86_64", {"onnxruntime": "1.20"}),
    )
    return dataclasses.replace(defaults, **changes)


def without_data(m: Measurements | None = None) -> Measurements:
    agreement = Agreement(True, 100, 100, 0.0213, 0.99, None)
    return dataclasses.replace(m or figures(), accuracy=None, agreement=agreement)


def full_size() -> Measurements:
    """As many layers, pictures and confusions as the assignment's network gives."""
    layers = ["conv1.0"]
    for i in (1, 2, 3, 4):
        layers += [
            f"layer{i}.0.left.0",
            f"layer{i}.0.left.3",
            *[f"layer{i}.0.shortcut.0"] * (i > 1),
        ]
        layers += [f"layer{i}.1.left.0", f"layer{i}.1.left.3"]
    layers.append("fc")
    sqnr = [LayerSqnr(n, 38.0 - i / 4, 25.0 + 7 * i % 5) for i, n in enumerate(layers)]
    confusions = [Confusion("cat", name, 3, 2) for name in CLASSES[4:]]
    return figures(
        sqnr=tuple(sqnr),
        examples=(example("cat", "dog"), *[example(name, name) for name in CLASSES[4:9]]),
        accuracy=dataclasses.replace(accuracy(), confusions=tuple(confusions)),
    )
