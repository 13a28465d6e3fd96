"""3.2: sentences, tables and plots drawn from the figures, as report.typ's blocks."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from typing import Any

from lab5.assignment import EXPECTED_LOSS_PP, EXPECTED_SIZE_CUT, EXPECTED_SPEEDUP
from lab5.compare import BUSY
from lab5.report.measure import Accuracy, Agreement, LayerSqnr, Measurements

Block = dict[str, Any]
Say = Callable[[str, str], str]  # the zh-TW or the English one of two texts
Files = dict[str, bytes]  # pictures by the name under which report.typ finds them

MB = 1e6  # bytes; file sizes are decimal, as file managers show them
BUSY_SHARE = 0.8  # of a core, below which something else ran while the models were timed
DB_A_BIT = 6.02  # 20 log10(2)
HOW_TO_GET_DATA = "python -m lab5.data"
_MINUS = "−"


def tiles(m: Measurements, say: Say) -> list[tuple[str, str]]:
    """The figures to see first: (figure, what it is)."""
    agreement = m.agreement
    found = [
        (f"× {m.speedup:.2f}", say("INT8 的速度（FP32 = 1）", "INT8 speed (FP32 = 1)")),
        (_signed(-100 * m.size_cut, "%", 1), say("INT8 的檔案大小", "INT8 file size")),
        (
            _percent(agreement.same, agreement.images),
            say(
                f"top-1 一致（{agreement.images:,} 張）",
                f"same top-1 ({agreement.images:,} images)",
            ),
        ),
    ]
    if m.accuracy is None:
        found.append(
            (f"{agreement.relative_l2:.3f}", say("logits 相對 L2 差", "relative L2 of logits"))
        )
    else:
        change = _pair(m.accuracy).difference
        images = f"{m.accuracy.images:,}"
        label = say(f"準確率變化（{images} 張）", f"accuracy ({images} images)")
        found.append((_signed(change, " pp", 2), label))
    return found


def analysis(m: Measurements, say: Say) -> tuple[list[Block], Files]:
    """Section 3.2 below its heading."""
    files: Files = {}
    blocks = [
        {"kind": "list", "items": _findings(m, say)},
        _heading(say("推論時間", "Inference time")),
        _latency_plot(m, say),
        _heading(say("與作業說明的比較", "Against the assignment's expectations")),
        _expectations(m, say),
    ]
    sqnr = _sqnr(m, say)
    if m.accuracy is None:
        blocks += [_no_data(say), *sqnr]
    else:
        classes, confusions = _class_table(m.accuracy, say), _confusion_table(m.accuracy, say)
        cells = [[*classes, *confusions], sqnr] if sqnr else [classes, confusions]
        blocks.append({"kind": "columns", "widths": [1, 1.1], "cells": cells})
    blocks += [_heading(say("量測條件", "How it was measured")), _conditions(m, say)]
    title = _heading(say("圖片與兩個模型的 top-3", "Pictures and both models' top-3"))
    cells = [[title, *_examples(m, say, files)]]
    blocks.append({"kind": "columns", "widths": [1], "cells": cells})  # all on one page
    return blocks, files


def _heading(text: str) -> Block:
    return {"kind": "heading", "level": 2, "text": text}


def _pair(accuracy: Accuracy):
    from lab5.study.evaluate import Paired

    return Paired(accuracy.images, accuracy.only_fp32, accuracy.only_int8)


# Sentences


def _findings(m: Measurements, say: Say) -> list[list[dict[str, Any]]]:
    """What is faster by how much, what changed, and why; each begins with its subject in bold."""
    found = [
        (say("速度", "Speed"), _speed(m, say)),
        (say("大小", "Size"), _size(m, say)),
        (say("一致性", "Agreement"), _agreement(m.agreement, say)),
    ]
    if m.accuracy:
        found.append((say("準確率", "Accuracy"), _accuracy(m.accuracy, say)))
    if m.sqnr:
        found.append((say("哪一層", "Which layer"), _worst_layer(m, say)))
    separator = say("：", ": ")
    return [[{"t": title + separator, "b": True}, {"t": text}] for title, text in found]


def _speed(m: Measurements, say: Say) -> str:
    fp32, int8 = m.fp32_latency, m.int8_latency
    text = say(
        f"每張圖的中位數 FP32 為 {fp32.median:.2f} ms，INT8 為 {int8.median:.2f} ms（batch 1、單執行緒）。",
        f"the median per image is {fp32.median:.2f} ms in FP32 and {int8.median:.2f} ms in INT8 "
        "(batch 1, one thread). ",
    )
    if m.cpu_share < BUSY_SHARE or any(x.p95 > BUSY * x.p5 for x in (fp32, int8)):
        text += say(
            "量測時機器正忙別的事，時間不準，請在閒置時重做報告。",
            "The machine was busy with something else, so these times are unsteady: make the report "
            "again when it is idle. ",
        )
    if int8.p5 <= fp32.p95 and fp32.p5 <= int8.p95:
        text += say(
            f"兩者 5–95% 的範圍重疊，看不出明確的快慢（{m.speedup:.2f} 倍）。",
            f"Their 5–95% ranges overlap: no clear difference ({m.speedup:.2f} times). ",
        )
    elif m.speedup < 1:
        text += say(
            f"INT8 反而慢 {1 / m.speedup:.2f} 倍。", f"INT8 is {1 / m.speedup:.2f} times slower. "
        )
    else:
        text += say(f"INT8 快 {m.speedup:.2f} 倍。", f"INT8 is {m.speedup:.2f} times faster. ")
    return text + (_why_fast if m.speedup >= EXPECTED_SPEEDUP[0] else _why_not_fast)(m, say)


def _why_fast(m: Measurements, say: Say) -> str:
    if m.machine.int8_instructions:
        names = say("、", ", ").join(m.machine.int8_instructions)
        return say(
            f"原因：這顆 CPU 有 8 位元乘加指令（{names}），一道指令處理的數量是 FP32 的四倍，"
            "要搬的權重也只有四分之一。",
            f"Why: this CPU multiplies and adds 8-bit numbers in one instruction ({names}), four times as "
            "many as FP32 numbers, and has a quarter of the weights to move.",
        )
    return say(
        "原因：8 位元的數一道指令能處理更多，要搬的權重也只有四分之一。",
        "Why: one instruction handles more 8-bit numbers, and a quarter of the weights is to be moved.",
    )


def _why_not_fast(m: Measurements, say: Say) -> str:
    low, high = EXPECTED_SPEEDUP
    text = say(
        f"作業說明預期的 {low:g} 到 {high:g} 倍在這台機器上不成立。",
        f"The assignment's {low:g} to {high:g} times do not hold on this machine. ",
    )
    instructions = m.machine.int8_instructions
    if instructions is None:
        return text + say(
            "原因要看 CPU 有沒有 8 位元乘加指令（如 VNNI），這台機器無法得知；沒有的話，INT8 不會比 FP32 快多少。",
            "Why depends on 8-bit multiply-add instructions such as VNNI; whether this CPU has them cannot "
            "be told here. Without them INT8 gains little.",
        )
    if instructions:
        names = say("、", ", ").join(instructions)
        return text + say(
            f"這顆 CPU 有 8 位元乘加指令（{names}），所以要查的是模型：QDQ 節點、int8 activation 或沒有量化的運算會變慢。",
            f"This CPU has 8-bit multiply-add instructions ({names}), so look at the model: QDQ nodes, int8 "
            "activations or operators left in FP32 slow it down.",
        )
    return text + say(
        "原因：這顆 CPU 沒有 8 位元乘加指令（如 VNNI），乘、兩兩相加、累加要三道指令，FP32 只要一道乘加；"
        "一次處理四倍的數，優勢就這樣用完了。",
        "Why: this CPU has no 8-bit multiply-add instruction such as VNNI. It multiplies, adds pairs and "
        "accumulates in three instructions where FP32 needs one, which uses up what four times as many "
        "numbers at once would gain.",
    )


def _size(m: Measurements, say: Say) -> str:
    sizes = f"{m.fp32_bytes / MB:.2f} MB → {m.int8_bytes / MB:.2f} MB"
    share = f"{abs(100 * m.size_cut):.1f}%"
    if m.size_cut <= 0:
        return say(
            f"{sizes}，INT8 並沒有變小（大 {share}）。", f"{sizes}: INT8 is not smaller (+{share})."
        )
    return say(
        f"{sizes}，小 {share}。每個權重由 4 個位元組變成 1 個；scale、zero point、bias 與圖的結構是多出來的部分。",
        f"{sizes}, {share} smaller. Each weight takes 1 byte instead of 4; scales, zero points, biases and "
        "the graph itself come on top.",
    )


def _agreement(a: Agreement, say: Say) -> str:
    share = _percent(a.same, a.images)
    what = say(
        "張合成影像（沒有資料集時的替代）" if a.synthetic else "張測試影像",
        "synthetic images (in place of the data set)" if a.synthetic else "test images",
    )
    text = say(
        f"{a.images:,} {what}中，兩個模型的 top-1 相同 {a.same:,} 張（{share}）；logits 的相對 L2 差為 {a.relative_l2:.3f}。",
        f"on {a.images:,} {what} both models give the same top-1 for {a.same:,} ({share}); the logits "
        f"differ by {a.relative_l2:.3f} in relative L2. ",
    )
    if a.changed_confidence is None:
        return text.strip()
    here, all_ = f"{a.changed_confidence:.2f}", f"{a.confidence:.2f}"
    if a.changed_confidence < a.confidence:
        return text + say(
            f"答案改變的圖片，FP32 的信心中位數只有 {here}（全部圖片為 {all_}）：量化誤差翻轉的是原本就猶豫的判斷。",
            f"Where the answer changed, FP32's own confidence was {here} (median; {all_} over all images): "
            "rounding flips answers that were uncertain before.",
        )
    return text + say(
        f"答案改變的圖片，FP32 的信心中位數為 {here}（全部圖片為 {all_}）：不只是猶豫的判斷被翻轉，值得檢查校準資料。",
        f"Where the answer changed, FP32's own confidence was {here} (median; {all_} over all images): not "
        "only uncertain answers flipped, so look at the calibration data.",
    )


def _accuracy(a: Accuracy, say: Say) -> str:
    pair = _pair(a)
    low, high = pair.interval
    interval = f"{_signed(low, '', 2)} {say('到', 'to')} {_signed(high, '', 2)}"
    text = say(
        f"{a.images:,} 張測試影像中 FP32 答對 {_percent(a.fp32, a.images)}，INT8 {_percent(a.int8, a.images)}，"
        f"相差 {_signed(pair.difference, ' pp', 2)}（95% 信賴區間 {interval}）；只有 FP32 答對的 {a.only_fp32} 張，"
        f"只有 INT8 答對的 {a.only_int8} 張，",
        f"on {a.images:,} test images FP32 is right on {_percent(a.fp32, a.images)} and INT8 on "
        f"{_percent(a.int8, a.images)}, {_signed(pair.difference, ' pp', 2)} (95% confidence interval "
        f"{interval}); right in FP32 alone: {a.only_fp32}, in INT8 alone: {a.only_int8}; ",
    )
    p = f"McNemar p = {pair.p_value:.2g}"
    if pair.differs:
        return text + say(f"差異是真的（{p}）。", f"a real difference ({p}).")
    return text + say(f"看不出差異（{p}）。", f"no difference can be shown ({p}).")


def _worst_layer(m: Measurements, say: Say) -> str:
    layers = _weighted(m)
    activations = [(x.activation, x.name) for x in layers if x.activation is not None]
    weights = [(x.weight, x.name) for x in layers if x.weight is not None]
    texts = []
    if activations:
        low, name = min(activations)
        texts.append(
            say(
                f"有權重的各層中，一路累積的量化雜訊在 {name} 的輸出最大（SQNR {low:.1f} dB，"
                f"約 {low / DB_A_BIT:.1f} 位元），到最後的 {activations[-1][1]} 為 {activations[-1][0]:.1f} dB。",
                f"of the layers with weights, {name} puts out the most noise so far (SQNR {low:.1f} dB, "
                f"about {low / DB_A_BIT:.1f} bits); at the last one, {activations[-1][1]}, it is "
                f"{activations[-1][0]:.1f} dB. ",
            )
        )
    if weights:
        low, name = min(weights)
        texts.append(
            say(
                f"權重本身失真最多的是 {name}（{low:.1f} dB）。",
                f"Rounding hurts the weights of {name} most ({low:.1f} dB).",
            )
        )
    return "".join(texts).strip()


def _weighted(m: Measurements) -> list[LayerSqnr]:
    return [x for x in m.sqnr if x.weight is not None]


# Tables


def _expectations(m: Measurements, say: Say) -> Block:
    yes, no = say("符合", "holds"), say("不符合", "does not hold")
    cut, (low, high) = m.size_cut, EXPECTED_SPEEDUP
    size = yes if cut >= EXPECTED_SIZE_CUT - 0.005 else no  # "about 75%": rounds to it
    if low <= m.speedup <= high:
        speed = yes
    else:
        speed = say("不符合：更快", "exceeded") if m.speedup > high else no
    if m.accuracy is None:
        loss, verdict = say("沒有測試影像", "no test images"), say("無法判斷", "cannot be told")
    else:
        pair = _pair(m.accuracy)
        least, most = (-x for x in reversed(pair.interval))
        loss = _change(pair.difference, say) + say(
            f"（{m.accuracy.images:,} 張）", f" ({m.accuracy.images:,} images)"
        )
        if most < EXPECTED_LOSS_PP:
            verdict = yes
        elif least >= EXPECTED_LOSS_PP:
            verdict = no
        else:
            verdict = say("影像太少，還不能確定", "too few images to be sure")
    rows = [
        [
            say("檔案大小", "File size"),
            say(f"小約 {EXPECTED_SIZE_CUT:.0%}", f"about {EXPECTED_SIZE_CUT:.0%} smaller"),
            say(f"小 {cut:.1%}", f"{cut:.1%} smaller"),
            size,
        ],
        [
            say("推論速度", "Inference speed"),
            say(f"快 {low:g} 到 {high:g} 倍", f"{low:g} to {high:g} times faster"),
            say(f"{m.speedup:.2f} 倍", f"{m.speedup:.2f} times"),
            speed,
        ],
        [
            say("準確率損失", "Accuracy lost"),
            say(f"小於 {EXPECTED_LOSS_PP:g}%", f"below {EXPECTED_LOSS_PP:g}%"),
            loss,
            verdict,
        ],
    ]
    return _table(
        [
            say("項目", "Item"),
            say("作業說明", "Assignment"),
            say("實測", "Measured"),
            say("結果", "Verdict"),
        ],
        rows,
        caption=None,
        widths=[1, 1.1, 1.5, 1.4],
        right=[],
    )


def _change(points: float, say: Say) -> str:
    size = f"{abs(points):.2f} pp"
    if float(f"{points:.2f}") == 0:
        return size
    return say(f"低 {size}", f"{size} lower") if points < 0 else say(f"高 {size}", f"{size} higher")


def _class_table(a: Accuracy, say: Say) -> list[Block]:
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
        _heading(say("各類別準確率", "Accuracy by class")),
        _table(
            [say("類別", "Class"), say("張數", "Images"), "FP32", "INT8", "Δ pp"],
            rows,
            caption=say(
                f"{a.available:,} 張測試影像中的 {a.images:,} 張。",
                f"{a.images:,} of {a.available:,} test images.",
            ),
            widths=[1.7, 1, 1.15, 1.15, 0.9],
            right=[1, 2, 3, 4],
        ),
    ]


def _confusion_table(a: Accuracy, say: Say) -> list[Block]:
    heading = _heading(say("改變的混淆", "Confusions that changed"))
    if not a.confusions:
        return [heading, _small(say("沒有任何混淆改變。", "None changed."))]
    return [
        heading,
        _table(
            [say("真實 → 預測", "Label → answer"), "FP32", "INT8"],
            [[f"{c.label} → {c.predicted}", str(c.fp32), str(c.int8)] for c in a.confusions[:6]],
            caption=say(
                f"次數有改變的混淆共 {len(a.confusions)} 種，列出變化最大的。",
                f"{len(a.confusions)} confusions changed their count; the largest changes.",
            ),
            widths=[3, 1, 1],
            right=[1, 2],
        ),
    ]


def _no_data(say: Say) -> Block:
    return {
        "kind": "todo",
        "runs": [
            {"t": say("準確率：缺少資料集。", "Accuracy: the data set is missing. "), "b": True},
            {
                "t": say(
                    "整體與各類別的準確率、改變的混淆需要 CIFAR-10 測試影像。執行 ",
                    "Accuracy, overall and by class, and the confusions that changed need CIFAR-10's test "
                    "images. Run ",
                )
            },
            {"t": HOW_TO_GET_DATA, "c": True},
            {"t": say(" 下載一次，再重做報告即可補上。", " once, then make the report again.")},
        ],
    }


def _conditions(m: Measurements, say: Say) -> Block:
    machine, runs = m.machine, m.fp32_latency.runs
    versions = say("、", ", ").join(f"{name} {number}" for name, number in machine.versions.items())
    return _small(
        say(
            f"機器：{machine.cpu}，{machine.cores} 個邏輯核心，{machine.system}。版本：{versions}。"
            f"時間：ONNX Runtime CPU、單執行緒、batch 1，兩個模型輪流執行，各計時 {runs} 次，暖機的不計；"
            "不含前處理。大小：1 MB 為 1,000,000 位元組。",
            f"Machine: {machine.cpu}, {machine.cores} logical cores, {machine.system}. Versions: {versions}. "
            f"Times: ONNX Runtime on the CPU, one thread, batch 1, both models by turns, {runs} timed runs "
            "each after warming up, without preprocessing. Sizes: 1 MB is 1,000,000 bytes.",
        )
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


def _latency_plot(m: Measurements, say: Say) -> Block:
    named = (("FP32", m.fp32_latency), ("INT8", m.int8_latency))
    limit, ticks = _axis(0, 1.3 * max(x.p95 for _, x in named))  # room for the label behind the bar
    return {
        "kind": "latency",
        "limit": limit,
        "ticks": ticks,
        "axis": say("每張圖的推論時間（ms）", "inference time per image (ms)"),
        "bars": [
            {"name": name, "median": x.median, "low": x.p5, "high": x.p95}
            | {"label": f"{x.median:.2f} ms ({x.p5:.2f}–{x.p95:.2f})"}
            for name, x in named
        ],
        "caption": say(
            f"batch 1、單執行緒；長條為 {named[0][1].runs} 次的中位數，線段為第 5 到第 95 百分位。",
            f"Batch 1, one thread; bars are medians of {named[0][1].runs} runs, lines reach from the 5th to "
            "the 95th percentile.",
        ),
        "alt": say("長條圖：", "Bar chart: ")
        + "; ".join(f"{name} {x.median:.2f} ms, {x.p5:.2f}–{x.p95:.2f} ms" for name, x in named),
    }


def _sqnr(m: Measurements, say: Say) -> list[Block]:
    layers = [(x.name, x.activation, x.weight) for x in _weighted(m)]
    if not layers:
        return []
    values = [value for _, *pair in layers for value in pair if value is not None]
    start = 10 * math.floor(min(values) / 10)  # dots, not bars: their axis need not begin at 0
    limit, ticks = _axis(start, max(values))
    activations, weights = say("activation", "activations"), say("權重", "weights")
    return [
        _heading(say("各層的 SQNR", "SQNR by layer")),
        {
            "kind": "sqnr",
            "start": start,
            "limit": limit,
            "ticks": ticks,
            "margin": 3 + 1.35 * max(len(name) for name, _, _ in layers),  # mm
            "axis": say("SQNR（dB，越高越好）", "SQNR (dB, higher is better)"),
            "activation": activations,
            "weight": weights,
            "layers": [{"name": name, "activation": a, "weight": w} for name, a, w in layers],
            "caption": say(
                "各層權重的捨入誤差，與輸出到此為止累積的雜訊；由上到下為網路的順序。",
                "Rounding of each layer's weights, and all noise in its output so far; network order.",
            ),
            "alt": say("各層 SQNR（dB）：", "SQNR by layer in dB: ")
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


def _examples(m: Measurements, say: Say, files: Files) -> list[Block]:
    items = []
    for i, example in enumerate(m.examples):
        files[f"example-{i}.png"] = base64.b64decode(example.png)
        items.append(
            {
                "file": f"example-{i}.png",
                "title": example.label,
                "alt": say(f"32×32 圖片：{example.label}", f"32×32 picture: {example.label}"),
                "fp32": [[name, f"{100 * p:.1f}%"] for name, p in example.fp32],
                "int8": [[name, f"{100 * p:.1f}%"] for name, p in example.int8],
            }
        )
    differ = sum(x.fp32[0][0] != x.int8[0][0] for x in m.examples)
    if m.agreement.synthetic:
        text = say(
            f"專案自繪的圖片，不是測試影像，不能代表準確率；其中 {differ} 張的 top-1 不同。",
            "Drawings made by the project, not test images: they say nothing of accuracy. "
            f"Different in top-1: {differ} of {len(items)}.",
        )
    else:
        text = say(
            f"圖下粗體為真實類別；其中 {differ} 張刻意選自 top-1 不同的圖片，其餘依序取前幾張。",
            "In bold below each picture: its true class. Picked because the top-1 differs: "
            f"{differ} of {len(items)}; the others are simply the first.",
        )
    return [{"kind": "examples", "items": items}, _small(text)]


# Figures


def _percent(part: int, whole: int) -> str:
    """Two digits where they mean something."""
    return f"{100 * part / whole:.{2 if whole >= 1000 else 1}f}%" if whole else "–"


def _signed(value: float, unit: str, digits: int) -> str:
    text = f"{abs(value):.{digits}f}"
    sign = "" if float(text) == 0 else "+" if value > 0 else _MINUS
    return f"{sign}{text}{unit}"
