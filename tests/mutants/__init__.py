"""Faulty hand-ins, one fault each, and harmless variations: see README.md."""

from tests.mutants import (  # noqa: F401  (registers them)
    archive,
    harmless,
    harmless_notebook,
    models,
    notebook,
    report,
)
from tests.mutants.core import FAULTS, HARMLESS, Grader, HandIn, Variants, Variation

__all__ = ["FAULTS", "HARMLESS", "Grader", "HandIn", "Variants", "Variation"]
