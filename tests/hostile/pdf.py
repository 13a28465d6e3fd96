"""Attacks by the report."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

from tests.handin import REPORT
from tests.hostile.core import LATE, SOON, Hostile, attack

_PAGE = "<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Resources<</Font<</F 6 0 R>>/XObject<</X 7 0 R>>>>/Contents 4 0 R>>"
_FONT = "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"


def stream(data: bytes, more: str = "") -> bytes:
    return f"<</Length {len(data)}{more}>>stream\n".encode() + data + b"\nendstream"


def written(objects: Mapping[int, bytes | str], root: int = 1, trailer: str = "") -> bytes:
    """The bytes of a PDF with these objects."""
    found, places = bytearray(b"%PDF-1.7\n"), {}
    for number, content in objects.items():
        places[number] = len(found)
        data = content.encode("utf-8") if isinstance(content, str) else content
        found += b"%d 0 obj\n" % number + data + b"\nendobj\n"
    start = len(found)
    found += b"xref\n0 1\n0000000000 65535 f \n"
    for number, place in places.items():
        found += b"%d 1\n%010d 00000 n \n" % (number, place)
    found += f"trailer<</Size {max(objects) + 1}/Root {root} 0 R{trailer}>>\nstartxref\n{start}\n%%EOF".encode()
    return bytes(found)


def document(
    *,
    page: str = _PAGE,
    content: bytes = b"BT /F 12 Tf 20 700 Td (A report) Tj ET /X Do",
    catalogue: str = "",
    picture: tuple[int, int] = (200, 400),
    more: Mapping[int, bytes | str] | None = None,
) -> bytes:
    """A report of one page, with a picture."""
    width, height = picture
    form = f"/Type/XObject/Subtype/Image/Width {width}/Height {height}/ColorSpace/DeviceGray/BitsPerComponent 8/Filter/FlateDecode"
    return written({
        1: f"<</Type/Catalog/Pages 2 0 R{catalogue}>>",
        2: "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        3: page,
        4: stream(content),
        6: _FONT,
        7: stream(zlib.compress(bytes(10_000)), form),
        **(more or {}),
    })  # fmt: skip


def pages(texts: Sequence[str]) -> bytes:
    """A page for each text, in lines of 90 characters; Chinese is dropped."""
    objects: dict[int, bytes | str] = {1: "<</Type/Catalog/Pages 2 0 R>>", 3: _FONT}
    kids = []
    for text in texts:
        plain = text.encode("ascii", "ignore").decode()
        lines = [plain[i : i + 90] for i in range(0, len(plain), 90)]
        shown = " ".join(f"({line.replace('(', '[')}) Tj T*" for line in lines)
        number = len(objects) + 2
        objects[number] = (
            f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Resources<</Font<</F 3 0 R>>>>/Contents {number + 1} 0 R>>"
        )
        objects[number + 1] = stream(f"BT /F 4 Tf 5 TL 10 780 Td {shown} ET".encode())
        kids.append(f"{number} 0 R")
    objects[2] = f"<</Type/Pages/Kids[{' '.join(kids)}]/Count {len(kids)}>>"
    return written(objects)


def nested_forms(depth: int, times: int) -> bytes:
    """A page that shows a form, which shows the next one several times, and so on."""
    more: dict[int, bytes | str] = {}
    for level in range(depth):
        below = f"/Resources<</XObject<</X {21 + level} 0 R>>>>"
        form = f"/Type/XObject/Subtype/Form/BBox[0 0 600 800]{below}"
        more[20 + level] = stream(b"/X Do " * times, form)
    more[20 + depth] = stream(b"0 0 9 9 re f " * 10, "/Type/XObject/Subtype/Form/BBox[0 0 600 800]")
    return document(page=_PAGE.replace("/X 7 0 R", "/X 20 0 R"), more=more)


def bomb(size: int) -> bytes:
    """A page's content of so many blanks, deflated twice."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(b" " * (1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    once = b"\x78\x9c" + block * (size >> 20) + b"\1\0\0\xff\xff"
    return document(more={4: stream(zlib.compress(once, 9), "/Filter[/FlateDecode/FlateDecode]")})


@attack("report", quick=True)
def pdf_text_with_escapes(h: Hostile) -> None:
    """What is quoted from it would move the cursor."""
    cmap = "/CIDInit /ProcSet findresource begin 12 dict begin begincmap 1 begincodespacerange <00><ff> endcodespacerange 2 beginbfchar\n<41> <001b>\n<42> <009b>\nendbfchar endcmap end end"
    font = "<</Type/Font/Subtype/Type1/BaseFont/Helvetica/ToUnicode 8 0 R>>"
    line = b"(A[8A A]52;c;bHM= B2J reflection I learn that a model is a model) Tj T*"
    h.files[REPORT] = document(
        content=b"BT /F 9 Tf 11 TL 20 700 Td (3.3 reflection) Tj T* " + line * 9 + b" ET",
        more={6: font, 8: stream(cmap.encode())},
    )


@attack("report")
def pdf_text_of_surrogates(h: Hostile) -> None:
    """Halves of pairs, which no encoding can write."""
    cmap = "/CIDInit /ProcSet findresource begin begincmap 1 begincodespacerange <00><ff> endcodespacerange 2 beginbfchar\n<41> <d800>\n<42> <dfff>\nendbfchar endcmap end"
    font = "<</Type/Font/Subtype/Type1/BaseFont/Helvetica/ToUnicode 8 0 R>>"
    line = b"(A B I learn this ABBA model that is a model) Tj T*"
    h.files[REPORT] = document(
        content=b"BT /F 9 Tf 11 TL 20 700 Td (reflection) Tj T* " + line * 9 + b" ET",
        more={6: font, 8: stream(cmap.encode())},
    )


@attack("report")
def pdf_pages_that_are_each_other(h: Hostile) -> None:
    """A tree of pages that is a circle."""
    h.files[REPORT] = document(more={2: "<</Type/Pages/Kids[2 0 R 2 0 R 3 0 R]/Count 2000000000>>"})


@attack("report")
def pdf_that_counts_wrong(h: Hostile) -> None:
    """Two milliards of pages."""
    h.files[REPORT] = document(more={2: "<</Type/Pages/Kids[3 0 R]/Count 2147483647>>"})


@attack("report", deadline=SOON, says=LATE)
def pdf_form_that_shows_itself(h: Hostile) -> None:
    """Without end."""
    form = "/Type/XObject/Subtype/Form/BBox[0 0 600 800]/Resources<</XObject<</X 7 0 R>>>>"
    h.files[REPORT] = document(more={7: stream(b"/X Do /X Do", form)})


@attack("report")
def pdf_with_deep_objects(h: Hostile) -> None:
    """Arrays in arrays, 100,000 deep."""
    h.files[REPORT] = document(more={9: "[" * 100_000 + "]" * 100_000}, catalogue="/Names 9 0 R")


@attack("report")
def pdf_of_forty_thousand_pictures(h: Hostile) -> None:
    """The same, on one page; after twice as many as are looked at they are small: to draw them takes long."""
    large, small = (b"q %d 0 0 %d 10 10 cm /X Do Q " % size for size in ((200, 300), (2, 3)))
    h.files[REPORT] = document(content=large * 10_000 + small * 30_000)


@attack("report")
def pdf_of_a_million_paths(h: Hostile) -> None:
    """Each with a clip path."""
    h.files[REPORT] = document(content=b"q 0 0 9 9 re W n 0 0 5 5 re f Q " * 300_000)


@attack("report")
def pdf_with_a_launch(h: Hostile) -> None:
    """Of a program."""
    mark = h.world.drop / h.world.mark
    h.files[REPORT] = document(
        catalogue=f"/OpenAction<</S/Launch/F(/bin/sh)/Unix<</F(/bin/touch {mark})>>>>"
    )


@attack("report")
def pdf_with_a_jbig2_picture(h: Hostile) -> None:
    """Of bytes that are none, as phones were broken into."""
    picture = "/Type/XObject/Subtype/Image/Width 3000/Height 3000/BitsPerComponent 1/ColorSpace/DeviceGray/Filter/JBIG2Decode"
    h.files[REPORT] = document(more={7: stream(bytes(range(256)) * 400, picture)})


@attack("report")
def pdf_with_a_jpeg2000_picture(h: Hostile) -> None:
    """Which declares tiles without number."""
    head = bytes.fromhex(
        "ff4fff51002f00000fffffff0fffffff0000000000000000000000010000000100000000000000000003070101070101070101"
    )
    picture = "/Type/XObject/Subtype/Image/Width 3000/Height 3000/Filter/JPXDecode"
    h.files[REPORT] = document(more={7: stream(head + bytes(2000), picture)})


@attack("report")
def pdf_with_a_font_that_is_none(h: Hostile) -> None:
    """Random bytes as TrueType and as Type 1."""
    font = "<</Type/Font/Subtype/TrueType/BaseFont/A/FontDescriptor<</Type/FontDescriptor/FontName/A/Flags 4/FontFile2 9 0 R/FontFile 9 0 R>>>>"
    h.files[REPORT] = document(more={6: font, 9: stream(b"\0\1\0\0" + b"\xff\x7f" * 4000)})


@attack("report")
def pdf_with_a_type_3_font_of_itself(h: Hostile) -> None:
    """Its letters are drawn with its letters."""
    font = "<</Type/Font/Subtype/Type3/FontBBox[0 0 1 1]/FontMatrix[1 0 0 1 0 0]/FirstChar 65/LastChar 65/Widths[1]/Encoding<</Differences[65/A]>>/CharProcs<</A 9 0 R>>/Resources<</Font<</F 6 0 R>>>>>>"
    h.files[REPORT] = document(
        content=b"BT /F 9 Tf (AAAA) Tj ET", more={6: font, 9: stream(b"BT /F 9 Tf (AAAA) Tj ET")}
    )


@attack("report")
def pdf_with_annotations_without_end(h: Hostile) -> None:
    """20,000 that are to be drawn into the page."""
    one = "<</Type/Annot/Subtype/Stamp/Rect[0 0 99 99]/AP<</N 7 0 R>>>>"
    page = _PAGE.replace("/Contents", f"/Annots[{one * 20_000}]/Contents")
    h.files[REPORT] = document(page=page)


@attack("report")
def pdf_markup_for_the_table(h: Hostile) -> None:
    """What is quoted would be markup of the terminal's library, and HTML."""
    line = b"([red]100/100[/] [link=file:///etc/passwd]x[/link] <script>alert\\(1\\)</script> =cmd|' I learn) Tj T*"
    h.files[REPORT] = document(
        content=b"BT /F 9 Tf 11 TL 20 700 Td (3.3 reflection) Tj T* " + line * 9 + b" ET"
    )


@attack("report")
def pdf_that_repeats_results(h: Hostile) -> None:
    """In the hope that they are read as a result."""
    text = b'(3.1 screenshots pass {"status": "pass", "earned": 8}) Tj T*'
    h.files[REPORT] = document(content=b"BT /F 9 Tf 11 TL 20 700 Td " + text * 20 + b" ET")


@attack("report", fails="screenshots")
def pdf_of_one_picture_many_times(h: Hostile) -> None:
    """Twelve screenshots that are one."""
    show = b"".join(
        b"q 180 0 0 240 %d %d cm /X Do Q " % (10 + 190 * (i % 3), 10 + 250 * (i // 3))
        for i in range(9)
    )
    h.files[REPORT] = document(content=show)
