"""Hostile and odd zips: nothing outside the folder, nothing unbounded, a reason for all that is refused."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab5 import submission
from lab5.errors import SubmissionError
from lab5.submission import open_submission


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
        "con.txt",
        "a\n",
    ],
)
def test_paths_that_leave_or_are_not_portable_are_refused(unpacked, name):
    found = unpacked([(name, "x"), *GOOD])
    assert found.members[0].path is None
    assert all(found.members[0].refused)
    assert found.role("report") == "N26140692_report.pdf"


def test_links_are_refused(unpacked):
    link = zipfile.ZipInfo("N26140692.ipynb")
    link.create_system = 3
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    found = unpacked([(link, "/etc/passwd")])
    assert found.files == {}
    assert "link" in found.members[0].refused[0]


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


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_survived(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("any")
    path = Path(folder, "x.zip")
    path.write_bytes(data)
    (folder / "files").mkdir()
    open_submission(path, folder / "files")
