"""What only running shows, run in the sandbox's child: the notebook's own code is foreign."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from lab5.assignment import NUM_CLASSES
from lab5.errors import NotebookError
from lab5.grading.evidence.ipython import python_of
from lab5.grading.sandbox.keeper import Limits
from lab5.grading.sandbox.room import Outcome, Room
from lab5.quantize import MAX_IMAGES


def works(sources: list[str], sessions: list[str]) -> bool:
    """Whether ``compare_fp32_int8`` answers with the likeliest class when the models are sure of one."""
    outcome = _tried("compare", {"cells": sources, "sessions": sessions})
    return outcome.ended == "done" and bool(outcome.value)


def notebook_batches(notebook: dict[str, Any], fp32: Path) -> list[np.ndarray]:
    """What the notebook's own reader gives ``quantize_static``: (N, 3, 32, 32) float32 each.

    Args:
        notebook: a filled one, as plain JSON.
        fp32: the file that it quantises, under the name that the notebook gives it.

    Raises:
        NotebookError: the reader cannot be run.
    """
    sources = [
        "".join(cell["source"]) if cell["cell_type"] == "code" else "" for cell in notebook["cells"]
    ]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "batches.npz"
        job = {"cells": sources, "fp32": str(fp32.resolve()), "out": str(out)}
        outcome = _tried("batches", job)
        if outcome.ended == "done" and not outcome.value and out.is_file():
            with np.load(out, allow_pickle=False) as found:
                return [found[name] for name in found.files]
    why = outcome.error or str(outcome.value)
    raise NotebookError(
        f"The notebook's calibration reader cannot be run ({why}). Run its cells 5 and 6, "
        "or give --calibration synthetic.",
        zh=f"無法執行 notebook 的校準資料讀取器（{why}）。請執行第 5、6 格查看，"
        "或改用 --calibration synthetic。",
    )


def _tried(function: str, job: dict[str, Any]) -> Outcome:
    """The notebook is one's own: it needs no wall."""
    with Room() as room, room.visit(f"{__name__}:{function}", limits=Limits(seconds=20)) as visit:
        return visit.ask(job, 100)


# In the child


def _program(sources: list[str]) -> Any:
    from lab5.grading.evidence.program import Cell as Source
    from lab5.grading.evidence.program import Program

    return Program.of(Source("code", python_of(source)) for source in sources)


class _Sure:
    """A session whose model is sure of one class."""

    def get_inputs(self) -> list[Any]:
        return [type("End", (), {"name": "input", "shape": ["N", 3, 32, 32]})]

    def get_outputs(self) -> list[Any]:
        return [type("End", (), {"name": "output", "shape": ["N", NUM_CLASSES]})]

    def run(self, *_: Any) -> list[np.ndarray]:
        logits = np.resize(np.arange(3, dtype=np.float32), (1, NUM_CLASSES))
        logits[0, NUM_CLASSES // 3] = 9
        return [logits]


def compare(job: dict[str, Any]) -> bool:
    """Call the notebook's function with stand-ins for its sessions."""
    from PIL import Image

    from lab5.grading.stand_ins.anything import Anything

    program = _program(job["cells"])
    space: dict[str, Any] = {}
    targets = program.bindings("compare_fp32_int8")
    instead = {name: _Sure() for name in job["sessions"]}
    program.run(targets, space, instead=instead, missing=Anything)
    found = space["compare_fp32_int8"](Image.new("RGB", (32, 32)))
    return all(len(top) > 1 and max(top.values()) > 0.9 for top in list(found)[:2])


def batches(job: dict[str, Any]) -> str:
    """Run the notebook up to ``quantize_static``, which only writes down what it is given."""
    import onnxruntime.quantization as quantization

    shutil.copyfile(job["fp32"], Path(job["fp32"]).name)
    seen: list[np.ndarray] = []

    class Done(BaseException):
        pass

    def quantize_static(*args: Any, **kwargs: Any) -> None:
        reader = (
            kwargs["calibration_data_reader"] if "calibration_data_reader" in kwargs else args[2]
        )
        while (feed := reader.get_next()) is not None and sum(map(len, seen)) <= MAX_IMAGES:
            seen.append(np.asarray(next(iter(feed.values()))))
        raise Done

    quantization.quantize_static = quantize_static
    if hasattr(quantization, "quantize"):
        quantization.quantize.quantize_static = quantize_static
    program = _program(job["cells"])
    calls, _ = program.reaching(
        lambda node: getattr(node, "id", getattr(node, "attr", "")) == "quantize_static"
    )
    last = program.statements[calls[0]].cell if calls else -1
    # What else its cell runs before it may draw random numbers, too.
    targets = [i for i, s in enumerate(program.statements) if s.cell == last and i <= calls[0]]
    errors = program.run(targets, {})
    if not seen:
        return "; ".join(errors) or "quantize_static is never called"
    np.savez(job["out"], *seen)
    return ""
