"""Files: written so that an interrupted run loses nothing, and those the repository carries."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give an empty temporary file beside ``path``; move it there on success, else remove it.

    Whoever reads ``path`` meanwhile sees the old file, whole; afterwards the new one, whole.

    Raises:
        OSError: the folder is missing or takes no files, or ``path`` is a folder.
    """
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    temporary.touch(exist_ok=False)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # on disk before it has the name, should the power fail
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def fixture(name: str) -> Path | None:
    """A file that the repository carries, or None where only the package is installed."""
    path = Path(__file__).parent.parent / "fixtures" / name
    return path if path.is_file() else None
