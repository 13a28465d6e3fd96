"""EAI Lab 5: from best_model.pth to a graded zip."""

from __future__ import annotations

from typing import Any

__all__ = ["check_submission"]


def __getattr__(name: str) -> Any:
    if name == "check_submission":
        from lab5.checks import check_submission

        return check_submission
    raise AttributeError(f"module 'lab5' has no attribute {name!r}")
