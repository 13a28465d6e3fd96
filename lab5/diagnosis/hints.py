"""Causes as the hints of the grader's checks: not only what is wrong, but which line made it so."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from lab5.diagnosis import fp32, int8, page, sessions
from lab5.diagnosis import preprocessing as p
from lab5.diagnosis.asked import Reader
from lab5.diagnosis.core import Named, name_of
from lab5.diagnosis.render import details
from lab5.errors import Lab5Error
from lab5.grading.core import Result
from lab5.grading.graded import Graded
from lab5.grading.rooms import Rooms
from lab5.text import Language, Text


def _names(*functions: Any) -> frozenset[str]:
    return frozenset(name_of(one) for one in functions if one is not None)


_COMPUTED: Final = (*fp32.BODIES, fp32.softmax_included, fp32.preprocessing_in_the_model)
_SESSIONS: Final = (sessions.path_ignored, sessions.session_not_returned)
# check -> the causes that make it fail; a cause that is nowhere here may fail any of its item
CAUSED: Final[dict[str, frozenset[str]]] = {
    "network-parameters": _names(
        fp32.parameters_renamed, fp32.convolutions_with_bias, fp32.batch_norm_missing,
        fp32.another_architecture,
    ),
    "network-output": _names(*_COMPUTED),
    "weights-loaded": _names(fp32.weights_not_loaded),
    "model-in-eval-mode": _names(fp32.training_mode),
    "fp32-opset": _names(fp32.another_opset),
    "fp32-names": _names(fp32.other_names),
    "fp32-shapes": _names(fp32.half_precision_model, fp32.another_architecture),
    "fp32-inference-graph": _names(fp32.training_mode, fp32.quantised_fp32),
    "fp32-parity": _names(*_COMPUTED, fp32.another_architecture),
    "fp32-carries-weights": _names(
        fp32.weights_not_loaded, fp32.weights_loaded_in_part, fp32.another_checkpoint,
        fp32.layers_changed, fp32.classes_in_another_order, fp32.batch_norm_folded_wrongly,
        fp32.another_architecture,
    ),
    "int8-static": _names(int8.not_quantised, int8.quantised_dynamically),
    "int8-qoperator": _names(int8.qdq_format),
    "int8-every-convolution": _names(int8.convolutions_left_out),
    "int8-per-channel": _names(int8.per_tensor_weights),
    "int8-weight-type": _names(int8.another_weight_type),
    "int8-no-overflow": _names(int8.other_answers_without_vnni),
    "int8-from-fp32": _names(int8.made_from_another_fp32, int8.int8_layers_changed),
    "int8-agrees": _names(
        int8.made_from_another_fp32, int8.int8_layers_changed, int8.calibrated_on_another_range,
        int8.activations_saturate, int8.range_too_wide,
    ),
    "int8-size": _names(int8.not_quantised, int8.convolutions_left_out),
    "int8-speed": _names(
        int8.int8_activations, int8.quantised_dynamically, int8.convolutions_left_out
    ),
    "session-path": _names(*_SESSIONS),
    "session-providers": _names(*_SESSIONS, sessions.providers_ignored),
    "sessions-opened": _names(*_SESSIONS, sessions.one_file_opened_twice, sessions.files_exchanged),
    "preprocess-shape": _names(
        p.channels_last, p.no_batch_axis, p.batch_axis_twice, p.batch_axis_elsewhere,
        p.another_size, p.not_resized, p.thumbnail_for_resize, p.constants_for_channels_last,
    ),
    "preprocess-dtype": _names(*p.TYPES, p.another_type),
    "preprocess-values": _names(
        *p.LAYOUTS, p.mirrored, p.upside_down, *p.SCALES, p.divided_by_another_number,
        p.multiplied_after_normalising,
        *p.FORMULAS, *p.ORDERS, *p.BENT, p.other_colour_space, p.random_augmentation,
    ),
    "preprocess-sizes": _names(p.another_filter, *p.GEOMETRIES),
    "preprocess-modes": _names(*p.MODES, p.resized_before_converting),
    "compare-outputs": _names(
        page.batch_axis_in_the_comparison, page.batch_axis_of_the_logits,
        page.name_assigned_before_it_is_read,
    ),
    "compare-top3": _names(page.least_likely_listed),
    "compare-probabilities": _names(
        *page.FUNCTIONS, page.least_likely_listed, page.one_session_twice, page.models_exchanged
    ),
    "compare-labels": _names(page.labels_permuted),
    "compare-times": _names(*page.TIMES, page.constant_figures),
    "compare-speedup": _names(*page.SPEEDUPS, page.constant_figures),
}  # fmt: skip

_TOLD: Final = frozenset[str]().union(*CAUSED.values())


def with_causes(
    graded: Graded, path: Path, rooms: Rooms, weights: Path | None = None, *, seconds: float
) -> Graded:
    """The same results, a cause in place of the hint of each check that one made fail.

    Args:
        path: the zip that was graded.
        rooms: in which it was.
        weights: the checkpoint that the zip's models should carry.
        seconds: by the clock; what is not found then stays unknown.
    """
    until = time.monotonic() + seconds
    if not any(_explicable(one) for one in graded.checks):
        return graded
    files = {"archive": path, "weights": weights}
    try:
        there = {key: file.resolve() for key, file in files.items() if file}
        with Reader(rooms, there, seed=graded.seed, until=until) as reader:
            causes = reader.diagnosis(checks=False).causes
    except Lab5Error:  # the grader's own hints stay
        return graded
    finally:
        rooms.renew()
    return replace(graded, checks=tuple(explained(one, causes) for one in graded.checks))


def _explicable(one: Result) -> bool:
    return one.status in ("fail", "advice") and one.name in CAUSED


def explained(one: Result, causes: Iterable[Named]) -> Result:
    """A check's result with its causes for a hint; where none is known, as it was."""
    if not _explicable(one):
        return one
    mine = [cause for cause in causes if cause.item == one.item]
    fits = [cause for cause in causes if cause.name in CAUSED[one.name]]
    fits = fits or [cause for cause in mine if cause.name not in _TOLD]
    if not fits and one.item == "2.1":  # one function: what is wrong in it may show anywhere
        fits = mine
    if not fits:
        return one
    return replace(one, hint=Text(_said(fits, "en"), _said(fits, "zh-TW")))


def _said(causes: list[Named], lang: Language) -> str:
    lines: list[str] = []
    for cause in causes:
        lines += [cause.sentence.say(lang), *(f"  {line}" for line in details(cause, lang))]
    return "\n".join(lines)
