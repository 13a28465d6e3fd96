"""The diagnosis: which line made a hand-in wrong, found by trying causes against what was observed.

lab5 diagnose, lab5 grade (hints)
  │ asked: the parent, which reads nothing of the hand-in and believes only what a diagnosis can be
  v
visitor, in the reading room                        the code room: probes/
  │ given: zip, folder, files ──> grading's Evidence <── observations
  │
  │ diagnosing: each topic compares what its causes predict with them      (core: CAUSES, a table)
  │    preprocessing ── chain          2.1  the tensors of telling pictures
  │    fp32 ── reference               1.1 to 1.3  logits and weights
  │    checkpoint                      1.2  keys and shapes
  │    int8                            1.4  ranges and weights
  │    sessions                        1.5  what is opened of stand-in models
  │    page                            2.2  answers and times on stand-in models
  v
Diagnosis: causes with evidence, cell, line and mend (source, *_mends); ruled out; unknown
  └── symptoms: which of them people see so;  layers: where the signal is lost;  render
"""

from lab5.diagnosis.core import CAUSES, SYMPTOMS, Cause, Diagnosis, Named

__all__ = ["CAUSES", "SYMPTOMS", "Cause", "Diagnosis", "Named"]
