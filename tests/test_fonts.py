"""The report's fonts: what they promise, what the report needs of them, their licence and size."""

from __future__ import annotations

import ast
import datetime
import importlib.util
from pathlib import Path

import pytest

from lab5.assignment import FileNames
from lab5.report import document as report
from lab5.report.student import ASSETS, REPLACEMENT, Supplied, characters, typeset
from lab5.text import LANGUAGES
from tests.conftest import need
from tests.figures import figures, without_data

FONTS = sorted(ASSETS.glob("*.ttf"))
SOURCES = [Path(report.__file__).with_name(f"{part}.py") for part in ("document", "analysis")]


@pytest.fixture(params=FONTS, ids=lambda path: path.stem)
def font(request):
    need(importlib.util.find_spec("fontTools"), "fontTools is missing; pip install fonttools")
    from fontTools.ttLib import TTFont

    return TTFont(request.param)


def test_two_weights():
    assert [path.stem for path in FONTS] == ["NotoSansTC-Bold", "NotoSansTC-Regular"]


@pytest.mark.parametrize("path", FONTS, ids=lambda path: path.stem)
def test_small_enough_to_ship(path):
    assert path.stat().st_size < 4 << 20


def test_has_exactly_the_listed_characters(font):
    assert set(map(chr, font.getBestCmap())) == characters()


def test_every_listed_character_is_drawn(font):
    """A character that maps to an empty outline would vanish without a word."""
    blank = {
        char
        for code, name in font.getBestCmap().items()
        if font["glyf"][name].numberOfContours == 0 and not (char := chr(code)).isspace()
    }
    assert blank <= {
        "\xad",
        "\u3164",
        "\uffa0",
    }  # soft hyphen and Hangul fillers are blank by nature


def test_licence(font):
    licence = (ASSETS / "OFL.txt").read_text(encoding="utf-8")
    assert "SIL OPEN FONT LICENSE Version 1.1" in licence
    assert "OFL" in font["name"].getDebugName(14)
    assert font["name"].getDebugName(1).startswith("Noto Sans TC")


def test_everyday_chinese_is_covered():
    assert len([c for c in characters() if "\u4e00" <= c <= "\u9fff"]) >= 5_401  # Big5 level 1
    for sentence in ("量化後的模型，準確率幾乎沒有下降；心得與建議。", "ㄅㄆㄇ１２３①②③℃→×±≤≥≈−…"):
        missing: set[str] = set()
        assert typeset(sentence, missing) == sentence
        assert not missing


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_every_string_of_the_report_can_be_drawn(source):
    """Each branch's words, spoken in a test or not, in both languages."""
    tree = ast.parse(source.read_text(encoding="utf-8"))
    strings = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)]
    lacking = {c for s in strings if isinstance(s, str) for c in s} - characters() - {"\n"}
    assert not lacking


def test_the_template_holds_no_other_characters():
    template = (ASSETS / "report.typ").read_text(encoding="utf-8")
    assert not set(template) - characters() - {"\n"}


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("m", [figures(), without_data()], ids=["data", "no-data"])
def test_a_clean_report_lacks_no_glyph(lang, m):
    data, _ = report._document(
        FileNames("N26140692"), m, Supplied(), lang, datetime.date(2026, 3, 14)
    )
    assert REPLACEMENT not in str(data)
    assert not [b for b in data["blocks"] if "附錄" in str(b) or "Appendix" in str(b)]


def test_typst_knows_the_fonts(tmp_path):
    """An unknown font or a stray show rule is a warning, and a warning here is a fault."""
    import json

    import typst

    data, files = report._document(
        FileNames("N26140692"), figures(), Supplied(), "zh-TW", datetime.date(2026, 3, 14)
    )
    (tmp_path / "main.typ").write_bytes((ASSETS / "report.typ").read_bytes())
    (tmp_path / "data.json").write_text(json.dumps(data), encoding="utf-8")
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    _, warnings = typst.compile_with_warnings(
        tmp_path / "main.typ", font_paths=[ASSETS], ignore_system_fonts=True, format="pdf"
    )
    assert [str(w.message) for w in warnings] == []
