"""Code for a newer Python than the one that grades: read where it can be, else named for what it needs."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable
from typing import Final

# What each version brought, and how the same is written before it.
_SYNTAX: Final[tuple[tuple[tuple[int, int], str, str], ...]] = (
    ((3, 11), r"\bexcept[ \t]*\*", "except "),
    ((3, 12), r"(?m)^([ \t]*)type (\w+)[ \t]*(?:\[[^\]\n]*\])?[ \t]*=", r"\1\2 ="),
    ((3, 12), r"(?m)^([ \t]*(?:(?:async )?def|class) \w+)\[[^\]\n]*\]", r"\1"),
    ((3, 14), r"(?m)^([ \t]*except) ([\w.]+(?:[ \t]*,[ \t]*[\w.]+)+)[ \t]*:", r"\1 (\2):"),
    ((3, 14), r"(?i)(?<!\w)(?:tr|rt|t)(?=[\"'])", "f"),
)
_F_STRINGS: Final = (3, 12)  # the same quotes again, backslashes and comments within braces
_STRING: Final = re.compile(
    r"(?P<comment>#[^\n]*)"
    r"|(?P<prefix>(?<!\w)(?:[rRbBuU]|[fF][rR]?|[rR][fFbB]|[bB][rR])?)(?P<quote>\"\"\"|'''|\"|')"
)


def needed_by(source: str) -> tuple[int, int] | None:
    """The Python that can parse ``source``, if this one cannot and that one is newer."""
    if _parses(source):
        return None
    needed = sys.version_info[:2]
    for version, pattern, older in _SYNTAX:
        changed = re.sub(pattern, older, source)
        if version > sys.version_info[:2] and changed != source:
            source, needed = changed, max(needed, version)
    if sys.version_info < _F_STRINGS and not _parses(source):
        source, needed = _rewritten(source, _as_tuple), max(needed, _F_STRINGS)
    return needed if needed > sys.version_info[:2] and _parses(source) else None


def requoted(source: str) -> str:
    """``f"{a["b"]}"`` as ``f"{a['b']}"``, where that makes ``source`` parse in a Python before 3.12."""
    if sys.version_info >= _F_STRINGS or _parses(source):
        return source
    changed = _rewritten(source, _with_other_quotes)
    return changed if _parses(changed) else source


def _parses(source: str) -> bool:
    try:
        ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


# (the whole f-string, its quote, where its fields' insides begin and end) -> the text in its place
_Edit = Callable[[str, str, list[tuple[int, int]]], str]


def _as_tuple(text: str, quote: str, fields: list[tuple[int, int]]) -> str:
    """The expressions of an f-string, to see whether they parse."""
    return "".join(["('', ", *(f"({text[a:b]})," for a, b in fields), ")"])


def _with_other_quotes(text: str, quote: str, fields: list[tuple[int, int]]) -> str:
    other = "'" if quote == '"' else '"'
    found, at = "", 0
    for start, end in fields:
        inside = text[start:end]
        if len(quote) == 1 and other not in inside and "\\" not in inside:
            inside = inside.replace(quote, other)
        found, at = found + text[at:start] + inside, end
    return found + text[at:]


def _rewritten(source: str, edit: _Edit) -> str:
    """``source`` with every outermost f-string edited."""
    found: list[str] = []
    at = 0
    while match := _STRING.search(source, at):
        if match["comment"]:
            found.append(source[at : match.end()])
            at = match.end()
            continue
        fields: list[tuple[int, int]] = []
        try:
            end = _end(source, match, fields)
        except RecursionError:  # no Python takes so many braces in each other
            break
        if end > len(source):
            break
        text, start = source[match.start() : end], match.start()
        if "f" in match["prefix"].lower():
            inside = [(a - start, b - start) for a, b in sorted(fields)]
            text = edit(text, match["quote"], inside)
        found += [source[at:start], text]
        at = end
    return "".join([*found, source[at:]])


def _end(source: str, match: re.Match[str], fields: list[tuple[int, int]]) -> int:
    """Where the string that begins at ``match`` ends, beyond the source if nowhere.

    ``fields`` gets where its expressions lie.
    """
    quote, formatted = match["quote"], "f" in match["prefix"].lower()
    at = match.end()
    while at < len(source):
        if source.startswith(quote, at):
            return at + len(quote)
        if source[at] == "\n" and len(quote) == 1:
            break
        if source[at] == "\\" or (formatted and source.startswith(("{{", "}}"), at)):
            at += 2
        elif formatted and source[at] == "{":
            at = _field(source, at + 1, fields)
        else:
            at += 1
    return len(source) + 1


def _field(source: str, at: int, fields: list[tuple[int, int]]) -> int:
    """Where a replacement field ends whose inside begins at ``at``."""
    start, depth, expression = at, 0, None
    while at < len(source):
        inner = _STRING.match(source, at)
        if inner and expression is None:
            at = inner.end() if inner["comment"] else _end(source, inner, [])
            continue
        char = source[at]
        if expression is not None and char == "{":  # in the format
            at = _field(source, at + 1, fields)
            continue
        if depth == 0 and (char in ":}" or re.match(r"![rsa][:}]|=\s*[!:}]", source[at : at + 9])):
            expression = at if expression is None else expression
            if char == "}":
                fields.append((start, expression))
                return at + 1
        depth += (char in "([{") - (char in ")]}")
        at += 1
    return at


def needs_newer(version: tuple[int, int]) -> str:
    """What to tell the teacher."""
    return (
        f"the notebook needs Python {version[0]}.{version[1]} or newer, graded with "
        f"{sys.version_info[0]}.{sys.version_info[1]}: grade with a newer Python"
    )
