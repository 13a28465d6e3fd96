"""The report as a reader gets it: its PDF is read back with pypdf and PDFium."""

from __future__ import annotations

import contextlib
import datetime
import io
import os
import re
import struct
import subprocess
import sys
import unicodedata
import zlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pypdf
import pypdfium2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from lab5 import files
from lab5.assignment import MIN_REFLECTION_CHARS, FileNames
from lab5.commands import report as report_command
from lab5.errors import ReportError, UsageError
from lab5.report import student as report_student
from lab5.report.analysis import tiles
from lab5.report.document import (
    EMULATED,
    NO_REFLECTION,
    NO_SCREENSHOTS,
    make_report,
)
from lab5.report.measure import Agreement
from lab5.report.student import (
    MAX_DEVICES,
    MAX_EMULATED,
    MAX_REFLECTION,
    breakable,
    characters,
    markdown_blocks,
    read_submission,
    typeset,
)
from lab5.study import data
from lab5.study.data import Cifar10, Split
from lab5.study.machine import Machine
from lab5.text import LANGUAGES
from lab5.web import screenshots
from tests.figures import accuracy, example, figures, full_size, latency, without_data
from tests.report_examples import INERT, hostile
from tests.test_measure import write_model

NAMES = FileNames("N26140692")
DAY = datetime.date(2026, 3, 14)
REFLECTION = "量化讓檔案只剩四分之一，但校準資料比我想的重要。"


def screenshot(colour: str = "navy", size: tuple[int, int] = (390, 844)) -> Image.Image:
    image = Image.new("RGB", size, "white")
    image.paste(colour, (20, 20, size[0] - 20, size[1] // 2))
    return image


@pytest.fixture
def submission(tmp_path) -> Path:
    """Three screenshots with captions and a reflection: all that 3.1 and 3.3 ask for."""
    folder = tmp_path / "submission"
    (folder / "screenshots").mkdir(parents=True)
    for name, colour in (("phone.png", "navy"), ("tablet.jpg", "teal"), ("pixel_ship.webp", "red")):
        screenshot(colour).save(folder / "screenshots" / name)
    (folder / "screenshots" / "captions.txt").write_text("phone: iPhone，貓\n", encoding="utf-8")
    (folder / "reflection.md").write_text(REFLECTION, encoding="utf-8")
    return folder


def make(path: Path, submission: Path | None = None, lang: str = "zh-TW", m=None, date=DAY):
    missing = make_report(path, NAMES, m or figures(), submission, lang, date=date)
    return pypdf.PdfReader(path), missing


def text_of(reader: pypdf.PdfReader) -> str:
    """What the pages say to PDFium, without white space: lines break anywhere."""
    with contextlib.closing(pypdfium2.PdfDocument(reader.stream)) as pdf:
        return re.sub(r"[\s\u200b]", "", "".join(p.get_textpage().get_text_bounded() for p in pdf))


def squeezed(text: str) -> str:
    return re.sub(r"\s", "", text)


def pictures_of(reader: pypdf.PdfReader) -> list[tuple[int, int]]:
    return [image.image.size for page in reader.pages for image in page.images]


def structure(reader: pypdf.PdfReader) -> list[pypdf.generic.DictionaryObject]:
    """Every element of the tags, with the page's reading order."""
    found, todo = [], [reader.trailer["/Root"]["/StructTreeRoot"]]
    while todo:
        node = todo.pop().get_object()
        if isinstance(node, pypdf.generic.DictionaryObject):
            found.append(node)
            children = node.get("/K", [])
            todo += children if isinstance(children, list) else [children]
    return found


class TestFull:
    @pytest.mark.parametrize("lang", LANGUAGES)
    def test_nothing_is_missing(self, tmp_path, submission, lang):
        reader, missing = make(tmp_path / "r.pdf", submission, lang, full_size())
        assert missing == []
        assert len(reader.pages) == 3
        text = text_of(reader)
        for words in (w.say(x) for w in (NO_SCREENSHOTS, NO_REFLECTION) for x in LANGUAGES):
            assert squeezed(words) not in text

    @pytest.mark.parametrize("lang", LANGUAGES)
    def test_figures_are_text(self, tmp_path, submission, lang):
        text = text_of(make(tmp_path / "r.pdf", submission, lang)[0])
        for figure in (
            "N26140692",
            "2026-03-14",
            "6.51ms",
            "1.93ms",
            "44.69MB",
            "11.23MB",
            "3.37",  # times faster
            "99.62%",  # agreement
            "90.00%",  # FP32 accuracy
            "89.97%",  # INT8 accuracy
            "−0.03pp",
            "cat→dog3134",
            "layer4.1.left.3",
            "TestCPU",
            "onnxruntime1.20",
        ):
            assert figure in text, figure

    def test_students_part_is_there(self, tmp_path, submission):
        reader, _ = make(tmp_path / "r.pdf", submission)
        text = text_of(reader)
        assert squeezed(REFLECTION) in text
        assert "iPhone，貓" in text  # from captions.txt
        assert "pixelship" in text  # from the file's name
        large = [size for size in pictures_of(reader) if min(size) >= 200]
        assert len(large) == 3

    def test_is_a4(self, tmp_path, submission):
        for page in make(tmp_path / "r.pdf", submission)[0].pages:
            assert [round(float(x)) for x in page.mediabox[2:]] == [595, 842]

    def test_same_data_same_bytes(self, tmp_path, submission):
        first, second, other = (tmp_path / name for name in ("a.pdf", "b.pdf", "c.pdf"))
        make(first, submission)
        make(second, submission)
        make(other, submission, date=datetime.date(2026, 3, 15))
        assert first.read_bytes() == second.read_bytes()
        assert first.read_bytes() != other.read_bytes()

    def test_another_process_gives_the_same_bytes(self, tmp_path, submission):
        (submission / "reflection.md").write_text("😀简体说话，□ 的順序也一樣", encoding="utf-8")
        make(tmp_path / "a.pdf", submission)
        program = (
            "import sys, datetime; from pathlib import Path; from lab5.report.document import *; "
            "from tests.figures import figures; "
            "make_report(Path(sys.argv[1]), FileNames(sys.argv[3]), figures(), Path(sys.argv[2]), "
            "date=datetime.date.fromisoformat(sys.argv[4]))"
        )
        arguments = [str(tmp_path / "b.pdf"), str(submission), NAMES.student_id, DAY.isoformat()]
        subprocess.run(
            [sys.executable, "-c", program, *arguments],
            env=os.environ | {"PYTHONHASHSEED": "1"},  # sets in another order
            cwd=Path(__file__).parent.parent,
            check=True,
        )
        assert (tmp_path / "a.pdf").read_bytes() == (tmp_path / "b.pdf").read_bytes()


class TestAccessible:
    def test_bookmarks(self, tmp_path, submission):
        outline = make(tmp_path / "r.pdf", submission)[0].outline
        titles = [entry.title for entry in outline if not isinstance(entry, list)]
        assert [title[:3] for title in titles] == ["3.1", "3.2", "3.3"]

    @pytest.mark.parametrize("lang", LANGUAGES)
    def test_language_title_and_tags(self, tmp_path, lang):
        reader, _ = make(tmp_path / "r.pdf", lang=lang)
        root = reader.trailer["/Root"]
        assert root["/Lang"].startswith(lang[:2])
        assert root["/MarkInfo"]["/Marked"]
        assert reader.metadata.title
        assert reader.metadata.creation_date is None  # the same bytes every day

    def test_every_picture_and_plot_has_alternative_text(self, tmp_path, submission):
        tags = structure(make(tmp_path / "r.pdf", submission)[0])
        alternatives = [str(tag["/Alt"]) for tag in tags if "/Alt" in tag]
        for words in ("iPhone，貓", "6.51 ms", "conv1.0", "32×32 圖片：ship"):
            assert any(words in alt for alt in alternatives), words
        figures_ = [tag for tag in tags if tag.get("/S") == "/Figure"]
        assert len(figures_) >= 3 + 2 + 2  # screenshots, plots, examples
        assert all(tag.get("/Alt") for tag in figures_)

    def test_tables_are_tables(self, tmp_path, submission):
        """Cells with headers, which alternative text for the whole table would hide."""
        tags = structure(make(tmp_path / "r.pdf", submission)[0])
        kinds = Counter(tag.get("/S") for tag in tags)
        assert (kinds["/Table"], kinds["/TH"]) == (3, 4 + 5 + 3)
        assert kinds["/TD"] == 3 * 4 + 10 * 5 + 1 * 3

    def test_fonts_are_embedded_and_ours(self, tmp_path, submission):
        reader, _ = make(tmp_path / "r.pdf", submission)
        for page in reader.pages:
            for font in page["/Resources"]["/Font"].values():
                descendant = font.get_object()["/DescendantFonts"][0].get_object()
                assert "NotoSansTC" in descendant["/BaseFont"]
                assert "/FontFile2" in descendant["/FontDescriptor"].get_object()


class TestEmpty:
    @pytest.mark.parametrize("lang", LANGUAGES)
    @pytest.mark.parametrize("there", [True, False])
    def test_says_what_belongs_there(self, tmp_path, lang, there):
        submission = tmp_path if there else None
        reader, missing = make(tmp_path / "r.pdf", submission, lang, full_size())
        assert [part.item for part in missing] == ["3.1", "3.3"]
        assert all(part.text.zh and part.text.en for part in missing)
        text = text_of(reader)
        assert squeezed(NO_SCREENSHOTS.say(lang)) in text
        assert squeezed(NO_REFLECTION.say(lang)) in text
        assert not [size for size in pictures_of(reader) if min(size) >= 200]
        assert len(reader.pages) == 2

    def test_a_folder_that_is_not_there(self, tmp_path):
        assert len(make(tmp_path / "r.pdf", tmp_path / "nowhere")[1]) == 2

    @pytest.mark.parametrize(
        ("text", "enough"),
        [
            ("", False),
            ("   \n\n", False),
            ("九個字不算是夠長的", False),
            ("剛好有十個字就足夠了", True),
            ("<!-- 這是註解，註解不算是學生自己寫的心得 -->", False),
            ("# \n\n---\n\n- \n- \n", False),
        ],
    )
    def test_ten_characters(self, tmp_path, text, enough):
        (tmp_path / "reflection.md").write_text(text, encoding="utf-8")
        reader, missing = make(tmp_path / "r.pdf", tmp_path)
        assert ("3.3" not in [part.item for part in missing]) is enough
        assert (squeezed(NO_REFLECTION.zh) not in text_of(reader)) is enough

    def test_two_screenshots_are_not_three(self, tmp_path, submission):
        (submission / "screenshots" / "phone.png").unlink()
        reader, missing = make(tmp_path / "r.pdf", submission)
        assert [part.item for part in missing] == ["3.1"]
        assert "2" in missing[0].text.en
        assert squeezed(NO_SCREENSHOTS.zh) in text_of(reader)
        assert "第3張截圖" in text_of(reader)

    @pytest.mark.parametrize("lang", LANGUAGES)
    def test_without_the_data_set(self, tmp_path, lang):
        text = text_of(make(tmp_path / "r.pdf", lang=lang, m=without_data())[0])
        assert "python-mlab5.data" in text
        assert "90.00%" not in text
        assert ("合成" if lang == "zh-TW" else "synthetic") in text

    @pytest.mark.parametrize("lang", LANGUAGES)
    def test_what_is_no_photograph_gives_no_headline(self, lang):
        shown = " ".join(map(str, tiles(without_data(), lang)))
        assert "top-1" not in shown
        assert "%" in shown  # the size
        assert "top-1" in " ".join(map(str, tiles(figures(), lang)))


class TestEmulated:
    @pytest.fixture
    def emulated(self, tmp_path) -> Path:
        folder = tmp_path / "submission"
        (folder / "screenshots").mkdir(parents=True)
        for i, colour in enumerate(("navy", "teal", "red")):
            screenshot(colour).save(folder / "screenshots" / f"emulated-iphone-{i}.png")
        return folder

    @pytest.mark.parametrize("lang", LANGUAGES)
    def test_is_labelled_and_not_counted(self, tmp_path, emulated, lang):
        reader, missing = make(tmp_path / "r.pdf", emulated, lang)
        assert "3.1" in [part.item for part in missing]
        label = squeezed(EMULATED.say(lang))
        assert text_of(reader).count(label) == 3  # as many as there are such pictures
        assert len([size for size in pictures_of(reader) if min(size) >= 200]) == 3
        assert squeezed(NO_SCREENSHOTS.say(lang)) in text_of(reader)

    @pytest.mark.parametrize("lang", LANGUAGES)
    def test_real_ones_bear_no_such_label(self, tmp_path, submission, lang):
        text = text_of(make(tmp_path / "r.pdf", submission, lang)[0])
        assert not any(squeezed(label) in text for label in (EMULATED.zh, EMULATED.en))

    def test_real_ones_come_first(self, tmp_path, submission):
        screenshot("green").save(submission / "screenshots" / "emulated-手持-a.png")
        text = text_of(make(tmp_path / "r.pdf", submission)[0])
        assert text.index("pixelship") < text.index("不是實機") < text.index("手持a（模擬）")

    def test_is_told_by_its_metadata_whatever_its_name(self, tmp_path):
        buffer = io.BytesIO()
        screenshot().save(buffer, "PNG")
        (tmp_path / "screenshots").mkdir()
        screenshots._save(
            buffer.getvalue(), tmp_path / "screenshots" / "my-iphone.png", "iPhone 15"
        )
        supplied = read_submission(tmp_path)
        assert (len(supplied.devices), len(supplied.emulated)) == (0, 1)

    def test_takes_no_place_of_a_device(self, tmp_path, submission):
        for i in range(MAX_EMULATED + 2):
            image = screenshot(size=(300 + i, 600))
            image.save(submission / "screenshots" / f"emulated-{i}.png")
        supplied = read_submission(submission)
        assert len(supplied.devices) == 3
        assert len(supplied.emulated) == MAX_EMULATED
        assert len(supplied.left_out) == 2


def exif_rotated(path: Path) -> None:
    image = Image.new("RGB", (600, 300), "white")
    image.paste("red", (0, 0, 100, 300))  # the left becomes the top
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(path, exif=exif)


GOOD = {
    "a.png": lambda p: screenshot().save(p),
    "a.jpg": lambda p: screenshot().save(p),
    "a.webp": lambda p: screenshot().save(p),
    "a.avif": lambda p: screenshot().save(p),
    "a.gif": lambda p: screenshot().save(p, save_all=True, append_images=[screenshot("red")]),
    "a.bmp": lambda p: screenshot().save(p),
    "a.tiff": lambda p: screenshot().save(p),
    "cmyk.jpg": lambda p: screenshot().convert("CMYK").save(p),
    "grey.png": lambda p: screenshot().convert("L").save(p),
    "one-bit.png": lambda p: screenshot().convert("1").save(p),
    "palette.png": lambda p: screenshot().convert("P").save(p, transparency=0),
    "alpha.png": lambda p: Image.new("RGBA", (300, 600), (255, 0, 0, 0)).save(p),
    "sixteen.png": lambda p: Image.new("I;16", (300, 600), 65535).save(p),
    "no-suffix": lambda p: screenshot().save(p, "PNG"),
    "wrong-suffix.png": lambda p: screenshot().save(p, "JPEG"),
    "wide.jpg": lambda p: screenshot(size=(12_000, 1_300)).save(p),
    "large.jpg": lambda p: screenshot(size=(8_000, 8_000)).save(p),
}

BAD = {
    "corrupt.png": lambda p: p.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(500)),
    "truncated.png": lambda p: p.write_bytes(b"".join(_halves(screenshot()))),
    "text.jpg": lambda p: p.write_text("no picture", encoding="utf-8"),
    "empty.png": lambda p: p.write_bytes(b""),
    "code.eps": lambda p: p.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 300 300\n"),
    "vector.svg": lambda p: p.write_text("<svg/>"),
    "tiny.png": lambda p: Image.new("RGB", (199, 900)).save(p),
    "narrow.png": lambda p: Image.new("RGB", (300, 4_000)).save(p),
    "huge.png": lambda p: Image.new("1", (12_000, 12_000)).save(p),
    "bomb.png": lambda p: p.write_bytes(_claiming(50_000, 50_000)),
    "folder.png": lambda p: p.mkdir(),
    "link.png": lambda p: p.symlink_to("/etc/hostname"),
    "dangling.png": lambda p: p.symlink_to("/nowhere/at/all"),
}


def _claiming(width: int, height: int) -> bytes:
    """A small PNG whose header promises that many pixels."""
    buffer = io.BytesIO()
    Image.new("1", (300, 300)).save(buffer, "PNG")
    data = bytearray(buffer.getvalue())
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def _halves(image: Image.Image) -> list[bytes]:
    buffer = io.BytesIO()
    Image.effect_noise(image.size, 50).save(buffer, "PNG")
    return [buffer.getvalue()[: len(buffer.getvalue()) // 2]]


class TestScreenshots:
    @pytest.mark.parametrize("name", GOOD)
    def test_usual_picture(self, tmp_path, name):
        (tmp_path / "screenshots").mkdir()
        GOOD[name](tmp_path / "screenshots" / name)
        supplied = read_submission(tmp_path)
        assert supplied.left_out == []
        (shown,) = supplied.devices
        with Image.open(io.BytesIO(shown.jpeg)) as image:
            assert image.mode == "RGB"
            assert image.size == (shown.width, shown.height)
        assert min(shown.width, shown.height) >= 200  # a grader counts no smaller one
        assert shown.width * shown.height <= 3_000_000

    def test_heic(self, tmp_path):
        import pillow_heif

        pillow_heif.register_heif_opener()
        (tmp_path / "screenshots").mkdir()
        screenshot().save(tmp_path / "screenshots" / "IMG_0001.HEIC", "HEIF")
        supplied = read_submission(tmp_path)
        assert (len(supplied.devices), supplied.left_out) == (1, [])

    def test_transparency_is_white(self, tmp_path):
        (tmp_path / "screenshots").mkdir()
        GOOD["alpha.png"](tmp_path / "screenshots" / "alpha.png")
        (shown,) = read_submission(tmp_path).devices
        with Image.open(io.BytesIO(shown.jpeg)) as image:
            assert image.getpixel((10, 10)) == (255, 255, 255)

    def test_exif_rotation(self, tmp_path):
        (tmp_path / "screenshots").mkdir()
        exif_rotated(tmp_path / "screenshots" / "rotated.jpg")
        (shown,) = read_submission(tmp_path).devices
        with Image.open(io.BytesIO(shown.jpeg)) as image:
            assert image.height > image.width
            red, green, _ = image.getpixel((image.width // 2, 20))
            assert red > 200 > 100 > green
            assert ImageOps.exif_transpose(image).size == image.size  # nothing left to rotate

    @pytest.mark.parametrize("name", BAD)
    def test_bad_picture_is_left_out_with_a_reason(self, tmp_path, submission, name):
        BAD[name](submission / "screenshots" / name)
        supplied = read_submission(submission)
        assert [(x.name, bool(x.why.zh), bool(x.why.en)) for x in supplied.left_out] == [
            (name, True, True)
        ]
        assert len(supplied.devices) == 3

    def test_reasons_are_in_the_report_and_in_what_is_missing(self, tmp_path):
        (tmp_path / "screenshots").mkdir()
        BAD["tiny.png"](tmp_path / "screenshots" / "tiny.png")
        reader, missing = make(tmp_path / "r.pdf", tmp_path, "en")
        assert "tiny.png" in missing[0].text.en
        assert "Appendix:leftoutofthisreport" in text_of(reader)
        assert "tiny.png:199×900pixels" in text_of(reader)

    def test_the_same_picture_thrice_is_one(self, tmp_path):
        (tmp_path / "screenshots").mkdir()
        for name in "abc":
            screenshot().save(tmp_path / "screenshots" / f"{name}.png")
        supplied = read_submission(tmp_path)
        assert len(supplied.devices) == 1
        assert [x.name for x in supplied.left_out] == ["b.png", "c.png"]

    def test_fifty(self, tmp_path):
        (tmp_path / "screenshots").mkdir()
        for i in range(50):
            screenshot(size=(300 + i, 600)).save(tmp_path / "screenshots" / f"shot{i}.png")
        reader, missing = make(tmp_path / "r.pdf", tmp_path)
        assert "3.1" not in [part.item for part in missing]
        assert len([s for s in pictures_of(reader) if min(s) >= 200]) == MAX_DEVICES
        assert "shot12.png" in text_of(reader)  # natural order: 0 to 11 are shown
        assert "還有26個" in text_of(reader)

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp950"])
    def test_captions(self, tmp_path, submission, encoding):
        text = "PHONE.PNG：手機，貓\nnothing.png: x\nno caption\ntablet\t平板"
        (submission / "screenshots" / "captions.txt").write_bytes(text.encode(encoding))
        captions = [shown.caption for shown in read_submission(submission).devices]
        assert captions == ["手機，貓", "pixel ship", "平板"]


class TestInert:
    @pytest.mark.parametrize("code", INERT)
    def test_code_is_text(self, tmp_path, submission, code):
        name = code.replace("/", "_")[:100]
        screenshot("green").save(submission / "screenshots" / f"{name}.png")
        (submission / "screenshots" / "captions.txt").write_text(f"phone: {code}")
        (submission / "reflection.md").write_text(f"```\n{code}\n```\n\nten characters\n")
        reader, missing = make(tmp_path / "r.pdf", submission)
        assert missing == []
        assert text_of(reader).count(squeezed(code)) >= 2  # the caption and the reflection
        assert [e.title[:3] for e in reader.outline if not isinstance(e, list)] == [
            "3.1",
            "3.2",
            "3.3",
        ]

    def test_no_links_no_scripts(self, tmp_path, submission):
        (submission / "reflection.md").write_text(
            "[a](javascript:alert(1)) [b](https://example.com/) <script>alert(1)</script> ![c](/etc/passwd)"
        )
        reader, _ = make(tmp_path / "r.pdf", submission)
        assert not any("/Annots" in page for page in reader.pages)
        assert "/OpenAction" not in reader.trailer["/Root"]
        assert "https://example.com/" in text_of(reader)  # the address is printed

    @pytest.mark.parametrize("lang", LANGUAGES)
    def test_all_at_once(self, tmp_path, lang):
        submission = hostile(tmp_path / "submission")
        before = sorted(tmp_path.rglob("*"))
        reader, missing = make(tmp_path / "r.pdf", submission, lang)
        assert missing == []
        assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "r.pdf"])
        assert len(reader.pages) < 20
        assert len([s for s in pictures_of(reader) if min(s) >= 200]) == MAX_DEVICES
        text = text_of(reader)
        for name in ("huge.png", "corrupt.png", "text.jpg", "link.png", "pipe.png"):
            assert f"00-{name}" in text
        assert "root:" not in text  # of /etc/passwd

    @pytest.mark.parametrize("char", "Aα。「—字")
    def test_long_words_stay_on_the_page(self, tmp_path, submission, char):
        (submission / "reflection.md").write_text(char * 3_000, encoding="utf-8")
        reader, _ = make(tmp_path / "r.pdf", submission)
        lines = [line for page in reader.pages for line in page.extract_text().splitlines()]
        assert sum(line.count(char) for line in lines if 4 * char in line) == 3_000
        # 170 mm of text hold 95 α of 9.5 pt; a word that did not break would be one line of 3,000.
        assert max(line.count(char) for line in lines) < 100

    @given(st.text(alphabet="Aé。「—1/字 \n"))
    def test_breaks_are_added_to_long_words_alone(self, text):
        result = breakable(text)
        assert result.replace("\u200b", "") == text
        assert all(len(part) < 25 for part in re.split(r"[\s\u200b字]", result))
        if max(map(len, re.split(r"[\s字]", text))) < 25:  # no word of prose is longer
            assert result == text

    def test_names_are_safe_to_print(self, tmp_path):
        (tmp_path / "screenshots").mkdir()
        name = "\x1b[2J\u202egnp\nx\udcff.png"
        (tmp_path / "screenshots" / name).touch()
        reader, missing = make(tmp_path / "r.pdf", tmp_path)
        assert "□[2J□gnp□x□.png" in missing[0].text.zh
        assert "□[2J□gnp□x□.png" in text_of(reader)

    @settings(max_examples=10)  # a PDF each
    @given(st.text(max_size=300))
    def test_any_reflection_makes_a_report(self, tmp_path_factory, text):
        folder = tmp_path_factory.mktemp("any")
        (folder / "reflection.md").write_text(text, encoding="utf-8", errors="replace", newline="")
        reader, _ = make(folder / "r.pdf", folder)
        assert "3.3" in text_of(reader)


class TestText:
    @given(st.text())
    def test_typeset_gives_only_what_the_fonts_have(self, text):
        missing: set[str] = set()
        result = typeset(text, missing)
        assert set(result) <= characters() | {"\n", "\u200b"}
        assert not missing & characters()
        # Nothing visible vanishes without being named; a mark alone may.
        base = [c for c in unicodedata.normalize("NFC", text) if unicodedata.category(c)[0] in "LN"]
        assert all(c in result or c in missing for c in base)

    @given(st.text(alphabet="甲乙丙丁戊己庚辛"))
    def test_typeset_keeps_what_the_fonts_have(self, text):
        missing: set[str] = set()
        assert typeset(text, missing) == text
        assert missing == set()

    def test_a_missing_glyph_is_visible_and_reported(self, tmp_path, submission):
        (submission / "reflection.md").write_text(
            "我很開心😀，简体的说话也可以。", encoding="utf-8"
        )
        text = text_of(make(tmp_path / "r.pdf", submission)[0])
        assert "我很開心□，□体的□□也可以" in text or "我很開心□，□□的□□也可以" in text
        assert "U+1F600GRINNINGFACE" in text
        assert "U+8BF4" in text

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("看[這裡](https://a.b/貓)。", "看這裡 (https://a.b/貓)。"),
            ("[**粗**細](https://a.b)", "粗細 (https://a.b)"),
            ("<https://a.b>", "https://a.b"),
            ("<https://huggingface.co/spaces/someone/lab5>", "https://huggingface.co/spaces/someone/lab5"),
            ("[](https://a.b)", "https://a.b"),
            ("[](丁)", "丁"),
            ("<a@b.c>", "a@b.c"),
            ("[https://a.b/%E8%B2%93](https://a.b/%E8%B2%93)", "https://a.b/%E8%B2%93"),
            ("[甲](https://a.b/a%20b.pdf)", "甲 (https://a.b/a%20b.pdf)"),
            ("[甲](https://a.b/%0A%00%FF)", "甲 (https://a.b/%0A%00%FF)"),
            ("[https://a.b/%2F](https://a.b/%2F)", "https://a.b/%2F"),
        ],
    )  # fmt: skip
    def test_an_address_is_read_once_behind_its_text(self, text, shown):
        runs = [run["t"] for block in markdown_blocks(text) for run in block["runs"]]
        assert "".join(runs).replace("\u200b", "") == shown

    @given(st.text(alphabet="甲乙丙丁 \n*_>#-()[]123."))
    def test_markdown_loses_no_word(self, text):
        runs = [run["t"] for block in markdown_blocks(text) for run in block.get("runs", ())]
        words = re.findall("[甲乙丙丁]", text)
        assert sorted(words) == sorted(re.findall("[甲乙丙丁]", "".join(runs)))

    def test_markdown_basics(self):
        blocks = markdown_blocks(
            "# 標題\n\n一段 **粗** *斜* `碼` ~~刪~~\n\n3. 三\n4. 四\n   - 內\n\n> 引用\n\n---\n\n    code\n"
        )
        assert [b["kind"] for b in blocks] == [
            "title", "text", "item", "item", "item", "quote", "rule", "code",
        ]  # fmt: skip
        assert blocks[0]["runs"] == [{"t": "標題", "b": True}]
        assert {"t": "碼", "c": True} in blocks[1]["runs"]
        assert {"t": "刪", "s": True} in blocks[1]["runs"]
        assert [(b["marker"], b["indent"]) for b in blocks[2:5]] == [("3.", 0), ("4.", 0), ("•", 1)]

    @pytest.mark.parametrize(
        "deep", ["> " * 300 + "底", "".join("  " * i + "- 底\n" for i in range(90))]
    )
    def test_deep_nesting_is_shown_as_it_stands(self, deep):
        (block,) = markdown_blocks(deep)
        assert block["kind"] == "code"
        assert "底" in block["runs"][0]["t"]

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp950"])
    def test_encodings(self, tmp_path, encoding):
        (tmp_path / "reflection.md").write_bytes(REFLECTION.encode(encoding))
        (block,) = read_submission(tmp_path).reflection
        assert block["runs"][0]["t"] == REFLECTION

    def test_a_line_stays_a_line(self):
        (block,) = markdown_blocks("第一行\n第二行")
        assert "".join(run["t"] for run in block["runs"]) == "第一行\n第二行"

    def test_a_file_that_cannot_be_opened(self, submission, monkeypatch):
        def refuse(self, *args, **kwargs):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", refuse)
        supplied = read_submission(submission)
        assert {"captions.txt", "reflection.md"} <= {x.name for x in supplied.left_out}
        assert supplied.reflection == []

    def test_bytes_that_are_no_text(self, tmp_path):
        (tmp_path / "reflection.md").write_bytes(bytes(range(256)) * 40)
        assert make(tmp_path / "r.pdf", tmp_path)[0].pages

    def test_a_book_is_cut_and_says_so(self, tmp_path):
        (tmp_path / "reflection.md").write_text("字" * (MAX_REFLECTION + 1), encoding="utf-8")
        supplied = read_submission(tmp_path)
        assert supplied.reflection_length == MAX_REFLECTION
        assert [x.name for x in supplied.left_out] == ["reflection.md"]


class TestSentences:
    """What the report concludes follows the figures."""

    def said(self, tmp_path, **changes) -> str:
        return text_of(make(tmp_path / "r.pdf", lang="en", m=figures(**changes))[0])

    def test_expectations_hold(self, tmp_path):
        text = self.said(tmp_path)
        assert "about75%smaller74.9%smallerholds" in text
        assert "2to4timesfaster3.37timesholds" in text
        assert "below1%0.03pplower(10,000images)holds" in text

    def test_size_does_not_hold(self, tmp_path):
        assert "74.0%smallerdoesnothold" in self.said(tmp_path, int8_bytes=11_618_486)

    def test_larger(self, tmp_path):
        assert "INT8isnotsmaller" in self.said(tmp_path, int8_bytes=50_000_000)

    def test_slower(self, tmp_path):
        text = self.said(tmp_path, int8_latency=latency(13.02))
        assert "INT8is2.00timesslower" in text
        assert "0.50timesdoesnothold" in text

    def test_faster_than_promised(self, tmp_path):
        assert "6.51timesexceeded" in self.said(tmp_path, int8_latency=latency(1.0))

    @pytest.mark.parametrize(
        ("int8", "said"), [(6.4, True), (3.5, False), (9.0, True), (1.9, False)]
    )
    @pytest.mark.parametrize("lang", LANGUAGES)
    def test_no_promised_speed_without_vnni(self, tmp_path, lang, int8, said):
        m = figures(int8_latency=latency(int8), machine=Machine("Old CPU", 2, (), "Linux", {}))
        m = replace(m, fp32_latency=latency(6.5 if int8 != 3.5 else 7.1))
        text = text_of(make(tmp_path / "r.pdf", lang=lang, m=m)[0])
        for words in (
            ("2到4倍在這台機器上不成立", "這顆CPU沒有8位元乘加指令（如VNNI）")
            if lang == "zh-TW"
            else (
                "2to4timesdonotholdonthismachine",
                "thisCPUhasno8-bitmultiply-addinstructionsuchasVNNI",
            )
        ):
            assert (words in text) is said

    def test_slow_and_nobody_knows_why(self, tmp_path):
        machine = Machine("Some CPU", 2, None, "Darwin", {})
        text = self.said(tmp_path, int8_latency=latency(6.4), machine=machine)
        assert "cannotbetoldhere" in text
        assert "thisCPUhasno" not in text

    def test_slow_although_the_cpu_has_what_it_takes(self, tmp_path):
        text = self.said(tmp_path, int8_latency=latency(6.4))
        assert "(avx512_vnni),solookatthemodel" in text

    def test_no_clear_difference(self, tmp_path):
        assert "nocleardifference(1.02times)" in self.said(tmp_path, int8_latency=latency(6.4))

    def test_a_busy_machine_is_admitted(self, tmp_path):
        assert "machinewasbusy" in self.said(tmp_path, cpu_share=0.5)
        assert "machinewasbusy" not in self.said(tmp_path)
        unsteady = replace(latency(1.93), p95=9.0)
        assert "machinewasbusy" in self.said(tmp_path, int8_latency=unsteady)

    def test_loss_does_not_hold(self, tmp_path):
        text = self.said(tmp_path, accuracy=accuracy(only_fp32=500, only_int8=10))
        assert "4.90pplower(10,000images)doesnothold" in text
        assert "arealdifference" in text

    def test_too_few_images(self, tmp_path):
        text = self.said(tmp_path, accuracy=accuracy(3, 1, images=100))
        assert "toofewimagestobesure" in text
        assert "nodifferencecanbeshown" in text

    def test_sure_answers_that_flipped_are_called_out(self, tmp_path):
        text = self.said(tmp_path, agreement=Agreement(False, 1_000, 900, 0.4, 0.80, 0.95))
        assert "notonlyuncertainanswersflipped" in text

    def test_layers(self, tmp_path):
        text = self.said(tmp_path)
        # layer1.0.Add is noisier than fc's neighbours, but has no weights and no row in the plot
        assert "fcputsoutthemostnoisesofar(SQNR24.2dB,about4.0bits)" in text
        assert "weightsoffcmost(32.5dB)" in text

    def test_without_sqnr(self, tmp_path):
        text = self.said(tmp_path, sqnr=())
        assert "SQNR" not in text
        assert "cat→dog" in text

    def test_no_vnni_is_not_claimed(self, tmp_path):
        text = self.said(tmp_path, machine=Machine("Old CPU", 1, (), "Linux", {}))
        assert "vnni" not in text

    def test_pictures_say_how_they_were_picked(self, tmp_path):
        text = self.said(tmp_path, examples=(example("cat", "dog"), example("ship", "ship")))
        assert "thetop-1differs:1of2;" in text


class TestWriting:
    def test_an_older_report_survives_a_failure(self, tmp_path, monkeypatch):
        path = tmp_path / "r.pdf"
        path.write_text("old")
        broken = tmp_path / "assets"
        broken.mkdir()
        (broken / "characters.txt").write_bytes(
            (report_student.ASSETS / "characters.txt").read_bytes()
        )
        (broken / "report.typ").write_text("#panic()")
        monkeypatch.setattr(report_student, "ASSETS", broken)
        with pytest.raises(ReportError, match="typst"):
            make_report(path, NAMES, figures(), None)
        assert path.read_text() == "old"
        assert sorted(p.name for p in tmp_path.iterdir()) == ["assets", "r.pdf"]

    def test_unknown_language(self, tmp_path):
        with pytest.raises(UsageError):
            make_report(tmp_path / "r.pdf", NAMES, figures(), None, "fr")

    def test_command_needs_models_or_weights(self, tmp_path, capsys, monkeypatch):
        monkeypatch.setattr(files, "FIXTURES", tmp_path)
        monkeypatch.chdir(tmp_path)
        assert report_command.main(["N26140692"]) == 2
        assert "best_model.pth" in capsys.readouterr().err

    def test_command_needs_both_models(self, tmp_path, capsys):
        (tmp_path / "a.onnx").touch()
        assert (
            report_command.main(["N1", "--fp32", str(tmp_path / "a.onnx"), "--out", str(tmp_path)])
            == 2
        )
        assert "N1_INT8.onnx" in capsys.readouterr().err

    @pytest.mark.parametrize("own", [True, False])
    def test_command_on_its_own(self, tmp_path, monkeypatch, own):
        """The student's pair where it is, else one made from the weights in this folder."""
        monkeypatch.setenv("LAB5_CACHE", str(tmp_path / "no data set"))
        monkeypatch.chdir(tmp_path)
        pair = tuple(write_model(tmp_path / f"{name}.onnx", 1) for name in ("a", "b"))
        (tmp_path / "best_model.pth").touch()
        made_from = []
        monkeypatch.setattr(
            report_command, "cached_pair", lambda *args: made_from.append(args[:2]) or pair
        )
        if own:
            for path, name in zip(pair, (NAMES.fp32, NAMES.int8), strict=True):
                path.rename(tmp_path / name)
        assert report_command.main(["N26140692", "--lang", "en", "--date", "2026-03-14"]) == 0
        made = (Path("best_model.pth"), "random")
        assert made_from == ([] if own else [made])
        assert "2026-03-14" in text_of(pypdf.PdfReader(tmp_path / NAMES.report))

    def test_calibration_makes_a_pair_even_where_one_is(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setenv("LAB5_CACHE", str(tmp_path / "no data set"))
        monkeypatch.chdir(tmp_path)
        pair = tuple(write_model(tmp_path / name, 1) for name in (NAMES.fp32, NAMES.int8))
        (tmp_path / "best_model.pth").touch()
        made_from = []
        monkeypatch.setattr(
            report_command, "cached_pair", lambda *args: made_from.append(args[:2]) or pair
        )
        assert report_command.main(["N26140692", "--calibration", "synthetic"]) == 0
        assert made_from == [(Path("best_model.pth"), "synthetic")]
        assert report_command.main(["N1", "--calibration", "random", "--fp32", str(pair[0])]) == 2
        assert "one or the other" in capsys.readouterr().err

    def test_calibrated_on_another_data_set_it_is_another_pair(self, tmp_path, monkeypatch):
        monkeypatch.setenv("LAB5_CACHE", str(tmp_path))
        monkeypatch.chdir(tmp_path)
        (tmp_path / "best_model.pth").touch()
        args = report_command.parser().parse_args(["N1", "--calibration", "cifar10"])
        names = []
        monkeypatch.setattr(report_command, "cached_pair", lambda *given: names.append(given[1]))
        report_command._models(args, NAMES)
        for images in (1, 2, 3):
            split = Split(np.zeros((images, 32, 32, 3), np.uint8), np.zeros(images, np.int64))
            data.store(Cifar10(split, split))
            report_command._models(args, NAMES)
        assert len(set(names)) == 4

    @pytest.mark.parametrize("arguments", [["../x"], ["N1", "--submission", "/nowhere"]])
    def test_wrong_usage(self, tmp_path, capsys, arguments):
        for name in ("N1_FP32.onnx", "N1_INT8.onnx"):
            (tmp_path / name).touch()
        assert report_command.main([*arguments, "--out", str(tmp_path)]) == 2
        assert capsys.readouterr().err

    def test_command_refuses_what_is_no_model(self, tmp_path):
        for name in ("N1_FP32.onnx", "N1_INT8.onnx"):
            (tmp_path / name).write_bytes(b"no model")
        run = subprocess.run(
            [sys.executable, "-m", "lab5.report", "N1", "--out", str(tmp_path)],
            capture_output=True,
            text=True,
        )
        assert run.returncode == 2
        assert "Traceback" not in run.stderr
        assert not (tmp_path / "N1_report.pdf").exists()


def test_the_placeholder_is_longer_than_a_reflection_must_be():
    """So a grader has to know it: it must never count as one."""
    assert min(map(len, (NO_REFLECTION.zh, NO_REFLECTION.en))) > MIN_REFLECTION_CHARS
