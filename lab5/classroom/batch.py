"""Many hand-ins → their results: what is known is not graded again, equal files are graded once."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Protocol, overload

from lab5.classroom.entry import HandIn, Marked
from lab5.classroom.found import digest
from lab5.classroom.marking import Options
from lab5.classroom.marks import NOBODYS, Own
from lab5.classroom.results import Results
from lab5.errors import SubmissionError
from lab5.text import Text


class Engine(Protocol):
    """Where the jobs are done: on this machine (``Local``) or a cluster (``Cluster``)."""

    def __call__(
        self, handins: Sequence[HandIn], options: Options, started: Callable[[HandIn], None]
    ) -> Generator[Marked, None, None]:
        """Each hand-in's results, in the order in which they are done; ``started`` is told which runs."""


def _nobody(handin: HandIn) -> None:
    pass


def grade_class(
    handins: Sequence[HandIn],
    results: Results,
    engine: Engine,
    *,
    fresh: bool = False,
    started: Callable[[HandIn], None] = _nobody,
) -> Generator[Marked, None, None]:
    """The results of each hand-in, in the order in which they are done.

    Args:
        results: where they are kept, and looked for before; with its options they are graded.
        fresh: grade all, whatever is known.

    Raises:
        SandboxError: nothing can be graded here.
    """
    left = []
    for handin in handins:
        if not fresh and (known := results.known(handin)):
            yield known
        else:
            left.append(handin)
    same = _same(left)
    repeated = {other.key for others in same.values() for other in others}
    todo = [one for one in left if one.key not in repeated]
    with contextlib.closing(engine(todo, results.options, started)) as done:
        for first in done:
            for handin in (first.handin, *same.get(first.handin.key, ())):
                yield results.keep(first.shared_with(handin))


def _same(handins: Sequence[HandIn]) -> dict[str, list[HandIn]]:
    """A hand-in's key -> those after it with the same bytes and file name, which is graded, too."""
    named: dict[str, list[HandIn]] = defaultdict(list)
    for handin in handins:
        if not handin.trouble:
            named[handin.name].append(handin)
    found: dict[str, list[HandIn]] = {}
    for several in named.values():
        first: dict[str, HandIn] = {}
        for handin in several if len(several) > 1 else ():
            with contextlib.suppress(SubmissionError, OSError):
                leader = first.setdefault(digest(handin), handin)
                if leader is not handin:
                    found.setdefault(leader.key, []).append(handin)
    return found


class Class(Sequence[Marked]):
    """The results of hand-ins, each read when it is asked for, so that no class is too large.

    With notes: on zips whose bytes are the same, and on those that a later one replaced.

    Args:
        own: what a person gave, by the hand-ins' keys.
    """

    def __init__(
        self,
        handins: Sequence[HandIn],
        results: Results,
        own: Mapping[str, Own] = MappingProxyType({}),
    ) -> None:
        self._handins, self._results, self._own = handins, results, own
        self._holders: dict[str, list[str]] = defaultdict(list)  # SHA-256 -> keys
        for handin in handins:
            if digest := results.of(handin).sha256:
                self._holders[digest].append(handin.key)

    def __len__(self) -> int:
        return len(self._handins)

    @overload
    def __getitem__(self, at: int) -> Marked: ...
    @overload
    def __getitem__(self, at: slice) -> Class: ...
    def __getitem__(self, at: int | slice) -> Marked | Class:
        if isinstance(at, slice):
            return Class(self._handins[at], self._results, self._own)
        one = self._results.of(self._handins[at])
        notes = list(one.notes)
        if others := [key for key in self._holders[one.sha256] if key != one.handin.key]:
            names = ", ".join(others)
            notes.append(Text(f"The same bytes as {names}.", f"檔案內容與 {names} 完全相同。"))
        if one.handin.earlier:
            names = ", ".join(path.name for path in one.handin.earlier)
            notes.append(
                Text(f"Earlier zips, not graded: {names}.", f"較早繳交、未評分的 zip：{names}。")
            )
        if one.handin.moodle and not one.handin.folder:
            notes.append(
                Text(
                    "Not in the feedback zip: the name of Moodle's folder is no text.",
                    "不在回饋檔中：Moodle 資料夾的名稱無法解碼。",
                )
            )
        own = self._own.get(one.handin.key, NOBODYS)
        return replace(one, notes=tuple(notes), own=own)
