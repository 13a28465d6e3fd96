"""The diffs that mends are, applied."""

from __future__ import annotations

import re


def apply(diff: str, text: str) -> str:
    """A cell's text after a diff of ``edited``."""
    rows, out, at = text.split("\n"), [], 0
    for line in diff.split("\n")[2:]:
        if match := re.match(r"@@ -(\d+)(?:,(\d+))? ", line):
            start = int(match[1]) - (match[2] != "0")
            out += rows[at:start]
            at = start
        elif line.startswith("+"):
            out.append(line[1:])
        else:
            at += 1
            if not line.startswith("-"):
                out.append(line[1:])
    return "\n".join(out + rows[at:])
