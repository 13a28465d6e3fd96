"""Reading a report that somebody else made: its text, and the pictures that are seen on its pages."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from lab5.grading.evidence import bounds
from lab5.grading.evidence.onnx_file import Unreadable, short
from lab5.text import Text

MAX_PAGES: Final = 60
MAX_CHARS: Final = 100_000  # of all pages
MAX_LINE: Final = 500  # characters; no page is wider
MAX_OBJECTS: Final = 5_000  # of a page that are looked at
MAX_PIXELS: Final = 50_000_000  # of a page's pictures, that are decoded
MAX_LOOKS: Final = 40  # at pictures of a page

MIN_SIDE: Final = 120  # pixels; Word keeps 96 an inch: 151 of a telephone that is shown 4 cm wide
MIN_SHOWN: Final = 1 / 12  # of the page's shorter side: 1.8 cm on A4
MIN_PART: Final = 1 / 5  # … of a screenshot that is part of a picture: 4.2 cm
MIN_TEXT: Final = 20  # characters; below that a page is a picture
_TOUCH: Final = 1.5  # points between the strips of a picture

PICTURE: Final = "\ufffc"  # stands in the text where a picture stands on the page
UNKNOWN: Final = "\ufffd"  # stands for a glyph whose font does not say what it means

Box = tuple[float, float, float, float]  # left, top, right, bottom in points from the top left


@dataclass(frozen=True)
class Picture:
    """What is seen as one picture on a page.

    ``shown`` is its width and height as shares of the page's shorter side, ``digest`` that of its stored
    bytes, ``greys`` (32, 32) how it looks from afar, None if it is huge. A picture that is ``drawn`` of
    lines and text, not of pixels, may be a plot as well as a screenshot.
    """

    width: int
    height: int
    page: int
    box: Box
    shown: tuple[float, float]
    digest: str
    greys: np.ndarray | None
    drawn: bool = False

    @property
    def blank(self) -> bool:
        return self.greys is not None and bool(np.ptp(self.greys) < 8)

    @property
    def large(self) -> bool:
        """Whether it can be a screenshot; an icon or a rule cannot."""
        return min(self.width, self.height) >= MIN_SIDE and min(self.shown) >= MIN_SHOWN

    @property
    def holds(self) -> int:
        """The most screenshots that it may consist of, if somebody put them together before."""
        width, height = self.shown
        found = 1
        for columns, rows in itertools.product(range(1, 7), repeat=2):
            part = sorted((width / columns, height / rows))
            if part[0] >= MIN_PART and 1.2 <= part[1] / part[0] <= 3:  # as screens are
                found = max(found, columns * rows)
        return found

    def same(self, other: Picture) -> bool:
        """Whether it is the other picture again, be it compressed or scaled anew."""
        if self.greys is None or other.greys is None:
            return self.digest == other.digest
        return bool(np.abs(self.greys - other.greys).max() <= 6)


@dataclass(frozen=True)
class Report:
    """A report: ``text`` is tidy, ``pictured`` are the numbers of pages that are nothing but a picture."""

    text: str
    pictures: list[Picture]
    pages: int
    pictured: list[int]

    @property
    def large(self) -> list[Picture]:
        """The pictures that can be screenshots; each once, no blank ones."""
        found: list[Picture] = []
        for picture in self.pictures:
            if picture.large and not picture.blank and not any(map(picture.same, found)):
                found.append(picture)
        return found


def read_report(path: Path) -> Report:
    """The PDF's text and pictures.

    Raises:
        Unreadable: it is no PDF, needs a password, or has more text than is read.
    """
    with bounds.memory():
        return _read(path)


def _read(path: Path) -> Report:
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(path)
        texts: list[list[str]] = []
        pictures: list[Picture] = []
        pictured: list[int] = []
        left = MAX_CHARS
        for number in range(1, min(len(document), MAX_PAGES) + 1):
            try:
                page = _flat(document, number - 1)
                found = list(_pictures(page, number))
                lines = list(_lines(page, left))
            except pypdfium2.PdfiumError:  # one damaged page need not cost the others
                continue
            left -= sum(len(line) + 1 for _, line in lines)
            if left <= 0:
                raise Unreadable(
                    Text("It has too much text to be read.", "文字過多，無法讀取。"),
                    want=f"≤ {MAX_CHARS}",
                    got=Text(f"more, on {number} pages", f"前 {number} 頁就已超過"),
                )
            pictures += found
            texts.append(_with_pictures(lines, found))
            letters = sum(len(squeezed(line)) for _, line in lines)
            if letters < MIN_TEXT and _is_picture(page, found):
                pictured.append(number)
        text = _cut(tidy("\n".join(itertools.chain(*_without_furniture(texts)))))
        return Report(text, pictures, len(document), pictured)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower():
            raise Unreadable(
                Text("It needs a password.", "需要密碼才能開啟。"),
                want="PDF",
                got=Text("encrypted", "已加密"),
            ) from error
        raise Unreadable(
            Text("It is no readable PDF.", "不是可讀取的 PDF。"), want="PDF", got=short(error)
        ) from error


def pages(path: Path, most: int, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """The first ``most`` pages as pictures of at most ``size`` pixels, (height, width, 3) uint8 RGB.

    Raises:
        PdfiumError: it is no readable PDF.
    """
    import pypdfium2

    with bounds.memory():
        document = pypdfium2.PdfDocument(path)
        for index in range(min(len(document), most)):
            with contextlib.suppress(pypdfium2.PdfiumError):  # a damaged page
                page = _flat(document, index)
                width, height = page.get_size()
                scale = min(size[0] / width, size[1] / height)
                shown = page.render(scale=scale, rev_byteorder=True).to_numpy()
                yield shown[: size[1], : size[0], :3].copy()


def _flat(document: Any, index: int) -> Any:
    """A page whose annotations and form fields are part of it: Preview adds pictures as such."""
    from pypdfium2 import raw

    page = document[index]
    if raw.FPDFPage_GetAnnotCount(page) and raw.FPDFPage_Flatten(page, raw.FLAT_NORMALDISPLAY):
        page.close()
        page = document[index]
    return page


# Pictures


@dataclass
class _Piece:
    """An object of the page that shows a picture, or several that were joined."""

    box: Box
    density: float  # stored pixels a point
    digest: str
    drawn: bool = False

    def picture(self, page: Any, number: int, *, look: bool) -> Picture:
        left, top, right, bottom = self.box
        width, height, side = right - left, bottom - top, min(page.get_size())
        found = Picture(
            round(width * self.density),
            round(height * self.density),
            number,
            self.box,
            (width / side, height / side),
            self.digest,
            None,
            self.drawn,
        )
        if not (look and found.large):
            return found
        return Picture(**{**vars(found), "greys": _greys(page, self.box)})


def _pictures(page: Any, number: int) -> Iterator[Picture]:
    from pypdfium2 import PdfiumError
    from pypdfium2.raw import FPDF_PAGEOBJ_FORM, FPDF_PAGEOBJ_IMAGE

    pieces: list[_Piece] = []
    pixels = 0
    kinds = [FPDF_PAGEOBJ_FORM, FPDF_PAGEOBJ_IMAGE]
    for thing in itertools.islice(page.get_objects(filter=kinds, max_depth=8), MAX_OBJECTS):
        try:
            box = _seen(page, thing)
            if thing.type == FPDF_PAGEOBJ_FORM:
                if _drawing(page, thing, box):
                    pieces.append(_Piece(box, density=4.0, digest="", drawn=True))
                continue
            width, height = thing.get_px_size()
            left, top, right, bottom = _bounds(page, thing)
            area = (right - left) * (bottom - top)
            digest = hashlib.sha256(thing.get_data()).hexdigest()
        except PdfiumError:  # a damaged picture need not cost the others
            continue
        pixels += width * height
        if area > 0 and box[0] < box[2] and box[1] < box[3]:
            pieces.append(_Piece(box, (width * height / area) ** 0.5, digest))
    for index, piece in enumerate(_joined(pieces, min(page.get_size()))):
        yield piece.picture(page, number, look=index < MAX_LOOKS and pixels <= MAX_PIXELS)


def _bounds(page: Any, thing: Any, *, clip: bool = False) -> Box:
    """Where an object is on the page as it is shown; with ``clip``, what is left of it."""
    left, bottom, right, top = thing.get_bounds()
    while thing is not None:
        if clip and (window := _clip(thing)):
            left, bottom = max(left, window[0]), max(bottom, window[1])
            right, top = min(right, window[2]), min(top, window[3])
        thing = thing.container
        if thing is not None:  # what a form contains has the form's coordinates
            left, bottom, right, top = thing.get_matrix().on_rect(left, bottom, right, top)
    (x0, y0), (x1, y1) = _shown(page, left, bottom), _shown(page, right, top)
    if right <= left or top <= bottom:
        return x0, y0, x0, y0
    return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)


def _seen(page: Any, thing: Any) -> Box:
    """The part of it that is seen: inside its clip paths, as a cropped picture is, and on the page."""
    left, top, right, bottom = _bounds(page, thing, clip=True)
    width, height = page.get_size()
    return max(left, 0), max(top, 0), min(right, width), min(bottom, height)


def _clip(thing: Any) -> Box | None:
    """The bounds of an object's clip paths, in the coordinates of what contains it."""
    from pypdfium2 import raw

    found: Box | None = None
    path = raw.FPDFPageObj_GetClipPath(thing)
    for index in range(min(raw.FPDFClipPath_CountPaths(path), 16) if path else 0):
        points = []
        for step in range(min(raw.FPDFClipPath_CountPathSegments(path, index), 1000)):
            x, y = ctypes.c_float(), ctypes.c_float()
            segment = raw.FPDFClipPath_GetPathSegment(path, index, step)
            if raw.FPDFPathSegment_GetPoint(segment, x, y):
                points.append((x.value, y.value))
        if points:
            xs, ys = zip(*points, strict=True)
            box = found or (-np.inf, -np.inf, np.inf, np.inf)
            found = (
                max(box[0], min(xs)), max(box[1], min(ys)), min(box[2], max(xs)), min(box[3], max(ys)),
            )  # fmt: skip
    return found


def _shown(page: Any, x: float, y: float) -> tuple[float, float]:
    """A point of the page's coordinates, as the page is shown: turned, from the top left corner."""
    from pypdfium2 import raw

    fine = 64  # as pdfium gives whole numbers
    width, height = (max(1, int(fine * side)) for side in page.get_size())
    right, down = ctypes.c_int(), ctypes.c_int()
    raw.FPDF_PageToDevice(page, 0, 0, width, height, 0, x, y, right, down)
    return right.value / fine, down.value / fine


def _drawing(page: Any, form: Any, box: Box) -> bool:
    """Whether a form shows a figure drawn of lines and text: much in it, no pixels, not all the page."""
    from pypdfium2 import raw

    count = raw.FPDFFormObj_CountObjects(form)
    things = [
        raw.FPDFPageObj_GetType(raw.FPDFFormObj_GetObject(form, i))
        for i in range(min(count, MAX_OBJECTS))
    ]
    inner = {raw.FPDF_PAGEOBJ_IMAGE, raw.FPDF_PAGEOBJ_FORM}
    return len(things) >= 10 and not inner & set(things) and _share(page, box) < 0.6


def _share(page: Any, box: Box) -> float:
    """The part of the page that a box covers."""
    width, height = page.get_size()
    return float((box[2] - box[0]) * (box[3] - box[1]) / (width * height))


def _joined(pieces: list[_Piece], side: float) -> list[_Piece]:
    """The pieces, where strips that make up one picture are joined: printer drivers cut them up.

    Only what is too thin to be a screenshot is a strip: three screenshots side by side stay three.
    """

    def thin(piece: _Piece) -> bool:
        left, top, right, bottom = piece.box
        shorter = min(right - left, bottom - top)
        return not piece.drawn and (
            shorter < MIN_SHOWN * side or shorter * piece.density < MIN_SIDE
        )

    strips = [piece for piece in pieces if thin(piece)]
    for across, along in ((0, 1), (1, 0)):  # one below the other, then side by side
        strips.sort(
            key=lambda p: (round(p.box[across] / 3), round(p.box[across + 2] / 3), p.box[along])
        )
        done: list[_Piece] = []
        for piece in strips:
            last = done[-1] if done else None
            if last and all(
                abs(a - b) < _TOUCH
                for a, b in (
                    (last.box[across], piece.box[across]),
                    (last.box[across + 2], piece.box[across + 2]),
                    (last.box[along + 2], piece.box[along]),
                )
            ):
                left, top, right, bottom = zip(last.box, piece.box, strict=True)
                last.box = min(left), min(top), max(right), max(bottom)
                last.digest = hashlib.sha256((last.digest + piece.digest).encode()).hexdigest()
            else:
                done.append(piece)
        strips = done
    found = [piece for piece in pieces if not thin(piece)] + strips
    return sorted(found, key=lambda p: (p.box[1], p.box[0]))


def _greys(page: Any, box: Box) -> np.ndarray:
    """A part of the page from afar, (32, 32), without its very edge."""
    import pypdfium2
    from PIL import Image
    from pypdfium2 import raw

    left, top, right, bottom = box
    inset = 0.01 * min(right - left, bottom - top)
    left, top, right, bottom = left + inset, top + inset, right - inset, bottom - inset
    size = 128
    bitmap = pypdfium2.PdfBitmap.new_native(size, size, raw.FPDFBitmap_Gray)
    bitmap.fill_rect((255, 255, 255, 255), 0, 0, size, size)
    across, down = size / (right - left), size / (bottom - top)
    matrix = raw.FS_MATRIX(across, 0, 0, down, -left * across, -top * down)
    window = raw.FS_RECTF(0, 0, size, size)
    raw.FPDF_RenderPageBitmapWithMatrix(bitmap, page, matrix, window, raw.FPDF_GRAYSCALE)
    image = Image.fromarray(bitmap.to_numpy().reshape(size, size).copy())
    return np.asarray(image.resize((32, 32), Image.Resampling.BOX), np.int16)


def _is_picture(page: Any, pictures: list[Picture]) -> bool:
    """Whether a page without text is a scan, or its letters are drawn as lines."""
    if pictures:
        return any(_share(page, p.box) > 0.6 and not p.blank for p in pictures)
    width, height = page.get_size()
    return bool(np.ptp(_greys(page, (0, 0, width, height))) >= 8)


# Text


def _lines(page: Any, limit: int) -> Iterator[tuple[float, str]]:
    """The lines of a page in reading order, at most ``limit`` characters: (top in points, line)."""
    from pypdfium2 import raw

    text = page.get_textpage()
    line: list[str] = []
    top: float | None = None
    for index in range(min(text.count_chars(), limit)):
        char = chr(raw.FPDFText_GetUnicode(text, index))
        if raw.FPDFText_IsHyphen(text, index) == 1:  # at the end of a line: the word goes on
            char = "\u00ad"
        elif raw.FPDFText_HasUnicodeMapError(text, index) == 1:
            char = UNKNOWN
        if char != "\n" and len(line) < MAX_LINE:
            line.append(char)
            if top is None and not char.isspace():
                left, bottom, right, upper = text.get_charbox(index)
                top = min(_shown(page, left, upper)[1], _shown(page, right, bottom)[1])
            continue
        yield top or 0.0, "".join(line).rstrip("\r")
        line, top = [char] * (char != "\n"), None
    if line:
        yield top or 0.0, "".join(line)


def _with_pictures(lines: list[tuple[float, str]], pictures: Iterable[Picture]) -> list[str]:
    """The lines, with a mark before the first that begins below the top of a picture."""
    tops = [p.box[1] for p in pictures if p.large and not p.blank]  # in order, as pictures are
    found: list[str] = []
    index = 0
    for top, line in lines:
        while index < len(tops) and tops[index] < top:
            found.append(PICTURE)
            index += 1
        found.append(line)
    return found + [PICTURE] * (len(tops) - index)


def _without_furniture(pages: list[list[str]]) -> list[list[str]]:
    """The pages without page numbers, and without headers and footers that more than half of them have."""
    ends = [{*range(2), *range(len(lines) - 2, len(lines))} for lines in pages]
    masked = [[squeezed(re.sub(r"\d+", "0", line)) for line in lines] for lines in pages]
    often = Counter(
        word
        for lines, end in zip(masked, ends, strict=True)
        for word in {lines[i] for i in end if 0 <= i < len(lines)}
    )

    def stays(word: str) -> bool:
        return word == PICTURE or (
            re.fullmatch(r"\W*0\W*", word) is None
            and not (often[word] >= 2 and often[word] > len(pages) / 2)
        )

    return [
        [line for i, line in enumerate(lines) if i not in end or stays(words[i])]
        for lines, words, end in zip(pages, masked, ends, strict=True)
    ]


_CJK: Final = r"\u3400-\u9fff"


def _cut(text: str) -> str:
    """The text with no line above ``MAX_LINE``: what looks for words in it goes through each line anew."""
    return re.sub(rf"([^\n]{{{MAX_LINE}}})(?=[^\n])", r"\1\n", text)


def tidy(text: str) -> str:
    """The text as a reader sees it, whichever program wrote the PDF.

    Compatibility characters (Kangxi radicals, full width, ligatures) become the usual ones; characters
    that are not seen go; words and lines that were taken apart are joined.
    """
    text = re.sub(r"\u00ad\s*\n|(?<=[a-z])-\n(?=[a-z])", "", text)  # hyphens
    text = re.sub(r"[\u2460-\u24ff\u2776-\u2793]", " ", text)  # ① is no figure
    text = unicodedata.normalize("NFKC", text)
    text = "".join(c for c in text if unicodedata.category(c) != "Cf")
    text = re.sub(r"[^\S\n]+", " ", text)
    text = re.sub(rf"(?<=[{_CJK}]) (?=[{_CJK}])", "", text)
    lines = [_closed_up(line.strip()) for line in text.splitlines()]
    upright = [
        ("" if single and len(run) >= 4 and not "".join(run).isnumeric() else "\n").join(run)
        for single, group in itertools.groupby(lines, _one_character)
        for run in [list(group)]
    ]
    return "\n".join(upright)


def _one_character(line: str) -> bool:
    """Whether the line is one character, with a mark behind it or without."""
    return line != PICTURE and (len(line) == 1 or (len(line) == 2 and not line[1].isalnum()))


def _closed_up(line: str) -> str:
    """A line without the blanks between its letters, if it has one behind each."""
    words = line.split(" ")
    spaced = len(words) >= 6 and sum(len(word) <= 1 for word in words) >= 0.8 * len(words)
    return "".join(words) if spaced else line


def squeezed(text: str) -> str:
    """Without white space: line breaks of a PDF split phrases."""
    return re.sub(r"\s+", "", text)


_FREQUENT: Final = re.compile(
    r"\b(?:the|of|and|to|in|is|it|for|on|with|as|that|this|was|are|be|by|at|an|from|or|not|we|my|you|"
    r"fp|int|onnx|model|time|size|accuracy|report|lab|inference|gradio|image)\b"
)


def legible(text: str) -> bool:
    """Whether the text is text: fonts that do not say what their glyphs mean give other characters.

    At least nine in ten characters must be known ones, Chinese ones common ones, and a text in Latin
    letters must have a few of the words that every text has.
    """
    words = re.findall(r"[a-z]+", text.lower())
    frequent = len(_FREQUENT.findall(" ".join(words)))
    real = len(words) < MIN_TEXT or frequent >= 0.03 * len(words)
    good = bad = 0
    for char in text:
        if char.isspace() or char == PICTURE:
            continue
        if char.isascii() and char.isalpha():
            known = real
        else:
            known = char != UNKNOWN and unicodedata.category(char) not in ("Co", "Cn", "Cc", "Cs")
            known = known and (not "\u3400" <= char <= "\u9fff" or _common(char))
        good, bad = good + known, bad + (not known)
    return good >= MIN_TEXT and bad <= 0.1 * (good + bad)


def _common(char: str) -> bool:
    """Whether it is among the some 5,000 most frequent Chinese characters, as Big5 and GB 2312 rank them."""
    big5, gb = char.encode("big5", "ignore"), char.encode("gb2312", "ignore")
    return b"\xa4" <= big5 < b"\xc9" or b"\xb0" <= gb < b"\xd8"
