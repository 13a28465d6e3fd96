"""Faulty hand-ins, one fault each, and harmless variations: see README.md."""

import importlib
import pkgutil

from tests.mutants.core import FAULTS, HARMLESS, Grader, HandIn, Variants, Variation

__all__ = ["FAULTS", "HARMLESS", "Grader", "HandIn", "Variants", "Variation"]

for _module in sorted(module.name for module in pkgutil.iter_modules(__path__)):
    importlib.import_module(f"{__name__}.{_module}")  # each registers its variations
