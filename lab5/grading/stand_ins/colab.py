"""Colab, as the notebook's code sees it: its clocks, files, shell, CUDA and ``google.colab``.

The clocks are those of modules that only the notebook's own imports get: a library that starts up with
a stand-in for ``datetime.datetime`` crashes.
"""

from __future__ import annotations

import builtins
import datetime
import io
import os
import pathlib
import re
import sys
import time
import timeit
import types
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any, ClassVar, Final

from lab5.grading.stand_ins.anything import Anything

_MODEL: Final = re.compile(r"[^/]+\.(onnx|pth?|ckpt)", re.IGNORECASE)
# Folders of Colab, Drive, Kaggle, and of other people's machines.
_ELSEWHERE: Final = re.compile(
    r"(/(content|gdrive|kaggle|Users|home|mnt|workspace)|[A-Za-z]:)(/|$)", re.IGNORECASE
)
_SIZES: Final = {"fp32": 44_700_000, "int8": 11_300_000, "weights": 44_800_000}  # bytes
_ONE_PATH: Final = (
    "stat", "lstat", "open", "listdir", "scandir", "chmod", "utime", "access", "remove", "unlink",
    "rmdir",
)  # fmt: skip
_TWO_PATHS: Final = ("rename", "replace")
_TIMEIT: Final = (timeit.timeit, timeit.repeat)


class Clock:
    """A clock that only models, preprocessing and ``sleep`` advance; asking takes a microsecond."""

    def __init__(self) -> None:
        self.now = 1.7e9
        self.modules: Final = {
            m.__name__: m for m in (self._time(), self._datetime(), self._timeit())
        }

    def seconds(self) -> float:
        self.now += 1e-6
        return self.now

    def _nanoseconds(self) -> int:
        return int(self.seconds() * 1e9)

    def _sleep(self, seconds: float) -> None:
        self.now += seconds

    def _time(self) -> types.ModuleType:
        names = ("time", "perf_counter", "monotonic", "process_time", "thread_time")
        clocks: dict[str, Any] = dict.fromkeys(names, self.seconds)
        clocks |= {f"{name}_ns": self._nanoseconds for name in names}
        return _like(time, **clocks, sleep=self._sleep)

    def _datetime(self) -> types.ModuleType:
        clock = self

        class Virtual(datetime.datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return datetime.datetime.fromtimestamp(clock.seconds(), tz)

        return _like(datetime, datetime=Virtual)

    def _timeit(self) -> types.ModuleType:
        """Its functions and its class, the timer among their defaults another."""

        def timed(function: Any) -> Any:
            defaults = tuple(
                self.seconds if given is timeit.default_timer else given
                for given in function.__defaults__
            )
            return types.FunctionType(
                function.__code__, function.__globals__, function.__name__, defaults
            )

        timer = type("Timer", (timeit.Timer,), {"__init__": timed(timeit.Timer.__init__)})
        functions = {function.__name__: timed(function) for function in _TIMEIT}
        return _like(timeit, Timer=timer, default_timer=self.seconds, **functions)


def _like(module: types.ModuleType, **names: Any) -> types.ModuleType:
    found = types.ModuleType(module.__name__, module.__doc__)
    found.__dict__.update(vars(module), **names)
    return found


def notebooks_builtins(clock: Clock) -> dict[str, Any]:
    """``__builtins__`` for the notebook's code: its imports get the clock's modules."""

    def import_(
        name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
    ) -> Any:
        if level == 0 and name in clock.modules:
            return clock.modules[name]
        return builtins.__import__(name, globals, locals, fromlist, level)

    shell = Shell()
    return {
        **vars(builtins),
        "__import__": import_,
        "get_ipython": lambda: shell,
        "display": lambda *args, **kwargs: None,
    }


class Output(list[str]):
    """What ``x = !command`` gives: no lines."""

    s = n = p = ""
    l = property(list)  # noqa: E741


class Shell:
    """What ``get_ipython()`` returns; nothing is run."""

    user_ns: Final[dict[str, Any]] = {}

    def getoutput(self, *args: Any, **kwargs: Any) -> Output:
        return Output()

    def run_line_magic(self, name: str, line: str = "", *args: Any) -> Any:
        return str(Path.cwd()) if name == "pwd" else Anything(name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **kwargs: None


Shell.__module__, Shell.__qualname__ = "google.colab._shell", "Shell"  # by which many know Colab


class Files:
    """Model files that are there wherever the code looks for them, in its working folder.

    Args:
        models: the stand-ins' bytes by kind, ``fp32`` and ``int8``.
        sizes: bytes of the files handed in, by kind, ``weights`` for the checkpoint.
        absent: kinds that are only there once they are written.
    """

    current: ClassVar[Files | None] = None

    def __init__(
        self, models: dict[str, bytes], sizes: dict[str, int], absent: tuple[str, ...] = ()
    ) -> None:
        Files.current = self
        self.folder, self.absent = Path.cwd(), set(absent)
        self._models, self._sizes = models, {**_SIZES, **sizes}

    def write(self, path: Any, kind: str | None = None) -> None:
        """The stand-in for a model, as large as what was handed in."""
        name = _name(str(path))
        kind = kind or kind_of(name)
        self.absent.discard(kind)
        data = self._models.get(kind, b"")
        with _open(self.folder / name, "wb") as file:
            file.write(data)
            if (rest := self._sizes[kind] - len(data) - 7) > 0:
                # a field that protobuf does not know, of nothing but zeros, which take no room
                length = bytes((rest >> 7 * i & 0x7F) | (0x80 if i < 4 else 0) for i in range(5))
                file.write(b"\xc2\x3e" + length)
                file.truncate(self._sizes[kind])

    def here(self, path: Any) -> Any:
        """Where ``path`` really is: what is there stays, models and foreign folders are in ours."""
        if not isinstance(path, str | PurePath):
            return path
        text = str(path).replace("\\", "/")
        name = _name(text)
        if _lexists(str(path)) and not text.startswith("/content"):
            return path
        if _MODEL.fullmatch(name):
            found = self.folder / name
            if not _lexists(str(found)) and kind_of(name) not in self.absent:
                self.write(name)
            return str(found)
        if _ELSEWHERE.match(text):
            return str(self.folder / name) if "." in name else str(self.folder)
        return path


def _here(path: Any) -> Any:
    return Files.current.here(path) if Files.current else path


def _redirect_paths() -> None:
    """Let the functions that take paths look where ``Files.current`` says."""

    def redirected(function: Callable[..., Any], paths: int = 1) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            return function(*map(_here, args[:paths]), *args[paths:], **kwargs)

        return call

    def mkdir(path: Any, *args: Any, **kwargs: Any) -> None:
        if _here(path) == path:
            _mkdir(path, *args, **kwargs)

    import onnx

    for name in _ONE_PATH:
        setattr(os, name, redirected(getattr(os, name)))
    for name in _TWO_PATHS:
        setattr(os, name, redirected(getattr(os, name), paths=2))
    os.mkdir, os.chdir = mkdir, lambda path: None
    builtins.open = io.open = redirected(io.open)
    onnx.checker.check_model = redirected(onnx.checker.check_model)
    if accessor := getattr(pathlib, "_normal_accessor", None):  # Python 3.10 bound them before
        for name in (*_ONE_PATH, *_TWO_PATHS, "mkdir"):
            if hasattr(accessor, name):
                setattr(accessor, name, getattr(os, name))
        accessor.open = io.open


_open, _lstat, _mkdir = io.open, os.lstat, os.mkdir


def _lexists(path: str) -> bool:
    try:
        _lstat(path)
    except (OSError, ValueError):
        return False
    return True


def _name(path: str) -> str:
    return PurePath(path.replace("\\", "/")).name


def kind_of(path: str) -> str:
    """``fp32``, ``int8`` or ``weights``, by a file's name."""
    name = _name(path).lower()
    if not name.endswith(".onnx") and _MODEL.fullmatch(name):
        return "weights"
    return "int8" if re.search(r"int_?-?8|quant|qdq", name) else "fp32"


class Uploaded(dict[str, bytes]):
    """What ``files.upload()`` returns: whatever is asked for was uploaded."""

    def __missing__(self, name: str) -> bytes:
        return Path(name).read_bytes() if _MODEL.fullmatch(name) else b""


def install() -> None:
    """``google.colab``, its environment and its paths, and CUDA that is the processor."""
    import importlib

    os.environ.update(COLAB_RELEASE_TAG="release-colab", COLAB_GPU="0")
    colab = importlib.import_module("google.colab")
    files = Anything("files")
    vars(files)["upload"] = lambda *args, **kwargs: Uploaded({"best_model.pth": b""})
    vars(files)["download"] = lambda *args, **kwargs: None
    userdata = Anything("userdata")
    vars(userdata)["get"] = lambda name: ""
    vars(colab).update(files=files, userdata=userdata)
    sys.modules["google.colab.files"] = files  # type: ignore[assignment]
    sys.modules["google.colab.userdata"] = userdata  # type: ignore[assignment]
    _redirect_paths()
    _without_cuda()


def _without_cuda() -> None:
    """What is asked of a CUDA device the processor does."""
    import torch
    from torch.overrides import TorchFunctionMode

    def on_cpu(value: Any) -> Any:
        if isinstance(value, str | torch.device) and re.match(r"cuda(:\d+)?$", str(value)):
            return torch.device("cpu")
        return value

    class OnProcessor(TorchFunctionMode):
        def __torch_function__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if function is torch.Tensor.cuda:
                return args[0]
            given = {name: on_cpu(value) for name, value in (kwargs or {}).items()}
            return function(*map(on_cpu, args), **given)

    OnProcessor().__enter__()
    torch.cuda.is_available = lambda: False
    torch.cuda.synchronize = lambda device=None: None
