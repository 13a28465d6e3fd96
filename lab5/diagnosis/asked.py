"""A hand-in in the reading room, as one asks about it.

What parses it is there, what runs its code is in the code room; here nothing of it is read, and an
answer is believed as far as it can be one.
"""

from __future__ import annotations

import contextlib
import math
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

from lab5.cli import RunCode
from lab5.diagnosis.core import CAUSES, MOST, Diagnosis, text_of
from lab5.diagnosis.diagnosing import CHECKED, PROBES
from lab5.diagnosis.given import listed_files, the_archive
from lab5.diagnosis.layers import Row
from lab5.errors import SubmissionError, UsageError
from lab5.files import temporary_folder
from lab5.grading.rooms import Rooms, run_probes
from lab5.grading.suite import READER, SECONDS
from lab5.text import Text

_READS: Final = (
    "numpy", "PIL.Image", "onnx", "onnx.helper", "onnxruntime", "IPython.core.inputtransformer2",
    "lab5.diagnosis.visitor",
)  # fmt: skip
_SECONDS: Final = 3 * SECONDS  # for a question: a busy machine makes no hang of what is slow
_Answer = TypeVar("_Answer")


@contextlib.contextmanager
def opened(
    paths: Sequence[Path],
    weights: Path | None = None,
    run_code: RunCode = "walled",
    pictures: Sequence[Path] = (),
) -> Iterator[Reader]:
    """Let a reader of what is given in: a zip, a folder, single files.

    Raises:
        UsageError: there is no such file, or nothing of a hand-in in it.
        NoWallError: its code should be run behind a wall, and none can be built here.
    """
    files = listed_files(paths)
    archive = the_archive(files)
    if not archive and not any(file.suffix.lower() == ".ipynb" for file in files):
        run_code = "never"
    with contextlib.ExitStack() as stack:
        rooms = stack.enter_context(Rooms(run_code, reads=_READS))
        given = {"weights": weights, "archive": archive}
        loose = [file for file in files if file != archive]
        if loose or pictures:
            folder = stack.enter_context(temporary_folder())
            given["packed"] = _packed(loose, pictures, folder / "packed.zip")
        yield stack.enter_context(
            Reader(rooms, {key: path.resolve() for key, path in given.items() if path})
        )


def _packed(files: Sequence[Path], pictures: Sequence[Path], path: Path) -> Path:
    """Single files as they are, those of a folder in one, and the pictures by number."""
    folders: dict[Path, int] = {}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in files:
            number = folders.setdefault(file.parent, len(folders))
            archive.write(file, f"{number}/{file.name}")
        for number, file in enumerate(pictures):
            archive.write(file, f"pictures/{number}")
    return path


class Reader:
    """
    Args:
        files: ``archive``, ``weights`` and ``packed``, as far as they are there.
        seed: of what the notebook's functions are called with.
        until: when the time of all is over, by ``time.monotonic``.
    """

    def __init__(
        self, rooms: Rooms, files: Mapping[str, Path], *, seed: int = 0, until: float = math.inf
    ) -> None:
        self._rooms, self._seed, self._until = rooms, seed, until
        self._visit = rooms.reading.visit(
            "lab5.diagnosis.visitor:answer", files=files, limits=READER
        )

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._visit.close()

    def _ask(self, do: str, read: Callable[[Any], _Answer], **request: Any) -> _Answer:
        """What ``read`` makes of the answer.

        Raises:
            SubmissionError: there is none, or one of another form.
        """
        found = self._visit.ask({"do": do, "seed": self._seed, **request}, self._left(_SECONDS))
        reason = found.error
        if found.ended == "done":
            try:
                return read(found.value)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                reason = f"{type(error).__name__}: {error}"
        raise SubmissionError(
            f"It cannot be diagnosed: reading it ended with {found.ended} ({reason}). Give its files one by one.",
            zh=f"無法診斷：讀取時發生 {found.ended}（{reason}）。請逐一指定檔案。",
        )

    def _left(self, seconds: float) -> float:
        return max(0.0, min(seconds, self._until - time.monotonic()))

    def _observe(self, names: tuple[str, ...]) -> None:
        """Run the notebook's code while the files are looked at."""
        job = self._ask("look", _job)
        with ThreadPoolExecutor(1) as pool:
            files = pool.submit(self._ask, "files", bool)
            found = {}
            if job and self._rooms.code is not None:
                self._rooms.code.wait()
                until = time.monotonic() + self._left(SECONDS)
                found = dict(run_probes(self._rooms.code, **job, until=until, names=names))
            files.result()
        if found:
            self._ask("outcomes", bool, outcomes=found)

    def diagnosis(self, *, checks: bool = True) -> Diagnosis:
        """
        Args:
            checks: make the grader's checks, too, for what no cause explains; they change no cause.

        Raises:
            SubmissionError: the files end whoever reads them.
        """
        self._observe((*PROBES, *CHECKED) if checks else PROBES)
        return self._ask("diagnose", Diagnosis.believed, checks=checks)

    def symptom(self, name: str) -> list[Text]:
        """What one of ``SYMPTOMS`` comes from, step by step."""
        return self._ask("symptom", _texts, symptom=name)

    def answers(self, answers: Sequence[str]) -> tuple[list[str], Text]:
        """Which single causes predict what was answered to the pictures, and what that says.

        Raises:
            UsageError: there is no model.
        """
        given = [(f"packed/pictures/{i}", answer) for i, answer in enumerate(answers)]
        found = self._ask("answers", _fitting, answers=given)
        if found is None:
            raise UsageError(
                "--picture needs a model beside it: give the .onnx file, too.",
                zh="--picture 需要模型：請一併指定 .onnx 檔。",
            )
        return found

    def layers(self) -> list[Row]:
        """Where the signal is lost."""
        return self._ask("layers", lambda claimed: [Row.believed(one) for one in claimed[:MOST]])


def _job(claimed: Any) -> dict[str, Any]:
    """The cells and what is given with them; it is the code room that reads them."""
    if not claimed:
        return {}
    cells, given = claimed["cells"], claimed["given"]
    if not isinstance(cells, list) or not isinstance(given, dict):
        raise TypeError(type(cells).__name__)
    return {"cells": cells, "given": given}


def _texts(claimed: Any) -> list[Text]:
    return [text_of(one) for one in claimed[:MOST]]


def _fitting(claimed: Any) -> tuple[list[str], Text] | None:
    if claimed is None:
        return None
    return [CAUSES[name].name for name in claimed["causes"][:MOST]], text_of(claimed["says"])
