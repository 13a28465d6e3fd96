"""3.1 and 3.3: what only the student can supply, read as if it came from a stranger.

Pictures are opened with limits and written anew as small JPEGs; text becomes plain runs of
characters that the fonts have. Nothing here is ever parsed as markup by typst.
"""

from __future__ import annotations

import io
import re
import unicodedata
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lab5.assignment import MIN_SIDE
from lab5.files import natural, visible
from lab5.text import Text
from lab5.web.screenshots import EMULATED_TITLE

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

ASSETS: Final = Path(__file__).parent / "assets"

SCREENSHOTS: Final = "screenshots"  # in the submission folder
CAPTIONS: Final = "captions.txt"
REFLECTION: Final = "reflection.md"

MAX_DEVICES: Final = 12  # screenshots shown: two pages of them
MAX_EMULATED: Final = 9  # what lab5.web.screenshots makes: three devices, three pictures
MAX_ASPECT: Final = 10
MAX_PIXELS: Final = 32_000_000  # decoded at once; a phone's screen has 4 million
MAX_BYTES: Final = 64 << 20
MAX_CAPTION: Final = 120  # characters
MAX_REFLECTION: Final = 20_000  # characters
_NO_PICTURES: Final = (
    ".md",
    ".txt",
    ".ini",
    ".db",
)  # the guide, captions, what systems leave behind
_SHOWN: Final = (1000, 1400)  # pixels; about 300 a printed inch
_FORMATS: Final = ("PNG", "JPEG", "WEBP", "HEIF", "AVIF", "BMP", "GIF", "TIFF")


@dataclass(frozen=True)
class Screenshot:
    """A picture as it goes into the report."""

    caption: str
    jpeg: bytes
    width: int  # pixels of ``jpeg``
    height: int


@dataclass(frozen=True)
class LeftOut:
    """Something of the student's that is not in the report, and why."""

    name: str
    why: Text

    def __post_init__(self) -> None:  # the name is printed in terminals, too
        name = "".join(c if c.isprintable() else REPLACEMENT for c in self.name)
        object.__setattr__(self, "name", name)


@dataclass
class Supplied:
    """What a submission folder holds."""

    devices: list[Screenshot] = field(default_factory=list)
    emulated: list[Screenshot] = field(default_factory=list)  # by a browser; never one of the three
    left_out: list[LeftOut] = field(default_factory=list)
    reflection: list[dict[str, Any]] = field(default_factory=list)  # blocks of report.typ

    def pictures(self, emulated: bool) -> list[Screenshot]:
        return self.emulated if emulated else self.devices

    def leave_out(self, file: Path, why: Text) -> None:
        self.left_out.append(LeftOut(file.name, why))

    @property
    def reflection_length(self) -> int:
        """Characters that are not white space."""
        runs = [run["t"] for block in self.reflection for run in block.get("runs", ())]
        return len(re.sub(rf"[\s{_SPACE}]", "", "".join(runs)))


def read_submission(folder: Path | None) -> Supplied:
    """Read the student's folder; None or a folder that is not there supplies nothing."""
    supplied = Supplied()
    if folder is not None:
        _read_screenshots(folder / SCREENSHOTS, supplied)
        _read_reflection(folder / REFLECTION, supplied)
    return supplied


# Screenshots


@dataclass(frozen=True)
class _Picture:
    jpeg: bytes
    width: int
    height: int
    emulated: bool


def _read_screenshots(folder: Path, supplied: Supplied) -> None:
    if not folder.is_dir():
        return
    files = [
        file
        for file in sorted(visible(folder), key=lambda f: natural(f.name))
        if file.suffix.lower() not in _NO_PICTURES
    ]
    captions = _read_captions(folder / CAPTIONS, supplied)
    seen: dict[bytes, str] = {}
    with ThreadPoolExecutor(2) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's doubts about a picture: the limits here decide
        for start in range(0, len(files), 2):  # two pictures in memory at a time
            pair = [f for f in files[start : start + 2] if _room(supplied, f, _named_emulated(f))]
            for file, picture in zip(pair, pool.map(_read_picture, pair), strict=True):
                if isinstance(picture, LeftOut):
                    supplied.left_out.append(picture)
                elif first := seen.get(picture.jpeg):
                    supplied.leave_out(
                        file, Text(f"the same picture as {first}", f"與 {first} 是同一張圖")
                    )
                elif _room(supplied, file, picture.emulated):
                    seen[picture.jpeg] = file.name
                    caption = captions.get(file.name.lower()) or captions.get(file.stem.lower())
                    stem = re.sub(
                        "^emulated-", "", file.stem, flags=re.IGNORECASE
                    )  # the label says it
                    caption = _shortened(caption or re.sub(r"[\s_-]+", " ", stem))
                    supplied.pictures(picture.emulated).append(
                        Screenshot(breakable(caption), picture.jpeg, picture.width, picture.height)
                    )


def _named_emulated(file: Path) -> bool:
    return file.name.lower().startswith("emulated-")


def _room(supplied: Supplied, file: Path, emulated: bool) -> bool:
    """Asked before a picture is read, too: to decode fifty would take seconds for nothing."""
    limit = MAX_EMULATED if emulated else MAX_DEVICES
    if len(supplied.pictures(emulated)) < limit:
        return True
    supplied.leave_out(
        file, Text(f"the report shows {limit} of them at most", f"報告最多放 {limit} 張")
    )
    return False


def _read_captions(file: Path, supplied: Supplied) -> dict[str, str]:
    """``name: caption`` lines; the name with or without its suffix, in any case."""
    text = _read_text(file, supplied)
    lines = (re.split(r"[:：\t]", line, maxsplit=1) for line in text.splitlines())
    return {
        parts[0].strip().lower(): parts[1].strip()
        for parts in lines
        if len(parts) == 2 and not parts[0].startswith("#")
    }


def _read_picture(file: Path) -> LeftOut | _Picture:
    """A picture, upright, without transparency, scaled down."""
    from PIL import Image, ImageOps
    from pillow_heif import register_heif_opener

    def left_out(why: Text) -> LeftOut:
        return LeftOut(file.name, why)

    register_heif_opener()
    if not file.is_file():
        return left_out(Text("not a file", "不是檔案"))
    if file.stat().st_size > MAX_BYTES:
        return left_out(Text(f"larger than {MAX_BYTES >> 20} MiB", f"超過 {MAX_BYTES >> 20} MiB"))
    try:
        with Image.open(file, formats=_FORMATS) as image:
            size = f"{image.width} × {image.height}"
            image.draft("RGB", _SHOWN)  # a JPEG is decoded at a fraction of its size
            if image.width * image.height > MAX_PIXELS:
                limit = MAX_PIXELS // 1_000_000
                return left_out(
                    Text(
                        f"{size} pixels, over {limit} megapixels; scale it down first",
                        f"{size} 像素，超過 {limit} 百萬像素，請先縮小",
                    ),
                )
            if min(image.size) < MIN_SIDE:
                return left_out(
                    Text(
                        f"{size} pixels; {MIN_SIDE} a side is the least that can be read",
                        f"{size} 像素，每邊至少要 {MIN_SIDE} 像素才看得清楚",
                    ),
                )
            if max(image.size) > MAX_ASPECT * min(image.size):
                return left_out(Text(f"{size} pixels, too narrow to show", f"{size} 像素，太狹長"))
            image.load()
            title = str(image.info.get("Title", ""))
            emulated = _named_emulated(file) or title.startswith(EMULATED_TITLE)
            ImageOps.exif_transpose(image, in_place=True)
            upright = _on_white(image)
    except Image.DecompressionBombError:
        return left_out(Text("far too many pixels; scale it down first", "像素過多，請先縮小"))
    except Exception as error:  # Pillow's plugins raise anything on a damaged file
        reason = type(error).__name__
        return left_out(
            Text(
                f"it cannot be read: damaged, or no picture ({reason})",
                f"讀不出圖片，可能已損壞或不是圖片（{reason}）",
            ),
        )
    width, height = upright.size
    scale = min(
        1.0, max(min(_SHOWN[0] / width, _SHOWN[1] / height), 1.2 * MIN_SIDE / min(width, height))
    )
    shown = upright.resize((round(width * scale), round(height * scale)), reducing_gap=1.0)
    buffer = io.BytesIO()
    shown.save(buffer, "JPEG", quality=88)
    return _Picture(buffer.getvalue(), shown.width, shown.height, emulated)


def _on_white(image: Picture) -> Picture:
    """Any mode to RGB, what is transparent on white; 16 bits scaled to 8."""
    from PIL import Image

    if image.mode.startswith("I"):
        image = image.point(lambda v: v / 256).convert("L")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


# Text


def _read_text(file: Path, supplied: Supplied) -> str:
    """A text file in UTF-8, UTF-16 or Big5 (what Notepad calls ANSI in Taiwan)."""
    if not file.is_file():
        return ""
    try:
        with file.open("rb") as stream:
            data = stream.read(4 * MAX_REFLECTION + 1)
    except OSError as error:
        supplied.leave_out(
            file, Text(f"cannot be opened ({error.strerror})", f"無法開啟（{error.strerror}）")
        )
        return ""
    if len(data) > 4 * MAX_REFLECTION:
        supplied.leave_out(
            file, Text("too long; only its beginning was read", "檔案太長，只讀了開頭")
        )
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    for encoding in ("utf-8-sig", "cp950"):
        try:
            return data[: 4 * MAX_REFLECTION].decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("utf-8-sig", errors="replace")


def _read_reflection(file: Path, supplied: Supplied) -> None:
    text = _read_text(file, supplied)
    if len(text) > MAX_REFLECTION:
        supplied.leave_out(
            file,
            Text(
                f"only its first {MAX_REFLECTION:,} characters are shown",
                f"只放前 {MAX_REFLECTION:,} 字",
            ),
        )
    supplied.reflection = markdown_blocks(text[:MAX_REFLECTION])


_MAX_NESTING: Final = 40  # tokens inside tokens; each level of a list is two of them


def markdown_blocks(text: str) -> list[dict[str, Any]]:
    """Markdown's basics as a flat list of report.typ's blocks; HTML stays text, comments go.

    Text that is nested deeper than anyone reads is shown as it stands.
    """
    from markdown_it import MarkdownIt

    blocks: list[dict[str, Any]] = []
    lists: list[int | None] = []  # the open lists: the next number, or None for bullets
    quotes, marker, heading = 0, None, False
    parser = MarkdownIt("commonmark", {"maxNesting": _MAX_NESTING})
    parser.enable("strikethrough").disable("reference")  # a definition would vanish
    tokens = parser.parse(text)
    if any(token.level >= _MAX_NESTING - 1 for token in tokens):  # what is deeper has been dropped
        return [{"kind": "code", "runs": [{"t": breakable(text)}]}]
    for token in tokens:
        match token.type:
            case "bullet_list_open":
                lists.append(None)
            case "ordered_list_open":
                lists.append(int(token.attrs.get("start", 1)))
            case "bullet_list_close" | "ordered_list_close":
                lists.pop()
            case "list_item_open":
                marker = "•" if lists[-1] is None else f"{lists[-1]}."
                lists[-1] = None if lists[-1] is None else lists[-1] + 1
            case "blockquote_open" | "blockquote_close":
                quotes += 1 if token.nesting > 0 else -1
            case "heading_open" | "heading_close":
                heading = token.nesting > 0
            case "hr":
                blocks.append({"kind": "rule"})
            case "fence" | "code_block":
                blocks.append(
                    {"kind": "code", "runs": [{"t": breakable(token.content.rstrip("\n"))}]}
                )
            case "html_block" | "inline":
                runs = _runs(token.children or [token], bold=heading)
                if not any(run["t"].strip() for run in runs):
                    continue
                if lists:
                    indent = min(len(lists), 5) - 1
                    blocks.append(
                        {"kind": "item", "indent": indent, "marker": marker or " ", "runs": runs}
                    )
                    marker = None
                else:
                    kind = "quote" if quotes else "title" if heading else "text"
                    blocks.append({"kind": kind, "runs": runs})
    return blocks


def _runs(tokens: list[Any], *, bold: bool) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = []
    depth = {"strong": int(bold), "em": 0, "s": 0}
    links: list[tuple[str, int]] = []  # the address, and where its runs begin

    def add(text: str, code: bool = False) -> None:
        style = {"b": depth["strong"] > 0, "i": depth["em"] > 0, "s": depth["s"] > 0, "c": code}
        runs.append({"t": breakable(text)} | {name: True for name, on in style.items() if on})

    for token in tokens:
        kind = token.type.removesuffix("_open").removesuffix("_close")
        if kind in depth:
            depth[kind] += token.nesting
        elif token.type == "link_open":
            links.append((str(token.attrs.get("href", "")), len(runs)))
        elif token.type == "link_close":
            href, begun = links.pop()
            address = _readable(href.removeprefix("mailto:"))
            shown = "".join(run["t"] for run in runs[begun:])
            if shown.replace(_SPACE, "") not in (href, address):
                add(f" ({address})" if shown else address)
        elif token.type == "image":
            add(f"[{token.content}]")
        elif token.type in ("html_inline", "html_block"):
            add(re.sub(r"<!--.*?(-->|\Z)", "", token.content, flags=re.DOTALL).rstrip("\n"))
        elif token.type in ("softbreak", "hardbreak"):
            add("\n")  # lines stay as written: a space between Chinese characters would be wrong
        else:
            add(token.content, code=token.type == "code_inline")
    return runs


def _readable(address: str) -> str:
    """An address in its own characters, where it stays one: blanks and what cannot be seen stay encoded."""
    from markdown_it.common.normalize_url import normalizeLinkText

    found = normalizeLinkText(address)
    return found if found.isprintable() and not re.search(r"[\s\ufffd]", found) else address


@cache
def characters() -> frozenset[str]:
    """What both fonts have."""
    return frozenset((ASSETS / "characters.txt").read_bytes().decode("utf-8"))


REPLACEMENT: Final = "□"
# What looks the same where the fonts lack the first.
_ALIKE: Final = str.maketrans({"≒": "≈", "∼": "~", "‾": "¯", "\t": "    ", "\xad": None})


def typeset(text: str, missing: set[str]) -> str:
    """``text`` in characters that the fonts have; what they lack becomes □ and joins ``missing``."""
    out = []
    for char in unicodedata.normalize("NFC", text).translate(_ALIKE):
        kind = unicodedata.category(char)
        if char in characters() or char in ("\n", _SPACE):
            out.append(char)
        elif kind in ("Zs", "Zl", "Zp"):
            out.append(" ")
        elif kind in ("Cc", "Cf") or 0xFE00 <= ord(char) <= 0xFE0F:
            continue  # invisible: controls, joiners, directions, variation selectors
        else:
            missing.add(char)
            if kind[0] != "M":  # a mark only changes the character before it
                out.append(REPLACEMENT)
    return "".join(out)


_SPACE: Final = "\u200b"  # zero width: a line may break there
# Longer than any word of prose; Chinese characters and kana, which break anywhere, end it.
_LONG: Final = re.compile(r"[^\s\u200b\u2e80-\u2fff\u3040-\u9fff\uac00-\ud7af]{25,}")


def breakable(text: str) -> str:
    """Let a word that is too long for a line break anywhere."""
    return _LONG.sub(lambda match: _SPACE.join(re.findall(r".{1,8}", match[0])), text)


def _shortened(caption: str) -> str:
    return caption if len(caption) <= MAX_CAPTION else caption[: MAX_CAPTION - 1] + "…"
