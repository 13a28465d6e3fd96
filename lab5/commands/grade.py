"""``lab5 grade``: a table for each hand-in, and JSON.

Exit status 0 when every zip was graded, whatever the grades; 1 when one could not be.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lab5.cli import add_run_code, command, console, shown
from lab5.errors import Lab5Error, SubmissionError, UsageError
from lab5.files import files_below, replacing
from lab5.text import LANGUAGES, Text

if TYPE_CHECKING:
    from lab5.grading.graded import Graded


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="lab5 grade",
        description="Grade <student id>_lab5.zip / 評分 <學號>_lab5.zip",
    )
    found.add_argument(
        "zips",
        nargs="+",
        type=Path,
        metavar="X.zip",
        help="hand-ins, or folders of them / 繳交檔或資料夾",
    )
    found.add_argument("--json", type=Path, metavar="F", help="write the results there / 輸出 JSON")
    found.add_argument("--template", type=Path, help="the handed-out notebook / 模板 notebook")
    found.add_argument("--weights", type=Path, help="the handed-out best_model.pth / 權重檔")
    add_run_code(found)
    found.add_argument(
        "--seed", type=int, metavar="N", help="of what its functions are called with / 亂數種子"
    )
    found.add_argument("--strict", action="store_true", help="advice is a fail / 建議視為未通過")
    found.add_argument(
        "--diagnose",
        action=argparse.BooleanOptionalAction,
        help="the causes as hints; without it for a single zip only / 以診斷出的原因為建議",
    )
    found.add_argument("--lang", choices=LANGUAGES, default=LANGUAGES[0])
    return found


@command
def main(argv: list[str] | None = None) -> None:
    args = parser().parse_args(argv)
    for path in (args.template, args.weights):
        if path is not None and not path.is_file():
            raise UsageError(f"There is no file {path}.", zh=f"找不到檔案 {path}。")
    if args.seed is not None and args.seed < 0:
        raise UsageError(f"--seed {args.seed} is below 0.", zh=f"--seed {args.seed} 小於 0。")
    if args.json and not args.json.absolute().parent.is_dir():
        raise UsageError(
            f"There is no folder {args.json.absolute().parent}.",
            zh=f"找不到資料夾 {args.json.absolute().parent}。",
        )
    from lab5.grading.render import RENDERERS
    from lab5.grading.suite import Rooms, check_submission

    graded: list[Graded] = []
    not_graded: dict[str, Text] = {}
    zips = list(_zips(args.zips))
    diagnose = len(zips) == 1 if args.diagnose is None else args.diagnose
    with Rooms(args.run_code) as rooms:
        for path in zips:
            try:
                with console.status(shown(path.name)):
                    one = check_submission(
                        path,
                        weights=args.weights,
                        template=args.template,
                        strict=args.strict,
                        seed=args.seed,
                        rooms=rooms,
                    )
                    if diagnose:
                        from lab5.diagnosis.hints import with_causes

                        one = with_causes(one, path, rooms, args.weights)
                print(RENDERERS["terminal"]([one], args.lang), end="")
                graded.append(one)
            except SubmissionError as error:
                not_graded[str(path)] = error.text
            except Lab5Error:  # ours, which no other zip would be spared
                raise
            except Exception as error:  # of this zip alone: the others are graded all the same
                not_graded[str(path)] = Text.of(f"{type(error).__name__}: {error}")
            if args.json:
                with replacing(args.json) as temporary:
                    found = RENDERERS["json"](graded, args.lang, not_graded)
                    temporary.write_text(found, encoding="utf-8")
    if not_graded:
        raise SubmissionError(
            "Not graded:\n" + "\n".join(f"  {p}: {why.en}" for p, why in not_graded.items()),
            zh="未評分：\n" + "\n".join(f"  {p}：{why.zh}" for p, why in not_graded.items()),
        )


def _zips(given: Iterable[Path]) -> Iterator[Path]:
    """The zips named, and those in folders named; a folder without any stands for itself."""
    for path in given:
        found = (p for p in files_below(path) if p.suffix.lower() == ".zip")
        inside = [p for p in found if not p.name.startswith("._")] if os.path.isdir(path) else []  # noqa: PTH112 (False, too, for a path that is too long)
        yield from inside or [path]


if __name__ == "__main__":
    sys.exit(main())
