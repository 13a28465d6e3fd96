"""What is given, as evidence: a zip, a folder, or single files of a hand-in in any mixture."""

from __future__ import annotations

import re
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from lab5.cli import RunCode
from lab5.errors import UsageError
from lab5.files import external_locations, temporary_folder, visible
from lab5.grading.handin import Evidence
from lab5.grading.probes import PROBES
from lab5.grading.rooms import code_room, run_probes
from lab5.grading.sandbox.room import Outcome
from lab5.grading.suite import SECONDS

_CHECKPOINTS = (".pth", ".pt", ".ckpt", ".safetensors")


class Given(NamedTuple):
    """The evidence, and the checkpoints that lay beside it."""

    evidence: Evidence
    checkpoints: list[Path]


@contextmanager
def opened(
    paths: list[Path], weights: Path | None = None, run_code: RunCode = "walled"
) -> Iterator[Given]:
    """Open what is given; a checkpoint among it is the one that the models should carry.

    Raises:
        UsageError: there is no such file, or nothing of a hand-in in it.
    """
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise UsageError(f"There is no file {path}.", zh=f"找不到檔案 {path}。")
        files += sorted(p for p in visible(path) if p.is_file()) if path.is_dir() else [path]
    checkpoints = [p for p in files if p.suffix.lower() in _CHECKPOINTS]
    with temporary_folder() as folder:
        archives = [p for p in files if p.suffix.lower() in (".zip", ".tar", ".tgz")]
        archive = (
            archives[0] if archives and len(archives) == len(files) - len(checkpoints) else None
        )
        if archive is None:
            archive = _packed(files, folder / "N00000000_lab5.zip")
        if archive is None and not checkpoints:
            raise UsageError(
                "There is nothing of a hand-in: give a zip, a folder, an .ipynb, .onnx or .pth file.",
                zh="沒有可診斷的檔案：請指定 zip、資料夾、.ipynb、.onnx 或 .pth。",
            )
        inside = folder / "opened"
        inside.mkdir()
        known = weights or (checkpoints[0] if checkpoints else None)
        evidence = Evidence(archive or folder / "none.zip", inside, weights=known)
        if archive is not None:
            evidence.outcomes = observed(evidence, run_code)
        yield Given(evidence, checkpoints)


def observed(evidence: Evidence, run_code: RunCode) -> dict[str, Outcome] | None:
    """How each probe ended on the notebook's code; None where there is none, or it is not run.

    Raises:
        NoWallError: it should be run behind a wall, and none can be built here.
    """
    if run_code == "never" or not (job := evidence.to_run()):
        return None
    until = time.monotonic() + SECONDS
    with code_room(run_code == "walled") as room:
        found = dict(run_probes(room, **job, until=until, names=PROBES))
    return {name: Outcome.read(*one) for name, one in found.items()}


def _packed(files: list[Path], path: Path) -> Path | None:
    """Single files as a zip under the assignment's names, told by what they are."""
    names: dict[str, Path] = {}
    for file in files:
        kind = file.suffix.lower()
        if kind == ".ipynb":
            names.setdefault("N00000000.ipynb", file)
        elif kind == ".onnx":
            role = "INT8" if _quantised(file) else "FP32"
            names.setdefault(f"N00000000_{role}.onnx", file)
            names |= {n: file.parent / n for n in _locations(file) if (file.parent / n).is_file()}
    if not names:
        return None
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, file in names.items():
            archive.write(file, name)
    return path


def _quantised(file: Path) -> bool:
    """Which of the two models it is: by its operators, else by its name."""
    import onnx

    try:
        model = onnx.load(file, load_external_data=False)
    except Exception:  # what it is then is found out later
        return "int8" in file.name.lower()
    named = re.search(r"fp32|int8", file.name, re.IGNORECASE)
    if named:
        return named[0].lower() == "int8"
    return any("Quantize" in n.op_type or n.op_type.startswith("QLinear") for n in model.graph.node)


def _locations(file: Path) -> set[str]:
    import onnx

    try:
        found = external_locations(onnx.load(file, load_external_data=False))
    except Exception:
        return set()
    return {n for n in found if re.fullmatch(r"[^/\\]+", n)}
