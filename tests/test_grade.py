"""The grader from outside: what it prints, writes and returns."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

import lab5
from lab5 import grade
from tests import handin

SCHEMA = json.loads((Path(lab5.__file__).parent / "grade_schema.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def good(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    return handin.write_zip(folder / handin.ARCHIVE, handin.make(folder, model))


def graded(tmp_path, *arguments):
    """Exit status 0 and a JSON that fits the schema."""
    out = tmp_path / "out.json"
    assert grade.main([*map(str, arguments), "--json", str(out)]) == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    jsonschema.validate(found, SCHEMA)
    return found["submissions"]


@pytest.mark.slow
@pytest.mark.parametrize("lang", ["en", "zh-TW"])
def test_a_good_hand_in_earns_all_that_a_machine_can_give(good, tmp_path, weights, capsys, lang):
    template = handin.FIXTURES / "EAI_lab5.ipynb"
    (one,) = graded(
        tmp_path, good, "--weights", weights, "--template", template, "--lang", lang
    )  # fmt: skip
    assert [c for c in one["checks"] if c["status"] not in ("pass", "manual")] == []
    assert one["earned"] + one["manual"] == one["points"] == 100
    assert one["student_id"] == handin.ID
    assert ("Total" if lang == "en" else "總分") in capsys.readouterr().out


def test_static_runs_none_of_the_code(good, tmp_path):
    (one,) = graded(tmp_path, good, "--static")
    assert {c["status"] for c in one["checks"]} <= {"pass", "manual", "blocked"}
    items = {item["id"]: item for item in one["items"]}
    assert items["2.1"]["earned"] == 0
    assert items["3.1"]["earned"] == 8
    assert items["1.4"]["earned"] == 9


def test_advice_is_shown_and_costs_nothing(good, tmp_path, capsys):
    """The good hand-in's weights use all 8 bits, as the assignment's call has it."""
    (one,) = graded(tmp_path, good, "--static", "--lang", "en")
    found = next(c for c in one["checks"] if c["name"] == "int8-weight-type")
    assert (found["status"], found["earned"]) == ("pass", 1)
    assert "21 of 21 layers" in found["why"]
    assert "reduce_range=True" in " ".join(capsys.readouterr().out.split())


def test_a_bad_zip_does_not_stop_the_others(tmp_path):
    bad = tmp_path / "A1_lab5.zip"
    bad.write_bytes(b"no zip")
    empty = handin.write_zip(tmp_path / "A2_lab5.zip", {})
    found = graded(tmp_path, bad, empty)
    for one, student in zip(found, ("A1", "A2"), strict=True):
        assert one["student_id"] == student
        assert one["earned"] == 0
        assert one["points"] == 100
        assert {c["status"] for c in one["checks"]} <= {"pass", "fail", "blocked"}


@pytest.mark.parametrize("arguments", [["none.zip"], [], [__file__, "--weights", "none.pth"]])
def test_wrong_usage(arguments, capsys):
    try:
        status = grade.main(arguments)
    except SystemExit as error:  # argparse
        status = error.code
    assert status == 2
    assert capsys.readouterr().err


def test_a_zip_that_ends_its_reader_costs_only_what_it_broke(tmp_path):
    path = handin.write_zip(
        tmp_path / handin.ARCHIVE,
        {
            handin.NOTEBOOK: b"[" * 100_000,
            handin.FP32: b"\x08" * 1000,
            handin.INT8: b"",
            handin.REPORT: b"%PDF-1.7\n" + b"<" * 10_000,
        },
    )
    (one,) = graded(tmp_path, path)
    assert "error" not in {c["status"] for c in one["checks"]}
    assert one["earned"] == 0


def test_check_submission_is_exported():
    assert lab5.check_submission.__module__ == "lab5.checks"
