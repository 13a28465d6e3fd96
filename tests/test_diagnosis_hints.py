"""Causes as the hints of lab5 grade: the verdicts stay, the hint says which line."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import jsonschema
import pytest

import lab5
from lab5.commands.grade import main
from lab5.diagnosis import CAUSES, checkpoint
from lab5.diagnosis.asked import Reader
from lab5.diagnosis.core import name_of
from lab5.diagnosis.hints import CAUSED, with_causes
from lab5.errors import SubmissionError
from lab5.grading.core import Result
from lab5.grading.graded import Graded
from lab5.grading.rooms import Rooms
from lab5.grading.suite import CHECKS
from tests import handin
from tests.handin import ARCHIVE, NOTEBOOK

SCHEMA = json.loads(
    (Path(lab5.__file__).parent / "grading" / "grade_schema.json").read_text(encoding="utf-8")
)


def test_every_cause_is_the_hint_of_a_check():
    assert set(CAUSED) <= set(CHECKS)
    explained = set().union(*CAUSED.values())
    functions = [one for one in vars(checkpoint).values() if inspect.isfunction(one)]
    no_zip_holds_one = {name_of(f) for f in functions if f.__module__ == checkpoint.__name__}
    assert explained == set(CAUSES) - no_zip_holds_one
    for check, names in CAUSED.items():
        assert names, check


def test_a_cause_is_the_hint_and_nothing_else_changes(good_files, tmp_path, capsys):
    content = json.loads(good_files[NOTEBOOK])
    for cell in content["cells"]:
        text = "".join(cell["source"])
        text = text.replace("arr.transpose(2, 0, 1)", "arr[..., ::-1].transpose(2, 0, 1)")
        cell["source"] = text.replace("speedup = fp32_ms / int8_ms", "speedup = int8_ms / fp32_ms")
    files = {**good_files, NOTEBOOK: handin.notebook_bytes(content)}
    archive = handin.write_zip(tmp_path / ARCHIVE, files)
    found = {}
    for option in ("--diagnose", "--no-diagnose"):
        out = tmp_path / "out.json"
        assert main([str(archive), "--seed", "3", "--json", str(out), "--lang", "en", option]) == 0
        result = json.loads(out.read_text(encoding="utf-8"))
        jsonschema.validate(result, SCHEMA)
        (found[option],) = result["submissions"]
    said = capsys.readouterr().out
    assert "The channels come as BGR" in said
    hints = {}
    for one, plain in zip(*(found[option]["checks"] for option in found), strict=True):
        if (hint := one.pop("hint")) != plain.pop("hint"):
            hints[one["name"]] = hint
        if one["name"] != "int8-speed":  # which is measured
            assert one == plain
    assert set(hints) == {"preprocess-values", "compare-speedup"}
    for hint, line in (
        (hints["preprocess-values"], "+    arr = arr.transpose(2, 0, 1)"),
        (hints["compare-speedup"], "+    speedup = fp32_ms / int8_ms"),
    ):
        assert "place: cell 10, line " in hint
        assert line in hint


def test_a_class_is_diagnosed_only_when_asked(tmp_path, monkeypatch):
    asked = []

    def with_causes(graded, path, rooms, weights, *, seconds):
        assert 0 < seconds < 60
        asked.append(path.parent.name)
        return graded

    monkeypatch.setattr("lab5.diagnosis.hints.with_causes", with_causes)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        handin.write_zip(
            tmp_path / name / ARCHIVE, {"N26140692_report.pdf": b"%PDF-" + name.encode()}
        )
    for arguments, wanted in (
        (["one"], ["one"]),
        (["one", "--no-diagnose"], []),
        (["one", "two"], []),
        (["one", "two", "--diagnose"], ["one", "two"]),
    ):
        asked.clear()
        monkeypatch.chdir(tmp_path)
        assert main([*arguments, "--static"]) == 0
        assert asked == wanted


def test_what_cannot_be_diagnosed_keeps_its_hints(tmp_path, monkeypatch):
    def ended(self, *, checks):
        raise SubmissionError("It cannot be diagnosed.", zh="無法診斷。")

    monkeypatch.setattr(Reader, "diagnosis", ended)
    archive = handin.write_zip(tmp_path / ARCHIVE, {"N26140692_report.pdf": b"%PDF-"})
    graded = Graded(str(archive), None, (Result("fp32-opset", "fail"),), 1.0, 0)
    with Rooms("never") as rooms:
        assert with_causes(graded, archive, rooms, seconds=10) is graded


@pytest.mark.parametrize("status", ["pass", "blocked", "manual", "error"])
def test_what_did_not_fail_is_not_diagnosed(status):
    graded = Graded("x.zip", None, (Result("fp32-opset", status),), 1.0, 0)
    assert with_causes(graded, Path("x.zip"), None, seconds=10) is graded
