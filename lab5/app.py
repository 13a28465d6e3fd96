"""2.3 and 2.4: the Gradio page, served locally and through a public link.

``build_interface`` and ``launch_public`` are the assignment's own calls, which the notebook is filled
with too; ``lab5.page`` adds around them what a page in public needs.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import os
import socket
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from lab5.assignment import CALIBRATIONS, CHECKPOINT, SYNTHETIC
from lab5.cli import command, console
from lab5.errors import AppError, UsageError
from lab5.files import find

Pair = tuple[Path, Path]  # the FP32 and the INT8 file


def build_interface(compare_fp32_int8):
    import gradio as gr

    return gr.Interface(
        fn=compare_fp32_int8,
        inputs=gr.Image(type="pil"),
        outputs=[
            gr.Label(label="FP32 Top-3"),
            gr.Label(label="INT8 Top-3"),
            gr.Textbox(label="Performance Comparison"),
        ],
        title="CIFAR-10 Image Classifier - FP32 vs INT8",
        description="Upload an image to compare FP32 and INT8 model inference",
    )


def launch_public(demo):
    demo.launch(share=True)


def find_pair(folders: tuple[Path, ...]) -> Pair | None:
    """The newest ``<id>_FP32.onnx`` that has its ``<id>_INT8.onnx`` beside it."""
    pairs = [
        (fp32, int8)
        for folder in folders
        for fp32 in sorted(folder.glob("*_FP32.onnx"), key=lambda f: -f.stat().st_mtime)
        if (int8 := fp32.with_name(fp32.name.replace("_FP32", "_INT8"))).is_file()
    ]
    return pairs[0] if pairs else None


def make_pair(weights: Path, calibration: str = CALIBRATIONS[0]) -> Pair:
    """Both models of ``weights`` in the user's cache, made when they are not there yet.

    Args:
        calibration: one of ``CALIBRATIONS``; the default makes what ``lab5.package`` does.
    """
    from lab5.data import cache_dir

    digest = hashlib.sha256(weights.read_bytes() + calibration.encode())
    for source in sorted(Path(__file__).parent.rglob("*.py")):  # made anew when any of it changed
        digest.update(source.read_bytes())
    for package in ("torch", "onnx", "onnxruntime", "numpy"):
        digest.update(f"{package} {version(package)}".encode())
    folder = cache_dir() / f"models-{digest.hexdigest()[:16]}"
    fp32, int8 = folder / "lab5_FP32.onnx", folder / "lab5_INT8.onnx"
    if not int8.exists():
        from lab5.calibration import make_reader
        from lab5.checkpoint import open_model
        from lab5.export import export_fp32
        from lab5.quantize import quantize

        folder.mkdir(parents=True, exist_ok=True)
        model = open_model(weights)
        export_fp32(model, fp32)
        quantize(fp32, int8, make_reader(calibration, model), refine=calibration == SYNTHETIC)
    return fp32, int8


def find_models() -> Pair:
    """The student's pair, from here or ``submission/``; otherwise one made from the weights here.

    Raises:
        UsageError: there is neither.
    """
    if pair := find_pair((Path(), Path("submission"))):
        return pair
    weights = find(None, CHECKPOINT)
    console.print(f"模型由 {weights} 產生 / models made from {weights}")
    return make_pair(weights)


def _pair(args: argparse.Namespace) -> Pair:
    if bool(args.fp32) != bool(args.int8):
        raise UsageError(
            "Give both --fp32 and --int8, or neither.", zh="--fp32 與 --int8 要一起給，或都不給。"
        )
    if args.fp32:
        for path in (args.fp32, args.int8):
            if not path.is_file():
                raise UsageError(f"There is no file {path}.", zh=f"找不到 {path}。")
        return args.fp32, args.int8
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lab5.app", description="Serve the page / 啟動網頁"
    )
    parser.add_argument("--fp32", type=Path, help="the FP32 model")
    parser.add_argument("--int8", type=Path, help="the INT8 model")
    parser.add_argument("--dir", type=Path, help="a folder with <id>_FP32.onnx and <id>_INT8.onnx")
    parser.add_argument(
        "--share",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="open a public link / 產生公開連結 (default: yes)",
    )
    parser.add_argument("--host", default="127.0.0.1", help="default 127.0.0.1")
    parser.add_argument("--port", type=int, help="default: the first free one from 7860")
    parser.add_argument(
        "--export", type=Path, metavar="DIR", help="write a Hugging Face Space instead / 匯出 Space"
    )
    return parser


@command
def main(argv: list[str] | None = None) -> None:
    args = _parser().parse_args(argv)
    if args.port is not None and not 1 <= args.port <= 65535:
        raise UsageError("--port is 1 to 65535.", zh="--port 要在 1 到 65535 之間。")
    pair = _pair(args)
    if args.export:
        from lab5.spaces import export_space

        for file in export_space(*pair, args.export):
            console.print(f"{file}  {file.stat().st_size:,}")
        return
    with tempfile.TemporaryDirectory(prefix="lab5-page-") as uploads:
        os.environ["GRADIO_TEMP_DIR"] = uploads
        from lab5.page import build_demo

        serve(build_demo(*pair), share=args.share, host=args.host, port=args.port)


def serve(demo, *, share: bool, host: str, port: int | None) -> None:
    """Serve until interrupted; without a share server in reach, say so and serve locally.

    Raises:
        AppError: the address cannot be used.
    """
    from lab5.gradio_setup import reach_directly

    host = host.strip("[]")
    reach_directly(host)
    demo.launch = functools.partial(
        demo.launch,
        server_name=f"[{host}]" if ":" in host else host,  # as in an address of a browser
        server_port=port,
        prevent_thread_lock=True,
    )
    try:
        _try_address(host, port)
        if share:
            launch_public(demo)
        else:
            demo.launch(share=False)
    except Exception as error:  # gradio and httpx raise a type of their own for each fault
        raise AppError(
            f"The page cannot be served at {host}:{port or '7860 to 7959'}: {error}. "
            "Choose another --port or --host.",
            zh=f"無法在 {host}:{port or '7860 到 7959'} 提供網頁。請換一個 --port 或 --host。",
        ) from error
    if share and not demo.share_url:
        console.print(
            f"連不上公開連結的伺服器，只在本機提供：{demo.local_url}\n"
            f"No share server in reach: serving locally only, at {demo.local_url}"
        )
    demo.block_thread()


def _try_address(host: str, port: int | None) -> None:
    """gradio itself tries 100 ports, 5 seconds each, where an address is none of this machine's.

    Raises:
        OSError, UnicodeError: the name does not resolve, or nothing can be served there.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port or 0, type=socket.SOCK_STREAM)[0]
    socket.create_server(address, family=family).close()


if __name__ == "__main__":
    sys.exit(main())
