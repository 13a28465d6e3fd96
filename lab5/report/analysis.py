"""3.2: sentences, tables and plots drawn from the figures, as report.typ's blocks."""

from __future__ import annotations

import base64
import math
from typing import TYPE_CHECKING, Any

from lab5.assignment import EXPECTED_LOSS_PP, EXPECTED_SIZE_CUT, EXPECTED_SPEEDUP, IS_CIFAR10
from lab5.compare import BUSY
from lab5.report.measure import Accuracy, Agreement, LayerSqnr, Measurements
from lab5.text import Language, Text

if TYPE_CHECKING:
    from lab5.study.evaluate import Paired

Block = dict[str, Any]
Files = dict[str, bytes]  # pictures by the name under which report.typ finds them

MB = 1e6  # bytes; file sizes are decimal, as file managers show them
BUSY_SHARE = 0.8  # of a core, below which something else ran while the models were timed
DB_A_BIT = 6.02  # 20 log10(2)
_MINUS = "−"


def tiles(m: Measurements, lang: Language) -> list[tuple[str, str]]:
    """The figures to see first: (figure, what it is).

    What the models answer on synthetic images, which they were not trained on, is no headline.
    """
    found = [
        (f"× {m.speedup:.2f}", Text("INT8 speed (FP32 = 1)", "INT8 的速度（FP32 = 1）").say(lang)),
        (_signed(-100 * m.size_cut, "%", 1), Text("INT8 file size", "INT8 的檔案大小").say(lang)),
    ]
    agreement = m.agreement
    if not agreement.synthetic:
        label = Text(
            f"same top-1 ({agreement.images:,} images)", f"top-1 一致（{agreement.images:,} 張）"
        )
        found.append((_percent(agreement.same, agreement.images), label.say(lang)))
    if m.accuracy is not None:
        change = _pair(m.accuracy).difference
        images = f"{m.accuracy.images:,}"
        label = Text(f"accuracy ({images} images)", f"準確率變化（{images} 張）")
        found.append((_signed(change, " pp", 2), label.say(lang)))
    return found


def analysis(m: Measurements, lang: Language) -> tuple[list[Block], Files]:
    """Section 3.2 below its heading."""
    files: Files = {}
    blocks = [
        {"kind": "list", "items": _findings(m, lang)},
        _heading(Text("Inference time", "推論時間").say(lang)),
        _latency_plot(m, lang),
        _heading(Text("Against the assignment's expectations", "與作業說明的比較").say(lang)),
        _expectations(m, lang),
    ]
    sqnr = _sqnr(m, lang)
    if m.accuracy is None:
        blocks += [_no_data(lang), *sqnr]
    else:
        classes, confusions = _class_table(m.accuracy, lang), _confusion_table(m.accuracy, lang)
        cells = [[*classes, *confusions], sqnr] if sqnr else [classes, confusions]
        blocks.append({"kind": "columns", "widths": [1, 1.1], "cells": cells})
    blocks += [_heading(Text("How it was measured", "量測條件").say(lang)), _conditions(m, lang)]
    title = _heading(Text("Pictures and both models' top-3", "圖片與兩個模型的 top-3").say(lang))
    cells = [[title, *_examples(m, lang, files)]]
    blocks.append({"kind": "columns", "widths": [1], "cells": cells})  # all on one page
    return blocks, files


def _heading(text: str) -> Block:
    return {"kind": "heading", "level": 2, "text": text}


def _pair(accuracy: Accuracy) -> Paired:
    from lab5.study.evaluate import Paired

    return Paired(accuracy.images, accuracy.only_fp32, accuracy.only_int8)


# Sentences


def _findings(m: Measurements, lang: Language) -> list[list[dict[str, Any]]]:
    """What is faster by how much, what changed, and why; each begins with its subject in bold."""
    found = [
        (Text("Speed", "速度").say(lang), _speed(m, lang)),
        (Text("Size", "大小").say(lang), _size(m, lang)),
        (Text("Agreement", "一致性").say(lang), _agreement(m.agreement, lang)),
    ]
    if m.accuracy:
        found.append((Text("Accuracy", "準確率").say(lang), _accuracy(m.accuracy, lang)))
    if m.sqnr:
        found.append((Text("Which layer", "哪一層").say(lang), _worst_layer(m, lang)))
    separator = Text(": ", "：").say(lang)
    return [[{"t": title + separator, "b": True}, {"t": text}] for title, text in found]


def _speed(m: Measurements, lang: Language) -> str:
    fp32, int8 = m.fp32_latency, m.int8_latency
    text = Text(
        f"the median per image is {fp32.median:.2f} ms in FP32 and {int8.median:.2f} ms in INT8 "
        "(batch 1, one thread). ",
        f"每張圖的中位數 FP32 為 {fp32.median:.2f} ms，INT8 為 {int8.median:.2f} ms（batch 1、單執行緒）。",
    ).say(lang)
    if m.cpu_share < BUSY_SHARE or any(x.p95 > BUSY * x.p5 for x in (fp32, int8)):
        text += Text(
            "The machine was busy with something else, so these times are unsteady: make the report "
            "again when it is idle. ",
            "量測時機器正忙別的事，時間不準，請在閒置時重做報告。",
        ).say(lang)
    if int8.p5 <= fp32.p95 and fp32.p5 <= int8.p95:
        text += Text(
            f"Their 5–95% ranges overlap: no clear difference ({m.speedup:.2f} times). ",
            f"兩者 5–95% 的範圍重疊，看不出明確的快慢（{m.speedup:.2f} 倍）。",
        ).say(lang)
    elif m.speedup < 1:
        text += Text(
            f"INT8 is {1 / m.speedup:.2f} times slower. ", f"INT8 反而慢 {1 / m.speedup:.2f} 倍。"
        ).say(lang)
    else:
        text += Text(
            f"INT8 is {m.speedup:.2f} times faster. ", f"INT8 快 {m.speedup:.2f} 倍。"
        ).say(lang)
    return text + (_why_fast if m.speedup >= EXPECTED_SPEEDUP[0] else _why_not_fast)(m, lang)


def _why_fast(m: Measurements, lang: Language) -> str:
    if m.machine.int8_instructions:
        names = Text(", ", "、").say(lang).join(m.machine.int8_instructions)
        return Text(
            f"Why: this CPU multiplies and adds 8-bit numbers in one instruction ({names}), four times as "
            "many as FP32 numbers, and has a quarter of the weights to move.",
            f"原因：這顆 CPU 有 8 位元乘加指令（{names}），一道指令處理的數量是 FP32 的四倍，"
            "要搬的權重也只有四分之一。",
        ).say(lang)
    return Text(
        "Why: one instruction handles more 8-bit numbers, and a quarter of the weights is to be moved.",
        "原因：8 位元的數一道指令能處理更多，要搬的權重也只有四分之一。",
    ).say(lang)


def _why_not_fast(m: Measurements, lang: Language) -> str:
    low, high = EXPECTED_SPEEDUP
    text = Text(
        f"The assignment's {low:g} to {high:g} times do not hold on this machine. ",
        f"作業說明預期的 {low:g} 到 {high:g} 倍在這台機器上不成立。",
    ).say(lang)
    instructions = m.machine.int8_instructions
    if instructions is None:
        return text + Text(
            "Why depends on 8-bit multiply-add instructions such as VNNI; whether this CPU has them cannot "
            "be told here. Without them INT8 gains little.",
            "原因要看 CPU 有沒有 8 位元乘加指令（如 VNNI），這台機器無法得知；沒有的話，INT8 不會比 FP32 快多少。",
        ).say(lang)
    if instructions:
        names = Text(", ", "、").say(lang).join(instructions)
        return text + Text(
            f"This CPU has 8-bit multiply-add instructions ({names}), so look at the model: QDQ nodes, int8 "
            "activations or operators left in FP32 slow it down.",
            f"這顆 CPU 有 8 位元乘加指令（{names}），所以要查的是模型：QDQ 節點、int8 activation 或沒有量化的運算會變慢。",
        ).say(lang)
    return text + Text(
        "Why: this CPU has no 8-bit multiply-add instruction such as VNNI. It multiplies, adds pairs and "
        "accumulates in three instructions where FP32 needs one, which uses up what four times as many "
        "numbers at once would gain.",
        "原因：這顆 CPU 沒有 8 位元乘加指令（如 VNNI），乘、兩兩相加、累加要三道指令，FP32 只要一道乘加；"
        "一次處理四倍的數，優勢就這樣用完了。",
    ).say(lang)


def _size(m: Measurements, lang: Language) -> str:
    sizes = f"{m.fp32_bytes / MB:.2f} MB → {m.int8_bytes / MB:.2f} MB"
    share = f"{abs(100 * m.size_cut):.1f}%"
    if m.size_cut <= 0:
        return Text(
            f"{sizes}: INT8 is not smaller (+{share}).", f"{sizes}，INT8 並沒有變小（大 {share}）。"
        ).say(lang)
    return Text(
        f"{sizes}, {share} smaller. Each weight takes 1 byte instead of 4; scales, zero points, biases and "
        "the graph itself come on top.",
        f"{sizes}，小 {share}。每個權重由 4 個位元組變成 1 個；scale、zero point、bias 與圖的結構是多出來的部分。",
    ).say(lang)


def _agreement(a: Agreement, lang: Language) -> str:
    share = _percent(a.same, a.images)
    what = Text(
        "synthetic images (in place of the data set)" if a.synthetic else "test images",
        "張合成影像（沒有資料集時的替代）" if a.synthetic else "張測試影像",
    ).say(lang)
    text = Text(
        f"on {a.images:,} {what} both models give the same top-1 for {a.same:,} ({share}); the logits "
        f"differ by {a.relative_l2:.3f} in relative L2. ",
        f"{a.images:,} {what}中，兩個模型的 top-1 相同 {a.same:,} 張（{share}）；logits 的相對 L2 差為 {a.relative_l2:.3f}。",
    ).say(lang)
    if a.synthetic:
        return text + Text(
            "The network was not trained on such images: the share on test images is another one, and the "
            "one that counts.",
            "網路並非以這類影像訓練：測試影像上的一致率會不同，應以該數字為準。",
        ).say(lang)
    if a.changed_confidence is None:
        return text.strip()
    here, all_ = f"{a.changed_confidence:.2f}", f"{a.confidence:.2f}"
    if a.changed_confidence < a.confidence:
        return text + Text(
            f"Where the answer changed, FP32's own confidence was {here} (median; {all_} over all images): "
            "rounding flips answers that were uncertain before.",
            f"答案改變的圖片，FP32 的信心中位數只有 {here}（全部圖片為 {all_}）：量化誤差翻轉的是原本就猶豫的判斷。",
        ).say(lang)
    return text + Text(
        f"Where the answer changed, FP32's own confidence was {here} (median; {all_} over all images): not "
        "only uncertain answers flipped, so look at the calibration data.",
        f"答案改變的圖片，FP32 的信心中位數為 {here}（全部圖片為 {all_}）：不只是猶豫的判斷被翻轉，值得檢查校準資料。",
    ).say(lang)


def _accuracy(a: Accuracy, lang: Language) -> str:
    pair = _pair(a)
    low, high = pair.interval
    interval = f"{_signed(low, '', 2)} {Text('to', '到').say(lang)} {_signed(high, '', 2)}"
    text = Text(
        f"on {a.images:,} test images FP32 is right on {_percent(a.fp32, a.images)} and INT8 on "
        f"{_percent(a.int8, a.images)}, {_signed(pair.difference, ' pp', 2)} (95% confidence interval "
        f"{interval}); right in FP32 alone: {a.only_fp32}, in INT8 alone: {a.only_int8}; ",
        f"{a.images:,} 張測試影像中 FP32 答對 {_percent(a.fp32, a.images)}，INT8 {_percent(a.int8, a.images)}，"
        f"相差 {_signed(pair.difference, ' pp', 2)}（95% 信賴區間 {interval}）；只有 FP32 答對的 {a.only_fp32} 張，"
        f"只有 INT8 答對的 {a.only_int8} 張，",
    ).say(lang)
    p = f"McNemar p = {pair.p_value:.2g}"
    if pair.differs:
        return text + Text(f"a real difference ({p}).", f"差異是真的（{p}）。").say(lang)
    return text + Text(f"no difference can be shown ({p}).", f"看不出差異（{p}）。").say(lang)


def _worst_layer(m: Measurements, lang: Language) -> str:
    layers = _weighted(m)
    activations = [(x.activation, x.name) for x in layers if x.activation is not None]
    weights = [(x.weight, x.name) for x in layers if x.weight is not None]
    texts = []
    if activations:
        low, name = min(activations)
        texts.append(
            Text(
                f"of the layers with weights, {name} puts out the most noise so far (SQNR {low:.1f} dB, "
                f"about {low / DB_A_BIT:.1f} bits); at the last one, {activations[-1][1]}, it is "
                f"{activations[-1][0]:.1f} dB. ",
                f"有權重的各層中，一路累積的量化雜訊在 {name} 的輸出最大（SQNR {low:.1f} dB，"
                f"約 {low / DB_A_BIT:.1f} 位元），到最後的 {activations[-1][1]} 為 {activations[-1][0]:.1f} dB。",
            ).say(lang)
        )
    if weights:
        low, name = min(weights)
        texts.append(
            Text(
                f"Rounding hurts the weights of {name} most ({low:.1f} dB).",
                f"權重本身失真最多的是 {name}（{low:.1f} dB）。",
            ).say(lang)
        )
    return "".join(texts).strip()


def _weighted(m: Measurements) -> list[LayerSqnr]:
    return [x for x in m.sqnr if x.weight is not None]


# Tables


def _expectations(m: Measurements, lang: Language) -> Block:
    yes, no = Text("holds", "符合").say(lang), Text("does not hold", "不符合").say(lang)
    cut, (low, high) = m.size_cut, EXPECTED_SPEEDUP
    quarter = Text(f"about {EXPECTED_SIZE_CUT:.0%} smaller", f"小約 {EXPECTED_SIZE_CUT:.0%}")
    size = yes if cut >= EXPECTED_SIZE_CUT - 0.005 else no  # "about 75%": rounds to it
    if low <= m.speedup <= high:
        speed = yes
    else:
        speed = Text("exceeded", "不符合：更快").say(lang) if m.speedup > high else no
    if m.accuracy is None:
        loss = Text("no test images", "沒有測試影像").say(lang)
        verdict = Text("cannot be told", "無法判斷").say(lang)
    else:
        pair = _pair(m.accuracy)
        least, most = (-x for x in reversed(pair.interval))
        loss = _change(pair.difference, lang) + Text(
            f" ({m.accuracy.images:,} images)", f"（{m.accuracy.images:,} 張）"
        ).say(lang)
        if most < EXPECTED_LOSS_PP:
            verdict = yes
        elif least >= EXPECTED_LOSS_PP:
            verdict = no
        else:
            verdict = Text("too few images to be sure", "影像太少，還不能確定").say(lang)
    rows = [
        [
            Text("File size", "檔案大小").say(lang),
            quarter.say(lang),
            Text(f"{cut:.1%} smaller", f"小 {cut:.1%}").say(lang),
            size,
        ],
        [
            Text("Inference speed", "推論速度").say(lang),
            Text(f"{low:g} to {high:g} times faster", f"快 {low:g} 到 {high:g} 倍").say(lang),
            Text(f"{m.speedup:.2f} times", f"{m.speedup:.2f} 倍").say(lang),
            speed,
        ],
        [
            Text("Accuracy lost", "準確率損失").say(lang),
            Text(f"below {EXPECTED_LOSS_PP:g}%", f"小於 {EXPECTED_LOSS_PP:g}%").say(lang),
            loss,
            verdict,
        ],
    ]
    return _table(
        [
            Text("Item", "項目").say(lang),
            Text("Assignment", "作業說明").say(lang),
            Text("Measured", "實測").say(lang),
            Text("Verdict", "結果").say(lang),
        ],
        rows,
        caption=None,
        widths=[1, 1.1, 1.5, 1.4],
        right=[],
    )


def _change(points: float, lang: Language) -> str:
    size = f"{abs(points):.2f} pp"
    if float(f"{points:.2f}") == 0:
        return size
    lower, higher = Text(f"{size} lower", f"低 {size}"), Text(f"{size} higher", f"高 {size}")
    return (lower if points < 0 else higher).say(lang)


def _class_table(a: Accuracy, lang: Language) -> list[Block]:
    rows = [
        [
            c.name,
            str(c.images),
            _percent(c.fp32, c.images),
            _percent(c.int8, c.images),
            _signed(100 * (c.int8 - c.fp32) / c.images, "", 1) if c.images else "–",
        ]
        for c in a.classes
    ]
    return [
        _heading(Text("Accuracy by class", "各類別準確率").say(lang)),
        _table(
            [
                Text("Class", "類別").say(lang),
                Text("Images", "張數").say(lang),
                "FP32",
                "INT8",
                "Δ pp",
            ],
            rows,
            caption=Text(
                f"{a.images:,} of {a.available:,} test images.",
                f"{a.available:,} 張測試影像中的 {a.images:,} 張。",
            ).say(lang),
            widths=[1.7, 1, 1.15, 1.15, 0.9],
            right=[1, 2, 3, 4],
        ),
    ]


def _confusion_table(a: Accuracy, lang: Language) -> list[Block]:
    heading = _heading(Text("Confusions that changed", "改變的混淆").say(lang))
    if not a.confusions:
        return [heading, _small(Text("None changed.", "沒有任何混淆改變。").say(lang))]
    return [
        heading,
        _table(
            [Text("Label → answer", "真實 → 預測").say(lang), "FP32", "INT8"],
            [[f"{c.label} → {c.predicted}", str(c.fp32), str(c.int8)] for c in a.confusions[:6]],
            caption=Text(
                f"{len(a.confusions)} confusions changed their count; the largest changes.",
                f"次數有改變的混淆共 {len(a.confusions)} 種，列出變化最大的。",
            ).say(lang),
            widths=[3, 1, 1],
            right=[1, 2],
        ),
    ]


def _no_data(lang: Language) -> Block:
    before, command, after = (
        Text("need CIFAR-10's test images. Run ", "需要 CIFAR-10 測試影像。執行 "),
        "python -m lab5.data",
        Text(" once, then make the report again.", " 下載一次，再重做報告即可補上。"),
    )
    if not IS_CIFAR10:  # which nobody can fetch
        before, command, after = (
            Text("need test images of these classes. ", "需要這些類別的測試影像。"),
            "python -m lab5.evaluate --data",
            Text(" measures it on a folder of them.", " 可在這些影像的資料夾上量測準確率。"),
        )
    return {
        "kind": "todo",
        "runs": [
            {
                "t": Text("Accuracy: the data set is missing. ", "準確率：缺少資料集。").say(lang),
                "b": True,
            },
            {
                "t": Text(
                    f"Accuracy, overall and by class, and the confusions that changed {before.en}",
                    f"整體與各類別的準確率、改變的混淆{before.zh}",
                ).say(lang)
            },
            {"t": command, "c": True},
            {"t": after.say(lang)},
        ],
    }


def _conditions(m: Measurements, lang: Language) -> Block:
    machine, runs = m.machine, m.fp32_latency.runs
    comma = Text(", ", "、").say(lang)
    versions = comma.join(f"{name} {number}" for name, number in machine.versions.items())
    return _small(
        Text(
            f"Machine: {machine.cpu}, {machine.cores} logical cores, {machine.system}. Versions: {versions}. "
            f"Times: ONNX Runtime on the CPU, one thread, batch 1, both models by turns, {runs} timed runs "
            "each after warming up, without preprocessing. Sizes: 1 MB is 1,000,000 bytes.",
            f"機器：{machine.cpu}，{machine.cores} 個邏輯核心，{machine.system}。版本：{versions}。"
            f"時間：ONNX Runtime CPU、單執行緒、batch 1，兩個模型輪流執行，各計時 {runs} 次，暖機的不計；"
            "不含前處理。大小：1 MB 為 1,000,000 位元組。",
        ).say(lang)
    )


def _small(text: str) -> Block:
    return {"kind": "small", "runs": [{"t": text}]}


def _table(
    header: list[str],
    rows: list[list[str]],
    *,
    caption: str | None,
    widths: list[float],
    right: list[int],
) -> Block:
    return {
        "kind": "table",
        "header": header,
        "rows": rows,
        "caption": caption,
        "widths": widths,
        "right": right,
    }


# Plots


def _latency_plot(m: Measurements, lang: Language) -> Block:
    named = (("FP32", m.fp32_latency), ("INT8", m.int8_latency))
    limit, ticks = _axis(0, 1.3 * max(x.p95 for _, x in named))  # room for the label behind the bar
    return {
        "kind": "latency",
        "limit": limit,
        "ticks": ticks,
        "axis": Text("inference time per image (ms)", "每張圖的推論時間（ms）").say(lang),
        "bars": [
            {"name": name, "median": x.median, "low": x.p5, "high": x.p95}
            | {"label": f"{x.median:.2f} ms ({x.p5:.2f}–{x.p95:.2f})"}
            for name, x in named
        ],
        "caption": Text(
            f"Batch 1, one thread; bars are medians of {named[0][1].runs} runs, lines reach from the 5th to "
            "the 95th percentile.",
            f"batch 1、單執行緒；長條為 {named[0][1].runs} 次的中位數，線段為第 5 到第 95 百分位。",
        ).say(lang),
        "alt": Text("Bar chart: ", "長條圖：").say(lang)
        + "; ".join(f"{name} {x.median:.2f} ms, {x.p5:.2f}–{x.p95:.2f} ms" for name, x in named),
    }


def _sqnr(m: Measurements, lang: Language) -> list[Block]:
    layers = [(x.name, x.activation, x.weight) for x in _weighted(m)]
    if not layers:
        return []
    values = [value for _, *pair in layers for value in pair if value is not None]
    start = 10 * math.floor(min(values) / 10)  # dots, not bars: their axis need not begin at 0
    limit, ticks = _axis(start, max(values))
    activations = Text("activations", "activation 值").say(lang)
    weights = Text("weights", "權重").say(lang)
    return [
        _heading(Text("SQNR by layer", "各層的 SQNR").say(lang)),
        {
            "kind": "sqnr",
            "start": start,
            "limit": limit,
            "ticks": ticks,
            "margin": 3 + 1.35 * max(len(name) for name, _, _ in layers),  # mm
            "axis": Text("SQNR (dB, higher is better)", "SQNR（dB，越高越好）").say(lang),
            "activation": activations,
            "weight": weights,
            "layers": [{"name": name, "activation": a, "weight": w} for name, a, w in layers],
            "caption": Text(
                "Rounding of each layer's weights, and all noise in its output so far; network order.",
                "各層權重的捨入誤差，與輸出到此為止累積的雜訊；由上到下為網路的順序。",
            ).say(lang),
            "alt": Text("SQNR by layer in dB: ", "各層 SQNR（dB）：").say(lang)
            + "; ".join(
                f"{name} {activations} {_one(a)}, {weights} {_one(w)}" for name, a, w in layers
            ),
        },
    ]


def _one(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _axis(start: float, largest: float) -> tuple[float, list[float]]:
    """An axis from ``start`` to a little above ``largest``: its limit and three to eight round ticks."""
    length = 1.08 * max(largest - start, 1e-3)
    step = 10.0 ** math.floor(math.log10(length))
    step *= next(f for f in (0.2, 0.5, 1, 2) if length / (f * step) <= 6)
    return start + length, [_round(start + i * step) for i in range(math.floor(length / step) + 1)]


def _round(value: float) -> float:
    value = round(value, 6)
    return int(value) if value == int(value) else value


def _examples(m: Measurements, lang: Language, files: Files) -> list[Block]:
    items = []
    for i, example in enumerate(m.examples):
        files[f"example-{i}.png"] = base64.b64decode(example.png)
        items.append(
            {
                "file": f"example-{i}.png",
                "title": example.label,
                "alt": Text("32×32 picture: ", "32×32 圖片：").say(lang) + example.label,
                "fp32": [[name, f"{100 * p:.1f}%"] for name, p in example.fp32],
                "int8": [[name, f"{100 * p:.1f}%"] for name, p in example.int8],
            }
        )
    differ = sum(x.fp32[0][0] != x.int8[0][0] for x in m.examples)
    if m.agreement.synthetic:
        text = Text(
            "Drawings made by the project, not test images: they say nothing of accuracy. "
            f"Different in top-1: {differ} of {len(items)}.",
            f"專案自繪的圖片，不是測試影像，不能代表準確率；其中 {differ} 張的 top-1 不同。",
        ).say(lang)
    else:
        text = Text(
            "In bold below each picture: its true class. Picked because the top-1 differs: "
            f"{differ} of {len(items)}; the others are simply the first.",
            f"圖下粗體為真實類別；其中 {differ} 張刻意選自 top-1 不同的圖片，其餘依序取前幾張。",
        ).say(lang)
    return [{"kind": "examples", "items": items}, _small(text)]


# Figures


def _percent(part: int, whole: int) -> str:
    """Two digits where they mean something."""
    return f"{100 * part / whole:.{2 if whole >= 1000 else 1}f}%" if whole else "–"


def _signed(value: float, unit: str, digits: int) -> str:
    text = f"{abs(value):.{digits}f}"
    sign = "" if float(text) == 0 else "+" if value > 0 else _MINUS
    return f"{sign}{text}{unit}"
