"""What is given, as evidence: a zip, a folder, or single files of a hand-in in any mixture."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from lab5.errors import UsageError
from lab5.files import external_locations, visible
from lab5.grading.evidence.onnx_file import is_quantised
from lab5.grading.handin import Evidence

ARCHIVES: Final = (".zip", ".tar", ".tgz")
CHECKPOINTS: Final = (".pth", ".pt", ".ckpt", ".safetensors")
_SINGLE: Final = (*CHECKPOINTS, ".ipynb", ".onnx")


class Given(NamedTuple):
    """The evidence, and the checkpoints that lay beside it."""

    evidence: Evidence
    checkpoints: list[Path]


def listed_files(paths: Iterable[Path]) -> list[Path]:
    """The files that are given by name or by their folder, and what may hold a model's weights beside it.

    Raises:
        UsageError: there is no such file, or nothing of a hand-in in it.
    """
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise UsageError(f"There is no file {path}.", zh=f"找不到檔案 {path}。")
        files += sorted(p for p in visible(path) if p.is_file()) if path.is_dir() else [path]
    if not any(p.suffix.lower() in (*ARCHIVES, *_SINGLE) for p in files):
        raise UsageError(
            "There is nothing of a hand-in: give a zip, a folder, an .ipynb, .onnx or .pth file.",
            zh="沒有可診斷的檔案：請指定 zip、資料夾、.ipynb、.onnx 或 .pth。",
        )
    beside = [p for m in files if m.suffix == ".onnx" for p in visible(m.parent, "*.*data")]
    return list(dict.fromkeys([*files, *beside]))


def the_archive(files: Iterable[Path]) -> Path | None:
    """The one that all but checkpoints lies in, if there is one."""
    others = [p for p in files if p.suffix.lower() not in CHECKPOINTS]
    return others[0] if others and all(p.suffix.lower() in ARCHIVES for p in others) else None


def gathered(files: list[Path], weights: Path | None, folder: Path, seed: int = 0) -> Given:
    """Open ``listed_files`` in ``folder``; a checkpoint among them is the one that the models should carry."""
    checkpoints = [p for p in files if p.suffix.lower() in CHECKPOINTS]
    archive = the_archive(files) or _packed(files, folder / "N00000000_lab5.zip")
    inside = folder / "opened"
    inside.mkdir()
    known = weights or (checkpoints[0] if checkpoints else None)
    return Given(
        Evidence(archive or folder / "none.zip", inside, weights=known, seed=seed), checkpoints
    )


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
    """Which of the two models it is: by its name, else by its operators."""
    import onnx

    named = re.search(r"fp32|int8", file.name, re.IGNORECASE)
    if named:
        return named[0].lower() == "int8"
    try:
        model = onnx.load(file, load_external_data=False)
    except Exception:  # what it is then is found out later
        return False
    return any(is_quantised(node.op_type) for node in model.graph.node)


def _locations(file: Path) -> set[str]:
    import onnx

    try:
        found = external_locations(onnx.load(file, load_external_data=False))
    except Exception:
        return set()
    return {n for n in found if re.fullmatch(r"[^/\\]+", n)}
