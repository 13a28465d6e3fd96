"""A room as its owner sees it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Literal

from lab5 import assignment
from lab5.errors import SandboxError
from lab5.files import temporary_folder
from lab5.grading.sandbox import wall
from lab5.grading.sandbox.keeper import BOX, KEEPERS, OWN, Limits, Prepared, function_named
from lab5.grading.sandbox.messages import MOST, answered, dumps, loads, receive, send

START: Final = 300  # seconds by the clock for a room's imports; a busy machine takes 30
_GRACE: Final = 5  # seconds by the clock for the keeper to say that time is over
_STOP: Final = 10  # … to end
_ENDED: Final = ("done", "raised", "timeout", "crashed")
# What ``python -P`` does, which Python 3.10 lacks: modules come from PYTHONPATH, never from a folder.
SERVE: Final = (
    "import sys; sys.path = [p for p in sys.path if p]; "
    "from lab5.grading.sandbox.keeper import serve; serve()"
)
FORKS: Final = hasattr(os, "fork")


@dataclass(frozen=True)
class Outcome:
    """How a request ended: with ``value``, what the function returned, or ``error``, what it raised.

    ``late``: the time of all was over before; ``value`` names what was running then.
    """

    ended: Literal["done", "raised", "timeout", "crashed", "late"]
    value: Any = None
    error: str = ""

    @classmethod
    def read(cls, text: str, late: str = "") -> Outcome:
        """Of what a visitor wrote, which may be anything; ``late``: what ran when the time was over."""
        if late:
            return cls("late", late)
        try:
            found = loads(text)
            if found["ended"] not in _ENDED:
                raise ValueError(str(found["ended"])[:20])
            return cls(found["ended"], found.get("value"), str(found.get("error", ""))[:300])
        except Exception as error:
            return cls("crashed", error=f"its answer cannot be read: {type(error).__name__}")


@dataclass(frozen=True)
class Shared:
    """What a walled room makes once for all of its visitors, by ``function`` ("module:name").

    It gets ``request``, and the paths of ``files``; these are the same bytes for each visitor.
    """

    function: str
    request: dict[str, Any]
    files: Mapping[str, Path] = field(default_factory=dict)


class Room:
    """A process that imports ``preload`` once; each visit runs in a process forked from it.

    Args:
        walled: behind bubblewrap: no network, no file but the interpreter's and its libraries'.
        only: the files of this package that can be seen there, and by the visitors not even those.
        shared: made once; it holds nothing of a hand-in's.

    Raises:
        SandboxError: it does not start; no hand-in has to do with it. Told by the first visit.
        NoWallError: … because there is no wall here. Told by the constructor if nothing can be tried.
    """

    def __init__(
        self,
        preload: Collection[str] = (),
        *,
        walled: bool = False,
        only: Collection[Path] | None = None,
        shared: Shared | None = None,
    ) -> None:
        self._shared = shared if walled else None
        self._order = {
            "preload": list(preload),
            "walled": walled,
            "hide": str(wall.PACKAGE) if only is not None else "",
            "under_tmp": wall.under_tmp() if walled else [],
            "shared": self._shared
            and {
                "function": self._shared.function,
                "request": self._shared.request,
                "files": list(self._shared.files),
            },
        }
        self.walled, self._only = walled, only
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._errors: IO[bytes] | None = None
        self._ready = False
        self._ended = False
        self._visits: weakref.WeakSet[Visit] = weakref.WeakSet()
        self.alone = True  # visitors are apart from each other and from the room
        if FORKS:
            self._start()

    def _start(self) -> None:
        command = [sys.executable, "-c", SERVE]
        environment = _environment(self.walled)
        if self.walled:
            command = wall.around(command, environment, self._only)
            environment = {}  # bubblewrap's own can be read in /proc
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._control, theirs = socket.socketpair()
        try:
            self._process = subprocess.Popen(
                command,
                cwd="/",
                env=environment,
                stdin=theirs.fileno(),
                stdout=self._errors,
                stderr=self._errors,
                start_new_session=True,
            )
        except OSError as error:
            self.close()
            raise self._not_started(str(error)) from error
        finally:
            theirs.close()
        self._ready = False
        try:
            send(self._control, json.dumps(self._order).encode())
            if self._shared:
                self._hand_over(self._shared.files.values())
        except OSError:  # it ended at once, whose words wait() reads, or a file is gone
            with contextlib.suppress(OSError):
                self._control.shutdown(socket.SHUT_WR)

    def _hand_over(self, files: Iterable[str | Path], *first: int) -> None:
        """Handles: ``first``, and those of files, sealed."""
        assert self._control
        with contextlib.ExitStack() as opened:
            handles = [opened.enter_context(_sealed(path)).fileno() for path in files]
            socket.send_fds(self._control, [b"+"], [*first, *handles])

    def wait(self) -> None:
        """Until it is ready for visits.

        Raises:
            SandboxError, NoWallError
        """
        if self._ready or not FORKS:
            return
        try:
            assert self._control
            found = json.loads(receive(self._control, most=1000, until=time.monotonic() + START))
            self.alone = found["alone"] or not self.walled
            self._ready = True
        except (EOFError, TimeoutError, ValueError, KeyError) as error:
            reason = self._last_words() or type(error).__name__
            self.close()
            raise self._not_started(reason) from error

    def _not_started(self, reason: str) -> SandboxError:
        if self.walled and "bwrap" in reason:
            return wall.no_wall(reason)
        return SandboxError(
            f"The grader's own process does not start ({reason}). No hand-in is at fault and no check "
            "counts as failed. See that this Python runs lab5: pip install -c constraints.txt -e .",
            zh=f"評分程式自己的程序無法啟動（{reason}），與繳交內容無關，不會判任何檢查未通過。"
            "請確認這個 Python 能執行 lab5：pip install -c constraints.txt -e .",
        )

    def _last_words(self) -> str:
        assert self._process
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        assert self._errors
        self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - 2000))
        lines = self._errors.read(2000).decode("utf-8", "replace").strip().splitlines()
        return lines[-1][:200] if lines else f"exit status {self._process.returncode}"

    def visit(
        self,
        function: str,
        *,
        files: Mapping[str, str | Path] | None = None,
        limits: Limits | None = None,
        apart: bool = False,
    ) -> Visit:
        """Let a visitor in, that answers with ``function`` ("module:name").

        ``function(request)`` gets and returns what JSON can hold, and numpy arrays.

        Args:
            files: what it may read, by names under which the requests have their paths.
            apart: the first request, to which nothing is answered, makes ``function`` return another
                function; each later one is answered by that in a process forked where the first left
                off, which ends with its answer. (Where nothing can be forked, in the same one.)

        Raises:
            SandboxError: the room does not start.
        """
        paths = {key: os.fspath(path) for key, path in (files or {}).items()}
        limits = limits or Limits()
        if self._ended:
            raise self._not_started("it was ended")
        if not FORKS:
            return self._let_in(_Spawned(function, paths, apart))
        for attempt in (1, 2):
            if self._process is None or self._process.poll() is not None:
                self.renew()
            self.wait()
            try:
                return self._let_in(Visit(self._enter(function, paths, limits, apart)))
            except OSError:
                if attempt == 2:
                    raise self._not_started(self._last_words()) from None
                self.renew()
        raise AssertionError

    def _let_in(self, visit: Visit) -> Visit:
        self._visits.add(visit)
        return visit

    def _enter(
        self, function: str, files: dict[str, str], limits: Limits, apart: bool
    ) -> socket.socket:
        ours, theirs = socket.socketpair()
        has = self._shared.files if self._shared else {}
        shared = [key for key, path in files.items() if key in has and path == os.fspath(has[key])]
        own = [key for key in files if key not in shared]
        order = {
            "function": function,
            "limits": dataclasses.asdict(limits),
            "files": {key: files[key] for key in (*own, *shared)},
            "shared": shared,
            "apart": apart,
        }
        with theirs:
            try:
                handed = [files[key] for key in own] if self.walled else []
                self._hand_over(handed, theirs.fileno())
                send(ours, dumps(order).encode("utf-8", "surrogateescape"))
            except OSError:
                ours.close()
                raise
        return ours

    def renew(self) -> None:
        """The same anew: what the last visitors may have done to it is gone with it."""
        self.close()
        if FORKS:
            self._start()

    def end(self) -> None:
        """From another thread: whoever waits for it waits no more, and nobody is let in again."""
        self._ended = True
        for visit in list(self._visits):
            visit.hang_up()
        if self._control is not None:
            with contextlib.suppress(OSError):
                self._control.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End it and whoever is in it."""
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            try:
                self._process.wait(_STOP if self._ready else 0.01)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._errors is not None:
            self._errors.close()

    def __enter__(self) -> Room:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _sealed(path: str | Path) -> IO[bytes]:
    """The file's bytes, which nobody can change.

    Raises:
        FileNotFoundError: it is no file any more.
    """
    import fcntl

    with Path(path).open("rb") as source:
        copy = os.fdopen(os.memfd_create("given", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC), "w+b")
        left = os.fstat(source.fileno()).st_size
        while left and (done := os.sendfile(copy.fileno(), source.fileno(), None, left)):
            left -= done
    fcntl.fcntl(
        copy.fileno(),
        fcntl.F_ADD_SEALS,
        fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK,
    )
    return copy


class Visit:
    """A visitor, as one asks it; ``gone`` once it answers no more."""

    gone = False

    def __init__(self, keeper: socket.socket) -> None:
        self._keeper = keeper

    def ask(self, request: Any, seconds: float = math.inf) -> Outcome:
        """What it answers within ``seconds`` by the clock; after anything but an answer it is gone."""
        return Outcome.read(self.ask_raw(request, seconds))

    def ask_raw(self, request: Any, seconds: float = math.inf) -> str:
        """The same as it is written, unread: for those who only pass it on."""
        seconds = min(seconds, 1e6)
        data = f"{seconds:g}\n{dumps(request)}".encode("utf-8", "surrogatepass")
        until = time.monotonic() + seconds + _GRACE
        try:
            send(self._keeper, data, until=until)
            answer = receive(self._keeper, most=MOST + 1, until=until)
            self.gone = answer[:1] != OWN
            if answer[:1] in (OWN, KEEPERS):
                return answer[1:].decode("utf-8", "replace")
            error = "no answer"
        except TimeoutError:
            self.gone = True
            return dumps({"ended": "timeout", "error": f"{seconds:g} s"})
        except (EOFError, OSError, ValueError) as found:
            self.gone = True
            error = type(found).__name__
        return dumps({"ended": "crashed", "error": f"its keeper is gone ({error})"})

    def hang_up(self) -> None:
        """From another thread: whoever waits for its answer waits no more."""
        with contextlib.suppress(OSError):
            self._keeper.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End it, and all that it started."""
        with self._keeper, contextlib.suppress(OSError):
            self._keeper.shutdown(socket.SHUT_WR)
            self._keeper.settimeout(_GRACE)
            while self._keeper.recv(1 << 20):
                pass

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Spawned(Visit):
    """Where nothing can be forked: a process of its own, without limits."""

    def __init__(self, function: str, files: dict[str, str], apart: bool) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_answer_alone, args=(theirs, function, files, apart), daemon=True
        )
        self._process.start()
        theirs.close()

    def ask_raw(self, request: Any, seconds: float = math.inf) -> str:
        try:
            self._connection.send_bytes(dumps(request).encode("utf-8", "surrogatepass"))
            if self._connection.poll(min(seconds, 1e6) + START):
                return self._connection.recv_bytes(MOST).decode("utf-8", "replace")
            return dumps({"ended": "timeout", "error": f"{seconds:g} s"})
        except (EOFError, OSError):
            self._process.join(1)
            return dumps({"ended": "crashed", "error": f"exit status {self._process.exitcode}"})

    def hang_up(self) -> None:
        self._process.kill()

    def close(self) -> None:
        self._process.kill()
        self._process.join()
        self._connection.close()


def _answer_alone(connection: Any, named: str, files: dict[str, str], apart: bool) -> None:
    function = function_named(named)
    if apart:
        function = Prepared(function)
    with temporary_folder() as folder:
        os.chdir(folder)
        with contextlib.suppress(EOFError):
            while True:
                connection.send_bytes(answered(function, connection.recv_bytes(), files))
        os.chdir(folder.parent)


def _environment(walled: bool) -> dict[str, str]:
    """Nothing of ours but the assignment: no tokens, no home folder; foreign code leaves no bytecode
    among ours.
    """
    kept = ("LD_LIBRARY_PATH",) if walled else ("PATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        **assignment.environment(),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join(map(str, (wall.PACKAGE.parent, *wall.libraries()))),
        "PYTHONIOENCODING": "utf-8",
        "PYTHONHASHSEED": "0",
        "LANG": "C.UTF-8",
        "HOME": BOX if walled else tempfile.gettempdir(),
        "TMPDIR": BOX if walled else tempfile.gettempdir(),
        "OMP_NUM_THREADS": "1",
        # glibc gives the memory of a large array back and asks for it anew each time: 0.2 s a zip
        "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
        "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
        # … and a fork of 175 MB takes 15 to 20 ms where the heap has huge pages, 24 to 38 where not
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
        "GRADIO_ANALYTICS_ENABLED": "False",
        "ORT_DISABLE_TELEMETRY": "1",
    }
