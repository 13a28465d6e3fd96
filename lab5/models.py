"""The pair of models of one checkpoint: made, and found where people keep them.

best_model.pth ── open_model ──> network ── export_fp32 ──> FP32 ── quantize ──> INT8
                                    └── calibrate ──> reader ──────────┘
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lab5 import assignment
from lab5.assignment import CALIBRATIONS, CHECKPOINT, EXAMPLE_ID, file_name
from lab5.cli import console
from lab5.files import cache_dir, find
from lab5.text import Text

if TYPE_CHECKING:
    from onnxruntime.quantization import CalibrationDataReader
    from torch import nn


class Pair(NamedTuple):
    fp32: Path
    int8: Path


class Calibration(NamedTuple):
    """What an INT8 file is calibrated with.

    Args:
        reader: gives the images, (N, 3, 32, 32) float32 a batch.
        improve: as for ``quantize``.
    """

    reader: CalibrationDataReader
    improve: Callable[[Path, Path, Any], None] | None = None


Calibrate = Callable[
    [Any], Calibration
]  # for a network in eval mode; only synthetic images need it


def handed_out(model: nn.Module) -> Calibration:
    """The handed-out notebook's reader."""
    from lab5.calibration import handed_out_reader

    return Calibration(handed_out_reader())


def _silent(item: str) -> AbstractContextManager[None]:
    return contextlib.nullcontext()


def make_pair(
    model: nn.Module,
    pair: Pair,
    calibrate: Calibrate = handed_out,
    step: Callable[[str], AbstractContextManager[Any]] = _silent,
) -> None:
    """Export and quantise a network in eval mode.

    Args:
        step: is entered for each graded item in its turn.

    Raises:
        ExportError, QuantizationError: as the steps raise them.
    """
    with step("1.3"):
        from lab5.export import export_fp32

        export_fp32(model, pair.fp32)
    with step("1.4"):
        from lab5.quantize import quantize

        reader, improve = calibrate(model)
        quantize(pair.fp32, pair.int8, reader, improve=improve)


def cached_pair(
    weights: Path, name: str = CALIBRATIONS[0], calibrate: Calibrate = handed_out
) -> Pair:
    """The pair of ``weights`` in the user's cache, made when it is not there yet.

    Args:
        name: of the calibration and of its images: another one gives other files.
    """
    digest = hashlib.sha256(weights.read_bytes() + name.encode())
    digest.update(assignment.identity())
    for source in sorted(Path(__file__).parent.rglob("*.py")):  # made anew when any of it changed
        digest.update(source.read_bytes())
    for package in ("torch", "onnx", "onnxscript", "onnxruntime", "numpy", "pillow"):
        digest.update(f"{package} {version(package)}".encode())
    folder = cache_dir() / f"models-{digest.hexdigest()[:16]}"
    pair = Pair(*(folder / file_name(role, EXAMPLE_ID) for role in ("fp32", "int8")))
    if not pair.int8.exists():
        from lab5.checkpoint import open_model

        folder.mkdir(parents=True, exist_ok=True)
        make_pair(open_model(weights), pair, calibrate)
    return pair


def find_pair(folders: tuple[Path, ...]) -> Pair | None:
    """The first folder's ``<id>_FP32.onnx``, the newest that has its ``<id>_INT8.onnx`` beside it."""
    pattern = file_name("fp32", "*")
    before, after = pattern.split("*")
    pairs = [
        Pair(fp32, int8)
        for folder in folders
        for fp32 in sorted(folder.glob(pattern), key=lambda f: -f.stat().st_mtime)
        if (owner := fp32.name.removeprefix(before).removesuffix(after))
        and (int8 := fp32.with_name(file_name("int8", owner))).is_file()
    ]
    return pairs[0] if pairs else None


def find_models() -> Pair:
    """The student's pair, from here or ``submission/``; otherwise one made from the weights here.

    Raises:
        UsageError: there is neither.
    """
    if pair := find_pair((Path(), Path("submission"))):
        return pair
    weights = find(None, CHECKPOINT)
    console.print(str(Text(f"models made from {weights}", f"模型由 {weights} 產生")))
    return cached_pair(weights)
