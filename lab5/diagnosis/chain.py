"""The chain of ``preprocess``, found from what it returned: which causes together predict just that."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from PIL import Image

from lab5.assignment import IMAGE_SIZE
from lab5.diagnosis import preprocessing as p
from lab5.diagnosis.core import Findings
from lab5.diagnosis.preprocessing import Step, Way
from lab5.diagnosis.preprocessing_mends import mended_preprocess
from lab5.diagnosis.source import Source
from lab5.grading.stand_ins.pictures import telling_pictures
from lab5.text import Text

_PLAIN, _DARK = "RGB 32x32", "RGB 32x32 dark"
_SIZES: Final = ("RGB 60x40", "RGB 40x72", "RGB 16x16", "RGB 300x200")
_CLOSE: Final = 0.006  # of a normalised number: 0.4 grey levels
Geometry = Callable[[Image.Image], np.ndarray]


def _what_nobody_knows() -> None:
    """Stands for a step that no cause predicts."""


_UNKNOWN: Final[list[tuple[Step, Any]]] = [(_what_nobody_knows, "")]


@dataclass(frozen=True)
class _Chain:
    """What was found: how a picture of 32x32 becomes what is returned."""

    causes: tuple[tuple[Step, Any], ...]  # with what is particular of each
    layout: Callable[[np.ndarray], np.ndarray]
    source: tuple[int, ...]  # of each channel: R, G, B or (3) the luminance
    slope: np.ndarray  # a grey level
    offset: np.ndarray
    geometry: Geometry  # what becomes of a picture of 32x32

    scrambled: bool = False  # reshaped before it was normalised

    def pixels(self, value: np.ndarray) -> np.ndarray | None:
        """The picture (H, W, 3) in grey levels that this was made from; None if it was not."""
        a = _undone(self.layout, np.squeeze(value))
        return None if a is None else (a - self.offset) / self.slope


def look(calls: dict[str, Any], found: Findings, source: Source, function: str) -> None:
    """Name what is wrong with ``preprocess``.

    Args:
        calls: what the probe ``diagnosis`` observed, by picture.
        function: its name in the notebook.
    """
    found.tries(p.ALL_CAUSES)
    chain: list[tuple[Step, Any]] = []
    plain = calls[_PLAIN]
    again = [call for label, call in calls.items() if label.startswith(f"{_PLAIN} again")]
    if any("error" in call for call in (plain, *again)):
        if re.search(p.constants_for_channels_last(), str(plain.get("error"))):
            step = p.constants_for_channels_last
            at, mend = mended_preprocess(source, function, step, [step])
            found.name(step, Text.of(plain["error"]), at=at, mend=mend)
            return
        found.unknown.append(
            Text(f"{function} fails on every picture: {plain.get('error')}",
                 f"{function} 對每張圖片都出錯：{plain.get('error')}")
        )  # fmt: skip
        return
    value = np.asarray(plain["value"], float)
    if any(p.random_augmentation(value, np.asarray(call["value"], float)) for call in again):
        chain.append((p.random_augmentation, ""))
    else:
        chain += _batch(value)
        chain += _type(plain["dtype"])
        bent = _bent(value, calls[_DARK].get("value"))
        known = None if bent else _chain(value, calls[_DARK].get("value"))
        if bent:  # which makes the type an integer's
            chain = [one for one in chain if one[0] is not p.another_type]
            chain += [*bent.causes, *_bent_sizes(bent, calls)]
        elif known is None:
            chain += _UNKNOWN
        else:
            chain += known.causes
            chain += _sizes(known, calls)
            chain += _modes(known, calls, dict(chain))
    causes = [step for step, _ in chain if step is not _what_nobody_knows]
    for step, detail in dict(chain).items():
        if step is _what_nobody_knows:
            found.unknown.append(
                Text(
                    f"{function} returns something that no known cause predicts: {plain['dtype']} {value.shape}, "
                    f"{value.min():.4g} to {value.max():.4g}",
                    f"{function} 傳回的結果沒有任何已知原因能預測：{plain['dtype']} {value.shape}，"
                    f"{value.min():.4g} 到 {value.max():.4g}",
                )
            )
            continue
        at, mend = mended_preprocess(source, function, step, causes)
        found.name(step, _evidence(value, plain["dtype"]), detail=detail, at=at, mend=mend)


def _evidence(value: np.ndarray, dtype: str) -> Text:
    right = (np.asarray(_pictures()[_PLAIN], float)[0, 0] / 255 - p.MEAN) / p.STD
    got = (
        " ".join(f"{v:.4g}" for v in np.squeeze(value).reshape(3, -1)[:, 0])
        if value.size % 3 == 0
        else "?"
    )
    want = " ".join(f"{v:.4g}" for v in right)
    return Text(
        f"Called on a picture of 32x32 it returns {dtype} {value.shape}, first numbers [{got}]; right: "
        f"float32 (1, 3, 32, 32), [{want}]. Of all ways tried, this one gives what it returned.",
        f"對 32x32 的圖片傳回 {dtype} {value.shape}，開頭數值 [{got}]；正確為 float32 (1, 3, 32, 32)、"
        f"[{want}]。試過的做法中，只有這一種會得到相同結果。",
    )


# Axes and type


def _batch(value: np.ndarray) -> list[tuple[Step, Any]]:
    ones = [axis for axis, size in enumerate(value.shape) if size == 1]
    if not ones:
        return [(p.no_batch_axis, "")]
    if len(ones) > 1:
        return [(p.batch_axis_twice, "")]
    return [] if ones == [0] else [(p.batch_axis_elsewhere, "")]


def _type(dtype: str) -> list[tuple[Step, Any]]:
    if dtype == "float32":
        return []
    return next(([(t, "")] for t in p.TYPES if t() == dtype), [(p.another_type, dtype)])


def _undone(layout: Callable[[np.ndarray], np.ndarray], core: np.ndarray) -> np.ndarray | None:
    """(H, W, 3) of which ``layout`` makes an array of this shape; None if it makes no such."""
    if core.ndim != 3 or 3 not in core.shape:
        return None
    sides = list(core.shape)
    sides.remove(3)
    for height, width in {tuple(sides), tuple(sides[::-1])}:
        index = np.arange(height * width * 3).reshape(height, width, 3)
        made = layout(index)
        if made.shape == core.shape:
            found = np.empty(core.size)
            found[made.ravel()] = core.ravel()
            return found.reshape(height, width, 3)
    return None


# Layout, channels and values, from pictures of 32x32


def _layouts() -> Iterator[Way]:
    """Every layout, mirrored or not, with few causes first."""
    found = []
    for mirrors in p.MIRRORS:
        for way in p.ways(p.LAYOUTS, p.right_layout, np.arange(3 * 4 * 5).reshape(4, 5, 3)):
            made = np.asarray(way.do)
            layout = _same_layout(way, made)

            def whole(a: np.ndarray, layout: Any = layout, mirrors: Any = mirrors) -> np.ndarray:
                for mirror in mirrors:
                    a = mirror(a)
                return np.asarray(layout(a))

            found.append(Way((*mirrors, *way.causes), whole))
    return iter(sorted(found, key=lambda way: len(way.causes)))


def _same_layout(way: Way, made: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The layout that gave ``made`` of (4, 5, 3): of a generator's, the one that gave just this."""
    if not way.causes:
        return p.right_layout
    (step,) = way.causes
    probe = np.arange(3 * 4 * 5).reshape(4, 5, 3)
    options = step(probe)
    if not isinstance(options, Iterator):
        return step
    place = next(i for i, one in enumerate(options) if np.array_equal(one, made))
    return lambda a: next(itertools.islice(step(a), place, None))


def _with_luminance(pixels: np.ndarray) -> np.ndarray:
    grey = pixels @ np.array([299, 587, 114]) / 1000
    return np.concatenate([pixels, grey[..., None]], -1)


def _lines(
    pixels: np.ndarray, a: np.ndarray
) -> tuple[tuple[int, ...], np.ndarray, np.ndarray] | None:
    """Of each channel of ``a``: which one of ``pixels`` it is a straight line of, slope and offset."""
    if pixels.shape[:2] != a.shape[:2]:
        return None
    x = _with_luminance(pixels).reshape(-1, 4).T
    y = a.reshape(-1, 3).T
    xc, yc = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
    slopes = yc @ xc.T / (xc**2).sum(1)  # (3, 4)
    with np.errstate(divide="ignore", invalid="ignore"):
        off = np.abs(yc[:, None] - slopes[..., None] * xc[None]).max(2) / np.abs(slopes)
    best = off.argmin(1)
    if not (off[range(3), best] <= p.CLOSE_LEVELS).all():
        return None
    slope = slopes[range(3), best]
    return tuple(int(b) for b in best), slope, y.mean(1) - slope * x[best].mean(1)


def _chain(value: np.ndarray, dark: Any) -> _Chain | None:
    """The chain with the fewest causes that gives these numbers of two pictures of 32x32."""
    core = np.squeeze(value)
    layouts: list[tuple[Way, np.ndarray, np.ndarray]] = []
    for way in _layouts():
        both = [_undone(way.do, np.squeeze(np.asarray(v, float))) for v in (value, dark)]
        if both[0] is not None and both[1] is not None and both[0].shape == both[1].shape:
            layouts.append((way, both[0], both[1]))
    fits: list[tuple[int, float, _Chain]] = []
    for geometry, seen in _geometries(core):
        scrambled = p.reshape_for_transpose in geometry.causes
        for way, a, b in layouts:
            if (geometry.causes and len(way.causes) > 1) or (line := _lines(seen[0], a)) is None:
                continue
            source, slope, offset = line
            apart = np.abs((b - offset) / slope - _with_luminance(seen[1])[..., source])
            if apart.max() > 2 * p.CLOSE_LEVELS:
                continue  # each picture has its own line
            if (values := _values(source, slope * 255, offset)) is None:
                continue
            causes = [*((c, "") for c in way.causes), *values]
            causes += [(c, geometry.detail) for c in geometry.causes if c not in _BY_SIZE]
            chain = _Chain(tuple(causes), way.do, source, slope, offset, geometry.do, scrambled)
            fits.append((len(causes), float(apart.mean()), chain))
        if fits and not _BY_SIZE & set(geometry.causes):
            break
    return min(fits, key=lambda one: one[:2])[2] if fits else None


_BY_SIZE: Final = {p.cropped, p.resized_twice}  # which pictures of other sizes tell better


def _geometries(core: np.ndarray) -> Iterator[tuple[Way, list[np.ndarray]]]:
    """What can become of pictures of 32x32: nothing, another size, other colours, a part of them."""
    if core.ndim != 3 or 3 not in core.shape:
        return
    sides = list(core.shape)
    sides.remove(3)
    images = [_pictures()[label] for label in (_PLAIN, _DARK)]
    ways = []
    if sides == [IMAGE_SIZE] * 2:
        ways.append(Way((), _array))
        ways.append(Way((p.reshape_for_transpose,), lambda image: _scrambled(_array(image))))
        for place, (_, detail) in enumerate(p.other_colour_space(images[0])):
            ways.append(Way((p.other_colour_space,), functools.partial(_recoloured, place), detail))
    else:
        for how, (height, width) in itertools.product(
            p.FILTER_NAMES, {tuple(sides), tuple(sides[::-1])}
        ):
            do = functools.partial(_whole, size=(width, height), how=how)
            ways.append(Way((p.another_size,), do, f"{width}x{height}"))
    yield from ((way, [way.do(image) for image in images]) for way in ways)
    if sides != [IMAGE_SIZE] * 2:
        return
    for step, how in itertools.product((p.cropped, p.resized_twice), p.FILTER_NAMES):
        made = [_framings(step, label, (IMAGE_SIZE, IMAGE_SIZE), how) for label in (_PLAIN, _DARK)]
        for place, (one, two) in enumerate(zip(*made, strict=True)):
            do = functools.partial(_framed, step, how, place)
            yield Way((step,), do), [one[0], two[0]]


def _array(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"), float)


def _recoloured(place: int, image: Image.Image) -> np.ndarray:
    options = p.other_colour_space(image.convert("RGB"))
    return np.asarray(next(itertools.islice(options, place, None))[0], float)


def _whole(image: Image.Image, size: tuple[int, int], how: str) -> np.ndarray:
    return p.resize(image.convert("RGB"), size, how)


def _framed(step: Step, how: str, place: int, image: Image.Image) -> np.ndarray:
    options = step(image.convert("RGB"), (IMAGE_SIZE, IMAGE_SIZE), how)
    return np.asarray(next(itertools.islice(options, place, None))[0])


def _scrambled(pixels: np.ndarray) -> np.ndarray:
    return pixels.reshape(3, *pixels.shape[:2]).transpose(1, 2, 0)


_pictures = functools.cache(telling_pictures)


@functools.cache
def _framings(
    step: Step | None, label: str, size: tuple[int, int], how: str
) -> list[tuple[np.ndarray, str]]:
    """What a geometry makes of a picture, by the filter ``how``; None: the whole is resized."""
    image = _pictures()[label].convert("RGB")
    if step is None:
        return [(p.resize(image, size, how), "")]
    return list(step(image, size, how))


def _values(
    source: tuple[int, ...], slope: np.ndarray, offset: np.ndarray
) -> list[tuple[Step, Any]] | None:
    """The fewest causes that make these lines, for pixels in 0..1; None: none does."""
    order: list[tuple[Step, Any]] = []
    for way in p.ways(p.ORDERS, lambda: (0, 1, 2)):
        if way.do == source:
            order = [
                (c, "".join("RGB"[s] for s in source) if 3 not in source else "")
                for c in way.causes
            ]
            break
    else:
        return None
    fits: list[list[tuple[Step, Any]]] = []
    indices = [(0, 1, 2)] + ([source] if order and 3 not in source else [])
    for scale, formula in itertools.product(
        p.ways(p.SCALES, lambda: 255.0), p.ways(p.FORMULAS, p.formula)
    ):
        factor = 255 / scale.do
        for index in indices:  # the constants in the order of the result, or of the picture
            s, o = formula.do[0][list(index)] * factor, formula.do[1][list(index)]
            ends = np.abs(np.stack([o - offset, s + o - slope - offset]))
            if (ends <= np.maximum(_CLOSE, 5e-4 * np.abs(s + o))).all():
                fits.append([(c, w.detail) for w in (scale, formula) for c in w.causes])
    if not fits:
        fits = _measured(slope, offset)
    best = min(fits, key=len, default=None)
    return None if best is None else order + best


def _measured(slope: np.ndarray, offset: np.ndarray) -> list[list[tuple[Step, Any]]]:
    """A straight line that is in no table: the divisor or the constants that it must have."""
    divisor = 255 * (1 / p.STD) / slope
    if (
        np.ptp(divisor) < 0.005 * abs(divisor.mean())
        and np.abs(offset + p.MEAN / p.STD).max() < _CLOSE
    ):
        return [[(p.divided_by_another_number, f"{divisor.mean():.5g}")]]
    times = slope * p.STD
    if np.ptp(times) < 0.005 * abs(times.mean()) and np.allclose(
        offset, -p.MEAN / p.STD * times, atol=_CLOSE, rtol=5e-3
    ):
        return [[(p.multiplied_after_normalising, f"{times.mean():.4g}")]]
    std = 1 / slope
    mean = -offset * std
    if (std > 0.02).all() and (std < 2).all() and (np.abs(mean) < 2).all():
        shown = [" ".join(f"{v:.4g}" for v in values) for values in (mean, std)]
        return [[(p.other_constants, f"{shown[0]} / {shown[1]}")]]
    return []


@dataclass(frozen=True)
class _Bent:
    """Values that are no straight line of the pixels."""

    causes: tuple[tuple[Step, Any], ...]
    layout: Callable[[np.ndarray], np.ndarray]
    turn: int  # of the channels: -1 for BGR
    place: int  # among the ways

    def predicted(self, pixels: np.ndarray) -> np.ndarray:
        """What becomes of a picture (H, W, 3) in grey levels, without axes of size 1."""
        ways = p.ways(p.BENT, lambda g: g, pixels[..., :: self.turn])
        return self.layout(next(itertools.islice(ways, self.place, None)).do)


def _bent(value: np.ndarray, dark: Any) -> _Bent | None:
    """The ones that give these numbers of two pictures of 32x32."""
    seen = [np.asarray(_pictures()[label], float) for label in (_PLAIN, _DARK)]
    for layout, (source, turn) in itertools.product(
        _layouts(), (((), 1), ((p.channels_reversed,), -1))
    ):
        found = [_undone(layout.do, np.squeeze(np.asarray(v, float))) for v in (value, dark)]
        if any(a is None or a.shape != g.shape for a, g in zip(found, seen, strict=True)):
            continue
        both = zip(*(p.ways(p.BENT, lambda g: g, g[..., ::turn]) for g in seen), strict=True)
        for place, ways in enumerate(both):
            if all(np.abs(a - way.do).max() <= 0.02 for a, way in zip(found, ways, strict=True)):
                causes = tuple((c, "") for c in (*layout.causes, *source, *ways[0].causes))
                return _Bent(causes, layout.do, turn, place)
    return None


def _bent_sizes(bent: _Bent, calls: dict[str, Any]) -> list[tuple[Step, Any]]:
    """How pictures of other sizes became 32x32, where just one way tells it."""
    size = (IMAGE_SIZE, IMAGE_SIZE)
    found = {n: np.squeeze(calls[n]["value"]) for n in _SIZES if "value" in calls[n]}

    def fits(frame: Step | None, how: str, place: int) -> bool:
        return all(
            np.shape(made := bent.predicted(_framings(frame, label, size, how)[place][0]))
            == value.shape
            and float(np.abs(made - value).mean()) < 0.02
            for label, value in found.items()
        )

    if not found or fits(None, p.RIGHT_FILTER, 0):
        return []
    for how in p.FILTER_NAMES:
        if fits(None, how, 0):
            return [(p.another_filter, how)]
    for frame in p.GEOMETRIES[1:]:
        for place, (_, words) in enumerate(_framings(frame, _SIZES[0], size, p.RIGHT_FILTER)):
            if fits(frame, p.RIGHT_FILTER, place):
                return [(frame, words)]
    return []


# Geometry, from pictures of other sizes


def _off(known: _Chain, found: np.ndarray | None, made: np.ndarray | None) -> float:
    """How far apart they are, in grey levels."""
    if found is None or made is None or found.shape[:2] != made.shape[:2]:
        return float("inf")
    apart = np.abs(found - _with_luminance(made)[..., list(known.source)])
    return float(max(apart.mean(), np.quantile(apart, 0.99) / 3))


def _sizes(known: _Chain, calls: dict[str, Any]) -> list[tuple[Step, Any]]:
    shapes = {
        label: np.squeeze(calls[label]["value"]).shape
        for label in _SIZES
        if "value" in calls[label]
    }
    for step in (p.not_resized, p.thumbnail_for_resize):
        if shapes and all(
            sorted(shape) == sorted((3, *step(_pictures()[label])))
            for label, shape in shapes.items()
        ):
            return [(step, "")]
    found = {label: known.pixels(np.asarray(calls[label]["value"], float)) for label in shapes}
    first = found.get(_SIZES[0])
    if len(shapes) < len(_SIZES) or first is None:
        return _UNKNOWN
    if any(step is p.other_colour_space for step, _ in known.causes):
        return []  # whether before or after it was resized
    size = (first.shape[1], first.shape[0])
    limit = 3 if known.source == (3, 3, 3) else 0.8  # grey before or after
    fits: list[tuple[int, float, list[tuple[Step, Any]]]] = []
    for frame in (None, *p.GEOMETRIES[1:]):
        for how in sorted(p.FILTER_NAMES, key=lambda how: how != p.RIGHT_FILTER):
            causes: list[tuple[Step, Any]] = (
                [] if how == p.RIGHT_FILTER else [(p.another_filter, how)]
            )
            options = _framings(frame, _SIZES[0], size, how)
            for place, (_, words) in enumerate(options):
                off = 0.0
                for label in _SIZES:
                    made = _framings(frame, label, size, how)[place][0]
                    off = max(
                        off,
                        _off(known, found[label], _scrambled(made) if known.scrambled else made),
                    )
                    if off > limit:
                        break
                else:
                    every = [*causes, *([] if frame is None else [(frame, words)])]
                    fits.append((len(every), off, every))
            if fits and not fits[0][0]:
                return []
        if fits:
            return min(fits, key=lambda one: one[:2])[2]
    return _UNKNOWN


# Mode, from pictures that are not RGB


def _modes(known: _Chain, calls: dict[str, Any], before: dict[Step, Any]) -> list[tuple[Step, Any]]:
    if known.source == (3, 3, 3) or p.other_colour_space in before:
        return []
    labels = [n for n in _pictures() if not n.startswith("RGB ") and "32x32" in n]
    found = {
        label: known.pixels(np.asarray(calls[label]["value"], float))
        if "value" in calls[label]
        else None
        for label in labels
    }

    def off(label: str, image: Any) -> float:
        if image is None or found[label] is None:
            return 0 if image is found[label] else float("inf")
        return _off(known, found[label], known.geometry(image))

    for step in p.MODES:
        options = {label: _options(step, _pictures()[label]) for label in labels}
        for place, (_, detail) in enumerate(options[labels[0]]):
            if all(off(label, options[label][place][0]) < 1 for label in labels):
                if step is None:
                    return _order(known, calls, before)
                return [(step, detail or _failing(found))]
    rest = [label for label in labels if found[label] is not None]
    if len(rest) < len(labels) and all(
        off(label, _pictures()[label].convert("RGB")) < 1 for label in rest
    ):
        return [(p.not_converted_to_rgb, _failing(found))]
    return _UNKNOWN


def _failing(found: dict[str, Any]) -> str:
    """The modes of the pictures of which nothing comes."""
    return ", ".join(dict.fromkeys(n.split()[0] for n, value in found.items() if value is None))


def _order(known: _Chain, calls: dict[str, Any], before: dict[Step, Any]) -> list[tuple[Step, Any]]:
    """Whether a palette is resized before it becomes RGB."""
    label, size = "P 50x40", (IMAGE_SIZE, IMAGE_SIZE)
    framed = {p.cropped, p.padded, p.resized_twice, p.another_size, None}
    if "value" not in calls[label] or framed & set(before):
        return []
    seen = known.pixels(np.asarray(calls[label]["value"], float))
    how = before.get(p.another_filter, p.RIGHT_FILTER)
    right = _framings(None, label, size, how)[0][0]
    early = p.resized_before_converting(_pictures()[label], size, how)
    if _off(known, seen, early) < 0.8 < _off(known, seen, right):
        return [(p.resized_before_converting, "")]
    return []


def _options(step: Step | None, image: Image.Image) -> list[tuple[Any, Any]]:
    if step is None:
        return [(image.convert("RGB"), "")]
    made = step(image)
    return list(made) if isinstance(made, Iterator) else [(made, "")]
