"""PATH… → the hand-ins: zips, folders of zips, and what Moodle's "download all submissions" gives.

Moodle gives a folder a student, ``<Full name>_<number>_assignsubmission_file/<path>`` (before 4.1 with one
more ``_`` at its end), or flat files, ``<Full name>_<number>_assignsubmission_file_<file name>``; as a zip
or unpacked.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import stat
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BufferedReader, FileIO
from pathlib import Path
from typing import IO, Any, Final

from lab5.assignment import id_in
from lab5.classroom.entry import HandIn
from lab5.errors import SubmissionError
from lab5.files import LITTER, files_below, is_plain, natural, sha256, state_of, temporary_folder
from lab5.grading.evidence.submission import member_name, portable
from lab5.text import NOTHING, Text, printable

MAX_FILES: Final = 20_000  # in Moodle's zip
MAX_DIRECTORY: Final = 32 << 20  # bytes of its list of files
MAX_ZIP: Final = 512 << 20  # bytes of a hand-in in it
MAX_KEY: Final = 150  # bytes, before what makes it unique
MAX_NAME: Final = 255  # bytes, as in most file systems

# What is handed in as the zip; the grader says of the others what they are.
_ARCHIVES: Final = (".zip", ".rar", ".7z", ".tar", ".gz", ".tgz", ".xz", ".bz2")
# Moodle writes no underscore into a name, so that a file's own name cannot pose as another student's.
_MOODLE: Final = re.compile(
    r"(?P<folder>(?P<student>[^_/]+)_(?P<number>[0-9]{1,20})_assignsubmission_(?P<kind>[a-z]+)_?)"
)


@dataclass(frozen=True)
class Place:
    """What Moodle's name of a file says: whose it is, and what the student called it."""

    student: str
    number: str
    folder: str
    kind: str
    name: str


def place(name: str) -> Place | None:
    """Of a file by its path in Moodle's download, parts divided by "/"; None if it has another form."""
    *folders, last = name.split("/")
    for folder in folders:
        if match := _MOODLE.fullmatch(folder):
            return _place(match, last)
    match = _MOODLE.match(last)
    if match and match["folder"].endswith("_") and match.end() < len(last):
        return _place(match, last[match.end() :])
    return None


def _place(match: re.Match[str], name: str) -> Place:
    student = printable(unicodedata.normalize("NFC", match["student"]).strip())
    return Place(student, match["number"], match["folder"], match["kind"], name)


@dataclass(frozen=True)
class Found:
    """The hand-ins, each once, and the files beside them that are none."""

    handins: tuple[HandIn, ...]
    others: tuple[Path, ...] = ()


def find_handins(paths: Iterable[Path]) -> Found:
    """The hand-ins of a class, in the order of ``paths``.

    In Moodle's download the last zip of a student counts, also where its files are given one by one. A
    path that is no folder, and no zip of Moodle's, is itself taken for a hand-in, and so is a folder with
    none in it.
    """
    sources: list[tuple[Path, list[_File]]] = []
    singly: list[_File] = []
    for path in dict.fromkeys(paths):
        if os.path.isdir(path):  # noqa: PTH112 (False, too, for a path that is too long)
            sources.append((path, _on_disk(path)))
        elif where := place(f"{path.absolute().parent.name}/{path.name}"):
            if not singly:
                sources.append((path, singly))
            singly.append(_file(path, where.name, where))
        else:
            sources.append((path, _in_moodles_zip(path)))
    handins: dict[_Where, tuple[HandIn, str]] = {}
    others: list[Path] = []
    for path, files in sources:
        inside, strange = _grouped(files)
        others += strange
        for one in inside or [HandIn(path, "", name=path.name, trouble=_unreadable(path))]:
            source = (os.path.abspath(one.path), one.member)  # noqa: PTH100 (resolves no link)
            below = path in one.path.parents
            inner = one.path.relative_to(path).as_posix() if below else one.path.name
            handins.setdefault(source, (one, inner))
    return Found(tuple(_with_keys(handins.values())), tuple(others))


_Where = tuple[str, str]  # a path, and what is meant in it


@dataclass(frozen=True)
class _File:
    """A file: ``path``, or ``member`` in Moodle's zip at ``path``; ``when`` orders those of one source."""

    path: Path
    member: str
    name: str
    when: tuple[float, ...]
    place: Place | None
    trouble: Text = NOTHING

    @property
    def is_zip(self) -> bool:
        return self.name.lower().endswith(".zip")

    @property
    def is_archive(self) -> bool:
        return self.name.lower().endswith(_ARCHIVES)

    def handin(self, **fields: Any) -> HandIn:
        return HandIn(self.path, "", self.member, self.name, trouble=self.trouble, **fields)


def _on_disk(folder: Path) -> list[_File]:
    found = []
    for path in files_below(folder):
        name = path.relative_to(folder).as_posix()
        if not LITTER.search(name):
            where = place(f"{folder.absolute().name}/{name}")  # or it is one student's folder
            own = where.name if where else path.name
            found.append(_file(path, own, where))
    return found


def _file(path: Path, name: str, where: Place | None) -> _File:
    when = path.stat().st_mtime if is_plain(path) else 0
    return _File(path, "", name, (when,), where, _unreadable(path))


def _unreadable(path: Path) -> Text:
    """Nothing where there is nothing or a folder, too: of these the grader says what they are."""
    if is_plain(path) or os.path.isdir(path) or not os.path.lexists(path):  # noqa: PTH112
        return NOTHING
    return Text("It is no plain file, or a link to none.", "不是一般檔案，或為失效的連結。")


def _in_moodles_zip(path: Path) -> list[_File]:
    """Its files; none if it is no zip of Moodle's but a hand-in, or nothing."""
    if path.suffix.lower() != ".zip" or not is_plain(path) or id_in(path.name, ("archive",)):
        return []
    found = []
    try:
        with _opened_zip(path) as archive:
            for info in archive.infolist()[: MAX_FILES + 1]:
                name = member_name(info)
                if name.endswith("/") or LITTER.search(name):
                    continue
                if (where := place(name)) is None:
                    return []
                trouble = _trouble(info, name, where)
                found.append(_File(path, name, where.name, info.date_time, where, trouble))
    except Exception:  # zipfile raises what it likes: the grader says what is wrong with it
        return []
    return found if len(found) <= MAX_FILES else []


def _trouble(info: zipfile.ZipInfo, name: str, where: Place) -> Text:
    """Why a file is not taken out of Moodle's zip."""
    if name.startswith("/") or ".." in name.split("/"):
        return Text("Its path leaves the zip.", "路徑指向壓縮檔之外。")
    if info.flag_bits & 0x1:
        return Text("It is encrypted.", "已加密。")
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        return Text("It is a link or no plain file.", "是連結或非一般檔案。")
    if info.file_size > MAX_ZIP:
        return Text(
            f"It has {info.file_size >> 20} MB; at most {MAX_ZIP >> 20} are read.",
            f"大小為 {info.file_size >> 20} MB，最多讀取 {MAX_ZIP >> 20} MB。",
        )
    if len(where.name.encode("utf-8", "replace")) > MAX_NAME:
        return Text("Its name is too long.", "檔名過長。")
    return NOTHING


def _grouped(files: list[_File]) -> tuple[list[HandIn], list[Path]]:
    """A hand-in for each student of Moodle's, and for each zip elsewhere; the other files."""
    groups: dict[object, list[_File]] = {}  # in the order of their first files
    others = []
    for file in files:
        if file.place:
            groups.setdefault((file.place.student, file.place.number), []).append(file)
        elif file.is_archive:
            groups[file] = [file]
        else:
            others.append(file.path)
    handins = [_counts(group) if group[0].place else group[0].handin() for group in groups.values()]
    return handins, others


def _counts(group: list[_File]) -> HandIn:
    """What counts of the files that one student gave."""
    files = [one for one in group if one.place and one.place.kind == "file"]
    zips = [one for one in files if one.is_zip] or [one for one in files if one.is_archive]
    zips.sort(key=lambda one: (one.when, natural(one.name)))
    chosen = zips[-1] if zips else group[0]
    assert chosen.place
    found = chosen.handin(
        student=chosen.place.student,
        moodle=chosen.place.number,
        folder=chosen.place.folder if _is_text(chosen.place.folder) else "",
        earlier=tuple(one.handin().where for one in zips[:-1]),
    )
    if zips:
        return found
    names = ", ".join(one.name for one in group[:5])
    return replace(
        found, trouble=Text(f"No zip was handed in, only {names}.", f"沒有繳交 zip，只有 {names}。")
    )


def _is_text(name: str) -> bool:
    """Whether it was decoded: bytes of another encoding stay halves of surrogate pairs."""
    return not re.search(r"[\ud800-\udfff]", name)


def _with_keys(handins: Iterable[tuple[HandIn, str]]) -> Iterator[HandIn]:
    """Args: each with its path below what was given."""
    taken: set[str] = set()
    for one, inner in handins:
        stem = key = _key(one, inner)
        number = 1
        while key.casefold() in taken:
            number += 1
            key = f"{stem}-{number}"
        taken.add(key.casefold())
        yield replace(one, key=key)


def _key(one: HandIn, inner: str) -> str:
    """With a hash of where it lies, but for Moodle's and ``<key>.zip`` itself: no other file changes it."""
    if one.moodle:
        return _safe(one.student, f"_{one.moodle}")
    key = _safe(Path(one.name).stem)
    if inner == f"{key}.zip":
        return key
    return f"{key}-{hashlib.sha256(os.fsencode(inner)).hexdigest()[:8]}"


def _safe(stem: str, end: str = "") -> str:
    """A file name, ``end`` whole."""
    stem = portable(printable(unicodedata.normalize("NFC", stem))).replace("\\", "_")
    cut = stem.encode()[: MAX_KEY - len(end)].decode("utf-8", "ignore")
    return f"{cut}{end}".strip(" .") or "hand-in"


class _Bounded(BufferedReader):
    """A file of which nothing large is read at once, which a zip's list of files may be."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MAX_DIRECTORY:
            raise zipfile.BadZipFile(f"its list of files has {size} bytes")
        return super().read(size)


@contextmanager
def _opened_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    with _Bounded(FileIO(path)) as file, zipfile.ZipFile(file) as archive:
        yield archive


@contextmanager
def opened(handin: HandIn) -> Iterator[Path]:
    """The zip as a file under the name that its student gave it, which the grader looks at, too.

    Raises:
        SubmissionError: it cannot be taken out of Moodle's zip.
    """
    if not handin.member and handin.name == handin.path.name:
        yield handin.path
        return
    with temporary_folder() as folder:
        copy = folder / portable(handin.name)
        if handin.member:
            try:
                with _opened_zip(handin.path) as archive:
                    infos = archive.infolist()
                    info = next(one for one in infos if member_name(one) == handin.member)
                    with archive.open(info) as source:
                        _copy(source, copy)
            except Exception as error:  # a decompressor may raise anything on what is damaged
                raise SubmissionError(
                    f"It cannot be taken out of {handin.path.name}: {error}. Download that again.",
                    zh=f"無法從 {handin.path.name} 取出：{error}。請重新下載。",
                ) from error
        else:
            shutil.copyfile(handin.path, copy)
        yield copy


_digests: dict[tuple[object, ...], str] = {}  # of what lay there then


def digest(handin: HandIn, path: Path | None = None) -> str:
    """SHA-256 of the zip, in hexadecimal; it is read once, as long as its file stays the same.

    Args:
        path: what ``opened`` gave, where it is open.

    Raises:
        SubmissionError, OSError: it cannot be read.
    """
    known = (*state_of(handin.path), handin.member)
    if known not in _digests:
        with contextlib.nullcontext(path) if path else opened(handin) as there:
            _digests[known] = sha256(there)
    return _digests[known]


def _copy(source: IO[bytes], target: Path) -> None:
    """The size that it declares is not believed."""
    left = MAX_ZIP
    with target.open("xb") as file:
        while data := source.read(1 << 20):
            left -= len(data)
            if left < 0:
                raise zipfile.BadZipFile("larger than it says")
            file.write(data)
