"""Attacks by the zip itself, and by its name."""

from __future__ import annotations

import io
import struct
import tarfile
import warnings
import zipfile
import zlib
from pathlib import Path

from tests.handin import NOTEBOOK, REPORT, write_zip
from tests.hostile.core import Hostile, attack


def link(name: str, kind: int = 0o120777) -> zipfile.ZipInfo:
    """A member that is a link, or what ``kind`` says."""
    found = zipfile.ZipInfo(name)
    found.create_system, found.external_attr = 3, kind << 16
    return found


def bomb(size: int) -> tuple[bytes, int]:
    """So many zeros, deflated, and their checksum."""
    packer, checksum = zlib.compressobj(9, zlib.DEFLATED, -15), 0
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    for _ in range(size >> 20):
        checksum = zlib.crc32(bytes(1 << 20), checksum)
    return block * (size >> 20) + b"\1\0\0\xff\xff", checksum


def raw_zip(members: list[tuple[bytes, bytes, int, int, int]]) -> bytes:
    """A zip of (name, stored bytes, method, declared size, checksum), by the bytes."""
    found, directory = bytearray(), bytearray()
    for name, data, method, size, checksum in members:
        head = struct.pack(
            "<HHHHHIIIHH", 20, 0x800, method, 0, 0, checksum, len(data), size, len(name), 0
        )
        directory += (
            b"PK\1\2\x14\3"
            + head
            + struct.pack("<HHHII", 0, 0, 0, 0o100644 << 16, len(found))
            + name
        )
        found += b"PK\3\4" + head + name + data
    end = struct.pack("<HHHHIIH", 0, 0, len(members), len(members), len(directory), len(found), 0)
    return bytes(found + directory + b"PK\5\6" + end)


def add(h: Hostile, *members: tuple[zipfile.ZipInfo | str, bytes]) -> None:
    """Members beside the good ones."""

    def pack(path: Path, files: dict[str, bytes]) -> None:
        write_zip(path, files)
        with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of names that are there twice
            for name, content in members:  # the same bytes at any time
                info = name if isinstance(name, zipfile.ZipInfo) else zipfile.ZipInfo(name)
                archive.writestr(info, content)

    h.pack = pack


def whole(h: Hostile, data: bytes) -> None:
    """These bytes in place of the zip."""
    h.pack = lambda path, files: path.write_bytes(data)


@attack("report", quick=True, fails="zip-members-safe")
def zip_slip(h: Hostile) -> None:
    """Paths that leave the folder, absolute ones and those of Windows."""
    mark = h.world.mark
    names = [
        f"../../../../../../..{h.world.drop}/{mark}",
        f"{h.world.drop}/{mark}",
        f"..\\..\\{mark}",
        f"C:\\{mark}",
        f"/tmp/{mark}",
        f"a/../../../{mark}",
    ]
    add(h, *((name, b"x") for name in names))


@attack("report", fails="zip-members-safe")
def zip_link_to_the_key(h: Hostile) -> None:
    """A member that is a link."""
    add(h, (link("key"), str(h.world.home / ".ssh" / "id_rsa").encode()))


@attack("report", fails="zip-members-safe")
def zip_link_and_a_file_behind_it(h: Hostile) -> None:
    """A link to a folder, then a file in it."""
    add(h, (link("out"), str(h.world.drop).encode()), (f"out/{h.world.mark}", b"x"))


@attack("report", fails="zip-members-safe")
def zip_of_special_files(h: Hostile) -> None:
    """A FIFO, a device and a socket."""
    add(
        h,
        *(
            (link(name, kind), b"")
            for name, kind in (("f", 0o010644), ("d", 0o020644), ("s", 0o140644))
        ),
    )


@attack("report")
def zip_bomb(h: Hostile) -> None:
    """Two gigabytes of zeros."""
    data, checksum = bomb(2 << 30)
    whole(h, raw_zip([(REPORT.encode(), data, 8, 2 << 30, checksum)]))


@attack("report")
def zip_bomb_that_lies(h: Hostile) -> None:
    """The same, declared as ten bytes."""
    data, checksum = bomb(2 << 30)
    whole(h, raw_zip([(REPORT.encode(), data, 8, 10, checksum)]))


@attack("report")
def zip_of_overlapping_bombs(h: Hostile) -> None:
    """A hundred members that are the same bytes, 100 MB each."""
    data, checksum = bomb(100 << 20)
    one = raw_zip([(b"0000", data, 8, 100 << 20, checksum)])
    start = one.rindex(b"PK\1\2")
    end = one.rindex(b"PK\5\6")
    directory = b"".join(one[start:end].replace(b"0000", b"%04d" % i) for i in range(100))
    tail = struct.pack("<HHHHIIH", 0, 0, 100, 100, len(directory), start, 0)
    whole(h, one[:start] + directory + b"PK\5\6" + tail)


@attack("report")
def zip_in_a_zip_in_a_zip(h: Hostile) -> None:
    """Twenty deep, each larger."""
    data = b"x"
    for _ in range(20):
        inner = io.BytesIO()
        with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
            for number in range(10):
                archive.writestr(f"{number}.zip", data)
        data = inner.getvalue()
        if len(data) > 1 << 20:
            break
    h.files = {"more.zip": data}


@attack("report")
def zip_of_itself(h: Hostile) -> None:
    """A hundred zips in the zip, each a bomb."""
    data, checksum = bomb(64 << 20)
    inner = raw_zip([(b"a.bin", data, 8, 64 << 20, checksum)])
    h.files = {f"{i}.zip": inner for i in range(100)}


@attack("report")
def zip_of_a_hundred_thousand_members(h: Hostile) -> None:
    """Each empty."""
    whole(h, raw_zip([(b"%06d" % i, b"", 0, 0, 0) for i in range(60_000)]))


@attack("report")
def zip_that_counts_wrong(h: Hostile) -> None:
    """Its end says 65,535 members and another place."""
    data = bytearray(raw_zip([(REPORT.encode(), b"x", 0, 1, zlib.crc32(b"x"))]))
    data[-14:-2] = struct.pack("<HHII", 65535, 65535, 1 << 31, 1 << 31)[:12]
    whole(h, bytes(data))


@attack("report")
def zip_with_a_comment_of_another_zip(h: Hostile) -> None:
    """Two readers see two zips."""
    one = raw_zip([(REPORT.encode(), b"x", 0, 1, zlib.crc32(b"x"))])
    two = raw_zip([(NOTEBOOK.encode(), b"{}", 0, 2, zlib.crc32(b"{}"))])
    whole(h, one[:-2] + struct.pack("<H", len(two)) + two)


@attack("report")
def zip_with_a_password(h: Hostile) -> None:
    """That nobody has."""
    data = bytearray(raw_zip([(REPORT.encode(), bytes(40), 0, 28, 0)]))
    data[6] |= 1
    data[data.rindex(b"PK\1\2") + 8] |= 1
    whole(h, bytes(data))


@attack("report")
def zip_by_lzma_with_a_huge_dictionary(h: Hostile) -> None:
    """Four gigabytes that its reader is to allocate."""
    head = b"\x09\x14\x05\x00\x5d\xff\xff\xff\xff"
    whole(h, raw_zip([(REPORT.encode(), head + bytes(100), 14, 1 << 20, 0)]))


@attack("report")
def zip_names_with_escapes(h: Hostile) -> None:
    """Which are quoted on the terminal."""
    add(
        h,
        *(
            (name, b"x")
            for name in (
                "\x1b[8A\x1b[2K.txt",
                "\x1b]52;c;bHM=\x07.txt",
                "a\rb\x9b2J.txt",
                "\u202etxt.exe",
                "[red]100[/].txt",
                "a\nb.txt",
            )
        ),
    )


@attack("report")
def zip_names_of_surrogates(h: Hostile) -> None:
    """Bytes that are no UTF-8, though the flag says so."""
    whole(
        h,
        raw_zip(
            [
                (b"\xed\xa0\x80.ipynb", b"{}", 0, 2, zlib.crc32(b"{}")),
                (b"\xff\xfe.pdf", b"%PDF", 0, 4, zlib.crc32(b"%PDF")),
            ]
        ),
    )


@attack("report")
def zip_names_in_big5(h: Hostile) -> None:
    """As tools on Chinese Windows write them, some of them halves."""
    data = raw_zip(
        [
            ("報告".encode("big5") + b".pdf", b"%PDF", 0, 4, zlib.crc32(b"%PDF")),
            (b"\xb3.txt", b"", 0, 0, 0),
        ]
    )
    whole(h, data.replace(b"\x14\0\0\x08", b"\x14\0\0\0"))


@attack("report")
def zip_names_without_end(h: Hostile) -> None:
    """65,000 letters, and 10,000 folders."""
    add(h, ("x" * 65_000, b""), ("/".join("d" * 10_000), b""), ("a/" * 5000 + "b.pdf", b""))


@attack("report")
def zip_names_twice(h: Hostile) -> None:
    """The same report twice, and a folder of its name."""
    add(h, (REPORT.lower(), b"x"), (REPORT, b"y"), (f"{REPORT}/x", b"z"))


@attack("report")
def zip_that_is_a_tar(h: Hostile) -> None:
    """With paths and links that leave it."""

    def pack(path: Path, files: dict[str, bytes]) -> None:
        with tarfile.open(path, "w:gz") as archive:
            for name, kind, target in (
                (f"../../../../../..{h.world.drop}/{h.world.mark}", tarfile.REGTYPE, ""),
                ("key", tarfile.SYMTYPE, f"{h.world.home}/.ssh/id_rsa"),
                ("hard", tarfile.LNKTYPE, f"{h.world.home}/.ssh/id_rsa"),
                ("fifo", tarfile.FIFOTYPE, ""), ("device", tarfile.CHRTYPE, ""),
            ):  # fmt: skip
                info = tarfile.TarInfo(name)
                info.type, info.linkname, info.mode = kind, target, 0o6777
                archive.addfile(info, io.BytesIO())

    h.pack = pack


@attack("report")
def tar_of_a_sparse_file(h: Hostile) -> None:
    """A terabyte in a few bytes, as GNU's tar writes it."""

    def pack(path: Path, files: dict[str, bytes]) -> None:
        info = tarfile.TarInfo(REPORT)
        info.pax_headers = {
            "GNU.sparse.major": "1",
            "GNU.sparse.minor": "0",
            "GNU.sparse.name": REPORT,
            "GNU.sparse.realsize": str(1 << 40),
        }
        data = b"1\n0\n1\n".ljust(512, b"\0") + b"x"
        info.size = len(data)
        with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
            archive.addfile(info, io.BytesIO(data))

    h.pack = pack


@attack("report")
def tar_that_unpacks_to_gigabytes(h: Hostile) -> None:
    """Before the first file."""
    head = tarfile.TarInfo("zeros")
    head.size = 2 << 30
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = packer.compress(head.tobuf()) + packer.flush(zlib.Z_FULL_FLUSH)
    data = b"\x1f\x8b\x08\0\0\0\0\0\0\3" + start + bomb(2 << 30)[0] + bytes(8)
    whole(h, data)


@attack("report")
def archive_name_with_escapes(h: Hostile) -> None:
    """The file's own name moves the cursor, and is markup."""
    h.archive = "\x1b[8A[bold red]100[link=x]\x1b]52;c;bHM=\x07_lab5.zip"


@attack("report")
def archive_name_of_surrogates(h: Hostile) -> None:
    """Bytes that are no text, as in Big5."""
    h.archive = ("學號".encode("big5") + b"\xff_lab5.zip").decode("utf-8", "surrogateescape")


@attack("report")
def archive_name_of_another_student(h: Hostile) -> None:
    """And a line that looks like the table's."""
    h.archive = "Z99999999_lab5.zip\nTotal 100\n_lab5.zip"


@attack("report")
def archive_name_that_is_long(h: Hostile) -> None:
    """255 bytes."""
    h.archive = "A" * 246 + "_lab5.zip"
