"""The main job: ``python -m lab5.package <student id>`` makes ``<student id>_lab5.zip``."""

from __future__ import annotations

import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab5.assignment import CALIBRATIONS, INPUT_NAME, ITEMS, FileNames
from lab5.cli import console
from lab5.files import replacing, zip_member
from lab5.models import Calibration, Pair, make_pair
from lab5.text import LANGUAGES, Language, Text

if TYPE_CHECKING:
    from torch import nn

    from lab5.report.document import Missing


@dataclass
class Steps:
    """Says each step as it happens, and remembers how long it took."""

    lang: Language
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, text: Text) -> Iterator[None]:
        title = text.say(self.lang)
        start = time.perf_counter()
        with console.status(title):
            yield
        self.seconds[title] = time.perf_counter() - start
        console.print(f"[green]✓[/] {title} [dim]{self.seconds[title]:.1f} s[/]")

    def item(self, number: str) -> Any:
        title = ITEMS[number].title
        return self(Text(f"{number} {title.en}", f"{number} {title.zh}"))


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
    lang: Language = LANGUAGES[0],
    steps: Steps | None = None,
) -> Made:
    """Build the zip in ``out``; an older one is replaced only once the new one is complete.

    Args:
        submission: the student's own folder with ``reflection.md`` and ``screenshots/``, if any.
        calibration: as for ``lab5.study.calibration.calibrate``.

    Raises:
        Lab5Error: a step failed; nothing is left behind.
    """
    from lab5.calibration import BatchReader
    from lab5.notebook import fill, notebook_batches, read_notebook, write_notebook
    from lab5.study.calibration import calibrate

    steps = steps or Steps(lang)
    out.mkdir(parents=True, exist_ok=True)
    archive = out / names.archive
    with tempfile.TemporaryDirectory(prefix="lab5-") as folder, replacing(archive) as temporary:
        work = Path(folder)
        with steps.item("1.2"):
            from lab5.checkpoint import read_checkpoint

            checkpoint = read_checkpoint(weights)
            model = checkpoint.network()
        for note in checkpoint.notes:
            console.print(f"  {note.say(steps.lang)}", markup=False)
        with steps(Text("Fill the notebook", "填寫 notebook")):
            notebook = fill(
                read_notebook(template), names, calibration, unwrap=checkpoint.statements
            )
            write_notebook(notebook, work / names.notebook)
        pair = Pair(work / names.fp32, work / names.int8)

        def notebooks_own(model: nn.Module) -> Calibration:
            return Calibration(BatchReader(notebook_batches(notebook, pair.fp32), INPUT_NAME))

        own = calibration == CALIBRATIONS[0]
        make_pair(model, pair, notebooks_own if own else calibrate(calibration), steps.item)
        with steps(Text("Measure FP32 and INT8", "測量 FP32 與 INT8")):
            from lab5.report.measure import measure
            from lab5.study import data

            measurements = measure(*pair, data.load() if data.cached() else None)
        with steps(Text("Write the report", "撰寫報告")):
            from lab5.report.document import make_report

            missing = make_report(work / names.report, names, measurements, submission, lang)
        with steps(Text("Zip", "壓縮")):
            _zip([work / name for name in names.required], temporary)
        sizes = {name: (work / name).stat().st_size for name in names.required}
    return Made(archive, sizes, missing)


def _zip(files: list[Path], path: Path) -> None:
    """A flat zip in the given order."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in files:
            archive.writestr(zip_member(file.name), file.read_bytes(), zipfile.ZIP_DEFLATED, 1)


if __name__ == "__main__":
    from lab5.__main__ import run

    run("package")
