"""``lab5 package``: the whole hand-in as one zip."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from lab5.assignment import CHECKPOINT, TEMPLATE, FileNames
from lab5.cli import (
    Parser,
    add_calibration,
    add_language,
    add_student_id,
    add_submission,
    add_template,
    add_weights,
    command,
    console,
    submission_folder,
)
from lab5.errors import SubmissionError
from lab5.files import find, replacing
from lab5.package import Made, Steps, make_package
from lab5.text import Language, Text


def parser() -> Parser:
    found = Parser("package", Text("Make <student id>_lab5.zip", "製作 <學號>_lab5.zip"))
    add_student_id(found)
    add_weights(found)
    add_template(found)
    add_submission(found)
    out = Text("where the zip goes; submission/ by default", "輸出資料夾，預設 submission/")
    found.add("--out", out, type=Path, default=Path("submission"))
    add_calibration(found)
    add_language(found)
    found.add("--timings", Text("each step's share", "各步驟時間"), action="store_true")
    found.add("--no-grade", Text("do not grade it", "不評分"), action="store_true")
    return found


@command
def main(argv: list[str] | None = None) -> None:
    args = parser().parse_args(argv)
    names = FileNames(args.student_id)
    weights, template = find(args.weights, CHECKPOINT), find(args.template, TEMPLATE)
    submission = submission_folder(args.submission)
    inputs = Text(
        f"weights  {weights}\ntemplate {template}", f"權重檔 {weights}\n模板   {template}"
    )
    console.print(inputs.say(args.lang), soft_wrap=True)
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
            names.archive if not lost else f"{names.archive.removesuffix('.zip')}.incomplete.zip"
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
    from lab5.grading.render import RENDERERS
    from lab5.grading.suite import check_submission

    with steps(Text("Grade", "評分")):
        graded = check_submission(
            archive, template=template, weights=weights, run_code="unsafe", seed=0
        )  # one's own needs no wall
    print(RENDERERS["terminal"](graded, steps.lang), end="")
    return [
        f"{one.item} {one.name}"
        for one in graded.checks
        if one.earned < one.points and one.status != "manual" and not one.item.startswith("3.")
    ]


def _say(made: Made, lang: Language) -> None:
    from rich.table import Table

    table = Table(Text("file", "檔案").say(lang), box=None)
    table.add_column("MB", justify="right")
    for name, size in made.sizes.items():
        table.add_row(name, f"{size / 1e6:.2f}")
    console.print(table)
    if made.missing:
        title = Text("Still yours to do:", "還需要你完成：").say(lang)
        console.print(f"[yellow]{title}[/]")
        for part in made.missing:
            console.print(f"  • {part.text.say(lang)}", markup=False)


def _say_timings(steps: Steps) -> None:
    from rich.table import Table

    total = sum(steps.seconds.values())
    table = Table(Text("step", "步驟").say(steps.lang), box=None)
    table.add_column("s", justify="right")
    table.add_column("%", justify="right")
    for title, seconds in steps.seconds.items():
        table.add_row(title, f"{seconds:.2f}", f"{100 * seconds / total:.0f}")
    table.add_row(Text("total", "總計").say(steps.lang), f"{total:.2f}", "100")
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
