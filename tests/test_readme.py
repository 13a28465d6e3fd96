"""Both READMEs name what there is: their commands can be run, their links lead somewhere."""

from __future__ import annotations

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from lab5.__main__ import VERBS

ROOT = Path(__file__).parent.parent
READMES = ("README.md", "README.zh-TW.md")


def text_of(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def commands(name: str) -> list[list[str]]:
    """What stands in its blocks, as words, comments left out."""
    blocks = re.findall(r"```bash\n(.*?)```", text_of(name), re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def test_both_have_the_same_commands():
    assert commands(READMES[0]) == commands(READMES[1])


@pytest.mark.parametrize("name", READMES)
def test_every_command_can_be_understood(name):
    found = [words for words in commands(name) if words[0] == "lab5"]
    assert {words[1] for words in found} >= {"package", "app", "grade", "diagnose"}
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
