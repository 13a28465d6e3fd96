"""The two rooms in which hand-ins are graded: one reads them, the other runs their code."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from lab5.assignment import network_source
from lab5.cli import RunCode
from lab5.errors import NoWallError
from lab5.grading.evidence.checkpoint import reference_parameters
from lab5.grading.probes import GRADED, preload
from lab5.grading.sandbox.keeper import Limits
from lab5.grading.sandbox.messages import dumps
from lab5.grading.sandbox.room import FORKS, Outcome, Room, Shared, Visit
from lab5.grading.sandbox.wall import PACKAGE

PROBE_SECONDS: Final = 15.0  # of processor time, for a probe
_PROBE: Final = Limits(resident=1 << 30, processes=24)
_OUTCOME: Final = 12 << 20  # characters of a probe's outcome: a dozen pictures of 224x224, as text
_OUTCOMES: Final = 36 << 20  # … of all: the reader holds a hundred times as much

Observed = tuple[str, str]  # what a visitor wrote; or what was running when the time was over

# All of this package that the notebook's code is run by; it holds no answer and no judge.
_SEEN: Final = (
    "__init__.py", "assignment.py", "assignment.toml", "assignment_file.py", "errors.py", "text.py", "grading/__init__.py",
    "grading/newer_python.py", "grading/evidence/__init__.py", "grading/evidence/ipython.py",
    "grading/evidence/program.py", "grading/sandbox/__init__.py", "grading/sandbox/keeper.py",
    "grading/sandbox/linux.py", "grading/sandbox/messages.py", "grading/probes", "grading/stand_ins",
)  # fmt: skip
READS: Final = (
    "numpy", "numpy.random", "PIL.Image", "onnx", "onnx.helper", "onnxruntime",
    "onnxruntime.quantization", "pypdfium2", "IPython.core.inputtransformer2", "encodings.big5",
    "encodings.cp437", "lab5.study.evaluate", "lab5.study.saturation", "lab5.grading.worker",
)  # fmt: skip
DRAWS: Final = ("lab5.grading.evidence.own_code",)  # as well, for portraits


def code_room(walled: bool, more: tuple[str, ...] = (), seed: int | None = None) -> Room:
    """One for ``run_probes``; ``seed`` is that of all hand-ins, if it is known."""
    only = [PACKAGE / name for name in _SEEN] if walled else None
    shared = None
    if seed is not None:
        given = {"seed": seed, "parameters": reference_parameters()}
        shared = Shared("lab5.grading.probes:share", given)
    return Room((*preload(), *more), walled=walled, only=only, shared=shared)


def walled_if_possible(make: Callable[[bool], Room]) -> Room:
    """The room that ``make(walled)`` makes, behind a wall where one can be built."""
    with contextlib.suppress(NoWallError):
        room = make(True)
        room.wait()
        return room
    return make(False)


class Rooms:
    """Where hand-ins are read and where their code is run: two rooms, or one where there is no wall.

    Args:
        run_code: behind a wall, without one (for a hand-in of one's own), or never.
        reads: what the reading room imports once.
        seed: of all hand-ins; behind a wall, what they have alike is made once then, of
        files: as well, the checkpoint that all carry and the handed-out notebook, if they are given.

    Raises:
        NoWallError: no wall can be built here.
    """

    def __init__(
        self,
        run_code: RunCode = "walled",
        reads: tuple[str, ...] = READS,
        *,
        seed: int | None = None,
        files: Mapping[str, Path] | None = None,
    ) -> None:
        if network_source():  # which PyTorch computes
            reads = (*reads, "lab5.checkpoint")
        self.run_code = run_code
        self.code: Room | None = None
        if run_code == "walled":
            shared = None
            if seed is not None:
                known = {key: path.resolve() for key, path in (files or {}).items()}
                shared = Shared("lab5.grading.worker:share", {"seed": seed}, known)
            self.code = code_room(True, seed=seed)
            self.reading = Room(reads, walled=True, shared=shared)
            try:
                self.reading.wait()  # the other takes longer: who needs it waits for it
            except BaseException:
                self.close()
                raise
        elif run_code == "unsafe":
            self.reading = self.code = code_room(False, more=reads)
        else:
            self.reading = walled_if_possible(lambda walled: Room(reads, walled=walled))

    def _all(self) -> list[Room]:
        return [self.reading] if self.code in (None, self.reading) else [self.reading, self.code]

    def wait(self) -> None:
        """Until both are ready for visits.

        Raises:
            SandboxError, NoWallError
        """
        for room in self._all():
            room.wait()

    def renew(self) -> None:
        """For the next hand-in, where visitors cannot be kept from the room itself."""
        for room in self._all():
            if not room.alone:
                room.renew()

    def end(self) -> None:
        """From another thread: let whoever grades in them fail at once."""
        for room in self._all():
            room.end()

    def close(self) -> None:
        for room in self._all():
            room.close()

    def __enter__(self) -> Rooms:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def run_probes(
    room: Room,
    cells: list[str],
    given: dict[str, Any],
    until: float = math.inf,
    *,
    seconds: float = PROBE_SECONDS,
    names: Iterable[str] = GRADED,
) -> Iterator[tuple[str, Observed]]:
    """Each probe's name, and how it ended on this notebook's code.

    Args:
        given: the fields of a ``Given``.
        until: when the time of all is over, by ``time.monotonic``.
        seconds: of processor time, for each.
        names: which of them.
    """
    with contextlib.ExitStack() as opened:
        late, begun, room_left = "", "", _OUTCOMES
        visit: Visit | None = None
        for name in names:
            found, left = "", until - time.monotonic()
            if not late and left > 0:
                if visit is None or visit.gone or not FORKS:
                    opened.close()
                    visit = opened.enter_context(_observer(room, seconds))
                    begun = visit.ask_raw({"cells": cells, "given": given}, left)
                if Outcome.read(found := begun).ended == "done":
                    found = visit.ask_raw({"probe": name}, min(left, seconds * _PATIENCE))
                if len(found) > min(_OUTCOME, room_left):
                    found = dumps({"ended": "crashed", "error": "its answer is too large"})
                room_left -= len(found)
            if until - time.monotonic() < _CLOSE:
                late = late or name
            yield name, (found, late)


def _observer(room: Room, seconds: float) -> Visit:
    return room.visit(
        "lab5.grading.probes:observer", limits=replace(_PROBE, seconds=seconds), apart=True
    )


_CLOSE: Final = 0.1  # seconds: a visitor that took all of the time left was running at its end
# Times the processor time by the clock: a busy machine makes no hang of what is slow.
_PATIENCE: Final = 5
