"""What the checks look at: the zip's files, read when they are first asked for."""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np

from lab5.assignment import inlined, network_source
from lab5.files import state_of
from lab5.grading.core import Blocked, Fault, out_of_time
from lab5.grading.evidence import inputs, other_network
from lab5.grading.evidence.checkpoint import checkpoint_layers, layers_of, reference_parameters
from lab5.grading.evidence.ipython import python_of
from lab5.grading.evidence.onnx_file import Layer, OnnxFile, Unreadable, in_order, reference_logits
from lab5.grading.evidence.pdf import Report, read_report
from lab5.grading.evidence.program import Cell, NotebookUnreadable, Program, read_cells
from lab5.grading.evidence.submission import Submission, open_submission
from lab5.grading.sandbox.room import Outcome
from lab5.grading.sandbox.wall import PACKAGE
from lab5.grading.stand_ins.given import Given, Shapes, as_key, seeded_input, seeded_weights
from lab5.grading.stand_ins.pictures import pictures
from lab5.grading.stand_ins.sessions import try_models
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
    median = statistics.median(b / a for a, b in pairs)
    return float(min(min(second) / min(first), median))


def given_to_probes(seed: int, sizes: Mapping[str, int]) -> Given:
    """What the probes get beside a notebook whose files have these sizes: bytes by kind."""
    return Given(seed, sizes, reference_parameters(), _network_for_notebooks())


@cache
def _network_for_notebooks() -> str:
    return network_source() or inlined((PACKAGE / "model.py").read_text(encoding="utf-8"))


_T = TypeVar("_T")
_MADE_OF: dict[Any, Any] = {}


def made_of(path: Path, make: Callable[[Path], _T]) -> _T:
    """What ``make`` makes of a file that many hand-ins are compared with: once, by whatever path."""
    key = (make, *state_of(path))
    if key not in _MADE_OF:
        _MADE_OF[key] = make(path)
    made: _T = _MADE_OF[key]
    return made


class _read_once(cached_property[_T]):
    """A cached property that finds once, too, that its file is unreadable."""

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        assert self.attrname
        key = f"unreadable {self.attrname}"
        if found := instance.__dict__.get(key):
            raise found.with_traceback(None)
        try:
            return super().__get__(instance, owner)
        except Unreadable as error:
            error.__context__ = error.__cause__ = None  # whose frames hold what was read
            instance.__dict__[key] = error.with_traceback(None)
            raise


def _program_of(notebook: Path) -> Program:
    return Program.of(made_of(notebook, read_cells))


@cache
def _reference_output(shapes: Shapes, seed: int) -> np.ndarray:
    weights = seeded_weights(dict(shapes), seed)
    if network_source():
        return other_network.logits(weights, seeded_input(seed))
    logits = reference_logits(layers_of(weights), seeded_input(seed))
    assert logits is not None
    return logits


def share(seed: int, weights: Path | None, template: Path | None) -> None:
    """Make what all hand-ins are compared with: in a room, for its visitors."""
    _network_for_notebooks()
    _reference_output(as_key(reference_parameters()), seed)
    pictures(seed)
    try_models(seed)
    if weights:
        made_of(weights, checkpoint_layers)
    if template:
        made_of(template, _program_of)


def _apart(found: Layer, wanted: Layer) -> float:
    """Of weights or biases, whichever differ more; infinite where they have another shape."""
    apart = []
    for got, want in ((found.folded, wanted.folded), (found.folded_bias, wanted.folded_bias)):
        assert want is not None
        same = got is not None and got.shape == want.shape
        apart.append(abs(got - want).max() / abs(want).max() if same else np.inf)
    return float(np.max(apart))  # NaN, if one is


class Evidence:
    """A hand-in, opened in ``folder``.

    Args:
        weights: the checkpoint that the hand-in should carry, if known.
        template: the handed-out notebook, if known.
        seed: of what the notebook's functions are called with.

    What its code did is known once ``outcomes`` is set: how each probe ended, by name.
    """

    def __init__(
        self,
        archive: Path,
        folder: Path,
        *,
        weights: Path | None = None,
        template: Path | None = None,
        seed: int = 0,
    ) -> None:
        self.archive, self.folder = archive, folder
        self.weights, self.template, self.seed = weights, template, seed
        self.outcomes: Mapping[str, Outcome] | None = None
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

    @_read_once
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

    @cached_property
    def own_statements(self) -> list[str]:
        """Those of the notebook that are neither the template's nor the assignment's, without names."""
        from lab5.grading.evidence.own_code import own_statements

        assert self.template is not None
        return own_statements(self.program, made_of(self.template, _program_of))

    @cached_property
    def given(self) -> Given:
        """What the probes get beside the notebook."""
        paths = {
            "fp32": self.zip.path("fp32"),
            "int8": self.zip.path("int8"),
            "weights": self.weights,
        }
        sizes = {kind: path.stat().st_size for kind, path in paths.items() if path}
        return given_to_probes(self.seed, sizes)

    def to_run(self) -> dict[str, Any]:
        """The ``cells`` of code and what is ``given`` with them, for ``run_probes``.

        Empty where there is no notebook that can be read.
        """
        if self.zip.path("notebook") is None:
            return {}
        try:
            cells = [python_of(cell.source) for cell in self.cells if cell.kind == "code"]
        except Unreadable:  # which its own check says
            return {}
        return {"cells": cells, "given": dataclasses.asdict(self.given)}

    def take(self, observed: Mapping[str, tuple[str, str]]) -> None:
        """Read how each probe ended, by its name, as ``run_probes`` gives it."""
        self.outcomes = {name: Outcome.read(*one) for name, one in observed.items()}

    def probe(self, name: str) -> dict[str, Any]:
        """What was observed of the notebook's code.

        Raises:
            Fault: it hung or ended the process.
            SandboxError: the time of the whole zip was over.
            Blocked: it was not run, which was told.
        """
        if self.outcomes is None:
            raise Blocked(Text("The notebook's code was not run.", "未執行 notebook 的程式。"))
        outcome = self.outcomes[name]
        if outcome.ended == "late":
            raise out_of_time(f"the notebook's code (probe {outcome.value})")
        if outcome.ended == "done" and isinstance(outcome.value, dict):
            return outcome.value
        if outcome.ended == "timeout":
            seconds = outcome.error.removesuffix(" s")
            raise Fault(
                Text(
                    f"It was still running after {seconds} seconds of computing.",
                    f"運算超過 {seconds} 秒仍未結束。",
                ),
                want=Text("it ends", "會結束"),
                got=Text("an endless loop, or very slow code", "無窮迴圈，或非常慢的程式"),
            )
        raise Fault(
            Text("It ended the process that ran it.", "執行它的程序意外結束。"),
            want=Text("it returns", "正常返回"),
            got=outcome.error,
        )

    @cached_property
    def reference_output(self) -> np.ndarray:
        """(2, 10) float32: what the assignment's network gives with the probe's seeded weights."""
        return _reference_output(as_key(self.probe("network")["parameters"]), self.seed)

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
        return made_of(self.weights, checkpoint_layers)

    @cached_property
    def rebuilt(self) -> tuple[list[Layer], np.ndarray]:
        """The layers of the FP32 file, and the reference network's logits with their weights, (2, 10).

        Of a network that the assignment names, its logits with the checkpoint's: which layer is which, is
        not known.

        Raises:
            Fault: they are not the weights of this network.
            Blocked: there is no checkpoint of the network that the assignment names.
        """
        if network_source():
            if self.weights is None:
                raise Blocked(
                    Text("Give --weights to compare with it.", "加上 --weights 才能比對。")
                )
            return self.fp32.layers, other_network.logits(self.weights, inputs.parity())
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

    @cached_property
    def carried(self) -> list[float]:
        """How far each of these layers is from the checkpoint's, relative to its largest value."""
        return [
            _apart(mine, handed_out)
            for mine, handed_out in zip(self.rebuilt[0], self.handed_out, strict=True)
        ]

    # The report

    @_read_once
    def report(self) -> Report:
        """The PDF's text and pictures.

        Raises:
            Unreadable: it is no PDF, or needs a password.
        """
        return read_report(self._file("report"))
