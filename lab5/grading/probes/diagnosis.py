"""2.1 as the diagnosis asks for it: ``preprocess`` on pictures that tell one way from another."""

from __future__ import annotations

from typing import Any

import numpy as np

from lab5.grading.evidence.program import Program
from lab5.grading.probes.preprocess import called
from lab5.grading.probes.registry import extra_probe
from lab5.grading.stand_ins.given import Given
from lab5.grading.stand_ins.pictures import telling_pictures


@extra_probe
def diagnosis(program: Program, given: Given) -> dict[str, Any]:
    """Call ``preprocess`` on the telling pictures; 64 bits are told by ``dtype`` and sent as 32."""
    found = called(program, given, telling_pictures())
    for call in found["calls"].values():
        if isinstance(value := call.get("value"), np.ndarray) and value.dtype.kind in "fiu":
            call["value"] = value.astype(np.float32)
    return found
