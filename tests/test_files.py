"""An interrupted write leaves the old file and nothing else."""

from __future__ import annotations

import os
import stat

import pytest

from lab5.files import fixture, replacing, visible


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_the_new_file_takes_the_name(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"old")
    with replacing(path) as temporary:
        temporary.write_bytes(b"new")
        assert path.read_bytes() == b"old"
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".onnx"
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["model.onnx"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_keeps_the_old_file(tmp_path, error):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"old")

    def interrupted():
        with replacing(path) as temporary:
            temporary.write_bytes(b"half a new o")
            raise error

    with pytest.raises(error):
        interrupted()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["model.onnx"]


def test_a_failure_leaves_nothing_where_nothing_was(tmp_path):
    with pytest.raises(ValueError, match="stop"), replacing(tmp_path / "a.json"):
        raise ValueError("stop")
    assert names(tmp_path) == []


def test_a_writer_that_removed_the_temporary_file_fails(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), replacing(path) as temporary:
        temporary.unlink()
    assert path.read_text() == "old"


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "none" / "a.json"):
        pytest.fail("there is nowhere to write to")


def test_a_folder_is_not_replaced(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError, match="a"), replacing(tmp_path / "a") as temporary:
        temporary.write_text("file")
    assert names(tmp_path) == ["a"]


def test_two_writers_do_not_mix(tmp_path):
    path = tmp_path / "a"
    with replacing(path) as first, replacing(path) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"  # its block ended last
    assert names(tmp_path) == ["a"]


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_the_users_umask_counts(tmp_path, umask):
    before = os.umask(umask)
    try:
        with replacing(tmp_path / "a") as temporary:
            temporary.write_text("x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o666 & ~umask


def test_fixture():
    assert fixture("no such file") is None
    assert fixture("") is None  # the folder itself is no file


LITTER = ("._0.png", ".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX/0.png", "~$0.png", ".x.png",
          ".ipynb_checkpoints/0-checkpoint.png", "a/__MACOSX/._0.png", "a/thumbs.db")  # fmt: skip


def test_litter_is_not_seen_in_any_folder_of_pictures(tmp_path):
    for name in (*LITTER, "0.png", "a/1.png", "a/mac.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    seen = {p.relative_to(tmp_path).as_posix() for p in visible(tmp_path, "**/*") if p.is_file()}
    assert seen == {"0.png", "a/1.png", "a/mac.png"}
    assert {p.name for p in visible(tmp_path)} == {"0.png", "a"}
