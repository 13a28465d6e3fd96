"""The portrait of a hand-in: by what it is compared with others, and how its report looks.

A visitor of the reading room makes it, a part at a time; the parent believes of each only its form. The
pages come as pixels: the files that a browser opens are written here, whatever the report was.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lab5.files import sha256
from lab5.text import printable

if TYPE_CHECKING:
    import numpy as np

    from lab5.grading.handin import Evidence

MAX_CODE: Final = 300  # statements
MAX_STATEMENT: Final = 160  # characters
MAX_PICTURES: Final = 12
SIDE: Final = 16  # pixels of a picture from afar
MAX_PAGES: Final = 6
PAGE_SIZE: Final = (480, 720)  # pixels, width and height at most
MAX_PAGE: Final = 40_000  # bytes

_DIGEST: Final = re.compile(r"([0-9a-f]{64})?")


@dataclass(frozen=True)
class Picture:
    """A picture of the report: the page that shows it, from 1, and SIDE x SIDE greys, base64 of a byte each."""

    page: int
    greys: str


@dataclass(frozen=True)
class Portrait:
    """What of a hand-in is its own; "" and () where nothing is, or nobody can tell.

    Args:
        notebook, report: SHA-256 of the file.
        weights: digest of the FP32 file's weights, whoever exported them, unless they are those of
            ``--weights``, without which this is "".
        scales: digest of the INT8 file's activation scales, unless another run gives the same ones.
        code: the notebook's statements that nobody was given, names and comments taken out; () without
            ``--template``.
        pictures: those of the report that can be screenshots.
        pages: the report's first pages, WebP as base64.
    """

    notebook: str = ""
    report: str = ""
    weights: str = ""
    scales: str = ""
    code: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    pages: tuple[str, ...] = ()

    @classmethod
    def restored(cls, stored: dict[str, Any]) -> Portrait:
        """What ``dataclasses.asdict`` made of one.

        Raises:
            KeyError, TypeError: it made it of something else.
        """
        pictures = tuple(Picture(**one) for one in stored["pictures"])
        lists = {name: tuple(stored[name]) for name in ("code", "pages")}
        return cls(**{**stored, **lists, "pictures": pictures})


PARTS: Final = tuple(field.name for field in fields(Portrait))


# In the reading room


def made(part: str, e: Evidence) -> Any:
    """A part as JSON and arrays can hold it; ``pages`` are (height, width, 3) uint8 RGB.

    Raises:
        Exception: the file cannot be read that far, which is for its own check to say.
    """
    makers: dict[str, Callable[[Evidence], Any]] = {
        "notebook": _notebook,
        "report": _report,
        "weights": _weights,
        "scales": _scales,
        "code": _code,
        "pictures": _pictures,
        "pages": _pages,
    }
    return makers[part](e)


def _notebook(e: Evidence) -> str:
    """Two notebooks of nothing but given code are equal without any copying, but for what they printed."""
    path = e.zip.path("notebook")
    if path is None or (e.template and not _code(e) and not _has_outputs(path)):
        return ""
    return sha256(path)


def _has_outputs(path: Path) -> bool:
    return any(cell.get("outputs") for cell in json.loads(path.read_bytes()).get("cells", ()))


def _report(e: Evidence) -> str:
    path = e.zip.path("report")
    return sha256(path) if path else ""


def _weights(e: Evidence) -> str:
    """Of the layers' spread to three digits: exporters and the folding of BatchNorm leave that alone."""
    from lab5.grading.evidence.onnx_file import in_order

    def digest(layers: Any) -> str:
        spreads = " ".join(f"{layer.folded.std():.3g}" for layer in layers)
        return hashlib.sha256(spreads.encode()).hexdigest()

    if (
        e.weights is None
        or e.zip.path("fp32") is None
        or (layers := in_order(e.fp32.layers)) is None
    ):
        return ""
    found = digest(layers)
    return "" if found == digest(e.handed_out) else found


# What makes a notebook calibrate with the same images each time: a seed, pictures from a folder or a
# data set. The handed-out reader draws at random: its scales do not come about twice.
_REPEATABLE: Final = re.compile(
    r"\b(manual_)?seed\s*\(\s*\w|\b(RandomState|default_rng|Random)\s*\(\s*\w"
    r"|\b(CIFAR10|ImageFolder)\s*\("
    r"|\bimage_dir\s*=\s*(?!None\b)[^\s=]"
)


def _scales(e: Evidence) -> str:
    if not (e.zip.path("int8") and e.zip.path("notebook")):
        return ""
    code = "\n".join(cell.source for cell in e.cells if cell.kind == "code")
    if _REPEATABLE.search(re.sub(r"#.*", "", code)):
        return ""
    scales = " ".join(sorted({f"{scale:.5g}" for scale in e.int8.scales}))
    return hashlib.sha256(scales.encode()).hexdigest() if scales else ""


def _code(e: Evidence) -> list[str]:
    if e.template is None or e.zip.path("notebook") is None:
        return []
    return [_cut(one) for one in e.own_statements[:MAX_CODE]]


def _cut(text: str) -> str:
    return text if len(text) <= MAX_STATEMENT else text[: MAX_STATEMENT - 1] + "…"


def _pictures(e: Evidence) -> list[dict[str, Any]]:
    if e.zip.path("report") is None:
        return []
    found = []
    for picture in e.report.large:
        if picture.greys is not None and not picture.drawn:
            step = len(picture.greys) // SIDE
            greys = picture.greys.reshape(SIDE, step, SIDE, step).mean(axis=(1, 3)).astype("u1")
            found.append({"page": picture.page, "greys": base64.b64encode(greys).decode("ascii")})
    return found[:MAX_PICTURES]


def _pages(e: Evidence) -> list[np.ndarray]:
    from lab5.grading.evidence.pdf import pages

    path = e.zip.path("report")
    return list(pages(path, MAX_PAGES, PAGE_SIZE)) if path else []


# In the parent


def believed(part: str, value: Any) -> Any:
    """A part of a portrait as it was claimed, if it has the form of one.

    Raises:
        ValueError, TypeError, KeyError: it has not.
    """
    if part in ("notebook", "report", "weights", "scales"):
        if not _DIGEST.fullmatch(value):
            raise ValueError(part)
        return value
    most = {"code": MAX_CODE, "pictures": MAX_PICTURES, "pages": MAX_PAGES}[part]
    if not isinstance(value, list) or len(value) > most:
        raise ValueError(part)
    one: dict[str, Callable[[Any], Any]] = {
        "code": _statement,
        "pictures": _picture,
        "pages": _page,
    }
    return tuple(map(one[part], value))


def _statement(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_STATEMENT:
        raise ValueError(value)
    return printable(value)


def _picture(value: Any) -> Picture:
    page, greys = value["page"], value["greys"]
    if type(page) is not int or not 1 <= page <= 999 or not isinstance(greys, str):
        raise ValueError(page)
    if len(base64.b64decode(greys, validate=True)) != SIDE**2:
        raise ValueError(len(greys))
    return Picture(page, greys)


def _page(value: Any) -> str:
    from PIL import Image

    height, width, channels = value.shape
    if (
        value.dtype != "u1"
        or channels != 3
        or not (0 < width <= PAGE_SIZE[0] and 0 < height <= PAGE_SIZE[1])
    ):
        raise ValueError(value.shape)
    image = Image.fromarray(value)
    for quality in (60, 30, 5, 0):  # noise alone needs the last
        file = io.BytesIO()
        image.save(file, "WEBP", quality=quality)
        if file.tell() <= MAX_PAGE:
            break
    return base64.b64encode(file.getvalue()).decode("ascii")
