"""Faults of the two model files."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests import handin
from tests.handin import FP32, INT8
from tests.mutants.core import HandIn, fault, harmless


def external(
    h: HandIn, location: str, of: str = FP32
) -> tuple[Callable[[], bytes], Callable[[], bytes]]:
    """A good model with its weights in a file of that name; and that file."""

    def parts() -> tuple[bytes, bytes]:
        from onnx.external_data_helper import set_external_data

        model, data = onnx.load_from_string(h.variants.good[of]), io.BytesIO()
        for tensor in model.graph.initializer:
            raw = numpy_helper.to_array(tensor).tobytes()
            if len(raw) >= 1024 and tensor.HasField("raw_data"):
                set_external_data(tensor, location, data.tell(), len(raw))
                tensor.ClearField("raw_data")
                tensor.data_location = TensorProto.EXTERNAL
                data.write(raw)
        return model.SerializeToString(), data.getvalue()

    return lambda: parts()[0], lambda: parts()[1]


def with_location(data: bytes, location: str) -> bytes:
    """The model referring to another file."""
    model = onnx.load_from_string(data)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    return bytes(model.SerializeToString())


def both(h: HandIn, name: str, fp32: Callable[[Path], object]) -> None:
    """Another FP32 file, and the INT8 file made from it."""
    h.files[FP32] = lambda: h.variants.once(name, fp32)
    h.files[INT8] = lambda: h.variants.once(
        f"{name}-int8", lambda path: handin.quantise(h.variants.once(name, fp32), path)
    )


def both_edited(h: HandIn, name: str, edit: Callable[[onnx.ModelProto], Any]) -> None:
    """The FP32 graph edited, and the INT8 file made from it."""

    def make(path: Path) -> None:
        model = onnx.load_from_string(h.variants.good[FP32])
        edit(model)
        path.write_bytes(model.SerializeToString())

    both(h, name, make)


def quantised(h: HandIn, name: str, images: np.ndarray | None = None, **options: Any) -> None:
    """The INT8 file made with other options."""
    h.files[INT8] = lambda: h.variants.once(
        name, lambda path: handin.quantise(h.variants.good[FP32], path, images, **options)
    )


def rename_value(model: onnx.ModelProto, old: str, new: str) -> None:
    """Another name for an input, an output or what lies between."""
    for node in model.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
    for value in (*model.graph.input, *model.graph.output):
        if value.name == old:
            value.name = new


def noisy(net: Any, amount: float, seed: int = 0) -> Any:
    """The network with every weight changed by a random part of it."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    net = copy.deepcopy(net)
    with torch.no_grad():
        for name, value in net.named_parameters():
            if value.dim() > 1:
                value.mul_(1 + amount * torch.randn(value.shape, generator=generator))
            assert name
    return net


def appended(model: onnx.ModelProto, op: str, **attributes: Any) -> None:
    """One more operator at the end."""
    last = model.graph.node[-1]
    last.output[0] = "logits"
    model.graph.node.append(helper.make_node(op, ["logits"], ["output"], **attributes))


# 1.2


@fault("fp32-carries-weights")
def another_checkpoint(h: HandIn) -> None:
    """Both models carry weights that are not best_model.pth's."""
    both(h, "another-checkpoint", lambda path: h.variants.export(noisy(h.variants.net, 0.05), path))


@fault("fp32-carries-weights")
def random_weights(h: HandIn) -> None:
    """Both models are as they were before the weights were loaded."""

    def make(path: Path) -> None:
        import torch

        from lab5.export import export_fp32
        from lab5.model import BasicBlock, ResNet18

        torch.manual_seed(0)
        export_fp32(ResNet18(BasicBlock).eval(), path)

    both(h, "random-weights", make)


# 1.3


@fault("fp32-valid", also=("external-data",))
def fp32_cut_off(h: HandIn) -> None:
    """The second half of the FP32 file is missing."""
    h.files[FP32] = h.variants.good[FP32][: len(h.variants.good[FP32]) // 2]


@fault("fp32-valid", also=("external-data",))
def checkpoint_named_onnx(h: HandIn) -> None:
    """The FP32 file is a PyTorch checkpoint under another name."""

    def made() -> bytes:
        import torch

        found = io.BytesIO()
        torch.save(h.variants.net.state_dict(), found)
        return found.getvalue()

    h.files[FP32] = made


@fault("fp32-valid", also=("external-data",))
def web_page_named_onnx(h: HandIn) -> None:
    """The FP32 file is the web page that was downloaded in its place."""
    h.files[FP32] = b"<!DOCTYPE html><html><body>Sign in</body></html>"


@fault("fp32-valid")
def node_missing(h: HandIn) -> None:
    """The FP32 graph lacks a node whose result it uses."""
    h.graph(FP32, lambda model: model.graph.node.pop(1))


@harmless(advises=("fp32-opset",), fast=True)
def opset_18(h: HandIn) -> None:
    """The FP32 file is opset 18."""
    h.graph(FP32, lambda model: setattr(model.opset_import[0], "version", 18))


@fault("fp32-opset")
def opset_11(h: HandIn) -> None:
    """The FP32 file is opset 11."""
    h.graph(FP32, lambda model: setattr(model.opset_import[0], "version", 11))


@harmless(advises=("fp32-opset",))
def exported_at_opset_17(h: HandIn) -> None:
    """Both models were exported with opset_version=17."""
    both(h, "opset-17", lambda path: h.variants.export(h.variants.net, path, opset_version=17))


@fault("fp32-names", fast=True)
def input_by_another_name(h: HandIn) -> None:
    """The input is called input.1, as without input_names."""
    h.graph(FP32, lambda model: rename_value(model, "input", "input.1"))


@fault("fp32-names")
def output_by_another_name(h: HandIn) -> None:
    """The output is called logits."""
    h.graph(FP32, lambda model: rename_value(model, "output", "logits"))


@fault("fp32-names")
def names_exchanged(h: HandIn) -> None:
    """The input is called output and the output input."""

    def edit(model: onnx.ModelProto) -> None:
        for old, new in (("input", "x"), ("output", "input"), ("x", "output")):
            rename_value(model, old, new)

    h.graph(FP32, edit)


@fault("fp32-shapes")
def any_height_and_width(h: HandIn) -> None:
    """Height and width are dynamic axes."""

    def edit(model: onnx.ModelProto) -> None:
        shape = model.graph.input[0].type.tensor_type.shape
        shape.dim[2].dim_param, shape.dim[3].dim_param = "height", "width"

    h.graph(FP32, edit)


@fault("fp32-shapes")
def batch_of_two(h: HandIn) -> None:
    """The batch size is fixed at two: one picture cannot be fed."""

    def edit(model: onnx.ModelProto) -> None:
        for value in (model.graph.input[0], model.graph.output[0]):
            value.type.tensor_type.shape.dim[0].dim_value = 2

    h.graph(FP32, edit)


@fault("fp32-shapes", also=("fp32-parity", "int8-agrees", "int8-speed"))
def class_for_logits(h: HandIn) -> None:
    """The FP32 model ends with an argmax."""

    def edit(model: onnx.ModelProto) -> None:
        appended(model, "ArgMax", axis=1, keepdims=0)
        tensor = model.graph.output[0].type.tensor_type
        tensor.elem_type = TensorProto.INT64
        del tensor.shape.dim[1]

    h.graph(FP32, edit)


@fault("fp32-inference-graph")
def training_graph(h: HandIn) -> None:
    """Both models were exported in training mode."""

    def make(path: Path) -> None:
        import torch

        h.variants.export(
            copy.deepcopy(h.variants.net),
            path,
            training=torch.onnx.TrainingMode.TRAINING,
            do_constant_folding=False,
        )

    h.files[FP32] = lambda: h.variants.once("training", make)


@fault("fp32-inference-graph", also=("int8-size",))
def fp32_quantised_as_well(h: HandIn) -> None:
    """The FP32 file is the INT8 file."""
    h.files[FP32] = h.variants.good[INT8]


@fault("fp32-parity")
def softmax_in_the_model(h: HandIn) -> None:
    """The models end with a softmax."""
    both_edited(h, "softmax", lambda model: appended(model, "Softmax", axis=1))


@fault("fp32-parity")
def division_in_the_model(h: HandIn) -> None:
    """The models divide their input by 255."""

    def edit(model: onnx.ModelProto) -> None:
        first = model.graph.node[0]
        first.input[0] = "pixels"
        model.graph.initializer.append(numpy_helper.from_array(np.float32(255), "many"))
        model.graph.node.insert(0, helper.make_node("Div", ["input", "many"], ["pixels"]))

    both_edited(h, "division", edit)


@fault("fp32-parity")
def relu_missing(h: HandIn) -> None:
    """The models lack the ReLU after the first block."""

    def edit(model: onnx.ModelProto) -> None:
        add = next(i for i, n in enumerate(model.graph.node) if n.op_type == "Add")
        relu = model.graph.node[add + 1]
        assert relu.op_type == "Relu"
        old, new = relu.output[0], relu.input[0]
        model.graph.node.remove(relu)
        rename_value(model, old, new)

    both_edited(h, "relu-missing", edit)


@fault("fp32-parity")
def shortcuts_missing(h: HandIn) -> None:
    """The models do not add the first shortcut."""

    def edit(model: onnx.ModelProto) -> None:
        add = next(n for n in model.graph.node if n.op_type == "Add")
        rename_value(model, add.output[0], add.input[0])
        model.graph.node.remove(add)

    both_edited(h, "shortcut-missing", edit)


# 1.4


@fault("int8-valid", fast=True)
def int8_is_the_fp32_file(h: HandIn) -> None:
    """The INT8 file is a copy of the FP32 file."""
    h.files[INT8] = h.variants.good[FP32]


@fault("int8-valid")
def int8_cut_off(h: HandIn) -> None:
    """The second half of the INT8 file is missing."""
    h.files[INT8] = h.variants.good[INT8][: len(h.variants.good[INT8]) // 2]


@fault("int8-valid")
def int8_is_half_precision(h: HandIn) -> None:
    """The INT8 file is the model in FP16."""

    def made() -> bytes:
        from onnxruntime.transformers.float16 import convert_float_to_float16

        model = onnx.load_from_string(h.variants.good[FP32])
        return bytes(convert_float_to_float16(model, keep_io_types=True).SerializeToString())

    h.files[INT8] = made


@fault("int8-static")
def dynamic_quantisation(h: HandIn) -> None:
    """The INT8 file was made by quantize_dynamic."""

    def make(path: Path) -> None:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        quantize_dynamic(
            onnx.load_from_string(h.variants.good[FP32]),
            path,
            weight_type=QuantType.QUInt8,
        )

    h.files[INT8] = lambda: h.variants.once("dynamic", make)


@harmless(advises=("int8-qoperator",))
def qdq_format(h: HandIn) -> None:
    """quant_format="QOperator" as a string, which gives QDQ."""
    quantised(h, "qdq", quant_format="QOperator")


@harmless(advises=("int8-qoperator", "int8-speed"))
def qdq_format_with_int8_activations(h: HandIn) -> None:
    """The assignment's call as it stands: QDQ, int8 activations."""
    from onnxruntime.quantization import QuantType

    quantised(h, "qdq-s8", quant_format="QOperator", activation_type=QuantType.QInt8)


@fault("int8-every-convolution")
def first_convolution_left_out(h: HandIn) -> None:
    """The first convolution is left in floating point."""
    first = next(
        n.name
        for n in onnx.load_from_string(h.variants.good[FP32]).graph.node
        if n.op_type == "Conv"
    )
    quantised(h, "first-excluded", nodes_to_exclude=[first])


@fault("int8-per-channel")
def per_tensor_weights(h: HandIn) -> None:
    """per_channel=False."""
    quantised(h, "per-tensor", per_channel=False)


@fault("int8-weight-type")
def uint8_weights(h: HandIn) -> None:
    """weight_type=QUInt8."""
    from onnxruntime.quantization import QuantType

    quantised(h, "uint8-weights", weight_type=QuantType.QUInt8)


@fault("int8-from-fp32")
def int8_of_an_older_model(h: HandIn) -> None:
    """The INT8 file was made from an older FP32 file."""

    def make(path: Path) -> None:
        fp32 = h.variants.once(
            "older", lambda path: h.variants.export(noisy(h.variants.net, 0.03, seed=1), path)
        )
        handin.quantise(fp32, path)

    h.files[INT8] = lambda: h.variants.once("older-int8", make)


@fault("int8-agrees")
def calibrated_on_pixels_0_to_1(h: HandIn) -> None:
    """Calibrated on uniform random numbers in 0..1, not normalised."""
    quantised(h, "uniform", images=np.random.default_rng(0).random((20, 3, 32, 32)))


@fault("int8-agrees")
def calibrated_on_zeros(h: HandIn) -> None:
    """Calibrated on black pictures that were not normalised."""
    quantised(h, "zeros", images=np.zeros((4, 3, 32, 32)))


@fault("int8-agrees")
def calibrated_on_pixels_0_to_255(h: HandIn) -> None:
    """Calibrated on pixels 0..255."""
    quantised(h, "bytes", images=np.random.default_rng(0).integers(0, 256, (20, 3, 32, 32)))


@fault("int8-agrees")
def calibrated_on_faint_noise(h: HandIn) -> None:
    """Calibrated on random normal numbers of a twentieth of the scale."""
    quantised(h, "faint", images=np.random.default_rng(0).standard_normal((8, 3, 32, 32)) / 20)


@fault("int8-size")
def fp32_weights_kept_in_int8(h: HandIn) -> None:
    """The INT8 file still holds the FP32 weights."""

    def edit(model: onnx.ModelProto) -> None:
        for tensor in onnx.load_from_string(h.variants.good[FP32]).graph.initializer:
            tensor.name += "_float"
            model.graph.initializer.append(tensor)

    h.graph(INT8, edit)


@harmless(advises=("int8-speed",))
def int8_activations(h: HandIn) -> None:
    """QOperator with int8 activations, which x86 has no fast path for."""
    from onnxruntime.quantization import QuantType

    quantised(h, "s8", activation_type=QuantType.QInt8)
