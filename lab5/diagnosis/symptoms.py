"""From what people see to its cause: measured on the models and the function at hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lab5.assignment import CLASSES, IMAGE_SIZE, TEMPLATE_CLASSES
from lab5.compare import softmax
from lab5.diagnosis import preprocessing as p
from lab5.diagnosis.core import CAUSES, SYMPTOMS, Diagnosis, name_of
from lab5.grading.core import Blocked, Fault
from lab5.grading.evidence import inputs
from lab5.text import Text

if TYPE_CHECKING:
    from lab5.grading.handin import Evidence


def guided(symptom: str, e: Evidence, diagnosis: Diagnosis) -> list[Text]:
    """What the symptom comes from, step by step: what was measured, and what is left.

    Args:
        symptom: one of ``SYMPTOMS``.
    """
    lines = [SYMPTOMS[symptom], *_measured(symptom, e)]
    fits = [one for one in diagnosis.causes if symptom in CAUSES[one.name].symptoms]
    others = [one for one in diagnosis.causes if one not in fits]
    for one in fits:
        lines.append(
            Text(
                f"It comes from {one.name}: {one.sentence.en}",
                f"原因是 {one.name}：{one.sentence.zh}",
            )
        )
    for one in [] if fits else others:
        lines.append(
            Text(
                f"It may come from {one.name}: {one.sentence.en}",
                f"可能是 {one.name}：{one.sentence.zh}",
            )
        )
    if not diagnosis.causes:
        tried = [n for n in diagnosis.ruled_out if symptom in CAUSES[n].symptoms]
        left = [n for n, c in CAUSES.items() if symptom in c.symptoms and n not in tried]
        lines.append(
            Text(f"I do not know. Ruled out: {', '.join(tried) or '-'}.", f"不知道原因。已排除：{', '.join(tried) or '-'}。")
        )  # fmt: skip
        if left:
            lines.append(
                Text(
                    f"Not looked at, as its file is missing: {', '.join(left)}.",
                    f"缺少檔案而未檢查：{', '.join(left)}。",
                )
            )
        if symptom == "photos-wrong":
            lines.append(
                Text("A photograph has 32x32 pixels for the network: crop it to the object. That is no fault of the code.",
                     "模型只看得到 32x32 像素：請先裁切，讓物體占滿畫面。這不是程式的錯。")
            )  # fmt: skip
    return lines


def _measured(symptom: str, e: Evidence) -> Iterator[Text]:
    """What the hand-in itself does, as far as its files are there."""
    try:
        if symptom == "int8-slow":
            times = e.slowdown(1.5)
            yield Text(
                f"On one thread INT8 takes {times:.2f} times as long as FP32 here.",
                f"在這台機器上，單一執行緒的 INT8 時間是 FP32 的 {times:.2f} 倍。",
            )
            return
        if symptom == "int8-wrong":
            fp32, int8 = e.held_out
            same = float((fp32.argmax(1) == int8.argmax(1)).mean())
            yield Text(
                f"On {len(fp32)} pictures they agree in {same:.0%}.",
                f"{len(fp32)} 張圖片中有 {same:.0%} 一致。",
            )
            return
        for words, x in _fed(e):
            z = e.fp32.logits(x).astype(np.float64)
            classes = sorted({CLASSES[i] for i in z.argmax(1)})
            top = softmax(z).max(1).mean()
            yield Text(f"FP32 with {words.en}: {len(classes)} classes for {len(x)} pictures ({', '.join(classes)}), the likeliest at {top:.0%}.",
                       f"FP32 配上{words.zh}：{len(x)} 張圖片得到 {len(classes)} 種類別（{', '.join(classes)}），最高機率平均 {top:.0%}。")  # fmt: skip
    except (Fault, Blocked, AssertionError):
        return


def _fed(e: Evidence) -> Iterator[tuple[Text, np.ndarray]]:
    yield Text("rightly preprocessed pictures", "正確前處理的圖片"), inputs.scenes(12, seed=3)
    if e.zip.path("notebook"):
        calls = e.probe("diagnosis")["calls"].values()
        own = [
            c["value"]
            for c in calls
            if "value" in c and c["value"].shape == (1, 3, IMAGE_SIZE, IMAGE_SIZE)
        ]
        if own:
            yield (
                Text("the notebook's preprocess", "notebook 的 preprocess"),
                np.concatenate(own).astype(np.float32),
            )


# A picture with the answer that it got


@dataclass(frozen=True)
class Answer:
    """A class, and how sure the page was (0 to 1), if known."""

    name: str
    sure: float | None = None

    @classmethod
    def of(cls, text: str) -> Answer:
        """``car 100%`` or ``cat``."""
        words = text.replace("：", " ").replace(":", " ").split()
        sure = next((w for w in words if w.rstrip("%").replace(".", "", 1).isdigit()), None)
        known = dict(zip(TEMPLATE_CLASSES, CLASSES, strict=True))
        name = next((w.lower().strip(",") for w in words if w != sure), "")
        value = (
            None
            if sure is None
            else float(sure.rstrip("%")) / (100 if "%" in sure or float(sure) > 1 else 1)
        )
        return cls(known.get(name, name), value)


def ways(image: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Every single cause of 2.1 that leaves (1, 3, 32, 32), with what it makes of the picture; "": right."""
    size = (IMAGE_SIZE, IMAGE_SIZE)
    rgb = image.convert("RGB")
    plain = p.resize(rgb, size, p.RIGHT_FILTER)

    def line(
        pixels: np.ndarray, slope: Any = 1 / p.STD / 255, offset: Any = -p.MEAN / p.STD
    ) -> np.ndarray:
        normalised: np.ndarray = pixels * slope + offset
        return normalised

    def put(values: np.ndarray) -> np.ndarray:
        return values.transpose(2, 0, 1)[None].astype(np.float32)

    yield "", put(line(plain))
    for way in p.ways(p.ORDERS[1:], lambda: None):
        grey = plain @ np.array([299, 587, 114]) / 1000
        yield _name(way), put(line(np.concatenate([plain, grey[..., None]], -1)[..., list(way.do)]))
    for way in p.ways(p.SCALES[1:], lambda: None):
        yield _name(way), put(line(plain, 1 / p.STD / way.do))
    for way in p.ways(p.FORMULAS[1:], lambda: None):
        yield _name(way), put(line(plain, way.do[0] / 255, way.do[1]))
    for way in p.ways(p.LAYOUTS[1:], lambda a: a, line(plain)):
        if way.do.shape == (3, *size):
            yield _name(way), way.do[None].astype(np.float32)
    for way in p.ways((p.mirrored, p.upside_down), lambda a: a, plain):
        yield _name(way), put(line(way.do))
    for way in p.ways(p.BENT, lambda a: a, plain):
        yield _name(way), put(way.do)
    for how in p.FILTER_NAMES:
        if how != p.RIGHT_FILTER:
            yield name_of(p.another_filter), put(line(p.resize(rgb, size, how)))
    for step in p.GEOMETRIES[1:]:
        for pixels, _ in step(rgb, size, p.RIGHT_FILTER):
            if pixels.shape == (*size, 3):
                yield name_of(step), put(line(pixels))
    for way in p.ways((p.laid_on_a_background, p.palette_taken_for_grey), lambda a: a, image):
        yield _name(way), put(line(p.resize(way.do, size, p.RIGHT_FILTER)))


def _name(way: p.Way) -> str:
    return name_of(way.causes[0])


def from_answers(pictures: list[tuple[Path, Answer]], e: Evidence) -> tuple[list[str], Text]:
    """Which single causes of 2.1 predict the answers that pictures got, and what that says."""
    from PIL import Image

    model = e.fp32 if e.zip.path("fp32") else e.int8
    fitting: set[str] | None = None
    for path, answer in pictures:
        with Image.open(path) as image:
            image.load()
            named = list(ways(image))
        fits = set()
        for name, x in named:
            probabilities = softmax(model.logits(x).astype(np.float64))[0]
            sure = probabilities.max()
            if CLASSES[probabilities.argmax()] == answer.name and (
                answer.sure is None or abs(sure - answer.sure) < 0.012
            ):
                fits.add(name)
        fitting = fits if fitting is None else fitting & fits
    found = sorted(fitting or ())
    if "" in found:
        return [], Text("Rightly preprocessed the model gives these answers: it is not the preprocessing.",
                        "正確前處理時模型就會給這些答案：不是前處理的問題。")  # fmt: skip
    if len(found) == 1:
        return found, Text(
            f"Of all ways to preprocess, only {found[0]} gives these answers.",
            f"所有前處理方式中，只有 {found[0]} 會得到這些答案。",
        )
    if found:
        return found, Text(f"These would give it: {', '.join(found)}. More pictures with their answers tell them apart.",
                           f"可能是：{', '.join(found)}。再給幾張圖片與答案即可分辨。")  # fmt: skip
    return [], Text(
        "I do not know: no single cause of preprocessing gives these answers.",
        "不知道原因：沒有任何單一的前處理原因會得到這些答案。",
    )
