"""``lab5 grade`` over a made-up class, from Moodle's download to what goes back."""

from __future__ import annotations

import csv
import errno
import importlib.util
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import jsonschema
import pytest

from lab5.classroom import cluster as cluster_module
from lab5.classroom import json_file
from lab5.commands import grade
from tests import classroom, handin
from tests.classroom import KINDS
from tests.conftest import FIXTURES, need
from tests.test_grade import SCHEMA

FEW = {"good": 2, "late": 1, "twice": 1, "no zip": 1, "two-screenshots": 1, "zip-slip": 1}


def small() -> dict[str, bytes]:
    """A good hand-in but for the models, which make it large."""
    return {
        handin.NOTEBOOK: handin.notebook_bytes(handin.notebook()),
        handin.REPORT: handin.report(),
    }


@pytest.fixture(scope="module")
def few(once):
    """Seven hand-ins without models: as a folder and flat as a zip, and two worksheets."""

    def make(folder: Path) -> None:
        students = classroom.students(FEW)
        for layout in ("folders", "flat"):
            (folder / "scratch").mkdir(exist_ok=True)
            made = classroom.download(students, small(), folder / "scratch", layout)
            if layout == "flat":
                made.zip(folder / "all.zip")
            else:
                made.folder(folder / "all")
        (folder / "worksheet.csv").write_bytes(
            classroom.worksheet(students, lang="zh-TW", bom=True)
        )
        others = classroom.worksheet(students[1:])
        (folder / "others.csv").write_bytes(others)

    return once("class", make)


def rows(path: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(path.read_text("utf-8-sig"), newline="")))


def test_names_that_are_no_text_end_no_batch(tmp_path, capsys):
    """The bytes of another encoding; Moodle could not find such a folder in the feedback zip."""
    for name in (b"\xa4\xfd_4000_assignsubmission_file", b"B_4001_assignsubmission_file"):
        (tmp_path / "all" / os.fsdecode(name)).mkdir(parents=True)
        for zipped in (b"N26141000_lab5.zip", b"\xa4\xfd_lab5.zip"):
            path = tmp_path / "all" / os.fsdecode(name) / os.fsdecode(zipped)
            path.write_bytes(b"no zip")
            os.utime(path, (0, 0))
    arguments = [
        tmp_path / "all", "--static", "--lang", "en", "--out", tmp_path / "out",
        "--json", tmp_path / "class.json", "--csv", tmp_path / "class.csv",
        "--gradescope", tmp_path / "gradescope", "--feedback-zip", tmp_path / "feedback.zip",
    ]  # fmt: skip
    assert grade.main(list(map(str, arguments))) == 0
    printed, _ = capsys.readouterr()
    assert [line.split()[-1] for line in printed.splitlines()] == [
        "B_4001", "_udca4_udcfd_4000"
    ]  # fmt: skip
    for path in tmp_path.rglob("*.[jc]s*"):
        path.read_text("utf-8")
        assert path.name.isascii()
    assert [len(re.findall("Not in the feedback zip", str(row))) for row in rows(tmp_path / "class.csv")] == [0, 0, 1]  # fmt: skip
    with zipfile.ZipFile(tmp_path / "feedback.zip") as archive:
        assert archive.namelist() == ["B_4001_assignsubmission_file/feedback.txt"]


def test_a_class_in_and_everything_out(few, tmp_path, capsys):
    """Whoever handed in no zip is listed, and costs nobody anything."""
    out = tmp_path / "out"
    arguments = [
        few / "all", "--static", "--jobs", "2", "--lang", "en", "--out", out,
        "--json", tmp_path / "class.json", "--csv", tmp_path / "class.csv",
        "--gradescope", tmp_path / "gradescope", "--feedback-zip", tmp_path / "feedback.zip",
        "--moodle-worksheet", few / "worksheet.csv",
    ]  # fmt: skip
    assert grade.main(list(map(str, arguments))) == 1
    printed, said = capsys.readouterr()
    students = classroom.students(FEW)
    assert len(printed.splitlines()) == len(students)
    assert "No zip was handed in, only report.pdf." in said
    found = json.loads((tmp_path / "class.json").read_text("utf-8"))
    jsonschema.validate(found, SCHEMA)
    ids = {one.id for one in students if one.kind != "no zip"}
    assert {one["student_id"] for one in found["submissions"]} == ids
    assert len({one["earned"] for one in found["submissions"]}) == 2
    assert len(found["not_graded"]) == 1
    sheet = rows(out / "worksheet.csv")
    points = {one["student_id"]: f"{one['earned']:.2f}" for one in found["submissions"]}
    assert {row[2]: row[5] for row in sheet[1:] if row[5]} == points
    assert rows(few / "worksheet.csv")[0] == sheet[0]
    with zipfile.ZipFile(tmp_path / "feedback.zip") as archive:
        assert len(archive.namelist()) == len(students)
    assert len(list((tmp_path / "gradescope").iterdir())) == len(students)
    table = rows(tmp_path / "class.csv")
    assert len(table) == len(students) + 1
    assert any("Earlier zips" in row[-2] for row in table)
    before = marks(out)
    arguments[0] = few / "all.zip"  # the other layout: the same bytes are known, and not read again
    for path in (out / "results").iterdir():
        stored = json.loads(path.read_text("utf-8"))
        if stored["graded"]:
            stored["graded"]["checks"][0]["why"] = dict.fromkeys(("en", "zh"), "of before")
            path.write_text(json.dumps(stored), "utf-8")
    assert grade.main(list(map(str, arguments))) == 1
    assert set(marks(out)) == set(before)
    found = json.loads((tmp_path / "class.json").read_text("utf-8"))
    known = {
        one["student_id"] for one in found["submissions"] if one["checks"][0]["why"] == "of before"
    }
    again = {"no zip", "zip-slip"}  # the latter has the time in it
    assert known >= {one.id for one in students if one.kind not in again}
    assert sorted(row[:-2] for row in rows(tmp_path / "class.csv")) == sorted(
        row[:-2] for row in table
    )


def test_whoever_is_not_in_the_worksheet_is_listed(few, tmp_path, capsys):
    arguments = [few / "all.zip", "--static", "--lang", "en", "--out", tmp_path / "out"]
    arguments += ["--moodle-worksheet", few / "others.csv"]
    assert grade.main(list(map(str, arguments))) == 1
    said = capsys.readouterr().err
    first = classroom.students(FEW)[0]
    listed = said.partition("No single row of the worksheet is theirs")[2]
    assert f"{first.name}_{first.number}" in listed
    assert "5 grades, what the checks gave of the maximum" in said
    assert "for a person to give and not in them" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--jobs", "0"], "--jobs 0 is below 1"),
        (["--moodle-worksheet", __file__], "--out"),
        (["--moodle-worksheet", "none.csv"], "no file none.csv"),
        (["--moodle-worksheet", __file__, "--out", "out"], "no grading worksheet"),
        (["--csv", "none/class.csv"], "no folder"),
        (["--scheduler", "tcp://127.0.0.1:9"], "scheduler"),
        (["--resume", "--fresh"], "not allowed"),
    ],
)
def test_wrong_usage(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cluster_module, "PATIENCE", 1)
    path = handin.write_zip(tmp_path / "A1_lab5.zip", {})
    try:
        status = grade.main([str(path), "--static", *arguments])
    except SystemExit as error:  # argparse
        status = error.code
    assert status == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--html", "site"], "no folder of a class's pages"),
        (["--csv", "site"], "is a folder"),
        (["--json", "site"], "is a folder"),
        (["--feedback-zip", "site"], "is a folder"),
        (["--gradescope", "site"], "is a folder"),
        (["--gradescope", "sheet.csv", "A2_lab5.zip"], "is a file"),
        (["--out", "sheet.csv"], "is a file"),
        (["--html", "sheet.csv"], "is a file"),
        (["--moodle-worksheet", "sheet.csv", "--out", "."], "are the same"),
        (["--moodle-worksheet", "sheet.csv", "--out", "out", "--csv", "sheet.csv"], "are the same"),
        (["--csv", "x", "--json", "./x"], "are the same"),
        (["--csv", "A1_lab5.zip"], "are the same"),
        (["--html", "new", "--out", "new"], "are the same"),
    ],
)
def test_what_would_be_overwritten_is_said_before_it_grades(
    arguments, said, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("mine")
    (tmp_path / "sheet.csv").write_bytes(classroom.worksheet(classroom.students(FEW)))
    for name in ("A1_lab5.zip", "A2_lab5.zip"):
        handin.write_zip(tmp_path / name, {})
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    monkeypatch.setattr(grade, "_grade", lambda *_: pytest.fail("it grades"))
    assert grade.main([*arguments, "A1_lab5.zip"]) == 2
    assert said in capsys.readouterr().err
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before


def test_a_writer_that_fails_keeps_no_other_from_writing(tmp_path, monkeypatch, capsys):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(json_file, "write", full)
    path = handin.write_zip(tmp_path / "A1_lab5.zip", {})
    arguments = [path, "--static", "--json", tmp_path / "a.json", "--csv", tmp_path / "a.csv"]
    assert grade.main(list(map(str, arguments))) == 1
    said = capsys.readouterr().err
    assert f"{tmp_path / 'a.json'}: No space left" in said
    assert len(rows(tmp_path / "a.csv")) == 2


def test_at_the_end_it_is_said_where_the_results_are_and_what_is_next(tmp_path, capsys):
    (tmp_path / "all").mkdir()
    for name in ("A1", "A2"):
        handin.write_zip(tmp_path / "all" / f"{name}_lab5.zip", small())
    paths = [str(tmp_path / name) for name in ("all", "out", "site")]
    common = [paths[0], "--static", "--lang", "en", "--out", paths[1]]
    for arguments, said, unsaid in (
        (common, f"The results are in {paths[1]}", "index.html"),
        (
            [*common, "--html", paths[2]],
            f"results are in {Path(paths[2]) / 'index.html'}",
            "--html DIR",
        ),
        ([f"{paths[0]}/A1_lab5.zip", "--static", "--lang", "en"], "", "results are in"),
    ):
        assert grade.main(arguments) == 0
        found = capsys.readouterr().err
        assert said in found
        assert unsaid not in found


def test_files_that_are_no_zips_are_said_and_cost_nothing(tmp_path, capsys):
    handin.write_zip(tmp_path / "A1_lab5.zip", {})
    (tmp_path / "notes.txt").write_text("?")
    assert grade.main([str(tmp_path), "--static"]) == 0
    assert "notes.txt" in capsys.readouterr().err


# What takes longer


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "lab5.grade", *map(str, arguments)]


def marks(folder: Path) -> dict[str, dict]:
    """What is kept of each hand-in, but for what the clock said."""
    found = {}
    for path in (folder / "results").glob("[!.]*.json"):
        stored = json.loads(path.read_text("utf-8"))
        if stored["graded"]:
            stored["graded"].pop("seconds")
            for one in stored["graded"]["checks"]:
                if one["name"] == "int8-speed":
                    one.update(why="", got="")
        found[path.stem] = stored
    return found


@pytest.fixture(scope="module")
def whole(few, once):
    """Where nothing went wrong."""

    def make(folder: Path) -> None:
        arguments = (few / "all", "--seed", 3, "--out", folder, "--jobs", 1)
        done = subprocess.run(command(*arguments), check=False)
        assert done.returncode == 1  # one has no zip

    return marks(once("whole", make))


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_what_was_done_outlives_the_command(how, few, whole, tmp_path):
    arguments = [few / "all", "--seed", 3, "--out", tmp_path / "out", "--jobs"]
    process = subprocess.Popen(
        command(*arguments, 2), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout
    for _ in range(3):
        process.stdout.readline()
    process.send_signal(how)
    start = time.monotonic()
    _, said = process.communicate(timeout=60)
    if how != signal.SIGKILL:
        assert "goes on from there" in said
    assert time.monotonic() - start < 20
    assert process.returncode == (-how if how == signal.SIGKILL else 130)
    kept = marks(tmp_path / "out")
    assert len(kept) >= 3
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "results").glob("[!.]*")}
    again = subprocess.run(command(*arguments, 1), capture_output=True, check=False)
    assert again.returncode == 1
    graded = [path for path in times if kept[path.stem]["graded"]]
    assert all(path.stat().st_mtime_ns == times[path] for path in graded)
    assert marks(tmp_path / "out") == whole


def ages(out: Path) -> dict[str, int]:
    """When the results of what could be graded were written."""
    graded = [name for name, one in marks(out).items() if one["graded"]]
    return {name: (out / "results" / f"{name}.json").stat().st_mtime_ns for name in graded}


@pytest.mark.slow(first=True)
def test_forty_hand_ins_of_all_kinds_in_both_layouts(good_files, tmp_path):
    """Good, faulty, hostile, late and twice. What is kept of one layout serves the other: each hand-in
    is found as the same bytes of the same student, or it would be graded again.
    """
    students = classroom.students()
    assert len(students) == 40
    worksheet = tmp_path / "worksheet.csv"
    worksheet.write_bytes(classroom.worksheet(students))
    found = {}
    for layout in ("folders", "flat"):
        (scratch := tmp_path / "scratch").mkdir()
        made = classroom.download(students, good_files, scratch, layout)
        path = made.zip(tmp_path / f"{layout}.zip")
        shutil.rmtree(scratch)
        if found:
            shutil.copytree(tmp_path / "folders" / "results", tmp_path / layout / "results")
        process = subprocess.run(
            command(
                path, "--seed", 3, "--out", tmp_path / layout, "--lang", "en", "--jobs", 2,
                "--weights", FIXTURES / "best_model.pth", "--template", FIXTURES / "EAI_lab5.ipynb",
                "--moodle-worksheet", worksheet, "--feedback-zip", tmp_path / f"{layout}-feedback.zip",
            ), capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert process.returncode == 1, process.stderr
        path.unlink()
        found[layout] = marks(tmp_path / layout)
        entered = {row[2]: row[5] for row in rows(tmp_path / layout / "worksheet.csv")[1:]}
        for one in students:
            stored = found[layout][f"{one.name}_{one.number}"]
            assert (stored["graded"] is None) == (one.kind == "no zip")
            assert bool(entered[one.id]) == (one.kind != "no zip")
        if layout == "flat":
            assert ages(tmp_path / layout) == ages(tmp_path / "folders")
    by_kind = {one.kind: entered[one.id] for one in students}
    assert by_kind["good"] == by_kind["late"]
    for kind in KINDS:
        assert float(by_kind[kind] or 0) <= float(by_kind["good"])


@pytest.fixture
def cluster():
    """A scheduler, and two workers as processes of their own."""
    need(importlib.util.find_spec("distributed"), "pip install -e '.[cluster]'")
    processes = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_" + arguments[0], *arguments[1:]],
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        processes.append(process)
        return process

    scheduler = start("scheduler", "--host", "tcp://127.0.0.1", "--port", "0", "--no-dashboard")
    assert scheduler.stderr
    address = next(line for line in scheduler.stderr if "Scheduler at:" in line).split()[-1]
    workers = [
        start("worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard") for _ in range(2)
    ]  # fmt: skip
    yield address, workers
    for process in processes:
        process.kill()
        process.communicate()


def graded_while_a_worker_dies(cluster, after: int, *arguments: object) -> tuple[int, str]:
    """The exit status and what was said of a command whose cluster loses a worker after some results."""
    address, workers = cluster
    process = subprocess.Popen(
        command(*arguments, "--scheduler", address),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout
    for _ in range(after):
        process.stdout.readline()
    workers[0].kill()
    _, said = process.communicate(timeout=400)
    assert "KilledWorker" not in said
    return process.returncode, said


@pytest.mark.slow
def test_a_cluster_of_which_a_worker_dies_gives_the_same(few, whole, tmp_path, cluster):
    out = tmp_path / "out"
    status, said = graded_while_a_worker_dies(cluster, 3, few / "all", "--seed", 3, "--out", out)
    assert status == 1
    assert said.count("No zip was handed in") == 1
    assert marks(out) == whole


@pytest.mark.slow
def test_a_cluster_grades_models_and_draws_reports_the_same(good_files, tmp_path, cluster):
    """Byte for byte what is kept here, but for what the clock said."""
    (tmp_path / "scratch").mkdir()
    students = classroom.students({"good": 2, "two-screenshots": 1})
    made = classroom.download(students, good_files, tmp_path / "scratch")
    arguments = [
        made.folder(tmp_path / "all"), "--seed", 3, "--weights", FIXTURES / "best_model.pth",
        "--template", FIXTURES / "EAI_lab5.ipynb",
    ]  # fmt: skip
    places = ["--out", tmp_path / "here", "--html", tmp_path / "here-pages"]
    here = command(*arguments, *places, "--jobs", 1)
    assert subprocess.run(here, check=False).returncode == 0
    places = ["--out", tmp_path / "there", "--html", tmp_path / "there-pages"]
    status, said = graded_while_a_worker_dies(cluster, 1, *arguments, *places)
    assert status == 0, said
    here, there = marks(tmp_path / "here"), marks(tmp_path / "there")
    assert len(here) == 3
    assert json.dumps(here) == json.dumps(there)
    assert all(one["graded"]["portrait"]["pages"] for one in here.values())
    pictures = [
        sorted((tmp_path / f"{name}-pages" / "pages").iterdir()) for name in ("here", "there")
    ]
    assert [p.read_bytes() for p in pictures[0]] == [p.read_bytes() for p in pictures[1]]


def test_what_the_command_wrote_before_is_no_hand_in(tmp_path):
    handin.write_zip(tmp_path / "A1_lab5.zip", {})
    handin.write_zip(tmp_path / "A2_lab5.zip", {})
    written = ["--feedback-zip", "feedback.zip", "--out", "out", "--csv", "class.csv"]
    written = [word if word.startswith("--") else str(tmp_path / word) for word in written]
    for _ in range(2):
        assert grade.main([str(tmp_path), "--static", *written]) == 0
    assert len((tmp_path / "class.csv").read_text("utf-8-sig").splitlines()) == 3
