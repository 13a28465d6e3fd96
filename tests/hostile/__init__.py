"""Hostile hand-ins, one attack each, and what must hold when they are graded: see core.py and run.py."""

import importlib
import pkgutil

from tests.hostile.core import CASES, Case, Holds, Hostile, World

__all__ = ["CASES", "Case", "Holds", "Hostile", "World"]

for _module in sorted(module.name for module in pkgutil.iter_modules(__path__)):
    importlib.import_module(f"{__name__}.{_module}")  # each registers its attacks
