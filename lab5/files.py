"""Files: written so that an interrupted run loses nothing, those the repository carries, and litter."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

# What operating systems, editors and office programs put beside people's files by themselves.
LITTER: Final = re.compile(
    r"(^|/)(\._|\.DS_Store$|__MACOSX(/|$)|\.ipynb_checkpoints(/|$)|\.~|~\$|Thumbs\.db$"
    r"|ehthumbs\.db$|desktop\.ini$|Icon\r$)",
    re.IGNORECASE,
)


def visible(folder: Path, pattern: str = "*") -> Iterator[Path]:
    """What of ``folder`` fits the glob ``pattern``, without litter and anything hidden."""
    for path in folder.glob(pattern):
        name = path.relative_to(folder).as_posix()
        if not LITTER.search(name) and not re.search(r"(^|/)\.", name):
            yield path


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
