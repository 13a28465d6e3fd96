"""Inside a room: the process that forks, and the keeper of each visitor.

A keeper is outside of its visitor's namespaces, holds the visit's only connection to the parent, and
ends with it. What the visitor started ends with the visitor.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import json
import math
import os
import shutil
import signal
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from os import _exit
from pathlib import Path
from typing import Any, Final, NoReturn

from lab5.grading.sandbox import linux
from lab5.grading.sandbox.messages import answered, dumps, loads, receive, send

MAX_FILES: Final = 8
BOX: Final = "/box"  # a visitor's folder behind the wall
_STATUS: Final = struct.Struct("id")  # a process's wait status, and its seconds of processor time
OWN, KEEPERS = b"=", b"!"  # how an answer begins: the visitor's own, or what the keeper says


@dataclass(frozen=True)
class Limits:
    """Of a visit.

    Args:
        seconds: processor time of a process.
        memory: bytes of address space of a process; 0 for no limit.
        resident: bytes that all of its processes hold together, or one writes to beyond what it is born with.
        file_size: bytes of any file that it writes.
        disk: bytes of all of them in its folder, behind a wall; a quarter of it in each temporary one.
        processes: at once.
    """

    seconds: float = math.inf
    memory: int = 6 << 30
    resident: int = 3 << 30
    file_size: int = 256 << 20
    disk: int = 256 << 20
    processes: int = 64


def serve() -> NoReturn:
    """Import what the room is for, say so, and fork a keeper for each visit until the parent is gone."""
    control = socket.socket(fileno=os.dup(0))
    order = json.loads(receive(control))
    walled = order["walled"]
    if walled:
        linux.become_nobody()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    gc.disable()  # what is imported stays: PyTorch's import is a seventh faster
    for module in order["preload"]:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    order["handles"] = _share(control, order["shared"]) if order["shared"] else {}
    _keep_shared()
    gc.enable()
    alone = walled and _can_be_alone()
    send(control, dumps({"alone": alone}).encode())
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers need nobody to wait for them
    control.settimeout(None)
    while True:
        try:
            data, handles, _, _ = socket.recv_fds(control, 1, MAX_FILES + 1)
        except ConnectionError:
            data = b""
        if not data:
            _exit(0)  # to take apart what was imported takes PyTorch's room a tenth of a second
        if os.fork() == 0:
            try:
                control.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                keep(socket.socket(fileno=handles[0]), handles[1:], order)
            finally:
                _exit(0)
        for handle in handles:
            os.close(handle)


def _keep_shared() -> None:
    """Before anything is forked: what is held stays shared, and nothing else is there."""
    gc.freeze()
    if linux.AVAILABLE:
        linux.give_free_memory_back()


def _share(control: socket.socket, shared: dict[str, Any]) -> dict[str, int]:
    """Make what all visitors have alike; handles of the files that each may be given, by their names."""
    files = list(shared["files"])
    handles = socket.recv_fds(control, 1, MAX_FILES)[1]
    given = dict(zip(files, handles, strict=True))
    paths = {key: f"/proc/self/fd/{handle}" for key, handle in given.items()}
    with contextlib.suppress(Exception):  # a visitor meets the same, and says it
        function_named(shared["function"])({**shared["request"], **paths})
    return given


def _namespaces(walled: bool) -> int:
    return linux.NEWPID | linux.NEWIPC | (linux.NEWNS if walled else linux.NEWNET)


def _can_be_alone() -> bool:
    """Whether a visitor gets namespaces of its own; else each room is for one hand-in."""
    if (child := os.fork()) == 0:
        _exit(0 if linux.unshare(_namespaces(True)) else 1)
    return os.waitpid(child, 0)[1] == 0


class _Over(Exception):
    """The visit is: what the keeper says of it."""


def keep(visit: socket.socket, handles: list[int], room: dict[str, Any]) -> None:
    """Let a visitor in, and pass on what it is asked and what it answers, until either end is gone."""
    order = loads(receive(visit).decode())
    limits = Limits(**order["limits"])
    linux.adopt_orphans()
    folder = BOX if room["walled"] else tempfile.mkdtemp(prefix="lab5-")
    alone = linux.AVAILABLE and linux.unshare(_namespaces(room["walled"]))
    ours, theirs = socket.socketpair()
    ended, tell = os.pipe()
    first = os.fork()
    if first == 0:
        try:
            visit.close()
            ours.close()
            os.close(ended)
            _first(theirs, tell, handles, folder, alone, room, order, limits)
        finally:
            _exit(1)
    theirs.close()
    os.close(tell)
    for handle in handles:
        os.close(handle)
    try:
        with contextlib.suppress(EOFError, OSError):
            while True:
                request = receive(visit)
                answer = _answer(visit, ours, request, first, ended, limits)
                send(visit, answer)
                if answer[:1] == KEEPERS:
                    break
    finally:
        with contextlib.suppress(OSError):
            os.kill(first, signal.SIGKILL)
        if linux.AVAILABLE:
            linux.end_descendants()
        if not room["walled"]:
            with contextlib.suppress(OSError):
                os.killpg(first, signal.SIGKILL)
            from lab5.files import remove_folder

            remove_folder(Path(folder))


def _answer(
    visit: socket.socket,
    ours: socket.socket,
    request: bytes,
    first: int,
    ended: int,
    limits: Limits,
) -> bytes:
    """What the visitor answers within its limits, or what became of it."""
    head, _, body = request.partition(b"\n")
    seconds = float(head)

    def look() -> None:
        if _gone(visit):
            raise EOFError
        if not linux.AVAILABLE:
            return
        all_of_it = linux.descendants(os.getpid())
        if len(all_of_it) > limits.processes:
            raise _Over(f"more than {limits.processes} processes")
        if linux.memory(all_of_it, limits.resident) > limits.resident:
            raise _Over(f"more than {limits.resident / (1 << 30):g} GB of memory")

    def said(ended: str, error: str) -> bytes:
        return KEEPERS + dumps({"ended": ended, "error": error}).encode()

    until = time.monotonic() + seconds
    try:
        send(ours, body, until=until)
        return OWN + receive(ours, until=until, look=look)
    except TimeoutError:
        return said("timeout", f"{seconds:g} s")
    except ValueError as error:
        return said("crashed", f"its answer is too large ({error})")
    except _Over as over:
        return said("crashed", str(over))
    except (EOFError, OSError):
        if linux.AVAILABLE and visit.fileno() >= 0 and _gone(visit):
            raise EOFError from None
    return said(*_end(*_how_it_ended(first, ended), limits))


def _end(status: int, spent: float, limits: Limits) -> tuple[str, str]:
    """How a process ended that gave no answer, and why; ``spent`` in seconds of processor time."""
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGXCPU or (code == -signal.SIGKILL and spent >= limits.seconds):
        return "timeout", f"{limits.seconds:g} s"
    return "crashed", f"signal {-code}" if code < 0 else f"exit status {code}"


def _gone(visit: socket.socket) -> bool:
    """Whether the parent closed its end."""
    visit.setblocking(False)
    try:
        return not visit.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _how_it_ended(first: int, ended: int) -> tuple[int, float]:
    """The visitor's status as its parent saw it; it may have closed its connection and still run."""
    with contextlib.suppress(OSError):
        os.set_blocking(ended, False)
    for _ in range(20):
        with contextlib.suppress(BlockingIOError):
            if len(data := os.read(ended, _STATUS.size)) == _STATUS.size:
                return _STATUS.unpack(data)
            break
        time.sleep(0.01)
    with contextlib.suppress(OSError):
        os.kill(first, signal.SIGKILL)
    return signal.SIGKILL, 0.0


def _first(
    theirs: socket.socket,
    tell: int,
    handles: list[int],
    folder: str,
    alone: bool,
    room: dict[str, Any],
    order: dict[str, Any],
    limits: Limits,
) -> None:
    """The first process of the visitor's namespaces: it furnishes them, forks the visitor and waits."""
    os.setsid()
    if room["walled"]:
        if alone:
            linux.mount_empty(BOX, limits.disk)
            linux.mount_empty("/dev/shm", limits.disk // 4)
            linux.mount_empty("/tmp", limits.disk // 4, keep=room["under_tmp"], aside=BOX)
            if room["hide"]:
                linux.mount_empty(room["hide"], 4096)
        linux.refuse_calls()
    visitor = os.fork()
    if visitor == 0:
        try:
            os.close(tell)
            if room["walled"]:
                linux.drop_capabilities()
            os.chdir(folder)
            os.environ.update(HOME=folder, TMPDIR=folder)
            tempfile.tempdir = None
            for output in (1, 2):
                os.dup2(os.open(os.devnull, os.O_WRONLY), output)
            handles += [room["handles"][key] for key in order["shared"]]
            function, given = _ready(order, handles, hide=bool(room["hide"]))
            _limit(limits, alone=alone and room["walled"])
            answer: Callable[..., bytes] = answered
            if order["apart"]:
                function, answer = Prepared(function), _Apart(theirs, limits, alone=alone).answer
            _visit(theirs, functools.partial(answer, function), given)
        finally:
            _exit(0)
    theirs.close()
    for handle in handles:
        os.close(handle)
    while True:
        pid, status, usage = os.wait3(0)
        if pid == visitor:
            os.write(tell, _STATUS.pack(status, usage.ru_utime + usage.ru_stime))
            _exit(0)


def _ready(
    order: dict[str, Any], handles: list[int], *, hide: bool
) -> tuple[Callable[[Any], Any], dict[str, str]]:
    """The visitor's function and its files; what is wrong with them is its answer."""
    try:
        chosen = function_named(order["function"])
        if hide:  # nothing of the grader's can be imported from here on
            for loaded in [n for n in sys.modules if n == "lab5" or n.startswith("lab5.")]:
                del sys.modules[loaded]
        return chosen, _given(order["files"], handles)
    except Exception as error:
        found = error

        def function(request: Any) -> Any:
            raise found

        return function, {}


def _given(files: dict[str, str], handles: list[int]) -> dict[str, str]:
    """The files by the names that the parent calls them: where they are, under the names that they have."""
    if not handles:
        return files
    found = {}
    for (key, name), handle in zip(files.items(), handles, strict=True):
        place = f"{BOX}/given/{key}"
        os.makedirs(place)  # noqa: PTH103
        found[key] = f"{place}/{os.path.basename(name)}"  # noqa: PTH119
        os.symlink(f"/proc/self/fd/{handle}", found[key])  # noqa: PTH211
    return found


def function_named(named: str) -> Callable[[Any], Any]:
    """The function that is called "module:name"."""
    module, name = named.split(":")
    function: Callable[[Any], Any] = getattr(importlib.import_module(module), name)
    return function


def _visit(
    theirs: socket.socket, answer: Callable[[bytes, dict[str, str]], bytes], given: dict[str, str]
) -> None:
    """Answer requests; bound before the first, so that nothing that it patches matters."""
    from_, to, head, end = theirs.recv, theirs.sendall, struct.Struct(">Q"), _exit
    theirs.settimeout(None)
    while True:
        data = b""
        while len(data) < head.size:
            if not (part := from_(head.size - len(data))):
                end(0)
            data += part
        parts, left = [], head.unpack(data)[0]
        while left:
            parts.append(from_(min(left, 1 << 20)))
            left -= len(parts[-1])
        found = answer(b"".join(parts), given)
        to(head.pack(len(found)) + found)


class Prepared:
    """The function that the first request makes, to which nothing is answered; it answers the later ones."""

    def __init__(self, make: Callable[[Any], Callable[[Any], Any]]) -> None:
        self._make = make
        self.made: Callable[[Any], Any] | None = None

    def __call__(self, request: Any) -> Any:
        if self.made:
            return self.made(request)
        self.made = self._make(request)
        return None


class _Apart:
    """Answers each request but the first in a process of its own.

    What is dear and alike for all is done once so, and what one of them does none of the others meets.

    Args:
        keeper: the connection on which the visitor answers, and nobody else.
        alone: this visitor has a process namespace of its own.
    """

    def __init__(self, keeper: socket.socket, limits: Limits, *, alone: bool) -> None:
        self._keeper, self._limits, self._alone = keeper, limits, alone
        if linux.AVAILABLE:
            linux.keep_memory_shut()
            linux.adopt_orphans()

    def answer(self, function: Prepared, request: bytes, given: dict[str, str]) -> bytes:
        if not function.made:
            found = answered(function, request, given)
            _keep_shared()
            return found
        ours, theirs = socket.socketpair()
        folder = tempfile.mkdtemp(dir=os.getcwd())  # noqa: PTH109
        child = os.fork()
        if child == 0:
            try:
                tell, end = functools.partial(send, theirs), _exit
                ours.close()
                self._keeper.close()
                os.chdir(folder)
                os.environ.update(HOME=folder, TMPDIR=folder)
                tempfile.tempdir = None
                tell(answered(function, request, given))
                end(0)
            finally:
                _exit(1)
        theirs.close()
        try:
            return self._answer_of(child, ours)
        finally:
            ours.close()
            self._end_all()
            with contextlib.suppress(RecursionError):
                shutil.rmtree(folder, ignore_errors=True)

    def _answer_of(self, child: int, ours: socket.socket) -> bytes:
        def look() -> None:  # something that it started may hold its end of the connection
            if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                raise EOFError

        try:
            return receive(ours, look=look)
        except (EOFError, OSError):
            ended, error = _end(*self._spent(child), self._limits)
        except ValueError as found:
            ended, error = "crashed", f"its answer is too large ({found})"
        return dumps({"ended": ended, "error": error}).encode()

    def _spent(self, child: int) -> tuple[int, float]:
        """Its status and processor time; it may have closed its connection and still run."""
        for _ in range(20):
            pid, status, usage = os.wait4(child, os.WNOHANG)
            if pid:
                break
            time.sleep(0.01)
        else:
            os.kill(child, signal.SIGKILL)
            _, status, usage = os.wait4(child, 0)
        return status, usage.ru_utime + usage.ru_stime

    def _end_all(self) -> None:
        """Whatever the last request left behind."""
        if self._alone:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                while True:
                    os.waitpid(-1, 0)
        elif linux.AVAILABLE:
            linux.end_descendants()


def _limit(limits: Limits, *, alone: bool) -> None:
    import resource

    wanted: dict[int, tuple[float, float]] = {
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_FSIZE: (limits.file_size, limits.file_size),
    }
    if limits.memory:
        wanted[resource.RLIMIT_AS] = (limits.memory, limits.memory)
    if linux.AVAILABLE:  # at once: the keeper, which adds up, may look too late on a busy machine
        most_data = linux.own_data() + limits.resident
        wanted[resource.RLIMIT_DATA] = (most_data, most_data)
    if limits.seconds < math.inf:  # a signal, then, should that be ignored, the end
        wanted[resource.RLIMIT_CPU] = (math.ceil(limits.seconds), math.ceil(limits.seconds) + 1)
    if alone:  # else those of the whole user count
        wanted[resource.RLIMIT_NPROC] = (256, 256)  # threads, too
        wanted[resource.RLIMIT_NOFILE] = (128, 128)  # sockets hold memory that counts as nobody's
    for kind, pair in wanted.items():
        ceiling = resource.getrlimit(kind)[1]
        most = math.inf if ceiling == resource.RLIM_INFINITY else ceiling
        resource.setrlimit(kind, (int(min(pair[0], most)), int(min(pair[1], most))))
