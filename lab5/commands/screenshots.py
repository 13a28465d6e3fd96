"""``lab5 screenshots``: pictures of the page on emulated devices."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path

from lab5.cli import Parser, add_language, command, console
from lab5.errors import UsageError
from lab5.text import Text
from lab5.web.screenshots import chromium, own_page, take_screenshots


def parser() -> Parser:
    found = Parser(
        "screenshots",
        Text("Take emulated screenshots of the page", "拍攝模擬裝置的網頁截圖"),
    )
    url = Text("a running page; otherwise one is started", "執行中的網頁；預設自行啟動")
    found.add("--url", url)
    out = Text("submission/screenshots by default", "輸出資料夾，預設 submission/screenshots")
    found.add("--out", out, type=Path, default=Path("submission/screenshots"))
    add_language(found)
    pictures = Text(
        "at least three; otherwise the page's examples", "至少三張圖片，預設用網頁的範例"
    )
    found.add("pictures", pictures, nargs="*", type=Path)
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
