"""Both READMEs name what there is: their commands run, their links lead somewhere."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.request
import zipfile
from importlib import import_module
from pathlib import Path

import pytest

from lab5.__main__ import VERBS
from tests.classroom import download, students, worksheet
from tests.conftest import FIXTURES

ROOT = Path(__file__).parent.parent
READMES = ("README.md", "README.zh-TW.md")
SERVES = "lab5 app"  # until Ctrl-C
WHEEL = "lab5-*.whl"
CLONES = {".", ".[test]"}  # what only a clone has
CLASS = students({"comparison-fails": 1, "good": 1})


def text_of(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def blocks(name: str) -> list[list[str]]:
    """Its blocks of commands, a command a line."""
    found = re.findall(r"```bash\n(.*?)```", text_of(name), re.DOTALL)
    return [block.replace("\\\n", " ").splitlines() for block in found]


def commands(name: str) -> list[list[str]]:
    """What stands in its blocks, as words, comments left out."""
    return [shlex.split(line, comments=True) for block in blocks(name) for line in block]


def words(block: list[str]) -> set[str]:
    return {word for line in block for word in shlex.split(line, comments=True)}


def test_both_have_the_same_commands():
    assert commands(READMES[0]) == commands(READMES[1])


@pytest.mark.parametrize("name", READMES)
def test_every_command_can_be_understood(name):
    found = [command for command in commands(name) if command[0] == "lab5"]
    assert {verb for _, verb, *_ in found} >= {"package", "app", "grade", "diagnose"}
    for _, verb, *arguments in found:
        import_module(f"lab5.commands.{verb}").parser().parse_args(arguments)


@pytest.mark.parametrize("name", READMES)
def test_every_verb_is_named(name):
    assert set(re.findall(r"`lab5 ([a-z]+)", text_of(name))) == set(VERBS)


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "SECURITY.md", *READMES])
def test_every_link_leads_to_a_file(name):
    links = re.findall(r"\]\(([^)#:]+)\)", text_of(name))
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.slow(first=True)
def test_every_block_runs_in_a_clean_environment(tmp_path, good_files):
    """Word for word and in order: in a fresh clone with a new virtual environment, then with its wheel
    in the clone's place in an empty folder.

    But that of ``pytest`` the tests are only collected: CI runs that command as it stands.
    """
    clone, empty, venv = tmp_path / "clone", tmp_path / "empty", tmp_path / "venv"
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    kept = subprocess.check_output([venv / "bin/pip", "cache", "dir"], text=True).strip()
    ours = ("PYTHON", "PYTEST", "LAB5", "COV")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(ours)},
        "PATH": f"{venv / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),  # nothing that lab5 kept before
        "PIP_CACHE_DIR": kept,
        "PIP_NO_COMPILE": "0",  # so pip has it: compile nothing; Python does what is imported
        "PYTEST_ADDOPTS": "--collect-only -q --assert=plain",
        "PYTHONUNBUFFERED": "1",
    }
    (tmp_path / "class").mkdir()
    given = readers_files(tmp_path / "class", good_files)
    every = blocks(READMES[0])
    follow([block for block in every if WHEEL not in words(block)], clone, environment, given)

    print(done("pip uninstall -y lab5", tmp_path, environment))
    (wheel,) = (clone / "dist").glob(WHEEL)
    with zipfile.ZipFile(wheel) as packed:
        members = packed.infolist()
    unpacked = sum(member.file_size for member in members)
    print(f"{wheel.name}: {wheel.stat().st_size:,} bytes, {unpacked:,} unpacked")
    info = wheel.name.replace("-py3-none-any.whl", ".dist-info")
    assert {member.filename.split("/")[0] for member in members} == {"lab5", info}
    empty.mkdir()
    shutil.copy(wheel, empty)
    follow([block for block in every if not words(block) & CLONES], empty, environment, given)


def follow(
    found: list[list[str]], folder: Path, environment: dict[str, str], given: dict[str, Path]
) -> None:
    """Run blocks in a folder, each with those of the reader's files that it names."""
    for block in found:
        for name in given.keys() & words(block):
            shutil.copyfile(given[name], folder / name)
        for line in block:
            run = served if line.startswith(SERVES) else done
            print(line, run(line, folder, environment), sep="\n")
    for name in ("grades/worksheet.csv", "feedback.zip", "class.csv", "pages/index.html"):
        assert (folder / name).is_file(), name
    everybody = (folder / "class.csv").read_text("utf-8-sig")
    assert all(one.id in everybody for one in CLASS)


def readers_files(folder: Path, good_files: dict[str, bytes]) -> dict[str, Path]:
    """What the commands name and a reader has."""
    handed_in = download(CLASS, good_files, folder)
    mine = folder / "my_lab5.zip"
    mine.write_bytes(next(content() for content, _ in handed_in.files.values()))
    (folder / "worksheet.csv").write_bytes(worksheet(CLASS))
    found = [mine, handed_in.zip(folder / "submissions.zip"), folder / "worksheet.csv"]
    found += [FIXTURES / "best_model.pth", FIXTURES / "EAI_lab5.ipynb"]
    return {path.name: path for path in found}


def done(line: str, folder: Path, environment: dict[str, str]) -> str:
    """What a command that ends by itself prints."""
    ended = subprocess.run(
        ["bash", "-c", line], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8",
    )  # fmt: skip
    assert ended.returncode == 0, f"{line}\n{ended.stdout}"
    return ended.stdout


def served(line: str, folder: Path, environment: dict[str, str]) -> str:
    """The address at which a command answered, before Ctrl-C ended it."""
    with subprocess.Popen(
        ["bash", "-c", line], cwd=folder, env=environment, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8",
    ) as running:  # fmt: skip
        try:
            said = ""
            while not (address := re.search(r"http://127\.0\.0\.1:\d+", said)):
                said += (part := running.stdout.readline())
                assert part, f"{line}\n{said}"
            with urllib.request.urlopen(address[0]) as page:
                assert b"gradio" in page.read()
            os.killpg(running.pid, signal.SIGINT)
            said += running.communicate(timeout=60)[0]
        finally:
            if running.poll() is None:
                os.killpg(running.pid, signal.SIGKILL)
    assert "Traceback" not in said, said
    return address[0]
