"""3.1 to 3.3: the report.

What is found earns its points. What is not found is a fault only if the whole report could be read, and
nothing in it may be what was looked for; else a person looks, and is told where.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from lab5.assignment import MIN_REFLECTION_CHARS, MIN_SCREENSHOTS
from lab5.grading.checks.layout import report_present
from lab5.grading.core import Fault, Manual, check
from lab5.grading.evidence.pdf import MIN_SIDE, PICTURE, legible, squeezed, tidy
from lab5.report.document import EMULATED, NO_REFLECTION
from lab5.text import Text

if TYPE_CHECKING:
    from lab5.grading.evidence.pdf import Report
    from lab5.grading.handin import Evidence

MAX_BODY: Final = 10_000  # characters of a reflection that are read
MIN_DIFFERENT: Final = 5  # characters of a reflection: ten dots say nothing

# The assignment's own words, which a student's report may repeat: they are neither analysis nor reflection.
_GUIDE: Final = (
    "撰寫對本次 Lab 的心得與建議，至少 10 字",
    "撰寫對本次 Lab 的心得與建議",
    "心得與建議（5%）",
    "至少 10 字",
    "至少十個字",
    "請在此填寫",
    "用手機、平板等其他裝置連到 Gradio 公開網址，上傳至少 3 張圖片進行測試，將操作結果截圖放入報告",
    "分析並說明 FP32 與 INT8 模型的差異，需附上相關數據或證據，例如",
    "分析並說明 FP32 與 INT8 模型的差異，需附上相關數據或證據",
    "推論時間比較",
    "模型檔案大小比較",
    "預測結果是否一致",
    "準確度差異（如果有）",
    "FP32 → INT8，減少模型大小約 75%，加速推論 2-4 倍",
    "精度損失通常小於 1%",
    "CIFAR-10 Image Classifier - FP32 vs INT8",
    "Upload an image to compare FP32 and INT8 model inference",
    NO_REFLECTION.zh,
    NO_REFLECTION.en,  # what our own report says in the place of one
)


def _loosely(words: str) -> str:
    """A pattern of these words, broken into lines anywhere."""
    return r"\s*".join(map(re.escape, squeezed(tidy(words))))


_GUIDES: Final = re.compile("|".join(map(_loosely, _GUIDE)), re.IGNORECASE)


def _not_found(report: Report, fault: Fault) -> Fault | Manual:
    """The fault, unless the program cannot read all of the report."""
    if report.pictured:
        pages = ", ".join(map(str, report.pictured[:10]))
        return Manual(
            Text(f"Pages {pages} are pictures without text: read them.",
                 f"第 {pages} 頁是圖片，沒有文字層：請人工閱讀。"),
            got=Text(f"{report.pages} pages", f"{report.pages} 頁"),
        )  # fmt: skip
    if not legible(report.text):
        return Manual(
            Text("A program cannot read the text, which is a picture, or in fonts that do not say what their "
                 "letters are: read it.",
                 "程式無法讀取文字（文字為圖片，或字型沒有文字對應表）：請人工閱讀。"),
            got=report.text[:80],
        )  # fmt: skip
    return fault


@check(
    "3.1", 0, zh="報告是可讀取的 PDF", needs=[report_present],
    hint=Text("Export it as PDF again, without a password.", "請重新匯出為 PDF，不要加密碼。"),
)  # fmt: skip
def report_readable(e: Evidence) -> None:
    """The report is a PDF that can be read."""
    report = e.report
    if report.pages == 0 or not (squeezed(report.text) or report.pictures or report.pictured):
        raise Fault(
            Text("It is empty.", "報告是空白的。"),
            want=Text("text and pictures", "文字與圖片"),
            got=f"{report.pages}",
        )


@check(
    "3.1", 8, zh="報告中至少有三張大小正常的截圖", needs=[report_readable],
    hint=Text("Put in three screenshots of the page on another device.", "請放入三張在其他裝置上操作的截圖。"),
)  # fmt: skip
def screenshots(e: Evidence) -> Text | str:
    """The report shows at least three screenshots of real size."""
    large = e.report.large
    text = squeezed(e.report.text)
    emulated = sum(text.count(squeezed(tidy(label))) for label in (EMULATED.zh, EMULATED.en))
    certain = max(0, sum(not p.drawn for p in large) - emulated)
    possible = certain if emulated else sum(p.holds for p in large)  # ours hold one each
    shown = ", ".join(
        f"p. {p.page}: {p.width}x{p.height}" for p in (large or e.report.pictures)[:8]
    )
    if certain >= MIN_SCREENSHOTS:
        return shown
    if possible >= MIN_SCREENSHOTS:
        raise Manual(
            Text(f"{certain} pictures for certain; each may hold several screenshots: look at them.",
                 f"可確定的圖片有 {certain} 張，但一張圖可能含有多張截圖：請看圖片。"),
            got=shown,
        )  # fmt: skip
    fault = Fault(
        Text(
            f"It has {certain} different pictures of real size"
            + (f", {emulated} emulated ones not counted." if emulated else "."),
            f"大小正常且不重複的圖片有 {certain} 張"
            + (f"（模擬裝置的 {emulated} 張不計）。" if emulated else "。"),
        ),
        want=f"≥ {MIN_SCREENSHOTS}, ≥ {MIN_SIDE}x{MIN_SIDE} px",
        got=shown or "—",
        share=certain / MIN_SCREENSHOTS,
    )
    raise _not_found(e.report, fault) if e.report.pictured else fault


@check("3.1", 2, zh="截圖來自其他裝置，且畫面是這個網頁", needs=[screenshots], manual=True)
def screenshots_other_devices(e: Evidence) -> None:
    """The screenshots are of this page, on another device."""
    pages = sorted({p.page for p in e.report.pictures})
    raise Manual(
        Text("Look at the pictures: telephone or tablet, public address, three different photographs.",
             "請看圖片：是否為手機或平板、公開網址、三張不同的照片。"),
        got=Text(f"pictures on pages {pages}", f"圖片在第 {pages} 頁"),
    )  # fmt: skip


# 3.2: figures

_FP32: Final = re.compile(
    r"fp[ \-_]?32|float[ \-_]?32|(?:32|單|单)[ \-]?(?:bits?|位元|精度)|浮點|浮点|全精度|full.precision|"
    r"single.precision|量化前|original model|原始模型|原模型",
    re.IGNORECASE,
)
_INT8: Final = re.compile(
    r"u?int[ \-_]?8|(?<!\d)8[ \-]?(?:bits?|位元)|量化|quanti[sz]", re.IGNORECASE
)
_NAME: Final = "◆"  # stands for a model's name

# Numbers that say nothing of the models
_OTHER_NUMBERS: Final = (
    r"https?://[a-z0-9.:/?&=%#~_\-]{1,200}|[\w.+\-]{1,64}@[\w.\-]{1,64}|(?<!\d)\d+(?:\.\d+){2,}(?::\d+)?",  # addresses, versions
    r"\d{2,4} ?[年/\-.] ?\d{1,2} ?[月/\-.] ?\d{1,2} ?日?|\d{1,2} ?月 ?\d{1,2} ?日|\d{2,4} ?年",
    r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.? \d{1,2}(?:st|nd|rd|th)?,? ?(?:\d{4})?",
    r"(?<!\d)\d{1,2}:\d{2}(?::\d{2})?(?!\d)",  # of the clock
    r"(?:學號|学号|student id|id)\W{0,3}[a-z]?\d+",
    r"(?<![a-z0-9])(?!x\d)[a-z_]{1,30}\d[\w.\-]*",  # N26140692, ResNet18, CIFAR10, layer4
    r"(?<![a-z0-9])[a-z]{2,30}-\d+(?![\d.])",  # CIFAR-10, Top-3
    r"(?<![a-z])(?:resnet|cifar|top|topic|lab|pages?|p|fig(?:ure)?s?|tab(?:le)?s?|part|step|chapter|section|"
    r"opset(?:[_ ]version)?|python|cuda|version|ver|v|torch|pytorch|gradio|onnx(?:runtime| runtime)?|ios|"
    r"ipados|iphone|ipad(?: pro| air| mini)?|android|windows|macos|galaxy|pixel|core|ryzen|rtx|gtx|chrome|safari|"
    r"batch(?: size)?|layers?|picture|image|photo|screenshot|test|case|no|item|question|q)[ .#:=_]{0,3}(?:\n(?=[\d.]+[,;)]))?"
    r"\d+(?:\.\d+)*(?: ?(?:of|/|-|~) ?\d+)?",
    r"[圖图表第頁题題章節步驟片照截][ .#:]{0,2}\d+(?:[.\-]\d+)*",
    r"[(\[]? ?\d{1,5}(?: ?[x×*,] ?\d{1,5}){1,3}(?: ?[)\]])?(?= ?(?:px|pixels?|像素))",
    r"(?<![\d.])\d{1,5} ?[x×*] ?(?!10 ?[\^−-])\d{1,5}(?: ?[x×*] ?\d{1,5})*(?![\d.])",  # 32×32
    r"(?<![\d.])\(\d(?:, ?\d+){2,3}\)",  # (1, 3, 32, 32)
    r"(?<![\d.])\d+ ?-?(?:bits?(?![a-z])|位元(?!組))",
    r"(?<![\d.])\d+ ?(?:小時|小时|hours?|days?|天|週|周|台|臺|次|個(?!百分)|种|種|類|类|字|行|頁|页|位|人|組|支|部|款|"
    r"版|層|layers?|devices?|classes|categories|labels|characters?|pixels?|px|weeks?|pages?|people|runs?|epochs?|"
    r"screenshots?|(?:tele)?phones?|tablets?|steps?|cells?|members?)",
    r"[(] ?(?:5|10|15|25|35|40) ?[%] ?[)]",  # the rubric's share
    r"(?<![\d.])3\.[123](?![\d.])",  # the report's sections
    r"(?m:^[#\-*• ]{0,8}[(]?(?:\d{1,2}[.、)]|[1-9](?:\.[1-9])+[.、)]?)(?= [^\s\d.%]| ?[\u3400-\u9fff]))(?! ?(?:ms|s|mb|kb|[秒毫%倍x×])(?![a-z]))",
    r"[(]\d{1,2}[)]|\[\d{1,2}\]",  # (1), [1]
    r"(?<![\d.])0\.(?:4914|4822|4465|2470?|2435|2616)(?!\d)|(?:/|÷|除以) ?255(?:\.0)?(?!\d)|0 ?(?:到|至|[-–~]|to|\.\.) ?255(?!\d)|\* ?1000?(?!\d)",
)
_OTHERS: Final = re.compile("|".join(_OTHER_NUMBERS), re.IGNORECASE)

_NUMBER: Final = (
    r"(?<![A-Za-z0-9_.,])(?:\d[\d,]*(?:\.\d+)?|\.\d+)"
    r"(?:e[-+−]?\d+(?![a-z])| ?[x×*] ?10 ?\^? ?[-−]?\d+(?!\d))?"
)
_WORD: Final = r"(?:two|three|four|five|six|seven|eight|nine|ten)"
_UNIT: Final = (
    r"(?:ms|毫秒|msec|milliseconds?|[µμu]s|微秒|secs?|seconds?|秒|s|[kmg]i?b|megabytes?|bytes?|位元組|字节|%|pp|"
    r"percent|個?百分點|fps|db|張(?=/秒))(?![A-Za-z])"
)
# How one model compares with the other: a single figure says it of both.
_RELATIVE: Final = re.compile(
    rf"{_NUMBER} ?(?:(?:[~–—\-−至到]|to) ?{_NUMBER} ?)?(?:倍|[x×](?![A-Za-z0-9])|-?fold|times (?=as |faster|slower|"
    rf"smaller|larger|quicker|longer|shorter|speed|less|more))|(?<![A-Za-z0-9])[x×] ?{_NUMBER}|"
    rf"[一二兩两三四五六七八九十]{{1,3}} ?倍|[二三四五六七八九十]{{1,3}} ?分之 ?[一二三]|"
    rf"{_WORD}(?: (?:to|or) {_WORD})? times (?:as |faster|slower|smaller|larger|quicker|longer|less|more)|twice as|"
    rf"{_NUMBER} ?(?:/|(?:out )?of(?: the)?) ?{_NUMBER}(?![\d.])|{_NUMBER} ?[張张](?:圖片|图片|照片)? ?[中裡]",
    re.IGNORECASE,
)
_ABSOLUTE: Final = re.compile(rf"{_NUMBER}(?P<unit> ?{_UNIT})?", re.IGNORECASE)
_QUANTITY: Final = (
    r"時間|时间|延遲|延迟|速度|耗時|加速|大小|容量|檔案|文件|準確|准确|精確|正確|精度|一致|相同|吻合|相符|差異|差异|誤差|误差|"
    r"信心|機率|概率|置信|快|慢|減少|减少|縮小|time|latency|speed|faster|slower|size|accura|agree|same|match|confiden|"
    r"probab|differ|error|l2|sqnr|cosine|smaller|larger|reduc|correct"
)
_ABOUT: Final = re.compile(rf"{_NAME}|{_QUANTITY}", re.IGNORECASE)
_RIGHT_BEFORE: Final = re.compile(
    rf"(?:{_NAME}|{_QUANTITY})(?:[^\n。.,;!?\d]{{0,16}}|[\W_]{{0,30}})$", re.IGNORECASE
)
MAX_NUMBERS: Final = 2000  # that are looked at


def _about_models(text: str, start: int, end: int) -> bool:
    """Whether a model's name or a quantity is near, before or a little behind."""
    return bool(
        _ABOUT.search(text, max(0, start - 120), start) or _ABOUT.search(text, end, end + 40)
    )


def figures(text: str) -> list[str]:
    """The figures in a tidy text that say something of the models, as they stand there.

    A figure with a unit or decimals counts near a model's name or a quantity, a bare whole number only
    right behind one, or in a row with other figures.
    """
    text = _GUIDES.sub(" ", text)
    for name in (_FP32, _INT8):
        text = name.sub(_NAME, text)
    text = _OTHERS.sub(" ", text)
    found: list[str] = []
    behind = -1  # where the last figure ended
    for match in list(_ABSOLUTE.finditer(text))[:MAX_NUMBERS]:
        number, start, end = match[0].strip(), *match.span()
        exact = match["unit"] or not number.isdecimal() or len(number) >= 4
        if exact:
            counts = _about_models(text, start, end)
        else:
            before = text[max(0, start - 60) : start]
            row = behind >= 0 and not re.search(r"[^\W_]", text[behind:start])
            counts = row or bool(
                _RIGHT_BEFORE.search(before) or re.match(rf" ?[(] ?{_NAME}", text[end : end + 4])
            )
        if counts:
            found.append(number)
            behind = end
    return found


def comparisons(text: str) -> list[str]:
    """What is said of one model measured by the other: "3~4 倍", "4x", "9 of 10"."""
    text = _OTHERS.sub(" ", _INT8.sub(_NAME, _FP32.sub(_NAME, _GUIDES.sub(" ", text))))
    return [
        match[0].strip()
        for match, _ in zip(_RELATIVE.finditer(text), range(MAX_NUMBERS), strict=False)
        if _about_models(text, *match.span())
    ]


_COMPARES: Final = re.compile(
    r"快|慢|較|比(?![較较對对])|更|不大|小於|大於|變小|变小|縮小|缩小|減少|减少|降低|下降|損失|损失|提升|增加|相同|一樣|一样|一致|"
    r"相近|接近|差不多|faster|slower|smaller|larger|less|more|better|worse|same|similar|reduc|drop|lower|higher|"
    r"agree|improve|quick|identical|almost",
    re.IGNORECASE,
)


def prose(text: str) -> str:
    """The first sentence that compares the models in words, if any."""
    for sentence in re.split(r"[。!?;\n]|\.(?!\d)", _GUIDES.sub(" ", text)):
        names = _FP32.search(sentence) or _INT8.search(sentence)
        if names and _COMPARES.search(sentence) and len(squeezed(sentence)) >= MIN_REFLECTION_CHARS:
            return sentence.strip()[:200]
    return ""


@check(
    "3.2", 8, zh="分析附有 FP32 與 INT8 的數據", needs=[report_readable],
    hint=Text("Give figures of both models: times, sizes, agreement or accuracy.", "請列出兩個模型的數據：時間、大小、一致性或準確度。"),
)  # fmt: skip
def analysis_figures(e: Evidence) -> Text | str:
    """The analysis gives figures about both models: times, sizes, agreement or accuracy, for example."""
    text = e.report.text
    named = bool(_FP32.search(text) and _INT8.search(text))
    found, compared = figures(text), comparisons(text)
    if named and (len(found) >= 2 or compared):
        return ", ".join([*compared[:3], *found[:8]])
    words = prose(text)
    if words or found or compared:
        raise Manual(
            Text("It compares the models in words, or its figures cannot be told apart: read it.",
                 "分析以文字說明，或程式無法辨認其數據：請人工閱讀。"),
            got=words or ", ".join([*compared, *found]),
        )  # fmt: skip
    plots = _pictures_of_analysis(e.report)
    if plots:
        raise Manual(
            Text(f"{plots} pictures may be its evidence: look at them.", f"有 {plots} 張圖片可能是佐證：請看圖片。"),
            got=Text(f"{len(e.report.large)} pictures", f"共 {len(e.report.large)} 張圖片"),
        )  # fmt: skip
    raise _not_found(
        e.report,
        Fault(
            Text("It has no figures about the models.", "缺少兩個模型的數據。"),
            want="FP32 … ms, INT8 … ms",
            got="—",
        ),
    )


_ANALYSIS_HEADING: Final = re.compile(
    r"(?m:^.{0,20}(?:分析|比較|比较|差異|差异|analysis|compar|(?<![\d.])3\.2(?![\d.])).{0,30}$)",
    re.IGNORECASE,
)


def _pictures_of_analysis(report: Report) -> int:
    """Pictures below the heading of the analysis, or beyond the three screenshots."""
    text = report.text
    beyond = max(0, len(report.large) - MIN_SCREENSHOTS)
    heading = _ANALYSIS_HEADING.search(text)
    if heading is None:
        return beyond
    end = next((m.start() for m in _HEADING.finditer(text) if m.start() >= heading.end()), None)
    return max(beyond, text[heading.end() : end].count(PICTURE))


@check("3.2", 2, zh="分析說明了差異的原因", needs=[report_readable], manual=True)
def analysis_explained(e: Evidence) -> None:
    """The analysis explains the differences."""
    raise Manual(
        Text(
            "Read the analysis: do the figures support what it says?",
            "請閱讀分析：數據是否支持其說明？",
        ),
        got=" ".join(e.report.text.replace(PICTURE, " ").split())[:300],
    )


# 3.3: the reflection

_OWN: Final = (
    r"心得|感想|反思|省思|檢討|收穫|收获|reflections?|feedback|what\s+(?:i|we)(?:'ve|\s+have)?\s+learn\w*|thoughts|"
    r"lessons?\s+learn\w*|takeaways?"
)
_ALSO: Final = (
    r"建議|建议|結論|结论|總結|总结|結語|结语|小結|suggestions?|conclusions?|summary|comments?|"
    r"3\.3(?!\s*[\d.%x×倍msMK])"
)
# Words that an analysis uses, too, head the reflection only in a line of their own.
_HEADING: Final = re.compile(
    rf"(?:{_OWN})|^[^\n。,;]{{0,16}}(?:{_ALSO})(?=[^\n。,;.]{{0,24}}$|\s*:)",
    re.IGNORECASE | re.MULTILINE,
)
_NEXT_HEADING: Final = re.compile(
    r"\n\s{0,9}(?:Topic\s*\d|[1-9]\.[1-9]\s|附錄|Appendix|參考資料|References)"
)
_PERSONAL: Final = re.compile(
    r"我|覺得|学到|學到|學會|学会|了解到|感謝|有趣|困難|挑戰|這次|本次|希望|期待|\bI\b|\b[Ww]e learn|"
    r"\b[Tt]his (?:lab|assignment)\b|\blearn(?:ed|t)\b|\binteresting\b|\bdifficult\b|\bthank"
)


def _own_words(text: str) -> str:
    """What is left of a text without its numbers, its marks, and what belongs to the heading."""
    text = re.sub(r"^[a-z]+", "", text)  # the rest of "suggestions"
    text = squeezed(_GUIDES.sub(" ", text))
    heading = r"與建議|與心得|和建議|及建議|與感想|andsuggestions?|andfeedback|andconclusions?"
    return re.sub(rf"{heading}|[\d\W_]+", "", text, flags=re.IGNORECASE)


def _bodies(text: str) -> list[str]:
    """What stands below each heading of a reflection; not below a table of contents' line."""
    found = []
    for match in list(_HEADING.finditer(text))[:50]:
        rest = text[match.end() :][:MAX_BODY]
        if not re.match(r"[^\n]{0,30}?[.…·]{3,} ?\d+ ?(?:\n|$)", rest):
            found.append(_NEXT_HEADING.split(rest, maxsplit=1)[0])
    return found


def _reflection(text: str) -> str:
    """The longest text below a heading, in the student's own words."""
    without = _GUIDES.sub(" ", text)
    return max(map(_own_words, _bodies(without)), key=len, default="")


def _long_enough(words: str) -> bool:
    return len(words) >= MIN_REFLECTION_CHARS and len(set(words)) >= MIN_DIFFERENT


@check(
    "3.3", 3, zh="心得與建議至少十個字，且不是題目原文", needs=[report_readable],
    hint=Text("Write your own reflection under a heading 心得與建議.", "請在「心得與建議」標題下寫自己的心得。"),
)  # fmt: skip
def reflection(e: Evidence) -> None:
    """The reflection has at least ten characters that are not the guide's."""
    text = e.report.text
    found = _reflection(text)
    if _long_enough(found):
        return
    sentences = filter(_PERSONAL.search, re.split(r"[。!?]|\.(?=\s)", _GUIDES.sub(" ", text)))
    personal = next((s for s in sentences if _long_enough(_own_words(s))), None)
    if personal:
        raise Manual(
            Text("No heading shows where the reflection is; this may be it: read it.",
                 "沒有心得的標題，這一段可能是心得：請人工閱讀。"),
            got=personal.strip()[:200],
        )  # fmt: skip
    if any(PICTURE in body for body in _bodies(text)):
        raise Manual(
            Text("There are pictures below its heading: read them.", "標題下方是圖片：請人工閱讀。")
        )
    fault = Fault(
        Text("It is missing or too short.", "缺少心得或字數不足。"),
        want=f"≥ {MIN_REFLECTION_CHARS}",
        got=f"{len(found)}: {found[:40]}",
    )
    raise _not_found(e.report, fault)


@check("3.3", 2, zh="心得是學生自己的話", needs=[reflection], manual=True)
def reflection_own(e: Evidence) -> None:
    """The reflection is the student's own."""
    raise Manual(Text("Read it.", "請閱讀。"), got=_reflection(e.report.text)[:300])
