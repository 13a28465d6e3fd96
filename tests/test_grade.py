"""The grader from outside: what it prints, writes and returns."""

from __future__ import annotations

import json
import secrets
import sys
import time
import zipfile
from pathlib import Path

import jsonschema
import numpy as np
import onnx
import pytest
from onnxruntime.quantization import QuantFormat, quantize_static

import lab5
from lab5.calibration import BatchReader
from lab5.commands import grade
from tests import handin
from tests.test_sandbox import gone

SCHEMA = json.loads(
    (Path(lab5.__file__).parent / "grading" / "grade_schema.json").read_text(encoding="utf-8")
)


@pytest.fixture(scope="module")
def good(good_files, tmp_path_factory):
    return handin.write_zip(tmp_path_factory.mktemp("good") / handin.ARCHIVE, good_files)


def written(tmp_path, *arguments, status=0):
    """The JSON, which fits the schema."""
    out = tmp_path / "out.json"
    assert grade.main([*map(str, arguments), "--json", str(out)]) == status
    found = json.loads(out.read_text(encoding="utf-8"))
    jsonschema.validate(found, SCHEMA)
    return found


def graded(tmp_path, *arguments):
    return written(tmp_path, *arguments)["submissions"]


@pytest.mark.slow
@pytest.mark.parametrize("lang", ["en", "zh-TW"])
def test_a_good_hand_in_earns_all_that_a_machine_can_give(good, tmp_path, weights, capsys, lang):
    template = handin.FIXTURES / "EAI_lab5.ipynb"
    (one,) = graded(
        tmp_path, good, "--weights", weights, "--template", template, "--lang", lang
    )  # fmt: skip
    assert [c for c in one["checks"] if c["status"] not in ("pass", "advice", "manual")] == []
    assert one["earned"] + one["manual"] == one["points"] == 100
    assert one["student_id"] == handin.ID
    assert ("Total" if lang == "en" else "總分") in capsys.readouterr().out


def test_static_runs_none_of_the_code(good, tmp_path):
    (one,) = graded(tmp_path, good, "--static")
    assert {c["status"] for c in one["checks"]} <= {"pass", "advice", "manual", "blocked"}
    items = {item["id"]: item for item in one["items"]}
    assert items["2.1"]["earned"] == 0
    assert items["3.1"]["earned"] == 8
    assert items["1.4"]["earned"] == 9


def qdq(good, tmp_path):
    """The good hand-in with an INT8 file in the QDQ format."""
    with zipfile.ZipFile(good) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    quantize_static(
        onnx.load_from_string(files[handin.FP32]),
        tmp_path / "int8.onnx",
        BatchReader([np.zeros((1, 3, 32, 32), np.float32)], "input"),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
    )
    files[handin.INT8] = (tmp_path / "int8.onnx").read_bytes()
    return handin.write_zip(tmp_path / handin.ARCHIVE, files)


def test_advice_costs_nothing_and_strictly_its_points(good, tmp_path, capsys):
    path = qdq(good, tmp_path)
    (one,) = graded(tmp_path, path, "--static", "--lang", "en")
    (strict,) = graded(tmp_path, path, "--static", "--lang", "en", "--strict")
    found, failed = (
        next(c for c in result["checks"] if c["name"] == "int8-qoperator")
        for result in (one, strict)
    )
    assert (found["status"], found["earned"]) == ("advice", 1)
    assert (failed["status"], failed["earned"]) == ("fail", 0)
    advised = {c["name"]: c["points"] for c in one["checks"] if c["status"] == "advice"}
    assert one["earned"] - strict["earned"] == sum(advised.values())
    shown = " ".join(capsys.readouterr().out.split())
    assert "advice, no points lost" in shown
    assert "quant_format=QuantFormat.QOperator" in shown


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


def test_folders_and_missing_files_do_not_stop_the_others(tmp_path, capsys):
    inside = tmp_path / "zips" / "Moodle_1_assignsubmission_file"
    inside.mkdir(parents=True)
    handin.write_zip(inside / "A1_lab5.zip", {"A1_report.pdf": b"%PDF-1.7"})
    (tmp_path / "empty").mkdir()
    last = handin.write_zip(tmp_path / "A2_lab5.zip", {})
    found = written(
        tmp_path, tmp_path / "none.zip", tmp_path / "empty", tmp_path / "zips", last, status=1
    )
    assert [one["student_id"] for one in found["submissions"]] == ["A1", "A2"]
    assert [Path(one["path"]).name for one in found["not_graded"]] == ["none.zip", "empty"]
    assert "none.zip" in capsys.readouterr().err


def test_any_exception_is_the_result_of_its_zip_and_the_rest_is_written(tmp_path, monkeypatch):
    """Half a surrogate pair in the path as well, which no encoding can write."""
    import lab5.grading.suite

    paths = [handin.write_zip(tmp_path / f"A{n}_lab5.zip", {}) for n in range(3)]
    before = lab5.grading.suite.check_submission
    known = []

    def check_submission(path, **options):
        if path == paths[1]:
            known.append(json.loads((tmp_path / "out.json").read_text(encoding="utf-8")))
            raise RuntimeError("\ud800")
        return before(path, **options)

    monkeypatch.setattr(lab5.grading.suite, "check_submission", check_submission)
    found = written(tmp_path, *paths, status=1)
    assert [one["student_id"] for one in found["submissions"]] == ["A0", "A2"]
    assert "ud800" in found["not_graded"][0]["why"]
    assert [one["student_id"] for one in known[0]["submissions"]] == ["A0"], "written after each"


@pytest.mark.parametrize("arguments", [[], [__file__, "--weights", "none.pth"]])
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
    assert {c["status"] for c in one["checks"]} <= {"pass", "fail", "blocked"}
    assert one["earned"] == 0


WAITS = """
import os, subprocess, sys, threading
def wait(*_):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            subprocess.run([sys.executable, "-c", "import time; time.sleep(600)", "{mark}"])
        os._exit(0)
    threading.Event().wait()
wait()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a whole tree ends on Linux")
def test_code_that_waits_for_ever_ends_within_the_time_of_the_zip(tmp_path):
    """It leaves nothing behind, and what needs no code keeps its points."""
    mark = f"lab5-{secrets.token_hex(8)}"
    # every probe runs it: all that they look for is bound by one statement
    names = ("BasicBlock", "ResNet18", "build_session", "preprocess", "compare_fp32_int8", "demo")
    code = WAITS.replace("{mark}", mark) + f"{' = '.join(names)} = wait()\n"
    code += "import torch, gradio as gr\nfrom onnxruntime.quantization import quantize_static\n"
    code += "torch.onnx.export(demo)\nquantize_static(demo)\ndemo.launch()\nbuild_session(demo)\n"
    path = handin.write_zip(
        tmp_path / handin.ARCHIVE,
        {
            handin.NOTEBOOK: json.dumps(
                {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [
                    {"cell_type": "code", "metadata": {}, "source": code, "outputs": [], "execution_count": None}
                ]}
            ).encode(),
            handin.REPORT: handin.report(),
        },
    )  # fmt: skip
    start = time.monotonic()
    found = lab5.check_submission(path, seconds=30)
    assert time.monotonic() - start < 90  # and the rooms start
    assert gone(mark)
    checks = {one.name: one for one in found.checks}
    assert checks["screenshots"].earned == 8
    late = [one for one in checks.values() if one.status == "error"]
    assert {"network-names", "session-path"} <= {one.name for one in late}
    assert all("(probe " in one.why.en for one in late), late


def test_a_notebook_that_cannot_be_read_costs_no_name(tmp_path):
    path = handin.write_zip(
        tmp_path / handin.ARCHIVE, {handin.NOTEBOOK: b"{", handin.REPORT: handin.report()}
    )
    found = lab5.check_submission(path, run_code="unsafe")
    assert found.student_id == handin.ID
    checks = {one.name: one for one in found.checks}
    assert checks["screenshots"].earned == 8
    assert checks["notebook-present"].status == "fail"
    assert "error" not in {one.status for one in found.checks}


def test_check_submission_is_exported():
    assert lab5.check_submission.__module__ == "lab5.grading.suite"
