"""A job may hang, crash, lie or eat memory; the others' results are whole."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab5.commands import grade
from lab5.errors import SandboxError
from lab5.grading import sandbox
from lab5.grading.core import Fault, Result, judge
from lab5.grading.handin import Evidence
from lab5.grading.sandbox import Outcome, Sandbox, dumps, loads
from lab5.grading.suite import CHECKS
from tests import handin

POSIX = hasattr(os, "fork")


ADD = {"do": "add", "a": 1, "b": 2}


def outcomes(tmp_path, *deeds, **limits):
    box = Sandbox(**{"seconds": 20.0, "fork": POSIX, **limits})
    jobs = [deed if isinstance(deed, dict) else {"do": deed} for deed in deeds]
    return [o for _, o in box.run("tests.deeds:job", jobs, tmp_path / "box")]


def test_results_come_back_in_order(tmp_path):
    first, second = outcomes(tmp_path, ADD, {"do": "array", "x": np.arange(6.0).reshape(2, 3)})
    assert (first.ended, first.value) == ("done", 3)
    np.testing.assert_array_equal(second.value["x"], np.arange(6.0).reshape(2, 3) * 2)


@pytest.mark.parametrize(
    "fork", [pytest.param(True, marks=pytest.mark.skipif(not POSIX, reason="POSIX")), False]
)
@pytest.mark.parametrize(
    ("deed", "ended"),
    [
        ("exit", "crashed"),
        ("leave", "raised"),
        ("kill", "crashed"),
        ("memory", "raised"),
        ("rude", "raised"),
        ("recursion", "raised"),
    ],
)
def test_a_bad_job_costs_only_itself(tmp_path, deed, ended, fork):
    before, bad, after = outcomes(tmp_path, ADD, deed, ADD, fork=fork)
    assert bad.ended == ended
    assert bad.error
    assert before.value == after.value == 3


@pytest.mark.parametrize(
    "deed", ["sleep", pytest.param("spin", marks=pytest.mark.skipif(not POSIX, reason="POSIX"))]
)
def test_a_hanging_job_is_stopped(tmp_path, deed):
    bad, after = outcomes(tmp_path, deed, ADD, seconds=1.0)
    assert bad.ended == "timeout"
    assert after.value == 3


@pytest.mark.skipif(not POSIX, reason="POSIX")
@pytest.mark.parametrize("deed", ["kill parent", "write"])
def test_harm_to_the_server_or_the_disk(tmp_path, deed):
    bad, after = outcomes(tmp_path, deed, ADD, file_size=1 << 20)
    assert bad.ended in ("crashed", "raised")
    assert after.value == 3


@pytest.mark.skipif(not POSIX, reason="POSIX")
def test_what_a_job_patches_costs_nothing(tmp_path):
    patched, after = outcomes(tmp_path, "patch", ADD)
    assert patched.value == "patched"
    assert after.value == 3


def processes_with(mark):
    """Those whose command line has it; a dead one has none."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found += [file.parent.name] * (mark.encode() in file.read_bytes().split(b"\0"))
    return found


@pytest.fixture(params=["namespace", "subreaper"])
def ending(request, monkeypatch):
    """The two ways to end processes; the children read the source anew."""
    if not sys.platform.startswith("linux"):
        pytest.skip("elsewhere a process group ends")
    if request.param == "subreaper":
        start = sandbox._START_SERVER.replace(
            "import serve;", "import serve; import lab5.grading.sandbox as s; s._CLONE_NEWPID = -1;"
        )
        monkeypatch.setattr(sandbox, "_START_SERVER", start)


@pytest.mark.parametrize("wait", [False, True])
@pytest.mark.parametrize("fork", [False, True])
def test_nothing_outlives_its_job(tmp_path, ending, wait, fork):
    """In another session, its parent gone; with ``fork`` it ends before the next job begins."""
    mark = f"lab5-{secrets.token_hex(8)}"
    box = Sandbox(seconds=0.5, fork=fork)
    jobs = [{"do": "detach", "mark": mark, "wait": wait}, ADD]
    for index, outcome in box.run("tests.deeds:job", jobs, tmp_path / "box"):
        assert outcome.ended == ("timeout" if wait and index == 0 else "done")
        if fork and index == 1:
            assert processes_with(mark) == []
    assert processes_with(mark) == []


def test_the_child_ends_with_its_whole_tree_when_it_is_abandoned(tmp_path, ending):
    mark = f"lab5-{secrets.token_hex(8)}"
    jobs = [ADD, {"do": "detach", "mark": mark, "wait": True}]
    run = Sandbox(fork=True).run("tests.deeds:job", jobs, tmp_path / "box")
    next(run)
    deadline = time.monotonic() + 20
    while not processes_with(mark):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    run.close()
    assert processes_with(mark) == []


@pytest.mark.skipif(not POSIX, reason="POSIX")
def test_a_fifo_in_the_place_of_a_result_is_not_waited_for(tmp_path):
    bad, *_ = outcomes(tmp_path, "fifo", ADD, seconds=2.0)
    assert (bad.ended, bad.error) == ("crashed", "its result is no file")


def test_the_time_of_all_jobs(tmp_path):
    """What is not done then says what was running; what is done is kept."""
    jobs = [ADD, {"do": "sleep"}, ADD]
    start = time.monotonic()
    box = Sandbox(fork=POSIX)
    found = [o for _, o in box.run("tests.deeds:job", jobs, tmp_path / "box", until=start + 4)]
    assert time.monotonic() - start < 10
    assert [one.ended for one in found] == ["done", "late", "late"]
    assert [one.value for one in found] == [3, 1, 1]


def test_output_is_no_result(tmp_path):
    noisy, after = outcomes(tmp_path, "noise", ADD)
    assert noisy.value == "noisy"
    assert after.value == 3


def test_the_environment_is_empty(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "x")
    (found,) = outcomes(tmp_path, "environment")
    assert "SECRET_TOKEN" not in found.value
    assert found.value["HOME"].startswith(str(tmp_path))


@pytest.mark.skipif(not POSIX, reason="POSIX")
def test_each_job_has_an_empty_folder_of_its_own(tmp_path):
    (place, listing), (other, _) = (o.value for o in outcomes(tmp_path, "cwd", "cwd"))
    assert place != other
    assert listing == []


def test_what_is_no_data_comes_back_as_text(tmp_path):
    (found,) = outcomes(tmp_path, "object")
    assert "object" in found.value


def _has_namespaces():
    if not sys.platform.startswith("linux"):
        return False
    child = os.fork()
    if child == 0:
        import ctypes

        libc = ctypes.CDLL(None)
        done = (
            libc.unshare(sandbox._CLONE_NEWNET) == 0
            or libc.unshare(sandbox._CLONE_NEWUSER | sandbox._CLONE_NEWNET) == 0
        )
        os._exit(0 if done else 1)
    return os.waitpid(child, 0)[1] == 0


def test_there_is_no_network(tmp_path):
    if not _has_namespaces():
        pytest.skip("this system gives no network namespace to an unprivileged user")
    with socket.create_server(("127.0.0.1", 0)) as server:
        order = {"do": "connect", "port": server.getsockname()[1]}
        (closed,) = outcomes(tmp_path, order)
        (open_,) = outcomes(tmp_path, order, network=True)
    assert closed.ended == "raised"
    assert open_.value == "connected"


def test_wrap_decides_what_is_started(tmp_path):
    seen = []

    def wrap(command, folder):
        seen.append((command, folder))
        return command

    (found,) = outcomes(tmp_path, ADD, wrap=wrap)
    assert found.value == 3
    assert seen[0][1] == tmp_path / "box"


# A child that does not start


def no_interpreter(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))


def no_permission(monkeypatch, tmp_path):
    (tmp_path / "python").touch(mode=0o600)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))


def another_option(monkeypatch, tmp_path):
    """As ``-P`` was for Python 3.10."""
    monkeypatch.setattr(sandbox, "_START_SERVER", "import sys; sys.exit('unknown option')")


def broken_package(monkeypatch, tmp_path):
    (tmp_path / "lab5").mkdir()
    (tmp_path / "lab5" / "__init__.py").write_text("raise ImportError('half installed')")
    monkeypatch.setattr(sandbox, "_PACKAGES", tmp_path)


def never_ready(monkeypatch, tmp_path):
    monkeypatch.setattr(sandbox, "_START_SERVER", "import time; time.sleep(60)")
    monkeypatch.setattr(sandbox, "START", 0.5)


BROKEN = [no_interpreter, no_permission, another_option, broken_package, never_ready]
SENTENCE = "The grader's own process does not start"


@pytest.mark.parametrize("broken", BROKEN)
def test_a_child_that_does_not_start_is_no_jobs_doing(broken, tmp_path, monkeypatch):
    broken(monkeypatch, tmp_path)
    with pytest.raises(SandboxError, match=SENTENCE):
        outcomes(tmp_path, ADD)


def test_a_wrap_that_ends_at_once_is_no_jobs_doing(tmp_path):
    command = [sys.executable, "-c", "import sys; sys.exit('no such option')"]
    with pytest.raises(SandboxError, match=r"\(no such option\)"):
        outcomes(tmp_path, ADD, wrap=lambda *_: command)


def test_a_child_that_does_not_start_again_is_no_jobs_doing(tmp_path):
    """After a job that ended the first one."""
    starts = []

    def wrap(command, folder):
        starts.append(command)
        return command if len(starts) == 1 else [sys.executable, "-c", "1/0"]

    box = Sandbox(seconds=20.0, fork=False, wrap=wrap)
    jobs = [ADD, {"do": "exit"}, ADD]
    found = box.run("tests.deeds:job", jobs, tmp_path / "box")
    assert next(found)[1].value == 3
    assert next(found)[1].ended == "crashed"
    with pytest.raises(SandboxError, match="ZeroDivisionError"):
        next(found)


def test_modules_of_the_jobs_folder_are_not_imported(tmp_path):
    """The next child starts where a job may have left ``numpy.py``."""
    (tmp_path / "box").mkdir()
    for name in ("numpy", "json", "lab5"):
        (tmp_path / "box" / f"{name}.py").write_text("raise SystemExit('taken in')")
    (found,) = outcomes(tmp_path, ADD)
    assert found.value == 3


@pytest.mark.parametrize("broken", BROKEN)
def test_the_grader_says_once_that_it_does_not_start(broken, tmp_path, monkeypatch, capsys):
    archive = handin.write_zip(tmp_path / handin.ARCHIVE, {})
    out = tmp_path / "out.json"
    broken(monkeypatch, tmp_path)
    assert grade.main([str(archive), str(archive), "--json", str(out)]) == 1
    printed, said = capsys.readouterr()
    assert said.count(SENTENCE) == 1
    assert len(said.splitlines()) == 2  # zh-TW and English
    assert "✗" not in printed
    assert not out.exists()


def test_probes_that_do_not_start_are_told_once_and_fail_nothing(tmp_path):
    archive = handin.write_zip(
        tmp_path / handin.ARCHIVE, {handin.NOTEBOOK: handin.notebook_bytes(handin.notebook())}
    )
    (tmp_path / "opened").mkdir()
    wrap = lambda *_: [sys.executable, "-c", "1/0"]  # noqa: E731
    evidence = Evidence(archive, tmp_path / "opened", sandbox=Sandbox(wrap=wrap))
    done = {name: Result(name, "pass") for name in CHECKS}
    runs = [one for one in CHECKS.values() if one.runs and not one.manual]
    found = [judge(one, evidence, done) for one in runs]
    assert [one.status for one in found].count("error") == 1
    assert {one.status for one in found} <= {"error", "blocked"}
    (error,) = (one for one in found if one.status == "error")
    assert SENTENCE in error.why.en


def test_an_observation_is_not_made_again_after_the_process_ended(tmp_path):
    """The one that was running then is not begun again, either."""
    archive = handin.write_zip(
        tmp_path / handin.ARCHIVE, {handin.NOTEBOOK: handin.notebook_bytes(handin.notebook())}
    )
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    before = Evidence(archive, tmp_path / "first", kept=tmp_path / "kept", sandbox=Sandbox())
    jobs = [{"probe": "reference"}, {"probe": "network"}, {"probe": "export"}]
    assert before._left(jobs) == jobs
    before._keep("reference", Outcome("done", {"output": np.arange(3.0)}))
    after = Evidence(archive, tmp_path / "second", kept=tmp_path / "kept", sandbox=Sandbox())
    assert after._left(jobs) == jobs[2:]
    np.testing.assert_array_equal(after.reference["output"], np.arange(3.0))
    with pytest.raises(Fault, match="ended the process"):
        after.probe("network")


@settings(max_examples=50, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_plain_data_go_there_and_back(value):
    assert loads(dumps(value)) == value
