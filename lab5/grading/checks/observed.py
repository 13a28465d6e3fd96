"""What several checks ask of what was observed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from lab5.grading.stand_ins.sessions import KINDS

if TYPE_CHECKING:
    import numpy as np

MILLISECONDS: Final = {  # of a unit, in lower case
    **dict.fromkeys(("ms", "msec", "毫秒"), 1.0),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds", "秒"), 1e3),
    **dict.fromkeys(("us", "µs", "μs", "微秒"), 1e-3),
}


def relative(found: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference, relative to the largest value wanted, at least 1."""
    import numpy as np

    if found.shape != wanted.shape or not np.isfinite(found).all():
        return float("inf")
    return float(abs(found - wanted).max() / max(1.0, float(abs(wanted).max())))


def require_libraries(found: dict[str, Any]) -> None:
    """Raise when a library that the notebook imports is not installed here: no fault of the student.

    To be called before any ``Fault`` about code that failed.
    """
    if absent := found.get("absent"):
        raise RuntimeError(
            f"the notebook needs {', '.join(absent)}: install it beside lab5 and grade again"
        )


def errors_of(found: dict[str, Any]) -> str:
    """What the code raised, in one line."""
    errors = [found["error"]] if found.get("error") else []
    errors += found.get("errors") or []
    return "; ".join(errors)[:300] or "—"


def exchanged(named: Iterable[tuple[str, str]]) -> list[str]:
    """Which of the sessions, given with the kind of their model, are called by the other kind alone."""
    return [
        f"{name} = {kind.upper()}"
        for name, kind in named
        if kind not in name.lower()
        and any(other in name.lower() for other in KINDS if other != kind)
    ]
