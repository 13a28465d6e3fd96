"""A picture of any kind as the upright RGB one that ``preprocess`` takes, and a process to make it in.

Decoders are C code that reads strangers' files: some of those take minutes, some memory without end,
some a crash. ``Decoder`` has them read in a process of its own, which imports neither torch nor gradio
and ends itself when a picture takes too long.
"""

from __future__ import annotations

import atexit
import enum
import faulthandler
import io
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF")
MAX_PIXELS: Final = 8000 * 8000  # 256 MB decoded, four bytes each
SIZE: Final = (32, 32)  # what the network sees
# Seconds for a picture of one pixel and for one of MAX_PIXELS; in proportion between. Honest ones take at
# most a third of it (docs/page.md), and a small file made to be slow does not get a large one's time.
DEADLINES: Final = (3.0, 12.0)
MEMORY: Final = 2 << 30  # bytes of address space of the process; honest pictures take up to half

_LENGTH: Final = struct.Struct(">Q")  # before each file that the process is sent
_REPLY: Final = struct.Struct(f">BII{SIZE[0] * SIZE[1] * 3}s")  # outcome, width, height, pixels
_READY: Final = b"\n"


class Outcome(enum.IntEnum):
    READ = 0
    NO_PICTURE = 1
    TOO_LARGE = 2
    DAMAGED = 3
    TOO_SLOW = 4


def upright_rgb(image: Image.Image) -> Image.Image:
    """A PIL image of any mode and size -> what a person sees of it, RGB, 32x32.

    Alpha is composited on white, EXIF orientation applied, 16-bit and float grey scaled to 0..255. Of
    any other picture ``preprocess`` makes the same of this as of the picture itself.
    """
    if image.mode[0] in "IF":  # convert("RGB") would clip these at 255, to near white
        full = 65535 if image.mode[0] == "I" else 255 if image.getextrema()[1] > 1 else 1  # type: ignore[operator]
        grey = np.asarray(image.convert("F").resize(SIZE)) * (255 / full)
        grey = np.nan_to_num(grey).clip(0, 255).round().astype(np.uint8)
        small = Image.fromarray(grey).convert("RGB")
    elif image.has_transparency_data:
        small = image.convert("RGBA").resize(SIZE)
        small = Image.alpha_composite(Image.new("RGBA", SIZE, "white"), small).convert("RGB")
    else:
        small = image.convert("RGB").resize(SIZE)
    small.getexif()[0x0112] = image.getexif().get(0x0112, 1)  # a photograph's orientation
    return ImageOps.exif_transpose(small)  # after the resize: as good, and 32x32 is quick to turn


class Decoder:
    """Decodes one picture at a time, so that memory is bounded whatever comes together.

    Args:
        deadlines: as ``DEADLINES``; another value is for the process that starts next.
    """

    def __init__(self, deadlines: tuple[float, float] = DEADLINES) -> None:
        self.deadlines = deadlines
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_ready = False

    def start(self) -> None:
        """Start the process, without waiting for it; the first picture does so otherwise."""
        if self._process is None:
            self._process, self._is_ready = _start(self.deadlines), False
            atexit.register(self.close)

    def close(self) -> None:
        """End the process; another picture starts a new one."""
        atexit.unregister(self.close)
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def __call__(self, data: bytes) -> tuple[Outcome, tuple[int, int], Image.Image]:
        """A file's bytes -> the outcome, the upright (width, height), the picture as RGB, 32x32.

        Raises:
            RuntimeError: the process does not start.
        """
        with self._turn:
            process = self._running()
            try:
                process.stdin.write(_LENGTH.pack(len(data)))  # type: ignore[union-attr]
                process.stdin.write(data)  # type: ignore[union-attr]
                process.stdin.flush()  # type: ignore[union-attr]
                reply = process.stdout.read(_REPLY.size)  # type: ignore[union-attr]
            except BrokenPipeError:
                reply = b""
            if len(reply) == _REPLY.size:
                outcome, width, height, pixels = _REPLY.unpack(reply)
            else:  # by its own deadline it ends with 1, by a decoder's crash with a signal
                outcome = Outcome.TOO_SLOW if process.wait() == 1 else Outcome.DAMAGED
                width, height, pixels = 0, 0, bytes(SIZE[0] * SIZE[1] * 3)
                self.close()
                self.start()
        return Outcome(outcome), (width, height), Image.frombytes("RGB", SIZE, pixels)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self.close()
        self.start()
        assert self._process is not None
        if not self._is_ready:
            if self._process.stdout.read(len(_READY)) != _READY:  # type: ignore[union-attr]
                self.close()
                raise RuntimeError("the process that decodes pictures does not start")
            self._is_ready = True
        return self._process


decode: Final = Decoder()


def _start(deadlines: tuple[float, float]) -> subprocess.Popen[bytes]:
    # Threads that a library keeps for each core cost address space. Ctrl-C is for the page, which
    # ends the process; a page that is killed ends it by closing its input.
    return subprocess.Popen(
        [sys.executable, "-m", "lab5.web.decoding", *map(str, deadlines)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # Windows
    )


# In the process


def main() -> None:
    """Answer each file on stdin with a reply on stdout, until there are no more; given ``DEADLINES``."""
    shortest, longest = map(float, sys.argv[1:])
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a decoder prints is no reply
    _limit_memory()
    import pillow_heif
    from PIL import AvifImagePlugin

    pillow_heif.register_heif_opener()
    pillow_heif.options.DECODE_THREADS = AvifImagePlugin.DEFAULT_MAX_THREADS = 4
    replies.write(_READY)
    replies.flush()
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123

        def end_after(share: float) -> None:
            """End this process then, even in the middle of a decoder, with exit status 1."""
            seconds = shortest + (longest - shortest) * share
            faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)

        while len(header := requests.read(_LENGTH.size)) == _LENGTH.size:
            reply = _reply(requests.read(*_LENGTH.unpack(header)), end_after)
            faulthandler.cancel_dump_traceback_later()
            replies.write(reply)
            replies.flush()


def _limit_memory() -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    except (ImportError, ValueError, OSError):  # Windows has no such limit, macOS none that works
        pass


def _reply(data: bytes, end_after: Callable[[float], None]) -> bytes:
    """``end_after`` is told how large the picture is, as a share of ``MAX_PIXELS``."""
    try:
        end_after(0)
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise Image.DecompressionBombError
            end_after(width * height / MAX_PIXELS)
            picture = upright_rgb(image)
            width, height = _upright(image)
            return _REPLY.pack(Outcome.READ, width, height, picture.tobytes())
    except UnidentifiedImageError:
        outcome = Outcome.NO_PICTURE
    except (Image.DecompressionBombError, MemoryError):
        outcome = Outcome.TOO_LARGE
    except Exception:  # decoders raise a dozen types for damaged files
        outcome = Outcome.DAMAGED
    return _REPLY.pack(outcome, 0, 0, b"")


def _upright(image: Image.Image) -> tuple[int, int]:
    """The size of a decoded picture as a person sees it: orientations 5 to 8 lie on their side."""
    width, height = image.size
    return (height, width) if image.getexif().get(0x0112, 1) >= 5 else (width, height)


if __name__ == "__main__":
    main()
