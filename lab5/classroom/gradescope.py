"""What a Gradescope autograder writes: a ``results.json`` for a hand-in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from lab5.classroom import feedback
from lab5.classroom.entry import Marked
from lab5.files import write_json
from lab5.grading.render import explained
from lab5.text import Language

# Only what was judged has a status: Gradescope knows no other, and shows those without one as they are.
_STATUS: Final = {"pass": "passed", "advice": "passed", "fail": "failed", "blocked": "failed"}


def results(marked: Marked, lang: Language) -> dict[str, Any]:
    """The content of ``results.json``: a test a check; the score has a person's points, too."""
    graded = marked.graded
    if graded is None:
        said = "\n".join(feedback.lines(marked, lang))
        return {"score": 0, "output": said, "output_format": "text"}
    return {
        "score": marked.total,
        "execution_time": math.ceil(graded.seconds),
        "output": "\n".join(feedback.points_of(marked, lang)),
        "output_format": "text",
        "test_output_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "tests": [
            {
                "score": one.earned,
                "max_score": one.points,
                **({"status": _STATUS[one.status]} if one.status in _STATUS else {}),
                "name": f"{one.item} {one.name}",
                "number": str(number),
                "output": "\n".join(explained(one, lang)),
                "tags": [one.item],
                "extra_data": {"status": one.status},
            }
            for number, one in enumerate(graded.checks, 1)
        ],
        "extra_data": {
            "student_id": graded.student_id,
            "manual": marked.to_give,
            "seed": graded.seed,
            "sha256": marked.sha256,
        },
    }


def write(path: Path, marked: Sequence[Marked], lang: Language) -> None:
    """``path`` is the file of the only hand-in, or the folder with ``<key>.json`` for each of several."""
    several = len(marked) != 1
    if several:
        path.mkdir(exist_ok=True)
    for one in marked:
        file = path / f"{one.handin.key}.json" if several else path
        write_json(file, results(one, lang), ensure_ascii=False, indent=1)
