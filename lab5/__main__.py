"""``lab5 VERB``, the same as ``python -m lab5.VERB``: one command, a module of ``lab5.commands`` a verb."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from typing import Any, Final, NoReturn

from lab5.cli import command
from lab5.text import Text, in_a_line

VERBS: Final = {
    "package": Text("make the hand-in <student id>_lab5.zip", "製作 <學號>_lab5.zip"),
    "app": Text("serve the page", "啟動網頁"),
    "grade": Text("grade hand-ins", "評分繳交檔"),
    "diagnose": Text("which line made a hand-in wrong", "找出是哪一行造成錯誤"),
    "notebook": Text("only the notebook", "只填寫 notebook"),
    "report": Text("only the report", "只產生報告"),
    "screenshots": Text("the page on emulated devices", "在模擬裝置上拍攝網頁"),
    "quantize": Text("only the quantisation", "只做量化"),
    "evaluate": Text("PyTorch, FP32 and INT8 side by side on the test set", "三種模型的準確率"),
    "sqnr": Text("which layer quantisation hurts", "量化傷害了哪一層"),
    "saturation": Text("whether an INT8 file overflows 16 bits", "INT8 檔是否會在 16 位元溢位"),
    "bench": Text("speed of every engine in one run", "各推論引擎的速度"),
    "data": Text("fetch CIFAR-10 into the cache", "下載 CIFAR-10"),
    "train": Text("train the network", "訓練模型"),
    "rubric": Text("the table of all checks as Markdown", "所有檢查的表格"),
}


def main(argv: list[str] | None = None) -> int:
    """Hand the arguments to the verb's own module, which alone is imported."""
    argv = sys.argv[1:] if argv is None else argv
    if argv and argv[0] in VERBS:
        status: int = _module(argv[0]).main(argv[1:])
        return status
    return _alone(argv)


@command
def _alone(argv: list[str] | None) -> None:
    """``lab5`` without a verb."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.completion:
        print(_completion(args.completion))
    else:
        parser.print_help()


def run(verb: str) -> NoReturn:
    """What ``python -m lab5.VERB`` does where that name is a module of its own."""
    sys.exit(main([verb, *sys.argv[1:]]))


def _module(verb: str) -> Any:
    return import_module(f"lab5.commands.{verb}")


class _Version(argparse.Action):
    def __call__(self, *_: Any) -> NoReturn:
        from importlib.metadata import version

        print(version("lab5"))
        sys.exit(0)


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, VERBS))
    parser = argparse.ArgumentParser(
        prog="lab5",
        usage="lab5 VERB …",
        description=in_a_line(
            Text("EAI Lab 5: from best_model.pth to a graded zip", "從 best_model.pth 到評分")
        ),
        epilog=f"{in_a_line(Text('verbs', '指令'))}:\n"
        + "\n".join(f"  {verb:{width}}  {in_a_line(text)}" for verb, text in VERBS.items())
        + "\n\n"
        + in_a_line(Text("lab5 VERB --help says more", "看各指令的說明")),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version", action=_Version, nargs=0, help=in_a_line(Text("print the version", "版本"))
    )
    parser.add_argument(
        "--completion",
        choices=("bash", "zsh", "tcsh"),
        help=in_a_line(
            Text("print what makes this shell complete verbs and options", "產生 shell 自動補全")
        ),
    )
    return parser


def _completion(shell: str) -> str:
    import shtab

    parser = argparse.ArgumentParser(prog="lab5")
    verbs = parser.add_subparsers()
    for verb, text in VERBS.items():
        known = _module(verb).parser()
        verbs.add_parser(verb, help=text.en, parents=[known], add_help=False)
    return shtab.complete(parser, shell)


if __name__ == "__main__":
    sys.exit(main())
