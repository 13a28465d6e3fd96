"""The main job: the zip, its bytes, and every input that must not make one."""

from __future__ import annotations

import functools
import os
import signal
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import onnx
import pytest
import torch

from lab5.assignment import FileNames
from lab5.commands import notebook as notebook_command
from lab5.commands.package import main

NAMES = FileNames("N26140692")


def run(*args: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lab5.package", *map(str, args)],
        cwd=cwd,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


@pytest.fixture(scope="session")
def made(once) -> tuple[Path, str]:
    """One run of the command in an empty folder: the zip and what was printed."""

    def make(folder: Path) -> None:
        done = run(NAMES.student_id, "--no-grade", "--timings", cwd=folder)
        assert done.returncode == 0, done.stderr
        (folder / "printed").write_text(done.stdout, encoding="utf-8")

    folder = once("package", make)
    return folder / "submission" / NAMES.archive, (folder / "printed").read_text("utf-8")


@pytest.fixture
def here(monkeypatch, tmp_path):
    """The command in this process and an empty folder: it measures briefly, which nobody looks at."""
    from lab5.report import measure

    briefly = functools.partial(measure.measure, images=20, seconds=0)
    monkeypatch.setattr(measure, "measure", briefly)
    monkeypatch.chdir(tmp_path)
    return lambda *args: main([*args, "--no-grade"])


def test_the_zip_holds_exactly_what_is_asked_for(made):
    archive, _ = made
    with zipfile.ZipFile(archive) as z:
        assert z.namelist() == list(NAMES.required)
        assert z.testzip() is None
    assert [p.name for p in archive.parent.iterdir()] == [NAMES.archive]


def test_members_have_fixed_dates_and_modes(made):
    with zipfile.ZipFile(made[0]) as z:
        for info in z.infolist():
            assert info.date_time == (1980, 1, 1, 0, 0, 0)
            assert info.external_attr >> 16 == stat.S_IFREG | 0o644


def test_the_models_in_the_zip_are_what_the_assignment_asks_for(made, tmp_path):
    with zipfile.ZipFile(made[0]) as z:
        z.extractall(tmp_path)
    fp32 = onnx.load(tmp_path / NAMES.fp32)
    assert [o.version for o in fp32.opset_import] == [13]
    assert not any(tensor.external_data for tensor in fp32.graph.initializer)
    operators = {node.op_type for node in onnx.load(tmp_path / NAMES.int8).graph.node}
    assert "QLinearConv" in operators
    assert not operators & {"Conv", "Gemm", "MatMul"}
    share = (tmp_path / NAMES.int8).stat().st_size / (tmp_path / NAMES.fp32).stat().st_size
    assert share < 0.27


def test_it_says_what_it_used_made_and_still_misses(made):
    archive, printed = made
    assert "best_model.pth" in printed
    for name in NAMES.required:
        assert name in printed
    assert "reflection.md" in printed
    assert printed.rstrip().splitlines()[-1] == str(Path("submission", archive.name))


@pytest.mark.slow
def test_two_runs_make_the_same_notebook_and_models(made, here, tmp_path):
    """Each in a process of its own."""
    assert here(NAMES.student_id) == 0
    with (
        zipfile.ZipFile(made[0]) as a,
        zipfile.ZipFile(tmp_path / "submission" / NAMES.archive) as b,
    ):
        for name in (NAMES.notebook, NAMES.fp32, NAMES.int8):
            assert a.read(name) == b.read(name), name


@pytest.mark.slow
def test_the_notebook_in_the_zip_makes_the_models_in_the_zip(made, tmp_path, weights):
    """Top to bottom in an empty folder holding only best_model.pth, in a real kernel."""
    import nbformat
    from nbclient import NotebookClient

    with zipfile.ZipFile(made[0]) as z:
        notebook = nbformat.reads(z.read(NAMES.notebook).decode(), as_version=4)
        (tmp_path / "best_model.pth").write_bytes(weights.read_bytes())
        for cell in notebook.cells:
            if cell.cell_type == "code" and cell.source.lstrip().startswith("!"):
                cell.source = ""  # installs: everything is here already
        NotebookClient(
            notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}
        ).execute()
        assert (tmp_path / NAMES.fp32).read_bytes() == z.read(NAMES.fp32)
        assert (tmp_path / NAMES.int8).read_bytes() == z.read(NAMES.int8)
    shown = "".join(str(cell.get("outputs", "")) for cell in notebook.cells)
    assert "relative L2" in shown


@pytest.mark.slow
def test_other_weights_of_the_same_network(here, tmp_path, capsys):
    from lab5.model import BasicBlock, ResNet18

    torch.manual_seed(3)
    state = ResNet18(BasicBlock).state_dict()
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "w.pth")
    assert here("B10901001", "--weights", "w.pth", "--calibration", "random") == 0
    assert "module." in capsys.readouterr().out  # it says what it unwrapped
    with zipfile.ZipFile(tmp_path / "submission" / "B10901001_lab5.zip") as z:
        assert "B10901001_FP32.onnx" in z.namelist()


# A zip that would lose points


@pytest.fixture
def graded(monkeypatch, tmp_path):
    """The command with a small zip instead of the work; what the grader finds lacking in it."""
    from lab5 import package
    from lab5.commands import package as command

    def made(names, *, out, **_):
        (out / names.archive).write_bytes(b"new")
        return package.Made(out / names.archive, {}, [])

    lost: list[str] = []
    monkeypatch.setattr(command, "make_package", made)
    monkeypatch.setattr(command, "_lost_points", lambda *_: lost)
    monkeypatch.chdir(tmp_path)
    return lost


def test_a_zip_that_loses_points_is_kept_under_another_name(graded, tmp_path, capsys):
    (tmp_path / NAMES.archive).write_bytes(b"old")
    graded.append("1.4 quantize-called")
    assert main([NAMES.student_id, "--out", "."]) == 1
    assert (tmp_path / NAMES.archive).read_bytes() == b"old"
    assert (tmp_path / "N26140692_lab5.incomplete.zip").read_bytes() == b"new"
    assert "1.4 quantize-called" in capsys.readouterr().err


@pytest.mark.parametrize("options", [(), ("--no-grade",)])
def test_a_whole_zip_replaces_the_old_one(graded, tmp_path, options):
    (tmp_path / NAMES.archive).write_bytes(b"old")
    assert main([NAMES.student_id, "--out", ".", *options]) == 0
    assert [p.name for p in tmp_path.iterdir()] == [NAMES.archive]
    assert (tmp_path / NAMES.archive).read_bytes() == b"new"


def test_which_points_count_as_lost(monkeypatch, tmp_path):
    from lab5 import package
    from lab5.commands import package as command
    from lab5.grading import render
    from lab5.grading import suite as checks
    from lab5.grading.core import Result
    from lab5.grading.graded import Graded

    found = Graded(
        "",
        None,
        (
            Result("quantize-called", "fail"),
            Result("analysis-figures", "fail"),  # 3.2
            Result("analysis-explained", "manual"),
            Result("int8-static", "pass", earned=1.0),
            Result("nothing-left-blank", "fail"),  # without points
        ),
        0.0,
        0,
    )
    monkeypatch.setattr(checks, "check_submission", lambda *_, **__: found)
    monkeypatch.setitem(render.RENDERERS, "terminal", lambda *_: "")
    lost = command._lost_points(tmp_path, tmp_path, tmp_path, package.Steps("en"))
    assert lost == ["1.4 quantize-called"]


# Bad input: a message, an exit status, nothing left behind


@pytest.mark.parametrize(
    "student_id", ["", " ", ".", "..", "a/b", "a\\b", "N 1", "學號", "N1_", "x" * 99]
)
def test_an_id_that_is_none(tmp_path, monkeypatch, capsys, student_id):
    monkeypatch.chdir(tmp_path)
    assert main([student_id]) == 2
    assert "student id" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def bad_checkpoint(path: Path, kind: str) -> None:
    if kind == "truncated":
        torch.save({"fc.weight": torch.zeros(10, 512)}, path)
        path.write_bytes(path.read_bytes()[:-300])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "code":
        torch.save(torch.nn.Linear(2, 2), path)
    elif kind == "other network":
        torch.save(torch.nn.Linear(2, 2).state_dict(), path)


@pytest.mark.parametrize("kind", ["missing", "truncated", "empty", "code", "other network"])
def test_a_checkpoint_that_is_none(tmp_path, monkeypatch, capsys, kind):
    monkeypatch.chdir(tmp_path)
    bad_checkpoint(tmp_path / "w.pth", kind)
    before = sorted(tmp_path.iterdir())
    assert main(["N26140692", "--weights", "w.pth", "--out", "out"]) == 1
    assert "w.pth" in capsys.readouterr().err
    assert sorted(p for p in tmp_path.iterdir() if p.name != "out") == before
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_a_template_that_is_none(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.ipynb").write_text("not a notebook")
    assert main(["N26140692", "--template", "t.ipynb", "--out", "."]) == 1
    assert "t.ipynb" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["t.ipynb"]


def test_a_submission_folder_that_is_none(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["N26140692", "--submission", "nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_an_output_folder_that_is_a_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").write_text("mine")
    assert main(["N26140692", "--out", "out"]) == 1
    assert "out" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.slow
def test_a_full_disk_leaves_the_old_zip(tmp_path):
    """A file size limit stands for the full disk: writing fails with an OSError either way."""
    (tmp_path / NAMES.archive).write_bytes(b"old")
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20));"
        "from lab5.commands.package import main; sys.exit(main(['N26140692', '--out', '.']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == [NAMES.archive]
    assert (tmp_path / NAMES.archive).read_bytes() == b"old"


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_the_old_zip(tmp_path, how):
    (tmp_path / NAMES.archive).write_bytes(b"old")
    process = subprocess.Popen(
        [sys.executable, "-m", "lab5.package", "N26140692", "--out", "."],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    for line in process.stdout:  # until the work is under way
        if "1.3" in line:
            break
    process.send_signal(how)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert [p.name for p in tmp_path.iterdir()] == [NAMES.archive]
    assert (tmp_path / NAMES.archive).read_bytes() == b"old"


def test_help_needs_nothing_heavy():
    code = (
        "import sys; from lab5.commands.package import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'onnx', 'onnxruntime', 'gradio', 'numpy', 'rich', 'PIL', 'typst'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_notebook_alone_is_the_zips(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert notebook_command.main([NAMES.student_id, "--out", "there"]) == 0
    with zipfile.ZipFile(made[0]) as z:
        assert (tmp_path / "there" / NAMES.notebook).read_bytes() == z.read(NAMES.notebook)
