"""Where the signal is first lost: FP32 against PyTorch, INT8 against FP32, layer by layer on one input."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lab5.diagnosis.fp32 import LAYERS
from lab5.grading.evidence import inputs
from lab5.grading.evidence.onnx_file import OnnxFile, in_order
from lab5.text import printable

if TYPE_CHECKING:
    from lab5.grading.handin import Evidence

_SAME: Final = 60.0  # dB above which two float computations are one
_JUMP: Final = 10.0  # dB that a layer loses more than those before it
_LOST: Final = 12.0  # dB below which little of the signal is left


@dataclass(frozen=True)
class Row:
    """A layer's signal to noise ratio in dB; None: not to be had."""

    layer: str
    fp32: float | None  # FP32 against PyTorch
    int8: float | None  # INT8 against FP32
    jump: str = ""  # "fp32" or "int8" where its error jumps first

    @classmethod
    def believed(cls, claimed: Any) -> Row:
        """A row as it was claimed.

        Raises:
            KeyError, TypeError, ValueError: it has another form.
        """
        fp32, int8 = (None if claimed[k] is None else float(claimed[k]) for k in ("fp32", "int8"))
        return cls(printable(str(claimed["layer"])), fp32, int8, printable(str(claimed["jump"])))


def compared(e: Evidence, weights: Path | None) -> list[Row]:
    """All 21 layers in the order of the network, as far as the files are there."""
    x = inputs.scenes(8, seed=9)
    mine = _outputs(e.fp32, x) if e.zip.path("fp32") else None
    theirs = _torch(weights, x) if weights is not None else None
    fp32 = (
        [_db(a, b) for a, b in zip(theirs, mine, strict=True)] if mine and theirs else [None] * 21
    )
    int8: dict[str, float | None] = {}
    if mine and e.zip.path("int8") and "QLinearConv" in e.int8.operators:
        int8 = _int8(e, x)
    order = sorted(range(21), key=lambda i: _PLACES[i])
    rows = [Row(LAYERS[i], fp32[i], int8.get(LAYERS[i])) for i in order]
    return _marked(rows)


# LAYERS has the 3x3 convolutions first; here as the network runs
_PLACES: Final = [
    *(float(i) for i in range(17)), *(2 * (2 * stage - 2) + 2.5 for stage in (2, 3, 4)), 17.0,
]  # fmt: skip


def _marked(rows: list[Row]) -> list[Row]:
    found = list(rows)
    for kind in ("fp32", "int8"):
        least = math.inf
        for place, row in enumerate(rows):
            value = getattr(row, kind)
            if value is None:
                continue
            jumps = (
                value < _SAME if kind == "fp32" else value < min(least - _JUMP, 20) or value < _LOST
            )
            if jumps:
                found[place] = Row(
                    row.layer, row.fp32, row.int8, f"{found[place].jump} {kind}".strip()
                )
                break
            least = min(least, value)
    return found


def _db(want: np.ndarray | None, found: np.ndarray | None) -> float | None:
    if want is None or found is None or want.shape != found.shape:
        return None
    noise = float(((want - found) ** 2).sum())
    signal = float((want**2).sum())
    if noise <= 0:
        return 150.0
    return 10 * math.log10(signal / noise) if signal > 0 else None


def _nodes(file: OnnxFile) -> list[Any] | None:
    """The nodes of the 21 layers in the order of LAYERS."""
    layers = in_order(file.layers)
    return None if layers is None else [layer.node for layer in layers]


def _outputs(file: OnnxFile, x: np.ndarray) -> list[np.ndarray] | None:
    """What the FP32 file's layers give, each with the BatchNorm behind it."""
    import onnx

    from lab5.study.sqnr import runner

    nodes = _nodes(file)
    if nodes is None:
        return None
    behind = {n.input[0]: n for n in file.nodes if n.op_type == "BatchNormalization"}
    names = [(behind.get(n.output[0]) or n).output[0] for n in nodes]
    model = onnx.ModelProto()
    model.CopyFrom(file.model)
    return list(runner(model, names)(x))


def _torch(weights: Path, x: np.ndarray) -> list[np.ndarray]:
    import torch

    from lab5.checkpoint import load_model

    net = load_model(weights)[0]
    found: dict[str, np.ndarray] = {}
    for layer in LAYERS:
        stem, _, number = layer.rpartition(".")
        name = f"{stem}.{int(number) + 1}" if stem else layer  # its BatchNorm

        def keep(module: Any, given: Any, result: Any, layer: str = layer) -> None:
            found[layer] = result.detach().numpy().copy()

        net.get_submodule(name).register_forward_hook(keep)
    with torch.no_grad():
        net(torch.from_numpy(x))
    return [found[layer] for layer in LAYERS]


def _int8(e: Evidence, x: np.ndarray) -> dict[str, float | None]:
    from lab5.study.sqnr import sqnr

    nodes = _nodes(e.fp32)
    if nodes is None:
        return {}
    by_output = {n.name: layer for n, layer in zip(nodes, LAYERS, strict=True)}
    weighted = [
        row for row in sqnr(e.fp32.path, e.int8.path, x) if row.operator in ("QLinearConv", "QGemm")
    ]
    names = list(by_output.values())
    if len(weighted) != len(names):
        return {row.layer: row.activation for row in weighted}
    in_file = [by_output[n.name] for n in e.fp32.nodes if n.name in by_output]
    return {layer: row.activation for layer, row in zip(in_file, weighted, strict=True)}


def svg(rows: list[Row]) -> str:
    """A chart: a bar a layer and comparison, the first jump of each in red."""
    left, height, width = 150, 26, 4.0  # names, a row, pixels a dB
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="11" viewBox="0 0 {left + 640} {height * (len(rows) + 1) + 8}">',
        f'<text x="{left}" y="14">SQNR in dB: FP32 against PyTorch (blue), INT8 against FP32 (green); red = the first that jumps</text>',
    ]
    for place, row in enumerate(rows):
        y = height * (place + 1)
        parts.append(
            f'<text x="{left - 6}" y="{y + 14}" text-anchor="end">{html.escape(row.layer)}</text>'
        )
        for number, (kind, colour) in enumerate((("fp32", "#4472c4"), ("int8", "#70ad47"))):
            value = getattr(row, kind)
            if value is not None:
                fill = "#c00000" if kind in row.jump.split() else colour
                parts.append(
                    f'<rect x="{left}" y="{y + 2 + 10 * number}" width="{max(1.0, value * width):.1f}" height="8" fill="{fill}"/>'
                )
                parts.append(
                    f'<text x="{left + max(1.0, value * width) + 4:.1f}" y="{y + 10 + 10 * number}" font-size="9">{value:.1f}</text>'
                )
    return "\n".join([*parts, "</svg>\n"])
