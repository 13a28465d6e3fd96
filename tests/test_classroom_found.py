"""Which hand-ins a class has, from whatever Moodle gave."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lab5.classroom import found
from lab5.classroom.entry import HandIn
from lab5.classroom.found import find_handins, opened, place
from lab5.errors import SubmissionError
from tests import classroom, handin
from tests.classroom import LAYOUTS

KINDS = {"good": 3, "twice": 1, "late": 1, "no zip": 1}
GOOD = {handin.NOTEBOOK: b"{}"}


def read(handin: HandIn) -> tuple[str, bytes]:
    with opened(handin) as path:
        return path.name, path.read_bytes()


def moodle_zip(path: Path, *names: str, content: bytes = b"zip") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_all_layouts_give_the_same_hand_ins(layout, packed, tmp_path):
    students = classroom.students(KINDS)
    made = classroom.download(students, GOOD, tmp_path, layout)
    path = made.zip(tmp_path / "all.zip") if packed else made.folder(tmp_path / "all")
    handins = {one.moodle: one for one in find_handins([path]).handins}
    assert set(handins) == {str(one.number) for one in students}
    for one in students:
        known = handins[str(one.number)]
        assert known.student == one.name
        assert known.key.endswith(f"_{one.number}")
        assert known.folder.startswith(f"{one.name}_{one.number}_assignsubmission_file")
        assert known.folder.endswith("_") == (layout != "folders")
        if one.kind == "no zip":
            assert "report.pdf" in known.trouble.en
            continue
        name, content = read(known)
        assert name == f"{one.id}_lab5{' (1)' * (one.kind == 'twice')}.zip"
        assert content.startswith(b"PK")
        before = [path.name for path in known.earlier]
        assert len(before) == (one.kind == "twice")
        assert all(name.endswith(f"{one.id}_lab5.zip") for name in before)


def test_a_students_own_folder_and_blind_marking(tmp_path):
    folder = tmp_path / "參與者_77_assignsubmission_file"
    folder.mkdir()
    handin.write_zip(folder / "A1_lab5.zip", {})
    for path in (folder, tmp_path):
        (one,) = find_handins([path]).handins
        assert (one.student, one.moodle, one.name) == ("參與者", "77", "A1_lab5.zip")


def test_zips_folders_of_them_and_what_is_neither(tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    loose = handin.write_zip(tmp_path / "A1_lab5.zip", {})
    for name in ("in/A2_lab5.zip", "in/deep/A2_lab5.zip", "in/A3_lab5.rar", "in/._A2_lab5.zip"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "in" / "notes.txt").write_text("?")
    (tmp_path / "empty").mkdir()
    known = find_handins([loose, tmp_path / "in", tmp_path / "empty", tmp_path / "none.zip", loose])
    paths = [one.path.relative_to(tmp_path).as_posix() for one in known.handins]
    assert paths == [
        "A1_lab5.zip", "in/A2_lab5.zip", "in/A3_lab5.rar", "in/deep/A2_lab5.zip", "empty", "none.zip",
    ]  # fmt: skip
    assert known.others == (tmp_path / "in" / "notes.txt",)
    keys = [one.key for one in known.handins]
    assert len(set(keys)) == len(keys)
    assert keys[0] == "A1_lab5"
    assert keys == [one.key for one in find_handins([loose, tmp_path / "in", tmp_path / "empty", tmp_path / "none.zip"]).handins]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../A_1_assignsubmission_file/a.zip", "leaves"),
        ("/A_1_assignsubmission_file/a.zip", "leaves"),
        ("..\\A_1_assignsubmission_file\\a.zip", "leaves"),
        (f"A_1_assignsubmission_file/{'a' * 300}.zip", "too long"),
    ],
)
def test_a_name_that_no_file_may_have_is_no_hand_in(name, said, tmp_path):
    path = moodle_zip(tmp_path / "all.zip", name, "B_2_assignsubmission_file/b.zip")
    one, other = find_handins([path]).handins
    assert said in one.trouble.en
    assert read(other) == ("b.zip", b"zip")


@pytest.mark.parametrize("fault", ["link", "encrypted", "large"])
def test_what_is_no_plain_file_is_no_hand_in(fault, tmp_path, monkeypatch):
    info = zipfile.ZipInfo("A_1_assignsubmission_file/a.zip")
    info.external_attr = (0o120777 if fault == "link" else 0o100644) << 16
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, b"zip")
    if fault == "encrypted":  # the flag in the list of files
        data = bytearray(path.read_bytes())
        data[data.index(b"PK\1\2") + 8] |= 1
        path.write_bytes(data)
    if fault == "large":
        monkeypatch.setattr(found, "MAX_ZIP", 2)
    assert find_handins([path]).handins[0].trouble


def test_what_is_no_file_on_the_disk_is_said_and_not_waited_for(tmp_path):
    folder = tmp_path / "A_1_assignsubmission_file"
    folder.mkdir()
    os.mkfifo(folder / "a.zip")
    (tmp_path / "loop.zip").symlink_to("loop.zip")
    (tmp_path / "device.zip").symlink_to("/dev/zero")
    (tmp_path / "good.zip").touch()
    for paths in ([tmp_path], [*tmp_path.glob("*.zip"), folder / "a.zip"]):
        handins = {one.name: bool(one.trouble) for one in find_handins(paths).handins}
        assert handins == {"a.zip": True, "loop.zip": True, "device.zip": True, "good.zip": False}


def test_the_size_that_it_declares_is_not_believed(tmp_path, monkeypatch):
    path = moodle_zip(tmp_path / "all.zip", "A_1_assignsubmission_file/a.zip", content=b"0" * 1000)
    (one,) = find_handins([path]).handins
    monkeypatch.setattr(found, "MAX_ZIP", 10)
    before = set(Path("/tmp").glob("lab5-*"))
    with pytest.raises(SubmissionError, match="larger than it says"):
        read(one)
    assert set(Path("/tmp").glob("lab5-*")) <= before


def test_a_student_cannot_pose_as_a_class_or_another(tmp_path):
    """Only a path that was given is Moodle's zip, and only by its form and name."""
    posing = "B_2_assignsubmission_file/B2_lab5.zip"
    folder = tmp_path / "A_1_assignsubmission_file"
    folder.mkdir()
    moodle_zip(folder / "a.zip", posing)
    (one,) = find_handins([tmp_path]).handins
    assert (one.moodle, one.name) == ("1", "a.zip")
    own = moodle_zip(tmp_path / "A1_lab5.zip", posing)
    mixed = moodle_zip(tmp_path / "mixed.zip", posing, "own.txt")
    assert [one.moodle for one in find_handins([own, mixed]).handins] == ["", ""]
    flat = place("A_1_assignsubmission_file_B_2_assignsubmission_file_x.zip")
    assert flat is not None
    assert (flat.student, flat.number) == ("A", "1")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_files_of_moodles_given_one_by_one_are_as_in_their_folder(layout, tmp_path):
    """As a shell gives ``all/*.zip``; and a zip with Moodle's names in it poses as no class."""
    students = classroom.students(KINDS)
    folder = classroom.download(students, GOOD, tmp_path, layout).folder(tmp_path / "all")
    where = LAYOUTS[layout].format(who="Eve_1", name="E1 lab5.zip")
    (folder / where).parent.mkdir(exist_ok=True)
    moodle_zip(folder / where, "A_4000_assignsubmission_file/a.zip")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    assert find_handins(files).handins == find_handins([folder]).handins
    assert {one.name for one in find_handins(files).handins if one.moodle == "1"} == {"E1 lab5.zip"}


def test_a_list_of_files_without_end_is_not_read(tmp_path, monkeypatch):
    path = moodle_zip(
        tmp_path / "all.zip", *(f"A_{i}_assignsubmission_file/a.zip" for i in range(9))
    )
    monkeypatch.setattr(found, "MAX_FILES", 8)
    (one,) = find_handins([path]).handins
    assert one.path == path
    assert not one.moodle
    monkeypatch.setattr(found, "MAX_FILES", 9)
    monkeypatch.setattr(found, "MAX_DIRECTORY", 100)
    (one,) = find_handins([path]).handins
    assert not one.moodle


@pytest.mark.parametrize("encoding", ["utf-8", "big5", "cp437"])
def test_names_of_any_zip_tool(encoding, tmp_path):
    name = "王小明" if encoding != "cp437" else "Jürgen"
    raw = f"{name}_1_assignsubmission_file/a.zip".encode(encoding)
    place = "x" * len(raw)
    path = moodle_zip(tmp_path / "all.zip", place)
    path.write_bytes(path.read_bytes().replace(place.encode(), raw))
    (one,) = find_handins([path]).handins
    if encoding != "cp437":  # which is also how bytes of an unknown encoding are read
        assert one.student == name
    assert read(one) == ("a.zip", b"zip")


def test_what_is_damaged_in_moodles_zip_is_said(tmp_path):
    path = moodle_zip(tmp_path / "all.zip", "A_1_assignsubmission_file/a.zip", content=b"content")
    path.write_bytes(path.read_bytes().replace(b"content", b"CONTENT"))
    (one,) = find_handins([path]).handins
    with pytest.raises(SubmissionError, match="Download that again"):
        read(one)


full_names = st.text(
    st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="_/\\"), min_size=1
).filter(lambda name: name == name.strip())
file_names = st.text(
    st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="/\\"), min_size=1
)


@given(full_names, st.integers(0, 10**12), file_names, st.sampled_from(sorted(LAYOUTS)))
@example("A", 1, "_2_assignsubmission_file_x.zip", "flat")
@example("1", 1, "_", "flat")
def test_moodles_names_are_read_as_they_were_made(student, number, name, layout):
    import unicodedata

    path = LAYOUTS[layout].format(who=f"{student}_{number}", name=name)
    read = place(path)
    assert read is not None
    assert read.student == unicodedata.normalize("NFC", student)
    assert (read.number, read.name, read.kind) == (str(number), name, "file")
    assert path == f"{read.folder}{'/' if layout != 'flat' else ''}{name}"


@given(st.text())
def test_any_name_is_read_or_refused(name):
    read = place(name)
    assert read is None or (read.number.isascii() and read.number.isdigit() and read.student)


@given(st.lists(st.text(min_size=1), min_size=1, max_size=5))
def test_keys_are_file_names_and_differ(names):
    handins = [(HandIn(Path(f"/{i}"), "", name=name), name) for i, name in enumerate(names)]
    keys = [one.key for one in found._with_keys(handins)]
    assert len({key.casefold() for key in keys}) == len(keys)
    for key in keys:
        assert Path(f"{key}.json").name == f"{key}.json"
        assert len(os.fsencode(f".{key}.12345678.json")) <= 255


def test_keys_stay_whatever_else_there_is_and_wherever_it_lies(tmp_path):
    for top in ("one", "two"):
        for name in (
            "b/A1_lab5.zip",
            "A2_lab5.zip",
            f"{'林' * 60}_4000_assignsubmission_file/a.zip",
        ):
            path = tmp_path / top / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    for name in ("a/A1_lab5.zip", "A1_lab5.zip", "A2_lab5.rar"):
        (tmp_path / "two" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "two" / name).touch()
    keys = []
    for top in ("one", "two"):
        folder = tmp_path / top
        known = find_handins([folder]).handins
        keys.append({one.path.relative_to(folder).as_posix(): one.key for one in known})
    one, two = keys
    assert one.items() <= two.items()
    assert (two["A1_lab5.zip"], two["A2_lab5.zip"]) == ("A1_lab5", "A2_lab5")
    assert sum(key.endswith("林_4000") and len(key.encode()) <= 150 for key in one.values()) == 1
