"""A class of made-up hand-ins with results, for the pages; none of them is a zip.

``python -m tests.classes OUT`` writes the pages and pictures of them, as docs/ has them (needs Chromium).
"""

from __future__ import annotations

import base64
import functools
import io
import random
import sys
from pathlib import Path

from lab5.assignment import CLASSES
from lab5.classroom.entry import HandIn, Marked
from lab5.grading.core import Result
from lab5.grading.graded import Graded
from lab5.grading.portrait import SIDE, Picture, Portrait
from lab5.grading.suite import SHOWN
from lab5.text import Text

FAMILIES, GIVEN = "陳林黃張李王吳劉蔡楊許鄭", "怡志雅俊淑家美建佳宗冠婷心承宇彥柏睿思妤詠晴哲豪"
SEED = 26

# check -> (part of its points earned, why, want, got, hint)
FAULTS = {
    "fp32-opset": (0, Text("The FP32 file is not opset 13.", "FP32 檔不是 opset 13。"), "13", "18",
                   Text("torch.onnx.export(..., dynamo=False)", "torch.onnx.export(..., dynamo=False)")),
    "preprocess-modes": (0.5, Text("Some modes fail: RGBA, L.", "部分模式失敗：RGBA、L。"), "(1, 3, 32, 32)",
                         "ValueError: operands could not be broadcast together with shapes (32,32,4) (3,)",
                         Text('image.convert("RGB") before anything else.', '先做 image.convert("RGB")。')),
    "compare-times": (0, Text("The text gives no time of INT8.", "文字中沒有 INT8 的時間。"), "INT8: … ms",
                      "FP32: 6.5 ms", Text("Print both times, in ms.", "請印出兩個模型的時間（ms）。")),
    "page-shared": (0, Text("It is launched without share.", "啟動時沒有 share。"), "share=True", "share=None",
                    Text("demo.launch(share=True)", "demo.launch(share=True)")),
    "screenshots": (0.67, Text("There are two screenshots.", "只有兩張截圖。"), "≥ 3", "2",
                    Text("Add a screenshot for each of three pictures.", "三張圖片各附一張截圖。")),
    "analysis-figures": (0.5, Text("The times of INT8 are missing.", "缺少 INT8 的時間。"), "ms: FP32, INT8",
                         "ms: FP32", Text("Put both into a table, with the unit.", "請以表格列出兩者並附單位。")),
    "session-providers": (0, Text("The providers are not passed on.", "沒有使用傳入的 providers。"),
                          "['CPUExecutionProvider']", "None",
                          Text("ort.InferenceSession(model_path, providers=providers)",) ),
    "chinese-comments": (0, Text("There are hardly any.", "幾乎沒有中文註解。"), "≥ 3", "1",
                         Text("Explain your code in a few Chinese comments.", "請以中文註解說明填寫的程式。")),
    "int8-per-channel": (0, Text("There is one scale a layer.", "每層只有一個 scale。"), "20", "0",
                         Text("quantize_static(..., per_channel=True)",)),
}  # fmt: skip
ADVICE = {
    "int8-qoperator": Text(
        'It is QDQ, which the string "QOperator" gives: slower to load, as accurate.',
        '是 QDQ 格式，字串 "QOperator" 就會得到它：載入較慢，準確度相同。',
    ),
    "compare-repeated": Text("One run is timed.", "只計時一次。"),
}
LOOK = Text("Look at the pages beside this.", "請看旁邊的報告頁面。")
RUNS = Text("Not made: the notebook's code is not run.", "未執行：不執行 notebook 的程式。")


def checks(rng: random.Random, *, lost: float = 0.12) -> tuple[Result, ...]:
    """Results of all checks; ``lost`` is how often one of ``FAULTS`` is there."""
    found = []
    for one in SHOWN:
        if one.manual:
            found.append(Result(one.name, "manual", why=LOOK))
        elif one.name in FAULTS and rng.random() < lost * (1 + (one.name < "f")):
            share, why, want, got, hint = FAULTS[one.name]
            found.append(Result(one.name, "fail", round(one.points * share, 2), why, Text.of(want), Text.of(got), hint))  # fmt: skip
        elif one.name in ADVICE and rng.random() < 0.4:
            found.append(Result(one.name, "advice", one.points, ADVICE[one.name], hint=one.hint))
        elif one.runs and lost > 0.5:
            found.append(Result(one.name, "blocked", why=RUNS))
        else:
            found.append(Result(one.name, "pass", one.points))
    return tuple(found)


@functools.cache
def page(seed: int) -> str:
    """A drawn page of a report, as a portrait has it."""
    from PIL import Image, ImageDraw

    rng = random.Random(seed)
    image = Image.new("RGB", (480, 679), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((48, 40, 48 + rng.randint(120, 300), 58), fill=(40, 50, 80))
    y = 85
    while y < 620:
        if rng.random() < 0.12 and y < 420:
            for x in (48, 184, 320):
                color = tuple(rng.randint(90, 220) for _ in range(3))
                draw.rectangle(
                    (x, y, x + 112, y + 190), fill=(238, 240, 245), outline=(180, 185, 195)
                )
                draw.rectangle((x + 18, y + 20, x + 94, y + 96), fill=color)
                for i in range(3):
                    draw.rectangle((x + 18, y + 112 + 22 * i, x + 30 + rng.randint(5, 64), y + 122 + 22 * i), fill=(80, 110, 190))  # fmt: skip
            y += 210
        else:
            draw.rectangle((48, y, 48 + rng.randint(250, 384), y + 6), fill=(150, 155, 165))
            y += 17
    file = io.BytesIO()
    image.save(file, "WEBP", quality=60)
    return base64.b64encode(file.getvalue()).decode("ascii")


def picture(seed: int, on: int) -> Picture:
    return Picture(on, base64.b64encode(random.Random(seed).randbytes(SIDE**2)).decode("ascii"))


STATEMENTS = (
    "_ = _ - _.mean(axis=(0, 1), keepdims=True)", "_ = _.clip(_ + _ * _, 0, 1)",
    "for _, _ in sorted(_.items(), key=lambda _: _[1]):", "print(_, _.getsize(_) / 2 ** 20)",
    "_ = {_: _.path.getsize(_) / 2 ** 20 for _ in (_, _)}", "_ = _.percentile(_.array(_), [5, 95])",
    "_.axhline(_.median(_), linestyle=_)", "_ = [_.perf_counter() for _ in range(_ + 1)]",
)  # fmt: skip


def handin(n: int, rng: random.Random) -> HandIn:
    name = rng.choice(FAMILIES) + "".join(rng.sample(GIVEN, 2))
    identity = f"N261{40000 + 137 * n}"
    return HandIn(Path(f"{identity}_lab5.zip"), f"{identity}_{1000 + n}", name)


def example(count: int = 40) -> list[Marked]:
    """A class: good and bad hand-ins, three that look alike, one that could not be graded."""
    rng = random.Random(SEED)
    found = []
    for n in range(count):
        one = handin(n, rng)
        if n == 17:
            why = Text("There is no file in it.", "壓縮檔中沒有檔案。")
            found.append(Marked(one, None, why))
            continue
        like = 5 if n in (5, 9, 23) else n
        portrait = Portrait(
            f"{n:064x}", f"{9000 + like if n != 23 else n:064x}", scales=f"{n:064x}",
            code=STATEMENTS if n in (5, 23) else (f"_ = _.{CLASSES[n % 10]}_{n}(_)",) * 2,
            pictures=(picture(like, 1), picture(1000 + n, 2)),
            pages=tuple(page(10 * like + i) for i in range(2 + n % 2)),
        )  # fmt: skip
        lost = rng.choice((0.02, 0.08, 0.15, 0.3, 0.3 if n % 9 else 0.6))
        graded = Graded(str(one.path), one.path.name[:9], checks(rng, lost=lost), 2.5, n, portrait)
        found.append(Marked(one, graded))
    return found


def main(out: Path) -> None:
    from PIL import Image

    from lab5.classroom import html
    from lab5.web.screenshots import chromium

    marked = example()
    html.write(out, marked, "en", title="EAI Lab 5")
    shown = {"class-overview": out / "index.html",
             "class-page": out / "students" / f"{marked[5].handin.key}.html"}  # fmt: skip
    with chromium() as (browser, _):
        tab = browser.new_page(viewport={"width": 1180, "height": 1150})
        for name, path in shown.items():
            tab.goto(path.as_uri())
            tab.keyboard.press("l")  # English, then zh-TW
            picture = Image.open(io.BytesIO(tab.screenshot())).convert("RGB")
            picture.quantize(128, dither=Image.Dither.NONE).save(out / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
