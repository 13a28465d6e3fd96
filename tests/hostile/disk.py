"""Attacks that fill the disk; none writes more than 3 GB."""

from __future__ import annotations

from tests.hostile.core import code

_WRITE = """
written = 0
for place in ({0}):
    for number in range(16):
        with contextlib.suppress(OSError):
            with open(f"{{place}}/{{MARK}}-{{number}}", "wb") as file:
                while written < 3 << 30:
                    written += file.write(bytes(1 << 20))
        if written >= 2 << 30:
            won(f"{{written}} bytes on the disk")
"""


@code(quick=True)
def fill_the_working_folder() -> str:
    """Several files, each within the limit of one."""
    return _WRITE.format("os.getcwd(),")


@code()
def fill_the_shared_folders() -> str:
    """/tmp and /var/tmp."""
    return _WRITE.format("'/var/tmp', '/tmp'")


@code()
def fill_the_disk_by_a_file_without_name() -> str:
    """Which is not seen, and lasts as long as its process."""
    return """
    import tempfile
    files, written = [], 0
    with contextlib.suppress(OSError):
        for _ in range(14):
            files.append(tempfile.TemporaryFile())
            for _ in range(200):
                written += files[-1].write(bytes(1 << 20))
    written > 2 << 30 and won(f"{written} bytes on the disk")
    """


@code()
def use_up_the_inodes() -> str:
    """200,000 empty files, in each probe."""
    return """
    for number in range(200_000):
        os.mknod(f"i{number}")
    won("200,000 files")
    """


@code()
def a_sparse_file() -> str:
    """A terabyte that takes no room."""
    return """
    with open("sparse", "wb") as file:
        file.truncate(1 << 40)
    """


@code()
def write_without_end_to_standard_output() -> str:
    """A gigabyte, which somebody may keep."""
    return """
    with contextlib.suppress(OSError):
        for _ in range(1024):
            os.write(1, bytes(1 << 20))
    """
