"""Whatever is uploaded is read or refused in one plain sentence, in bounded memory."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import re
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import GREY, HOLE, READABLE, TOO_SLOW, UNREADABLE, saved, scene, table
from PIL import Image

from lab5.errors import DataError
from lab5.preprocess import CIFAR10_MEAN, CIFAR10_STD, preprocess
from lab5.web.uploads import MAX_FILE, MAX_MESSAGE, Guard, Received, plain_upload
from lab5.web.uploads import read_upload as read_received


def upload(path=None, url=None):
    """As gradio hands an image over."""
    return SimpleNamespace(path=path and str(path), url=url)


def received_by_a_page(folder: Path, *paths: Path) -> Received:
    """A page whose upload folder is ``folder`` and that received ``paths``."""
    page = SimpleNamespace(
        GRADIO_CACHE=str(folder), upload_file_set=set(map(str, paths)), blocks={}
    )
    return Received(page)


def read_upload(upload):
    """As the page reads what it received, wherever the test has put it."""
    folder = Path(upload.path).parents[1] if upload.path else Path()
    return read_received(upload, received_by_a_page(folder, upload.path))


def data_url(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()


def quarters(x: np.ndarray) -> np.ndarray:
    """(1, 3, 32, 32) normalised -> the mean colour of each quarter, (4, 3) in 0..255."""
    pixels = (x[0].transpose(1, 2, 0) * CIFAR10_STD + CIFAR10_MEAN) * 255
    corners = [(4, 4), (4, 20), (20, 4), (20, 20)]
    return np.array([pixels[y : y + 8, x : x + 8].mean((0, 1)) for y, x in corners])


def expected(seen: str) -> np.ndarray:
    image = scene().convert("L").convert("RGB") if seen.startswith(GREY) else scene()
    colours = quarters(preprocess(image))
    if seen.endswith(HOLE):
        colours[2:] = 255
    return colours


@pytest.mark.parametrize("kind", READABLE)
def test_every_kind_of_picture_is_read_as_it_looks(kind, tmp_path):
    name, make, seen = READABLE[kind]
    (tmp_path / name).write_bytes(make())
    size, x = read_upload(upload(tmp_path / name))
    assert x.shape == (1, 3, 32, 32)
    assert x.dtype == np.float32
    if seen:
        assert size == (48, 64)
        assert np.abs(quarters(x) - expected(seen)).max() < 12


@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_cannot_be_read_gets_one_plain_sentence(kind, tmp_path, request):
    name, make, why = UNREADABLE[kind]
    if why == TOO_SLOW:
        request.getfixturevalue("hurried")
    (tmp_path / name).write_bytes(make())
    with pytest.raises(DataError, match=why or ".") as caught:
        read_upload(upload(tmp_path / name))
    plain(caught.value, tmp_path)


def plain(error: DataError, folder) -> None:
    """One sentence in each language, without a path, an exception's name or a line break."""
    for text, end in ((error.text.en, "."), (error.text.zh, "。")):
        assert text.endswith(end)
        assert text.count(end) == 1
        assert str(folder) not in text
        assert not re.search(r"Error|Exception|Traceback|PIL|[\n/\\]", text)
    assert re.search(r"[\u4e00-\u9fff]", error.text.zh)


def test_a_picture_that_was_deleted_meanwhile(tmp_path):
    with pytest.raises(DataError, match="no longer on the server") as caught:
        read_upload(upload(tmp_path / "gone.png"))
    plain(caught.value, tmp_path)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "HEIC", "PNG, 16-bit grey"])
def test_a_data_url_is_read_like_a_file(kind, tmp_path):
    name, make, _ = READABLE[kind]
    (tmp_path / name).write_bytes(make())
    by_file, by_url = (
        read_upload(upload(tmp_path / name)),
        read_upload(upload(url=data_url(make()))),
    )
    np.testing.assert_array_equal(by_file[1], by_url[1])


@pytest.mark.parametrize(
    "url",
    ["data:", "data:,", "data:image/png;base64,!!!", "data:image/png;base64,AAA", "data:x,abc"],
)
def test_a_broken_data_url_is_no_picture(url, tmp_path):
    with pytest.raises(DataError, match="no picture") as caught:
        read_upload(upload(url=url))
    plain(caught.value, tmp_path)


@given(data=st.binary(max_size=200))
def test_random_bytes_are_refused(data):
    with pytest.raises(DataError):
        read_upload(upload(url=data_url(data)))


@given(
    kind=st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF"]),
    changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=9),
    keep=st.floats(0.05, 1),
)
def test_damaged_files_are_read_or_refused_but_never_crash(kind, changes, keep):
    data = bytearray(_sample(kind))
    for position, value in changes:
        data[position % len(data)] = value
    try:
        _, x = read_upload(upload(url=data_url(bytes(data[: int(len(data) * keep)]))))
    except DataError as error:
        plain(error, "/nowhere")
    else:
        assert x.shape == (1, 3, 32, 32)
        assert np.isfinite(x).all()


_SAMPLES: dict[str, bytes] = {}


def _sample(kind: str) -> bytes:
    return _SAMPLES.setdefault(kind, saved(scene(), kind))


# Which files are opened


def stored(folder: Path, name: str = "a.png") -> Path:
    """A picture where gradio would put it."""
    path = folder / ("0" * 64) / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(saved(scene(), "PNG"))
    return path


def is_gone(path, received: Received) -> bool:
    with pytest.raises(DataError) as caught:
        read_received(upload(path), received)
    return (
        caught.value.text.en == "This picture is no longer on the server; please upload it again."
    )


def test_only_what_was_received_is_opened(tmp_path):
    mine, other = stored(tmp_path), stored(tmp_path, "another page's.png")
    received = received_by_a_page(tmp_path, mine)
    assert read_received(upload(mine), received)[0] == (48, 64)
    for path in (other, mine.parent, "/etc/passwd", f"{mine.parent}/../{mine.parent.name}/a.png"):
        assert is_gone(path, received)
    assert is_gone("", received)
    assert is_gone(mine, received_by_a_page(tmp_path))


@pytest.mark.skipif(sys.platform == "win32", reason="makes links and pipes")
@pytest.mark.parametrize("kind", ["link", "link above", "pipe", "folder", "socket"])
def test_what_took_the_place_of_an_upload_is_not_opened(kind, tmp_path, monkeypatch):
    path, elsewhere = stored(tmp_path), tmp_path / "elsewhere"
    received = received_by_a_page(tmp_path, path)
    path.rename(elsewhere)
    if kind == "link":
        path.symlink_to(elsewhere)
    elif kind == "link above":
        path.parent.rmdir()
        (tmp_path / "real").mkdir()
        elsewhere.rename(tmp_path / "real" / path.name)
        path.parent.symlink_to(tmp_path / "real")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        monkeypatch.chdir(path.parent)  # the whole path is too long for one
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(path.name)
    assert is_gone(path, received)


@given(
    st.recursive(
        st.none() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["path", "url", "meta", "x"]), inner)
        ),
    )
)
def test_of_any_message_only_a_path_and_a_data_url_are_left(value):
    plain = plain_upload(value)
    if value is None:
        assert plain is None
    else:
        assert set(plain) == {"path", "url"}
        assert isinstance(plain["path"], str)
        assert plain["url"] is None or plain["url"].startswith("data:")


# The guard: what reaches gradio at all


RECEIVED = received_by_a_page(Path("/uploads"), Path("/uploads/0/a.png"))


def _request(path: str, method: str = "POST", headers=(), chunks=(b"",)) -> tuple[int, list[int]]:
    """Send a request through the guard: the status, and the sizes that reached the app."""
    reached: list[int] = []
    status: list[int] = []

    async def app(scope, receive, send):
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            reached.append(len(message["body"]))
            if not message["more_body"]:
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})

    waiting = [{"type": "http.request", "body": c, "more_body": True} for c in chunks]
    waiting[-1]["more_body"] = False

    async def receive():
        return waiting.pop(0)

    async def send(message):
        if message["type"] == "http.response.start":
            status.append(message["status"])

    scope = {"type": "http", "path": path, "method": method, "headers": list(headers)}
    asyncio.run(Guard(app, RECEIVED)(scope, receive, send))
    return (status or [0])[0], reached


@pytest.mark.parametrize(
    ("path", "limit"),
    [("/gradio_api/upload", MAX_FILE + MAX_MESSAGE), ("/gradio_api/queue/join", MAX_MESSAGE)],
)
def test_a_declared_length_above_the_limit_is_refused_unread(path, limit):
    assert _request(path, headers=[(b"content-length", str(limit + 1).encode())]) == (413, [])
    assert _request(path, headers=[(b"content-length", b"-1")]) == (413, [])
    assert _request(path, headers=[(b"content-length", str(limit).encode())])[0] == 200


def test_a_body_without_a_length_is_cut_off_at_the_limit():
    status, reached = _request("/gradio_api/call/f", chunks=[bytes(MAX_MESSAGE // 2)] * 9)
    assert status == 0
    assert sum(reached) <= MAX_MESSAGE


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/run/compare_fp32_int8",
        "/gradio_api/process_recording",
        "/gradio_api/vibe-edit",
        "/gradio_api/component_server",
        "/login",
    ],
)
def test_only_the_pages_own_routes_take_posts(path):
    assert _request(path) == (404, [])


@pytest.mark.parametrize("prefix", ["/gradio_api/file=", "/file="])
def test_only_received_files_are_served(prefix):
    assert _request(f"{prefix}/uploads/0/a.png", "GET")[0] == 200
    for path in ("/uploads/0/b.png", "/uploads/0", "/uploads/0/../0/a.png", "http://a/b", ""):
        for method in ("GET", "HEAD"):
            assert _request(f"{prefix}{path}", method)[0] == 404
    assert _request("/gradio_api/file//uploads/0/a.png", "GET")[0] == 404


def test_other_protocols_pass():
    passed = []

    async def app(scope, receive, send):
        passed.append(scope["type"])

    asyncio.run(Guard(app, RECEIVED)({"type": "lifespan"}, None, None))
    assert passed == ["lifespan"]


def test_pillow_is_not_told_to_accept_truncated_files():
    from PIL import ImageFile

    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    with pytest.raises(OSError, match="truncated"):
        Image.open(io.BytesIO(saved(scene(), "JPEG")[:700])).load()


def test_the_documentations_table_is_what_happens():
    page = (Path(__file__).parent.parent / "docs" / "page.md").read_text(encoding="utf-8")
    assert table() in page, "make it anew with: python tests/pictures.py"
