"""3.1 to 3.3: the report."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from lab5.assignment import MIN_REFLECTION_CHARS, MIN_SCREENSHOTS, MIN_SIDE
from lab5.checks.core import Fault, Manual, Words, check
from lab5.report import EMULATED, NO_REFLECTION

if TYPE_CHECKING:
    from lab5.checks.evidence import Evidence, Picture

MIN_TEXT: Final = 20  # characters; below that the pages are pictures

_FP32: Final = re.compile(r"fp\s*-?\s*32|float\s*32|浮點|全精度", re.IGNORECASE)
_INT8: Final = re.compile(r"int\s*-?\s*8|量化", re.IGNORECASE)
_TIME_UNIT: Final = r"(?:ms|毫秒|milliseconds?|µs|μs|us|微秒|sec(?:onds?)?|秒|s)(?![A-Za-z])"
_SIZE_UNIT: Final = r"(?:[kmg]i?b|megabytes?|bytes?|位元組)(?![A-Za-z])"
_NUMBER: Final = r"\d[\d,]*(?:\.\d+)?"
_GUIDE: Final = (
    "撰寫對本次Lab的心得與建議，至少10字",
    "撰寫對本次Lab的心得與建議",
    "心得與建議（5%）",
    "至少10字",
    "至少十個字",
    "請在此填寫",
    "用手機、平板等其他裝置連到Gradio公開網址，上傳至少3張圖片進行測試，將操作結果截圖放入報告。",
    "分析並說明FP32與INT8模型的差異，需附上相關數據或證據",
)
MIN_DIFFERENT: Final = 5  # characters of a reflection: ten dots say nothing


def squeezed(text: str) -> str:
    """Without white space: line breaks of a PDF split phrases."""
    return re.sub(r"[\s\u200b]+", "", text)


def _text(e: Evidence) -> str:
    text = e.report.text
    if len(squeezed(text)) < MIN_TEXT and e.report.pictures:
        raise Manual(
            (
                "The pages are pictures without text: read them.",
                "報告是圖片，沒有文字層：請人工閱讀。",
            ),
            got=(f"{e.report.pages} pages", f"{e.report.pages} 頁"),
        )
    return text


@check(
    "3.1", 0, zh="報告是可讀取的 PDF", needs=["report-present"],
    hint=("Export it as PDF again, without a password.", "請重新匯出為 PDF，不要加密碼。"),
)  # fmt: skip
def report_readable(e: Evidence) -> None:
    """The report is a PDF that can be read."""
    if e.report.pages == 0 or not (squeezed(e.report.text) or e.report.pictures):
        raise Fault(
            ("It is empty.", "報告是空白的。"),
            want=("text and pictures", "文字與圖片"),
            got=f"{e.report.pages}",
        )


@check(
    "3.1", 8, zh="報告中至少有三張大小正常的截圖", needs=["report-readable"],
    hint=("Put in three screenshots of the page on another device.", "請放入三張在其他裝置上操作的截圖。"),
)  # fmt: skip
def screenshots(e: Evidence) -> Words:
    """The report shows at least three screenshots of real size."""
    large: list[Picture] = []
    for picture in e.report.pictures:
        again = picture.blank or any(map(picture.same, large))
        if min(picture.width, picture.height) >= MIN_SIDE and not again:
            large.append(picture)
    emulated = sum(squeezed(e.report.text).count(squeezed(label)) for label in EMULATED)
    count = max(0, len(large) - emulated)
    shown = ", ".join(f"{p.width}x{p.height}" for p in e.report.pictures[:8]) or "—"
    if count < MIN_SCREENSHOTS:
        raise Fault(
            (
                f"It has {count} different pictures of real size"
                + (f", {emulated} emulated ones not counted." if emulated else "."),
                f"大小正常且不重複的圖片有 {count} 張"
                + (f"（模擬裝置的 {emulated} 張不計）。" if emulated else "。"),
            ),
            want=f"≥ {MIN_SCREENSHOTS}, ≥ {MIN_SIDE}x{MIN_SIDE} px",
            got=shown,
            share=count / MIN_SCREENSHOTS,
        )
    return shown


@check("3.1", 2, zh="截圖來自其他裝置，且畫面是這個網頁", needs=["screenshots"], manual=True)
def screenshots_other_devices(e: Evidence) -> None:
    """The screenshots are of this page, on another device."""
    pages = sorted({p.page for p in e.report.pictures})
    raise Manual(
        ("Look at the pictures: telephone or tablet, public address, three different photographs.",
         "請看圖片：是否為手機或平板、公開網址、三張不同的照片。"),
        got=(f"pictures on pages {pages}", f"圖片在第 {pages} 頁"),
    )  # fmt: skip


def _pairs(text: str) -> bool:
    return bool(_FP32.search(text) and _INT8.search(text))


def _figures(text: str, unit: str, topic: str) -> list[str]:
    """Figures with that unit, and bare ones in a row or column that is headed by it."""
    direct = re.findall(rf"({_NUMBER})\s*{unit}", text, re.IGNORECASE)
    if len(direct) >= 2:
        return direct
    for match in re.finditer(rf"(?:{topic})[^\n]{{0,40}}?[(（\[/]?\s*{unit}", text, re.IGNORECASE):
        after = re.sub(r"^[^()（）\n]{0,40}[)）]", "", text[match.end() :][:300])  # (ms, 50 runs)
        first = re.search(r"(?<![A-Za-z])\d", after)
        before = after[: first.start()] if first else after
        rest = re.sub(f"{_FP32.pattern}|{_INT8.pattern}", " ", after, flags=re.IGNORECASE)
        if not re.search(f"{_FP32.pattern}|{_INT8.pattern}", before, re.IGNORECASE):
            # a row, the models' names stand above: it ends where the next row's heading begins
            rest = re.split(r"[^\W\d_]{2,}", rest)[0]
        near = re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])", rest)
        if len(near) >= 2:
            return near
    return direct


@check(
    "3.2", 3, zh="分析附有 FP32 與 INT8 的推論時間數據", needs=["report-readable"],
    hint=("Give both times with their unit.", "請列出兩者的時間與單位。"),
)  # fmt: skip
def analysis_times(e: Evidence) -> None:
    """The analysis gives the times of FP32 and INT8 as figures."""
    text = _text(e)
    found = _figures(text, _TIME_UNIT, "時間|延遲|time|latency|speed")
    if len(found) < 2 or not _pairs(text):
        raise Fault(
            ("The times are missing.", "缺少推論時間。"),
            want="FP32 … ms, INT8 … ms",
            got=", ".join(found) or "—",
        )


@check(
    "3.2", 2, zh="分析附有 FP32 與 INT8 的檔案大小數據", needs=["report-readable"],
    hint=("Give both sizes with their unit.", "請列出兩者的大小與單位。"),
)  # fmt: skip
def analysis_sizes(e: Evidence) -> None:
    """The analysis gives the sizes of both files as figures."""
    text = _text(e)
    found = _figures(text, _SIZE_UNIT, "大小|size")
    if len(found) < 2 or not _pairs(text):
        raise Fault(
            ("The sizes are missing.", "缺少檔案大小。"),
            want="FP32 … MB, INT8 … MB",
            got=", ".join(found) or "—",
        )


_TOPIC: Final = (
    r"準確|精確|正確率|精度損失|accuracy|top-?\s*1|top-?\s*3|agree|一致|相同|吻合|相符|predict|預測|confiden|信心|機率|相對|"
    r"relative|差異|differ|L2|SQNR|cosine|餘弦"
)


@check(
    "3.2", 3, zh="分析附有預測一致性或準確度的數據", needs=["report-readable"],
    hint=("Say of how many pictures the answers agree, or the accuracy in per cent.", "請說明幾張圖片的預測一致，或以百分比列出準確度。"),
)  # fmt: skip
def analysis_agreement(e: Evidence) -> None:
    """The analysis gives agreement or accuracy as figures."""
    text = _text(e)
    figure = rf"(?:{_NUMBER}\s*(?:[%％]|pp\b|張|筆|images?|pictures?|個百分點)|\d+\s*/\s*\d+|(?<![\w.])(?:0?\.\d+|1\.0+)(?!\d))"
    near = re.search(
        rf"(?:{_TOPIC})[\s\S]{{0,160}}?{figure}|{figure}[\s\S]{{0,60}}?(?:{_TOPIC})",
        text,
        re.IGNORECASE,
    )
    if near is None:
        raise Fault(
            ("Agreement and accuracy are missing.", "缺少一致性或準確度。"), want="… %", got="—"
        )


@check("3.2", 2, zh="分析說明了差異的原因", needs=["report-readable"], manual=True)
def analysis_explained(e: Evidence) -> None:
    """The analysis explains the differences."""
    text = e.report.text
    raise Manual(
        (
            "Read the analysis: do the figures support what it says?",
            "請閱讀分析：數據是否支持其說明？",
        ),
        got=" ".join(text.split())[:300],
    )


_OWN: Final = r"心\s*得|感\s*想|反\s*思|reflection|what\s+i\s+learn|thoughts"
_ALSO: Final = r"建\s*議|結\s*論|feedback|suggestion|conclusion|3\.3(?!\s*[\d.%x×倍msMK])"
# Words that an analysis uses, too, head the reflection only in a line of their own.
_HEADING: Final = re.compile(
    rf"(?:{_OWN})|^[^\n。，；,;]{{0,16}}(?:{_ALSO})(?=[^\n。，；,;.]{{0,24}}$|\s*[:：])",
    re.IGNORECASE | re.MULTILINE,
)


def _reflection(text: str) -> str:
    """What stands below the heading, without the heading and the guide's own words."""
    for words in NO_REFLECTION:  # what our own report says in its place, lines broken anywhere
        text = re.sub(r"\s*".join(map(re.escape, squeezed(words))), "", text)
    best = ""
    for match in _HEADING.finditer(text):
        rest = re.sub(r"^[a-z]+", "", text[match.end() :])  # the rest of "suggestions"
        rest = re.split(
            r"\n\s*(?:Topic\s*\d|[1-9]\.[1-9]\s|附錄|Appendix|參考資料|References)", rest
        )[0]
        body = squeezed(rest)
        for words in _GUIDE:
            body = body.replace(squeezed(words), "")
        body = re.sub(
            r"與建議|與心得|and\s*suggestions?|andfeedback|[\d\W_]+", "", body, flags=re.IGNORECASE
        )
        best = max(best, body, key=len)
    return best


@check(
    "3.3", 3, zh="心得與建議至少十個字，且不是題目原文", needs=["report-readable"],
    hint=("Write your own reflection under a heading 心得與建議.", "請在「心得與建議」標題下寫自己的心得。"),
)  # fmt: skip
def reflection(e: Evidence) -> None:
    """The reflection has at least ten characters that are not the guide's."""
    found = _reflection(_text(e))
    if len(found) < MIN_REFLECTION_CHARS or len(set(found)) < MIN_DIFFERENT:
        raise Fault(
            ("It is missing or too short.", "缺少心得或字數不足。"),
            want=f"≥ {MIN_REFLECTION_CHARS}",
            got=f"{len(found)}: {found[:40]}",
        )


@check("3.3", 2, zh="心得是學生自己的話", needs=["reflection"], manual=True)
def reflection_own(e: Evidence) -> None:
    """The reflection is the student's own."""
    raise Manual(("Read it.", "請閱讀。"), got=_reflection(e.report.text)[:300])
