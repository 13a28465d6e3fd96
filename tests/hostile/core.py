"""What a hostile hand-in is, and what must hold when it is graded."""

from __future__ import annotations

import functools
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import handin
from tests.handin import FP32, INT8, NOTEBOOK, REPORT
from tests.mutants.core import HandIn, Variants

# What of the good hand-in an attack is put into. To grade the notebook takes the most time.
BASES = {
    "code": (NOTEBOOK,),  # its functions and its page, none of the training
    "report": (REPORT,),
    "models": (FP32, INT8),
}
CELLS = (7, 10)  # of the notebook that "code" keeps: build_session, and the page


@dataclass(frozen=True)
class Holds:
    """What must hold of a command that grades a hostile hand-in, beside what always must.

    Always: the good hand-in keeps its marks, nothing outside is read or changed, no process or file is
    left, nobody connects, nothing but text reaches the terminal.

    Args:
        refused: something of it cannot be graded, which the command's exit status says.
        seconds: by the clock, for the hand-in.
        memory: bytes of all processes together.
        says: one of these words stands in the hand-in's results.
        fails: a check that may not pass.
    """

    refused: bool = False
    seconds: float = 75
    memory: int = 4 << 30
    says: tuple[str, ...] = ()
    fails: str | None = None


SOON = 3  # seconds that a hand-in is given which would take as long as it is let
# How it is said that the time was over, or that a process was ended
LATE = ("still running", "time for this zip was over", "took more than", "ended the process")


@dataclass(frozen=True)
class Case:
    """An attack: ``edit`` puts it into a hand-in of the parts that ``base`` names.

    Args:
        quick: graded in the fast tests, too.
        first: the good hand-in is graded before it as well, as its results are what is aimed at.
        deadline: seconds that the hand-in is given, the grader's own if None; mostly ``SOON``.
    """

    name: str
    kind: str
    edit: Callable[[Hostile], None]
    base: str
    holds: Holds
    quick: bool = False
    first: bool = False
    deadline: float | None = None


CASES: dict[str, Case] = {}

Edit = Callable[["Hostile"], None]


def attack(
    base: str = "code",
    *,
    quick: bool = False,
    first: bool = False,
    deadline: float | None = None,
    **holds: Any,
) -> Callable[[Edit], Edit]:
    """Register a function that puts one attack into a hand-in; its module is the attack's kind.

    ``holds`` are fields of ``Holds``.
    """

    def register(edit: Edit) -> Edit:
        name = edit.__name__.replace("_", "-")
        assert name not in CASES, name
        assert edit.__doc__, name
        kind = edit.__module__.rpartition(".")[2]
        CASES[name] = Case(name, kind, edit, base, Holds(**holds), quick, first, deadline)
        return edit

    return register


def code(**options: Any) -> Callable[[Callable[[], str]], None]:
    """Register a function that returns code which runs whenever a part of the notebook is made ready.

    ``options`` are those of ``attack``.
    """

    def register(function: Callable[[], str]) -> None:
        def edit(h: Hostile) -> None:
            h.with_code(function())

        attack(**options)(functools.wraps(function)(edit))

    return register


@dataclass(frozen=True)
class World:
    """What stands around a command that grades: all that an attack may aim at.

    Args:
        mark: stands in the name of all that an attack leaves, and in its processes' command lines.
        won: what an attack says when it got what it must not get.
        secret: what ``home`` holds and the command's environment.
        drop: a folder that anybody may write to.
        source: the folder with ``lab5``'s own source.
        port: of a listener on 127.0.0.1; ``socket`` and ``abstract`` are those of Unix sockets.
    """

    folder: Path
    mark: str
    won: str
    secret: str
    port: int
    abstract: str
    home: Path = field(init=False)
    drop: Path = field(init=False)
    source: Path = field(init=False)
    weights: Path = field(init=False)
    template: Path = field(init=False)
    good: Path = field(init=False)
    json: Path = field(init=False)
    pages: Path = field(init=False)
    socket: Path = field(init=False)
    temporary: Path = field(init=False)

    def __post_init__(self) -> None:
        for name, place in {
            "home": "home", "drop": "drop", "source": "source", "temporary": "temporary",
            "weights": "given/best_model.pth", "template": "given/EAI_lab5.ipynb",
            "good": f"good/{handin.ARCHIVE}", "json": "out/results.json", "pages": "out/pages",
            "socket": "out/socket",
        }.items():  # fmt: skip
            object.__setattr__(self, name, self.folder / place)


# What the code of attacks may use. The word is put together, as the grader shows lines of the notebook.
_PRELUDE = """
import os, sys, json, subprocess, threading, signal, socket, ctypes, glob, contextlib
time = sys.modules["time"]  # the real one
MARK = {mark!r}
HOME, DROP, SOURCE, WEIGHTS = {home!r}, {drop!r}, {source!r}, {weights!r}
TEMPLATE, GOOD, JSON, SOCKET = {template!r}, {good!r}, {json!r}, {socket!r}
PORT, ABSTRACT = {port!r}, {abstract!r}
def won(what=""):
    word = {backwards!r}[::-1]
    with contextlib.suppress(BaseException):
        open(os.path.join(DROP, word), "a").write(f"{{what}}\\n")
    raise RuntimeError(f"{{word}} {{what}}"[:200])
def child(code="import time; time.sleep(300)", **options):
    return subprocess.Popen([sys.executable, "-c", code, MARK], **options)
"""


class Hostile(HandIn):
    """A hand-in to put an attack into; ``argument`` is what the command is given, its zip if None."""

    def __init__(self, variants: Variants, base: str, world: World) -> None:
        super().__init__(variants)
        self.files = {name: variants.good[name] for name in BASES[base]}
        self.world, self.base = world, base
        self.argument: Callable[[Path], Path] | None = None
        if base == "code":
            with self.notebook() as content:
                content["cells"] = [content["cells"][number] for number in CELLS]

    def _code(self, code: str) -> str:
        world = self.world
        values = {name: str(value) for name, value in vars(world).items()}
        values |= {"port": world.port, "backwards": world.won[::-1]}
        return _PRELUDE.format(**values) + textwrap.dedent(code)

    def with_code(self, code: str) -> None:
        """Code that runs whenever a part of the notebook is made ready, in every probe.

        It may use ``won`` and the names of places in ``_PRELUDE``, and ``thing``, which is made ready.
        """
        body = textwrap.indent(self._code(code), "    ")
        for line in ("def preprocess(", "def build_session(", "def compare_fp32_int8("):
            self.code(line, f"@_attack\n{line}")
        self.cell(f"def _attack(thing):\n{body}\n    return thing\n", at=0)

    def in_function(self, name: str, code: str) -> None:
        """Code at the beginning of ``preprocess``, ``build_session`` or ``compare_fp32_int8``."""
        with self.notebook() as content:
            source = "".join(line for cell in content["cells"] for line in cell["source"])
        (head,) = re.findall(rf"^def {name}\(.*\):\n", source, re.MULTILINE)
        self.code(head, head + textwrap.indent(self._code(code), "    ") + "\n")
