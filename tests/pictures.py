"""Pictures of every kind that a student may upload, and files that are none."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Final

import numpy as np
import pillow_heif
from PIL import Image

pillow_heif.register_heif_opener()


def scene(width: int = 48, height: int = 64) -> Image.Image:
    """Four quarters: red, blue, green, grey. Their colours survive every lossy format."""
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = 200, 40, 40
    pixels[: height // 2, width // 2 :] = 40, 60, 200
    pixels[height // 2 :, : width // 2] = 40, 160, 60
    pixels[height // 2 :, width // 2 :] = 128, 128, 128
    return Image.fromarray(pixels)


def saved(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _with_hole(mode: str = "RGBA") -> Image.Image:
    """The lower half transparent over black: white once composited, black where alpha is dropped."""
    image = scene().convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 32, 48, 64))
    return image.convert(mode)


def _orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def _deep() -> Image.Image:
    return Image.fromarray(np.asarray(scene().convert("L")).astype(np.uint16) * 257)


def _animated(kind: str) -> bytes:
    return saved(scene(), kind, save_all=True, append_images=[Image.new("RGB", (48, 64))] * 2)


def _sideways(kind: str, **options) -> bytes:
    """Stored lying on its side, with the note that turns it upright."""
    lying = scene().transpose(Image.Transpose.ROTATE_90)
    return saved(lying, kind, exif=_orientation(6).tobytes(), **options)


def _png(width: int, height: int, depth: int, pixels: bytes) -> bytes:
    """An RGB PNG of any depth, whatever its pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    body = zlib.compress(pixels)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


def png_header_only(width: int, height: int) -> bytes:
    """A PNG that claims its size and holds a kilobyte: what a decompression bomb looks like."""
    return _png(width, height, 8, bytes(1 << 20))


def _deep_rgb() -> bytes:
    """16 bits a channel, which Pillow reads but does not write."""
    rows = (np.asarray(scene()).astype(">u2") * 257).reshape(64, -1)
    return _png(48, 64, 16, b"".join(b"\0" + row.tobytes() for row in rows))


def slow_jpeg() -> bytes:
    """A progressive JPEG whose last scan is there again and again: a quarter of a minute to decode."""
    data = saved(Image.new("RGB", (1000, 1000), (90, 120, 30)), "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xc4", 0, data.rindex(b"\xff\xda")) : -2]  # with its tables
    return data[:-2] + scan * 40_000 + data[-2:]


COLOUR, GREY, HOLE = "colour", "grey", "hole"  # what should be seen of the scene

# name -> (file name, bytes, what should be seen)
READABLE: Final[dict[str, tuple[str, Callable[[], bytes], str]]] = {
    "PNG": ("a.png", lambda: saved(scene(), "PNG"), COLOUR),
    "PNG, palette": ("a.png", lambda: saved(scene().convert("P"), "PNG"), COLOUR),
    "PNG, grey": ("a.png", lambda: saved(scene().convert("L"), "PNG"), GREY),
    "PNG, 16-bit grey": ("a.png", lambda: saved(_deep(), "PNG"), GREY),
    "PNG, 16-bit RGB": ("a.png", _deep_rgb, COLOUR),
    "PNG, alpha": ("a.png", lambda: saved(_with_hole(), "PNG"), HOLE),
    "PNG, grey and alpha": ("a.png", lambda: saved(_with_hole("LA"), "PNG"), GREY + HOLE),
    "PNG, EXIF rotation": ("a.png", lambda: _sideways("PNG"), COLOUR),
    "JPEG": ("a.jpg", lambda: saved(scene(), "JPEG", quality=95), COLOUR),
    "JPEG, progressive": ("a.JPG", lambda: saved(scene(), "JPEG", progressive=True), COLOUR),
    "JPEG, grey": ("a.jpeg", lambda: saved(scene().convert("L"), "JPEG"), GREY),
    "JPEG, CMYK": ("a.jpg", lambda: saved(scene().convert("CMYK"), "JPEG"), COLOUR),
    "JPEG, EXIF rotation": ("a.jpg", lambda: _sideways("JPEG", quality=95), COLOUR),
    "MPO (two-picture JPEG)": ("a.jpg", lambda: _animated("MPO"), COLOUR),
    "WebP": ("a.webp", lambda: saved(scene(), "WEBP", quality=95), COLOUR),
    "WebP, alpha": ("a.webp", lambda: saved(_with_hole(), "WEBP", lossless=True), HOLE),
    "WebP, animated": ("a.webp", lambda: _animated("WEBP"), COLOUR),
    "GIF": ("a.gif", lambda: saved(scene(), "GIF"), COLOUR),
    "GIF, animated": ("a.gif", lambda: _animated("GIF"), COLOUR),
    "GIF, transparent": ("a.gif", lambda: saved(_with_hole(), "GIF"), HOLE),
    "BMP": ("a.bmp", lambda: saved(scene(), "BMP"), COLOUR),
    "TIFF": ("a.tif", lambda: saved(scene(), "TIFF"), COLOUR),
    "TIFF, LZW, CMYK": (
        "a.tiff",
        lambda: saved(scene().convert("CMYK"), "TIFF", compression="tiff_lzw"),
        COLOUR,
    ),
    "TIFF, 16-bit grey": ("a.tiff", lambda: saved(_deep(), "TIFF"), GREY),
    "TIFF, EXIF rotation": ("a.tif", lambda: _sideways("TIFF"), COLOUR),
    "AVIF": ("a.avif", lambda: saved(scene(), "AVIF", quality=90), COLOUR),
    "AVIF, alpha": ("a.avif", lambda: saved(_with_hole(), "AVIF", quality=100), HOLE),
    "HEIC": ("IMG_0001.HEIC", lambda: saved(scene(), "HEIF", quality=95), COLOUR),
    "HEIC, EXIF rotation": ("IMG_0002.HEIC", lambda: _sideways("HEIF", quality=95), COLOUR),
    "JPEG named .png": ("a.png", lambda: saved(scene(), "JPEG", quality=95), COLOUR),
    "no file extension": ("picture", lambda: saved(scene(), "PNG"), COLOUR),
    "Chinese file name": ("貓 照片.png", lambda: saved(scene(), "PNG"), COLOUR),
    "1x1": ("a.png", lambda: saved(Image.new("RGB", (1, 1), "red"), "PNG"), ""),
    "8000x8000": ("a.png", lambda: saved(Image.new("1", (8000, 8000), 1), "PNG"), ""),
    "1x8000": ("a.png", lambda: saved(Image.new("RGB", (1, 8000), "red"), "PNG"), ""),
}

NO_PICTURE, DAMAGED, TOO_LARGE = "no picture that can be read", "damaged", "too many pixels"
TOO_SLOW = "too long to read"

UNREADABLE: Final[dict[str, tuple[str, Callable[[], bytes], str]]] = {
    "empty file": ("a.png", lambda: b"", NO_PICTURE),
    "text named .png": ("a.png", lambda: b"hello, this is no picture" * 9, NO_PICTURE),
    "PDF": ("a.pdf", lambda: b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n", NO_PICTURE),
    "SVG": (
        "a.svg",
        lambda: b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>',
        NO_PICTURE,
    ),
    "EPS (a program)": ("a.eps", lambda: saved(scene(), "EPS"), NO_PICTURE),
    "truncated PNG": ("a.png", lambda: saved(scene(), "PNG")[:150], DAMAGED),
    "truncated JPEG": ("a.jpg", lambda: saved(scene(), "JPEG")[:700], DAMAGED),
    "truncated WebP": ("a.webp", lambda: saved(scene(), "WEBP")[:90], ""),
    "truncated HEIC": ("a.heic", lambda: saved(scene(), "HEIF")[:400], ""),
    "truncated TIFF": ("a.tif", lambda: saved(scene(), "TIFF")[:2000], ""),
    "decompression bomb, 20000x20000 PNG": (
        "a.png",
        lambda: png_header_only(20000, 20000),
        TOO_LARGE,
    ),
    "8001x8000 PNG": ("a.png", lambda: png_header_only(8001, 8000), TOO_LARGE),
    "65535x65535 GIF": (
        "a.gif",
        lambda: b"GIF89a\xff\xff\xff\xff\x80\x00\x00" + bytes(6) + b",\0\0\0\0\xff\xff\xff\xff\0\2",
        TOO_LARGE,
    ),
    "JPEG of 40,000 scans": ("a.jpg", slow_jpeg, TOO_SLOW),
    "100000x100000 BMP": (
        "a.bmp",
        lambda: (
            b"BM"
            + struct.pack("<IHHI", 54, 0, 0, 54)
            + struct.pack("<IiiHHIIiiII", 40, 100000, 100000, 1, 24, 0, 0, 0, 0, 0, 0)
        ),
        TOO_LARGE,
    ),
}


def table() -> str:
    """What a visitor sees of each kind, as Markdown: ``python tests/pictures.py``."""
    import tempfile
    from pathlib import Path
    from types import SimpleNamespace

    from lab5.errors import DataError
    from lab5.web.uploads import read_upload

    class Everything:
        read = staticmethod(lambda path: Path(path).read_bytes())

    kinds: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind, (name, make, _) in (READABLE | UNREADABLE).items():
            path = Path(folder, name)
            path.write_bytes(make())
            try:
                read_upload(SimpleNamespace(path=str(path), url=None), Everything)
                seen = "the answer"
            except DataError as error:
                seen = f"{error.text.zh}<br>{error.text.en}"
            kinds.setdefault(seen, []).append(kind)
    rows = (f"| {seen} | {'; '.join(names)} |" for seen, names in kinds.items())
    return "\n".join(["| what the visitor sees | uploads |", "| --- | --- |", *rows])


if __name__ == "__main__":
    print(table())
