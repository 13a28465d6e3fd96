"""A notebook's cell as IPython runs it, as plain Python."""

from __future__ import annotations

import ast
import functools
import re
import warnings
from typing import Any, Final

# Leading blank lines and comments, indentation, name, the rest of the line; ``%%time?`` asks for help.
_CELL_MAGIC: Final = re.compile(r"((?:[ \t]*(?:#.*)?\n)*)[ \t]*%%(\w+)(?!\w*\?)(.*)\n?")
# Magics that run the Python behind them; all other cell magics hold another language.
_RUNNING: Final = ("time", "timeit", "prun", "capture")
_RUNNING_LINE: Final = re.compile(
    r"get_ipython\(\)\.run_line_magic\('(?:time|timeit|prun)', (?P<args>'.*'|\".*\")\)$"
)
MAX_SOURCE: Final = 30_000  # characters of a cell that are looked through for magics
MAX_MAGICS: Final = 100  # of a cell
_MAX_LOOKED_AT: Final = 200_000  # characters: for each magic, the whole cell
_OPTIONS: Final = re.compile(r"\s*(?:(?:-[nrpv] ?\d+|-[tcqo]+)(?:\s+|$))*")
# What a cell of one line may begin with instead of ``%`` and this name.
_AUTOMAGIC: Final = {
    "alias", "autoreload", "cat", "cd", "clear", "conda", "config", "cp", "debug", "dhist", "dirs",
    "edit", "env", "hist", "history", "ldir", "less", "ll", "load", "load_ext", "ls", "lsmagic",
    "magic", "mamba", "man", "matplotlib", "mkdir", "more", "mv", "notebook", "pdb", "pdef", "pdoc",
    "pfile", "pinfo", "pip", "popd", "precision", "prun", "psearch", "psource", "pushd", "pwd",
    "pylab", "quickref", "recall", "reload_ext", "rerun", "reset", "rm", "rmdir", "run", "save",
    "sc", "set_env", "sx", "system", "tb", "time", "timeit", "unalias", "unload_ext", "uv", "who",
    "who_ls", "whos", "xdel", "xmode",
}  # fmt: skip


@functools.lru_cache(maxsize=4096)
def python_of(source: str) -> str:
    """A cell as plain Python, its lines where they were; it parses if IPython accepts the cell.

    Shell lines, magics and help become calls of ``get_ipython()``; what ``%time`` and its like run
    becomes that code itself; a cell in another language (``%%bash``) becomes ``pass``. Plain Python is
    returned as it is, and what is too long or has too many magics to be looked through.
    """
    found = ""
    for _ in range(MAX_MAGICS):
        if len(source) > MAX_SOURCE or _parses(source):
            return found + source
        source = source.replace("\r\n", "\n").replace("\r", "\n")
        magic = _CELL_MAGIC.match(source)
        if magic is None:
            break
        before, name, line = magic.groups()
        if name not in _RUNNING:
            return found + "pass"
        found += before + _first_line(name, line.strip()) + "\n"
        source = source[magic.end() :]
    text = _transformed(source)
    line = text.strip()
    if "\n" not in line and line.partition(" ")[0] in _AUTOMAGIC and not _parses(text):
        text = _transformed(text.replace(line, f"%{line}"))
    return found + text


def _parses(source: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes such as "\d"
            ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _first_line(magic: str, line: str) -> str:
    """What runs before the body of ``%%timeit setup`` and ``%%capture name``."""
    if magic == "timeit":
        return _OPTIONS.sub("", line, count=1)
    name = line.rpartition(" ")[2]
    if magic == "capture" and name.isidentifier():
        return f"{name} = get_ipython().run_cell_magic('capture', {line!r}, '')"
    return ""


def _transformed(source: str) -> str:
    body = re.sub(r"\A(?:[ \t]*\n)+", "", source)
    blank = source[: len(source) - len(body)].count("\n")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of lines that end in other characters than "\n"
            return "\n" * blank + str(_transformer().transform_cell(body))
    except (SyntaxError, RuntimeError):  # indented at random; too many magics
        return source


@functools.cache
def _transformer() -> Any:
    """IPython's own transformer, which keeps the lines' numbers; IPython takes 0.1 s to import."""
    from IPython.core.inputtransformer2 import TransformerManager

    class Transformer(TransformerManager):
        def do_token_transforms(self, lines: list[str]) -> list[str]:
            size = sum(map(len, lines))
            for _ in range(min(MAX_MAGICS, _MAX_LOOKED_AT // (size + 1))):
                changed, lines = self.do_one_token_transform(lines)
                if not changed:
                    return lines
            raise RuntimeError("too many magics")

        def do_one_token_transform(self, lines: list[str]) -> tuple[bool, list[str]]:
            changed, found = super().do_one_token_transform(lines)
            if changed:
                at = next(i for i, line in enumerate(found) if line != lines[i])
                found[at] = _RUNNING_LINE.sub(_statement, found[at])
                found[at + 1 : at + 1] = ["\n"] * (len(lines) - len(found))
            return changed, found

    return Transformer()


def _statement(call: re.Match[str]) -> str:
    """``x = 1`` of ``%timeit -n 3 x = 1``; with ``-o`` the call, as it gives something else."""
    args = ast.literal_eval(call["args"])
    options = _OPTIONS.match(args)
    assert options is not None
    return call[0] if "o" in options[0] else args[options.end() :] or "pass"
