"""Files: written whole or not at all, found where people keep them, and those a model is made of."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lab5.errors import UsageError

if TYPE_CHECKING:
    import onnx

FIXTURES: Final = (
    Path(__file__).parent / "fixtures"
).resolve()  # a link in a clone, a folder in a wheel

PICTURE_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".bmp")

# What operating systems, editors and office programs put beside people's files by themselves.
LITTER: Final = re.compile(
    r"(^|/)(\._|\.DS_Store$|__MACOSX(/|$)|\.ipynb_checkpoints(/|$)|\.~|~\$|Thumbs\.db$"
    r"|ehthumbs\.db$|desktop\.ini$|Icon\r$)",
    re.IGNORECASE,
)


def visible(folder: Path, pattern: str = "*") -> Iterator[Path]:
    """What of ``folder`` fits the glob ``pattern``, without litter and anything hidden."""
    for path in folder.glob(pattern):
        name = path.relative_to(folder).as_posix()
        if not LITTER.search(name) and not re.search(r"(^|/)\.", name):
            yield path


def natural(name: str) -> list[tuple[int, int | str]]:
    """Sort key under which ``2.png`` comes before ``10.png``."""
    parts = re.split(r"([0-9]+)", name)  # text, number, text, …
    return [(0, int(s)) if i % 2 else (1, s) for i, s in enumerate(parts) if s]


def cache_dir() -> Path:
    """``$LAB5_CACHE``, or the operating system's cache folder for this user."""
    if folder := os.environ.get("LAB5_CACHE"):
        return Path(folder)
    import platformdirs

    return Path(platformdirs.user_cache_dir("lab5", appauthor=False))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give an empty temporary file beside ``path``; move it there on success, else remove it.

    Whoever reads ``path`` meanwhile sees the old file, whole; afterwards the new one, whole.

    Raises:
        OSError: the folder is missing or takes no files, or ``path`` is a folder.
    """
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    temporary.touch(exist_ok=False)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # on disk before it has the name, should the power fail
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any, **how: Any) -> None:
    """``value`` as JSON in UTF-8, ``replacing`` what is there.

    Args:
        how: as ``json.dumps`` takes it.
    """
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, **how) + "\n", encoding="utf-8")


def zip_member(name: str) -> zipfile.ZipInfo:
    """A plain file of a zip that we write: the same bytes every time, wherever it is made."""
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))  # the earliest date that a zip can hold
    info.create_system = 3  # Unix
    info.external_attr = 0o100644 << 16
    return info


def files_below(folder: Path) -> list[Path]:
    """What is no folder in a folder and its folders, sorted; however deep, no link to a folder followed.

    A folder that cannot be read has none. ``is_plain`` says which of them can be read.
    """
    found: list[Path] = []
    folders = [folder]
    while folders:
        with suppress(OSError):
            for entry in os.scandir(folders.pop()):
                with suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(Path(entry.path))
                    elif not os.path.isdir(entry.path):  # noqa: PTH112 (a link to itself is none, too)
                        found.append(Path(entry.path))
    return sorted(found)


def is_plain(path: Path) -> bool:
    """Whether it is a file, and no FIFO or device, which would be waited for, nor a link to nothing."""
    return os.path.isfile(path)  # noqa: PTH113 (False where pathlib raises)


@contextmanager
def temporary_folder(prefix: str = "lab5-") -> Iterator[Path]:
    """An empty folder, gone afterwards, whatever foreign code left in it."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield folder
    finally:
        remove_folder(folder)


def remove_folder(folder: Path) -> None:
    """Remove a folder and what is in it, of any depth, as far as the system allows; no link is followed.

    ``shutil.rmtree`` calls itself for each level, and paths have a longest length: here what is deeper
    is moved to the top first.
    """
    if os.rename not in os.supports_dir_fd:  # Windows
        shutil.rmtree(folder, ignore_errors=True)
        return
    try:
        top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        moved = 0
        stuck: set[str] = set()
        while left := [name for name in os.listdir(top) if name not in stuck]:  # noqa: PTH208
            for name in left:
                if _unlinked(name, top):
                    continue
                try:
                    moved = _emptied(name, top, moved)
                    os.rmdir(name, dir_fd=top)
                except OSError:
                    stuck.add(name)
    finally:
        os.close(top)
    with suppress(OSError):
        folder.rmdir()


_MOVED: Final = f".moved-{secrets.token_hex(8)}-"


def _unlinked(name: str, folder: int) -> bool:
    """Whether it was no folder, and is gone."""
    try:
        if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            return False
        os.unlink(name, dir_fd=folder)
    except OSError:
        return False
    return True


def _emptied(name: str, top: int, moved: int) -> int:
    """Move the folders in a folder to the top, as number ``moved`` on; remove the rest of it."""
    os.chmod(name, 0o700, dir_fd=top)
    folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=top)
    try:
        for inner in os.listdir(folder):  # noqa: PTH208
            if not _unlinked(inner, folder):
                os.chmod(inner, 0o700, dir_fd=folder)  # or it cannot be moved
                os.rename(inner, f"{_MOVED}{moved}", src_dir_fd=folder, dst_dir_fd=top)
                moved += 1
    finally:
        os.close(folder)
    return moved


def find(given: Path | None, name: str) -> Path:
    """``given`` as it is; without it ``name`` in the current folder, else the repository's own.

    Raises:
        UsageError: nothing is given and neither folder has it.
    """
    if given is not None:
        return given
    for path in (Path(name), FIXTURES / name):
        if path.is_file():
            return path
    raise UsageError(
        f"There is no {name}, neither in {Path.cwd()} nor in {FIXTURES}. "
        "Put the handed-out one into the current folder.",
        zh=f"在 {Path.cwd()} 與 {FIXTURES} 都找不到 {name}。請把老師提供的檔案放在目前的資料夾。",
    )


def state_of(path: Path) -> tuple[int, ...]:
    """Another one where a file, by whatever path, may hold other bytes than it did.

    Raises:
        OSError: there is no such file.
    """
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def sha256(path: Path) -> str:
    """Of a file's bytes, in hexadecimal; never all of them in memory."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            found.update(piece)
    return found.hexdigest()


def opset(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operators that a model uses, 0 if it names none."""
    return next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)


def external_locations(model: onnx.ModelProto) -> set[str]:
    """The names of the data files that a model refers to, as it writes them."""
    from onnx.external_data_helper import _get_all_tensors, uses_external_data

    return {
        entry.value
        for tensor in _get_all_tensors(model)
        if uses_external_data(tensor)
        for entry in tensor.external_data
        if entry.key == "location"
    }


def _locations(path: Path) -> set[str]:
    import onnx

    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf raises its own type, the file system others
        raise UsageError(
            f"{path} is no ONNX file ({type(error).__name__}). Make it again: python -m lab5.package",
            zh=f"{path} 不是 ONNX 檔（{type(error).__name__}）。請用 python -m lab5.package 重新產生。",
        ) from error
    return external_locations(model)


def model_files(path: Path, locations: set[str] | None = None) -> list[Path]:
    """An ONNX file and the data files that it refers to, each once; no data are loaded.

    Args:
        locations: its ``external_locations``, if they are known: the file is not read again.

    Raises:
        UsageError: it is no ONNX file, a data file is missing or lies outside the model's folder.
    """
    files = [path]
    for location in sorted(_locations(path) if locations is None else locations):
        data = path.parent / location
        if not data.is_file():
            raise UsageError(
                f"{path} keeps weights in {location!r}, which is not there. Put it into {path.parent}.",
                zh=f"{path} 的權重存在 {location!r}，但找不到這個檔案。請把它放進 {path.parent}。",
            )
        inside = data.resolve().is_relative_to(path.parent.resolve())
        if not inside or Path(location).is_absolute() or ".." in Path(location).parts:
            raise UsageError(
                f"{path} keeps weights in {location!r}, outside its own folder: refused. "
                "Save the model again with its data beside it.",
                zh=f"{path} 的權重存在 {location!r}，不在它自己的資料夾內，因此拒絕讀取。"
                "請重新儲存模型，把資料檔放在它旁邊。",
            )
        files.append(data)
    return files


def model_size(path: Path, locations: set[str] | None = None) -> int:
    """Bytes of a model, its data files included.

    Args and errors are those of ``model_files``.
    """
    return sum(file.stat().st_size for file in model_files(path, locations))
