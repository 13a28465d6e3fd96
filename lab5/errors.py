"""What can go wrong, as one small tree.

    Lab5Error                 exit status 1
    ├── UsageError            2: the command line or an argument is wrong
    ├── CheckpointError       best_model.pth cannot be used
    ├── ExportError           the FP32 file is not what 1.3 asks for
    ├── QuantizationError     the INT8 file is not what 1.4 asks for
    │   └── CalibrationError  the calibration images are at fault
    ├── DataError             CIFAR-10 or a picture cannot be read
    │   └── DataMissing       … because it is not here
    ├── NotebookError         the template cannot be filled
    ├── ReportError           the PDF cannot be made
    ├── AppError              the page cannot be served
    ├── SubmissionError       a zip cannot be opened safely
    └── SandboxError          the grader's own child process does not start
        └── NoWallError       … behind a wall: there is no bubblewrap, or it may not build one

Every message says what is wrong, what was expected and what to do, in English and in zh-TW.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

from lab5.text import Text


class Lab5Error(Exception):
    """The base of every error that lab5 raises on purpose."""

    exit_code = 1

    def __init__(self, en: str, *, zh: str) -> None:
        super().__init__(en)
        self.text = Text(en, zh)

    def __reduce__(self) -> tuple[Any, ...]:
        """From one process to another, with both languages."""
        return partial(type(self), zh=self.text.zh), (self.text.en,), vars(self)

    def __str__(self) -> str:
        return str(self.text)


class UsageError(Lab5Error):
    exit_code = 2


# What of a checkpoint is at fault: it is none, or of another network, or its weights are unusable.
About = Literal["file", "network", "weights"]


class CheckpointError(Lab5Error):
    about: About = "file"


class ExportError(Lab5Error):
    pass


class QuantizationError(Lab5Error):
    pass


class CalibrationError(QuantizationError):
    pass


class DataError(Lab5Error):
    pass


class DataMissing(DataError):
    pass


class NotebookError(Lab5Error):
    pass


class ReportError(Lab5Error):
    pass


class AppError(Lab5Error):
    pass


class SubmissionError(Lab5Error):
    pass


class SandboxError(Lab5Error):
    pass


class NoWallError(SandboxError):
    pass
