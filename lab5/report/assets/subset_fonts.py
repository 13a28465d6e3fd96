"""How the two fonts beside this file were made: Noto Sans TC, cut down to what a report needs.

    npm pack @expo-google-fonts/noto-sans-tc@0.4.3
    tar xzf expo-google-fonts-noto-sans-tc-0.4.3.tgz
    pip install fonttools
    python lab5/report/assets/subset_fonts.py package

Kept: Big5 level 1 (the 5,401 characters of everyday Traditional Chinese), Big5's symbols and its
seven ETEN additions, and what the fonts have of the Unicode blocks below. characters.txt lists what
the fonts ended up with; the report replaces everything else by a visible □.
"""

import sys
from pathlib import Path

from fontTools import subset

HERE = Path(__file__).parent
SOURCES = {
    "NotoSansTC-Regular.ttf": "400Regular/NotoSansTC_400Regular.ttf",
    "NotoSansTC-Bold.ttf": "700Bold/NotoSansTC_700Bold.ttf",
}
ETEN = "碁銹裏墻恒粧嫺"
BLOCKS = [  # first and last code point
    (0x0020, 0x007E),  # ASCII
    (0x00A0, 0x017F),  # Latin-1 and Latin Extended-A
    (0x01CD, 0x01DC),  # Pinyin's vowels
    (0x0370, 0x03FF),  # Greek
    (0x0400, 0x045F),  # Cyrillic
    (0x1E00, 0x1EFF),  # Latin Extended Additional, Vietnamese
    (0x2000, 0x22FF),  # punctuation, currency, letter-like, arrows, mathematics
    (0x2460, 0x24FF),  # circled
    (0x2500, 0x27BF),  # boxes, shapes, dingbats
    (0x3000, 0x312F),  # CJK punctuation, kana, Bopomofo
    (0xFF01, 0xFFEE),  # full-width forms
]


def big5() -> set[str]:
    """Rows A1 to C6 of Big5: symbols, then level 1."""
    found = set()
    for high in range(0xA1, 0xC7):
        for low in (*range(0x40, 0x7F), *range(0xA1, 0xFF)):
            found.add(bytes([high, low]).decode("big5", errors="ignore"))
    return found - {""}


def main(package: Path) -> None:
    fonts = {
        name: subset.load_font(str(package / source), subset.Options())
        for name, source in SOURCES.items()
    }
    wanted = set(map(ord, big5() | set(ETEN)))
    for first, last in BLOCKS:
        wanted.update(range(first, last + 1))
    for font in fonts.values():
        wanted.intersection_update(font.getBestCmap())
    for name, font in fonts.items():
        options = subset.Options(hinting=False, notdef_outline=True, name_IDs=["*"])
        subsetter = subset.Subsetter(options)
        subsetter.populate(unicodes=wanted)
        subsetter.subset(font)
        font.recalcTimestamp = False  # the same bytes on every run
        subset.save_font(font, str(HERE / name), options)
    characters = "".join(map(chr, sorted(wanted)))
    (HERE / "characters.txt").write_text(characters, encoding="utf-8", newline="")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
