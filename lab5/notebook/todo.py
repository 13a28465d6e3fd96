"""How each TODO part is announced, and how a filled one is known."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from lab5.notebook.cell import COMPARE, Cell, Definition
from lab5.notebook.source import indent_of
from lab5.text import Text


@dataclass(frozen=True)
class Part:
    """A part: the words that announce it, the code that a filled notebook has."""

    item: str
    words: str
    present: str


# In the order in which a TODO's words are looked at: the plainest first.
PARTS: Final = (
    Part("2.4", r"public|share|launch|公開", r"\.launch\("),
    Part("2.3", r"\bgui\b|interface|介面", r"Interface\(|Blocks\("),
    Part("2.1", r"pre-?process|前處理", r"def preprocess\b"),
    Part("2.2", r"compare|your\s+pro|比較", rf"def {COMPARE}\b"),
    Part("1.5", r"session", r"def build_session\b"),
    Part("1.4", r"quanti[sz]|量化", r"quantize_static\("),
    Part("1.3", r"export|匯出", r"onnx\.export\(|dynamo_export\("),
    Part("1.2", r"state|weight|load|權重|載入", r"load_state_dict\("),
    Part("1.1", r"design|resnet|block|model|架構", r"class ResNet18\b"),
    Part("file names", r"file|name|path|檔名|學號", ""),
)


def _guard(cell: Cell, row: int) -> str:
    """What a TODO without words below ``if __name__ == "__main__":`` announces."""
    indent = len(indent_of(cell.rows[row]))
    above = [
        text
        for text in cell.rows[:row]
        if text.strip() and not text.startswith(" " * max(1, indent))
    ]
    return "launch" if indent and above and "__main__" in above[-1] else ""


def markers(cell: Cell) -> Iterable[tuple[int, str]]:
    """Every TODO's row and part, by its words, else by what stands around it.

    Raises:
        NotebookError: a TODO of another kind.
    """
    exporting: Definition | None = None
    for row, words in cell.markers():
        below = next((text for text in cell.rows[row + 1 :] if re.match(r"\s*[^#\s]", text)), "")
        below = below if re.match(r"\s*(def|class|demo)\b", below) else ""
        inside = cell.around(row)
        names = [
            n.name for n in ast.walk(cell.tree) if isinstance(n, Definition) and cell.holds(n, row)
        ]
        texts = [words, *reversed(names), below, _guard(cell, row)]
        item = next(
            (p.item for text in texts for p in PARTS if text and re.search(p.words, text, re.I)),
            None,
        )
        worded = any(re.search(part.words, words, re.I) for part in PARTS)
        if inside and item == "1.3" and not worded:  # two TODOs without words: load, then export
            item = "1.2" if inside is not exporting else "1.3"
        exporting = inside if item in ("1.2", "1.3") else exporting
        if item is None:
            raise cell.fault(
                row,
                Text(
                    "this is no TODO of EAI Lab 5. Fill it in yourself and remove the word TODO.",
                    "這不是 EAI Lab 5 的 TODO，請自行填寫並移除 TODO。",
                ),
            )
        yield row, item
