"""One hand-in, of which any part may be missing, looked at by every topic."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from lab5.diagnosis import chain, checkpoint, fp32, int8, page, sessions
from lab5.diagnosis.core import Diagnosis, Findings
from lab5.diagnosis.source import Source
from lab5.errors import CheckpointError, SandboxError
from lab5.grading.core import Blocked, Fault, Result, error_text, judge
from lab5.grading.handin import Evidence
from lab5.text import Text

# The probes whose observations causes predict
PROBES: Final = ("network", "export", "session", "opened", "compare", "diagnosis")
# … and those of the checks that may fail without a cause
CHECKED: Final = ("none", "preprocess", "quantize")
_ITEMS: Final = ("1.1", "1.2", "1.3", "1.4", "1.5", "2.1", "2.2")


class Diagnosing:
    """What is the matter with a hand-in.

    Args:
        checkpoints: files with weights that are to be looked at as well.
    """

    def __init__(self, evidence: Evidence, checkpoints: tuple[Path, ...] = ()) -> None:
        self._evidence, self._checkpoints = evidence, checkpoints
        self._found = Findings()
        self._source: Source | None = None
        self._looked: set[str] = set()

    def _tried(self, look: Callable[..., None], *args: Any) -> None:
        """What cannot be looked at is not known, and keeps nothing else from being looked at."""
        try:
            look(*args)
        except Blocked:
            pass
        except Fault as fault:
            got = f" ({fault.got.en})" if fault.got else ""
            self._found.unknown.append(Text(fault.why.en + got, fault.why.zh + got))
        except (CheckpointError, SandboxError) as error:
            self._found.unknown.append(error.text)
        except Exception as error:  # of ours, or of a library on a file that is damaged
            self._found.unknown.append(error_text(error))

    def look_at_files(self) -> None:
        """All that needs no observation of the notebook's code; a second time nothing."""
        if "files" in self._looked:
            return
        self._looked.add("files")
        e, found = self._evidence, self._found
        there = e.archive.exists()
        if there and e.zip.fault:
            found.unknown.append(e.zip.fault)
        if there and e.zip.path("notebook"):
            self._tried(self._read)
        for path in self._checkpoints:
            self._tried(checkpoint.look, path, found, self._source, e.weights)
        if e.weights in self._checkpoints and found.causes:
            e.weights = None  # it is itself at fault
        for role, look in (("fp32", fp32.look), ("int8", int8.look)):
            if there and e.zip.path(role):
                self._tried(look, e, found, self._source)

    def _read(self) -> None:
        self._source = Source(self._evidence.cells)

    def _look_at_code(self) -> None:
        if self._source is None or "code" in self._looked:
            return
        self._looked.add("code")
        self._tried(fp32.look_at_code, self._evidence, self._found, self._source)
        self._tried(self._preprocess)
        self._tried(sessions.look, self._evidence, self._found, self._source)
        self._tried(page.look, self._evidence, self._found, self._source)

    def _preprocess(self) -> None:
        assert self._source is not None
        probe = self._evidence.probe("diagnosis")
        if probe["calls"]:
            chain.look(probe["calls"], self._found, self._source, probe["function"])

    def diagnosis(self, *, checks: bool = True) -> Diagnosis:
        """
        Args:
            checks: make the grader's checks, too, for what no cause explains; they change no cause.
        """
        self.look_at_files()
        self._look_at_code()
        if checks and self._evidence.archive.exists() and "checks" not in self._looked:
            self._looked.add("checks")
            self._unexplained()
        return self._found.done()

    def _unexplained(self) -> None:
        """Checks of the grader that fail and of whose item no cause was named."""
        from lab5.grading.suite import MADE

        done: dict[str, Result] = {}
        for one in MADE:
            if one.item in (*_ITEMS, "zip"):
                done[one.name] = judge(one, self._evidence, done)
        explained = self._found.items()
        for result in done.values():
            if (
                result.status == "fail"
                and result.item in _ITEMS
                and not explained & _EXPLAINED_BY.get(result.item, {result.item})
            ):
                got = [f" ({result.got.en})", f"（{result.got.zh}）"] if result.got else ["", ""]
                stem = f"{result.item} {result.name}"
                self._found.unknown.append(
                    Text(
                        f"{stem}: {result.why.en}{got[0]}", f"{stem}：{result.why.zh}{got[1]}"
                    )
                )  # fmt: skip


# What a file computes and holds is checked under one item, whichever step was done wrongly.
_EXPLAINED_BY: Final = {"1.2": {"1.1", "1.2", "1.3"}, "1.3": {"1.1", "1.2", "1.3"}}
