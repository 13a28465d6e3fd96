"""Bounds on what a reader of foreign files may take of this process."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

READING: Final = 2 << 30  # bytes, beyond what the process has


@contextlib.contextmanager
def memory() -> Iterator[None]:
    """At most ``READING`` bytes of address space beyond what there is; on Linux, elsewhere no limit.

    Python and onnxruntime raise then; pdfium ends the process.
    """
    if not sys.platform.startswith("linux"):
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    limit = pages * resource.getpagesize() + READING
    known = [one for one in (soft, hard) if one != resource.RLIM_INFINITY]
    limit = min(limit, *known) if known else limit
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
