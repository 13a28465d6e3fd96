"""2.2: what the page's function does with the two models' answers and times.

The notebook ran on stand-in models whose logits and times are known, so each cause predicts numbers.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lab5.assignment import CLASSES, NUM_CLASSES, TEMPLATE_CLASSES, TOP_K
from lab5.compare import softmax
from lab5.diagnosis import page_mends as mends
from lab5.diagnosis import sessions
from lab5.diagnosis.core import Findings, cause, listed
from lab5.diagnosis.source import Place, Source, where
from lab5.grading.checks.observed import MILLISECONDS
from lab5.grading.stand_ins.sessions import KINDS, PREPROCESSING, logits_of
from lab5.text import Text

if TYPE_CHECKING:
    from lab5.grading.handin import Evidence

_CLOSE: Final = 6e-3
Step = Callable[..., Any]

# Logits (10,) -> what is shown as probabilities


@cause(
    "2.2",
    Text(
        "The softmax is missing: logits are shown as probabilities.",
        "缺少 softmax：把 logits 當成機率顯示。",
    ),
)
def softmax_missing(z: np.ndarray) -> np.ndarray:
    return z


@cause(
    "2.2",
    Text(
        "The softmax is taken twice: all classes look alike.",
        "softmax 做了兩次：各類別機率因此接近。",
    ),
    symptoms=("ten-percent",),
)
def softmax_twice(z: np.ndarray) -> np.ndarray:
    return softmax(softmax(z))


@cause(
    "2.2",
    Text(
        "The softmax is taken over the wrong axis, the batch's: every class comes out as 1.",
        "softmax 的軸錯了（batch 軸）：每一類都是 1。",
    ),
    symptoms=("same-class",),
)
def softmax_over_the_wrong_axis(z: np.ndarray) -> np.ndarray:
    return np.ones_like(z)


@cause(
    "2.2",
    Text("Another function stands in place of the softmax: {}.", "用了其他函數代替 softmax：{}。"),
    symptoms=("ten-percent",),
)
def another_function_for_softmax(z: np.ndarray) -> Iterator[tuple[np.ndarray, str]]:
    yield 1 / (1 + np.exp(-z.clip(-500, 500))), "sigmoid"
    yield z / z.sum(), "x / sum(x)"
    yield np.exp(z), "exp"
    yield np.exp(z - z.max()), "exp(x - max)"
    yield np.log(softmax(z)), "log_softmax"
    yield softmax(-z), "softmax(-x)"
    yield (z - z.min()) / (z.max() - z.min()), "(x - min) / (max - min)"
    yield np.abs(z) / np.abs(z).sum(), "|x| / sum(|x|)"
    for base in (2.0, 10.0):
        yield softmax(z * np.log(base)), f"{base:g} ** x"
    for temperature in (0.1, 0.5, 2.0, 5.0, 10.0):
        yield softmax(z / temperature), f"softmax(x / {temperature:g})"


@cause(
    "2.2",
    Text(
        "The probabilities are given in per cent; gr.Label takes 0 to 1.",
        "機率以百分比表示；gr.Label 要的是 0～1。",
    ),
)
def probabilities_in_per_cent(z: np.ndarray) -> np.ndarray:
    return softmax(z) * 100


@cause(
    "2.2",
    Text(
        "The least likely classes are listed: argsort is not reversed.",
        "列出的是機率最低的類別：argsort 沒有反轉。",
    ),
)
def least_likely_listed(p: np.ndarray) -> np.ndarray:
    return np.argsort(p)[:TOP_K]


# Which model


@cause(
    "2.2", Text("One session is used for both results: {}.", "兩個結果都用了同一個 session：{}。")
)
def one_session_twice() -> Iterator[tuple[tuple[str, str], str]]:
    yield ("fp32", "fp32"), "FP32"
    yield ("int8", "int8"), "INT8"


@cause(
    "2.2",
    Text(
        "FP32's result comes from the INT8 model and the other way round.",
        "FP32 與 INT8 的結果對調了。",
    ),
)
def models_exchanged() -> Iterator[tuple[tuple[str, str], str]]:
    yield ("int8", "fp32"), ""


# Labels


@cause(
    "2.2",
    Text("The classes are in another order: {}.", "類別名稱的順序不同：{}。"),
    symptoms=("same-class",),
)
def labels_permuted(labels: list[str]) -> bool:
    return sorted(labels) == sorted(CLASSES) and labels != list(CLASSES)


# The batch axis and names


@cause(
    "2.2",
    Text(
        "The picture reaches the model with {} axes, not 4: the batch axis is lost or added twice in the comparison.",
        "送進模型的圖片有 {} 軸，應為 4 軸：比較函式中少了或多了 batch 軸。",
    ),
)
def batch_axis_in_the_comparison(error: str) -> str | None:
    match = re.search(
        r"Invalid rank for input.*Got: (\d+) Expected: 4|Got invalid dimensions.*Got: (\d+)", error
    )
    return match and (match[1] or "?")


@cause(
    "2.2",
    Text(
        "The batch axis of the logits (1, 10) is not taken off: the ten classes are looked for along an axis of length 1.",
        "logits (1, 10) 的 batch 軸沒有去掉：在長度 1 的軸上找十個類別。",
    ),
)
def batch_axis_of_the_logits(error: str) -> bool:
    return bool(re.search(r"index \d+ is out of bounds for axis 0 with size 1|only (length-1|0-dimensional|integer scalar)|can only convert an array of size 1|"
                          r"unsupported format string passed to numpy.ndarray|unhashable type|setting an array element", error))  # fmt: skip


@cause(
    "2.2",
    Text(
        "{} is assigned inside the function, and so cannot be read before: every picture ends in UnboundLocalError.",
        "{} 在函式內被賦值，賦值前就不能讀取：每張圖片都會出現 UnboundLocalError。",
    ),
)
def name_assigned_before_it_is_read(mended: list[str]) -> list[str]:
    return mended


# Times: seconds of a run of either model, and how many runs -> what is shown in ms


@dataclass(frozen=True)
class Clock:
    fp32: float
    int8: float
    fp32_runs: int
    int8_runs: int


def _right_times(c: Clock) -> tuple[float, float]:
    return c.fp32 * 1e3, c.int8 * 1e3


@cause(
    "2.2",
    Text(
        "Seconds are shown as milliseconds: * 1000 is missing.", "秒被當成毫秒顯示：缺少 * 1000。"
    ),
)
def seconds_for_milliseconds(c: Clock) -> tuple[float, float]:
    return c.fp32, c.int8


@cause(
    "2.2",
    Text(
        "Microseconds are shown as milliseconds: it is multiplied by 1000 twice.",
        "微秒被當成毫秒顯示：乘了兩次 1000。",
    ),
)
def microseconds_for_milliseconds(c: Clock) -> tuple[float, float]:
    return c.fp32 * 1e6, c.int8 * 1e6


@cause("2.2", Text("The times of FP32 and INT8 are exchanged.", "FP32 與 INT8 的時間對調了。"))
def times_exchanged(c: Clock) -> tuple[float, float]:
    return c.int8 * 1e3, c.fp32 * 1e3


@cause(
    "2.2",
    Text(
        "The clock is not started again: INT8's time includes FP32's.",
        "沒有重新計時：INT8 的時間包含了 FP32 的時間。",
    ),
    symptoms=("int8-slow",),
)
def clock_started_once(c: Clock) -> tuple[float, float]:
    return c.fp32 * c.fp32_runs * 1e3, (c.fp32 * c.fp32_runs + c.int8 * c.int8_runs) * 1e3


@cause("2.2", Text("The time of {} includes preprocessing.", "{} 的時間包含了前處理。"))
def preprocessing_is_timed(c: Clock) -> Iterator[tuple[tuple[float, float], str]]:
    for f, i, words in ((1, 0, "FP32"), (0, 1, "INT8"), (1, 1, "FP32, INT8")):
        yield ((c.fp32 + f * PREPROCESSING) * 1e3, (c.int8 + i * PREPROCESSING) * 1e3), words


@cause(
    "2.2",
    Text(
        "The time of all runs is shown as that of one: it is not divided by their number.",
        "顯示的是所有次數的總時間：沒有除以次數。",
    ),
)
def not_divided_by_the_runs(c: Clock) -> Iterator[tuple[float, float]]:
    for less in (0, 1, 2, 3, 5, 10):
        if min(c.fp32_runs, c.int8_runs) > less + 1:
            yield c.fp32 * (c.fp32_runs - less) * 1e3, c.int8 * (c.int8_runs - less) * 1e3


@cause(
    "2.2",
    Text("The times of one model are shown for both: {}.", "兩個模型顯示的都是同一個時間：{}。"),
)
def one_time_twice(c: Clock) -> Iterator[tuple[tuple[float, float], str]]:
    yield (c.fp32 * 1e3, c.fp32 * 1e3), "FP32"
    yield (c.int8 * 1e3, c.int8 * 1e3), "INT8"


@cause(
    "2.2",
    Text(
        "The speed-up is upside down: INT8's time over FP32's.",
        "加速倍數算反了：用 INT8 時間除以 FP32 時間。",
    ),
    symptoms=("int8-slow",),
)
def speedup_upside_down(fp32: float, int8: float) -> float:
    return int8 / fp32


@cause(
    "2.2",
    Text(
        "The speed-up is the difference of the times, not their quotient.",
        "加速倍數是兩個時間的差，應該相除。",
    ),
)
def difference_for_quotient(fp32: float, int8: float) -> Iterator[float]:
    yield from (fp32 - int8, int8 - fp32)


@cause(
    "2.2",
    Text(
        "The times or the speed-up are constants, not measured: {}.",
        "時間或加速倍數是固定值，不是測量的：{}。",
    ),
)
def constant_figures(texts: list[str]) -> str | None:
    return (
        texts[0] if len(set(texts)) == 1 and len(texts) > 1 and re.search(r"\d", texts[0]) else None
    )


FUNCTIONS: Final = (
    None,
    softmax_missing,
    softmax_twice,
    softmax_over_the_wrong_axis,
    probabilities_in_per_cent,
    another_function_for_softmax,
)
TIMES: Final = (
    None, seconds_for_milliseconds, microseconds_for_milliseconds, clock_started_once, times_exchanged,
    preprocessing_is_timed, not_divided_by_the_runs, one_time_twice,
)  # fmt: skip
SPEEDUPS: Final = (speedup_upside_down, difference_for_quotient)


def _options(step: Step | None, right: Step, *args: Any) -> list[tuple[Any, str]]:
    made = right(*args) if step is None else step(*args)
    if not isinstance(made, Iterator):
        return [(made, "")]
    return [
        one if isinstance(one, tuple) and isinstance(one[1], str) else (one, "") for one in made
    ]


# Looking


def look(e: Evidence, found: Findings, source: Source) -> None:
    """Name what is wrong with the comparison; the sessions have been looked at."""
    probe = e.probe("compare")
    function = probe["function"]
    place = source.function(function)
    found.tries((*FUNCTIONS[1:], least_likely_listed, one_session_twice, models_exchanged, labels_permuted,
                 batch_axis_in_the_comparison, batch_axis_of_the_logits, name_assigned_before_it_is_read,
                 *TIMES[1:], *SPEEDUPS, constant_figures))  # fmt: skip
    labels = _labels(found, source)
    calls = probe["calls"]
    if mended := name_assigned_before_it_is_read(probe.get("mended") or []):
        at, mend = mends.renamed(mended, source, place)
        found.name(
            name_assigned_before_it_is_read,
            "UnboundLocalError",
            detail=listed(mended),
            at=at,
            mend=mend,
        )
    if not calls or any("error" in call or "message" in call for call in calls):
        error = " ".join(str(call.get("error") or call.get("message") or "") for call in calls)
        _failed(error, found, source, place)
        return
    if not all(_labelled(call) for call in calls):
        return
    if found.has(sessions.one_file_opened_twice, sessions.files_exchanged, sessions.path_ignored):
        return  # what the comparison shows follows from that
    _answers(calls, found, source, place, labels, e.seed)
    if not found.has(one_session_twice):
        _figures(calls, found, source, place)


def _failed(error: str, found: Findings, source: Source, place: Place | None) -> None:
    if axes := batch_axis_in_the_comparison(error):
        at, mend = mends.batch_axis(source, place)
        found.name(batch_axis_in_the_comparison, error[:200], detail=axes, at=at, mend=mend)
    elif batch_axis_of_the_logits(error):
        at, mend = mends.logits_axis(source, place)
        found.name(batch_axis_of_the_logits, error[:200], at=at, mend=mend)


def _labelled(call: dict[str, Any]) -> bool:
    value = call.get("value")
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(_label(v) for v in value[:2])
        and isinstance(value[2], str)
    )


def _label(value: Any) -> list[tuple[str, float]]:
    pairs = value.get("dict", []) if isinstance(value, dict) else []
    good = all(isinstance(v, int | float) and not isinstance(v, bool) for _, v in pairs)
    return [(str(k), float(v)) for k, v in pairs] if good else []


def _same(a: Any, b: Any) -> bool:
    a, b = np.asarray(a, float), np.asarray(b, float)
    return a.shape == b.shape and bool(
        (np.abs(a - b) <= _CLOSE * np.maximum(1, np.abs(b) / 10)).all()
    )


def _answers(
    calls: list[dict[str, Any]],
    found: Findings,
    source: Source,
    place: Place | None,
    labels: list[str],
    seed: int = 0,
) -> None:
    """Which models, which function of their logits, which end of the list gives these labels."""
    xs = [call[k].get("x") for call in calls for k in KINDS if call[k].get("x") is not None]
    if not xs:
        return
    logits = []
    for call in calls:
        x = call["fp32"].get("x", call["int8"].get("x"))
        if x is None or x.shape[-3:] != (3, 32, 32):
            return
        x = np.asarray(x, np.float32)
        logits.append({kind: logits_of(kind, x, seed)[0].astype(float) for kind in KINDS})
    fits = _fitting(calls, logits, labels)
    if not fits and (
        renamed := _fitting(calls, logits, [])
    ):  # the numbers are right, the names not
        fits = [[*one, (labels_permuted, _misnamed(calls, logits, labels))] for one in renamed]
    if not fits:
        found.unknown.append(
            Text("The comparison shows probabilities that no known cause predicts.", "比較函式顯示的機率沒有任何已知原因能預測。")
        )  # fmt: skip
        return
    for step, words in min(fits, key=len):
        z = logits[0]["fp32"]
        evidence = Text(
            f"For logits {z.max():.3f} (largest) of FP32 it shows {_label(calls[0]['value'][0])[:1]}; so computed, it would just so.",
            f"FP32 最大的 logit 為 {z.max():.3f}，顯示 {_label(calls[0]['value'][0])[:1]}；這樣計算正好得到。",
        )
        at, mend = mends.answer(step.__name__, words, source, place)
        found.name(step, evidence, detail=words, at=at, mend=mend)


def _fitting(
    calls: list[dict[str, Any]], logits: list[dict[str, np.ndarray]], labels: list[str]
) -> list[list[tuple[Step, str]]]:
    """Every choice of causes that gives these labels.

    Args:
        labels: the classes' names, which count where all are known.
    """
    fits: list[list[tuple[Step, str]]] = []
    choices: list[tuple[Step | None, tuple[str, str], str]] = [(None, ("fp32", "int8"), "")]
    choices += [
        (step, kinds, words)
        for step in (one_session_twice, models_exchanged)
        for kinds, words in step()
    ]
    for which, kinds, words in choices:
        for listing in (None, least_likely_listed):
            per_model = []
            for place_, kind in enumerate(kinds):
                options = []
                for function in FUNCTIONS:
                    made = [_options(function, softmax, z[kind]) for z in logits]
                    for number in range(len(made[0])):
                        if all(
                            _shows(_label(c["value"][place_]), m[number][0], listing, labels)
                            for c, m in zip(calls, made, strict=True)
                        ):
                            options.append((function, made[0][number][1]))
                per_model.append(options)
            for one in per_model[0]:
                for two in per_model[1]:
                    causes: list[tuple[Step, str]] = [
                        (s, w) for s, w in dict.fromkeys((one, two)) if s is not None
                    ]
                    causes += [(which, words)] if which else []
                    causes += [(listing, "")] if listing else []
                    fits.append(causes)
    return fits


def _misnamed(
    calls: list[dict[str, Any]], logits: list[dict[str, np.ndarray]], labels: list[str]
) -> str:
    """Which classes are called by another's name, as far as the likeliest show it."""
    found: dict[int, str] = {}
    for call, z in zip(calls, logits, strict=True):
        for place, kind in enumerate(KINDS):
            order = np.argsort(-z[kind], kind="stable")
            shown = sorted(_label(call["value"][place]), key=lambda pair: -pair[1])
            found |= {int(i): name for i, (name, _) in zip(order, shown, strict=False)}
    wrong = [f"{i}: {name} → {labels[i]}" for i, name in sorted(found.items()) if name != labels[i]]
    return listed(wrong)


def _shows(
    label: list[tuple[str, float]], p: np.ndarray, listing: Step | None, labels: list[str]
) -> bool:
    """Whether this label is of these ten numbers; the names count where they are known."""
    count = len(label)
    if count > len(p):
        return False
    chosen = np.argsort(-p if listing is None else p, kind="stable")[:count]
    values = sorted(v for _, v in label)
    if not _same(values, sorted(p[chosen])):
        return False
    if np.ptp(p) < 1e-9:
        return True
    return (
        all(name not in labels or _same(value, p[labels.index(name)]) for name, value in label)
        or len(set(labels)) < NUM_CLASSES
    )


# Labels


def _labels(found: Findings, source: Source) -> list[str]:
    """The class names of the notebook in their order, in the assignment's words."""
    words = dict(zip(TEMPLATE_CLASSES, CLASSES, strict=True))
    for place in source.nodes(ast.Assign):
        try:
            value = ast.literal_eval(place.node.value)
        except (ValueError, TypeError, SyntaxError):
            continue
        if isinstance(value, dict) and set(value) == set(range(NUM_CLASSES)):
            value = [value[i] for i in range(NUM_CLASSES)]
        if (
            not isinstance(value, list | tuple)
            or len(value) != NUM_CLASSES
            or not all(isinstance(v, str) for v in value)
        ):
            continue
        labels = [words.get(v.strip().lower(), v.strip().lower()) for v in value]
        if labels_permuted(labels):
            order = ", ".join(
                f"{i}: {a} → {b}"
                for i, (a, b) in enumerate(zip(labels, CLASSES, strict=True))
                if a != b
            )
            right = {b: v for v, b in zip(value, labels, strict=True)}
            mend = source.replaced(mends.bound(place), repr([right[c] for c in CLASSES]))
            found.name(
                labels_permuted, Text.of(", ".join(value)), detail=order, at=place.at, mend=mend
            )
        return [v.strip() for v in value]
    return list(CLASSES)


# Times and speed-up


_NUMBER: Final = re.compile(
    r"(?<![A-Za-z0-9_.])([x×]?)(-?\d+(?:\.\d+)?(?:e[-+]?\d+)?)\s*([A-Za-zµμ]+|毫秒|微秒|秒|倍|[×%％])?"
)


@dataclass(frozen=True)
class _Figure:
    value: float
    fine: float  # half of the last digit
    unit: str

    def is_(self, wanted: float, factor: float = 1.0) -> bool:
        return abs(self.value * factor - wanted) <= 1.05 * self.fine * factor + 1e-3 * abs(wanted)


def _numbers(text: str) -> list[_Figure]:
    found = []
    for before, number, unit in _NUMBER.findall(text):
        digits = len(number.partition(".")[2]) if "e" not in number else 6
        found.append(_Figure(float(number), 0.5 * 10**-digits, (unit or before).lower()))
    return found


def _figures(
    calls: list[dict[str, Any]], found: Findings, source: Source, place: Place | None
) -> None:
    texts = [call["value"][2] for call in calls]
    clocks = []
    for call in calls:
        fp32, int8 = call["fp32"]["seconds"], call["int8"]["seconds"]
        if not fp32 or not int8:
            return
        clocks.append(Clock(fp32[0], int8[0], len(fp32), len(int8)))
    if constant := constant_figures(texts):
        hit = mends.constant(source, place, lambda value: isinstance(value, int | float))
        found.name(
            constant_figures,
            Text.of(constant),
            detail=constant[:80],
            at=where(hit),
            mend="fp32_ms = (time.time() - t0) * 1000",
        )
        return
    fitting: list[tuple[Step | None, str, list[tuple[float, float]]]] = []
    for step in TIMES:
        made = [_options(step, _right_times, clock) for clock in clocks]
        for number in range(min(map(len, made))):
            times = [m[number][0] for m in made]
            if all(
                _shown(text, pair, strictly=step is not None)
                for text, pair in zip(texts, times, strict=True)
            ):
                fitting.append((step, made[0][number][1], times))
        if fitting:
            break
    if not fitting:
        return
    step, words, times = fitting[0]
    if step is not None:
        at, mend = mends.time(step.__name__, words, source, place)
        found.name(step, Text.of(texts[0]), detail=words, at=at, mend=mend)
    _speedup(texts, times, clocks, found, source, place)


def _shown(text: str, times: tuple[float, float], *, strictly: bool) -> bool:
    """Whether both times stand in the text, each behind its model's name where that stands there."""
    for name, other, wanted in (("fp32", "int8", times[0]), ("int8", "fp32", times[1])):
        mine = [
            _numbers(part)[:1]
            for part in re.findall(
                rf"{name}(?:(?!{other})[^\d\n]){{0,25}}?(\d[^\n]{{0,14}})", text, re.I
            )
        ]
        figures = [f for one in mine for f in one] or _numbers(text)
        timed = [f for f in figures if f.unit in MILLISECONDS or f.unit == ""]
        if not any(f.is_(wanted, factor) for f in timed for factor in _factors(f, strictly)):
            return False
    return True


def _factors(figure: _Figure, strictly: bool) -> tuple[float, ...]:
    """What its unit stands for; without one, ms or s."""
    if figure.unit in MILLISECONDS:
        return (MILLISECONDS[figure.unit],)
    return (1.0,) if strictly else (1.0, 1e3)


def _speedup(
    texts: list[str],
    times: list[tuple[float, float]],
    clocks: list[Clock],
    found: Findings,
    source: Source,
    place: Place | None,
) -> None:
    every = [[f for f in _numbers(text) if f.unit not in MILLISECONDS] for text in texts]
    right = [[a / b, c.fp32 / c.int8] for (a, b), c in zip(times, clocks, strict=True)]

    def stands(wanted: list[list[float]], close: float) -> bool:
        return all(
            any(abs(f.value - w) <= f.fine * 1.05 + close * abs(w) for f in figures for w in want)
            for figures, want in zip(every, wanted, strict=True)
        )

    percent = [[(a / b - 1) * 100, (1 - b / a) * 100] for a, b in times]
    if stands(right, 0.03) or stands(percent, 0.03) or not all(every):
        return
    for step in SPEEDUPS:
        made = [[o for o, _ in _options(step, step, a, b)] for a, b in times]
        seconds = [[o for o, _ in _options(step, step, a / 1e3, b / 1e3)] for a, b in times]
        if stands(made, 0.01) or stands(seconds, 0.01):
            at, mend = mends.speedup(source, place)
            found.name(step, Text.of(texts[0]), at=at, mend=mend)
            return
    tails = [{f.value for f in figures} for figures in every]
    if common := set.intersection(*tails) - {1.0}:
        hit = mends.constant(source, place, common.__contains__)
        if hit:
            found.name(
                constant_figures,
                Text.of(texts[0]),
                detail=ast.unparse(hit.node),
                at=hit.at,
                mend=source.replaced(mends.bound(hit), mends.SPEEDUP),
            )
