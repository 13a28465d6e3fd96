"""What the checks look at: the zip's files, read when they are first asked for."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import statistics
import sys
import time
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from lab5.errors import SandboxError
from lab5.files import replacing
from lab5.grading.core import Blocked, Fault, out_of_time
from lab5.grading.evidence import inputs
from lab5.grading.evidence.checkpoint import checkpoint_layers
from lab5.grading.evidence.ipython import python_of
from lab5.grading.evidence.onnx_file import Layer, OnnxFile, Unreadable, in_order, reference_logits
from lab5.grading.evidence.pdf import Report, read_report
from lab5.grading.evidence.program import Cell, NotebookUnreadable, Program, read_cells
from lab5.grading.evidence.submission import Submission, open_submission
from lab5.grading.probes import PROBES, preload
from lab5.grading.sandbox import Outcome, Sandbox, dumps, loads
from lab5.text import Text

HELD_OUT: Final = 6  # images on which INT8 is compared with FP32, beside the two of parity
ROUNDS: Final = (3, 25)  # least and most pairs of runs of FP32 and INT8 that are timed


# A thread's own time; Windows counts it in steps longer than a run.
_clock = time.perf_counter if sys.platform == "win32" else time.thread_time


def times_as_long(pairs: list[tuple[float, float]]) -> float:
    """How many times as long the second of each pair takes, whatever else the machine does.

    The shortest of either is undisturbed once each had a quiet moment; the median of the ratios, where
    the machine was for a moment faster than usual. Disturbances only make either too large.
    """
    first, second = zip(*pairs, strict=True)
    return min(min(second) / min(first), statistics.median(b / a for a, b in pairs))


class Evidence:
    """A hand-in, opened in ``folder``.

    Args:
        weights: the checkpoint that the hand-in should carry, if known.
        template: the handed-out notebook, if known.
        until: when the notebook's code is ended, by ``time.monotonic``.
        kept: a folder for what was observed, should this process end and another one take over.
    """

    def __init__(
        self,
        archive: Path,
        folder: Path,
        *,
        weights: Path | None = None,
        template: Path | None = None,
        static: bool = False,
        sandbox: Sandbox | None = None,
        until: float = math.inf,
        kept: Path | None = None,
    ) -> None:
        self.archive, self.folder = archive, folder
        self.weights, self.template, self.static = weights, template, static
        self.sandbox = sandbox or Sandbox(seconds=15, preload=preload())
        self.until, self.kept = until, kept or folder / "outcomes"
        self.check = ""  # that is being made
        self._probes: dict[str, Outcome] = {}
        self._late = ""  # what was running when the time was over
        self._unstarted = False  # the sandbox does not start
        self._spent: list[tuple[float, float]] = []  # processor time of FP32 and INT8 on an image

    @cached_property
    def zip(self) -> Submission:
        folder = self.folder / "files"
        folder.mkdir(exist_ok=True)
        return open_submission(self.archive, folder)

    def _file(self, role: str) -> Path:
        path = self.zip.path(role)
        assert path is not None, f"a check of {role} needs the check that it is there"
        return path

    # The notebook

    @cached_property
    def cells(self) -> list[Cell]:
        try:
            return read_cells(self._file("notebook"))
        except NotebookUnreadable as error:
            raise Unreadable(
                Text("The notebook cannot be read.", "無法讀取 notebook。"),
                want=".ipynb",
                got=error,
            ) from None

    @cached_property
    def program(self) -> Program:
        return Program.of(self.cells)

    def probe(self, name: str) -> dict[str, Any]:
        """What was observed of the notebook's code.

        Raises:
            Fault: it hung or ended the process.
            SandboxError: the process does not start; told once.
            Blocked: as was told.
        """
        outcome = self._outcome(name)
        if outcome.ended == "done" and isinstance(outcome.value, dict):
            return outcome.value
        if outcome.ended == "timeout":
            raise Fault(
                Text(
                    f"It was still running after {self.sandbox.seconds:g} seconds of computing.",
                    f"運算超過 {self.sandbox.seconds:g} 秒仍未結束。",
                ),
                want=Text("it ends", "會結束"),
                got=Text("an endless loop, or very slow code", "無窮迴圈，或非常慢的程式"),
            )
        raise Fault(
            Text("It ended the process that ran it.", "執行它的程序意外結束。"),
            want=Text("it returns", "正常返回"),
            got=outcome.error,
        )

    def _outcome(self, name: str) -> Outcome:
        """How a probe ended, which are all made when the first is asked for."""
        if name not in self._probes:
            self._observe()
        if self._probes[name].ended == "late":
            raise out_of_time(self._late)
        return self._probes[name]

    def _observe(self) -> None:
        if self._unstarted:
            raise Blocked(Text("The sandbox does not start.", "沙盒無法啟動。"))
        names = [] if self.static else list(PROBES)
        cells = [python_of(c.source) for c in self.cells if c.kind == "code"] if names else []
        jobs: list[dict[str, Any]] = [{"probe": "reference"}]
        sizes = self._sizes()
        jobs += [{"probe": name, "cells": cells, "sizes": sizes} for name in names]
        jobs = self._left(jobs)
        run = self.sandbox.run(
            "lab5.grading.probes:observe", jobs, self.folder / "run", until=self.until
        )
        try:
            for index, outcome in run:
                name = jobs[index]["probe"]
                self._probes[name] = outcome
                if outcome.ended == "late":
                    self._late = f"{self.check} (probe {jobs[outcome.value]['probe']})"
                else:
                    self._keep(name, outcome)
        except SandboxError:
            self._unstarted = True
            raise

    def _keep(self, name: str, outcome: Outcome) -> None:
        with replacing(self.kept / f"{name}.json") as temporary:
            temporary.write_text(dumps(dataclasses.asdict(outcome)), encoding="utf-8")

    def _left(self, jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Without what an earlier process observed, and what was running when it ended."""
        first = not self.kept.exists()
        self.kept.mkdir(exist_ok=True)
        left = []
        for job in jobs:
            file = self.kept / f"{job['probe']}.json"
            if file.exists():
                self._probes[job["probe"]] = Outcome(**loads(file.read_text(encoding="utf-8")))
            else:
                left.append(job)
        if left and not first:
            ended = Outcome("crashed", error="it ended the process of the checks, too")
            self._probes[left[0]["probe"]] = ended
            self._keep(left.pop(0)["probe"], ended)
        return left

    def _sizes(self) -> dict[str, int]:
        """Bytes of the models and the checkpoint, for the code that looks."""
        paths = {
            "fp32": self.zip.path("fp32"),
            "int8": self.zip.path("int8"),
            "weights": self.weights,
        }
        return {kind: path.stat().st_size for kind, path in paths.items() if path}

    @cached_property
    def reference(self) -> dict[str, Any]:
        """The reference network's parameters and outputs; a failure here is ours."""
        outcome = self._outcome("reference")
        if outcome.ended != "done":
            raise RuntimeError(outcome.error)
        return dict(outcome.value)

    # The models

    @cached_property
    def fp32(self) -> OnnxFile:
        return OnnxFile(self._file("fp32"))

    @cached_property
    def int8(self) -> OnnxFile:
        return OnnxFile(self._file("int8"))

    @cached_property
    def fp32_parity(self) -> np.ndarray:
        """FP32's logits of ``inputs.parity()``, (2, 10)."""
        return self.fp32.logits(inputs.parity())

    @cached_property
    def held_out(self) -> tuple[np.ndarray, np.ndarray]:
        """FP32's and INT8's logits of the same images, (8, 10) each."""
        found = [self._pair(x[None]) for x in inputs.scenes(HELD_OUT, seed=2)]
        batch = None
        with contextlib.suppress(Unreadable):  # FP32 at a batch of two is 1.3's business
            batch = self.fp32_parity
        if batch is not None:
            found.append([batch, self.int8.logits(inputs.parity())])
        return np.concatenate([a for a, _ in found]), np.concatenate([b for _, b in found])

    def _pair(self, x: np.ndarray) -> list[np.ndarray]:
        """Both models' logits, one run behind the other, which is timed."""
        found, spent = [], []
        for logits in (self._compared_with, self.int8.logits):
            start = _clock()
            found.append(logits(x))
            spent.append(_clock() - start)
        self._spent.append((spent[0], spent[1]))
        return found

    def _compared_with(self, x: np.ndarray) -> np.ndarray:
        """FP32's logits, for a check of INT8: what is wrong with them is no fault of INT8."""
        try:
            return self.fp32.logits(x)
        except Unreadable:
            raise Blocked(
                Text("The FP32 file does not run: see 1.3.", "FP32 檔無法執行，見 1.3。")
            ) from None

    def slowdown(self, limit: float) -> float:
        """INT8's time over FP32's for one image on one thread; measured longer while above ``limit``."""
        least, most = ROUNDS
        while len(self._spent) <= least or (
            len(self._spent) <= most and times_as_long(self._spent[1:]) > limit
        ):
            self._pair(inputs.parity()[:1])
        return times_as_long(self._spent[1:])  # the first is to warm up

    @cached_property
    def handed_out(self) -> list[Layer]:
        """The layers of the checkpoint that the hand-in should carry."""
        assert self.weights is not None
        return checkpoint_layers(self.weights)

    @cached_property
    def rebuilt(self) -> tuple[list[Layer], np.ndarray]:
        """The layers of the FP32 file, and the reference network's logits with their weights, (2, 10).

        Raises:
            Fault: they are not the weights of this network.
        """
        layers = in_order(self.fp32.layers)
        if layers is None or (logits := reference_logits(layers, inputs.parity())) is None:
            shapes = [layer.weight.shape for layer in self.fp32.layers]
            raise Fault(
                Text(
                    "The FP32 file does not hold this ResNet18's layers.",
                    "FP32 檔的層與本作業的 ResNet18 不同。",
                ),
                want="20 Conv + 1 Gemm",
                got=f"{sum(len(s) == 4 for s in shapes)} Conv + {sum(len(s) == 2 for s in shapes)} Gemm",
            )
        return layers, logits

    # The report

    @cached_property
    def report(self) -> Report:
        """The PDF's text and pictures.

        Raises:
            Unreadable: it is no PDF, or needs a password.
        """
        return read_report(self._file("report"))
