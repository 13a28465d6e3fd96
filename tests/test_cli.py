"""Every command: exit status, messages in both languages, no traceback, a quick --help."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import lab5
from lab5 import cli, errors
from lab5.__main__ import VERBS
from lab5.__main__ import main as lab5_main

PACKAGE = Path(lab5.__file__).parent
COMMANDS = [f"lab5.{verb}" for verb in VERBS]
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


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "arguments", ["", "--help", "--version", "--completion bash", "package --help"]
)
def test_nor_is_a_pipe_that_nobody_reads(arguments, unbuffered):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write) as closed:
        run = subprocess.run(
            [sys.executable, "-m", "lab5", *arguments.split()],
            stdout=closed,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            timeout=60,
        )
    assert run.stderr == b""
    assert run.returncode in (0, 1)  # 0: argparse of Python 3.12 does not mind


def test_at_a_commands_end_what_was_imported_is_not_walked():
    """Which takes as long as half of the import."""
    program = (
        "import atexit, gc\n"
        "atexit.register(lambda: print(len(gc.get_objects())))\n"  # what is registered first is last
        "from lab5.cli import command\n"
        "command(lambda argv: None)()"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert int(run.stdout) < 1000


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


def test_every_module_of_commands_is_a_verb():
    modules = {path.stem for path in (PACKAGE / "commands").glob("*.py")} - {"__init__"}
    assert set(VERBS) == modules


@pytest.mark.parametrize("verb", VERBS)
def test_help_stands_there_in_both_languages(verb):
    parser = import_module(f"lab5.commands.{verb}").parser()
    said = {one.dest: one.help for one in parser._actions if one.dest != "help"}
    for name, text in {**said, "": parser.description}.items():
        english, chinese = text.split(" / ", 1)
        assert english.isascii(), name
        assert re.search("[\u4e00-\u9fff]", chinese), name


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_lab5_alone_lists_the_verbs(arguments):
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "lab5", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
    )
    assert run.returncode == 0
    for verb, text in VERBS.items():
        assert re.search(rf"^  {verb} +{re.escape(str(text.en))} / {text.zh}$", run.stdout, re.M)
    imported = set(re.findall(r"\| +(\S+)$", run.stderr, re.M))
    assert not any(name.startswith("lab5.commands.") for name in imported)


def test_a_verb_gets_its_own_arguments(capsys):
    assert lab5_main(["data", "--from", "nowhere.bin"]) == 1
    assert "nowhere.bin" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        lab5_main(["pack"])
    assert "usage: lab5 VERB" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_knows_every_verb_and_its_options(capsys, shell):
    assert lab5_main(["--completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(verb in script for verb in VERBS)
    assert "--calibration" in script
    if shell == "bash":
        done = subprocess.run(["bash", "-n"], input=script, text=True, timeout=60)
        assert done.returncode == 0


def test_the_version_is_printed(capsys):
    with pytest.raises(SystemExit, match="0"):
        lab5_main(["--version"])
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", capsys.readouterr().out)


def tree(error, depth=0):
    yield depth, error.__name__
    for child in error.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from tree(child, depth + 1)


def test_the_docstring_draws_the_tree_of_errors():
    lines = [re.match(r"([ │├└─]{4,})([A-Z]\w+)", line) for line in errors.__doc__.splitlines()]
    drawn = [(len(line[1]) // 4 - 1, line[2]) for line in lines if line]
    assert drawn == list(tree(errors.Lab5Error))
