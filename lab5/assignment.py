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
from typing import Any, Final

from lab5.errors import UsageError
from lab5.text import Text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

VARIABLE: Final = "LAB5_ASSIGNMENT"  # names a file
# What it holds, and the module that it names, for processes that see no such files
_CONTENT: Final = "LAB5_ASSIGNMENT_CONTENT"
_NETWORK: Final = "LAB5_ASSIGNMENT_NETWORK"
_MAX_BYTES: Final = 64 << 10
DEFAULT: Final = (Path(__file__).parent / "assignment.toml").read_text(encoding="utf-8")
_OWN: Final = tomllib.loads(DEFAULT)


def _wrong(key: str, found: Any, expected: Text) -> UsageError:
    shown = repr(found)[:80]
    return UsageError(
        f"The assignment's {key} is {shown}, expected {expected.en}. lab5/assignment.toml has every key "
        "as it may stand there.",
        zh=f"作業設定的 {key} 是 {shown}，應為{expected.zh}。所有設定的寫法見 lab5/assignment.toml。",
    )


def content_of(path: Path) -> str:
    """What a file of an assignment holds.

    Raises:
        UsageError: it cannot be read, or no assignment can be made of it.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"larger than {_MAX_BYTES >> 10} KiB")
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise UsageError(
            f"The assignment {path} cannot be read: {reason}. Give a TOML file, as lab5/assignment.toml is.",
            zh=f"無法讀取作業設定 {path}：{reason}。請指定 TOML 檔，寫法如 lab5/assignment.toml。",
        ) from error
    with_changes(text)
    return text


def with_changes(text: str) -> dict[str, Any]:
    """The assignment with what this TOML says in place of its own.

    Raises:
        UsageError: it is no TOML, has a key that there is not, or a value that cannot be.
    """
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(
            f"The assignment is no TOML: {error}. Mend that line.",
            zh=f"作業設定不是有效的 TOML：{error}。請修正該處。",
        ) from error
    found = _merged(_OWN, given, "")
    for key, same in (("classes", "template_classes"), ("title", "title_zh")):
        if key in given and same not in given:
            found[same] = found[key]
    own_id = given.get("student_id", {})
    if "pattern" in own_id:  # nobody else's words for it
        for language, words in (("en", "what fits {}"), ("zh", "符合 {} 的文字")):
            found["student_id"][language] = own_id.get(language, words.format(own_id["pattern"]))
    _check(found)
    return found


def _merged(own: dict[str, Any], given: dict[str, Any], at: str) -> dict[str, Any]:
    if unknown := [key for key in given if key not in own]:
        raise UsageError(
            f"The assignment has no key {at}{unknown[0]}; there are {', '.join(own)}.",
            zh=f"作業設定沒有 {at}{unknown[0]} 這個鍵；可用的有 {'、'.join(own)}。",
        )
    found = dict(own)
    for key, value in given.items():
        before, name = own[key], f"{at}{key}"
        if isinstance(before, dict) and isinstance(value, dict):
            found[key] = _merged(before, value, f"{name}.")
        elif at == "advice." and value is False:
            del found[key]
        elif isinstance(value, bool) or not _alike(value, before):
            kinds: dict[type, Text] = {
                str: Text("a text", "文字"),
                int: Text("a whole number", "整數"),
                list: Text(f"a list as {before!r}", f"像 {before!r} 的列表"),
                dict: Text("a table", "表格"),
            }
            raise _wrong(name, value, kinds[type(before)])
        else:
            found[key] = value
    return found


def _alike(value: Any, before: Any) -> bool:
    if isinstance(before, list):
        kinds = (int, float) if isinstance(before[0], float) else (str,)
        return isinstance(value, list) and all(
            isinstance(one, kinds) and not isinstance(one, bool) for one in value
        )
    return isinstance(value, type(before))


def _check(found: dict[str, Any]) -> None:
    """Raises UsageError at the first value that cannot be."""

    def see(good: bool, key: str, en: str, zh: str) -> None:
        if not good:
            value: Any = found
            for part in key.split(".", 1):
                value = value[part]
            raise _wrong(key, value, Text(en, zh))

    for key in ("classes", "template_classes"):
        names = found[key]
        good = TOP_K <= len(names) == len(set(names)) and all(name.strip() for name in names)
        see(good, key, f"{TOP_K} names or more, each once", f"至少 {TOP_K} 個不重複的名稱")
    see(
        len(found["template_classes"]) == len(found["classes"]),
        "template_classes", "as many names as classes", "與 classes 一樣多的名稱",
    )  # fmt: skip
    see(len(found["mean"]) == 3, "mean", "three numbers", "三個數")
    positive = len(found["std"]) == 3 and min(found["std"]) > 0
    see(positive, "std", "three numbers above 0", "三個大於 0 的數")
    low, high = OPSETS
    good = low <= found["opset"] <= high
    see(good, "opset", f"{low} to {high}, which torch writes", f"torch 能寫出的 {low} 到 {high}")
    for number, item in found["items"].items():
        if not 0 <= item["points"] <= 1000:
            raise _wrong(f'items."{number}".points', item["points"], Text("0 to 1000", "0 到 1000"))
    total = sum(item["points"] for item in found["items"].values())
    see(total > 0, "items", "points above 0 in all", "總分大於 0")
    _check_names(found, see)


def _check_names(found: dict[str, Any], see: Any) -> None:
    try:
        pattern = _id_pattern(found["student_id"]["pattern"])
    except re.error as error:
        see(
            False, "student_id.pattern", f"a regular expression ({error})", f"正規表示式（{error}）"
        )
    see(
        bool(pattern.fullmatch(found["student_id"]["example"])), "student_id.example",
        "an id that fits student_id.pattern, of letters, digits, - and _",
        "符合 student_id.pattern 的學號，由英文字母、數字、- 與 _ 組成",
    )  # fmt: skip
    files = found["files"]
    kinds = {"notebook": "ipynb", "fp32": "onnx", "int8": "onnx", "report": "pdf", "archive": "zip",
             "checkpoint": "pth", "template": "ipynb", "template_fp32": "onnx", "template_int8": "onnx"}  # fmt: skip
    for role, ending in kinds.items():
        handed_in = role in HANDED_IN
        name = files[role].replace("{id}", "", 1) if handed_in else files[role]
        good = files[role].count("{id}") == handed_in and re.fullmatch(
            rf"[\w-][\w.-]*\.{ending}|\.{ending}", name, re.ASCII
        )
        with_id = (
            ("with {id} once", "其中有一個 {id}") if handed_in else ("without {id}", "沒有 {id}")
        )
        see(bool(good), f"files.{role}", f"a plain name {with_id[0]} that ends in .{ending}",
            f"一般檔名，{with_id[1]}，結尾為 .{ending}")  # fmt: skip
        if ending == "onnx":
            quantised = "int8" in name.lower()
            good = quantised == role.endswith("int8")
            see(good, f"files.{role}", "int8 in INT8's name alone", "只有 INT8 檔名含有 int8")
    lower = [files[role].lower() for role in HANDED_IN]
    see(len(set(lower)) == len(lower), "files", "another name for each file", "每個檔案不同的檔名")


def _id_pattern(pattern: str) -> re.Pattern[str]:
    """… that is part of a file name, whatever the pattern says."""
    return re.compile(rf"(?=[\w-]{{1,64}}\Z)(?:{pattern})", re.ASCII)


IMAGE_SIZE: Final = 32  # pixels a side

INPUT_NAME: Final = "input"  # (N, 3, 32, 32) float32
OUTPUT_NAME: Final = "output"  # (N, NUM_CLASSES) float32 logits
OPSETS: Final = (
    13,
    20,
)  # the first as old as the steps need it, the last that TorchScript's exporter has

TOP_K: Final = 3
LABEL_COMPARISON: Final = "Performance Comparison"
HANDED_IN: Final = ("notebook", "fp32", "int8", "report", "archive")  # roles of files

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


def _changes() -> str:
    if (content := os.environ.get(_CONTENT)) is not None:
        return content
    path = os.environ.get(VARIABLE)
    return content_of(Path(path)) if path else ""


try:
    CHANGES: Final = _changes()  # TOML; empty for the assignment as it is
    _DATA: Final = with_changes(CHANGES)
except UsageError as wrong:  # before any command could say it
    print(wrong, file=sys.stderr)
    raise SystemExit(wrong.exit_code) from None


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
        raise _wrong("network", f"{named} ({error})", expected) from error
    classes = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    if not {"BasicBlock", "ResNet18"} <= classes:
        raise _wrong("network", named, expected)
    return inlined(text)


CLASSES: Final[tuple[str, ...]] = tuple(_DATA["classes"])
NUM_CLASSES: Final = len(CLASSES)
IS_CIFAR10: Final = list(CLASSES) == _OWN["classes"]
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

STUDENT_ID: Final = _id_pattern(_DATA["student_id"]["pattern"])
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
