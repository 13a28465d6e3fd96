"""1.2: why a checkpoint does not load: how its keys are called, or whose they are."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from lab5.assignment import CLASSES, NUM_CLASSES, network_source
from lab5.diagnosis.core import Findings, cause, listed
from lab5.diagnosis.fp32 import another_checkpoint, classes_in_another_order
from lab5.diagnosis.source import Source
from lab5.errors import About, CheckpointError
from lab5.grading.evidence.checkpoint import is_plain
from lab5.notebook.source import indent_of
from lab5.text import Text

_COUNTS = ("total_ops", "total_params", "num_batches_tracked")


@cause(
    "1.2",
    Text(
        "The checkpoint's keys begin with {}: strict loading refuses them all.",
        "權重檔的鍵都以 {} 開頭：嚴格載入會全部報錯。",
    ),
)
def keys_prefixed(keys: Iterable[str], wanted: Iterable[str]) -> str:
    """What stands before the network's own names."""
    keys = list(keys)
    ends = [k.removesuffix("conv1.0.weight") for k in keys if k.endswith("conv1.0.weight")]
    cut = set(keys)
    return next((p for p in ends if p and {f"{p}{n}" for n in wanted} <= cut), "")


@cause(
    "1.2",
    Text(
        "The checkpoint's keys hold {}, which a wrapper put there.",
        "權重檔的鍵中間多了 {}，是包裝模型時加上的。",
    ),
)
def keys_wrapped(keys: Iterable[str], wanted: set[str]) -> str:
    for word in ("module.", "_orig_mod.", "model.", "_fsdp_wrapped_module."):
        if wanted <= {k.replace(word, "") for k in keys}:
            return word
    return ""


@cause("1.2", Text("The checkpoint's keys are called otherwise: {}.", "權重檔的鍵名稱不同：{}。"))
def keys_renamed(state: dict[str, Any], wanted: dict[str, tuple[int, ...]]) -> dict[str, str]:
    """{key: the network's name} if the shapes are the network's in its order, or name by name by their parts."""
    shapes = [(k, tuple(np.shape(v))) for k, v in state.items()]
    if [s for _, s in shapes] == list(wanted.values()):
        return {k: n for (k, _), n in zip(shapes, wanted, strict=True) if k != n}
    if sorted(s for _, s in shapes) != sorted(wanted.values()):
        return {}
    by_stem: dict[str, str] = {}
    left = dict(wanted)
    for key, shape in shapes:  # the same order within each shape and kind of value
        end = key.rpartition(".")[2]
        name = next(
            (n for n, s in left.items() if s == shape and n.rpartition(".")[2] == end), None
        )
        if name is None:
            return {}
        by_stem[key] = name
        del left[name]
    return {k: n for k, n in by_stem.items() if k != n}


@cause("1.2", Text("The weights lie inside the file, under {}.", "權重放在檔案裡的 {} 之下。"))
def weights_inside(content: Any) -> str:
    return ""


@cause("1.2", Text("The checkpoint is of another architecture: {}.", "權重檔屬於另一種架構：{}。"))
def checkpoint_of_another_architecture(about: About) -> bool:
    return about == "network"


@cause(
    "1.2",
    Text(
        "The checkpoint lacks weights or holds unusable ones: {}.",
        "權重檔缺少權重，或其中有無法使用的值：{}。",
    ),
)
def checkpoint_incomplete(about: About) -> bool:
    return about == "weights"


@cause("1.2", Text("The file is no checkpoint: {}.", "這個檔案不是權重檔：{}。"))
def no_checkpoint(about: About) -> bool:
    return about == "file"


@cause(
    "1.2",
    Text(
        "The classes are in another order in the checkpoint's last layer: {}.",
        "權重檔最後一層的類別順序不同：{}。",
    ),
)
def checkpoint_classes_in_another_order(weight: np.ndarray, given: np.ndarray) -> list[int] | None:
    return classes_in_another_order(weight, given)


def mapping(renamed: dict[str, str]) -> list[str]:
    """The renaming as the few replacements that make it: ``conv1. → left.0.``."""
    found: dict[str, None] = {}
    for key, name in renamed.items():
        a, b = key.split("."), name.split(".")
        while a and b and a[0] == b[0]:
            a, b = a[1:], b[1:]
        while a and b and a[-1] == b[-1]:
            a, b = a[:-1], b[:-1]
        found[f"{'.'.join(a)} → {'.'.join(b)}"] = None
    return list(found)


def look(path: Path, found: Findings, source: Source | None, reference: Path | None = None) -> None:
    """Name why the checkpoint does not load as it is.

    Args:
        reference: the handed-out one, where ``path`` is another.
    """
    found.tries((keys_prefixed, keys_wrapped, keys_renamed, weights_inside, checkpoint_of_another_architecture,
                 checkpoint_incomplete, no_checkpoint, checkpoint_classes_in_another_order))  # fmt: skip
    other = reference if reference and reference.resolve() != path.resolve() else None
    if is_plain(path) and other is None:
        return
    from lab5.checkpoint import read_checkpoint

    at, line = None, 0
    load = source.call(r"load_state_dict") if source else None
    if load is not None:
        at, line = load.at, load.node.lineno

    def mend(statements: list[str]) -> str:
        if source is None or load is None:
            return "\n".join(statements)
        margin = indent_of(source.lines(load.cell)[line - 1])
        return source.diff(load.cell, line, line - 1, [margin + s for s in statements])

    try:
        checkpoint = read_checkpoint(path)
    except CheckpointError as error:
        _refused(path, error, found, at, mend)
        return
    state = {k: v for k, v in checkpoint.state.items() if k.rpartition(".")[2] not in _COUNTS}
    for statement in checkpoint.statements:
        text = re.findall(r'"([^"]+)"', statement)
        shown = repr(text[0]) if text else statement
        evidence = Text.of("; ".join(note.en for note in checkpoint.notes))
        for says, step in (
            ("removeprefix", keys_prefixed),
            (r"replace\(", keys_wrapped),
            (r"^state = state\[", weights_inside),
        ):
            if re.search(says, statement):
                found.name(step, evidence, detail=shown, at=at, mend=mend(checkpoint.statements))
                break
    if other is not None:
        _beside(state, read_checkpoint(other).state, found, at, mend)


def _beside(
    state: dict[str, Any], given: dict[str, Any], found: Findings, at: Any, mend: Any
) -> None:
    """Name in what the weights differ from the handed-out ones."""
    import torch

    order = None
    if not network_source():  # whose last layer is known
        order = checkpoint_classes_in_another_order(
            state["fc.weight"].float().numpy(), given["fc.weight"].float().numpy()
        )
    if order:
        shown = ", ".join(CLASSES[i] for i in order)
        mended = [
            f"state['fc.{part}'] = state['fc.{part}'][{[order.index(i) for i in range(NUM_CLASSES)]}]"
            for part in ("weight", "bias")
        ]
        found.name(
            checkpoint_classes_in_another_order,
            Text(
                "Its rows are the handed-out ones in this order.",
                "各列是老師權重檔的列，只是順序不同。",
            ),
            detail=shown,
            at=at,
            mend=mend(mended),
        )
    elif any(
        not torch.allclose(state[n].float(), given[n].float(), rtol=1e-3, atol=1e-4) for n in state
    ):
        found.name(
            another_checkpoint,
            Text("Its numbers are not those of --weights.", "數值與 --weights 的不同。"),
        )


def _refused(path: Path, error: CheckpointError, found: Findings, at: Any, mend: Any) -> None:
    import torch

    from lab5.checkpoint import wanted_parameters

    content = _content(path)
    wanted = {k: tuple(v.shape) for k, v in wanted_parameters().items()}
    plain = {n: s for n, s in wanted.items() if not n.endswith("num_batches_tracked")}
    for state in content:
        kept = {
            k: v
            for k, v in state.items()
            if isinstance(v, torch.Tensor) and k.rpartition(".")[2] not in _COUNTS
        }
        if renamed := keys_renamed(kept, plain):
            words = mapping(renamed)
            if all(k.endswith(n) for k, n in renamed.items()) and len(words) == 1:
                break
            pairs = _replacements(renamed)
            lines = [
                f"names = {pairs!r}",
                "for a, b in names.items():",
                "    state = {k.replace(a, b): v for k, v in state.items()}",
            ]
            if any(_replaced(k, pairs) != n for k, n in renamed.items()):
                lines = [
                    "state = dict(zip(model.state_dict(), state.values()))  # the order is the same, the names are not"
                ]
            found.name(
                keys_renamed,
                Text.of(listed([f"{k} → {n}" for k, n in renamed.items()], 3)),
                detail=listed(words, 8),
                at=at,
                mend=mend(lines),
            )
            return
    reason = Text(
        error.text.en.split(": " + str(path))[0].split("\n")[0],
        error.text.zh.split("：" + str(path))[0].split("\n")[0],
    )
    full = error.text
    for step in (checkpoint_incomplete, checkpoint_of_another_architecture, no_checkpoint):
        if step(error.about):
            found.name(
                step,
                full,
                detail=Text(reason.en[:160], reason.zh[:160]),
                mend=Text(
                    "Use the best_model.pth that was handed out.",
                    "請使用老師提供的 best_model.pth。",
                ),
            )
            return


def _replacements(renamed: dict[str, str]) -> dict[str, str]:
    """Parts of keys to parts of names, the longest first."""
    pairs: dict[str, str] = {}
    for words in mapping(renamed):
        a, _, b = words.partition(" → ")
        pairs[a] = b
    return dict(sorted(pairs.items(), key=lambda p: -len(p[0])))


def _replaced(key: str, pairs: dict[str, str]) -> str:
    for a, b in pairs.items():
        key = key.replace(a, b)
    return key


def _content(path: Path) -> list[dict[str, Any]]:
    """The dictionaries of tensors in a file that torch reads without running anything of it."""
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # torch raises a dozen types for what is no checkpoint
        return []
    queue, found = [content], []
    while queue:
        one = queue.pop()
        if isinstance(one, dict):
            if sum(isinstance(v, torch.Tensor) for v in one.values()) > 10:
                found.append(one)
            queue += [v for v in one.values() if isinstance(v, dict)]
    return found
