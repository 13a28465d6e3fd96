"""The notebook: the TODO parts of a template, filled with the package's own source.

    EAI_lab5.ipynb ── read_notebook ──> plain JSON
      │  each code cell becomes a Cell, every blank in it ``...``         (cell)
      │  each part 1.1 to 2.4 finds its blank, by its TODO if by nothing  (todo)
      │      else, and fills it                                           (filling, topic1, topic2)
      │      with a function of lab5, its comments in Chinese             (source, chinese)
      │      and tries which shape the given functions take               (trial)
      │  the whole is proved: no blank left, no name unbound              (proof)
      v
    fill ──> plain JSON ── write_notebook ──> <id>.ipynb
      └── notebook_batches ──> what its reader calibrates with            (trial)

Everything else in the template stays: cells, order, lines, comments, ids, metadata.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from lab5.assignment import FileNames
from lab5.errors import NotebookError
from lab5.files import replacing
from lab5.notebook import topic1, topic2
from lab5.notebook.cell import Cell
from lab5.notebook.filling import Filling
from lab5.notebook.proof import prove
from lab5.notebook.todo import markers
from lab5.notebook.trial import notebook_batches

__all__ = ["fill", "notebook_batches", "read_notebook", "write_notebook"]

MAX_BYTES: Final = 50 << 20  # a notebook with pictures in its outputs; the handed-out one has 20 kB
# 1.1 to 2.4 in order, the files' names last.
_PARTS: Final[tuple[Callable[[Filling], None], ...]] = (
    topic1.network, topic1.load, topic1.export, topic1.quantize, topic1.session,
    topic2.preprocess, topic2.compare, topic2.interface, topic2.launch, topic1.rename_models,
)  # fmt: skip
_KEYS: Final = {
    "cell_type",
    "id",
    "metadata",
    "source",
    "attachments",
    "outputs",
    "execution_count",
}


def read_notebook(path: Path) -> dict[str, Any]:
    """A notebook as plain JSON, valid for nbformat; what Jupyter opens is opened.

    What is missing is put in (outputs, counts, metadata, ids); formats before 4 are converted.

    Raises:
        NotebookError: there is no such file, or it is no notebook.
    """
    import nbformat

    if not path.is_file():
        raise NotebookError(
            f"There is no file {path}. Put the handed-out EAI_lab5.ipynb there, or give --template.",
            zh=f"找不到 {path}。請把老師提供的 EAI_lab5.ipynb 放在這裡，或用 --template 指定。",
        )
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"larger than {MAX_BYTES >> 20} MiB")
        notebook = json.loads(path.read_text(encoding="utf-8-sig"))
        if notebook["nbformat"] < 4:
            notebook = nbformat.convert(nbformat.from_dict(notebook), 4)
        return _mended(json.loads(json.dumps(notebook)))
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise NotebookError(
            f"{path} is not a Jupyter notebook ({(str(error).splitlines() or ['?'])[0][:120]}). "
            "Download the template again; do not edit it in a text editor.",
            zh=f"{path} 不是有效的 Jupyter notebook。請重新下載模板，不要用文字編輯器修改。",
        ) from error


def _mended(notebook: dict[str, Any]) -> dict[str, Any]:
    """What the format asks for put in, and what it forbids taken out."""
    from nbformat import validator

    cells = notebook["cells"]
    if not isinstance(notebook.get("metadata"), dict):
        notebook["metadata"] = {}
    if any("id" in cell for cell in cells):  # as of 4.5
        notebook["nbformat_minor"] = max(5, notebook.get("nbformat_minor", 0))
    with_ids = notebook.setdefault("nbformat_minor", 0) >= 5
    ids: set[str] = set()
    for number, cell in enumerate(cells):
        for key in cell.keys() - _KEYS:
            del cell[key]
        if not isinstance(cell.get("metadata"), dict):
            cell["metadata"] = {}
        if not isinstance(cell.setdefault("source", ""), str):
            cell["source"] = [str(line) for line in cell["source"]]
        if cell["cell_type"] == "code":
            cell.pop("attachments", None)
            cell["outputs"], cell["execution_count"] = [], None
        else:
            cell.pop("outputs", None)
            cell.pop("execution_count", None)
        if with_ids:
            own = str(cell.get("id", ""))
            if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", own) or own in ids:
                cell["id"] = f"lab5-{number}"
            ids.add(cell["id"])
    validator.normalize(notebook, strip_invalid_metadata=True)
    return notebook


def fill(
    template: dict[str, Any],
    names: FileNames,
    calibration: str = "random",
    unwrap: Sequence[str] = (),
) -> dict[str, Any]:
    """A copy of ``template`` (plain JSON) with its TODO parts filled and no outputs.

    Args:
        calibration: ``random`` is the notebook's own reader; ``synthetic`` puts the synthetic images
            and the refinement in, ``cifar10`` training images; anything else is a folder of pictures.
        unwrap: statements that take the weights out of their checkpoint ``state``, as
            ``state = state["model"]  # …``, for 1.2.

    Raises:
        NotebookError: a TODO that is not known, or a blank that is left, with its cell and line.
    """
    notebook: dict[str, Any] = json.loads(json.dumps(template))
    cells: list[Cell] = []
    raws = []
    for number, raw in enumerate(notebook["cells"]):
        if raw["cell_type"] == "code":
            raw["outputs"], raw["execution_count"] = [], None
            cells.append(Cell(number, "".join(raw["source"]), cells[:]))
            raws.append(raw)
    for cell in cells:
        list(markers(cell))
    filling = Filling(cells, names, calibration, unwrap)
    for fill_part in _PARTS:
        fill_part(filling)
    prove(cells)
    for cell, raw in zip(cells, raws, strict=True):
        if cell.source != "".join(raw["source"]):
            lines = re.findall(r"[^\n]*\n|[^\n]+$", cell.source)
            raw["source"] = lines if isinstance(raw["source"], list) else cell.source
    return notebook


def write_notebook(notebook: dict[str, Any], path: Path) -> None:
    """Write plain notebook JSON the way Jupyter does, so that the same notebook is the same bytes."""
    text = json.dumps(notebook, ensure_ascii=False, indent=1) + "\n"
    # A lone surrogate is no character: it stays the escape that it was.
    text = re.sub("[\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", text)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
