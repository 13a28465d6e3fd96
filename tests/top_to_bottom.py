"""A notebook as a student runs it, top to bottom, in a process that has imported what is slow."""

from __future__ import annotations

import builtins
import contextlib
import hashlib
import io
import json
import os
import pickle
import shutil
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab5.grading.evidence.ipython import python_of

PRELOAD = (
    "torch", "torch.onnx", "gradio", "onnx", "onnxruntime", "onnxruntime.quantization", "PIL.Image",
    "numpy.random", "pydantic.v1", __name__,
)  # fmt: skip


def quantised_once(quantise: Callable[..., None], kept: Path) -> Callable[..., None]:
    """``quantize_static`` that copies what an equal call gave: most templates draw the same images."""

    def called(
        model_input: Any, model_output: Any, calibration_data_reader: Any, **options: Any
    ) -> None:
        batches = list(iter(calibration_data_reader.get_next, None))
        asked = pickle.dumps((Path(model_input).read_bytes(), batches, sorted(options.items())))
        found = kept / f"{hashlib.sha256(asked).hexdigest()}.onnx"
        if not found.exists():
            left = iter(batches)
            reader = types.SimpleNamespace(get_next=lambda: next(left, None))
            part = found.with_suffix(f".{os.getpid()}")
            quantise(model_input, part, reader, **options)
            part.rename(found)
        shutil.copyfile(found, model_output)

    return called


def answered_once(run: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """``InferenceSession.run`` that gives an equal call's answer again: notebooks time many."""

    def called(session: Any, names: Any, feed: dict[str, Any]) -> list[Any]:
        given = session.__dict__.setdefault("given", {})
        asked = pickle.dumps((names, feed))
        if asked not in given:
            given[asked] = run(session, names, feed)
        return list(given[asked])

    return called


def run(request: dict[str, Any]) -> str:
    """Run ``request["notebook"]`` in ``request["folder"]``; what it printed.

    INT8 files are kept in ``request["kept"]``.
    """
    import gradio
    from onnxruntime import InferenceSession, quantization
    from PIL import Image

    quantization.quantize_static = quantised_once(
        quantization.quantize_static, Path(request["kept"])
    )
    InferenceSession.run = answered_once(InferenceSession.run)

    os.chdir(request["folder"])
    builtins.get_ipython = lambda: types.SimpleNamespace(system=print)  # type: ignore[attr-defined] # the installs
    gradio.Blocks.launch = lambda self, **options: print("launched", options)
    space: dict[str, Any] = {"__name__": "__main__"}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        for cell in json.loads(Path(request["notebook"]).read_text("utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                exec(compile(python_of("".join(cell["source"])), "<cell>", "exec"), space)
    tops = space["compare_fp32_int8"](Image.new("RGB", (32, 32), (200, 30, 30)))
    assert [len(top) for top in tops[:2]] == [3, 3], tops
    return printed.getvalue()
