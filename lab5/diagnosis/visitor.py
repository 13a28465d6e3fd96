"""The visitor of the reading room that diagnoses one hand-in, answering one question after the other."""

from __future__ import annotations

import dataclasses
import functools
import zipfile
from pathlib import Path
from typing import Any

from lab5.diagnosis.diagnosing import Diagnosing
from lab5.diagnosis.given import Given, gathered


@functools.cache
def _given(archive: str | None, weights: str | None, packed: str | None, seed: int) -> Given:
    files = [Path(archive)] if archive else []
    if packed:
        with zipfile.ZipFile(packed) as opened:
            opened.extractall("packed")
            files += [
                Path("packed", name) for name in opened.namelist() if name.split("/")[0].isdigit()
            ]
    known = Path(weights) if weights else None
    return gathered(files, known, Path().absolute(), seed)


@functools.cache
def _diagnosing(*files: Any) -> Diagnosing:
    given = _given(*files)
    return Diagnosing(given.evidence, tuple(given.checkpoints))


def answer(request: dict[str, Any]) -> Any:
    """Do what ``request["do"]`` names: see ``asked.Reader``, which asks."""
    files = (*map(request.get, ("archive", "weights", "packed")), request["seed"])
    evidence = _given(*files).evidence
    if request["do"] == "look":
        return evidence.to_run() if evidence.archive.exists() else {}
    if request["do"] == "files":
        return _diagnosing(*files).look_at_files()
    if request["do"] == "outcomes":
        evidence.take(request["outcomes"])
        return None
    if request["do"] == "diagnose":
        return _diagnosing(*files).diagnosis(checks=request["checks"]).stored()
    if request["do"] == "symptom":
        from lab5.diagnosis.symptoms import guided

        diagnosis = _diagnosing(*files).diagnosis()
        return [dataclasses.asdict(one) for one in guided(request["symptom"], evidence, diagnosis)]
    if request["do"] == "answers":
        from lab5.diagnosis.symptoms import Answer, from_answers

        if not (
            evidence.archive.exists() and (evidence.zip.path("fp32") or evidence.zip.path("int8"))
        ):
            return None
        pictures = [(Path(p), Answer.of(said)) for p, said in request["answers"]]
        names, text = from_answers(pictures, evidence)
        return {"causes": names, "says": dataclasses.asdict(text)}
    if request["do"] == "layers":
        from lab5.diagnosis.layers import compared

        return [dataclasses.asdict(row) for row in compared(evidence, evidence.weights)]
    raise ValueError(request["do"])
