"""Run a function over jobs in a child process that may hang, crash or lie, and lose nothing else.

The child has limits on time, memory and file size, an empty environment, a folder of its own, and no
network where the system allows it. A job's result is a JSON file, not standard output. A job that ends
the child costs only itself: the rest runs in a fresh one. A child that never came up is no job's doing:
it says that it is ready, and waits for the word to begin.

What a job started ends with it, and all of it with the child, in whatever session it is: on Linux by a
PID namespace or, where there is none to be had, a subreaper that looks for its descendants; elsewhere
what stayed in the child's process group.

``Sandbox.wrap`` is the door for a stronger wall (bubblewrap): it gets the command line and the folder
that the child may write to, and returns the command line to start instead.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import gc
import importlib
import json
import math
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

# Bound here, before any foreign code runs: what a job patches in ``os`` or ``json`` costs nothing.
from os import O_CREAT, O_TRUNC, O_WRONLY, _exit, close, replace, write
from os import open as open_
from pathlib import Path
from typing import Any, Final, Literal

from lab5.errors import SandboxError

_PACKAGES: Final = Path(__file__).resolve().parents[2]
PATIENCE: Final = 5
START: Final = 300  # seconds by the clock for the child's imports; a busy machine takes 30
_MAX_RESULT: Final = 64 << 20  # bytes of one job's result
_STOP: Final = 10  # seconds by the clock to end all processes of a child
_CLONE_NEWUSER, _CLONE_NEWPID, _CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
_PR_SET_CHILD_SUBREAPER: Final = 36


@dataclass(frozen=True)
class Outcome:
    """How a job ended, with what its function returned or the text of what it raised.

    ``late``: the time of all jobs was over before; ``value`` is the index of the one that was running.
    """

    ended: Literal["done", "raised", "timeout", "crashed", "late"]
    value: Any = None
    error: str = ""


def _unwrapped(command: list[str], folder: Path) -> list[str]:
    return command


@dataclass(frozen=True)
class Sandbox:
    """Limits of a child process.

    Args:
        seconds: processor time of a job; it may take ``PATIENCE`` times as long by the clock, so that a
            busy machine makes no hang of what is slow.
        memory: bytes of address space; 0 for no limit.
        file_size: bytes of any file that it writes.
        fork: every job in a process of its own, forked after ``preload`` (POSIX only).
        network: leave the network on.
    """

    seconds: float = 20
    memory: int = 6 << 30
    file_size: int = 256 << 20
    fork: bool = True
    network: bool = False
    preload: tuple[str, ...] = ()
    wrap: Callable[[list[str], Path], list[str]] = field(default=_unwrapped)

    def run(
        self,
        function: str,
        jobs: Sequence[Any],
        folder: Path,
        *,
        until: float = math.inf,
        patience: Sequence[float] | None = None,
    ) -> Iterator[tuple[int, Outcome]]:
        """Yield ``(index, outcome)`` of ``function`` ("module:name") for each job, in order.

        ``function(job)`` gets and returns what JSON can hold, and numpy arrays.

        Args:
            until: when the time of all jobs is over, by ``time.monotonic``.
            patience: seconds by the clock for each job, other than ``PATIENCE`` allows.

        Raises:
            SandboxError: the child does not start; no job has to do with it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        patience = patience or [self.seconds * PATIENCE] * len(jobs)
        at = 0
        while at < len(jobs):
            server = None
            try:
                server = _Server(self, function, jobs, at, folder, until)
                while at < len(jobs) and not server.silent:
                    outcome = server.outcome(at, patience[at])
                    yield at, outcome
                    at += 1
            except _TimeIsOver:
                break
            finally:
                if server is not None:
                    server.stop()
        for index in range(at, len(jobs)):
            yield index, Outcome("late", at)


class _TimeIsOver(Exception):
    """That of all jobs."""


class _Server:
    """The child, working through the jobs from ``start`` on."""

    def __init__(
        self,
        limits: Sandbox,
        function: str,
        jobs: Sequence[Any],
        start: int,
        folder: Path,
        until: float,
    ) -> None:
        self.limits, self.until = limits, until
        self.silent = False  # it is gone or hangs: no further result will come
        # New, for each child: what a job left in another one's place is not met.
        self.folder = Path(tempfile.mkdtemp(prefix="child-", dir=folder))
        request = self.folder / "request.json"
        request.write_text(
            dumps(
                {
                    "function": function,
                    "jobs": list(jobs),
                    "start": start,
                    "preload": limits.preload,
                    "fork": limits.fork and hasattr(os, "fork"),
                    "network": limits.network,
                    "memory": limits.memory,
                    "file_size": limits.file_size,
                    "seconds": limits.seconds,
                }
            ),
            encoding="utf-8",
        )
        command = [sys.executable, "-c", _START_SERVER, str(request)]
        self.errors = (self.folder / "errors.txt").open("w+b")
        try:
            self.process = subprocess.Popen(
                limits.wrap(command, folder),
                cwd=folder,
                env=_environment(folder, foreign=self.limits.fork),
                stdin=subprocess.PIPE,
                stdout=self.errors,
                stderr=self.errors,
                start_new_session=True,
            )
        except OSError as error:
            self.errors.close()
            raise _not_started(str(error)) from error
        try:
            self._begin()
        except BaseException:
            self.stop()
            raise

    def _begin(self) -> None:
        """Wait until the child is up, then let it begin.

        Raises:
            SandboxError: it ended before, or takes too long.
        """
        deadline = time.monotonic() + START
        while not _ready(self.folder).exists():
            if self.process.poll() is not None:
                raise _not_started(self._last_words())
            self._look_at_the_clock()
            if time.monotonic() > deadline:
                raise _not_started(f"{START} s")
            time.sleep(0.002)
        assert self.process.stdin
        self.process.stdin.close()

    def _look_at_the_clock(self) -> None:
        if time.monotonic() > self.until:
            raise _TimeIsOver

    def outcome(self, index: int, patience: float) -> Outcome:
        """Wait for a job's result; a child that is gone or late is that job's doing."""
        deadline = time.monotonic() + patience
        result = _result(self.folder, index)
        pause = 0.002
        while time.monotonic() < deadline:
            gone = self.process.poll() is not None
            if os.path.lexists(result):
                return _read(result)
            if gone:
                self.silent = True
                return Outcome("crashed", error=self._last_words())
            self._look_at_the_clock()
            time.sleep(pause)
            pause = min(pause * 1.5, 0.01)
        self.silent = True
        return Outcome("timeout", error=f"{patience:g} s")

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):  # by the handle: the name may have become anything
            self.errors.seek(max(0, self.errors.seek(0, os.SEEK_END) - 2000))
            if lines := self.errors.read(2000).decode("utf-8", "replace").strip().splitlines():
                return lines[-1][:200]
        return f"exit status {self.process.returncode}"

    def stop(self) -> None:
        """End the child and all that it started; on Linux its supervisor does."""
        if sys.platform.startswith("linux"):
            self._signal(signal.SIGTERM, signal.SIGCONT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_STOP)
        if self.process.poll() is None:
            if hasattr(os, "killpg"):
                self._signal(signal.SIGKILL)
            self.process.kill()
        self.process.wait()
        assert self.process.stdin
        self.process.stdin.close()
        self.errors.close()

    def _signal(self, *signals: int) -> None:
        for one in signals:
            with contextlib.suppress(OSError):
                os.killpg(self.process.pid, one)


# What ``python -P`` does, which Python 3.10 lacks: modules come from PYTHONPATH, never from the folder
# that jobs can write to.
_START_SERVER: Final = "import sys; sys.path = [p for p in sys.path if p]; from lab5.grading.sandbox import serve; serve()"


def _not_started(reason: str) -> SandboxError:
    return SandboxError(
        f"The grader's own process does not start ({reason}). No hand-in is at fault and no check "
        "counts as failed. See that this Python runs lab5: pip install -c constraints.txt -e .",
        zh=f"評分程式自己的程序無法啟動（{reason}），與繳交內容無關，不會判任何檢查未通過。"
        "請確認這個 Python 能執行 lab5：pip install -c constraints.txt -e .",
    )


def _environment(folder: Path, *, foreign: bool) -> dict[str, str]:
    """Nothing of ours: no tokens, no home folder; foreign code leaves no bytecode among ours."""
    kept = ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        **({"PYTHONDONTWRITEBYTECODE": "1"} if foreign else {}),
        "PYTHONPATH": str(_PACKAGES),
        "PYTHONIOENCODING": "utf-8",
        "PYTHONHASHSEED": "0",
        "LANG": "C.UTF-8",
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "OMP_NUM_THREADS": "1",
        # glibc gives the memory of a large array back and asks for it anew each time: 0.2 s a zip
        "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
        "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
        "GRADIO_ANALYTICS_ENABLED": "False",
    }


def _ready(folder: Path) -> Path:
    return folder / "ready"


def _result(folder: Path, index: int) -> Path:
    return folder / f"result-{index}.json"


def _read(path: Path) -> Outcome:
    """A result, whatever the child put in its place: a FIFO or a device would be waited for."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
    try:
        with os.fdopen(os.open(path, flags), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return Outcome("crashed", error="its result is no file")
            data = file.read(_MAX_RESULT + 1)
        if len(data) > _MAX_RESULT:
            return Outcome("crashed", error="its result is too large")
        found = loads(data.decode("utf-8"))
        return Outcome(found["ended"], found.get("value"), str(found.get("error", "")))
    except Exception as error:  # the child may have written anything
        return Outcome("crashed", error=f"its result cannot be read: {type(error).__name__}")


# JSON with numpy arrays


def _pack(value: Any) -> Any:
    import numpy as np

    if isinstance(value, np.generic):
        value = value.item()
        return value if isinstance(value, bool | int | float | str) else repr(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        data = np.ascontiguousarray(value)
        coded = base64.b64encode(data.tobytes()).decode("ascii")
        return {"__array__": coded, "dtype": data.dtype.str, "shape": data.shape}
    return repr(value)[:200]


def _unpack(value: dict[str, Any]) -> Any:
    if "__array__" not in value:
        return value
    import numpy as np

    return np.frombuffer(base64.b64decode(value["__array__"]), np.dtype(value["dtype"])).reshape(
        value["shape"]
    )


dumps: Final = json.JSONEncoder(default=_pack).encode
loads: Final = json.JSONDecoder(object_hook=_unpack).decode


# In the child


def serve() -> None:
    """Do the jobs of the request file named on the command line."""
    _supervise()
    request = Path(sys.argv[1])
    order = loads(request.read_text(encoding="utf-8"))
    folder = request.parent
    if not order["network"]:
        _leave_network()
    for module in order["preload"]:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    gc.freeze()  # what was loaded stays shared with the processes that are forked
    module, name = order["function"].split(":")
    function = getattr(importlib.import_module(module), name)
    if not order["fork"]:
        _limit(order)
    _ready(folder).touch()
    os.read(0, 1)  # ends when the parent has seen it: no job can undo it before
    for index in range(order["start"], len(order["jobs"])):
        job = order["jobs"][index]
        if not order["fork"]:
            _write(folder, index, _do(function, job))
            continue
        _result(folder, index).unlink(missing_ok=True)
        sys.stdout.flush()
        if (child := os.fork()) == 0:
            try:
                _limit(order)
                work = folder / f"work-{index}"
                work.mkdir(exist_ok=True)
                os.chdir(work)
                _write(folder, index, _do(function, job))
            finally:
                _exit(0)
        _, status = os.waitpid(child, 0)
        _end_what_jobs_left()
        if not os.path.lexists(_result(folder, index)):
            code = os.waitstatus_to_exitcode(status)
            late = code == -signal.SIGXCPU
            error = f"signal {-code}" if code < 0 else f"exit status {code}"
            _write(
                folder, index, dumps({"ended": "timeout" if late else "crashed", "error": error})
            )
        shutil.rmtree(folder / f"work-{index}", ignore_errors=True)


def _do(function: Callable[[Any], Any], job: Any) -> str:
    try:
        return dumps({"ended": "done", "value": function(job)})
    except BaseException as error:
        return dumps({"ended": "raised", "error": describe(error)})


def describe(error: BaseException) -> str:
    """A foreign exception in one short line; its own ``__str__`` may fail."""
    try:
        text = " ".join(str(error).split())
    except BaseException:
        text = "?"
    return f"{type(error).__name__}: {text}"[:300]


def _write(folder: Path, index: int, text: str) -> None:
    """Whole or not at all."""
    path = f"{folder}/result-{index}.json"
    handle = open_(f"{path}.part", O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    data = text.encode("utf-8", "replace")
    while data:
        data = data[write(handle, data) :]
    close(handle)
    replace(f"{path}.part", path)  # noqa: PTH105


def _limit(order: dict[str, Any]) -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    limits = {resource.RLIMIT_CORE: (0, 0), resource.RLIMIT_FSIZE: (order["file_size"],) * 2}
    if order["memory"]:
        limits[resource.RLIMIT_AS] = (order["memory"],) * 2
    if order["fork"]:  # a signal, then, should that be ignored, the end
        limits[resource.RLIMIT_CPU] = (math.ceil(order["seconds"]), math.ceil(order["seconds"]) + 2)
    for kind, (soft, hard) in limits.items():
        ceiling = resource.getrlimit(kind)[1]
        if ceiling != resource.RLIM_INFINITY:
            soft, hard = min(soft, ceiling), min(hard, ceiling)
        resource.setrlimit(kind, (soft, hard))


def _leave_network() -> None:
    """A network namespace of its own, empty, where the system gives one."""
    _unshare(_CLONE_NEWNET)


def _unshare(namespace: int) -> bool:
    """A namespace of its own: as root at once, else by a user namespace, else not."""
    with contextlib.suppress(OSError, AttributeError):
        unshare = ctypes.CDLL(None, use_errno=True).unshare
        if unshare(namespace) == 0:
            return True
        user, group = os.getuid(), os.getgid()
        if unshare(_CLONE_NEWUSER | namespace) != 0:
            return False
        with contextlib.suppress(OSError):  # as oneself, or no child could do the same
            Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
            Path("/proc/self/uid_map").write_text(f"{user} {user} 1", encoding="ascii")
            Path("/proc/self/gid_map").write_text(f"{group} {group} 1", encoding="ascii")
        return True
    return False


# The end of all processes, on Linux


class _Ended(Exception):
    """The parent asks to end."""


def _supervise() -> None:
    """Return in a child of this process, which stays behind, and ends with all that came of the child.

    It ends as the child did, or when it is told to by SIGTERM. The first process of a PID namespace
    takes all others in it along.
    """
    if not sys.platform.startswith("linux"):
        return
    _adopt_orphans()
    first = None
    if _unshare(_CLONE_NEWPID):
        alive, hold = os.pipe()
        if (first := os.fork()) == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for orphans
            close(hold)
            os.read(alive, 1)  # ends with the supervisor
            _exit(0)
        close(alive)
    if (child := os.fork()) == 0:
        if first:
            close(hold)
        _adopt_orphans()
        return

    def stop(*_: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise _Ended

    status = 0
    with contextlib.suppress(_Ended):
        signal.signal(signal.SIGTERM, stop)
        status = _wait_for(child)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if first:
        os.kill(first, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.wait()
    else:
        _end_descendants()
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        if -code != signal.SIGKILL:  # which has no handler to reset
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    _exit(code)


def _wait_for(child: int) -> int:
    while (found := os.wait())[0] != child:
        pass
    return found[1]


def _adopt_orphans() -> None:
    """What loses its parent below this process becomes its child."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end_what_jobs_left() -> None:
    if not sys.platform.startswith("linux"):
        return
    if os.getppid() == 0:  # of another PID namespace: all others in this one are jobs'
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
    else:
        _end_descendants()


def _end_descendants() -> None:
    while found := _descendants():
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.001)


def _descendants() -> list[int]:
    """Of this process; none where /proc counts them as another PID namespace does."""
    children: dict[int, list[int]] = {}
    with contextlib.suppress(OSError):
        if str(Path("/proc/self").readlink()) != str(os.getpid()):
            return []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int(file.read_text("utf-8", "replace").rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(file.parent.name))
    found = [os.getpid()]
    for pid in found:
        found += children.get(pid, [])
    return found[1:]
