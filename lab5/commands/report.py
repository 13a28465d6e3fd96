"""``lab5 report``: only the report."""

from __future__ import annotations

import argparse
import datetime
import sys
from pathlib import Path

from lab5.assignment import CALIBRATIONS, CHECKPOINT, FileNames
from lab5.cli import add_submission, command, console, submission_folder
from lab5.errors import UsageError
from lab5.files import find
from lab5.models import cached_pair
from lab5.report.document import make_report
from lab5.text import LANGUAGES


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="lab5 report", description="Make <student id>_report.pdf / 製作報告"
    )
    found.add_argument("student_id", help="for example N26140692 / 學號")
    add_submission(found)
    found.add_argument("--lang", choices=LANGUAGES, default=LANGUAGES[0])
    for name in ("FP32", "INT8"):
        text = f"the {name} model; otherwise the one in --out, or made from {CHECKPOINT}"
        found.add_argument(f"--{name.lower()}", type=Path, help=text)
    found.add_argument(
        "--calibration",
        choices=CALIBRATIONS,
        help=f"make the models from {CHECKPOINT} with this calibration / 以這種校準方式重新產生模型",
    )
    found.add_argument("--out", type=Path, default=Path(), help="where the PDF goes")
    found.add_argument("--data", type=Path, help="a copy of CIFAR-10; otherwise the cache")
    found.add_argument("--full", action="store_true", help="all 10,000 test images / 全部測試影像")
    found.add_argument(
        "--date", type=datetime.date.fromisoformat, help="shown in the title, YYYY-MM-DD; today"
    )
    return found


def _models(args: argparse.Namespace, names: FileNames) -> tuple[Path, Path]:
    """The pair that was asked for, else the student's own in --out, else one from the weights at hand."""
    pair = args.fp32 or args.out / names.fp32, args.int8 or args.out / names.int8
    if args.calibration and (args.fp32 or args.int8):
        raise UsageError(
            "--calibration makes the models, --fp32 and --int8 give them. Use one or the other.",
            zh="--calibration 會產生模型，--fp32 與 --int8 則是指定模型。請擇一使用。",
        )
    if not args.calibration and all(path.is_file() for path in pair):
        return pair
    if args.fp32 or args.int8:
        missing = next(path for path in pair if not path.is_file())
        raise UsageError(
            f"There is no {missing}. Give both --fp32 and --int8, or neither.",
            zh=f"找不到 {missing}。--fp32 與 --int8 要一起給，或都不給。",
        )
    from lab5.study.calibration import calibrate

    mode = args.calibration or CALIBRATIONS[0]
    return cached_pair(find(None, CHECKPOINT), mode, calibrate(mode))


@command
def main(argv: list[str] | None = None) -> None:
    args = parser().parse_args(argv)
    names = FileNames(args.student_id)
    submission = submission_folder(args.submission)
    fp32, int8 = _models(args, names)
    console.print(f"FP32  {fp32}\nINT8  {int8}", soft_wrap=True)
    from lab5.report.measure import IMAGES, measure
    from lab5.study import data

    dataset = data.load(args.data) if args.data or data.cached() else None
    measurements = measure(fp32, int8, dataset, images=None if args.full else IMAGES)
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / names.report
    for part in make_report(path, names, measurements, submission, args.lang, date=args.date):
        console.print(f"• {part.text.say(args.lang)}", markup=False)
    console.print(str(path), soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
