"""How ``preprocess`` is mended: the lines that do a faulty step, in the assignment's words."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import Any, Final

from lab5.assignment import CIFAR10_MEAN, CIFAR10_STD
from lab5.diagnosis import preprocessing as p
from lab5.diagnosis.source import Mend, Place, Source

# The steps in their order: what a line with it says, and what it should say; {0} is read, {1} is bound.
_STEPS: Final[tuple[tuple[str, str, str], ...]] = (
    ("picture", r"convert|resize|crop|thumbnail|paste|composite|Resize|ImageOps|\.open|quantize|cvtColor|transpose\(Image|new\(",
     '{1} = {0}.convert("RGB").resize((32, 32))'),
    ("array", r"asarray|np\.array|ToTensor|from_numpy|to_tensor|pil_to|/ ?\(?25[56]|/ ?127|// ?25",
     "{1} = np.asarray({0}, dtype=np.float32) / 255.0"),
    ("values", r"MEAN|STD|mean|std|Normalize|clip|/ ?0\.|\) / | - |min\(|max\(", "{1} = ({0} - CIFAR10_MEAN) / CIFAR10_STD"),
    ("layout", r"transpose|permute|reshape|moveaxis|swapaxes|rollaxis|\.T\b|::-1|\[2, 1, 0\]|view", "{1} = {0}.transpose(2, 0, 1)"),
    ("batch", r"None|newaxis|expand_dims|unsqueeze|astype|dtype", "{1} = {0}[None, ...].astype(np.float32)"),
)  # fmt: skip

_STEP_OF: Final[dict[Any, str]] = {
    **dict.fromkeys((p.another_filter, p.cropped, p.padded, p.resized_twice, p.another_size, p.not_resized,
                     p.thumbnail_for_resize, p.grey_for_colour, p.other_colour_space, p.laid_on_a_background,
                     p.not_converted_to_rgb, p.first_three_channels, p.alpha_kept, p.grey_kept,
                     p.palette_taken_for_grey, p.resized_before_converting), "picture"),
    **dict.fromkeys((p.not_divided_by_255, p.divided_by_255_twice, p.divided_by_256, p.divided_by_half_of_255,
                     p.divided_by_another_number, p.divided_as_integers), "array"),
    **dict.fromkeys((*filter(None, p.FORMULAS), p.scaled_by_its_own_statistics, p.clipped,
                     p.multiplied_after_normalising,
                     p.constants_for_channels_last), "values"),
    **dict.fromkeys((*filter(None, p.LAYOUTS), p.mirrored, p.upside_down, p.channels_reversed,
                     p.channels_permuted), "layout"),
    **dict.fromkeys((p.no_batch_axis, p.batch_axis_twice, p.batch_axis_elsewhere, p.double_precision,
                     p.half_precision, p.another_type, p.rounded_to_integers), "batch"),
}  # fmt: skip
_CONSTANTS: Final = {"CIFAR10_MEAN": CIFAR10_MEAN, "CIFAR10_STD": CIFAR10_STD}


def mended_preprocess(source: Source, function: str, cause: Any, causes: Sequence[Any]) -> Mend:
    """Where a cause stands in ``preprocess``, and all of them mended, as a diff.

    Args:
        causes: all that were named; the mend takes them away together.
    """
    place = source.function(function)
    if place is None:
        return None, _whole("image")
    constants = _wrong_constants(source)
    if constants and cause is p.other_constants:
        (first, *_) = constants
        return first[0].at, "\n".join(source.replaced(one, new) for one, new in constants)
    body = _steps(place)
    at = next((s.lineno for s, steps in body if _STEP_OF.get(cause, "picture") in steps), None)
    if at is None:  # nothing does it: where it should stand
        at = next((s.lineno for s, _ in reversed(body)), place.node.lineno)
    return (place.cell, at), _mend(source, place, body, causes)


def _whole(image: str) -> str:
    found, name = [], image
    for _, _, line in _STEPS:
        bound = "img" if "convert" in line else "arr"
        found.append(line.format(name, bound))
        name = bound
    return "\n".join([*found, "return arr"])


def _wrong_constants(source: Source) -> list[tuple[Place, str]]:
    """The given lines of mean and deviation that say other numbers, with what they should say."""
    found = []
    for name, want in _CONSTANTS.items():
        place = source.assignment(name)
        if place is None:
            continue
        numbers = [n.value for n in ast.walk(place.node.value)
                   if isinstance(n, ast.Constant) and isinstance(n.value, float)]  # fmt: skip
        if len(numbers) == 3 and max(abs(a - b) for a, b in zip(numbers, want, strict=True)) > 1e-3:
            right = ", ".join(f"{v:.4f}" for v in want)
            found.append(
                (Place(place.cell, place.node), f"{name} = np.array([{right}], dtype=np.float32)")
            )
    return found


def _steps(place: Place) -> list[tuple[ast.stmt, set[str]]]:
    """The statements behind the docstring and the guards, each with the steps that it does."""
    found = []
    for statement in place.node.body:
        text = ast.unparse(statement)
        steps = {name for name, pattern, _ in _STEPS if re.search(pattern, text)}
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue
        if isinstance(statement, ast.If) and any(
            isinstance(n, ast.Raise) for n in ast.walk(statement)
        ):
            continue
        if "array" in steps and not re.search(r"MEAN|STD|mean|std|Normalize|clip| - ", text):
            steps -= {"values"}  # its own division
        if "array" in steps:  # whose dtype= is no step of its own
            steps -= {"batch"} if not re.search(r"\[None|newaxis|expand|unsqueeze", text) else set()
            steps -= (
                {"layout"}
                if "transpose" not in text and "reshape" not in text and "::-1" not in text
                else set()
            )
        found.append((statement, steps))
    return found


def _mend(
    source: Source, place: Place, body: list[tuple[ast.stmt, set[str]]], causes: Sequence[Any]
) -> str:
    """The faulty steps' lines anew; where they are no plain lines, all from the first one on."""
    if not body:
        return ""
    wanted = {_STEP_OF.get(one, "picture") for one in causes}
    indent = " " * body[0][0].col_offset
    argument = place.node.args.args[0].arg if place.node.args.args else "image"
    work = [one for one in body if not isinstance(one[0], ast.Return)]
    plain = all(
        isinstance(s, ast.Assign) and len(s.targets) == 1 and isinstance(s.targets[0], ast.Name)
        for s, _ in work
    ) and [isinstance(s, ast.Return) and isinstance(s.value, ast.Name) for s, _ in body][-1:] == [
        True
    ]
    order = [name for name, _, _ in _STEPS]
    line_of = {name: line for name, _, line in _STEPS}
    done = [name for _, steps in work for name in order if name in steps]
    if p.random_augmentation in causes or not plain or done != sorted(set(done), key=order.index):
        new = [indent + line for line in _whole(argument).split("\n")]
        return source.diff(place.cell, body[0][0].lineno, body[-1][0].end_lineno or 0, new)
    missing = [name for name in order if name not in done]
    edits: list[tuple[int, int, list[str]]] = []
    name = argument
    queue = list(order)
    for statement, steps in work:
        target = statement.targets[0].id  # type: ignore[attr-defined]
        mine = [one for one in order if one in steps]
        before = [one for one in queue[: queue.index(mine[0])] if mine] if mine else []
        new = []
        for one in before:
            if one in missing and one in wanted:
                bound = "img" if one == "picture" else "arr"
                new.append(indent + line_of[one].format(name, bound))
                name = bound
        queue = queue[queue.index(mine[-1]) + 1 :] if mine else queue
        if steps & wanted:
            for one in mine:
                new.append(indent + line_of[one].format(name, target))
                name = target
            edits.append((statement.lineno, statement.end_lineno or 0, new))
        elif new:
            edits.append((statement.lineno, statement.lineno - 1, new))
        name = target
    last = body[-1][0]
    new = []
    for one in queue:
        if one in missing and one in wanted:
            new.append(indent + line_of[one].format(name, name))
    if new:
        edits.append((last.lineno, last.lineno - 1, new))
    if not edits:
        new = [indent + line for line in _whole(argument).split("\n")]
        return source.diff(place.cell, body[0][0].lineno, last.end_lineno or 0, new)
    return source.edited(place.cell, edits)
