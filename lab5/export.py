"""1.3: the FP32 ONNX file, a true opset 13.

Since torch 2.9 ``torch.onnx.export(..., opset_version=13)`` alone writes opset 18 and says nothing, so
the opset is read back. Two routes lead to the same graph: torch's TorchScript exporter, and where a
torch has none any more, its dynamo exporter restated at opset 13.
"""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from lab5.assignment import CLASSES, IMAGE_SIZE, INPUT_NAME, OPSET, OUTPUT_NAME
from lab5.errors import ExportError
from lab5.files import replacing

IR_VERSION = 7  # what ONNX 1.8, the release of opset 13, wrote
PARITY_TOLERANCE = (
    1e-4  # largest |ONNX - PyTorch| logit, relative to the largest logit (at least 1)
)

# What the notebook is filled with: it uses nothing of lab5.


def write_onnx(model, dummy, fp32_path):
    torch.onnx.export(
        model,
        dummy,
        fp32_path,
        input_names=["input"],
        output_names=["output"],
        opset_version=13,
        dynamic_axes={"input": {0: "N"}, "output": {0: "N"}},
        dynamo=False,
    )
    assert onnx.load(fp32_path).opset_import[0].version == 13


# Where torch has no such exporter any more; used by the package only.


def graph_by_dynamo(model, dummy):
    program = torch.onnx.export(
        model,
        dummy,
        input_names=["input"],
        output_names=["output"],
        dynamic_shapes=({0: torch.export.Dim("N")},),
        dynamo=True,
    )
    graph = program.model_proto
    for node in graph.graph.node:
        # The only difference between opset 13 and 18 for the operators of this network.
        for attribute in [a for a in node.attribute if a.name == "allowzero"]:
            node.attribute.remove(attribute)
    graph.opset_import[0].version = 13
    graph.ir_version = 7
    return graph


def export_fp32(model: nn.Module, path: Path) -> None:
    """Write ``model`` (in eval mode) as one ONNX file, verified before it takes its name.

    Input ``input`` (N, 3, 32, 32) float32, output ``output`` (N, 10) float32 logits, N symbolic.

    Raises:
        ExportError: the file is not opset 13, not valid, or does not compute what PyTorch does.
    """
    dummy = (torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE),)
    with replacing(path) as temporary, warnings.catch_warnings(), _quiet():
        warnings.simplefilter(
            "ignore"
        )  # that the TorchScript exporter is deprecated: handled above
        write_onnx(model, dummy, str(temporary))
        verify_fp32(temporary)
        verify_parity(temporary, model)


@contextlib.contextmanager
def _quiet():
    """The exporters print progress; the package has its own."""
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def verify_fp32(path: Path) -> onnx.ModelProto:
    """Read an FP32 file back and check what 1.3 asks of it.

    Raises:
        ExportError: it is not a valid opset 13 file with the assignment's input and output.
    """
    try:
        graph = onnx.load(path)
        onnx.checker.check_model(graph, full_check=True)
    except Exception as error:  # onnx raises protobuf, checker and shape inference errors
        raise ExportError(
            f"{path.name} is no valid ONNX file: {error}. Export it again.",
            zh=f"{path.name} 不是有效的 ONNX 檔。請重新匯出。",
        ) from error
    found = next((o.version for o in graph.opset_import if o.domain in ("", "ai.onnx")), 0)
    if found != OPSET:
        raise ExportError(
            f"{path.name} is opset {found}, expected {OPSET}. Since torch 2.9 the default exporter "
            "writes 18 whatever is asked: export with dynamo=False.",
            zh=f"{path.name} 是 opset {found}，應為 {OPSET}。torch 2.9 起預設的匯出器一律寫成 18，"
            "請加上 dynamo=False。",
        )
    have = [_signature(value) for value in (*graph.graph.input, *graph.graph.output)]
    want = [
        (INPUT_NAME, onnx.TensorProto.FLOAT, (3, IMAGE_SIZE, IMAGE_SIZE)),
        (OUTPUT_NAME, onnx.TensorProto.FLOAT, (len(CLASSES),)),
    ]
    if have != want:
        raise ExportError(
            f"{path.name} has {have}, expected {want} after the batch axis. "
            "Give input_names and output_names as the assignment does.",
            zh=f"{path.name} 的輸入輸出是 {have}，扣除 batch 軸後應為 {want}。"
            "請依作業設定 input_names 與 output_names。",
        )
    return graph


def _signature(value: onnx.ValueInfoProto) -> tuple[str, int, tuple[int, ...]]:
    tensor = value.type.tensor_type
    return value.name, tensor.elem_type, tuple(d.dim_value for d in tensor.shape.dim[1:])


def verify_parity(path: Path, model: nn.Module) -> float:
    """The largest difference between the file's logits and PyTorch's, relative to the largest logit.

    Raises:
        ExportError: it is above ``PARITY_TOLERANCE``.
    """
    from lab5.session import build_session

    x = np.random.default_rng(0).standard_normal((4, 3, IMAGE_SIZE, IMAGE_SIZE), dtype=np.float32)
    with torch.no_grad():
        want = model(torch.from_numpy(x)).numpy()  # (4, 10)
    session = build_session(str(path), ["CPUExecutionProvider"])
    (found,) = session.run([OUTPUT_NAME], {INPUT_NAME: x})
    difference = float(np.abs(found - want).max() / max(1.0, float(np.abs(want).max())))
    if not difference <= PARITY_TOLERANCE:
        raise ExportError(
            f"{path.name} and PyTorch differ by {difference:.2g} of the largest logit, at most "
            f"{PARITY_TOLERANCE:g} expected. Was the model in eval mode?",
            zh=f"{path.name} 與 PyTorch 的輸出相差 {difference:.2g}（上限 {PARITY_TOLERANCE:g}）。"
            "匯出前是否呼叫了 model.eval()？",
        )
    return difference
