"""``lab5 notebook``: only the notebook, its TODO parts filled."""

from __future__ import annotations

import sys
from pathlib import Path

from lab5.assignment import CHECKPOINT, TEMPLATE, FileNames
from lab5.cli import Parser, add_calibration, add_student_id, add_template, add_weights, command
from lab5.files import find
from lab5.text import Text


def parser() -> Parser:
    found = Parser("notebook", Text("Fill only the notebook", "只填寫 notebook"))
    add_student_id(found)
    add_weights(found)
    add_template(found)
    found.add("--out", Text("where it goes", "輸出資料夾"), type=Path, default=Path())
    add_calibration(found)
    return found


@command
def main(argv: list[str] | None = None) -> None:
    args = parser().parse_args(argv)
    names = FileNames(args.student_id)
    weights, template = find(args.weights, CHECKPOINT), find(args.template, TEMPLATE)
    from lab5.checkpoint import read_checkpoint
    from lab5.notebook import fill, read_notebook, write_notebook

    statements = read_checkpoint(weights).statements  # 1.2 is written for this very file
    notebook = fill(read_notebook(template), names, args.calibration, unwrap=statements)
    args.out.mkdir(parents=True, exist_ok=True)
    write_notebook(notebook, args.out / names.notebook)
    print(args.out / names.notebook)


if __name__ == "__main__":
    sys.exit(main())
