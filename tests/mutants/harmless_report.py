"""Right reports as other programs write them, and those that only a person can judge."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterable

from PIL import Image

from tests import handin
from tests.handin import REPORT
from tests.mutants.core import HandIn, harmless
from tests.mutants.report import ANALYSIS, REFLECTION, pictures

TO_A_PERSON: dict[str, tuple[str, Callable[[HandIn], None]]] = {}  # name: the check, the edit


def to_a_person(check: str) -> Callable[[Callable[[HandIn], None]], Callable[[HandIn], None]]:
    """Register a function that changes the report so that a program cannot judge ``check``."""

    def register(edit: Callable[[HandIn], None]) -> Callable[[HandIn], None]:
        TO_A_PERSON[edit.__name__.replace("_", "-")] = check, edit
        return edit

    return register


# PDF by hand

HEAD = (  # a report in Latin letters, above and below its pictures
    ("EAI Lab 5 Report", 780),
    ("3.1 Screenshots", 760),
)
TAIL = (
    ("3.2 FP32 vs INT8 analysis", 300),
    ("FP32 takes 6.52 ms and 44.7 MB, INT8 1.61 ms and 11.3 MB.", 280),
    ("3.3 Feedback", 240),
    ("I learnt that calibration decides how good the smaller model is.", 220),
)


def stream(entries: str, data: bytes) -> bytes:
    return b"<<%s/Length %d>>stream\n%s\nendstream" % (entries.encode(), len(data), data)


def image(data: bytes, *, more: str = "") -> bytes:
    """A PDF's image object of a picture file."""
    found = Image.open(io.BytesIO(data)).convert("RGB")
    entries = (
        f"/Type/XObject/Subtype/Image/Width {found.width}/Height {found.height}"
        f"/ColorSpace/DeviceRGB/BitsPerComponent 8/Filter/FlateDecode{more}"
    )
    return stream(entries, zlib.compress(found.tobytes()))


def write_pdf(content: bytes, objects: Iterable[bytes], *, page: str = "") -> bytes:
    """A PDF of one A4 page; the objects are numbered from 10 and named /X10, /X11, …"""
    objects = list(objects)
    names = "".join(f"/X{10 + i} {10 + i} 0 R" for i in range(len(objects)))
    resources = f"<</Font<</F 4 0 R>>/XObject<<{names}>>>>"
    made = {
        1: b"<</Type/Catalog/Pages 2 0 R>>",
        2: b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        3: f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 5 0 R/Resources {resources}{page}>>".encode(),
        4: b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        5: stream("", content),
        **{10 + i: data for i, data in enumerate(objects)},
    }
    found, places = b"%PDF-1.7\n", {}
    for number, data in made.items():
        places[number] = len(found)
        found += b"%d 0 obj\n%s\nendobj\n" % (number, data)
    table = b"".join(b"%d 1\n%010d 00000 n \n" % place for place in places.items())
    end = b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (max(made) + 1, len(found))
    return found + b"xref\n" + table + end


def written(lines: Iterable[tuple[str, int]] = (*HEAD, *TAIL)) -> bytes:
    """Lines of text at heights on the page."""
    return b"".join(
        f"BT /F 12 Tf 50 {y} Td ({text}) Tj ET\n".encode("latin-1") for text, y in lines
    )


def placed(number: int, x: float, y: float, width: float, height: float) -> bytes:
    return f"q {width} 0 0 {height} {x} {y} cm /X{number} Do Q\n".encode()


SHOTS = tuple(handin.screenshot(i) for i in range(3))


def cut(data: bytes, boxes: Iterable[tuple[int, int, int, int]]) -> list[bytes]:
    """Parts of a picture as image objects."""
    whole, found = Image.open(io.BytesIO(data)), []
    for box in boxes:
        whole.crop(box).save(part := io.BytesIO(), "PNG")
        found.append(image(part.getvalue()))
    return found


# Pictures


@harmless()
def screenshots_in_strips(h: HandIn) -> None:
    """Each screenshot stored as strips of 64 rows (pdf.js 16696)."""
    content, objects = written(), []
    for shot in range(3):
        for top in range(0, 700, 64):
            bottom = min(700, top + 64)
            y = 740 - 320 * bottom / 700
            content += placed(
                10 + len(objects), 50 + 190 * shot, y, 178, 320 * (bottom - top) / 700
            )
            objects += cut(SHOTS[shot], [(0, top, 390, bottom)])
    h.files[REPORT] = write_pdf(content, objects)


@harmless()
def screenshots_in_columns(h: HandIn) -> None:
    """Each screenshot stored as strips that stand side by side (pdf.js 16696)."""
    content, objects = written(), []
    for shot in range(3):
        for left in range(0, 390, 30):
            x = 50 + 190 * shot + 178 * left / 390
            content += placed(10 + len(objects), x, 420, 178 * 30 / 390, 320)
            objects += cut(SHOTS[shot], [(left, 0, left + 30, 700)])
    h.files[REPORT] = write_pdf(content, objects)


@harmless(fast=True)
def screenshots_195_pixels_wide(h: HandIn) -> None:
    """Word keeps 96 pixels an inch: 195x422 of a telephone's screen."""
    h.report(pictures=pictures(one=(195, 422), two=(195, 422), three=(195, 422)))


@harmless()
def screenshots_side_by_side(h: HandIn) -> None:
    """Three screenshots without a gap between them, as Word sets pictures in a line."""
    content = b"".join(placed(10 + i, 50 + 160 * i, 430, 160, 287) for i in range(3))
    h.files[REPORT] = write_pdf(written() + content, map(image, SHOTS))


@harmless()
def screenshots_in_nested_forms(h: HandIn) -> None:
    """Each screenshot is in a form in a form, turned and scaled there."""
    inner = "/Type/XObject/Subtype/Form/BBox[0 0 1 1]/Matrix[178 0 0 320 0 0]/Resources<</XObject<</X {} 0 R>>>>"
    outer = "/Type/XObject/Subtype/Form/BBox[0 0 600 900]/Resources<</XObject<</X {} 0 R>>>>"
    objects = [*map(image, SHOTS)]
    objects += [stream(inner.format(10 + i), b"/X Do") for i in range(3)]
    objects += [stream(outer.format(13 + i), b"/X Do") for i in range(3)]
    content = b"".join(
        b"q 1 0 0 1 %d 420 cm /X%d Do Q\n" % (10 + 190 * i, 16 + i) for i in range(3)
    )
    h.files[REPORT] = write_pdf(written() + content, objects)


@harmless()
def screenshots_with_soft_masks(h: HandIn) -> None:
    """Round corners: each screenshot has a mask of transparency."""
    mask = stream(
        "/Type/XObject/Subtype/Image/Width 390/Height 700/ColorSpace/DeviceGray/BitsPerComponent 8"
        "/Filter/FlateDecode",
        zlib.compress(b"\xff" * (390 * 700)),
    )
    objects = [*(image(shot, more="/SMask 13 0 R") for shot in SHOTS), mask]
    content = b"".join(placed(10 + i, 20 + 190 * i, 420, 178, 320) for i in range(3))
    h.files[REPORT] = write_pdf(written() + content, objects)


@harmless()
def screenshots_inline(h: HandIn) -> None:
    """The pictures stand in the page's own stream, as old printer drivers write them."""
    content = written()
    for i, shot in enumerate(SHOTS):
        pixels = Image.open(io.BytesIO(shot)).convert("L").tobytes().hex().encode()
        content += b"q 178 0 0 320 %d 420 cm BI /W 390 /H 700 /CS /G /BPC 8 /F /AHx ID " % (
            20 + 190 * i
        )
        content += pixels + b"> EI Q\n"
    h.files[REPORT] = write_pdf(content, [])


@harmless()
def one_picture_cropped_thrice(h: HandIn) -> None:
    """One wide screen recording's picture, of which each figure shows another part (Word's crop)."""
    wide = Image.new("RGB", (1170, 700))
    for i, shot in enumerate(SHOTS):
        wide.paste(Image.open(io.BytesIO(shot)), (390 * i, 0))
    wide.save(data := io.BytesIO(), "PNG")
    content = written()
    for i in range(3):
        x = 20 + 190 * i
        content += b"q %d 420 178 320 re W n 534 0 0 320 %d 420 cm /X10 Do Q\n" % (x, x - 178 * i)
    h.files[REPORT] = write_pdf(content, [image(data.getvalue())])


@harmless()
def screenshots_as_stamps(h: HandIn) -> None:
    """Pictures that were added in a PDF reader: they are annotations."""
    form = "/Type/XObject/Subtype/Form/BBox[0 0 178 320]/Resources<</XObject<</X {} 0 R>>>>"
    objects = [*map(image, SHOTS)]
    objects += [stream(form.format(10 + i), b"178 0 0 320 0 0 cm /X Do") for i in range(3)]
    objects += [
        b"<</Type/Annot/Subtype/Stamp/F 4/Rect[%d 420 %d 740]/AP<</N %d 0 R>>>>"
        % (20 + 190 * i, 198 + 190 * i, 13 + i)
        for i in range(3)
    ]
    h.files[REPORT] = write_pdf(written(), objects, page="/Annots[16 0 R 17 0 R 18 0 R]")


@harmless()
def page_turned(h: HandIn) -> None:
    """A page in landscape that is stored upright and turned when shown."""
    content = b"".join(placed(10 + i, 20 + 190 * i, 420, 178, 320) for i in range(3))
    h.files[REPORT] = write_pdf(written() + content, map(image, SHOTS), page="/Rotate 90")


@harmless()
def six_screenshots_in_a_grid(h: HandIn) -> None:
    """Six of a tablet, FP32 | Int8 without a unit, INT8 three to four times slower (a public hand-in)."""
    names = [f"{i}.png" for i in range(6)]
    grid = ", ".join(f'image("{name}")' for name in names)
    h.report(
        ('#image("one.png", width: 4cm) #image("two.png", width: 4cm) #image("three.png", width: 4cm)',
         f"#grid(columns: 3, {grid})"),
        (ANALYSIS, "== 3.2\n#table(columns: 2, [FP32], [Int8], [4.1], [13.9], [4.4], [15.2])\n"
                   "On my computer INT8 is 3\\~4 times slower; a classmate said to try another one.\n"),
        pictures={name: handin.screenshot(i, (1024, 768)) for i, name in enumerate(names)},
    )  # fmt: skip


# Texts


def analysis(text: str) -> tuple[str, str]:
    return ANALYSIS, f"== 3.2 FP32 vs INT8\n{text}\n"


@harmless(fast=True)
def figures_without_a_unit(h: HandIn) -> None:
    """A table FP32 | Int8 of bare figures; what they are stands in the caption (the sample's own table)."""
    h.report(
        analysis("#table(columns: 2, [FP32], [Int8], [0.0065], [0.0016])\nTable 1: in seconds.")
    )


@harmless()
def sizes_alone(h: HandIn) -> None:
    """Of the assignment's examples the file sizes alone."""
    h.report(analysis("The FP32 file has 44.7 MB, INT8 has 11.3 MB."))


@harmless()
def times_in_full_width(h: HandIn) -> None:
    """Figures and letters in full width."""
    h.report(analysis("ＦＰ３２　６．５２毫秒，ＩＮＴ８　１．６１毫秒"))


@harmless()
def one_comparison(h: HandIn) -> None:
    """One figure that compares both: three to four times as fast."""
    h.report(analysis("實測 INT8 比 FP32 快 3～4 倍。"))


@harmless()
def figures_with_thousands(h: HandIn) -> None:
    """Bytes with thousands separators, and scientific notation."""
    h.report(analysis("FP32 44,686,485, INT8 11,233,193; $1.6 times 10^(-3)$ s."))


@harmless()
def kangxi_radicals(h: HandIn) -> None:
    """⼼ U+2F3C in 心得, as wkhtmltopdf and Chromium write it (wkhtmltopdf 4414, pdfbox 470)."""
    h.report(
        ("== 3.3 Reflection and suggestions", "== ⼼得"),
        (REFLECTION, "量化⼤幅減少模型⼤⼩，⾮常實⽤。\n"),
    )


def reflection(heading: str, text: str = REFLECTION) -> Callable[[HandIn], None]:
    def edit(h: HandIn) -> None:
        h.report(("== 3.3 Reflection and suggestions", heading), (REFLECTION, text))

    return edit


for _name, _heading in {
    "heading_feedback": "5. Feedback",
    "heading_thoughts": "Part 3 - Thoughts",
    "heading_in_chinese_numerals": "（三）感想",
    "heading_conclusion": "Ⅲ. Conclusion and feedback",
    "heading_what_i_learned": "What I learned",
    "heading_summary": "五、總結",
}.items():
    _edit = reflection(f"\n#strong[{_heading}]\n\n")
    _edit.__name__, _edit.__doc__ = _name, f"The reflection stands below “{_heading}”."
    harmless()(_edit)


@harmless()
def heading_at_the_end_of_a_page(h: HandIn) -> None:
    """The heading is the last line of a page, the text on the next; each page has a footer."""
    h.report(
        ("#set page(width: 15cm, height: 22cm)",
         '#set page(width: 15cm, height: 22cm, footer: [EAI Lab 5 -- N26140692], numbering: "1")'),
        (REFLECTION, f"#pagebreak()\n{REFLECTION}"),
    )  # fmt: skip


@harmless()
def heading_in_a_table(h: HandIn) -> None:
    """心得 and its text are two cells of a row."""
    text = "#table(columns: (3cm, 8cm), [心得], [這次學會了量化校準的重要性，很有收穫。])\n"
    h.report(("== 3.3 Reflection and suggestions", ""), (REFLECTION, text))


@harmless()
def one_character_a_line(h: HandIn) -> None:
    """Text in a box so narrow that each character has its own line."""
    h.report(
        ("== 3.3 Reflection and suggestions\n", ""),
        (REFLECTION, "\n#box(width: 13pt)[心得與建議：這次學會了量化校準很重要]\n"),
    )


@harmless(fast=True)
def printing_restricted(h: HandIn) -> None:
    """The PDF has an owner's password: it opens without one, printing is forbidden."""
    import pypdf

    writer = pypdf.PdfWriter(io.BytesIO(h.variants.good[REPORT]))
    writer.encrypt("", "owner", algorithm="RC4-128", permissions_flag=0)
    writer.write(found := io.BytesIO())
    h.files[REPORT] = found.getvalue()


# What only a person can judge


def without_tounicode(data: bytes) -> bytes:
    """The PDF, its fonts no longer saying which characters their glyphs are."""
    import pypdf

    writer = pypdf.PdfWriter(io.BytesIO(data))
    for number in range(1, len(writer._objects) + 1):
        found = writer.get_object(number)
        if isinstance(found, pypdf.generic.DictionaryObject):
            found.pop("/ToUnicode", None)
    writer.write(made := io.BytesIO())
    return made.getvalue()


@to_a_person("analysis-figures")
@to_a_person("reflection")
def fonts_without_tounicode(h: HandIn) -> None:
    """The text's characters are unknown (pypdf 2295)."""
    h.files[REPORT] = without_tounicode(handin.report())


@to_a_person("screenshots")
def one_collage(h: HandIn) -> None:
    """Three screenshots put together to one picture before."""
    wide = Image.new("RGB", (1230, 700), "white")
    for i, shot in enumerate(SHOTS):
        wide.paste(Image.open(io.BytesIO(shot)), (420 * i, 0))
    wide.save(data := io.BytesIO(), "PNG")
    content = written() + placed(10, 50, 450, 495, 282)
    h.files[REPORT] = write_pdf(content, [image(data.getvalue())])


def scan(h: HandIn) -> None:
    import pypdfium2

    pages = [page.render(scale=1.5).to_pil() for page in pypdfium2.PdfDocument(handin.report())]
    pages[0].save(found := io.BytesIO(), "PDF", save_all=True, append_images=pages[1:])
    h.files[REPORT] = found.getvalue()


for _check in ("screenshots", "analysis-figures", "reflection"):
    TO_A_PERSON[f"scan-{_check}"] = _check, scan


@to_a_person("screenshots")
def drawn_screenshots(h: HandIn) -> None:
    """The screenshots are drawings, of lines and text, as LaTeX includes PDF figures."""
    form = "/Type/XObject/Subtype/Form/BBox[0 0 178 320]"
    objects = [
        stream(
            form, b"".join(b"0 %d %d 12 re f " % (20 * row, 90 + 6 * row * i) for row in range(15))
        )
        for i in range(3)
    ]
    content = b"".join(
        b"q 1 0 0 1 %d 420 cm /X%d Do Q\n" % (20 + 190 * i, 10 + i) for i in range(3)
    )
    h.files[REPORT] = write_pdf(written() + content, objects)


@to_a_person("analysis-figures")
def three_long_screenshots_and_prose(h: HandIn) -> None:
    """Three long screenshots of a telephone, and prose without one figure (a public hand-in)."""
    h.report(
        analysis("The INT8 model is much smaller and faster, and its answers are nearly the same."),
        pictures=pictures(one=(390, 1600), two=(390, 1500), three=(390, 1700)),
    )


@to_a_person("analysis-figures")
def a_plot_alone(h: HandIn) -> None:
    """Below the heading of the analysis stands a plot."""
    h.report(
        analysis('#image("plot.png", width: 9cm)'),
        pictures={**pictures(), "plot.png": handin.screenshot(7, (640, 400))},
    )


@to_a_person("analysis-figures")
def time_of_fp32_alone(h: HandIn) -> None:
    """INT8's time was not filled in."""
    h.report(
        analysis("#table(columns: 3, [], [FP32], [INT8], [Inference time (ms)], [6.52], [xx])")
    )


@to_a_person("reflection")
def reflection_without_a_heading(h: HandIn) -> None:
    """The last paragraph is a reflection, and nothing says so."""
    h.report(("== 3.3 Reflection and suggestions", ""))


@to_a_person("reflection")
def reflection_is_a_picture(h: HandIn) -> None:
    """Below the heading stands a photograph of a page written by hand."""
    h.report(
        (REFLECTION, '#image("hand.png", width: 9cm)\n'),
        pictures={**pictures(), "hand.png": handin.screenshot(8, (900, 600))},
    )
