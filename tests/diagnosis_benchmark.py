"""How often the diagnosis is right: hand-ins with known faults put in, and right ones.

Faults are edits as people make them, of the notebook's source, of the weights before they are exported,
of the ONNX graph, of the calibration; nothing here uses what a cause predicts. Every hand-in is made
from the repository's own template and weights, the same each time.
"""

from __future__ import annotations

import itertools
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from lab5.diagnosis.core import CAUSES
from lab5.diagnosis.diagnosing import PROBES as USED
from lab5.diagnosis.diagnosing import Diagnosing
from lab5.files import temporary_folder
from lab5.grading.evidence.ipython import python_of
from lab5.grading.handin import Evidence, given_to_probes
from lab5.grading.probes import PROBES
from lab5.grading.rooms import code_room, run_probes
from lab5.grading.sandbox.room import Outcome as Probed
from tests.faults import FAULTS, RIGHT, Fault, HandIn, Shop

PAIRS: Final = 60
PAGE: Final = Path(__file__).parent.parent / "docs/diagnosis.md"
_HEADING: Final = "## The benchmark"


@dataclass
class Tried:
    """A hand-in that was diagnosed."""

    name: str
    wanted: frozenset[str]
    named: frozenset[str] = frozenset()
    seconds: float = 0.0
    unknown: int = 0

    @property
    def found(self) -> bool:
        return self.wanted <= self.named

    @property
    def wrong(self) -> frozenset[str]:
        return self.named - self.wanted


@dataclass
class Outcome:
    """All that were tried, by kind."""

    single: list[Tried] = field(default_factory=list)
    pair: list[Tried] = field(default_factory=list)
    right: list[Tried] = field(default_factory=list)

    @property
    def wrong(self) -> float:
        """The share of hand-ins for which a cause was named that was not put in."""
        every = [*self.single, *self.pair, *self.right]
        return sum(bool(one.wrong) for one in every) / len(every)


def pairs(count: int = PAIRS) -> list[tuple[Fault, Fault]]:
    """Pairs of faults that can stand in one hand-in, each fault seldom, the same each time."""
    rng = np.random.default_rng(1)
    every = [(a, b) for a, b in itertools.combinations(FAULTS, 2) if a.fits(b)]
    order = rng.permutation(len(every))
    used: dict[str, int] = {}
    found: list[tuple[Fault, Fault]] = []
    for index in order:
        a, b = every[index]
        if max(used.get(a.name, 0), used.get(b.name, 0)) < 3:
            found.append((a, b))
            for one in (a, b):
                used[one.name] = used.get(one.name, 0) + 1
        if len(found) == count:
            break
    return found


def measured(singles: Sequence[Fault], both: Sequence[tuple[Fault, Fault]], right: Sequence[Fault],
             say: Callable[[str], None] = lambda _: None, made_in: Path | None = None) -> Outcome:  # fmt: skip
    """Diagnose hand-ins with these faults; ``made_in`` keeps the models that are made for them."""
    with temporary_folder() as folder:
        bench = _Bench(folder, made_in or folder)
        jobs: list[tuple[str, str, tuple[Fault, ...]]] = []
        jobs += [("single", one.name, (one,)) for one in singles]
        jobs += [("pair", f"{a.name} + {b.name}", (a, b)) for a, b in both]
        jobs += [("right", one.name, (one,)) for one in right]
        made = []
        for kind, title, faults in jobs:
            handin = HandIn(bench.shop)
            for fault in faults:
                fault.edit(handin)
            made.append((kind, title, frozenset().union(*(f.causes for f in faults)), handin))
        bench.observe([handin for *_, handin in made])
        outcome = Outcome()
        for kind, title, wanted, handin in made:
            tried = bench.diagnosed(title, wanted, handin)
            getattr(outcome, kind).append(tried)
            mark = (
                "✓"
                if tried.named == wanted
                else f"✗ named: {', '.join(sorted(tried.named)) or '-'}"
            )
            say(f"{kind:6} {title:60} {tried.seconds:5.1f} s  {mark}")
        return outcome


class _Bench:
    def __init__(self, folder: Path, made_in: Path) -> None:
        self.folder = folder
        self.shop = Shop(made_in)
        self._outcomes: dict[tuple[str, ...], dict[str, Any]] = {}

    def observe(self, handins: Iterable[HandIn]) -> None:
        """Run all notebooks in one room, as to start one takes long."""
        sources = list(dict.fromkeys(tuple(h.cells) for h in handins if h.cells))
        sizes = {"fp32": 44_700_000, "int8": 11_300_000, "weights": 44_800_000}
        given = asdict(given_to_probes(0, sizes))
        with code_room(False) as room:  # our own faults need no wall
            for cells in sources:
                found = run_probes(room, list(map(python_of, cells)), given, names=USED)
                self._outcomes[cells] = {name: Probed.read(*one) for name, one in found}

    def diagnosed(self, title: str, wanted: frozenset[str], handin: HandIn) -> Tried:
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            folder = Path(name)
            archive = folder / "N26140692_lab5.zip"
            if files := handin.written():
                with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as opened:
                    for member, content in files.items():
                        opened.writestr(member, content)
            inside = folder / "opened"
            inside.mkdir()
            evidence = Evidence(archive, inside, weights=self.shop.weights)
            evidence.outcomes = {
                **dict.fromkeys(PROBES, Probed("done", {})),
                **self._outcomes.get(tuple(handin.cells), {}),
            }
            start = time.perf_counter()
            found = Diagnosing(evidence, tuple(handin.checkpoints)).diagnosis(checks=False)
            seconds = time.perf_counter() - start
        named = frozenset(one.name for one in found.causes)
        return Tried(title, wanted, named, seconds, len(found.unknown))


def table(outcome: Outcome) -> str:
    """The figures as Markdown, each item of the rubric a row, and all that went otherwise."""
    lines = [
        "| what | hand-ins | named | wrong cause | wanted |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    items = sorted({CAUSES[c].item for one in outcome.single for c in one.wanted})
    for item in items:
        mine = [one for one in outcome.single if any(CAUSES[c].item == item for c in one.wanted)]
        lines.append(_row(f"single faults, {item}", mine, ""))
    lines.append(_row("**single faults**", outcome.single, "named ≥ 97 %"))
    lines.append(_row("**pairs** (both)", outcome.pair, "both ≥ 75 %"))
    none = sum(not one.named for one in outcome.right)
    lines.append(
        f"| **right hand-ins** | {len(outcome.right)} | {none} without a cause | {len(outcome.right) - none} | none named |"
    )
    lines += [
        "",
        f"A wrong cause was named for {outcome.wrong:.1%} of all hand-ins (wanted: at most 1 %).",
    ]
    other = [
        one for one in (*outcome.single, *outcome.pair, *outcome.right) if one.named != one.wanted
    ]
    if other:
        lines += ["", "| hand-in | put in | named |", "| --- | --- | --- |"]
        lines += [
            f"| {o.name} | {', '.join(sorted(o.wanted)) or '-'} | {', '.join(sorted(o.named)) or '-'} |"
            for o in other
        ]
    return "\n".join(lines) + "\n"


def _row(what: str, tried: list[Tried], wanted: str) -> str:
    found = sum(one.found for one in tried)
    wrong = sum(bool(one.wrong) for one in tried)
    return f"| {what} | {len(tried)} | {found} ({found / max(1, len(tried)):.0%}) | {wrong} | {wanted} |"


def run() -> None:
    """Measure all, print it, and write it into docs/diagnosis.md."""
    outcome = measured(FAULTS, pairs(), RIGHT, print)
    text = table(outcome)
    print(text)
    before = PAGE.read_text(encoding="utf-8").partition(_HEADING)[0]
    PAGE.write_text(
        f"{before}{_HEADING}\n\nWritten by `lab5 diagnose --benchmark`.\n\n{text}",
        encoding="utf-8",
    )
