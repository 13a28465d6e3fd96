"""Every command: exit status, messages in both languages, no traceback, a quick --help."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lab5
from lab5 import cli, errors

PACKAGE = Path(lab5.__file__).parent
COMMANDS = sorted(
    f"lab5.{path.stem}"
    for path in PACKAGE.glob("*.py")
    if "\n@command\n" in path.read_text(encoding="utf-8")
)
# Each takes longer to import than --help may take altogether (0.3 s).
HEAVY = {"torch", "onnx", "onnxruntime", "gradio", "rich", "PIL", "nbformat", "typst", "pypdfium2"}


def fails_with(error):
    @cli.command
    def main(argv=None):
        raise error

    return main


def test_success_is_0_and_keeps_the_docstring():
    @cli.command
    def main(argv=None):
        """What it does."""
        assert argv == ["--x"]

    assert main(["--x"]) == 0
    assert main.__doc__ == "What it does."


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.Lab5Error("went wrong", zh="出錯了"), 1),
        (errors.UsageError("went wrong", zh="出錯了"), 2),
        (errors.DataMissing("went wrong", zh="出錯了"), 1),
    ],
)
def test_an_error_is_told_in_both_languages(capsys, error, status):
    assert fails_with(error)() == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "出錯了\nwent wrong\n"


def test_interrupted(capsys):
    assert fails_with(KeyboardInterrupt())() == 130
    assert "Interrupted" in capsys.readouterr().err


def test_a_full_disk_is_told_with_the_file(capsys):
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/full/a.onnx")
    assert fails_with(error)() == 1
    err = capsys.readouterr().err
    assert "No space left on device (/full/a.onnx)" in err
    assert "檔案系統錯誤" in err


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        fails_with(ZeroDivisionError())()


def test_a_reader_that_left_is_no_failure_of_ours():
    program = (
        "import sys\nfrom lab5.cli import command\n"
        "@command\ndef main(argv=None):\n"
        "    for i in range(100_000): print(i)\n"
        "sys.exit(main())"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"0\n"
        process.stdout.close()
        assert process.stderr.read() == b""


def test_the_console_prints_as_rich_does(capsys):
    cli.console.print("[bold]bold[/bold] 12")
    assert capsys.readouterr().out == "bold 12\n"
    cli.errors.print("problem")
    assert capsys.readouterr().err == "problem\n"


def test_progress_says_nothing_where_there_is_no_terminal(capsys):
    with cli.progress() as bar:
        bar.advance(bar.add_task("work", total=2), 2)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.strip() == ""


@pytest.mark.parametrize("module", COMMANDS)
def test_help_is_quick(module):
    """--help needs none of the large packages; what they cost, it would cost."""
    program = (
        "import runpy, sys\n"
        "sys.argv = ['x', '--help']\n"
        "try:\n"
        f"    runpy.run_module({module!r}, run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    assert end.code == 0, end.code\n"
        "print('IMPORTED', *{name.partition('.')[0] for name in sys.modules})"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    text, _, imported = run.stdout.partition("IMPORTED")
    assert "usage:" in text
    assert set(imported.split()) & HEAVY == set()


@pytest.mark.parametrize("module", COMMANDS)
def test_an_unknown_option_is_wrong_usage(module):
    run = subprocess.run(
        [sys.executable, "-m", module, "--no-such-option"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
    )
    assert run.returncode == 2
    assert "Traceback" not in run.stderr


def test_there_are_commands():
    assert {"lab5.data", "lab5.train", "lab5.evaluate"} <= set(COMMANDS)


def tree(error, depth=0):
    yield depth, error.__name__
    for child in error.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from tree(child, depth + 1)


def test_the_docstring_draws_the_tree_of_errors():
    lines = [re.match(r"([ │├└─]{4,})([A-Z]\w+)", line) for line in errors.__doc__.splitlines()]
    drawn = [(len(line[1]) // 4 - 1, line[2]) for line in lines if line]
    assert drawn == list(tree(errors.Lab5Error))
