"""Open a hand-in's zip safely: nothing is written outside the folder given, nothing grows without end."""

from __future__ import annotations

import re
import stat
import unicodedata
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

from lab5.assignment import STUDENT_ID, FileNames
from lab5.errors import SubmissionError

MAX_MEMBERS: Final = 200
MAX_MEMBER: Final = 256 << 20  # bytes; the FP32 file has 45 MB
MAX_TOTAL: Final = 512 << 20  # bytes
_CHUNK: Final = 1 << 20

# What operating systems and editors put into a zip by themselves: neither wanted nor a fault.
_LITTER: Final = re.compile(
    r"(^|/)(__MACOSX/|\.DS_Store$|\._|Thumbs\.db$|desktop\.ini$|\.ipynb_checkpoints/)",
    re.IGNORECASE,
)
_BAD_CHARACTER: Final = re.compile(r'[\x00-\x1f<>:"|?*\\]')
_RESERVED: Final = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)

ROLES: Final = ("notebook", "fp32", "int8", "report")


@dataclass(frozen=True)
class Member:
    """A file of the zip: its name there, and where it was put, or why it was not."""

    name: str
    path: Path | None
    refused: tuple[str, str] | None = None  # en, zh-TW


@dataclass
class Submission:
    """A zip that was opened: the files, and which of them plays which role.

    A file whose name is a little off still plays its role; the checks of the layout say what is off.
    """

    archive: str
    members: list[Member] = field(default_factory=list)
    fault: tuple[str, str] | None = None  # why the whole zip cannot be read

    @property
    def files(self) -> dict[str, Path]:
        return {m.name: m.path for m in self.members if m.path is not None}

    @property
    def named_id(self) -> str | None:
        """The student id in the zip's own name."""
        match = re.fullmatch(r"(.+)_lab5\.zip", self.archive)
        return match[1] if match and STUDENT_ID.fullmatch(match[1]) else None

    @property
    def student_id(self) -> str | None:
        """The id in the zip's name, else the one that most of its files carry."""
        if self.named_id:
            return self.named_id
        loose = re.match(r"([A-Za-z]\w?\d{6,})", self.archive, re.ASCII)
        found = Counter(i for name in self.files if (i := member_id(name)) is not None)
        if found:
            return max(found, key=lambda i: (found[i], i))
        return loose[1] if loose else None

    @property
    def names(self) -> FileNames | None:
        return FileNames(self.student_id) if self.student_id else None

    def role(self, role: str) -> str | None:
        """The name of the member that is the ``notebook``, ``fp32``, ``int8`` or ``report``."""
        files = sorted(self.files, key=lambda name: (name.count("/"), name))
        if self.names and (exact := getattr(self.names, role)) in files:
            return str(exact)
        others = {getattr(self.names, other) for other in ROLES} if self.names else set()
        fits = [name for name in files if name not in others and _fits(name, role)]
        return fits[0] if fits else None

    def path(self, role: str) -> Path | None:
        name = self.role(role)
        return self.files[name] if name else None


def member_id(name: str) -> str | None:
    """The student id that a member's name begins with."""
    stem = PurePosixPath(name).name
    match = re.fullmatch(
        r"([A-Za-z0-9]{2,32})(\.ipynb|_FP32\.onnx(\.data)?|_INT8\.onnx|_report\.pdf)",
        stem,
        re.ASCII | re.IGNORECASE,
    )
    return match[1] if match else None


def _fits(name: str, role: str) -> bool:
    base = PurePosixPath(name).name.lower()
    if role == "notebook":
        return base.endswith(".ipynb")
    if role == "report":
        return base.endswith(".pdf")
    return base.endswith(".onnx") and ("int8" in base) == (role == "int8")


def open_submission(archive: Path, folder: Path) -> Submission:
    """Unpack ``archive`` into the empty ``folder``.

    Links, paths that leave the folder, encrypted and oversized members are refused, each with a reason;
    a zip that cannot be read at all has a ``fault``.

    Raises:
        SubmissionError: there is no such file.
    """
    if not archive.is_file():
        raise SubmissionError(
            f"There is no file {archive}. Give the path of a <student id>_lab5.zip.",
            zh=f"找不到 {archive}。請指定「學號_lab5.zip」的路徑。",
        )
    submission = Submission(archive.name)
    try:
        with zipfile.ZipFile(archive) as opened:
            _unpack(opened, folder, submission)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OverflowError, EOFError) as error:
        submission.fault = (f"It is no readable zip: {error}", f"不是可讀取的 zip：{error}")
    return submission


def _unpack(opened: zipfile.ZipFile, folder: Path, submission: Submission) -> None:
    infos = [info for info in opened.infolist() if not info.is_dir()]
    if len(infos) > MAX_MEMBERS:
        submission.fault = (
            f"It has {len(infos)} files, at most {MAX_MEMBERS} are read",
            f"含有 {len(infos)} 個檔案，最多讀取 {MAX_MEMBERS} 個",
        )
        return
    left = MAX_TOTAL
    seen: set[str] = set()
    for info in infos:
        name = _name(info)
        if _LITTER.search(name):
            continue
        refused = _refusal(info, name, seen, left)
        seen.add(name.casefold())
        path = None
        if refused is None:
            path = folder.joinpath(*PurePosixPath(name).parts)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                left -= _copy(opened, info, path, left)
            except (
                zipfile.BadZipFile,
                zlib.error,
                EOFError,
                NotImplementedError,
                OSError,
            ) as error:
                path.unlink(missing_ok=True)
                path = None
                refused = (f"damaged: {error}", f"已損壞：{error}")
        submission.members.append(Member(name, path, refused))


def _name(info: zipfile.ZipInfo) -> str:
    """The member's name; zip tools on Chinese Windows write Big5 without saying so."""
    name = info.filename
    if not info.flag_bits & 0x800:
        for encoding in ("utf-8", "big5"):
            try:
                name = info.filename.encode("cp437").decode(encoding)
                break
            except UnicodeError:
                continue
    return unicodedata.normalize("NFC", name)


def _refusal(info: zipfile.ZipInfo, name: str, seen: set[str], left: int) -> tuple[str, str] | None:
    parts = PurePosixPath(name).parts
    kind = stat.S_IFMT(info.external_attr >> 16)
    if info.flag_bits & 0x1:
        return "it is encrypted", "已加密"
    if kind not in (0, stat.S_IFREG):
        return "it is a link or no plain file", "是連結或非一般檔案"
    if not parts or PurePosixPath(name).is_absolute() or ".." in parts:
        return "its path leaves the zip", "路徑指向壓縮檔之外"
    if _BAD_CHARACTER.search(name) or len(name.encode()) > 200 or any(map(_RESERVED.match, parts)):
        return "its name is no portable file name", "檔名含有不可攜的字元"
    if name.casefold() in seen:
        return "its name is there twice", "檔名重複"
    if info.file_size > min(MAX_MEMBER, left):
        return f"it is too large ({info.file_size} bytes)", f"檔案過大（{info.file_size} 位元組）"
    return None


def _copy(opened: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, left: int) -> int:
    """Copy a member; the size it declares is not believed."""
    size = 0
    with opened.open(info) as source, path.open("xb") as target:
        while chunk := source.read(_CHUNK):
            size += len(chunk)
            if size > min(MAX_MEMBER, left):
                raise zipfile.BadZipFile("larger than it says")
            target.write(chunk)
    return size
