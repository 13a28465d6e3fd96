"""How the comparison and its sessions are mended: the lines at fault as a diff, else what should stand there."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from lab5.assignment import TEMPLATE_CLASSES
from lab5.diagnosis.source import Mend, Place, Source, where
from lab5.notebook.source import indent_of

_OTHER: Final = {"fp32": "int8", "int8": "fp32"}


def within(source: Source, place: Place | None, fits: Callable[[ast.AST], bool]) -> Place | None:
    """The last node in a function, or in what it calls, for which ``fits`` holds."""
    return source.within(place, fits) if place else None


def _inside(source: Source, place: Place | None, *kinds: type) -> Iterator[Place]:
    """The nodes in the function itself, the last ones first."""
    if place is not None:
        first, last = place.node.lineno, place.node.end_lineno
        for one in source.nodes(*kinds):
            if one.cell == place.cell and first <= one.node.lineno <= last:
                yield one


def _replaced(source: Source, hit: Place | None, new: str) -> Mend | None:
    return (hit.at, source.replaced(hit, new)) if hit else None


def bound(hit: Place) -> Place:
    """What an assignment gives its name, or a return gives back."""
    return Place(hit.cell, hit.node.value)


def _assigned(source: Source, place: Place | None, right: str) -> Place | None:
    """What is given to a name of one model and speaks of the other alone."""
    wrong = _OTHER[right]
    for one in _inside(source, place, ast.Assign):
        target = ast.unparse(one.node.targets[0]).lower()
        value = ast.unparse(one.node.value).lower()
        if right in target and wrong not in target and wrong in value and right not in value:
            return one
    return None


def other_model(text: str, right: str) -> str:
    """Text that speaks of one model, of the model ``right``."""
    wrong = _OTHER[right]
    return text.replace(wrong, right).replace(wrong.upper(), right.upper())


def answer(cause: str, words: str, source: Source, place: Place | None) -> Mend:
    """Where a cause of what is shown as probabilities stands, and its mend.

    Args:
        cause: the name of its function.
        words: what was particular of it.
    """
    special = {
        "one_session_twice": _one_session_twice,
        "models_exchanged": _models_exchanged,
        "labels_permuted": _labels,
        "least_likely_listed": _reversed,
        "probabilities_in_per_cent": _per_cent,
        "softmax_twice": _softmax_twice,
    }
    found = special[cause](words, source, place) if cause in special else None
    return found or _softmax(source, place)


def _one_session_twice(words: str, source: Source, place: Place | None) -> Mend:
    right = {"FP32": "int8", "INT8": "fp32"}[words]
    wrong = _OTHER[right]
    hits = [
        one for one in _inside(source, place, ast.Call)
        if "run" in ast.unparse(one.node.func) and f"sess_{wrong}" in ast.unparse(one.node)
    ]  # fmt: skip
    if len(hits) > 1:
        hit = hits[0] if right == "int8" else hits[-1]  # the last ones come first
        return hit.at, source.replaced(hit, re.sub(wrong, right, source.text(hit)))
    if assigned := _assigned(source, place, right):
        value = bound(assigned)
        return assigned.at, source.replaced(value, other_model(source.text(value), right))
    return _returned(source, place)


def _returned(source: Source, place: Place | None) -> Mend:
    hit = next(_inside(source, place, ast.Return), None)
    return where(hit), "return top3_fp32, top3_int8, summary"


def _models_exchanged(words: str, source: Source, place: Place | None) -> Mend:
    for one in _inside(source, place, ast.Assign):
        target, value = one.node.targets[0], one.node.value
        both = isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
        if both and list(map(ast.unparse, target.elts)) == [*map(ast.unparse, value.elts)][::-1]:
            return one.at, source.diff(one.cell, one.node.lineno, one.node.end_lineno, [])
    wrong = [hit for right in _OTHER if (hit := _assigned(source, place, right))]
    if len(wrong) == 2:
        edits = []
        for hit, right in zip(wrong, _OTHER, strict=True):
            rows = source.lines(hit.cell)[hit.node.lineno - 1 : hit.node.end_lineno]
            head, equals, value = "\n".join(rows).partition("=")
            text = head + equals + other_model(value, right)
            edits.append((hit.node.lineno, hit.node.end_lineno, text.split("\n")))
        return min(hit.at for hit in wrong), source.edited(wrong[0].cell, edits)
    for one in _inside(source, place, ast.Return):
        if isinstance(one.node.value, ast.Tuple) and len(one.node.value.elts) == 3:
            first, second, third = map(ast.unparse, one.node.value.elts)
            if "int8" in first.lower() and "fp32" in second.lower():
                return one.at, source.replaced(bound(one), f"{second}, {first}, {third}")
    return _returned(source, place)


def _labels(words: str, source: Source, place: Place | None) -> Mend:
    hit = within(
        source, place, lambda n: isinstance(n, ast.Subscript) and isinstance(n.slice, ast.BinOp)
    )
    if hit is None:
        return where(place), f"LABELS = {TEMPLATE_CLASSES!r}"
    index = next((n.id for n in ast.walk(hit.node.slice) if isinstance(n, ast.Name)), "i")
    return hit.at, source.replaced(hit, f"{ast.unparse(hit.node.value)}[{index}]")


def _reversed(words: str, source: Source, place: Place | None) -> Mend | None:
    hit = within(
        source, place, lambda n: isinstance(n, ast.Call) and "argsort" in ast.unparse(n.func)
    )
    return _replaced(source, hit, f"{ast.unparse(hit.node)}[::-1]" if hit else "")


def _per_cent(words: str, source: Source, place: Place | None) -> Mend | None:
    def times_100(node: ast.AST) -> bool:
        return isinstance(node, ast.BinOp) and bool(
            re.fullmatch(r".*\* 100(\.0)?", ast.unparse(node))
        )

    hit = within(source, place, times_100)
    return _replaced(source, hit, ast.unparse(hit.node.left) if hit else "")


def _is_softmax(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and "softmax" in ast.unparse(node.func).lower()


def _softmax_twice(words: str, source: Source, place: Place | None) -> Mend | None:
    nested = within(
        source, place, lambda n: _is_softmax(n) and any(map(_is_softmax, getattr(n, "args", [])))
    )
    return _replaced(source, nested, ast.unparse(nested.node.args[0]) if nested else "")


def _softmax(source: Source, place: Place | None) -> Mend:
    """The function's own lines, if the comparison calls one."""
    call = within(source, place, _is_softmax)
    name = next((one for one in source.nodes(ast.FunctionDef) if "softmax" in one.node.name), None)
    if name is not None and call is not None and name.node.args.args:
        x, body = name.node.args.args[0].arg, name.node.body
        lines = [
            f"{x} = np.asarray({x}).reshape(-1)", f"e = np.exp({x} - {x}.max())", "return e / e.sum()",
        ]  # fmt: skip
        new = [" " * body[0].col_offset + line for line in lines]
        diff = source.diff(name.cell, body[0].lineno, name.node.end_lineno, new)
        if diff:
            return name.at, diff
    hit = call or place
    text = "p_fp32 = softmax_np(logits_fp32)\np_int8 = softmax_np(logits_int8)"
    return where(hit), text


def batch_axis(source: Source, place: Place | None) -> Mend:
    """What is done to the picture behind ``preprocess``, taken away."""
    for one in _inside(source, place, ast.Assign):
        value = one.node.value
        call = next((n for n in ast.walk(value) if isinstance(n, ast.Call)
                     and ast.unparse(n.func).endswith("preprocess")), None)  # fmt: skip
        if call is not None and call is not value:
            return one.at, source.replaced(bound(one), ast.unparse(call))
    run = within(
        source, place, lambda n: isinstance(n, ast.Call) and ast.unparse(n.func).endswith(".run")
    )
    text = "logits = sess.run(None, {sess.get_inputs()[0].name: x})[0]  # x: (1, 3, 32, 32)"
    return (run.at if run else None), text


def logits_axis(source: Source, place: Place | None) -> Mend:
    """``[0]`` behind what the softmax, or whatever fails, is called with."""
    hit = within(source, place, _is_softmax)
    if hit is not None and len(hit.node.args) == 1 and place and hit.cell == place.cell:
        rows, edits = source.lines(hit.cell), []
        for one in _inside(source, place, ast.Call):
            if _is_softmax(one.node) and len(one.node.args) == 1:
                argument = ast.unparse(one.node.args[0])
                row = rows[one.node.lineno - 1]
                number = one.node.lineno
                edits.append((number, number, [row.replace(argument, f"{argument}[0]", 1)]))
        if edits and len({first for first, *_ in edits}) == len(edits):
            return hit.at, source.edited(hit.cell, edits)
    return where(hit or place), "softmax_np(logits[0])"


def files(source: Source) -> str:
    """Each session on the file of its own name."""
    edits: dict[int, list[tuple[int, int, list[str]]]] = {}
    for one in source.nodes(ast.Assign):
        value = one.node.value
        if not (isinstance(value, ast.Call) and "session" in ast.unparse(value.func).lower()):
            continue
        target, text = ast.unparse(one.node.targets[0]).lower(), ast.unparse(value)
        for right, wrong in _OTHER.items():
            if right in target and wrong in text.lower() and right not in text.lower():
                row = source.lines(one.cell)[one.node.lineno - 1]
                head, equals, rest = row.partition("=")
                new = head + equals + other_model(rest, right)
                edits.setdefault(one.cell, []).append((one.node.lineno, one.node.lineno, [new]))
    if not edits:
        return "sess_fp32 = build_session(FP32_MODEL, providers)\nsess_int8 = build_session(INT8_MODEL, providers)"
    return "\n".join(source.edited(cell, changed) for cell, changed in edits.items())


# Times


def _measured(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.Sub)
        and re.search("time|clock|counter", ast.unparse(node)) is not None
    )


def time(cause: str, words: str, source: Source, place: Place | None) -> Mend:
    """Where a cause of the times that are shown stands, and its mend."""
    special = {
        "seconds_for_milliseconds": _milliseconds,
        "microseconds_for_milliseconds": _thousand_once,
        "clock_started_once": _start_again,
        "not_divided_by_the_runs": _divided,
        "preprocessing_is_timed": _preprocessed_before,
        "times_exchanged": _shown_times,
        "one_time_twice": _shown_times,
    }
    found = special[cause](source, place) if cause in special else None
    if found is not None:
        return found
    hit = within(source, place, _measured) or place
    return where(hit), "t0 = time.time(); logits = sess.run(…); ms = (time.time() - t0) * 1000"


def _differences(source: Source, place: Place | None) -> list[Place]:
    """The differences of two times, in the cell of the last one."""
    last = within(source, place, _measured)
    if last is None:
        return []
    return [p for p in source.nodes(ast.BinOp) if p.cell == last.cell and _measured(p.node)]


def _milliseconds(source: Source, place: Place | None) -> Mend | None:
    edits = []
    for one in _differences(source, place):
        rows, node = source.lines(one.cell), one.node
        if re.search("1000|1e3", rows[node.lineno - 1]):
            continue
        row, start, end = rows[node.lineno - 1].encode(), node.col_offset, node.end_col_offset
        if row[start - 1 : start] == b"(" and row[end : end + 1] == b")":
            start, end = start - 1, end + 1
        text = row[:start].decode() + f"({ast.unparse(node)}) * 1000" + row[end:].decode()
        edits.append((node.lineno, node.lineno, [text]))
    hits = _differences(source, place)
    return (hits[0].at, source.edited(hits[0].cell, edits)) if edits else None


def _preprocessed_before(source: Source, place: Place | None) -> Mend | None:
    """The line that preprocesses, above the one that starts the clock."""
    assigned = list(_inside(source, place, ast.Assign))
    for one in assigned:
        if not re.search(r"\bpreprocess\(", ast.unparse(one.node.value)):
            continue
        for clock in assigned:
            starts = isinstance(clock.node.value, ast.Call) and not clock.node.value.args
            if (
                starts
                and clock.node.lineno < one.node.lineno
                and re.search("time|clock|counter", ast.unparse(clock.node.value.func))
            ):
                rows = source.lines(one.cell)[one.node.lineno - 1 : one.node.end_lineno]
                first = clock.node.lineno
                moved = [(one.node.lineno, one.node.end_lineno, []), (first, first - 1, rows)]
                return one.at, source.edited(one.cell, moved)
    return None


_THOUSANDS: Final = re.compile(r"\s*\*\s*(1000(\.0)?|1e3)(?![\d.])")


def _thousand_once(source: Source, place: Place | None) -> Mend | None:
    edits = []
    for one in _differences(source, place):
        number = one.node.lineno
        row = source.lines(one.cell)[number - 1]
        new = re.sub(r"1e6|1000000(\.0)?", "1000", row)
        if len(_THOUSANDS.findall(row)) > 1:
            new = _THOUSANDS.sub("", row, count=1)
        if new != row:
            edits.append((number, number, [new]))
    hits = _differences(source, place)
    return (hits[0].at, source.edited(hits[0].cell, edits)) if edits else None


def _start_again(source: Source, place: Place | None) -> Mend | None:
    """The second time is taken from a clock of its own."""
    hits = sorted(_differences(source, place), key=lambda one: one.node.lineno)
    if len(hits) < 2:
        return None
    first, second = hits[0].node, hits[-1].node
    now, start = ast.unparse(first.left), ast.unparse(second.right)
    for one in _inside(source, place, ast.Assign):
        if ast.unparse(one.node.targets[0]) == start and isinstance(one.node.value, ast.Name):
            return one.at, source.replaced(bound(one), now)
    if start != ast.unparse(first.right):
        return None
    margin = indent_of(source.lines(hits[0].cell)[first.lineno - 1])
    new = [f"{margin}{start} = {now}"]
    return hits[-1].at, source.diff(hits[0].cell, first.end_lineno + 1, first.end_lineno, new)


def _divided(source: Source, place: Place | None) -> Mend | None:
    """By the number that each loop of runs counts to."""
    loops = [
        one.node for one in _inside(source, place, ast.For)
        if isinstance(one.node.iter, ast.Call) and ast.unparse(one.node.iter.func) == "range"
        and len(one.node.iter.args) == 1
    ]  # fmt: skip
    edits = []
    for one in _differences(source, place):
        before = [loop for loop in loops if loop.end_lineno < one.node.lineno]
        if before:
            count = ast.unparse(max(before, key=lambda loop: loop.lineno).iter.args[0])
            number = one.node.lineno
            row = source.lines(one.cell)[number - 1].encode()
            start, end = one.node.col_offset, one.node.end_col_offset
            if row[start - 1 : start] == b"(" and row[end : end + 1] == b")":
                end += 1
            text = row[:end].decode() + f" / {count}" + row[end:].decode()
            if row[end - 1 : end] != b")":
                text = f"{row[:start].decode()}({row[start:end].decode()}) / {count}{row[end:].decode()}"
            edits.append((number, number, [text]))
    hits = _differences(source, place)
    return (hits[0].at, source.edited(hits[0].cell, edits)) if edits else None


def _shown_times(source: Source, place: Place | None) -> Mend | None:
    """The text's own expressions, each behind its model's name."""
    edits: list[tuple[int, int, list[str]]] = []
    cell = place.cell if place else 0
    for number in _rows(place):
        row = source.lines(cell)[number - 1]
        new = re.sub(
            r"(?i)(?:\b|(?<=\\n))(fp32|int8)(\W{1,12}\{\s*)(fp32|int8)(\w*)",
            lambda m: f"{m[1]}{m[2]}{m[1].lower()}{m[4]}",
            row,
        )
        if new != row:
            edits.append((number, number, [new]))
    return ((cell, edits[0][0]), source.edited(cell, edits)) if edits else None


def _rows(place: Place | None) -> range:
    node: Any = place.node if place else None
    return range(node.lineno, node.end_lineno + 1) if node else range(0)


# Names, constants, the speed-up

SPEEDUP: Final = "fp32_ms / int8_ms"


def renamed(names: Sequence[str], source: Source, place: Place | None) -> Mend:
    """Another name for the result where one of these is assigned."""

    def assigns(node: ast.AST) -> bool:
        return isinstance(node, ast.Assign) and any(ast.unparse(t) in names for t in node.targets)

    hit = within(source, place, assigns)
    if hit is None:
        return None, ""
    name, text = names[-1], ast.unparse(hit.node)
    return hit.at, source.replaced(
        hit, text.replace(f"{name} =", f"{name.replace('out', 'logits')} =", 1)
    )


def constant(source: Source, place: Place | None, fits: Callable[[Any], bool]) -> Place | None:
    """The assignment of a constant for which ``fits`` holds."""
    return within(
        source,
        place,
        lambda n: (
            isinstance(n, ast.Assign) and isinstance(n.value, ast.Constant) and fits(n.value.value)
        ),
    )


def speedup(source: Source, place: Place | None) -> Mend:
    """The quotient, where it is assigned."""

    def assigns(node: ast.AST) -> bool:
        return isinstance(node, ast.Assign) and bool(
            re.search(r"speed|ratio|faster", ast.unparse(node.targets[0]), re.IGNORECASE)
        )

    hit = within(source, place, assigns)
    if hit is None:
        return None, f"speedup = {SPEEDUP}"
    return hit.at, source.replaced(bound(hit), SPEEDUP)
