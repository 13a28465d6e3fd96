"""The batch: what is graded, what is known already, and what is kept."""

from __future__ import annotations

import contextlib
import json
import pickle
import re
import secrets
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from lab5.classroom import found as found_module
from lab5.classroom import results as results_module
from lab5.classroom.batch import Class, grade_class
from lab5.classroom.entry import Marked
from lab5.classroom.found import find_handins
from lab5.classroom.local import Local
from lab5.classroom.marking import Options, mark, suite_version
from lab5.classroom.results import Results
from lab5.errors import NoWallError, SandboxError, UsageError
from lab5.files import sha256
from lab5.grading import suite
from lab5.grading.sandbox.room import FORKS, Room
from lab5.text import Text
from tests import handin
from tests.classroom import graded
from tests.test_sandbox import gone, processes_with

STATIC = Options(run_code="never", seed=1)


def zips(folder: Path, *contents: bytes, names: str = "{}/A{}_lab5.zip") -> list:
    """Hand-ins of these bytes, which nobody reads."""
    paths = []
    for number, content in enumerate(contents):
        path = folder / names.format(number, number)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        paths.append(path)
    return list(find_handins(paths).handins)


class Engine:
    """Marks without looking; ``fails`` are what it cannot, and says which hand-ins it was given."""

    def __init__(self, *fails: str, lost: float = 0, error: bool = False) -> None:
        self.fails, self.lost, self.error = fails, lost, error
        self.given: list[str] = []

    def __call__(self, handins, options, started):
        for one in handins:
            started(one)
            self.given.append(one.key)
            digest = sha256(one.path)
            if one.key in self.fails:
                yield Marked(one, None, Text.of("our error"), digest)
            else:
                result = graded("A1", lost=self.lost, error=self.error)
                yield Marked(one, replace(result, path=str(one.where)), sha256=digest)


def run(handins, folder, engine, options=STATIC, **given) -> dict[str, Marked]:
    results = Results(folder, options)
    said = {one.handin.key: one for one in grade_class(handins, results, engine, **given)}
    whole = {one.handin.key: one for one in Class(handins, results)}
    assert list(whole) == [one.key for one in handins]
    assert {key: replace(one, notes=()) for key, one in whole.items()} == {
        key: replace(one, notes=()) for key, one in said.items()
    }, "what is kept is what was said"
    return whole


def test_equal_files_are_graded_once_and_said(tmp_path):
    """With the same name; the name is graded, too."""
    handins = zips(tmp_path, b"a", b"a", b"b", b"a", names="{}/A1_lab5.zip")
    handins += zips(tmp_path, b"a", names="{}/other_lab5.zip")
    engine = Engine()
    marked = run(handins, tmp_path / "out", engine)
    assert len(engine.given) == 3
    assert all(one.graded and one.graded.path == str(one.handin.path) for one in marked.values())
    notes = [" ".join(note.en for note in one.notes) for one in marked.values()]
    assert notes[2] == ""
    for number in (0, 1, 3):
        assert all(handins[other].key in notes[number] for other in (0, 1, 3, 4) if other != number)


def test_a_zip_is_read_for_its_digest_once(tmp_path, monkeypatch):
    handins = zips(tmp_path, b"a", b"b", names="{}/A1_lab5.zip")
    run(handins, tmp_path / "out", Engine())
    read = []
    monkeypatch.setattr(found_module, "_digests", {})
    monkeypatch.setattr(found_module, "sha256", lambda path: read.append(path) or sha256(path))
    changed = replace(STATIC, strict=True)
    results = Results(tmp_path / "out", changed)
    assert all(one.sha256 for one in grade_class(handins, results, Local(1), fresh=True))
    assert len(list(grade_class(handins, results, Local(1)))) == 2
    assert read == [one.path for one in handins]
    handins[0].path.write_bytes(b"another")
    assert len({one.sha256 for one in grade_class(handins, results, Local(1))}) == 2
    assert read == [one.path for one in (*handins, handins[0])]


def test_what_has_the_same_bytes_is_not_graded_again(tmp_path, monkeypatch):
    handins = zips(tmp_path, b"a", b"b", b"c")
    keys = [one.key for one in handins]
    first = run(handins, tmp_path / "out", engine := Engine())
    assert engine.given == keys
    assert run(handins, tmp_path / "out", engine := Engine("nobody")) == first
    assert engine.given == []
    handins[1].path.write_bytes(b"another")
    run(handins, tmp_path / "out", engine := Engine())
    assert engine.given == [keys[1]]
    run(handins, tmp_path / "out", engine := Engine(), fresh=True)
    assert engine.given == keys
    run(handins, tmp_path / "out", engine := Engine(), replace(STATIC, strict=True))
    assert engine.given == keys
    (tmp_path / "out" / "results" / f"{keys[2]}.json").write_text('{"suite": ')
    run(handins, tmp_path / "out", engine := Engine(), replace(STATIC, strict=True))
    assert engine.given == [keys[2]]
    monkeypatch.setattr(results_module, "suite_version", lambda: "2.0")
    run(handins, tmp_path / "out", engine := Engine(), replace(STATIC, strict=True))
    assert engine.given == keys


@pytest.mark.parametrize("damage", [
    lambda text: "[" * 100_000, lambda text: "[]", lambda text: text.replace('"pass"', '"foo"'),
    lambda text: re.sub('"earned": [0-9.]+', '"earned": 1e9', text),
    lambda text: re.sub('"earned": [0-9.]+', '"earned": "x"', text),
    lambda text: text.replace('"checks": [', '"checks": [7,'),
])  # fmt: skip
def test_a_damaged_result_is_graded_again(damage, tmp_path):
    handins = zips(tmp_path, b"a")
    first = run(handins, tmp_path / "out", Engine())
    path = tmp_path / "out" / "results" / "A0_lab5.json"
    path.write_text(damage(path.read_text("utf-8")), "utf-8")
    assert run(handins, tmp_path / "out", engine := Engine()) == first
    assert engine.given == ["A0_lab5"]


def test_a_folder_in_a_results_place_is_said_and_ends_no_batch(tmp_path):
    handins = zips(tmp_path, b"a", b"b")
    (tmp_path / "out" / "results" / "A0_lab5.json").mkdir(parents=True)
    one, other = run(handins, tmp_path / "out", Engine()).values()
    assert "is a folder" in one.notes[0].en
    assert one.graded
    assert other.graded
    assert not other.notes


@pytest.mark.parametrize("name", ["portrait", "diagnose"])
def test_what_has_more_than_is_wanted_is_not_graded_again(name, tmp_path):
    handins = zips(tmp_path, b"a")
    given = []
    for more in (False, True, False, True):
        run(handins, tmp_path / "out", engine := Engine(), replace(STATIC, **{name: more}))
        given.append(len(engine.given))
    assert given == [1, 1, 0, 0]


def test_what_could_not_be_graded_is_tried_again(tmp_path):
    handins = zips(tmp_path, b"a", b"b")
    run(handins, tmp_path / "out", Engine(handins[0].key))
    marked = run(handins, tmp_path / "out", engine := Engine())
    assert engine.given == [handins[0].key]
    assert marked[handins[0].key].graded


@pytest.mark.parametrize("worse", [Engine("A0_lab5"), Engine(error=True)])
def test_an_error_of_ours_takes_no_results_place(worse, tmp_path):
    handins = zips(tmp_path, b"a")
    run(handins, tmp_path / "out", Engine(lost=3))
    for _ in range(2):
        marked = run(handins, tmp_path / "out", worse, fresh=True)["A0_lab5"]
        assert marked.graded
        assert marked.graded.earned == graded(lost=3).earned
        assert len(marked.notes) == 1
        assert "before" in marked.notes[0].en
    run(handins, tmp_path / "out", Engine(lost=5), fresh=True)
    marked = run(handins, tmp_path / "out", Engine())["A0_lab5"]
    assert marked.graded
    assert marked.graded.earned == graded(lost=5).earned
    assert not marked.notes


def test_a_result_of_other_options_or_bytes_does_not_stand_for_an_error(tmp_path):
    handins = zips(tmp_path, b"a")
    run(handins, tmp_path / "out", Engine())
    kept = (tmp_path / "out" / "results" / "A0_lab5.json").read_bytes()
    marked = run(handins, tmp_path / "out", Engine("A0_lab5"), replace(STATIC, strict=True))
    assert marked["A0_lab5"].graded is None
    assert (tmp_path / "out" / "results" / "A0_lab5.json").read_bytes() == kept
    handins[0].path.write_bytes(b"another")
    assert run(handins, tmp_path / "out", Engine("A0_lab5"))["A0_lab5"].graded is None


def test_the_seed_is_drawn_once(tmp_path):
    seeds = {Results(tmp_path / "out", Options()).options.seed for _ in range(3)}
    assert len(seeds) == 1
    assert seeds != {Results(tmp_path / "other", Options()).options.seed}
    assert Results(tmp_path / "out", Options(seed=5)).options.seed == 5


def test_two_runs_that_begin_at_once_have_one_seed(tmp_path, monkeypatch):
    both = threading.Barrier(2)
    drawn = results_module.secrets.randbelow

    def draw(below: int) -> int:
        both.wait(10)
        return drawn(below)

    monkeypatch.setattr(results_module.secrets, "randbelow", draw)
    found = []
    runs = [
        threading.Thread(
            target=lambda: found.append(Results(tmp_path / "out", Options()).options.seed)
        )
        for _ in range(2)
    ]
    for one in runs:
        one.start()
    for one in runs:
        one.join()
    assert found == found[:1] * 2
    assert [path.name for path in (tmp_path / "out").glob("*seed*")] == ["seed.json"]


@pytest.mark.parametrize(
    "text", ["mine", "[]", '{"seed": -1}', '{"seed": true}', '{"seed": 2147483648}']
)
def test_a_seed_of_somebody_else_stays_as_it_is(text, tmp_path):
    (tmp_path / "seed.json").write_text(text)
    with pytest.raises(UsageError, match=r"seed\.json"):
        Results(tmp_path, Options())
    assert [one.name for one in tmp_path.iterdir()] == ["seed.json"]
    assert (tmp_path / "seed.json").read_text() == text


def test_the_version_is_of_the_code_that_marks(tmp_path, monkeypatch):
    import lab5

    for name in ("__init__.py", "grading/core.py", "commands/grade.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    monkeypatch.setattr(lab5, "__file__", str(tmp_path / "__init__.py"))
    before = suite_version.__wrapped__()
    (tmp_path / "commands" / "grade.py").write_text("# another")
    assert suite_version.__wrapped__() == before
    (tmp_path / "grading" / "core.py").write_text("# another")
    assert suite_version.__wrapped__() != before


# The jobs of this machine


def test_two_jobs_mark_as_one_does(tmp_path):
    paths = [handin.write_zip(tmp_path / f"A{i}_lab5.zip", {f"A{i}_report.pdf": b"%PDF"}) for i in range(5)]  # fmt: skip
    handins = [*find_handins(paths).handins, *find_handins([tmp_path / "none.zip"]).handins]

    def marks(jobs: int) -> dict:
        found = Local(jobs)(handins, STATIC, lambda handin: None)
        return {
            one.handin.key: replace(one, graded=one.graded and replace(one.graded, seconds=0))
            for one in found
        }

    one, two = marks(1), marks(2)
    assert one == two
    assert one["none"].graded is None
    assert [one[f"A{i}_lab5"].graded.student_id for i in range(5)] == [f"A{i}" for i in range(5)]


def test_the_next_begins_when_the_last_is_kept(tmp_path):
    """What is done and not taken is never more than the jobs."""
    started = []
    found = Local(1)(zips(tmp_path, b"a", b"b", b"c"), STATIC, started.append)
    for number, _ in enumerate(found, 1):
        time.sleep(0.1)
        assert len(started) == number


def failing(times: int, error: Exception):
    """``check_submission`` that raises so often before it returns."""
    left = [times]

    def check_submission(path, **options):
        if left[0]:
            left[0] -= 1
            raise error
        return graded()

    return check_submission


@pytest.mark.parametrize(("times", "marked"), [(1, True), (2, False)])
def test_rooms_that_fail_are_made_anew_and_cost_one_hand_in_at_most(
    times, marked, tmp_path, monkeypatch
):
    error = SandboxError("gone", zh="gone")
    monkeypatch.setattr(suite, "check_submission", failing(times, error))
    first, second = Local(1)(zips(tmp_path, b"a", b"b"), STATIC, lambda handin: None)
    assert (first.graded is not None) == marked
    assert second.graded


def test_rooms_that_cannot_be_made_end_the_batch(tmp_path, monkeypatch):
    def no_room(*_: object, **__: object) -> None:
        raise SandboxError("no room", zh="no room")

    monkeypatch.setattr("lab5.classroom.marking.Rooms", no_room)
    with pytest.raises(SandboxError, match="no room"):
        list(Local(2)(zips(tmp_path, b"a", b"b"), STATIC, lambda handin: None))


def waits(mark: str) -> dict[str, None]:
    """A request to ``subprocess.run``, which takes the keys for the command."""
    return dict.fromkeys((sys.executable, "-c", "import time; time.sleep(60)", mark))


@pytest.mark.skipif(not FORKS, reason="visitors are forked")
def test_who_waits_in_a_room_that_ends_waits_no_more():
    with Room() as room:
        room.wait()
        ended = []

        def wait() -> None:
            with room.visit("subprocess:run") as visit:
                ended.append(visit.ask(waits("x"), 60).ended)

        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(1)
        assert not ended
        start = time.monotonic()
        room.end()
        thread.join(10)
        assert time.monotonic() - start < 5
        assert ended == ["crashed"]
        with pytest.raises(SandboxError):
            room.visit("subprocess:run")


def test_a_batch_that_is_left_leaves_no_thread_and_no_process(tmp_path, monkeypatch):
    mark = f"lab5-{secrets.token_hex(8)}"

    def slow(path, *, rooms, **options):
        if path.name == "A1_lab5.zip":
            with rooms.reading.visit("subprocess:run") as visit:
                visit.ask(waits(mark), 60)
                pytest.fail("it was let go on")
        return graded()

    monkeypatch.setattr(suite, "check_submission", slow)
    before = set(threading.enumerate())
    with contextlib.closing(
        Local(2)(zips(tmp_path, b"a", b"b"), STATIC, lambda handin: None)
    ) as found:
        next(found)
        until = time.monotonic() + 30
        while not processes_with(mark) and time.monotonic() < until:
            time.sleep(0.1)
        assert processes_with(mark)
        start = time.monotonic()
    assert time.monotonic() - start < 10
    assert set(threading.enumerate()) <= before
    assert gone(mark)  # the kernel ends a namespace after its room


def test_what_is_wrong_with_one_hand_in_is_its_result(tmp_path, monkeypatch):
    monkeypatch.setattr(suite, "check_submission", failing(1, RuntimeError("\ud800")))
    one, other = (mark(handin, STATIC, None) for handin in zips(tmp_path, b"a", b"b"))
    assert one.graded is None
    assert "ud800" in one.why.en
    assert other.graded
    json.dumps(other.graded.stored())


def test_an_error_goes_from_process_to_process():
    error = pickle.loads(pickle.dumps(NoWallError("no wall", zh="沒有牆")))
    assert type(error) is NoWallError
    assert error.text == Text("no wall", "沒有牆")
