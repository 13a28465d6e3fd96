"""What every command shares: errors without tracebacks, a console, a progress bar, libraries kept quiet."""

from __future__ import annotations

import argparse
import atexit
import contextlib
import functools
import gc
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from lab5 import assignment
from lab5.assignment import CALIBRATIONS, CHECKPOINT, EXAMPLE_ID, TEMPLATE
from lab5.assignment_file import content_of
from lab5.errors import Lab5Error, UsageError
from lab5.text import LANGUAGES, Text, in_a_line, printable

if TYPE_CHECKING:
    from rich.progress import Progress


class _Console:
    """rich's console, made at first use: importing it takes longer than ``--help`` may."""

    def __init__(self, *, stderr: bool = False) -> None:
        self._stderr = stderr

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    @functools.cached_property
    def _real(self) -> Any:
        from rich.console import Console

        return Console(stderr=self._stderr, highlight=False)


console: Any = _Console()
errors: Any = _Console(stderr=True)


class _Assignment(argparse.Action):
    """Begins the command anew under that assignment, which modules read when they are imported."""

    def __call__(self, parser: Any, namespace: Any, path: Any, option: Any = None) -> None:
        if content_of(path) == assignment.CHANGES:
            return
        if not parser.of_command_line:
            raise UsageError(
                f"--assignment {path} comes too late: lab5 is imported. Set {assignment.VARIABLE}={path} "
                "before.",
                zh=f"--assignment {path} 太晚了，lab5 已經載入。請事先設定 {assignment.VARIABLE}={path}。",
            )
        command = [sys.executable, *sys.orig_argv[1:]]
        environment = {**os.environ, assignment.VARIABLE: str(path.resolve())}
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        if sys.platform == "win32":  # whose exec does not wait
            sys.exit(subprocess.call(command, env=environment))
        os.execve(command[0], command, environment)


class Parser(argparse.ArgumentParser):
    """Of a verb's arguments; what it says of them stands there in both languages.

    Every verb has ``--assignment``.
    """

    def __init__(self, verb: str, description: Text) -> None:
        super().__init__(prog=f"lab5 {verb}", description=in_a_line(description))
        self.of_command_line = False
        text = Text(
            "next year's: a TOML file of what differs from lab5/assignment.toml",
            "其他年度的作業：TOML 檔，只寫與 lab5/assignment.toml 不同的部分",
        )
        self.add("--assignment", text, type=Path, metavar="F", action=_Assignment)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        given = sys.argv[1:] if args is None else list(args)
        self.of_command_line = sys.argv[-len(given) :] == given
        return super().parse_args(given, namespace)

    def add(self, name: str, text: Text, *, among: Any = None, **given: Any) -> None:
        """``add_argument`` with ``text`` as its help; ``among``: the group of which one may be given."""
        (among or self).add_argument(name, help=in_a_line(text).replace("%", "%%"), **given)


def add_language(parser: Parser) -> None:
    text = Text(f"of what is said; {LANGUAGES[0]} by default", f"輸出的語言，預設 {LANGUAGES[0]}")
    parser.add("--lang", text, choices=LANGUAGES, default=LANGUAGES[0])


def add_student_id(parser: Parser) -> None:
    parser.add("student_id", Text(f"for example {EXAMPLE_ID}", f"學號，例如 {EXAMPLE_ID}"))


def add_template(parser: Parser) -> None:
    parser.add("--template", Text(f"the notebook, {TEMPLATE}", "notebook 模板"), type=Path)


def add_weights(parser: Parser) -> None:
    parser.add("--weights", Text(f"the checkpoint, {CHECKPOINT}", "權重檔"), type=Path)


HANDED_OUT_TEMPLATE: Final = Text("the handed-out notebook", "老師提供的 notebook")
HANDED_OUT_WEIGHTS: Final = Text(f"the handed-out {CHECKPOINT}", "老師提供的權重檔")


def add_calibration(parser: Parser) -> None:
    """The option ``--calibration`` of the commands that quantise."""
    text = Text(
        "random (the handed-out reader's images, default), synthetic (finer: images made from the "
        "weights, and refined scales), cifar10, or a folder of pictures",
        "校準資料：random（講義的亂數影像，預設）、synthetic（由權重合成的影像，較準）、cifar10，或圖片資料夾",
    )
    parser.add("--calibration", text, default=CALIBRATIONS[0])


def add_data(parser: Parser) -> None:
    """The option ``--data`` of the commands that use the data set."""
    text = Text(
        "a copy of CIFAR-10, or a folder <class>/<name>.png; otherwise the cache",
        "CIFAR-10 的副本，或含有 <類別>/<名稱>.png 的資料夾，預設用快取",
    )
    parser.add("--data", text, type=Path)


def add_figures(parser: Parser) -> None:
    """The option ``--json`` of the commands that measure."""
    text = Text("also write the figures there", "另存數據為 JSON")
    parser.add("--json", text, type=Path, metavar="F")


def add_images(parser: Parser, default: int | None = None) -> None:
    """The option ``--images`` of the commands that look at test images; all of them by default."""
    shown = Text(f"; {default} by default", f"，預設 {default}") if default else Text()
    text = Text(f"only the first so many{shown.en}", f"只用前幾張測試影像{shown.zh}")
    parser.add("--images", text, type=int, default=default)


def at_least(args: argparse.Namespace, **least: int) -> None:
    """
    Raises:
        UsageError: one of these options has a value below its least.
    """
    for name, lowest in least.items():
        value = getattr(args, name)
        if value is not None and value < lowest:
            raise UsageError(
                f"--{name} {value} is below {lowest}: give at least {lowest}.",
                zh=f"--{name} {value} 小於 {lowest}，至少要是 {lowest}。",
            )


def add_submission(parser: Parser) -> None:
    """The option ``--submission`` of the commands that write the report."""
    text = Text(
        "your own folder: reflection.md, screenshots/",
        "你自己的資料夾：reflection.md 與 screenshots/",
    )
    parser.add("--submission", text, type=Path)


RunCode = Literal["walled", "unsafe", "never"]
RUN_CODE: Final[tuple[RunCode, ...]] = get_args(RunCode)  # the default first


def add_run_code(parser: Parser) -> None:
    """The options ``--run-code`` and ``--static`` of the commands that run a hand-in's code."""
    text = Text(
        "how its code is run: behind a wall (bubblewrap), without one, or never",
        "如何執行其程式：隔離（bubblewrap）、不隔離，或不執行",
    )
    parser.add("--run-code", text, choices=RUN_CODE, default=RUN_CODE[0])
    text = Text("the same as --run-code never", "同 --run-code never")
    parser.add("--static", text, dest="run_code", action="store_const", const="never")


def own_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("lab5")
    except PackageNotFoundError:  # run from a checkout
        return "unknown"


def submission_folder(given: Path | None) -> Path | None:
    """``given``; without it ``submission/`` here, if it is there.

    Raises:
        UsageError: what is given is no folder.
    """
    if given is None:
        return Path("submission") if Path("submission").is_dir() else None
    if not given.is_dir():
        raise UsageError(
            f"--submission {given} is no folder. It holds your reflection.md and screenshots/.",
            zh=f"--submission {given} 不是資料夾。裡面應有你的 reflection.md 與 screenshots/。",
        )
    return given


def shown(text: str) -> str:
    """Foreign words as rich prints them, no markup of their own in effect."""
    from rich.markup import escape

    return escape(printable(text))


def progress() -> Progress:
    """A progress bar on the error stream, for bytes or steps; silent when that is no terminal.

    What is printed meanwhile goes where it always goes, above the bar where that is the terminal.
    """
    from rich.progress import Progress

    return Progress(
        console=errors._real,
        transient=True,
        disable=not errors.is_terminal,  # else rich writes an empty line
        redirect_stdout=sys.stdout.isatty(),
    )


@contextlib.contextmanager
def without_advice() -> Iterator[None]:
    """Without what libraries log beside their work: to pre-process, which folds nothing here; that there is
    no torchvision.
    """
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM unwinds like Ctrl-C, so that temporary files go either way."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def command(main: Callable[[list[str] | None], None]) -> Callable[..., int]:
    """Turn a ``main`` that raises into one that returns an exit status.

    0 done, 1 failed, 2 wrong usage, 130 interrupted.
    """

    @functools.wraps(main)
    def run(argv: list[str] | None = None) -> int:
        # What is imported stays and need not be walked again: Gradio's import 2.1 -> 1.7 s.
        gc.set_threshold(50_000, 20, 20)
        atexit.unregister(gc.freeze)  # of a call before, in the same process
        atexit.register(gc.freeze)  # … nor at the end: PyTorch 0.15 s, with Gradio 0.45
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(encoding="utf-8", errors="replace")
        try:
            with _terminated_as_interrupted():
                try:
                    main(argv)
                except SystemExit:  # argparse's, after --help
                    sys.stdout.flush()
                    raise
            sys.stdout.flush()
        except Lab5Error as error:
            print(error, file=sys.stderr)
            return error.exit_code
        except KeyboardInterrupt:
            what = Text("Interrupted; nothing was left half done.", "已中斷，未留下半成品。")
            print(what, file=sys.stderr)
            return 130
        except BrokenPipeError:  # whoever read the output has seen enough, as in `… | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            reason = error.strerror or str(error)
            what = Text(
                f"The file system refused: {reason}{where}. "
                "Free some space or choose another folder, then run it again.",
                f"檔案系統錯誤：{reason}{where}",
            )
            print(what, file=sys.stderr)
            return 1
        return 0

    return run
