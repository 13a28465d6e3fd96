"""What visitors send to the page: any picture, read within bounds or refused in one plain sentence."""

from __future__ import annotations

import base64
import json
import os
import stat
from pathlib import Path
from typing import Any, Final

import numpy as np

from lab5.errors import DataError
from lab5.preprocess import preprocess
from lab5.text import Text, in_a_line
from lab5.web.decoding import Outcome, decode

MAX_FILE: Final = (
    32 << 20
)  # bytes of one uploaded picture; a phone's 48-megapixel JPEG has about 20
MAX_MESSAGE: Final = 1 << 20  # bytes of any other request; a picture in a data: URL included

# Neither a link is followed nor a pipe waited for; Windows has neither flag, nor pipes in folders.
_OPEN_FLAGS: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)

_REFUSALS: Final = {
    Outcome.NO_PICTURE: Text(
        "This file is no picture that can be read; please use PNG, JPEG, WebP, GIF, BMP, "
        "TIFF, AVIF or HEIC.",
        "這個檔案不是可以讀取的圖片，請使用 PNG、JPEG、WebP、GIF、BMP、TIFF、AVIF 或 HEIC。",
    ),
    Outcome.TOO_LARGE: Text(
        "This picture has too many pixels; please use one of at most 8000x8000.",
        "這張圖片的像素太多，請使用 8000x8000 以內的圖片。",
    ),
    Outcome.DAMAGED: Text(
        "This picture is damaged or incomplete; please save it again or use another.",
        "這張圖片已損壞或不完整，請重新存檔，或換一張。",
    ),
    Outcome.TOO_SLOW: Text(
        "This picture takes too long to read; please save it again as a plain JPEG or PNG, "
        "or use another.",
        "讀取這張圖片花費的時間太久，請另存成一般的 JPEG 或 PNG，或換一張。",
    ),
}


class Received:
    """The files that a page received from its visitors, and its examples: all that it ever opens.

    ``demo`` is the page as gradio's ``Blocks``, complete with its examples.
    """

    def __init__(self, demo: Any) -> None:
        self._folder, self._uploads = Path(demo.GRADIO_CACHE), demo.upload_file_set
        self.examples = {path for block in demo.blocks.values() for path in block.keep_in_cache}

    def __contains__(self, path: str) -> bool:
        return path in self._uploads or path in self.examples

    def read(self, path: str) -> bytes:
        """The bytes of one of these files.

        Raises:
            FileNotFoundError: it is none of them, or no longer there.
        """
        # Asked first: nothing about any other file can be learnt, not even by the time it takes.
        if path not in self:
            raise FileNotFoundError
        place = Path(path)  # gradio puts each into a folder of its own
        real = self._folder.resolve() / place.parent.name / place.name
        try:
            if place.resolve() != real:  # through a link
                raise FileNotFoundError
            with open(real, "rb", opener=_without_waiting) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise FileNotFoundError
                return file.read()
        except OSError:
            raise FileNotFoundError from None


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | _OPEN_FLAGS)


def read_upload(upload: Any, received: Received) -> tuple[tuple[int, int], np.ndarray]:
    """What gradio hands over for an image -> its (width, height) and its (1, 3, 32, 32) float32.

    Raises:
        DataError: it is not among ``received``, no picture, damaged, larger than ``MAX_PIXELS``, or
            takes too long.
    """
    try:
        is_data = (upload.url or "").startswith("data:")
        data = _from_url(upload.url) if is_data else received.read(upload.path)
    except FileNotFoundError:
        raise DataError(
            "This picture is no longer on the server; please upload it again.",
            zh="這張圖片已從伺服器刪除，請重新上傳。",
        ) from None
    outcome, size, picture = decode(data)
    if outcome in _REFUSALS:
        refusal = _REFUSALS[outcome]
        raise DataError(refusal.en, zh=refusal.zh)
    return size, preprocess(picture)


def _from_url(url: str) -> bytes:
    """The bytes of a base64 ``data:`` URL; none if it is not whole."""
    head, _, body = url.partition(",")
    try:
        return base64.b64decode(body, validate=True) if "base64" in head else b""
    except ValueError:  # characters of no alphabet, too
        return b""


def plain_upload(value: Any) -> dict[str, Any] | None:
    """What a message names as its picture, reduced to a ``data:`` URL or else a path for ``Received``.

    Nothing is left on which gradio acts by itself: it checks and copies a file, or fetches an address,
    where ``meta`` says that it is one, and checks nothing where ``meta`` is missing.
    """
    if value is None:
        return None
    path, url = (value.get("path"), value.get("url")) if isinstance(value, dict) else ("", "")
    is_data = isinstance(url, str) and url.startswith("data:")
    return {"path": path if isinstance(path, str) else "", "url": url if is_data else None}


class Guard:
    """ASGI middleware: only the routes and files that the page needs, and no body above its limit.

    gradio limits uploaded files but not JSON bodies, serves whatever lies in its folder, which several
    pages may share, and has routes that this page has no use for: a proxy, monitoring, recordings, links
    that write files, an editor.
    """

    POST: Final = ("upload", "queue/join", "call/", "cancel", "reset")
    CLOSED: Final = ("monitoring", "proxy=", "deep_link", "run", "file/", "dev/", "vibe")

    def __init__(self, app: Any, received: Received) -> None:
        self.app, self.received = app, received

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        route = scope["path"].lstrip("/").removeprefix("gradio_api/")
        reads = scope["method"] in ("GET", "HEAD", "OPTIONS")
        closed = route.startswith(self.CLOSED) or (
            route.startswith("file=") and route.removeprefix("file=") not in self.received
        )
        if closed or not (reads or route.startswith(self.POST)):
            await _refuse(send, 404, Text("Not found", "找不到"))
            return
        limit = MAX_FILE + MAX_MESSAGE if route.startswith("upload") else MAX_MESSAGE
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length) > limit:
            text = Text(f"Larger than {limit >> 20} MB", f"超過 {limit >> 20} MB")
            await _refuse(send, 413, text)
            return
        received = 0

        async def counted() -> Any:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            # A body of no declared length that grows too long ends as if the visitor had gone.
            return {"type": "http.disconnect"} if received > limit else message

        await self.app(scope, counted, send)


async def _refuse(send: Any, status: int, detail: Text) -> None:
    body = json.dumps({"detail": in_a_line(detail)}, ensure_ascii=False).encode()
    headers = [(b"content-type", b"application/json; charset=utf-8")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
