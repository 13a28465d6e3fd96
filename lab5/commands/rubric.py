"""``lab5 rubric > docs/rubric.md``: the table of all checks."""

from __future__ import annotations

import sys

from lab5.cli import Parser, command
from lab5.text import Text


def parser() -> Parser:
    return Parser("rubric", Text("Every check as Markdown", "所有檢查項目（Markdown）"))


@command
def main(argv: list[str] | None = None) -> None:
    parser().parse_args(argv)
    from lab5.grading.rubric import as_markdown

    print(as_markdown(), end="")


if __name__ == "__main__":
    sys.exit(main())
