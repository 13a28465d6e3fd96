"""The main job: ``python -m lab5.package <student id>`` makes ``<student id>_lab5.zip``."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab5.assignment import (
    CALIBRATIONS,
    CHECKPOINT,
    INPUT_NAME,
    ITEMS,
    SYNTHETIC,
    TEMPLATE,
    FileNames,
)
from lab5.cli import add_calibration, command, console
from lab5.errors import SubmissionError, UsageError
from lab5.files import fixture, replacing

if TYPE_CHECKING:
    from lab5.report import Missing

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip can hold: the same bytes every time


@dataclass
class Steps:
    """Says each step as it happens, and remembers how long it took."""

    lang: str
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, zh: str, en: str) -> Iterator[None]:
        title = en if self.lang == "en" else zh
        start = time.perf_counter()
        with console.status(title):
            yield
        self.seconds[title] = time.perf_counter() - start
        console.print(f"[green]✓[/] {title} [dim]{self.seconds[title]:.1f} s[/]")

    def item(self, number: str) -> Any:
        return self(f"{number} {ITEMS[number].zh}", f"{number} {ITEMS[number].en}")


@dataclass(frozen=True)
class Made:
    """What a run made: the zip, its members' sizes in bytes, and what is still the student's to do."""

    archive: Path
    sizes: dict[str, int]
    missing: list[Missing]


def make_package(
    names: FileNames,
    *,
    weights: Path,
    template: Path,
    submission: Path | None,
    out: Path,
    calibration: str = CALIBRATIONS[0],
    lang: str = "zh-TW",
    steps: Steps | None = None,
) -> Made:
    """Build the zip in ``out``; an older one is replaced only once the new one is complete.

    Args:
        submission: the student's own folder with ``reflection.md`` and ``screenshots/``, if any.
        calibration: as for ``lab5.calibration.make_reader``; ``synthetic`` refines, too.

    Raises:
        Lab5Error: a step failed; nothing is left behind.
    """
    from lab5.notebook import fill, notebook_batches, read_notebook, write_notebook

    steps = steps or Steps(lang)
    out.mkdir(parents=True, exist_ok=True)
    archive = out / names.archive
    with tempfile.TemporaryDirectory(prefix="lab5-") as folder, replacing(archive) as temporary:
        work = Path(folder)
        with steps("填寫 notebook", "Fill the notebook"):
            notebook = fill(read_notebook(template), names, calibration)
            write_notebook(notebook, work / names.notebook)
        with steps.item("1.2"):
            from lab5.model import load_model

            model, notes = load_model(weights)
        for note in notes:
            console.print(f"  {note}")
        with steps.item("1.3"):
            from lab5.export import export_fp32

            export_fp32(model, work / names.fp32)
        with steps.item("1.4"):
            from lab5.calibration import BatchReader, make_reader
            from lab5.quantize import quantize

            if calibration == CALIBRATIONS[0]:  # the notebook's own reader
                batches = notebook_batches(notebook, work / names.fp32)
                reader = BatchReader(batches, INPUT_NAME)
            else:
                reader = make_reader(calibration, model)
            refine = calibration == SYNTHETIC
            quantize(work / names.fp32, work / names.int8, reader, refine=refine)
        with steps("測量 FP32 與 INT8", "Measure FP32 and INT8"):
            from lab5 import data
            from lab5.measure import measure

            measurements = measure(
                work / names.fp32, work / names.int8, data.load() if data.cached() else None
            )
        with steps("撰寫報告", "Write the report"):
            from lab5.report import make_report

            missing = make_report(work / names.report, names, measurements, submission, lang)
        with steps("壓縮", "Zip"):
            _zip([work / name for name in names.required], temporary)
        sizes = {name: (work / name).stat().st_size for name in names.required}
    return Made(archive, sizes, missing)


def _zip(files: list[Path], path: Path) -> None:
    """A flat zip in the given order, with fixed dates and modes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in files:
            info = zipfile.ZipInfo(file.name, _EPOCH)
            info.create_system = 3  # Unix, wherever it is made
            info.external_attr = 0o100644 << 16
            archive.writestr(info, file.read_bytes(), zipfile.ZIP_DEFLATED, 1)


def _found(given: Path | None, name: str) -> Path:
    """The file that was asked for, else the one in the current folder, else the repository's."""
    if given is not None:
        return given
    if Path(name).is_file():
        return Path(name)
    if (shipped := fixture(name)) is not None:
        return shipped
    raise UsageError(
        f"There is no {name} in this folder. Put the handed-out one here, or give its path.",
        zh=f"目前的資料夾裡沒有 {name}。請把老師提供的檔案放在這裡，或指定路徑。",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lab5.package",
        description="Make <student id>_lab5.zip / 製作 <學號>_lab5.zip",
    )
    parser.add_argument("student_id", help="for example N26140692 / 學號")
    parser.add_argument("--weights", type=Path, help=f"the checkpoint, {CHECKPOINT} / 權重檔")
    parser.add_argument("--template", type=Path, help=f"the notebook, {TEMPLATE} / notebook 模板")
    parser.add_argument(
        "--submission", type=Path, help="your own folder: reflection.md, screenshots/"
    )
    parser.add_argument("--out", type=Path, default=Path("submission"), help="where the zip goes")
    add_calibration(parser)
    parser.add_argument("--lang", choices=("zh-TW", "en"), default="zh-TW")
    parser.add_argument("--timings", action="store_true", help="each step's share / 各步驟時間")
    parser.add_argument("--no-grade", action="store_true", help="do not grade it / 不評分")
    return parser


@command
def main(argv: list[str] | None = None) -> None:
    args = _parser().parse_args(argv)
    names = FileNames(args.student_id)
    weights, template = _found(args.weights, CHECKPOINT), _found(args.template, TEMPLATE)
    submission = args.submission
    if submission is None:
        submission = Path("submission") if Path("submission").is_dir() else None
    elif not submission.is_dir():
        raise UsageError(
            f"--submission {submission} is no folder. It holds your reflection.md and screenshots/.",
            zh=f"--submission {submission} 不是資料夾。裡面應有你的 reflection.md 與 screenshots/。",
        )
    console.print(f"weights  {weights}\ntemplate {template}", soft_wrap=True)
    steps = Steps(args.lang)
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="lab5-") as folder:
        made = make_package(
            names,
            weights=weights,
            template=template,
            submission=submission,
            out=Path(folder),
            calibration=args.calibration,
            lang=args.lang,
            steps=steps,
        )
        _say(made, args.lang)
        lost = [] if args.no_grade else _lost_points(made.archive, weights, template, steps)
        archive = args.out / (
            names.archive if not lost else f"{names.student_id}_lab5.incomplete.zip"
        )
        with replacing(archive) as temporary:
            shutil.copyfile(made.archive, temporary)
    if args.timings:
        _say_timings(steps)
    if lost:
        for one in lost:
            console.print(f"[red]✗ {one}[/]", soft_wrap=True)
        raise SubmissionError(
            f"The zip loses points ({', '.join(lost)}): it is kept as {archive}. "
            "See the table above for what to mend in the template.",
            zh=f"這個 zip 會失分（{'、'.join(lost)}），因此另存為 {archive}。請依上表修正模板。",
        )
    print(os.fspath(archive))


def _lost_points(archive: Path, weights: Path, template: Path, steps: Steps) -> list[str]:
    """The checks of 1.1 to 2.4 whose points the zip does not get, persons' points apart."""
    from lab5.checks import check_submission
    from lab5.grade import print_table

    with steps("評分", "Grade"):
        result = check_submission(archive, template=template, weights=weights)
    print_table(result, steps.lang)
    return [
        f"{one['item']} {one['name']}"
        for one in result["checks"]
        if one["earned"] < one["points"]
        and one["status"] != "manual"
        and not one["item"].startswith("3.")
    ]


def _say(made: Made, lang: str) -> None:
    from rich.table import Table

    table = Table("file" if lang == "en" else "檔案", box=None)
    table.add_column("MB", justify="right")
    for name, size in made.sizes.items():
        table.add_row(name, f"{size / 1e6:.2f}")
    console.print(table)
    if made.missing:
        console.print(
            "[yellow]Still yours to do:[/]" if lang == "en" else "[yellow]還需要你完成：[/]"
        )
        for part in made.missing:
            console.print(f"  • {part.en if lang == 'en' else part.zh}", markup=False)


def _say_timings(steps: Steps) -> None:
    from rich.table import Table

    total = sum(steps.seconds.values())
    table = Table("step", box=None)
    table.add_column("s", justify="right")
    table.add_column("%", justify="right")
    for title, seconds in steps.seconds.items():
        table.add_row(title, f"{seconds:.2f}", f"{100 * seconds / total:.0f}")
    table.add_row("total", f"{total:.2f}", "100")
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
