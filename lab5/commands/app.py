"""``lab5 app``: serve the page, or export it as a Space."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from lab5.cli import command, console
from lab5.errors import UsageError
from lab5.models import Pair, find_models, find_pair


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


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(prog="lab5 app", description="Serve the page / 啟動網頁")
    found.add_argument("--fp32", type=Path, help="the FP32 model")
    found.add_argument("--int8", type=Path, help="the INT8 model")
    found.add_argument("--dir", type=Path, help="a folder with <id>_FP32.onnx and <id>_INT8.onnx")
    found.add_argument(
        "--share",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="open a public link / 產生公開連結 (default: yes)",
    )
    found.add_argument("--host", default="127.0.0.1", help="default 127.0.0.1")
    found.add_argument("--port", type=int, help="default: the first free one from 7860")
    found.add_argument(
        "--export", type=Path, metavar="DIR", help="write a Hugging Face Space instead / 匯出 Space"
    )
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
    with tempfile.TemporaryDirectory(prefix="lab5-page-") as uploads:
        os.environ["GRADIO_TEMP_DIR"] = uploads
        from lab5.web.page import build_demo
        from lab5.web.serve import serve

        serve(build_demo(*pair), share=args.share, host=args.host, port=args.port)


if __name__ == "__main__":
    sys.exit(main())
