"""``lab5 rubric > docs/rubric.md``: the table of all checks."""

from __future__ import annotations

import argparse
import sys

from lab5.cli import command


def parser() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog="lab5 rubric", description="Every check as Markdown / 所有檢查項目"
    )


@command
def main(argv: list[str] | None = None) -> None:
    parser().parse_args(argv)
    from lab5.grading.rubric import as_markdown

    print(as_markdown(), end="")


if __name__ == "__main__":
    sys.exit(main())
