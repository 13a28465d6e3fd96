"""``lab5 app``: serve the page, or export it as a Space."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from lab5.cli import Parser, command, console
from lab5.errors import UsageError
from lab5.files import temporary_folder
from lab5.models import Pair, find_models, find_pair
from lab5.text import Text


def _pair(args: argparse.Namespace) -> Pair:
    if bool(args.fp32) != bool(args.int8):
        raise UsageError(
            "Give both --fp32 and --int8, or neither.", zh="--fp32 與 --int8 要一起給，或都不給。"
        )
    if args.fp32:
        for path in (args.fp32, args.int8):
            if not path.is_file():
                raise UsageError(f"There is no file {path}.", zh=f"找不到 {path}。")
        return Pair(args.fp32, args.int8)
    if not args.dir:
        return find_models()
    if pair := find_pair((args.dir,)):
        return pair
    raise UsageError(
        f"{args.dir} holds no <id>_FP32.onnx with its <id>_INT8.onnx. "
        "Make them with python -m lab5.package <id>.",
        zh=f"{args.dir} 裡沒有成對的 <學號>_FP32.onnx 與 <學號>_INT8.onnx。"
        "請先執行 python -m lab5.package <學號>。",
    )


def parser() -> Parser:
    found = Parser("app", Text("Serve the page", "啟動網頁"))
    found.add("--fp32", Text("the FP32 model", "FP32 模型"), type=Path)
    found.add("--int8", Text("the INT8 model", "INT8 模型"), type=Path)
    folder = Text(
        "a folder with <id>_FP32.onnx and <id>_INT8.onnx",
        "有 <學號>_FP32.onnx 與 <學號>_INT8.onnx 的資料夾",
    )
    found.add("--dir", folder, type=Path)
    share = Text("open a public link; the default", "產生公開連結，預設開啟")
    found.add("--share", share, action=argparse.BooleanOptionalAction, default=True)
    found.add("--host", Text("127.0.0.1 by default", "預設 127.0.0.1"), default="127.0.0.1")
    port = Text("the first free one from 7860 by default", "預設為 7860 起第一個可用的埠")
    found.add("--port", port, type=int)
    space = Text("write a Hugging Face Space instead", "改為匯出 Hugging Face Space")
    found.add("--export", space, type=Path, metavar="DIR")
    return found


@command
def main(argv: list[str] | None = None) -> None:
    args = parser().parse_args(argv)
    if args.port is not None and not 1 <= args.port <= 65535:
        raise UsageError("--port is 1 to 65535.", zh="--port 要在 1 到 65535 之間。")
    pair = _pair(args)
    if args.export:
        from lab5.web.spaces import export_space

        for file in export_space(*pair, args.export):
            console.print(f"{file}  {file.stat().st_size:,}")
        return
    with temporary_folder("lab5-page-") as uploads:  # a visitor may be writing to it until the end
        os.environ["GRADIO_TEMP_DIR"] = str(uploads)
        from lab5.web.page import build_demo
        from lab5.web.serve import serve

        serve(build_demo(*pair), share=args.share, host=args.host, port=args.port)


if __name__ == "__main__":
    sys.exit(main())
