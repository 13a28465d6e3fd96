"""1.3: the FP32 ONNX file, of truly the opset that was asked for, 13.

Since torch 2.9 ``torch.onnx.export(..., opset_version=13)`` alone writes opset 18 and says nothing, so
the opset is read back. Two routes lead to the same graph: torch's TorchScript exporter, and where a
torch has none any more, its dynamo exporter restated at that opset.

In notebooks: ``write_onnx``.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from lab5.assignment import IMAGE_SIZE, INPUT_NAME, NUM_CLASSES, OPSET, OUTPUT_NAME
from lab5.cli import console, without_advice
from lab5.errors import ExportError
from lab5.files import opset, replacing
from lab5.text import Text

# What the release of ONNX that brought the opset wrote: 7 for 13
IR_VERSION = onnx.helper.find_min_ir_version_for([onnx.helper.make_opsetid("", OPSET)])
PARITY_TOLERANCE = (
    1e-4  # largest |ONNX - PyTorch| logit, relative to the largest logit (at least 1)
)


def write_onnx(model, dummy, fp32_path):
    """The assignment's call, which the notebook is filled with, too."""
    torch.onnx.export(
        model,
        dummy,
        fp32_path,
        input_names=["input"],
        output_names=["output"],
        opset_version=OPSET,
        dynamic_axes={"input": {0: "N"}, "output": {0: "N"}},
        dynamo=False,
    )
    assert onnx.load(fp32_path).opset_import[0].version == OPSET


def graph_by_dynamo(model: nn.Module, dummy: tuple[torch.Tensor, ...]) -> onnx.ModelProto:
    """The same graph from torch's other exporter, which writes opset 18."""
    program = torch.onnx.export(
        model,
        dummy,
        input_names=["input"],
        output_names=["output"],
        dynamic_shapes=({0: torch.export.Dim("N")},),
        dynamo=True,
    )
    assert program is not None  # None is for a torch that writes the file itself
    graph = program.model_proto
    for node in graph.graph.node:
        # The only difference between opset 13 and 18 for the operators of this network.
        for attribute in [a for a in node.attribute if a.name == "allowzero"]:
            node.attribute.remove(attribute)
    graph.opset_import[0].version = OPSET
    graph.ir_version = IR_VERSION
    return graph


def export_fp32(model: nn.Module, path: Path) -> None:
    """Write ``model`` (in eval mode) as one ONNX file, verified before it takes its name.

    Input ``input`` (N, 3, 32, 32) float32, output ``output`` (N, 10) float32 logits, N symbolic.

    Raises:
        ExportError: torch cannot export it, or the file is not opset 13, not valid, or does not
            compute what PyTorch does.
    """
    dummy = (torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE),)
    with replacing(path) as temporary:
        try:
            with _without_output():
                write_onnx(model, dummy, str(temporary))
        except OSError:
            raise
        except Exception as error:  # a dozen types, for an exporter that is gone as for a bad model
            note = Text(
                f"torch's TorchScript exporter does not work ({type(error).__name__}); exported by its "
                f"dynamo exporter, restated at opset {OPSET}.",
                f"torch 的 TorchScript 匯出器無法使用（{type(error).__name__}），改用 dynamo 匯出器，"
                f"再標示為 opset {OPSET}。",
            )
            console.print(str(note))
            _write_by_dynamo(model, dummy, temporary)
        restore_initializers(temporary)
        verify_fp32(temporary)
        verify_parity(temporary, model)


def _write_by_dynamo(model: nn.Module, dummy: tuple[torch.Tensor, ...], path: Path) -> None:
    try:
        with _without_output():
            onnx.save(graph_by_dynamo(model, dummy), path)
    except OSError:
        raise
    except Exception as error:  # torch raises a dozen types
        raise ExportError(
            f"torch cannot export this network: {_first_line(error)}. "
            "Reinstall torch, or export the assignment's ResNet18.",
            zh=f"torch 無法匯出這個模型：{_first_line(error)}。請重新安裝 torch，或匯出本作業的 ResNet18。",
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0] or type(error).__name__


@contextlib.contextmanager
def _without_output() -> Iterator[None]:
    """The exporters print progress, and warn that TorchScript's is deprecated; the package says its own."""
    with (
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        warnings.catch_warnings(),
        without_advice(),
    ):
        warnings.simplefilter("ignore")
        yield


def restore_initializers(path: Path) -> None:
    """Give each layer its own weights again, where equal ones were stored once.

    Both exporters do so and copy them by Identity, which quantisation cannot read. Only untrained
    networks have equal weights; the file of any other is not touched.
    """
    model = onnx.load(path)
    graph = model.graph
    stored = {tensor.name for tensor in graph.initializer}
    copies = [n for n in graph.node if n.op_type == "Identity" and n.input[0] in stored]
    if not copies:
        return
    source = {node.output[0]: node.input[0] for node in copies}
    for node in copies:
        graph.node.remove(node)
    for node in graph.node:
        node.input[:] = [source.get(name, name) for name in node.input]
    onnx.save(model, path)


def verify_fp32(path: Path) -> onnx.ModelProto:
    """Read an FP32 file back, external data included, and check what 1.3 asks of it.

    Weights that are inputs as well (``keep_initializers_as_inputs``) are constants in what is returned.

    Raises:
        ExportError: it is not a valid opset 13 file with the assignment's input and output.
    """
    graph = read_graph(path)
    weights = {tensor.name for tensor in graph.graph.initializer}
    for value in [value for value in graph.graph.input if value.name in weights]:
        graph.graph.input.remove(value)
    found = opset(graph)
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
        (OUTPUT_NAME, onnx.TensorProto.FLOAT, (NUM_CLASSES,)),
    ]
    if have != want:
        raise ExportError(
            f"{path.name} has {have}, expected {want} after the batch axis. "
            "Give input_names and output_names as the assignment does.",
            zh=f"{path.name} 的輸入輸出是 {have}，扣除 batch 軸後應為 {want}。"
            "請依作業設定 input_names 與 output_names。",
        )
    return graph


def read_graph(path: Path) -> onnx.ModelProto:
    """A valid ONNX file with its weights, those in a file beside it included.

    Raises:
        ExportError: it is no valid ONNX file, or its external data cannot be read.
    """
    try:
        graph = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's own, and OSError
        raise _invalid(path, error) from error
    try:
        onnx.load_external_data_for_model(graph, str(path.parent))  # never from outside that folder
    except Exception as error:  # checker's own, ValueError, OSError
        raise ExportError(
            f"{path.name} keeps its weights in another file, which cannot be read: "
            f"{_first_line(error)} Put that file beside {path.name} again, or export to one file.",
            zh=f"{path.name} 的權重存在另一個檔案，但無法讀取：{_first_line(error)} "
            f"請把該檔案放回 {path.name} 旁邊，或重新匯出成單一檔案。",
        ) from error
    try:
        onnx.checker.check_model(graph, full_check=True)
    except Exception as error:  # checker's and shape inference's own
        raise _invalid(path, error) from error
    return graph


def _invalid(path: Path, error: Exception) -> ExportError:
    return ExportError(
        f"{path.name} is no valid ONNX file: {_first_line(error)}. Export it again.",
        zh=f"{path.name} 不是有效的 ONNX 檔。請重新匯出。",
    )


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
