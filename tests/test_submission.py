"""Hostile and odd zips: nothing outside the folder, nothing unbounded, a reason for all that is refused."""

from __future__ import annotations

import io
import random
import stat
import sys
import tarfile
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab5.errors import SubmissionError
from lab5.grading.evidence import submission
from lab5.grading.evidence.submission import open_submission
from tests.mutants.archive import zipped
from tests.mutants.harmless_files import deflate64


@pytest.fixture
def unpacked(tmp_path):
    """Write a zip of these members and open it; nothing may appear outside the folder."""

    def run(members, name="N26140692_lab5.zip"):
        path = tmp_path / name
        with zipfile.ZipFile(path, "w") as archive:
            for member, content in members:
                archive.writestr(member, content)
        folder = tmp_path / "inner" / "files"
        folder.mkdir(parents=True)
        found = open_submission(path, folder)
        assert {p.name for p in tmp_path.iterdir()} == {name, "inner"}
        assert [p.name for p in (tmp_path / "inner").iterdir()] == ["files"]
        return found

    return run


GOOD = [
    ("N26140692.ipynb", "{}"),
    ("N26140692_FP32.onnx", "a"),
    ("N26140692_INT8.onnx", "b"),
    ("N26140692_report.pdf", "c"),
]


def test_roles_of_a_good_zip(unpacked):
    found = unpacked(GOOD)
    assert found.student_id == "N26140692"
    assert [found.role(role) for role in submission.ROLES] == [name for name, _ in GOOD]
    assert found.path("int8").read_text() == "b"


@pytest.mark.parametrize(
    "name",
    [
        "../out.txt",
        "/etc/out.txt",
        "a/../../out.txt",
        "C:\\out.txt",
        "..\\out.txt",
        "\\\\server\\out.txt",
    ],
)
def test_paths_that_leave_are_refused(unpacked, name):
    found = unpacked([(name, "x"), *GOOD])
    assert found.members[0].path is None
    assert all(vars(found.members[0].trouble).values())
    assert found.role("report") == "N26140692_report.pdf"


@pytest.mark.parametrize(
    ("name", "expected"), [("con.txt", "_con.txt"), ("a\n", "a_"), ("1: a?/b.pdf", "1_ a_/b.pdf")]
)
def test_names_that_are_not_portable_are_read_under_another(unpacked, name, expected):
    found = unpacked([(name, "x")])
    assert list(found.files) == [expected]
    assert all(vars(found.members[0].trouble).values())
    assert found.files[expected].read_text() == "x"


def test_links_are_refused(unpacked):
    link = zipfile.ZipInfo("N26140692.ipynb")
    link.create_system = 3
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    found = unpacked([(link, "/etc/passwd")])
    assert found.files == {}
    assert "link" in found.members[0].trouble.en


def test_the_same_name_twice_is_refused_in_any_case(unpacked):
    found = unpacked([("A.pdf", "1"), ("a.PDF", "2")])
    assert list(found.files) == ["A.pdf"]


def test_a_bomb_is_not_unpacked(unpacked, monkeypatch):
    monkeypatch.setattr(submission, "MAX_MEMBER", 1000)
    found = unpacked([("N26140692.ipynb", "0" * 1001), ("N26140692_report.pdf", "1")])
    assert list(found.files) == ["N26140692_report.pdf"]


def test_the_total_is_bounded(unpacked, monkeypatch):
    monkeypatch.setattr(submission, "MAX_TOTAL", 1500)
    found = unpacked([(f"{i}.bin", "0" * 1000) for i in range(3)])
    assert len(found.files) == 1


def test_too_many_members(unpacked):
    found = unpacked([(f"{i}", "") for i in range(submission.MAX_MEMBERS + 1)])
    assert found.fault
    assert not found.files


def test_a_damaged_member_costs_only_itself(tmp_path):
    path = tmp_path / "N26140692_lab5.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in GOOD:
            archive.writestr(name, content * 100)
    data = bytearray(path.read_bytes())
    data[data.index(b"b" * 100)] ^= 1
    path.write_bytes(data)
    folder = tmp_path / "files"
    folder.mkdir()
    found = open_submission(path, folder)
    assert found.role("int8") is None
    assert found.role("fp32") == "N26140692_FP32.onnx"


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04", b"no zip at all", b"PK\x05\x06" + bytes(18)]
)
def test_what_is_no_zip(tmp_path, content):
    path = tmp_path / "N26140692_lab5.zip"
    path.write_bytes(content)
    found = open_submission(path, tmp_path / "files")
    assert found.fault or not found.members


def test_no_file(tmp_path):
    with pytest.raises(SubmissionError):
        open_submission(tmp_path / "none.zip", tmp_path)


def test_big5_names_from_chinese_windows(tmp_path):
    path = tmp_path / "N26140692_lab5.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("XXXX.pdf", "x")
    path.write_bytes(path.read_bytes().replace(b"XXXX", "報告".encode("big5")))
    (tmp_path / "files").mkdir()
    assert list(open_submission(path, tmp_path / "files").files) == ["報告.pdf"]


def test_litter_of_operating_systems_is_ignored(unpacked):
    found = unpacked([*GOOD, ("__MACOSX/._N26140692.ipynb", "x"), (".DS_Store", "x")])
    assert list(found.files) == [name for name, _ in GOOD]


@pytest.mark.parametrize(
    ("names", "role", "expected"),
    [
        (["a/N26140692.ipynb"], "notebook", "a/N26140692.ipynb"),
        (["n26140692_fp32.onnx", "n26140692_int8.onnx"], "fp32", "n26140692_fp32.onnx"),
        (["image_classifier_model_int8.onnx"], "int8", "image_classifier_model_int8.onnx"),
        (["image_classifier_model_int8.onnx"], "fp32", None),
        (["report.pdf"], "report", "report.pdf"),
        (["final.ipynb", "N26140692.ipynb"], "notebook", "N26140692.ipynb"),
    ],
)
def test_a_file_with_another_name_is_found_all_the_same(unpacked, names, role, expected):
    assert unpacked([(name, "x") for name in names]).role(role) == expected


@pytest.mark.parametrize(
    ("archive", "expected"),
    [
        ("N26140692_lab5.zip", "N26140692"),
        ("P76141234_lab5.zip", "P76141234"),
        ("lab5.zip", "N26140692"),
        ("N26140692_Lab5.zip", "N26140692"),
    ],
)
def test_the_student_id(unpacked, archive, expected):
    assert unpacked(GOOD, archive).student_id == expected


# Other archives


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"Rar!\x1a\x07\x01\x00" + bytes(50), "RAR"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(50), "7z"),
        (b"%PDF-1.7", "PDF"),
        (b"\n<!DOCTYPE html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
        (b"PK\3\4" + bytes(50), "cut off"),
        (b"", "empty"),
    ],
)
def test_what_is_no_zip_is_named(tmp_path, content, words):
    path = tmp_path / "N26140692_lab5.zip"
    path.write_bytes(content)
    (tmp_path / "files").mkdir()
    fault = open_submission(path, tmp_path / "files").fault
    assert words in fault.en
    assert fault.zh


def opened(folder, content, name="N26140692_lab5.zip"):
    path = folder / name
    path.write_bytes(content)
    (folder / "files").mkdir()
    return open_submission(path, folder / "files")


@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000])
def test_deflate64(tmp_path, size):
    data = random.Random(size).randbytes(size // 2) + bytes(size - size // 2)
    found = opened(tmp_path, deflate64({"N26140692_report.pdf": data}))
    assert found.path("report").read_bytes() == data


def test_damaged_deflate64_is_not_believed(tmp_path):
    data = bytearray(deflate64({"N26140692_report.pdf": b"x" * 100, "a.txt": b"y"}))
    at = data.index(b"PK\1\2") + 16  # the checksum
    data[at] ^= 1
    found = opened(tmp_path, bytes(data))
    assert list(found.files) == ["a.txt"]
    assert "CRC" in found.unread("report").trouble.en


def test_deflate64_without_its_package_is_said(tmp_path, monkeypatch):
    data = deflate64({"N26140692_report.pdf": b"x"})
    monkeypatch.setitem(sys.modules, "inflate64", None)
    found = opened(tmp_path, data)
    assert "inflate64" in found.members[0].trouble.en


def test_a_zip_in_the_zip_is_one_level_and_within_the_same_limits(tmp_path, monkeypatch):
    inner = zipped({name: text.encode() for name, text in GOOD})
    found = opened(tmp_path, zipped({"x.zip": zipped({"y.zip": inner, "a.txt": b"1"})}))
    assert sorted(found.files) == ["x.zip/a.txt", "x.zip/y.zip"]
    monkeypatch.setattr(submission, "MAX_MEMBER", 10_000)
    (tmp_path / "bomb").mkdir()
    found = opened(
        tmp_path / "bomb", zipped({"x.zip": zipped({"a.txt": b"1", "b.txt": bytes(20_000)})})
    )
    assert found.files == {}, "the inner zip is too large itself"


def test_a_zip_beside_the_files_is_left_alone(unpacked):
    found = unpacked([*GOOD, ("pictures.zip", zipped({"N26140692_report.pdf": b"other"}))])
    assert found.path("report").read_text() == "c"
    assert "pictures.zip" in found.files


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_tar_archives_are_read(tmp_path, mode):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=mode) as archive:
        for name, text in GOOD:
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        archive.addfile(tarfile.TarInfo("../out"), io.BytesIO())
    found = opened(tmp_path, data.getvalue())
    assert found.other_format
    assert list(found.files) == [name for name, _ in GOOD]
    assert [m.name for m in found.members if m.trouble] == ["link", "../out"]


NAMES = st.lists(
    st.lists(st.sampled_from(["a", "A", "b", "..", "con", "c:", "d\\e", "x" * 90, ""]), max_size=3)
    .map("/".join)
    .filter(bool),
    max_size=6,
    unique=True,
)


@given(NAMES)
def test_whatever_its_names_every_member_is_read_or_refused_with_a_reason(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("names")
    inside = {name: str(number).encode() for number, name in enumerate(names)}
    found = opened(folder, zipped(inside))
    assert found.fault is None
    for member in found.members:
        assert member.path or all(vars(member.trouble).values())
    for path in found.files.values():
        assert path.is_file()
        assert path.resolve().is_relative_to(folder / "files")
    assert {p.name for p in folder.iterdir()} == {"N26140692_lab5.zip", "files"}


@given(st.binary(max_size=300), st.integers(0, 3))
def test_any_bytes_are_a_fault_in_words_or_files_in_the_folder(tmp_path_factory, data, kind):
    folder = tmp_path_factory.mktemp("any")
    good = zipped({name: text.encode() for name, text in GOOD})
    content = [data, good[: len(data)], good[:40] + data + good[40:], data + good][kind]
    found = opened(folder, content, "x.zip")
    if found.fault:
        assert all(vars(found.fault).values())
        assert found.members == []
    for member in found.members:
        assert member.path or all(vars(member.trouble).values())
    if kind == 3:
        assert len(found.files) == len(GOOD), "what stands before a zip does not matter"
    outside = {p for p in folder.rglob("*") if p.is_file()} - {folder / "x.zip"}
    assert outside == set(found.files.values())
