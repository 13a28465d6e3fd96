"""Grades hostile hand-ins as a teacher does, by ``lab5 grade BAD… GOOD``, and looks at what held.

Several are graded by one command. Where something does not hold of the whole command, each half of them
is graded again, down to the culprit.
"""

from __future__ import annotations

import atexit
import compileall
import contextlib
import functools
import itertools
import json
import os
import secrets
import shutil
import signal
import site
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unicodedata
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import jsonschema

import lab5
from tests import handin
from tests.conftest import FIXTURES
from tests.hostile.core import BASES, Case, Holds, Hostile, World
from tests.mutants.core import Variants

USERS: Final = ("root", "ordinary")
NOBODY: Final = 65534  # the ordinary user, when the tests run as root
TOGETHER: Final = 80  # hand-ins of a command
_PACKAGE: Final = Path(lab5.__file__).parent
_SCHEMA: Final = json.loads((_PACKAGE / "grading" / "grade_schema.json").read_text("utf-8"))
_SITES: Final = [p for p in map(Path, site.getsitepackages()) if p.is_dir()]  # Debian names more
_SHARED: Final = [Path(place) for place in ("/tmp", "/var/tmp", "/dev/shm")]
_KEPT: Final = ("home", "source", "given", "good", "handins", "cwd", "drop", "temporary")
_PATIENCE: Final = 20  # seconds beyond what the hand-ins may take
_GRACE: Final = 2  # seconds in which what is left behind may still do harm

_GRADE: Final = "import sys; from lab5.commands.grade import main; sys.exit(main())"
_WITHIN: Final = """
from lab5.grading import suite
whole = suite.check_submission
def check_submission(path, **options):
    return whole(path, **options, **{seconds!r}.get(str(path), {{}}))
suite.check_submission = check_submission
"""


def unavailable(user: str) -> str | None:
    """Why hand-ins cannot be graded as this user here."""
    if not sys.platform.startswith("linux"):
        return "what processes do is seen in Linux's /proc"
    if user == "root" and os.geteuid() != 0:
        return "to grade as root, run the tests as root"
    return None


def batches(cases: Sequence[Case]) -> list[list[Case]]:
    """The cases that one command grades together."""
    return [list(cases[at : at + TOGETHER]) for at in range(0, len(cases), TOGETHER)]


@dataclass
class Marks:
    """What the good hand-in, and each base without an attack, earn: check -> points."""

    good: dict[str, float]
    bases: dict[str, float]


def marks(variants: Variants) -> Marks:
    """Grade what attacks are put into; whose marks are the same for every user."""
    harmless = [Case(base, "", lambda h: None, base, Holds()) for base in BASES]
    with world(user := USERS[1], variants.good) as (around, _):
        run = _Run(around, user, harmless, variants)
        run.grade()
        return Marks(
            _points(run.results[str(around.good)]),
            {one.name: run.results[run.given[one.name]]["earned"] for one in harmless},
        )


def look(
    cases: Sequence[Case], user: str, variants: Variants, known: Marks
) -> dict[str, list[str]]:
    """What did not hold of each case, by its name; nothing if all held."""
    with world(user, variants.good) as (around, listeners):
        run = _Run(around, user, cases, variants)
        before = _state(around)
        run.grade()
        whole = [*run.whole(known), *_changes(before, around), *_met(listeners), *_left(around)]
        found = {case.name: run.of(case, known) for case in cases}
    if whole and len(cases) > 1:
        middle = len(cases) // 2
        halves = [look(half, user, variants, known) for half in (cases[:middle], cases[middle:])]
        return {name: said for half in halves for name, said in half.items()}
    return {name: [*whole, *said] for name, said in found.items()}


# What stands around a command


@contextlib.contextmanager
def world(user: str, good: dict[str, bytes]) -> Iterator[tuple[World, list[socket.socket]]]:
    """All that an attack may aim at, and those who wait for a connection; gone afterwards."""
    mark = f"lab5-hostile-{secrets.token_hex(6)}"
    folder = Path(tempfile.mkdtemp(prefix=f"{mark}-"))
    with contextlib.ExitStack() as stack:
        stack.callback(_remove, mark)
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        around = World(
            folder,
            mark,
            won=f"won-{secrets.token_hex(8)}",
            secret=f"secret-{secrets.token_hex(8)}",
            port=server.getsockname()[1],
            abstract=f"\0{mark}",
        )
        for name in (*_KEPT, "out", "home/.ssh"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        shutil.copytree(_compiled(), around.source / "lab5")
        shutil.copy(FIXTURES / "best_model.pth", around.weights)
        shutil.copy(FIXTURES / "EAI_lab5.ipynb", around.template)
        (around.home / ".ssh" / "id_rsa").write_text(around.secret, encoding="ascii")
        (around.home / ".bashrc").touch()
        handin.write_zip(around.good, good)
        listeners = [server]
        for address in (str(around.socket), around.abstract):
            listeners.append(stack.enter_context(socket.socket(socket.AF_UNIX)))
            listeners[-1].bind(address)
            listeners[-1].listen()
        listeners.append(stack.enter_context(socket.socket(type=socket.SOCK_DGRAM)))
        listeners[-1].bind(("127.0.0.1", around.port))
        for one in listeners:
            one.setblocking(False)
        folder.chmod(0o755)
        for open_to_all in (around.socket, around.drop):
            open_to_all.chmod(0o777)
        yield around, listeners


@functools.cache
def _compiled() -> Path:
    """The package; what is compiled already the grader does not write, a change as any other."""
    folder = Path(tempfile.mkdtemp(prefix="lab5-source-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    shutil.copytree(
        _PACKAGE, folder / "lab5", ignore=shutil.ignore_patterns("__pycache__", "fixtures")
    )
    compileall.compile_dir(folder, quiet=1)
    return folder / "lab5"


def _remove(mark: str) -> None:
    """The world, and what attacks left."""
    places = [path for place in _SHARED for path in place.glob(f"{mark}*")]
    subprocess.run(["ipcrm", "-M", "0x4c414235"], check=False, stderr=subprocess.DEVNULL)
    for path in [*places, *_planted(mark)]:
        subprocess.run(["chmod", "-R", "u+rwX", "--", path], check=False)
        subprocess.run(["rm", "-rf", "--", path], check=True)


def _planted(mark: str) -> list[Path]:
    """What an attack put into shared folders, and among the installed packages."""
    shared = [path for place in _SHARED for path in place.glob(f"*{mark}*") if path.is_file()]
    return shared + [path for place in _SITES for path in place.glob(f"*{mark}*")]


def _state(around: World) -> set[str]:
    """A line for each file, with its checksum, and for each folder, in what nobody may change."""
    tops = [str(around.folder / name) for name in _KEPT]
    command = ["find", *tops, "-type", "f", "-exec", "cksum", "{}", "+", "-o", "-printf", "%y %l %p\n"]  # fmt: skip
    found = subprocess.run(command, capture_output=True, check=False)
    segments = Path("/proc/sysvipc/shm").read_text("ascii").splitlines()[1:]
    return {
        *found.stdout.decode("utf-8", "backslashreplace").splitlines(),
        *(f"shared memory {line.split()[0]}" for line in segments),
    }


def _changes(before: set[str], around: World) -> Iterator[str]:
    for line in sorted(before ^ _state(around))[:5]:
        yield f"changed outside: {line[-200:]}"
    for path in around.json.parent.iterdir():
        if path not in (around.json, around.pages, around.socket):
            yield f"a file beside the results: {path.name}"
    for path in _planted(around.mark):
        yield f"left behind: {path}"


def _met(listeners: list[socket.socket]) -> Iterator[str]:
    for one in listeners:
        with contextlib.suppress(BlockingIOError):
            if one.type == socket.SOCK_DGRAM:
                one.recv(100)
            else:
                one.accept()[0].close()
            yield f"somebody connected: {one.getsockname()!r}"


def _left(around: World) -> Iterator[str]:
    for pid in _marked(around.mark):
        yield f"process {pid} is left"
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _marked(mark: str) -> list[int]:
    """The processes with this mark in their command line or environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            with contextlib.suppress(OSError):
                if (
                    mark.encode() in (folder / name).read_bytes()
                    and int(folder.name) != os.getpid()
                ):
                    found.append(int(folder.name))
                    break
    return found


# The command


@dataclass
class _Run:
    """A command that grades the cases and a good hand-in behind them, and what came of it."""

    around: World
    user: str
    cases: Sequence[Case]
    variants: Variants
    given: dict[str, str] = field(default_factory=dict)  # case -> what the command was given
    results: dict[str, dict[str, Any]] = field(default_factory=dict)  # path -> its submission
    refused: dict[str, str] = field(default_factory=dict)  # path -> why it was not graded
    first: list[str] = field(default_factory=list)  # a good hand-in to be graded before them

    def __post_init__(self) -> None:
        for case in self.cases:
            varied = Hostile(self.variants, case.base, self.around)
            case.edit(varied)
            place = self.around.folder / "handins" / case.name
            place.mkdir(parents=True)
            path = varied.argument(place) if varied.argument else varied.write(place)
            self.given[case.name] = os.fsdecode(path)
        self.memory_limit = max(case.holds.memory for case in self.cases)
        if any(case.first for case in self.cases):
            place = self.around.folder / "handins" / "first"
            place.mkdir()
            self.first = [str(shutil.copy(self.around.good, place))]
            with zipfile.ZipFile(self.first[0], "a") as archive:
                archive.comment = b"not the same bytes, which are graded once"
        if self.user == "ordinary" and os.geteuid() == 0:
            owner = ["chown", "-hR", f"{NOBODY}:{NOBODY}", str(self.around.folder)]
            subprocess.run(owner, check=True)

    def grade(self) -> None:
        around = self.around
        seconds = {
            self.given[one.name]: {"seconds": one.deadline} for one in self.cases if one.deadline
        }
        command = [
            *_as(self.user, around), sys.executable, "-c", _WITHIN.format(seconds=seconds) + _GRADE,
            *self.first, *self.given.values(), str(around.good), "--jobs", "1",
            "--json", str(around.json), "--html", str(around.pages), "--weights", str(around.weights),
            "--template", str(around.template), "--lang", "en",
        ]  # fmt: skip
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(around.source),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": str(around.home),
            "TMPDIR": str(around.temporary),
            "LAB5_SECRET": around.secret,
        }
        patience = sum(case.holds.seconds for case in self.cases) + _PATIENCE
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                command, cwd=around.folder / "cwd", env=environment, stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
            watcher = _Watcher(process.pid, self.memory_limit)
            watcher.start()
            try:
                self.status: int | None = process.wait(patience)
            except subprocess.TimeoutExpired:
                self.status = None
            written = self._written()
            time.sleep(_GRACE if any(map(_alive, watcher.seen)) or _marked(around.mark) else 0)
            self.rewritten = written != self._written()
            self.left = [pid for pid, start in watcher.stop() if _alive((pid, start))]
            for pid in [*self.left, process.pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()
            self.memory = watcher.memory
            output.seek(0)
            self.shown = output.read(4 << 20)
        try:
            self.json = json.loads(written.decode("utf-8"))
            jsonschema.validate(self.json, _SCHEMA)
        except ValueError as error:
            self.json, self.unreadable = {}, f"{type(error).__name__}: {error}"
        except jsonschema.ValidationError as error:
            self.json, self.unreadable = {}, error.message[:200]
        else:
            self.unreadable = ""
            self.results = {one["path"]: one for one in self.json["submissions"]}
            self.refused = {one["path"]: one["why"] for one in self.json["not_graded"]}

    def _written(self) -> bytes:
        with contextlib.suppress(OSError):
            if self.around.json.is_file() and not self.around.json.is_symlink():
                return self.around.json.read_bytes()
        return b""

    def whole(self, known: Marks) -> Iterator[str]:
        """What does not hold of the command."""
        wanted = int(any(case.holds.refused for case in self.cases))
        if self.status != wanted:
            yield f"exit status {self.status}, not {wanted}: {self.shown[-300:]!r}"
        for word in (b"Traceback", b"Not written:"):  # as well are exit status 1
            if word in self.shown:
                yield f"{word.decode()}: {self.shown[-300:]!r}"
        if self.unreadable:
            yield f"no JSON of the results: {self.unreadable}"
        if self.rewritten:
            yield "the JSON was written to after the end"
        if self.left:
            yield f"processes {self.left} are left"
        if self.memory > self.memory_limit:
            yield f"{self.memory / 2**30:.1f} GiB of memory, more than {self.memory_limit / 2**30:.1f}"
        given = self.given.values()
        if lost := [path for path in self.refused if not any(_is(path, one) for one in given)]:
            yield f"not graded, and nobody's attack: {lost}"
        good = self.results.get(str(self.around.good))
        if good is None:
            yield "the good hand-in has no result"
        elif _points(good) != known.good:
            yield f"the good hand-in earned {good['earned']}: {_difference(good, known.good)}"
        try:
            shown = self.shown.decode("utf-8")
        except UnicodeDecodeError as error:
            shown = ""
            yield f"what was shown is no text: {error}"
        if self.around.good.stem not in shown or "Total" not in shown:
            yield "no table was shown"
        written = json.dumps(self.json, ensure_ascii=False)
        if odd := sorted(filter(_harmful, set(shown).union(*_strings(self.json)))):
            yield f"characters that are no text were shown or written: {odd}"
        pages = [path.read_text("utf-8") for path in sorted(self.around.pages.rglob("*.html"))]
        if len(pages) <= len(self.results):
            yield f"{len(pages)} pages of {len(self.results)} hand-ins and the overview"
        everything = "".join([written, shown, *pages])
        for secret in (self.around.won, self.around.secret):
            if secret in everything:
                at = everything.index(secret)
                yield f"the attack got it: {everything[at : at + 100]!r}"

    def of(self, case: Case, known: Marks) -> list[str]:
        """What does not hold of one hand-in."""
        found = []
        mine = {p: one for p, one in self.results.items() if _is(p, self.given[case.name])}
        for one in mine.values():
            if one["seconds"] > case.holds.seconds:
                found.append(f"it took {one['seconds']} s")
            if one["earned"] > known.bases[case.base]:
                found.append(f"{one['earned']} points, {known.bases[case.base]} without the attack")
            if one["earned"] > one["points"] or one["points"] != 100:
                found.append(f"{one['earned']} of {one['points']}")
            status = {check["name"]: check["status"] for check in one["checks"]}
            if case.holds.fails and status[case.holds.fails] in ("pass", "advice", "manual"):
                found.append(f"{case.holds.fails}: {status[case.holds.fails]}")
        refused = {p: why for p, why in self.refused.items() if _is(p, self.given[case.name])}
        if self.json and not mine and not refused:
            found.append("it has no result")
        if self.json and bool(refused) != case.holds.refused:
            found.append(f"not graded: {refused}")
        said = " ".join(_strings([*mine.values(), refused]))
        if case.holds.says and not any(word in said for word in case.holds.says):
            found.append(f"none of {case.holds.says} is said")
        return found


def _is(path: str, given: str) -> bool:
    """Whether a path of the results is what was given, or in it; names may have been cleaned."""
    folder = os.path.dirname(given)  # noqa: PTH120 (as text: the name may be no text)
    return path.startswith((given, f"{folder}/"))


def _points(submission: dict[str, Any]) -> dict[str, float]:
    return {check["name"]: check["earned"] for check in submission["checks"]}


def _difference(submission: dict[str, Any], known: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in _points(submission).items() if value != known[name]}


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from (key, *_strings(inner))
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


def _harmful(char: str) -> bool:
    """Whether a terminal may obey it, or no encoding can write it."""
    return char not in "\n\t" and unicodedata.category(char) in ("Cc", "Cs")


# The user


def _as(user: str, around: World) -> list[str]:
    """What a command line begins with to be run as the user.

    An ordinary user may not be able to reach the interpreter, as when it lies in root's home. Then
    the folders of that home that it needs, and no others, are shown in a mount namespace.
    """
    if user == "root" or os.geteuid() != 0:
        return []
    switch = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]
    needed = {Path(sys.prefix), Path(sys.base_prefix), *_SITES}
    hidden: dict[Path, list[Path]] = {}
    for place in sorted(needed):
        closed = next((p for p in reversed(place.parents) if not p.stat().st_mode & 0o001), None)
        if closed and not any(place.is_relative_to(known) for known in hidden.get(closed, [])):
            hidden.setdefault(closed, []).append(place)
    if not hidden:
        return switch
    lines = ["set -e"]
    hold = around.folder / "mounts"
    hold.mkdir()
    for number, (closed, places) in enumerate(hidden.items()):
        for index, place in enumerate(places):
            (aside := hold / f"{number}-{index}").mkdir()
            lines.append(f"mount --bind {place} {aside}")
        lines.append(f"mount -t tmpfs -o mode=755 tmpfs {closed}")
        for index, place in enumerate(places):
            lines.append(f"mkdir -p {place}; mount --bind {hold}/{number}-{index} {place}")
    lines.append(f'umount {hold}/*; exec {" ".join(switch)} "$@"')
    return ["unshare", "--mount", "sh", "-c", "\n".join(lines), "sh"]


# Processes


def _alive(process: tuple[int, int]) -> bool:
    """Whether a process, by its number and start, is there and no zombie."""
    found = _stat(process[0])
    return found is not None and found[1] == process[1] and found[3] != "Z"


def _stat(pid: int) -> tuple[int, int, int, str] | None:
    """Its parent, start, resident pages and state."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:  # noqa: PTH123 (many, ten times a second)
            parts = file.read().rpartition(b")")[2].decode("ascii").split()
        return int(parts[1]), int(parts[19]), int(parts[21]), parts[0]
    return None


def _proportional(pid: int) -> int:
    """Bytes that a process takes, what it shares with others divided among them."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    return 0


class _Watcher(threading.Thread):
    """Remembers all that descends from a process, and the most memory above ``limit`` that they took together."""

    def __init__(self, pid: int, limit: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.limit, self.memory = pid, limit, 0
        self.seen: set[tuple[int, int]] = set()
        self._end = threading.Event()

    def run(self) -> None:
        page = os.sysconf("SC_PAGE_SIZE")
        # Looked at once a second, as their numbers may be given anew; strangers once more before that:
        # a child may have been read before its parent was
        others, strangers = set[int](), set[int]()
        for look in itertools.count():
            if self._end.wait(0.1):
                return
            there = {int(path) for path in os.listdir("/proc") if path.isdigit()}  # noqa: PTH208
            found = there - others if look % 10 else there
            stats = {pid: stat for pid in found if (stat := _stat(pid))}
            pids = {self.pid} | {
                pid for pid, start in self.seen if pid in stats and stats[pid][1] == start
            }
            while more := {pid for pid, stat in stats.items() if stat[0] in pids} - pids:
                pids |= more
            mine = {pid: stats[pid] for pid in pids if pid in stats}
            others, strangers = (there - mine.keys()) & strangers, there - mine.keys()
            self.seen |= {(pid, stat[1]) for pid, stat in mine.items() if pid != self.pid}
            if sum(stat[2] for stat in mine.values()) * page > self.limit:  # else it cannot be more
                self.memory = max(self.memory, sum(map(_proportional, mine)))

    def stop(self) -> set[tuple[int, int]]:
        self._end.set()
        self.join()
        return self.seen
