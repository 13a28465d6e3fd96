"""1.5: ONNX Runtime sessions.

In notebooks: ``build_session``.
"""

from __future__ import annotations

import onnxruntime as ort

PROVIDERS = ["CPUExecutionProvider"]


def build_session(model_path, providers):
    """An ``InferenceSession`` on the model at ``model_path`` with exactly these ``providers``."""
    return ort.InferenceSession(model_path, providers=providers)


def build_timed_session(model_path: str, threads: int = 1) -> ort.InferenceSession:
    """A session that runs by turns with another one, as measurements and the page do.

    Its threads (0: as many as there are cores) do not spin after a run: they would slow the other one.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(model_path, options, providers=PROVIDERS)
