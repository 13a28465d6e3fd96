"""``lab5 saturation``: whether an INT8 file overflows 16 bits on an older CPU."""

from __future__ import annotations

import sys
from pathlib import Path

from lab5.cli import Parser, command, console
from lab5.errors import QuantizationError
from lab5.study.saturation import HIGHEST, LOWEST, saturation_bounds
from lab5.text import Text


def parser() -> Parser:
    found = Parser(
        "saturation",
        Text(
            "Can this INT8 file overflow 16 bits on a CPU without VNNI?",
            "INT8 檔在沒有 VNNI 的 CPU 上會不會溢位",
        ),
    )
    found.add("int8", Text("the INT8 file", "INT8 檔"), type=Path, metavar="INT8.onnx")
    return found


@command
def main(argv: list[str] | None = None) -> None:
    args = parser().parse_args(argv)
    from rich.table import Table

    from lab5.quantize import verify_int8

    bounds = saturation_bounds(verify_int8(args.int8))
    heads = (
        Text("layer", "層"),
        Text("pair of products", "兩個乘積之和"),
        Text("unsafe channels", "可能溢位的通道"),
    )
    table = Table(*map(str, heads))
    for b in bounds:
        table.add_row(b.layer, f"{b.low:,} … {b.high:,}", f"{b.unsafe} / {b.channels}")
    console.print(table)
    bad = [b.layer for b in bounds if not b.safe]
    if bad:
        raise QuantizationError(
            f"{len(bad)} layers can exceed {LOWEST:,}..{HIGHEST:,}: on AVX2 the file may give other "
            "answers. Quantise with reduce_range=True.",
            zh=f"{len(bad)} 層可能超出 {LOWEST:,} 到 {HIGHEST:,}：在 AVX2 上結果可能不同。"
            "請以 reduce_range=True 重新量化。",
        )
    console.print(str(Text("safe on every x86 CPU", "在所有 x86 CPU 上都安全")))


if __name__ == "__main__":
    sys.exit(main())
