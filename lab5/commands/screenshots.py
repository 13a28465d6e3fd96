"""``lab5 screenshots``: pictures of the page on emulated devices."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

from lab5.cli import command, console
from lab5.errors import UsageError
from lab5.text import LANGUAGES
from lab5.web.screenshots import chromium, own_page, take_screenshots


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="lab5 screenshots",
        description="Take emulated screenshots of the page / 拍攝模擬裝置的網頁截圖",
    )
    found.add_argument("--url", help="a running page; otherwise one is started / 執行中的網頁")
    found.add_argument(
        "--out",
        type=Path,
        default=Path("submission/screenshots"),
        help="default submission/screenshots",
    )
    found.add_argument(
        "--lang", choices=LANGUAGES, default=LANGUAGES[0], help=f"default {LANGUAGES[0]}"
    )
    found.add_argument(
        "pictures", nargs="*", type=Path, help="at least three; otherwise the page's examples"
    )
    return found


@command
def main(argv: list[str] | None = None) -> None:
    args = parser().parse_args(argv)
    if missing := [str(p) for p in args.pictures if not p.is_file()]:
        raise UsageError(
            f"There is no file {', '.join(missing)}.", zh=f"找不到 {'、'.join(missing)}。"
        )
    args.out.mkdir(parents=True, exist_ok=True)
    from lab5.web.examples import draw_examples

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        pictures = args.pictures or draw_examples(folder)[:3]
        url = args.url or stack.enter_context(own_page())
        running = stack.enter_context(chromium())
        for path in take_screenshots(running, url, pictures, args.out, args.lang):
            console.print(str(path))


if __name__ == "__main__":
    sys.exit(main())
