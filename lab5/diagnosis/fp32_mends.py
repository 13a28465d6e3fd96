"""How the network, its loading and its export are mended: the lines at fault as a diff, else what they should say."""

from __future__ import annotations

import ast
import re
from typing import Any, Final

from lab5.diagnosis.source import Mend, Place, Source, where
from lab5.notebook.source import indent_of

_FORWARD: Final = "return F.relu(self.left(x) + self.shortcut(x))"
_STRIDES: Final = ("1", "2", "2", "2")  # of layer1 to layer4
# name of a cause -> what the line says at which it stands, in the block's or the network's forward
_IN_BLOCK: Final = {
    "shortcut_missing": "left|conv|bn", "shortcut_doubled": "shortcut", "relu_missing": "return",
    "relu_before_the_addition": "relu", "another_activation": r"F\.|act",
}  # fmt: skip
_IN_NETWORK: Final = {
    "softmax_included": "softmax|sigmoid|return", "maximum_for_average": "max|pool",
    "pooling_behind_the_stem": "max",
}  # fmt: skip


def keyword(call: Place | None, name: str) -> Any:
    """The constant that a call gives; None where it gives none."""
    if call is None:
        return None
    value = next((k.value for k in call.node.keywords if k.arg == name), None)
    return value.value if isinstance(value, ast.Constant) else None


def export(source: Source | None, call: Place | None, **keywords: str) -> Mend:
    """The call of the exporter with other keywords."""
    if source is None or call is None:
        shown = ", ".join(f"{k}={v}" for k, v in keywords.items())
        return None, f"torch.onnx.export(…, {shown})"
    return call.at, source.with_keywords(call, **keywords)


def eval_mode(source: Source | None, call: Place | None) -> Mend:
    """``eval()`` before the call of the exporter."""
    if source is None or call is None:
        return None, "model.eval()"
    wrong = (".train()", ".eval", ".eval(False)", ".train(True)")
    for place in source.nodes(ast.Expr):
        if ast.unparse(place.node.value).endswith(wrong):
            return place.at, source.replaced(place, "model.eval()")
    model = ast.unparse(call.node.args[0]) if call.node.args else "model"
    return call.at, source.with_keywords(call, before=f"{model}.eval()")


def load(source: Source, call: Place | None) -> Mend:
    """``load_state_dict`` of what the file holds of the network; ``call`` is the one that is there."""
    right = [
        'state = {k: v for k, v in state.items() if not k.endswith(("total_ops", "total_params"))}',
        "model.load_state_dict(state)",
    ]
    loaded = source.call(r"torch\.load")
    if loaded is None:
        return where(call), "\n".join(right)
    margin = indent_of(source.lines(loaded.cell)[loaded.node.lineno - 1])
    end = loaded.node.end_lineno
    edits = [(end + 1, end, [margin + line for line in right])]
    if call is not None and call.cell == loaded.cell:
        edits.append((call.node.lineno, call.node.end_lineno, []))
    return (call or loaded).at, source.edited(loaded.cell, edits)


def _stage_strides(source: Source) -> list[Place]:
    """The strides of the calls of ``make_layer``, in their order."""
    found = []
    for place in source.nodes(ast.Call):
        call = place.node
        if ast.unparse(call.func).endswith("make_layer"):
            named = [k.value for k in call.keywords if k.arg == "stride"]
            found += [Place(place.cell, value) for value in (named or call.args[-1:])]
    return sorted(found, key=lambda place: (*place.at, place.node.col_offset))


def strides(source: Source) -> str:
    """Those of the stem and the four stages as they stand there; "?" if they are not so called."""
    found = [ast.unparse(place.node) for place in _stage_strides(source)]
    return ", ".join(["1", *found]) if len(found) == len(_STRIDES) else "?"


def _forward(source: Source, class_: str | None) -> Place | None:
    place = source.class_(class_)
    for node in place.node.body if place else ():
        if place and isinstance(node, ast.FunctionDef) and node.name == "forward":
            return Place(place.cell, node)
    return None


def _body(source: Source, function: Place, says: str, new: list[str], flags: int = 0) -> Mend:
    """The lines of a function anew; its last one that says so is at fault."""
    body = function.node.body
    hit = next((n for n in reversed(body) if re.search(says, ast.unparse(n), flags)), body[-1])
    margin = " " * body[0].col_offset
    lines = [margin + line for line in new]
    return (function.cell, hit.lineno), source.diff(
        function.cell, body[0].lineno, body[-1].end_lineno, lines
    )


def network(source: Source, probe: dict[str, Any], cause: str, words: str) -> Mend:
    """The lines of the network that are at fault, in the assignment's words.

    Args:
        cause: the name of its function.
        words: what was particular of it.
    """
    forward = _forward(source, probe.get("block"))
    if cause in _IN_BLOCK and "conv1" not in words and "convolutions" not in words and forward:
        return _body(source, forward, _IN_BLOCK[cause], [_FORWARD])
    if cause == "another_stride":
        wrong = [
            (place, right)
            for place, right in zip(_stage_strides(source), _STRIDES, strict=False)
            if ast.unparse(place.node) != right
        ]
        if wrong:
            mends = [source.replaced(place, right) for place, right in wrong]
            return wrong[0][0].at, "\n".join(mends)
    forward = _forward(source, probe.get("network"))
    if cause in _IN_NETWORK and forward:
        argument = forward.node.args.args[1].arg
        lines = [
            f"out = self.conv1({argument})", *(f"out = self.layer{n}(out)" for n in (1, 2, 3, 4)),
            "out = F.avg_pool2d(out, 4)", "out = out.view(out.size(0), -1)", "out = self.fc(out)",
            "return out",
        ]  # fmt: skip
        return _body(source, forward, _IN_NETWORK[cause], lines, re.IGNORECASE)
    stem = cause == "relu_missing" and "conv1" in words
    whole = source.class_(probe.get("network" if stem else "block"))
    return where(whole), classes(source, probe)


def classes(source: Source, probe: dict[str, Any]) -> str:
    """Both classes as the assignment has them, as a diff of what differs."""
    from lab5.notebook.source import module

    diffs = []
    for name, ours in ((probe.get("block"), "BasicBlock"), (probe.get("network"), "ResNet18")):
        place = source.class_(name)
        if place is not None:
            new = module("model").source(ours).split("\n")
            diffs.append(source.diff(place.cell, place.node.lineno, place.node.end_lineno, new))
    return "\n".join(diff for diff in diffs if diff)
