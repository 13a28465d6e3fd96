"""Attacks by what lies in a folder that is given, and by what is left in the grader's own."""

from __future__ import annotations

import os
from pathlib import Path

from tests.hostile.core import Hostile, attack, code


def nested(place: Path, depth: int) -> Path:
    """A folder of folders; its names are one letter."""
    place.mkdir()
    here = os.open(place, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    return place


@code(quick=True)
def leave_nested_folders() -> str:
    """1,500, which a function that calls itself does not remove."""
    return """
    for _ in range(1500):
        os.mkdir("d")
        __import__("posix").chdir("d")
    """


@code()
def leave_many_files() -> str:
    """50,000 in one folder."""
    return """
    for number in range(50_000):
        os.mknod(f"f{number}")
    """


@code()
def leave_names_that_are_no_text() -> str:
    """Bytes that no encoding knows."""
    return r"""
    open(b"\xff\xfe", "w").close()
    os.mkdir(b"\x1b[8A\n")
    """


@code()
def remove_the_working_folder() -> str:
    """Under the judge's feet, and the others that it may write to."""
    return """
    here, emptied = os.getcwd(), []
    for place in (here, os.path.dirname(here), "/tmp", "/dev/shm"):
        for base, inner, names in os.walk(place):
            if base != "/" and os.statvfs(base).f_flag & os.ST_RDONLY:
                inner.clear()
                continue
            emptied.append(base)
            for name in (*names, *inner):
                with contextlib.suppress(OSError):
                    os.unlink(base + "/" + name)
    for base in reversed(emptied):
        with contextlib.suppress(OSError):
            os.rmdir(base)
    """


@code()
def fifos_everywhere() -> str:
    """In each folder that it may write to."""
    return """
    for base, inner, _ in os.walk("/"):
        if base != "/" and os.statvfs(base).f_flag & os.ST_RDONLY:
            inner.clear()
        for name in ("request.json", "ready", "errors.txt", "states.json", "results.json"):
            with contextlib.suppress(OSError):
                os.mkfifo(base + "/" + name)
    """


@attack("report")
def a_folder_of_nested_folders(h: Hostile) -> None:
    """The path that is given; the zip is at its top."""

    def place(folder: Path) -> Path:
        given = nested(folder / "given", 1500)
        h.write(given)
        return given

    h.argument = place


@attack("report", refused=True)
def a_folder_with_a_fifo(h: Hostile) -> None:
    """Named like a zip."""

    def place(folder: Path) -> Path:
        (given := folder / "given").mkdir()
        os.mkfifo(given / "A1_lab5.zip")
        h.write(given)
        return given

    h.argument = place


@attack("report", refused=True)
def a_fifo_for_a_zip(h: Hostile) -> None:
    """The path that is given."""

    def place(folder: Path) -> Path:
        os.mkfifo(given := folder / "A1_lab5.zip")
        return given

    h.argument = place


@attack("report", refused=True)
def a_device_for_a_zip(h: Hostile) -> None:
    """Which gives zeros without end."""

    def place(folder: Path) -> Path:
        (given := folder / "A1_lab5.zip").symlink_to("/dev/zero")
        return given

    h.argument = place


@attack("report", refused=True)
def a_folder_with_a_device(h: Hostile) -> None:
    """A link to one, named like a zip."""

    def place(folder: Path) -> Path:
        (given := folder / "given").mkdir()
        (given / "A1_lab5.zip").symlink_to("/dev/zero")
        h.write(given)
        return given

    h.argument = place


@attack("report")
def a_folder_that_links_to_itself(h: Hostile) -> None:
    """And to the whole disk."""

    def place(folder: Path) -> Path:
        (given := folder / "given").mkdir()
        (given / "again").symlink_to(given)
        (given / "all").symlink_to("/")
        h.write(given)
        return given

    h.argument = place


@attack("report")
def a_zip_that_links_to_the_key(h: Hostile) -> None:
    """The path that is given is a link."""

    def place(folder: Path) -> Path:
        (given := folder / "A1_lab5.zip").symlink_to(h.world.home / ".ssh" / "id_rsa")
        return given

    h.argument = place


@attack("report", refused=True)
def a_path_that_is_too_long(h: Hostile) -> None:
    """For every system call."""
    h.argument = lambda folder: folder / "/".join(["d" * 200] * 30) / "A1_lab5.zip"
