"""What visitors send to the page: any picture, read within bounds or refused in one plain sentence."""

from __future__ import annotations

import base64
import binascii
import io
import json
import threading
from pathlib import Path
from typing import Any, Final

import numpy as np

from lab5.errors import DataError
from lab5.preprocess import preprocess

FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF")
MAX_PIXELS: Final = 8000 * 8000  # 256 MB decoded, four bytes each
MAX_FILE: Final = (
    32 << 20
)  # bytes of one uploaded picture; a phone's 48-megapixel JPEG has about 20
MAX_MESSAGE: Final = 1 << 20  # bytes of any other request; a picture in a data: URL included

_decoding = threading.Lock()  # one picture at a time: memory is bounded whatever comes together


def read_upload(upload: Any) -> tuple[tuple[int, int], np.ndarray]:
    """What gradio hands over for an image -> its (width, height) and its (1, 3, 32, 32) float32.

    Raises:
        DataError: it is no picture, none of ``FORMATS``, damaged, or larger than ``MAX_PIXELS``.
    """
    import pillow_heif
    from PIL import Image

    pillow_heif.register_heif_opener()
    source = _source(upload)
    with _decoding:
        try:
            with Image.open(source, formats=FORMATS) as image:
                width, height = image.size
                if width * height > MAX_PIXELS:
                    raise Image.DecompressionBombError
                x = preprocess(image)
                return _upright(image), x
        except FileNotFoundError:
            raise DataError(
                "This picture is no longer on the server; please upload it again.",
                zh="這張圖片已從伺服器刪除，請重新上傳。",
            ) from None
        except Image.UnidentifiedImageError:
            raise DataError(
                "This file is no picture that can be read; please use PNG, JPEG, WebP, GIF, BMP, "
                "TIFF, AVIF or HEIC.",
                zh="這個檔案不是可以讀取的圖片，請使用 PNG、JPEG、WebP、GIF、BMP、TIFF、AVIF 或 HEIC。",
            ) from None
        except (Image.DecompressionBombError, MemoryError):
            raise DataError(
                "This picture has too many pixels; please use one of at most 8000x8000.",
                zh="這張圖片的像素太多，請使用 8000x8000 以內的圖片。",
            ) from None
        except Exception:  # decoders raise a dozen types for damaged files
            raise DataError(
                "This picture is damaged or incomplete; please save it again or use another.",
                zh="這張圖片已損壞或不完整，請重新存檔，或換一張。",
            ) from None


def _source(upload: Any) -> Path | io.BytesIO:
    """The uploaded file, or the bytes of a ``data:`` URL."""
    url = getattr(upload, "url", None) or ""
    if url.startswith("data:"):
        head, _, body = url.partition(",")
        try:
            return io.BytesIO(base64.b64decode(body, validate=True) if "base64" in head else b"")
        except binascii.Error:
            return io.BytesIO()
    return Path(upload.path or "nothing")


def _upright(image: Any) -> tuple[int, int]:
    """The size of a decoded picture as a person sees it: orientations 5 to 8 lie on their side."""
    width, height = image.size
    return (height, width) if image.getexif().get(0x0112, 1) >= 5 else (width, height)


class Guard:
    """ASGI middleware: only the routes that the page needs, and no body above its limit.

    gradio limits uploaded files but not JSON bodies, and serves routes that this page has no use for:
    a proxy, monitoring, recordings, links that write files, an editor.
    """

    POST: Final = ("upload", "queue/join", "call/", "cancel", "reset")
    CLOSED: Final = ("monitoring", "proxy=", "deep_link", "run", "file=http", "dev/", "vibe")

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        route = scope["path"].lstrip("/").removeprefix("gradio_api/")
        reads = scope["method"] in ("GET", "HEAD", "OPTIONS")
        if route.startswith(self.CLOSED) or not (reads or route.startswith(self.POST)):
            await _refuse(send, 404, "Not found / 找不到")
            return
        limit = MAX_FILE + MAX_MESSAGE if route.startswith("upload") else MAX_MESSAGE
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length) > limit:
            await _refuse(send, 413, f"Larger than {limit >> 20} MB / 超過 {limit >> 20} MB")
            return
        received = 0

        async def counted() -> Any:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            # A body of no declared length that grows too long ends as if the visitor had gone.
            return {"type": "http.disconnect"} if received > limit else message

        await self.app(scope, counted, send)


async def _refuse(send: Any, status: int, detail: str) -> None:
    body = json.dumps({"detail": detail}, ensure_ascii=False).encode()
    headers = [(b"content-type", b"application/json; charset=utf-8")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
