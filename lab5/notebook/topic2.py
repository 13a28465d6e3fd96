"""2.1 to 2.4: the preprocessing, the comparison, the page and its public link."""

from __future__ import annotations

import ast
import re
from typing import Final

from lab5.errors import NotebookError
from lab5.grading.evidence.blanks import is_blank, is_ellipsis
from lab5.notebook.cell import COMPARE, Cell, Definition
from lab5.notebook.filling import Filling, function, kind_of, name_of
from lab5.notebook.source import bound_by, module, read_by
from lab5.notebook.todo import markers

KINDS: Final = ("fp32", "int8")


def preprocess(f: Filling) -> None:
    function(f, "2.1", "preprocess", "preprocess")


# What a name that the code below reads stands for.
_ROLES: Final = (
    ("speedup", r"speed|ratio|faster"),
    ("top", r"top"),
    ("seconds", r"_s_|sec"),
    ("ms", r"ms_|_t_|_t\d|time|lat|elapsed|dt_|dur|cost"),
    ("probs", r"_p_|_p\d|prob|soft|conf"),
    ("logits", r"out|logit|pred|res|_y_|_y\d|raw|score"),
)


def compare(f: Filling) -> None:
    found = f.find(COMPARE)
    if found is None:
        raise NotebookError(
            f"The template has no function {COMPARE}. Use the handed-out EAI_lab5.ipynb.",
            zh=f"模板中沒有 {COMPARE} 函式。請使用老師提供的 EAI_lab5.ipynb。",
        )
    cell, compare = found
    for blank in reversed(cell.blanks(compare)):
        if isinstance(blank, ast.Assign):  # ``fp32_ms =``: read below, and bound like what else is
            cell.cut(blank)
    wanted = _wanted(cell, _again(cell))
    if not wanted and not _empty(_again(cell)):
        return
    from lab5.notebook.trial import works

    before, tried = cell.text, []
    for index in ("", "[0]"):  # whether the given functions take (1, 10) or (10,)
        cell.text = before
        sessions = _answer(cell, wanted, index)
        tried.append(cell.text)
        if works([c.source for c in f.cells], sessions):
            return
    cell.text = tried[0]


def _again(cell: Cell) -> Definition:
    compare = cell.definition(COMPARE)
    assert compare is not None
    return compare


def _empty(compare: Definition) -> list[ast.Call]:
    """The calls without arguments of what takes logits or probabilities, the last one first."""
    found = [
        node
        for node in ast.walk(compare)
        if isinstance(node, ast.Call)
        and not (node.args or node.keywords)
        and re.search(r"softmax|^top", ast.unparse(node.func))
    ]
    return sorted(found, key=lambda node: (-node.lineno, -node.col_offset))


def _wanted(cell: Cell, compare: Definition) -> dict[str, str]:
    """The names that the function reads and nothing there binds, each with its role."""
    assert not isinstance(compare, ast.ClassDef)
    own = {a.arg for a in ast.walk(compare.args) if isinstance(a, ast.arg)}
    own |= {
        n.id
        for n in ast.walk(compare)
        if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)
    }
    own |= bound_by(ast.Module(compare.body, []))
    # Not what a given ``run([out_fp32], {in_fp32: x})`` reads: the names of the model's ends.
    runs = [
        c
        for c in ast.walk(compare)
        if isinstance(c, ast.Call) and ast.unparse(c.func).endswith(".run")
    ]
    own |= {name for call in runs for name in read_by(call)}
    elsewhere, found = cell.bound(), {}
    for name in dict.fromkeys(n.id for n in ast.walk(compare) if isinstance(n, ast.Name)):
        role = next((r for r, words in _ROLES if re.search(words, f"_{name.lower()}_")), "")
        if name in own or not role or not (kind_of(name) or role == "speedup"):
            continue
        # Even one that is bound above: the cells before call other results out_fp32 or y_fp32.
        if name not in elsewhere or (name.islower() and role in ("ms", "logits", "probs")):
            found[name] = role
    text = ast.unparse(compare)
    return {
        name: "seconds" if role == "ms" and re.search(rf"\b{name} \* 1000", text) else role
        for name, role in found.items()
    }


def _answer(cell: Cell, wanted: dict[str, str], index: str) -> list[str]:
    """Time both models below ``# Your progarm`` and hand the results on; the sessions' names."""
    compare = _again(cell)
    names = {kind: {role: n for n, role in wanted.items() if kind_of(n) == kind} for kind in KINDS}
    for kind in KINDS:
        names[kind].setdefault("logits", f"logits_{kind}")
        names[kind].setdefault("probs", f"p_{kind}")
    empty = _empty(compare)
    for at, call in enumerate(empty):
        statement = next(
            s
            for s in ast.walk(compare)
            if isinstance(s, ast.stmt) and call in ast.walk(s) and not hasattr(s, "body")
        )
        kind = kind_of(cell.segment(statement)) if len(empty) != 2 else KINDS[1 - at]
        role = "logits" if "softmax" in ast.unparse(call.func) else "probs"
        cell.complete(
            call, f"f({names[kind or 'fp32'][role]}{index if role == 'logits' else ''})", (role,)
        )
    compare = _again(cell)
    picture = next(
        (
            name_of(n.targets[0])
            for n in ast.walk(compare)
            if isinstance(n, ast.Assign) and "preprocess(" in ast.unparse(n.value)
        ),
        None,
    )
    sessions, blocks = [], []
    timed = module("compare").closure(
        ["timed_run"], cell.bound() | bound_by(ast.Module(compare.body, []))
    )
    if "timed_run" not in cell.bound(compare):
        blocks.append(timed + "\n")
    if picture is None:
        assert not isinstance(compare, ast.ClassDef)
        picture = "x"
        blocks.append(f"x = preprocess({compare.args.args[0].arg})")
    for kind in KINDS:
        mine = names[kind]
        sessions.append(_session_name(cell, kind))
        ms = mine.get("ms", f"{kind}_ms")
        blocks.append(f"{mine['logits']}, {ms} = timed_run({sessions[-1]}, {picture})")
        if index and mine["logits"] in wanted:
            blocks.append(f"{mine['logits']} = {mine['logits']}[0]  # (1, 10) -> (10,)")
        if mine["probs"] in wanted:
            given = "" if mine["logits"] in wanted else index
            blocks.append(f"{mine['probs']} = softmax_np({mine['logits']}{given})")
        if "top" in mine:
            blocks.append(f"{mine['top']} = top3_map({mine['probs']})")
        if "seconds" in mine:
            blocks.append(f"{mine['seconds']} = {ms} / 1000")
    for name in [n for n, role in wanted.items() if role == "speedup"]:
        times = [names[kind].get("ms", f"{kind}_ms") for kind in KINDS]
        blocks.append(f"{name} = {times[0]} / {times[1]}")
    row, indent = _hole(
        cell,
        compare,
        set(wanted) | {names[k]["logits"] for k in KINDS} | {names[k]["probs"] for k in KINDS},
    )
    cell.insert(row, "\n".join(blocks), indent)
    return sessions


def _session_name(cell: Cell, kind: str) -> str:
    names = sorted(n for n in cell.bound() if kind_of(n) == kind and "sess" in n.lower())
    return f"sess_{kind}" if not names or f"sess_{kind}" in names else names[0]


def _hole(cell: Cell, compare: Definition, results: set[str]) -> tuple[int, str]:
    """Below ``# Your progarm``, else above the first statement that reads a result."""
    for row, part in markers(cell):
        if part == "2.2" and compare.lineno <= row < cell.end(compare):
            return cell.room(row)
    for statement in compare.body:
        if read_by(statement) & results:
            return statement.lineno - 1, cell.inside(compare)
    return cell.end(compare), cell.inside(compare)


def interface(f: Filling) -> None:
    body = module("app").body("build_interface")
    ours = body[body.index("return ") :].replace("return ", "demo = ", 1)
    call = ours.removeprefix("demo = ")
    if found := f.calls("Interface"):
        cell, theirs = found[-1]
        given = {k.arg for k in theirs.keywords}
        dots = [v for v in (*theirs.args, *(k.value for k in theirs.keywords)) if is_ellipsis(v)]
        if dots or not (len(theirs.args) >= 3 or {"fn", "inputs", "outputs"} <= given):
            cell.complete(theirs, call, ("fn", "inputs", "outputs"))
        return
    if f.calls("Blocks") or f.calls("TabbedInterface"):
        return
    for cell in f.cells:
        for node in cell.tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node) in ("demo = ...", "demo = None"):
                cell.insert(cell.cut(node), ours, "")
                return
    cell, row, indent = f.room("2.3")
    cell.insert(row, ours, indent)


def launch(f: Filling) -> None:
    ours = module("app").body("launch_public")
    if found := f.calls("launch"):
        cell, theirs = found[-1]
        cell.complete(theirs, ast.unparse(ast.parse(ours)))
        return
    demo = "demo"
    for cell, call in f.calls("Interface"):
        for node in cell.tree.body:
            if isinstance(node, ast.Assign) and node.value is call:
                demo = ast.unparse(node.targets[0])
    ours = ours.replace("demo", demo)
    for cell in f.cells[::-1]:
        for node in cell.tree.body:
            if isinstance(node, ast.If) and "__main__" in ast.unparse(node.test):
                blanks = [s for s in node.body if is_blank(s)]
                if len(blanks) == len(node.body):
                    indent = cell.inside(node)
                    row = min(cell.cut(blank) for blank in reversed(blanks))
                    cell.insert(row, ours, indent)
                    return
    cell, row, indent = f.room("2.4")
    cell.insert(row, ours, indent)
