"""The diagnosis: which line made a hand-in wrong, found by trying causes against what was observed.

    zip, folder, files ── given ──> grading's Evidence ── probes/ in the sandbox ──> observations
      │
      │  each topic compares what its causes predict with them            (core: CAUSES, a table)
      │    preprocessing ── chain, mends   2.1  the tensors of telling pictures
      │    fp32 ── reference               1.1 to 1.3  logits and weights
      │    checkpoint                      1.2  keys and shapes
      │    int8                            1.4  ranges and weights
      │    page                            1.5, 2.2  answers and times on stand-in models
      v
    causes_of ──> Diagnosis: causes with evidence, cell, line and mend (source); ruled out; unknown
      └── symptoms: which of them people see so;  layers: where the signal is lost;  render

``benchmark`` measures it on hand-ins with faults put in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lab5.diagnosis.core import CAUSES, SYMPTOMS, Cause, Diagnosis, Findings, Named

if TYPE_CHECKING:
    from pathlib import Path

    from lab5.diagnosis.source import Source
    from lab5.grading.handin import Evidence
    from lab5.text import Text

__all__ = ["CAUSES", "SYMPTOMS", "Cause", "Diagnosis", "Named", "causes_of"]


def causes_of(
    evidence: Evidence, checkpoints: tuple[Path, ...] = (), *, checks: bool = True
) -> Diagnosis:
    """What is the matter with a hand-in, of which any part may be missing.

    Args:
        checkpoints: files with weights that are to be looked at as well.
        checks: make the grader's checks, too, for what no cause explains; they change no cause.
    """
    from lab5.diagnosis import checkpoint, fp32, int8, page
    from lab5.diagnosis.chain import look as look_at_preprocess
    from lab5.diagnosis.source import Source
    from lab5.errors import CheckpointError, SandboxError
    from lab5.grading.core import Blocked, Fault

    found = Findings()
    source: Source | None = None

    def tried(look: Callable[[], None]) -> None:
        try:
            look()
        except Blocked:
            pass
        except (Fault, CheckpointError, SandboxError) as error:
            found.unknown.append(_said(error))

    if evidence.archive.exists() and evidence.zip.path("notebook"):
        try:
            source = Source(evidence.cells)
        except Fault as fault:
            found.unknown.append(_said(fault))
    for path in checkpoints:
        checkpoint.look(path, found, source, evidence.weights)
    if evidence.weights in checkpoints and found.causes:
        evidence.weights = None  # it is itself at fault
    if evidence.archive.exists():
        for role, look in (("fp32", fp32.look), ("int8", int8.look)):
            if evidence.zip.path(role):
                tried(lambda look=look: look(evidence, found, source))  # type: ignore[misc]
        if source is not None:
            code = source
            tried(lambda: fp32.look_at_code(evidence, found, code))

            def preprocess() -> None:
                probe = evidence.probe("diagnosis")
                if probe["calls"]:
                    look_at_preprocess(probe["calls"], found, code, probe["function"])

            tried(preprocess)
            tried(lambda: page.look(evidence, found, code))
        if checks:
            _unexplained(evidence, found)
    return found.done()


def _said(error: Exception) -> Text:
    from lab5.grading.core import Fault
    from lab5.text import Text

    if isinstance(error, Fault):
        got = f" ({error.got.en})" if error.got else ""
        return Text(error.why.en + got, error.why.zh + got)
    return getattr(error, "text", Text.of(error))


_ITEMS = ("1.1", "1.2", "1.3", "1.4", "1.5", "2.1", "2.2")


def _unexplained(evidence: Evidence, found: Findings) -> None:
    """Checks of the grader that fail and of whose item no cause was named."""
    from lab5.grading.core import Result, judge
    from lab5.grading.suite import MADE
    from lab5.text import Text

    done: dict[str, Result] = {}
    roles = {role for role in ("notebook", "fp32", "int8") if evidence.zip.path(role)}
    for one in MADE:
        if one.item not in (*_ITEMS, "zip"):
            continue
        done[one.name] = judge(one, evidence, done)
    explained = found.items()
    for result in done.values():
        if (
            result.item in _ITEMS
            and result.status == "fail"
            and result.item not in explained
            and roles
        ):
            got = f" ({result.got.en})" if result.got else ""
            got_zh = f"（{result.got.zh}）" if result.got else ""
            found.unknown.append(
                Text(f"{result.item} {result.name}: {result.why.en}{got}", f"{result.item} {result.name}：{result.why.zh}{got_zh}")
            )  # fmt: skip
