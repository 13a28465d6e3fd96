"""Run a function over jobs in a child process that may hang, crash or lie, and lose nothing else.

The child has limits on time, memory and file size, an empty environment, a folder of its own, and no
network where the system allows it. A job's result is a JSON file, not standard output. A job that ends
the child costs only itself: the rest runs in a fresh one. A child that never came up is no job's doing:
it says that it is ready, and waits for the word to begin.

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
import subprocess
import sys
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
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000


@dataclass(frozen=True)
class Outcome:
    """How a job ended, with what its function returned or the text of what it raised."""

    ended: Literal["done", "raised", "timeout", "crashed"]
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
        self, function: str, jobs: Sequence[Any], folder: Path
    ) -> Iterator[tuple[int, Outcome]]:
        """Yield ``(index, outcome)`` of ``function`` ("module:name") for each job, in order.

        ``function(job)`` gets and returns what JSON can hold, and numpy arrays.

        Raises:
            SandboxError: the child does not start; no job has to do with it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        at = 0
        while at < len(jobs):
            server = _Server(self, function, jobs, at, folder)
            try:
                while at < len(jobs):
                    outcome = server.outcome(at)
                    yield at, outcome
                    at += 1
                    if server.silent:
                        break
            finally:
                server.stop()


class _Server:
    """The child, working through the jobs from ``start`` on."""

    def __init__(
        self, limits: Sandbox, function: str, jobs: Sequence[Any], start: int, folder: Path
    ) -> None:
        self.limits, self.folder = limits, folder
        self.silent = False  # it is gone or hangs: no further result will come
        request = folder / "request.json"
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
        for index in range(start, len(jobs)):
            _result(folder, index).unlink(missing_ok=True)
        _ready(folder).unlink(missing_ok=True)
        command = [sys.executable, "-c", _START_SERVER, str(request)]
        self.errors = (folder / "errors.txt").open("wb")
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
            if time.monotonic() > deadline:
                raise _not_started(f"{START} s")
            time.sleep(0.002)
        assert self.process.stdin
        self.process.stdin.close()

    def outcome(self, index: int) -> Outcome:
        """Wait for a job's result; a child that is gone or late is that job's doing."""
        deadline = time.monotonic() + self.limits.seconds * PATIENCE
        result = _result(self.folder, index)
        pause = 0.002
        while time.monotonic() < deadline:
            gone = self.process.poll() is not None
            if result.exists():
                return _read(result)
            if gone:
                self.silent = True
                return Outcome("crashed", error=self._last_words())
            time.sleep(pause)
            pause = min(pause * 1.5, 0.01)
        self.silent = True
        return Outcome("timeout", error=f"{self.limits.seconds * PATIENCE:g} s")

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            tail = (self.folder / "errors.txt").read_bytes()[-2000:].decode("utf-8", "replace")
            if lines := tail.strip().splitlines():
                return lines[-1][:200]
        return f"exit status {self.process.returncode}"

    def stop(self) -> None:
        """End the child and all that it started in its session."""
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(self.process.pid, signal.SIGKILL)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        assert self.process.stdin
        self.process.stdin.close()
        self.errors.close()


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
    try:
        if path.is_symlink() or path.stat().st_size > _MAX_RESULT:
            return Outcome("crashed", error="its result is too large")
        found = loads(path.read_text(encoding="utf-8"))
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
        if not _result(folder, index).exists():
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
    """A network namespace of its own, empty; as root at once, else by a user namespace, else not."""
    with contextlib.suppress(OSError, AttributeError):
        unshare = ctypes.CDLL(None, use_errno=True).unshare
        if unshare(_CLONE_NEWNET) != 0:
            unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
