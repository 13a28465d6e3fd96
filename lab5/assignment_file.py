"""assignment.toml read, and what another one says in place of it; whatever cannot be is refused."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, Final

from lab5.errors import UsageError
from lab5.text import Text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TOP_K: Final = 3  # classes that the page shows
# The first as old as the steps need it, the last that TorchScript's exporter has
OPSETS: Final = (13, 20)
HANDED_IN: Final = ("notebook", "fp32", "int8", "report", "archive")  # roles of files

_MAX_BYTES: Final = 64 << 10
DEFAULT: Final = (Path(__file__).parent / "assignment.toml").read_text(encoding="utf-8")
OWN: Final = tomllib.loads(DEFAULT)


def wrong(key: str, found: Any, expected: Text) -> UsageError:
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
    found = _merged(OWN, given, "")
    for key, same in (("classes", "template_classes"), ("title", "title_zh")):
        if key in given and same not in given:
            found[same] = found[key]
    own_id = given.get("student_id", {})
    if pattern := own_id.get("pattern"):  # nobody else's words for it
        words = Text(f"what fits {pattern}", f"符合 {pattern} 的文字")
        found["student_id"]["en"] = own_id.get("en", words.en)
        found["student_id"]["zh"] = own_id.get("zh", words.zh)
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
            raise wrong(name, value, kinds[type(before)])
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

    def see(good: bool, key: str, expected: Text) -> None:
        if not good:
            value: Any = found
            for part in key.split(".", 1):
                value = value[part]
            raise wrong(key, value, expected)

    for key in ("classes", "template_classes"):
        names = found[key]
        good = TOP_K <= len(names) == len(set(names)) and all(name.strip() for name in names)
        see(good, key, Text(f"{TOP_K} names or more, each once", f"至少 {TOP_K} 個不重複的名稱"))
    as_many = len(found["template_classes"]) == len(found["classes"])
    see(as_many, "template_classes", Text("as many names as classes", "與 classes 一樣多的名稱"))
    see(len(found["mean"]) == 3, "mean", Text("three numbers", "三個數"))
    positive = len(found["std"]) == 3 and min(found["std"]) > 0
    see(positive, "std", Text("three numbers above 0", "三個大於 0 的數"))
    low, high = OPSETS
    expected = Text(f"{low} to {high}, which torch writes", f"torch 能寫出的 {low} 到 {high}")
    see(low <= found["opset"] <= high, "opset", expected)
    for number, item in found["items"].items():
        if not 0 <= item["points"] <= 1000:
            raise wrong(f'items."{number}".points', item["points"], Text("0 to 1000", "0 到 1000"))
    total = sum(item["points"] for item in found["items"].values())
    see(total > 0, "items", Text("points above 0 in all", "總分大於 0"))
    _check_names(found, see)


def _check_names(found: dict[str, Any], see: Any) -> None:
    try:
        pattern = id_pattern(found["student_id"]["pattern"])
    except re.error as error:
        expected = Text(f"a regular expression ({error})", f"正規表示式（{error}）")
        see(False, "student_id.pattern", expected)
    expected = Text(
        "an id that fits student_id.pattern, of letters, digits, - and _",
        "符合 student_id.pattern 的學號，由英文字母、數字、- 與 _ 組成",
    )
    fits = pattern.fullmatch(found["student_id"]["example"])
    see(bool(fits), "student_id.example", expected)
    files = found["files"]
    kinds = {"notebook": "ipynb", "fp32": "onnx", "int8": "onnx", "report": "pdf", "archive": "zip",
             "checkpoint": "pth", "template": "ipynb", "template_fp32": "onnx", "template_int8": "onnx"}  # fmt: skip
    for role, ending in kinds.items():
        handed_in = role in HANDED_IN
        name = files[role].replace("{id}", "", 1) if handed_in else files[role]
        good = files[role].count("{id}") == handed_in and re.fullmatch(
            rf"[\w-][\w.-]*\.{ending}|\.{ending}", name, re.ASCII
        )
        id_in_it = (
            Text("with {id} once", "其中有一個 {id}")
            if handed_in
            else Text("without {id}", "沒有 {id}")
        )
        expected = Text(
            f"a plain name {id_in_it.en} that ends in .{ending}",
            f"一般檔名，{id_in_it.zh}，結尾為 .{ending}",
        )
        see(bool(good), f"files.{role}", expected)
        if ending == "onnx":
            quantised = "int8" in name.lower()
            good = quantised == role.endswith("int8")
            expected = Text("int8 in INT8's name alone", "只有 INT8 檔名含有 int8")
            see(good, f"files.{role}", expected)
    lower = [files[role].lower() for role in HANDED_IN]
    expected = Text("another name for each file", "每個檔案不同的檔名")
    see(len(set(lower)) == len(lower), "files", expected)


def id_pattern(pattern: str) -> re.Pattern[str]:
    """… that is part of a file name, whatever the pattern says."""
    return re.compile(rf"(?=[\w-]{{1,64}}\Z)(?:{pattern})", re.ASCII)
