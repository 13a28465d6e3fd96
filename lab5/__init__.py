"""EAI Lab 5: from best_model.pth to a graded zip.

the steps      model → export → calibration, quantize → session → preprocess → compare → app
the hand-in    package: notebook/ fills the template, report/ writes the PDF
the checks     grading/: anybody's zip → a mark; diagnosis/: which line is at fault
a class        classroom/: many zips → marks and feedback
around them    web/ the page in public, study/ what is asked beyond the assignment
the commands   commands/, a verb each; ``lab5`` (__main__) lists them
shared         assignment (its numbers, names and points, of assignment.toml), checkpoint, models,
               files, text, errors, cli
"""

from __future__ import annotations

import os
from typing import Any

__all__ = ["check_submission"]

# ``python -m lab5.grade`` finds the verb in commands/.
__path__.append(os.path.join(__path__[0], "commands"))  # noqa: PTH118 (no pathlib at start-up)

# onnxruntime 1.32 reports to its maker on Linux, too, and leaves a file in the temporary folder.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> Any:
    if name == "check_submission":
        from lab5.grading.suite import check_submission

        return check_submission
    raise AttributeError(f"module 'lab5' has no attribute {name!r}")
