"""The assignment as data: its numbers, names and points, of ``assignment.toml``.

Another one, which names only what differs, is given by ``--assignment F`` or ``$LAB5_ASSIGNMENT``. It is
read once, when this module is imported; what notebooks are filled with has its numbers, too.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab5.assignment_file import DEFAULT, OWN, content_of, id_pattern, with_changes, wrong
from lab5.assignment_file import TOP_K as TOP_K
from lab5.errors import UsageError
from lab5.text import Text

VARIABLE: Final = "LAB5_ASSIGNMENT"  # names a file
# What it holds, and the module that it names, for processes that see no such files
_CONTENT: Final = "LAB5_ASSIGNMENT_CONTENT"
_NETWORK: Final = "LAB5_ASSIGNMENT_NETWORK"


def _changes() -> str:
    if (content := os.environ.get(_CONTENT)) is not None:
        return content
    path = os.environ.get(VARIABLE)
    return content_of(Path(path)) if path else ""


try:
    CHANGES: Final = _changes()  # TOML; empty for the assignment as it is
    _DATA: Final = with_changes(CHANGES)
except UsageError as error:  # before any command could say it
    print(error, file=sys.stderr)
    raise SystemExit(error.exit_code) from None


# What every assignment has

IMAGE_SIZE: Final = 32  # pixels a side

INPUT_NAME: Final = "input"  # (N, 3, 32, 32) float32
OUTPUT_NAME: Final = "output"  # (N, NUM_CLASSES) float32 logits
LABEL_COMPARISON: Final = "Performance Comparison"

# What the INT8 file is calibrated on, or a folder of pictures; the default is the assignment's.
SYNTHETIC: Final = "synthetic"
CALIBRATIONS: Final = ("random", SYNTHETIC, "cifar10")
REAL_IMAGES: Final = 500  # the most that calibration takes of real pictures; our choice

MIN_SCREENSHOTS: Final = 3
MIN_SIDE: Final = 200  # pixels of a screenshot, ours; a telephone's has over 700, an icon under 100
MIN_REFLECTION_CHARS: Final = 10

# What the assignment promises of INT8; the report says where a measurement contradicts it.
EXPECTED_SIZE_CUT: Final = 0.75  # share of the file size
EXPECTED_SPEEDUP: Final = (2.0, 4.0)  # times FP32
EXPECTED_LOSS_PP: Final = 1.0  # percentage points of top-1

# What assignment.toml says

CLASSES: Final[tuple[str, ...]] = tuple(_DATA["classes"])
NUM_CLASSES: Final = len(CLASSES)
IS_CIFAR10: Final = list(CLASSES) == OWN["classes"]
TEMPLATE_CLASSES: Final[tuple[str, ...]] = tuple(_DATA["template_classes"])  # the notebook's LABELS

CIFAR10_MEAN: Final[tuple[float, ...]] = tuple(_DATA["mean"])  # RGB, pixel range 0..1
CIFAR10_STD: Final[tuple[float, ...]] = tuple(_DATA["std"])

OPSET: Final[int] = _DATA["opset"]
APP_TITLE: Final[str] = _DATA["title"]
APP_TITLE_ZH: Final[str] = _DATA["title_zh"]

_FILES: Final[dict[str, str]] = _DATA["files"]
CHECKPOINT: Final = _FILES["checkpoint"]
TEMPLATE: Final = _FILES["template"]
TEMPLATE_FP32: Final = _FILES["template_fp32"]  # what the handed-out notebook calls them
TEMPLATE_INT8: Final = _FILES["template_int8"]


@dataclass(frozen=True)
class Item:
    """One graded line of the rubric."""

    number: str
    points: int
    title: Text


@dataclass(frozen=True)
class Topic:
    """One of the three parts of the assignment."""

    number: int
    title: Text
    items: tuple[Item, ...]

    @property
    def points(self) -> int:
        return sum(item.points for item in self.items)


ITEMS: Final = {
    number: Item(number, item["points"], Text(item["en"], item["zh"]))
    for number, item in _DATA["items"].items()
}
TOPICS: Final = tuple(
    Topic(
        int(number),
        Text(**title),
        tuple(item for item in ITEMS.values() if item.number.startswith(f"{number}.")),
    )
    for number, title in _DATA["topics"].items()
)
TOTAL_POINTS: Final = sum(topic.points for topic in TOPICS)

STUDENT_ID: Final = id_pattern(_DATA["student_id"]["pattern"])
EXAMPLE_ID: Final[str] = _DATA["student_id"]["example"]
_ID_WORDS: Final = Text(_DATA["student_id"]["en"], _DATA["student_id"]["zh"])


def file_name(role: str, student_id: str) -> str:
    """What a student of that id calls the ``notebook``, ``fp32``, ``int8``, ``report`` or ``archive``."""
    return _FILES[role].replace("{id}", student_id)


def id_in(name: str, roles: Iterable[str], *, strict: bool = True) -> str | None:
    """The student id in a file's name, if it is that of one of these roles.

    Args:
        strict: not in another case.
    """
    flags = re.ASCII if strict else re.ASCII | re.IGNORECASE
    for role in roles:
        before, after = map(re.escape, _FILES[role].split("{id}"))
        match = re.fullmatch(f"{before}(.+){after}", name, flags)
        if match and re.fullmatch(STUDENT_ID.pattern, match[1], flags):
            return match[1]
    return None


def with_numbers(text: Text) -> Text:
    """Words of a check with the assignment's numbers and names for ``{opset}`` and the like."""

    def filled(words: str, student_id: str) -> str:
        values = {"opset": OPSET, "classes": NUM_CLASSES, "checkpoint": CHECKPOINT,
                  "archive": file_name("archive", student_id)}  # fmt: skip
        for name, value in values.items():
            words = words.replace(f"{{{name}}}", str(value))
        return words

    return Text(filled(text.en, "<student id>"), filled(text.zh, "學號"))


# The deviations that are right by definition: check -> where the assignment leads to it.
ADVISED: Final = {name: with_numbers(Text(**where)) for name, where in _DATA["advice"].items()}


def environment() -> dict[str, str]:
    """What lets a process that sees none of our files have the same assignment.

    Raises:
        UsageError: as ``network_source``.
    """
    return {_CONTENT: CHANGES, _NETWORK: network_source()} if CHANGES else {}


def identity() -> bytes:
    """All that two assignments can differ in.

    Raises:
        UsageError: as ``network_source``.
    """
    return "\0".join((DEFAULT, CHANGES, network_source())).encode()


@functools.cache
def network_source() -> str:
    """The module that the assignment names in place of ``lab5.model``; empty where it names none.

    Raises:
        UsageError: there is no such module, or it has no BasicBlock and ResNet18.
    """
    import ast
    import importlib.util

    named: str = _DATA["network"]
    if named == "lab5.model":
        return ""
    if (known := os.environ.get(_NETWORK)) is not None:
        return known
    expected = Text(
        "a module, or a .py file beside the assignment's, with the classes BasicBlock and ResNet18",
        "一個模組，或放在作業設定檔旁的 .py 檔，內含 BasicBlock 與 ResNet18 兩個類別",
    )
    try:
        if named.endswith(".py"):
            path = Path(os.environ[VARIABLE]).parent / named
        else:
            found = importlib.util.find_spec(named)
            path = Path((found and found.origin) or "")
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
    except (ImportError, OSError, SyntaxError, ValueError) as error:
        raise wrong("network", f"{named} ({error})", expected) from error
    classes = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    if not {"BasicBlock", "ResNet18"} <= classes:
        raise wrong("network", named, expected)
    return inlined(text)


def inlined(source: str) -> str:
    """A module of lab5 with the values in place of the names that it imports from here.

    So it needs no lab5, as in notebooks. Left as they are: names in f-strings, whose places Python 3.11
    does not tell, and what is no number or text.
    """
    import ast
    import json

    tree, rows = ast.parse(source), source.split("\n")
    values: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == __name__:
            found = {name.asname or name.name: globals()[name.name] for name in node.names}
            plain = {
                name: v for name, v in found.items() if isinstance(v, str | int | float | tuple)
            }
            values |= {
                name: json.dumps(v, ensure_ascii=False) if isinstance(v, str) else repr(v)
                for name, v in plain.items()
            }
            if plain == found:
                rows[node.lineno - 1 : node.end_lineno] = [""] * len(
                    rows[node.lineno - 1 : node.end_lineno]
                )
    inside = (node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr))
    left = {id(part) for node in inside for part in ast.walk(node)}
    places = {
        (node.lineno, node.col_offset, node.id)
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and node.id in values and id(node) not in left
    }
    for line, column, name in sorted(places, reverse=True):
        row = rows[line - 1].encode()
        before, after = row[:column], row[column + len(name.encode()) :]
        rows[line - 1] = before.decode() + values[name] + after.decode()
    return "\n".join(rows)


@dataclass(frozen=True)
class FileNames:
    """The names of everything that a student hands in.

    Raises:
        UsageError: the student id is none of the assignment's: 2 to 32 letters and digits.
    """

    student_id: str

    def __post_init__(self) -> None:
        if not STUDENT_ID.fullmatch(self.student_id):
            raise UsageError(
                f"{self.student_id!r} is not a student id: expected {_ID_WORDS.en}. "
                f"Write it as on your student card, for example {EXAMPLE_ID}.",
                zh=f"{self.student_id!r} 不是學號：只能是 {_ID_WORDS.zh}。"
                f"請照學生證填寫，例如 {EXAMPLE_ID}。",
            )

    @property
    def notebook(self) -> str:
        return file_name("notebook", self.student_id)

    @property
    def fp32(self) -> str:
        return file_name("fp32", self.student_id)

    @property
    def external_data(self) -> str:
        """Only when the FP32 model refers to it."""
        return f"{self.fp32}.data"

    @property
    def int8(self) -> str:
        return file_name("int8", self.student_id)

    @property
    def report(self) -> str:
        return file_name("report", self.student_id)

    @property
    def archive(self) -> str:
        return file_name("archive", self.student_id)

    @property
    def required(self) -> tuple[str, ...]:
        """In the order of the assignment's listing, which is their order in the zip."""
        return (self.notebook, self.fp32, self.int8, self.report)
