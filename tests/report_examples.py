"""Three submissions for the report: a full one, an empty one and a hostile one, all drawn here.

``python -m tests.report_examples OUT`` renders their pages (needs pdftoppm, of poppler-utils), with
figures written by hand: they show the layout, not a measurement.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw

from lab5.assignment import FileNames
from lab5.report.document import make_report
from lab5.report.measure import Example, Measurements
from lab5.web.examples import draw_examples
from tests.figures import full_size, without_data

REFLECTION = """# 心得

**第一次**把模型從 PyTorch 轉成 ONNX。原以為 INT8 一定比較快，量了才知道 *CPU 的指令* 才是關鍵。

- 校準資料比我想的重要：`quantize_static` 用隨機雜訊校準，準確率會下降。
- 量測要在閒置的電腦上做，並且取中位數。

# 建議

1. 希望模板附上量測的範例。
2. 公開連結只有 72 小時，可以改用 [Hugging Face Spaces](https://huggingface.co/spaces)。
"""

INERT = [
    '#panic("x")',
    '#read("/etc/passwd")',
    '#image("/etc/passwd")',
    "$ x^2 $",
    "]] }} ) #set page(width: 1cm)",
    "@reference <label>",
    "= 3.3 heading",
    '#import "@preview/x:0.1.0"',
    "\\ / // /* comment */",
    "\\input{/etc/passwd} \\textbf{x}",
    "<script>alert(1)</script><img src=x>",
    '{"kind": "heading"}',
    "{{7*7}} %s %(x)s {0}",
]


def full(folder: Path) -> Path:
    """Three drawn screenshots with captions, and a reflection in Markdown."""
    shots = folder / "screenshots"
    shots.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as drawings:
        for n, path in enumerate(draw_examples(Path(drawings))[:3], 1):
            screen = Image.new("RGB", (390, 844), "white")
            draw = ImageDraw.Draw(screen)
            draw.text((40, 50), "drawn for the tests, no device", fill="black", font_size=20)
            screen.paste(Image.open(path).resize((310, 310), Image.Resampling.NEAREST), (40, 110))
            for i, y in enumerate(range(460, 760, 60)):
                draw.rectangle((40, y, 350 - 50 * i, y + 30), fill="#e9edf1")
            screen.save(shots / f"phone-{n}.png")
    captions = ("phone-1: 手機，Safari，airplane", "phone-2: 平板，Chrome，automobile")
    (shots / "captions.txt").write_text("\n".join(captions), encoding="utf-8")
    (folder / "reflection.md").write_text(REFLECTION, encoding="utf-8")
    return folder


def hostile(folder: Path) -> Path:
    """Code in every text, names that are none, pictures that are none, and too much of everything."""
    shots = folder / "screenshots"
    shots.mkdir(parents=True)
    for i in range(50):
        name = f"{i:02d} {(INERT * 4)[i]}".replace("/", "_")
        Image.new("RGB", (390, 844), f"hsl({7 * i}, 60%, 60%)").save(shots / f"{name}.png")
    Image.new("1", (12_000, 12_000)).save(shots / "00-huge.png")
    Image.new("L", (12_000, 2_000), 128).save(shots / "00-wide.png")
    (shots / "00-corrupt.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(300))
    (shots / "00-text.jpg").write_text("no picture")
    (shots / "00-link.png").symlink_to("/etc/hostname")
    (shots / "00\x1b[31m\u202egnp\nx\udcff.png").touch()
    os.mkfifo(shots / "00-pipe.png")
    (shots / "captions.txt").write_text("01: " + "😀名" * 300, encoding="utf-8")
    text = "\n\n".join([*INERT, *(char * 400 for char in "Aα。「—ก𠀀"), "> " * 300, "字" * 30_000])
    (folder / "reflection.md").write_text(text, encoding="utf-8")
    return folder


def _drawn(m: Measurements) -> Measurements:
    """The project's drawings in place of plain squares."""
    with tempfile.TemporaryDirectory() as drawings:
        examples = []
        for example, path in zip(m.examples, draw_examples(Path(drawings)), strict=True):
            buffer = io.BytesIO()
            Image.open(path).resize((32, 32)).save(buffer, "PNG")
            tops = [((path.stem, 0.9), *top[1:]) for top in (example.fp32, example.int8)]
            png = base64.b64encode(buffer.getvalue()).decode()
            examples.append(Example(png, path.stem, tops[0], tops[1]))
    return dataclasses.replace(m, examples=tuple(examples))


def render(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        made = Path(work)
        for name, lang, m, submission in (
            ("full", "zh-TW", _drawn(full_size()), full(made / "full")),
            ("empty", "en", _drawn(without_data(full_size())), None),
            ("hostile", "zh-TW", full_size(), hostile(made / "hostile")),
        ):
            pdf = made / f"{name}.pdf"
            day = datetime.date(2026, 3, 14)
            make_report(pdf, FileNames("N26140692"), m, submission, lang, date=day)
            subprocess.run(["pdftoppm", "-r", "56", "-png", pdf, made / name], check=True)
            pages = [Image.open(page) for page in sorted(made.glob(f"{name}-*.png"))]
            pages = pages if len(pages) <= 4 else [*pages[:3], pages[-1]]
            width, height = pages[0].size
            sheet = Image.new("RGB", ((width + 8) * len(pages) - 8, height), "grey")
            for i, page in enumerate(pages):
                sheet.paste(page, (i * (width + 8), 0))
            sheet.quantize(128).save(out / f"report-{name}.png", optimize=True)


if __name__ == "__main__":
    render(Path(sys.argv[1]))
