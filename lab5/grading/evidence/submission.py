"""Open a hand-in's zip safely: nothing is written outside the folder given, nothing grows without end.

What reads as an archive is read: a tar archive under the name of a zip, and a zip in the zip. Whatever is
wrong with one of its files is said of that file, and costs no other.
"""

from __future__ import annotations

import contextlib
import copy
import io
import re
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

from lab5.assignment import STUDENT_ID, FileNames, file_name, id_in
from lab5.errors import SubmissionError
from lab5.files import LITTER
from lab5.text import Text

MAX_MEMBERS: Final = 200
MAX_MEMBER: Final = 256 << 20  # bytes; the FP32 file has 45 MB
MAX_TOTAL: Final = 512 << 20  # bytes
_CHUNK: Final = 1 << 20
_DEFLATE64: Final = 9  # zipfile does not know it; 7-Zip writes it, and Windows above 2 GB

_BAD_CHARACTER: Final = re.compile(r'[\x00-\x1f\x7f<>:"|?*\ud800-\udfff]')
_RESERVED: Final = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)

# What else is handed in under the name of a zip: how it begins -> what it is
_FORMATS: Final = {
    b"Rar!\x1a\x07": Text("a RAR archive", "RAR 壓縮檔"),
    b"7z\xbc\xaf\x27\x1c": Text("a 7z archive", "7z 壓縮檔"),
    b"%PDF": Text("a PDF", "PDF 檔"),
    b"<": Text("a web page", "網頁"),
    b"version https://git-lfs": Text("a Git LFS pointer, not the file itself", "Git LFS 指標，不是檔案本身"),
}  # fmt: skip
_TAR: Final = Text("a tar archive", "tar 壓縮檔")

ROLES: Final = ("notebook", "fp32", "int8", "report")


@dataclass(frozen=True)
class Member:
    """A file of the zip: its name there, where it was put (None: it was not), and what is wrong with it."""

    name: str
    path: Path | None
    trouble: Text | None = None


@dataclass
class Submission:
    """A zip that was opened: the files, and which of them plays which role.

    A file whose name is a little off still plays its role; the checks of the layout say what is off.
    """

    archive: str
    members: list[Member] = field(default_factory=list)
    fault: Text | None = None  # why the whole zip cannot be read
    other_format: Text | None = None  # what it is in place of a zip, read all the same

    @property
    def files(self) -> dict[str, Path]:
        return {m.name: m.path for m in self.members if m.path is not None}

    @property
    def named_id(self) -> str | None:
        """The student id in the zip's own name."""
        return id_in(self.archive, ("archive",))

    @property
    def student_id(self) -> str | None:
        """The id in the zip's name, else the one that most of its files carry."""
        if self.named_id:
            return self.named_id
        loose = re.match(r"([A-Za-z]\w?\d{6,})", self.archive, re.ASCII)
        ids = (i for name in self.files if (i := member_id(name)) is not None)
        found = Counter(i for i in ids if STUDENT_ID.fullmatch(i))
        if found:
            return max(found, key=lambda i: (found[i], i))
        return loose[1] if loose and STUDENT_ID.fullmatch(loose[1]) else None

    @property
    def names(self) -> FileNames | None:
        return FileNames(self.student_id) if self.student_id else None

    def role(self, role: str) -> str | None:
        """The name of the member that is the ``notebook``, ``fp32``, ``int8`` or ``report``."""
        return self._role(role, list(self.files))

    def unread(self, role: str) -> Member | None:
        """The member that would play a role that no file plays, if it could be read."""
        lost = {m.name: m for m in self.members if m.path is None}
        name = self._role(role, list(lost)) if self.role(role) is None else None
        return lost[name] if name else None

    def _role(self, role: str, files: list[str]) -> str | None:
        if self.names and (exact := getattr(self.names, role)) in files:
            return str(exact)
        others = {getattr(self.names, other) for other in ROLES} if self.names else set()
        fits = [name for name in files if name not in others and _fits(name, role)]
        return min(fits, key=lambda name: (name.count("/"), name), default=None)

    def path(self, role: str) -> Path | None:
        name = self.role(role)
        return self.files[name] if name else None


def member_id(name: str) -> str | None:
    """The student id in a member's name."""
    stem = PurePosixPath(name).name
    if stem.lower().endswith(".data"):  # FP32's weights
        return id_in(stem[: -len(".data")], ("fp32",), strict=False)
    return id_in(stem, ROLES, strict=False)


def _fits(name: str, role: str) -> bool:
    base = PurePosixPath(name).name.lower()
    if role == "notebook":
        return base.endswith(".ipynb")
    if role == "report":
        return base.endswith(".pdf")
    return base.endswith(".onnx") and ("int8" in base) == (role == "int8")


def open_submission(archive: Path, folder: Path) -> Submission:
    """Unpack ``archive`` into the empty ``folder``.

    Links, paths that leave the folder, encrypted, damaged and oversized members are left out, each with
    a reason; a zip that cannot be read at all has a ``fault``.

    Raises:
        SubmissionError: there is no such file.
    """
    if not archive.is_file():
        raise SubmissionError(
            f"There is no file {archive}. Give the path of a {file_name('archive', '<student id>')}.",
            zh=f"找不到 {archive}。請指定「{file_name('archive', student_id='學號')}」的路徑。",
        )
    submission = Submission(archive.name)
    unpacking = _Unpacking(submission, folder)
    try:
        if not zipfile.is_zipfile(archive) and _is_tar(archive):
            submission.other_format = _TAR
            with tarfile.open(archive) as tar:
                unpacking.add(_tar_entries(tar))
        else:
            with zipfile.ZipFile(archive) as opened:
                unpacking.add(_zip_entries(opened))
        unpacking.add_zips_inside()
    except _TooMuch as error:
        submission.members.clear()
        submission.fault = error.text
    except Exception as error:  # zipfile and tarfile raise what they like on what is damaged
        submission.members.clear()
        submission.fault = _unreadable(archive, error)
    return submission


class _TooMuch(Exception):
    """An archive has too many files."""

    def __init__(self, count: int) -> None:
        self.text = Text(
            f"It has {count} files, at most {MAX_MEMBERS} are read.",
            f"含有 {count} 個檔案，最多讀取 {MAX_MEMBERS} 個。",
        )
        super().__init__(self.text.en)


def _is_tar(path: Path) -> bool:
    with contextlib.suppress(Exception):  # tarfile raises what its decompressors raise
        return tarfile.is_tarfile(path)
    return False


def _unreadable(path: Path, error: Exception) -> Text:
    """What a file that is no zip is, by its first bytes."""
    with path.open("rb") as file:
        start = file.read(64)
    for magic, what in _FORMATS.items():
        if start.lstrip().startswith(magic):
            return Text(
                f"It is {what.en}: unpack it, and pack its files as a zip.",
                f"這是 {what.zh}：請解開後重新壓縮成 zip。",
            )
    if not start:
        return Text("It is an empty file: upload it again.", "檔案是空的：請重新上傳。")
    if start.startswith(b"PK\3\4"):
        return Text(
            f"It begins as a zip but is damaged or cut off ({error}): upload it again.",
            f"開頭是 zip，但已損壞或不完整（{error}）：請重新上傳。",
        )
    return Text(f"It is no readable zip: {error}", f"不是可讀取的 zip：{error}")


@dataclass(frozen=True)
class _Entry:
    """A file of an archive, not yet read. ``size`` in bytes is what the archive declares."""

    name: str
    size: int
    refused: Text | None
    open: Callable[[], IO[bytes]]


def _zip_entries(archive: zipfile.ZipFile) -> list[_Entry]:
    found = []
    for info in archive.infolist():
        name = member_name(info)
        if name.endswith("/"):
            continue
        kind = stat.S_IFMT(info.external_attr >> 16)
        refused = None
        if info.flag_bits & 0x1:
            refused = Text("it is encrypted", "已加密")
        elif kind not in (0, stat.S_IFREG):
            refused = _NOT_PLAIN
        opened: Any = _deflate64 if info.compress_type == _DEFLATE64 else zipfile.ZipFile.open
        found.append(_Entry(name, info.file_size, refused, partial(opened, archive, info)))
    return found


_NOT_PLAIN: Final = Text("it is a link or no plain file", "是連結或非一般檔案")


def _tar_entries(archive: tarfile.TarFile) -> Iterator[_Entry]:
    """One by one: what lies before a file must be decompressed to reach it."""
    left = MAX_TOTAL
    for info in archive:
        left -= info.size
        if left < 0:
            raise tarfile.ReadError(f"more than {MAX_TOTAL >> 20} MB")
        if not info.isdir():
            refused = None if info.isfile() else _NOT_PLAIN
            name = unicodedata.normalize("NFC", info.name).removeprefix("./")
            opened: Any = partial(archive.extractfile, info)
            yield _Entry(name, info.size, refused, opened)


class _Deflated64(io.RawIOBase):
    """What a Deflate64 member holds; ``raw`` is what is stored of it."""

    def __init__(self, raw: IO[bytes], checksum: int) -> None:
        try:
            from inflate64 import Inflater
        except ImportError as error:
            raise NotImplementedError("Deflate64 needs the package inflate64") from error
        self._raw, self._inflater = raw, Inflater()
        self._checksum, self._wanted = 0, checksum

    def read(self, size: int = -1) -> bytes:
        """The next piece, of any size; empty at the end."""
        data = b""
        while not data and (piece := self._raw.read(1 << 16)):
            data = self._inflater.inflate(piece)
        self._checksum = zlib.crc32(data, self._checksum)
        if not data and self._checksum != self._wanted:
            raise zipfile.BadZipFile("Bad CRC-32")
        return data


def _deflate64(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Any:
    stored: Any = copy.copy(info)  # read as if it were not compressed
    stored.compress_type, stored.file_size, stored.CRC = (
        zipfile.ZIP_STORED,
        info.compress_size,
        None,
    )
    return _Deflated64(archive.open(stored), info.CRC)


def member_name(info: zipfile.ZipInfo) -> str:
    """The member's name; zip tools on Chinese Windows write Big5 without saying so, PowerShell backslashes."""
    name = info.filename
    if not info.flag_bits & 0x800:
        for encoding in ("utf-8", "big5"):
            try:
                name = info.filename.encode("cp437").decode(encoding)
                break
            except UnicodeError:
                continue
    return unicodedata.normalize("NFC", name).replace("\\", "/")


class _Unpacking:
    """Puts files into a folder, with one account of names and sizes for all archives of a hand-in."""

    def __init__(self, submission: Submission, folder: Path) -> None:
        self.submission, self.folder = submission, folder
        self.left = MAX_TOTAL
        self.files: set[str] = set()  # their names, in one case
        self.folders: set[str] = set()

    def add(self, entries: Iterator[_Entry] | list[_Entry], inside: str = "") -> None:
        """Unpack the files of an archive; ``inside`` is the name of the member that it is.

        Raises:
            _TooMuch: it has too many files.
        """
        if isinstance(entries, list) and len(entries) > MAX_MEMBERS:
            raise _TooMuch(len(entries))
        for count, entry in enumerate(entries, 1):
            if count > MAX_MEMBERS:
                raise _TooMuch(count)
            if not LITTER.search(entry.name):
                self.submission.members.append(self._member(entry, inside))

    def add_zips_inside(self) -> None:
        """Unpack the zips in the zip where they may hold what is missing."""
        for member in list(self.submission.members):
            complete = all(self.submission.role(role) for role in ROLES)
            if complete or member.path is None or not member.name.lower().endswith(".zip"):
                continue
            packed = member.path.replace(self.folder.with_name("inside.zip"))
            self.submission.members.remove(member)  # its name becomes that of a folder
            try:
                with zipfile.ZipFile(packed) as opened:
                    self.files.discard(member.name.casefold())
                    self.add(_zip_entries(opened), f"{member.name}/")
            except Exception as error:  # as in open_submission
                trouble = Text(f"no readable zip: {error}", f"不是可讀取的 zip：{error}")
                self.submission.members.append(Member(member.name, None, trouble))
            packed.unlink()

    def _member(self, entry: _Entry, inside: str) -> Member:
        trouble = entry.refused or self._refusal(entry, inside)
        if trouble:
            return Member(inside + entry.name, None, trouble)
        name = inside + "/".join(map(portable, PurePosixPath(entry.name).parts))
        if name != inside + entry.name:
            trouble = Text("its name is no portable file name", "檔名含有不可攜的字元")
        self.files.add(name.casefold())
        self.folders |= {str(parent).casefold() for parent in PurePosixPath(name).parents}
        path = self.folder.joinpath(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._copy(entry, path)
        except NotImplementedError as error:
            path.unlink(missing_ok=True)
            return Member(
                name,
                None,
                Text(
                    f"it is compressed in a way that is not read here ({error}): zip it again",
                    f"壓縮方式無法讀取（{error}）：請重新壓縮",
                ),
            )
        except Exception as error:  # a decompressor may raise anything on what is damaged
            path.unlink(missing_ok=True)
            return Member(name, None, Text(f"damaged: {error}", f"已損壞：{error}"))
        return Member(name, path, trouble)

    def _refusal(self, entry: _Entry, inside: str) -> Text | None:
        name = entry.name
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:/", name):
            return Text("its path leaves the zip", "路徑指向壓縮檔之外")
        if len(name.encode("utf-8", "replace")) > 200:
            return Text("its name is too long", "檔名過長")
        known = (inside + "/".join(map(portable, parts))).casefold()
        above = {str(parent) for parent in PurePosixPath(known).parents}
        if known in self.files:
            return Text("its name is there twice", "檔名重複")
        if known in self.folders or above & self.files:
            return Text("a file and a folder have this name", "檔案與資料夾同名")
        if entry.size > min(MAX_MEMBER, self.left):
            return Text(f"it is too large ({entry.size} bytes)", f"檔案過大（{entry.size} 位元組）")
        return None

    def _copy(self, entry: _Entry, path: Path) -> None:
        """The size that it declares is not believed."""
        size = 0
        with entry.open() as source, path.open("xb") as target:
            while chunk := source.read(_CHUNK):
                size += len(chunk)
                if size > min(MAX_MEMBER, self.left):
                    raise zipfile.BadZipFile("larger than it says")
                target.write(chunk)
        self.left -= size


def portable(part: str) -> str:
    """A name that every system can write."""
    part = _BAD_CHARACTER.sub("_", part)
    return f"_{part}" if _RESERVED.match(part) else part
