"""Faulty hand-ins, one fault each, and harmless variations: see README.md."""

from tests.mutants import archive, harmless, models, notebook, report  # noqa: F401  (registers them)
from tests.mutants.core import FAULTS, HARMLESS, Grader, HandIn, Variants, Variation

__all__ = ["FAULTS", "HARMLESS", "Grader", "HandIn", "Variants", "Variation"]
