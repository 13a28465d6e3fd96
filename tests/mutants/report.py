"""Faults of the report."""

from __future__ import annotations

import io

from tests import handin
from tests.handin import REPORT
from tests.mutants.core import HandIn, fault

_AGREEMENT = "The predictions agree on 99.1 % of the test images.\n"
_START = handin.REPORT_SOURCE.index("== 3.2")
ANALYSIS = handin.REPORT_SOURCE[_START : handin.REPORT_SOURCE.index("== 3.3")]  # its whole section
_THIRD = ' #image("three.png", width: 4cm)'
REFLECTION = "I learnt that a graph can be valid and wrong at once, and that calibration decides.\n"


def pictures(**size: tuple[int, int]) -> dict[str, bytes]:
    """The report's three pictures, some of another size."""
    return {
        f"{name}.png": handin.screenshot(i, size.get(name, (390, 700)))
        for i, name in enumerate(("one", "two", "three"))
    }


@fault("report-readable", fast=True)
def report_with_a_password(h: HandIn) -> None:
    """The PDF needs a password."""
    import pypdf

    writer, found = pypdf.PdfWriter(io.BytesIO(h.variants.good[REPORT])), io.BytesIO()
    writer.encrypt("secret", algorithm="RC4-128")
    writer.write(found)
    h.files[REPORT] = found.getvalue()


@fault("report-readable")
def text_named_pdf(h: HandIn) -> None:
    """The report is a text file named .pdf."""
    h.files[REPORT] = "EAI Lab 5 報告\n".encode()


@fault("report-readable")
def report_of_no_bytes(h: HandIn) -> None:
    """The report is an empty file."""
    h.files[REPORT] = b""


@fault("report-readable")
def blank_report(h: HandIn) -> None:
    """The report is one blank page."""
    h.files[REPORT] = handin.report("#set document(date: none)\n#pagebreak(weak: false)\n", {})


@fault("screenshots", fast=True)
def two_screenshots(h: HandIn) -> None:
    """The report has two screenshots."""
    h.report((_THIRD, ""))


@fault("screenshots")
def no_screenshots(h: HandIn) -> None:
    """The report has no screenshots."""
    h.report(
        (' #image("two.png", width: 4cm)', ""), (_THIRD, ""), ('#image("one.png", width: 4cm)', "")
    )


@fault("screenshots")
def one_screenshot_three_times(h: HandIn) -> None:
    """The same screenshot three times."""
    h.report(('"two.png"', '"one.png"'), ('"three.png"', '"one.png"'))


@fault("screenshots", fast=True)
def one_screenshot_saved_three_times(h: HandIn) -> None:
    """The same screenshot as PNG, as JPEG and scaled."""
    from PIL import Image

    image, found = Image.open(io.BytesIO(handin.screenshot(1))).convert("RGB"), io.BytesIO()
    image.save(found, "JPEG", quality=60)
    scaled = io.BytesIO()
    image.resize((300, 538)).save(scaled, "PNG")
    files = {"one.png": handin.screenshot(1), "two.jpg": found.getvalue()}
    h.report(('"two.png"', '"two.jpg"'), pictures={**files, "three.png": scaled.getvalue()})


@fault("screenshots", fast=True)
def blank_screenshots(h: HandIn) -> None:
    """The screenshots are plain white, grey and black."""
    from PIL import Image

    files = {}
    for name, grey in (("one", 255), ("two", 128), ("three", 0)):
        Image.new("L", (390, 700), grey).save(found := io.BytesIO(), "PNG")
        files[f"{name}.png"] = found.getvalue()
    h.report(pictures=files)


@fault("screenshots")
def icons_for_screenshots(h: HandIn) -> None:
    """The screenshots are 60x60 pixels."""
    h.report(pictures=pictures(one=(60, 60), two=(60, 60), three=(60, 60)))


@fault("screenshots")
def emulated_screenshots(h: HandIn) -> None:
    """The screenshots are a browser's emulation, and say so."""
    captions = "Phone 1 (emulated)\n\nTablet 2 (emulated)\n\nDesktop 3 (emulated)\n"
    h.report(("== 3.2", f"{captions}== 3.2"))


@fault("analysis-figures", fast=True)
def no_analysis(h: HandIn) -> None:
    """The report has no analysis."""
    h.report((ANALYSIS, ""))


@fault("analysis-figures")
def heading_without_analysis(h: HandIn) -> None:
    """Below the heading of the analysis there is nothing."""
    h.report((ANALYSIS, "== 3.2 FP32 vs INT8\n"))


@fault("analysis-figures")
def table_not_filled_in(h: HandIn) -> None:
    """The table of the analysis is empty."""
    rows = "[Inference time (ms)], [xx], [xx], [File size (MB)], [xx], [xx], [Accuracy], [], [])"
    h.report((ANALYSIS, f"== 3.2 FP32 vs INT8\n#table(columns: 3, [], [FP32], [INT8],\n{rows}\n"))


@fault("analysis-figures", fast=True)
def analysis_in_the_guides_words(h: HandIn) -> None:
    """The analysis is the assignment's own text."""
    words = "分析並說明 FP32 與 INT8 模型的差異，需附上相關數據或證據，例如："
    points = "- 推論時間比較\n- 模型檔案大小比較\n- 預測結果是否一致\n- 準確度差異（如果有）\n"
    h.report((ANALYSIS, f"== 3.2 FP32 vs INT8 分析（10%）\n{words}\n{points}"))


@fault("analysis-figures", fast=True)
def figures_of_something_else(h: HandIn) -> None:
    """The numbers of the analysis are a date, versions, devices and the sizes of pictures."""
    words = "FP32 and INT8 on 2025/11/26, opset 13, Python 3.10, CIFAR-10, iPhone 15, 32×32, Top-3."
    h.report((ANALYSIS, f"== 3.2 FP32 vs INT8 (10%)\n{words}\n"))


@fault("reflection", fast=True)
def no_reflection(h: HandIn) -> None:
    """The report has no reflection."""
    h.report(("== 3.3 Reflection and suggestions\n", ""), (REFLECTION, ""))


@fault("reflection")
def reflection_too_short(h: HandIn) -> None:
    """The reflection is one word."""
    h.report((REFLECTION, "Fun.\n"))


@fault("reflection")
def heading_without_reflection(h: HandIn) -> None:
    """Below the heading there is nothing."""
    h.report((REFLECTION, ""))


@fault("reflection")
def one_character_repeated(h: HandIn) -> None:
    """The reflection is one character, many times."""
    h.report((REFLECTION, "哈" * 20 + "\n"))


@fault("reflection")
def suggestion_in_the_analysis(h: HandIn) -> None:
    """There is no reflection; the analysis has a sentence with the word suggestion."""
    h.report(
        ("== 3.3 Reflection and suggestions\n", ""),
        (REFLECTION, ""),
        (_AGREEMENT, f"{_AGREEMENT}My suggestion is INT8, as it is faster, and smaller.\n"),
    )


@fault("reflection")
def words_of_the_guide(h: HandIn) -> None:
    """The reflection is the assignment's own sentence."""
    h.report((REFLECTION, "撰寫對本次 Lab 的心得與建議，至少 10 字。\n"))
