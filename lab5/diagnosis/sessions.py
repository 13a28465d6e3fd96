"""1.5: which files ``build_session`` opens, and how, when the notebook ran on stand-in models."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any, Final

from lab5.diagnosis import page_mends as mends
from lab5.diagnosis.core import Findings, cause, listed
from lab5.diagnosis.source import Mend, Place, Source, where
from lab5.grading.checks.observed import exchanged
from lab5.text import Text

if TYPE_CHECKING:
    from lab5.grading.handin import Evidence

_RETURN: Final = "return ort.InferenceSession({}, providers={})"


@cause(
    "1.5", Text("Both sessions are opened on one file: {}.", "兩個 session 開的是同一個檔案：{}。")
)
def one_file_opened_twice(kinds: set[str]) -> bool:
    return len(kinds) == 1


@cause(
    "1.5", Text("The sessions are opened on each other's files.", "兩個 session 開的檔案對調了。")
)
def files_exchanged(named: list[tuple[str, str]]) -> list[str]:
    return exchanged(named)


@cause(
    "1.5",
    Text(
        "build_session opens {} whatever path it is given.",
        "build_session 不管給什麼路徑，都開啟 {}。",
    ),
)
def path_ignored(opened: set[str]) -> bool:
    return len(opened) == 1


@cause(
    "1.5", Text("build_session does not return its session.", "build_session 沒有傳回 session。")
)
def session_not_returned(call: dict[str, Any]) -> bool:
    return (
        bool(call["opened"]) and not call.get("is_session") and "NoneType" in str(call.get("error"))
    )


@cause(
    "1.5",
    Text(
        "build_session does not use the providers that it is given.",
        "build_session 沒有使用指定的 providers。",
    ),
)
def providers_ignored(call: dict[str, Any]) -> bool:
    return bool(call["opened"]) and call["opened"][-1]["providers"] != call["providers"]


def look(e: Evidence, found: Findings, source: Source) -> None:
    """Name what is wrong with ``build_session`` and the sessions that it opens."""
    found.tries((one_file_opened_twice, files_exchanged, path_ignored, session_not_returned,
                 providers_ignored))  # fmt: skip
    probe = e.probe("session")
    at, mend = _returned(source, source.function(probe["function"]))
    calls = probe["calls"]
    opened = [call["opened"][-1]["kind"] for call in calls if call["opened"]]
    if any(map(session_not_returned, calls)):
        found.name(session_not_returned, Text.of(calls[0].get("error", "")), at=at, mend=mend)
    elif len(opened) == 2 and path_ignored(set(opened)):
        found.name(
            path_ignored,
            listed([c["opened"][-1]["file"] for c in calls]),
            detail=opened[0].upper(),
            at=at,
            mend=mend,
        )
    elif any(map(providers_ignored, calls)):
        got = next(c for c in calls if providers_ignored(c))
        found.name(
            providers_ignored,
            Text.of(f"{got['providers']} → {got['opened'][-1]['providers']}"),
            at=at,
            mend=mend,
        )
    both = e.probe("opened")
    kinds = {one["kind"] for one in both["opened"]}
    crossed = files_exchanged(both["named"])
    there = {text.split()[-1] for text in crossed}
    if found.has(path_ignored, session_not_returned):
        return
    if len(there) == 1 or (len(both["opened"]) > 1 and one_file_opened_twice(kinds)):
        taken = there.pop().lower() if there else next(iter(kinds))
        right = {"fp32": "int8", "int8": "fp32"}[taken]
        at, mend = _other_file(source, taken, right)
        files = listed([o["file"] for o in both["opened"]])
        found.name(one_file_opened_twice, files, detail=taken.upper(), at=at, mend=mend)
    elif crossed:
        at = where(source.assignment(crossed[0].split()[0]))
        found.name(files_exchanged, listed(crossed), at=at, mend=mends.files(source))


def _returned(source: Source, function: Place | None) -> Mend:
    """The last line of ``build_session`` anew, where it is a plain one."""
    arguments = [a.arg for a in function.node.args.args] if function else []
    last = function.node.body[-1] if function else None
    if (
        function is None
        or len(arguments) != 2
        or not isinstance(last, ast.Return | ast.Assign | ast.Expr)
    ):
        return where(function), _RETURN.format("model_path", "providers")
    line = " " * last.col_offset + _RETURN.format(*arguments)
    diff = source.diff(function.cell, last.lineno, last.end_lineno or 0, [line])
    return (function.cell, last.lineno), diff


def _other_file(source: Source, taken: str, right: str) -> Mend:
    """The session of ``right`` that is opened on the file of ``taken``."""
    for place in source.nodes(ast.Assign):
        target, value = place.node.targets[0], place.node.value
        if (
            right in ast.unparse(target).lower()
            and isinstance(value, ast.Call)
            and "session" in ast.unparse(value.func).lower()
            and taken in ast.unparse(value).lower()
        ):
            return place.at, source.replaced(place, mends.other_model(source.text(place), right))
    return None, ""
