"""``lab5 report``: only the report."""

from __future__ import annotations

import argparse
import datetime
import sys
from pathlib import Path

from lab5.assignment import CALIBRATIONS, CHECKPOINT, FileNames
from lab5.cli import (
    Parser,
    add_data,
    add_language,
    add_student_id,
    add_submission,
    command,
    console,
    submission_folder,
)
from lab5.errors import UsageError
from lab5.files import find
from lab5.models import cached_pair
from lab5.report.document import make_report
from lab5.text import Text


def parser() -> Parser:
    found = Parser("report", Text("Make <student id>_report.pdf", "製作 <學號>_report.pdf"))
    add_student_id(found)
    add_submission(found)
    add_language(found)
    for name in ("FP32", "INT8"):
        text = Text(
            f"the {name} model; otherwise the one in --out, or made from {CHECKPOINT}",
            f"{name} 模型；預設用 --out 裡的，或由 {CHECKPOINT} 產生",
        )
        found.add(f"--{name.lower()}", text, type=Path)
    text = Text(
        f"make the models from {CHECKPOINT} with this calibration", "以這種校準方式重新產生模型"
    )
    found.add("--calibration", text, choices=CALIBRATIONS)
    found.add("--out", Text("where the PDF goes", "輸出資料夾"), type=Path, default=Path())
    add_data(found)
    found.add("--full", Text("all 10,000 test images", "全部測試影像"), action="store_true")
    date = Text("shown in the title, YYYY-MM-DD; today", "標題上的日期 YYYY-MM-DD，預設今天")
    found.add("--date", date, type=datetime.date.fromisoformat)
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
    from lab5.study.data import stamp

    mode = args.calibration or CALIBRATIONS[0]
    name = f"cifar10 {stamp()}" if mode == "cifar10" else mode
    return cached_pair(find(None, CHECKPOINT), name, calibrate(mode))


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
