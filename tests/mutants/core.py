"""What a variation of the good hand-in is, and how many of them are graded in little time."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from filelock import FileLock

from lab5.grading.core import CHECKS, STATUSES, Fault, Result, judge
from lab5.grading.evidence.ipython import python_of
from lab5.grading.evidence.program import Cell, NotebookUnreadable, read_cells
from lab5.grading.evidence.submission import Submission
from lab5.grading.handin import Evidence, given_to_probes
from lab5.grading.rooms import code_room, run_probes, walled_if_possible
from lab5.grading.sandbox.room import Outcome
from lab5.grading.stand_ins.given import Given
from lab5.grading.suite import MADE
from tests import handin
from tests.handin import ARCHIVE, FP32, INT8, NOTEBOOK, REPORT

Content = bytes | Callable[[], bytes]  # what is dear to make is made when the zip is written

SEED = 1  # of what the notebooks' functions are called with
SECONDS = 2.0  # of one probe, mostly a tenth of one: a hand-in that hangs costs that much


@dataclass(frozen=True)
class Variation:
    """An edit of the good hand-in. ``breaks`` is the check that must fail, None if none may."""

    name: str
    edit: Callable[[HandIn], None]
    breaks: str | None = None
    also: tuple[str, ...] = ()  # what cannot but break with it
    advises: tuple[str, ...] = ()  # what gives advice, at no cost
    notes: tuple[str, ...] = ()  # checks without points that fail all the same
    fast: bool = False
    alone: bool = False  # it cannot be combined with others


FAULTS: dict[str, Variation] = {}
HARMLESS: dict[str, Variation] = {}


Edit = Callable[["HandIn"], None]


def fault(
    breaks: str, *, also: tuple[str, ...] = (), advises: tuple[str, ...] = (), fast: bool = False
) -> Callable[[Edit], Edit]:
    """Register a function that puts one fault into a hand-in; its docstring says which."""
    return _registering(FAULTS, breaks=breaks, also=also, advises=advises, fast=fast)


def harmless(
    *,
    advises: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
    fast: bool = False,
    alone: bool = False,
) -> Callable[[Edit], Edit]:
    """Register a function that changes a hand-in in a way that must not cost a point."""
    assert not any(CHECKS[name].points for name in notes), notes
    return _registering(HARMLESS, advises=advises, notes=notes, fast=fast, alone=alone)


def _registering(where: dict[str, Variation], **fields: Any) -> Callable[[Edit], Edit]:
    def register(edit: Edit) -> Edit:
        name = edit.__name__.replace("_", "-")
        assert name not in {**FAULTS, **HARMLESS}, name
        assert edit.__doc__, name
        where[name] = Variation(name, edit, **fields)
        return edit

    return register


class HandIn:
    """The files of the good hand-in, to be edited."""

    def __init__(self, variants: Variants) -> None:
        self.files: dict[str, Content] = dict(variants.good)
        self.archive = ARCHIVE
        self.variants = variants
        self.pack: Callable[[Path, dict[str, bytes]], Any] = handin.write_zip

    def rename(self, old: str, new: str) -> None:
        """Another name for a file, in its place."""
        assert old in self.files
        assert new not in self.files
        self.files = {new if n == old else n: content for n, content in self.files.items()}

    @contextlib.contextmanager
    def notebook(self) -> Iterator[dict[str, Any]]:
        """The notebook as JSON, written back."""
        found = self.files[NOTEBOOK]
        assert isinstance(found, bytes)
        content = json.loads(found)
        yield content
        self.files[NOTEBOOK] = handin.notebook_bytes(content)

    def code(self, old: str, new: str, *, count: int = 1) -> None:
        """Replace ``old``, which stands ``count`` times in the code cells."""
        found = 0
        with self.notebook() as content:
            for cell in content["cells"]:
                if cell["cell_type"] == "code":
                    source = "".join(cell["source"])
                    found += source.count(old)
                    cell["source"] = source.replace(old, new).splitlines(keepends=True)
        assert found == count, f"{old!r} stands there {found} times"

    def cell(self, source: str, *, at: int | None = None, kind: str = "code") -> None:
        """Add a cell, at the end unless told."""
        cell: dict[str, Any] = {"cell_type": kind, "metadata": {}, "source": source}
        if kind == "code":
            cell |= {"execution_count": None, "outputs": []}
        with self.notebook() as content:
            content["cells"].insert(len(content["cells"]) if at is None else at, cell)

    def graph(self, name: str, edit: Callable[[onnx.ModelProto], Any]) -> None:
        """Edit the ONNX graph of a file."""
        content = self.files[name]

        def edited() -> bytes:
            model = onnx.load_from_string(_made(content))
            edit(model)
            return bytes(model.SerializeToString())

        self.files[name] = edited

    def report(self, *edits: tuple[str, str], pictures: dict[str, bytes] | None = None) -> None:
        """Set the report anew, its source edited."""
        source = handin.REPORT_SOURCE
        for old, new in edits:
            assert old in source, old
            source = source.replace(old, new)
        self.files[REPORT] = handin.report(source, pictures)

    def write(self, folder: Path) -> Path:
        path = folder / self.archive
        self.pack(path, {name: _made(content) for name, content in self.files.items()})
        return path


def _made(content: Content) -> bytes:
    return content if isinstance(content, bytes) else content()


class Variants:
    """Models made from the good one in other ways, each once.

    Args:
        net: the network with trained weights, in eval mode; read it, never write to it.
        good: the files of the good hand-in by name.
        folder: for the models; processes may share it.
    """

    def __init__(self, net: Any, good: dict[str, bytes], folder: Path) -> None:
        self.net, self.good, self.folder = net, good, folder

    def once(self, name: str, make: Callable[[Path], object]) -> bytes:
        """What ``make`` writes to the path that it is given."""
        path = self.folder / f"{name}.onnx"
        with FileLock(f"{path}.lock"):
            if not path.exists():
                part = path.with_name(f"part-{path.name}")
                make(part)
                part.rename(path)
        return path.read_bytes()

    def export(self, net: Any, path: Path, **options: Any) -> None:
        """``torch.onnx.export`` as the assignment has it, but for ``options``."""
        import torch

        given = {"input_names": ["input"], "output_names": ["output"], "opset_version": 13}
        buffer = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that this exporter is deprecated
            torch.onnx.export(
                net, (torch.zeros(1, 3, 32, 32),), buffer, dynamo=False, **{**given, **options}
            )
        path.write_bytes(buffer.getvalue())


# What the evidence computes from nothing but the bytes of these files: part -> roles
_PARTS = {
    "handed_out": (),
    "cells": ("notebook",),
    "program": ("notebook",),
    "fp32": ("fp32",),
    "fp32_parity": ("fp32",),
    "rebuilt": ("fp32",),
    "carried": ("fp32",),
    "int8": ("int8",),
    "held_out": ("fp32", "int8"),
    "slowdown": ("fp32", "int8"),
    "report": ("report",),
}


_NAMES = {"notebook": NOTEBOOK, "fp32": FP32, "int8": INT8, "report": REPORT}


class Grader:
    """Makes all checks on variations.

    What is computed only from files whose bytes are the good hand-in's (``_PARTS``) is taken from there;
    every check is made on every variation. The notebooks' code is run in few child processes, as to
    start one takes longer than to run a probe.

    Args:
        ahead: run all their notebooks' code at once, in the background: all are going to be graded here.
        weights: the checkpoint that the good hand-in carries.
        template: the handed-out notebook.
    """

    def __init__(
        self,
        variants: Variants,
        variations: Collection[Variation],
        folder: Path,
        *,
        ahead: bool,
        weights: Path,
        template: Path,
    ) -> None:
        self.variants, self.good = variants, variants.good
        self._known = {"weights": weights, "template": template}
        self.handins = {v.name: HandIn(variants) for v in variations}
        for variation in variations:
            variation.edit(self.handins[variation.name])
        sizes = {kind: len(self.good[name]) for kind, name in (("fp32", FP32), ("int8", INT8))}
        sizes["weights"] = weights.stat().st_size
        given = given_to_probes(SEED, sizes)
        announced = [HandIn(variants), *(self.handins.values() if ahead else ())]
        self._probes = _Probes(announced, folder, given)
        self._evidence = self._opened(HandIn(variants), folder)
        self._evidence.outcomes = self._probes.of(self._evidence.cells)
        self.results = _judged(self._evidence)

    def __call__(self, variation: Variation, folder: Path) -> dict[str, Result]:
        """The results of all checks, by name."""
        return self.grade(self.handins[variation.name], folder)

    def grade(self, varied: HandIn, folder: Path) -> dict[str, Result]:
        """The same for a hand-in, of which nothing was prepared."""
        evidence = self._opened(varied, folder)
        same = {  # the good models have no external data
            role: self._is_good(varied, evidence.zip, role) for role in _NAMES
        }
        for part, roles in _PARTS.items():
            if all(same[role] for role in roles):
                vars(evidence)[part] = getattr(self._evidence, part)  # where cached properties look
        if evidence.zip.path("notebook"):
            with contextlib.suppress(Fault):
                evidence.outcomes = self._probes.of(evidence.cells)
        return _judged(evidence)

    def _is_good(self, varied: HandIn, opened: Submission, role: str) -> bool:
        good, path = self.good[_NAMES[role]], opened.path(role)
        if path is None or path.stat().st_size != len(good):
            return False
        plain = varied.pack is handin.write_zip  # so that unpacking compared the checksum
        return (plain and varied.files.get(str(opened.role(role))) is good) or _begins(path, good)

    def worse(self, results: dict[str, Result]) -> dict[str, Result]:
        """Those that are worse than the good hand-in's."""
        return {
            name: result
            for name, result in results.items()
            if STATUSES.index(result.status) > STATUSES.index(self.results[name].status)
            or result.earned < self.results[name].earned
        }

    def close(self) -> None:
        self._probes.close()

    def _opened(self, varied: HandIn, folder: Path) -> Evidence:
        opened = folder / "opened"
        opened.mkdir()
        return Evidence(varied.write(folder), opened, seed=SEED, **self._known)


def _judged(evidence: Evidence) -> dict[str, Result]:
    done: dict[str, Result] = {}
    for one in MADE:
        done[one.name] = judge(one, evidence, done)
    return done


def _begins(path: Path, content: bytes) -> bool:
    """Whether the file begins with this; in pieces, as new memory takes longer than the comparison."""
    size = 1 << 16
    with path.open("rb") as file:
        return all(
            file.read(size) == content[start : start + size]
            for start in range(0, len(content), size)
        )


class _Probes:
    """The probes of all notebooks, made in the background, in one room.

    Args:
        given: what they get beside the notebook: the good hand-in's.
    """

    def __init__(self, handins: Iterable[HandIn], folder: Path, given: Given) -> None:
        notebooks = {
            _sources(cells): None for varied in handins if (cells := _cells(varied, folder))
        }
        self._given = dataclasses.asdict(given)
        self._room = walled_if_possible(lambda walled: code_room(walled, seed=SEED))
        workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
        self._pool = ThreadPoolExecutor(max(1, (os.cpu_count() or 1) // workers))
        # Not in the threads: CPython's ast.parse fails when two take turns in it.
        self._found: dict[tuple[str, ...], Future[dict[str, Outcome]]] = {
            sources: self._pool.submit(self._run, list(map(python_of, sources)))
            for sources in notebooks
        }

    def of(self, cells: list[Cell]) -> dict[str, Outcome]:
        """Of a notebook; one that was not announced is run now."""
        sources = _sources(cells)
        if sources not in self._found:
            self._found[sources] = self._pool.submit(self._run, list(map(python_of, sources)))
        return self._found[sources].result()

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._room.close()

    def _run(self, cells: list[str]) -> dict[str, Outcome]:
        found = run_probes(self._room, cells, self._given, seconds=SECONDS)
        return {name: Outcome.read(*one) for name, one in found}


def _cells(varied: HandIn, folder: Path) -> list[Cell] | None:
    for name, content in varied.files.items():
        if name.endswith(".ipynb") and isinstance(content, bytes):
            path = folder / "notebook"
            path.write_bytes(content)
            with contextlib.suppress(NotebookUnreadable):
                return read_cells(path)
    return None


def _sources(cells: list[Cell]) -> tuple[str, ...]:
    return tuple(cell.source for cell in cells if cell.kind == "code")
