"""Attacks by ONNX files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.handin import FP32, INT8
from tests.hostile.core import LATE, SOON, Hostile, attack

_IN = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, 32, 32])
_OUT = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", 10])


def model(nodes: Sequence[onnx.NodeProto], *tensors: onnx.TensorProto) -> onnx.ModelProto:
    """A model with the assignment's input and output."""
    graph = helper.make_graph(nodes, "g", [_IN], [_OUT], tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    made.ir_version = 7
    return made


def integers(name: str, *values: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def linear(extra: Sequence[onnx.NodeProto] = (), *tensors: onnx.TensorProto) -> onnx.ModelProto:
    """One layer on all pixels, and what else."""
    weight = numpy_helper.from_array(np.zeros((3072, 10), np.float32), "weight")
    nodes = [
        helper.make_node("Flatten", ["input"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["output"]),
    ]
    return model([*extra, *nodes], weight, *tensors)


def external(location: str) -> bytes:
    """A model whose weights lie at a location."""
    made = linear()
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return made.SerializeToString()


def declared(shape: tuple[int, ...], kind: int = TensorProto.FLOAT) -> bytes:
    """A model with a weight whose shape is declared, and no data."""
    made = linear()
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    del tensor.dims[:]
    tensor.dims.extend(shape)
    tensor.data_type = kind
    return made.SerializeToString()


def expanded(size: int) -> bytes:
    """A model in which a node makes a constant of so many bytes."""
    made = linear(
        [
            helper.make_node("ConstantOfShape", ["shape"], ["huge"]),
            helper.make_node("ReduceSum", ["huge"], ["sum"], keepdims=0),
        ],
        integers("shape", size // 4),
    )
    made.graph.node[-1].output[0] = "product"
    made.graph.node.append(helper.make_node("Add", ["product", "sum"], ["output"]))
    return made.SerializeToString()


def loop(rounds: int) -> bytes:
    """A model that goes through a loop so many times."""
    boolean = helper.make_tensor_value_info("more", TensorProto.BOOL, [])
    number = helper.make_tensor_value_info("round", TensorProto.INT64, [])
    value = helper.make_tensor_value_info("v", TensorProto.FLOAT, [])
    after = helper.make_tensor_value_info("w", TensorProto.FLOAT, [])
    again = helper.make_tensor_value_info("again", TensorProto.BOOL, [])
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["more"], ["again"]),
            helper.make_node("Sin", ["v"], ["w"]),
        ],
        "body", [number, boolean, value], [again, after],
    )  # fmt: skip
    made = linear(
        [
            helper.make_node("ReduceSum", ["input"], ["start"], keepdims=0),
            helper.make_node("Loop", ["rounds", "yes", "start"], ["end"], body=body),
        ],
        numpy_helper.from_array(np.array(rounds, np.int64), "rounds"),
        numpy_helper.from_array(np.array(True), "yes"),
    )
    made.graph.node[-1].output[0] = "product"
    made.graph.node.append(helper.make_node("Add", ["product", "end"], ["output"]))
    return made.SerializeToString()


def large_batch(data: bytes, batch: int) -> bytes:
    """The same model with another first axis."""
    made = onnx.load_from_string(data)
    for value in (*made.graph.input, *made.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    return made.SerializeToString()


def both(h: Hostile, data: bytes) -> None:
    h.files[FP32] = h.files[INT8] = data


@attack("models", quick=True)
def onnx_weights_outside_the_zip(h: Hostile) -> None:
    """By two dots."""
    both(h, external("../../../../etc/passwd"))


@attack("models")
def onnx_weights_in_a_device(h: Hostile) -> None:
    """Zeros without end."""
    both(h, external("/dev/zero"))


@attack("models")
def onnx_weights_behind_a_link(h: Hostile) -> None:
    """A link beside it leads there."""
    import zipfile

    from tests.hostile.zips import link

    h.files[FP32] = external("weights.data")
    key = str(h.world.home / ".ssh" / "id_rsa")

    def pack(path, files):
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
            archive.writestr(link("weights.data"), key)

    h.pack = pack


@attack("models")
def onnx_weights_at_an_offset(h: Hostile) -> None:
    """Beyond the end of the file, and before its beginning."""
    made = onnx.load_from_string(external(REPORT_DATA))
    for key, value in (("offset", str(1 << 62)), ("length", "-1")):
        made.graph.initializer[0].external_data.add(key=key, value=value)
    both(h, made.SerializeToString())
    h.files[REPORT_DATA] = bytes(100)


REPORT_DATA = f"{FP32}.data"


@attack("models")
def onnx_names_with_escapes(h: Hostile) -> None:
    """Nodes, inputs and outputs that move the cursor and write to the clipboard."""
    made = linear()
    bad = "\x1b[8A\x1b]52;c;bHM=\x07\x9b2J\u202e"
    made.graph.input[0].name = made.graph.node[0].input[0] = bad
    made.graph.output[0].name = made.graph.node[-1].output[0] = bad + "out"
    made.graph.node[0].op_type = "Flat\x1b[2Jten"
    both(h, made.SerializeToString())


@attack("models")
def onnx_names_that_are_no_text(h: Hostile) -> None:
    """Bytes that are no UTF-8 where protobuf has a string."""
    both(h, linear().SerializeToString().replace(b"input", b"\xff\xfe\xed\xa0\x80"))


@attack("models")
def onnx_names_of_a_megabyte(h: Hostile) -> None:
    """Which would fill the screen."""
    made = linear()
    made.graph.input[0].name = made.graph.node[0].input[0] = "x" * (1 << 20)
    both(h, made.SerializeToString())


@attack("models")
def onnx_with_a_cycle(h: Hostile) -> None:
    """A constant that is made of itself."""
    made = linear(
        [helper.make_node("Identity", ["a"], ["b"]), helper.make_node("Identity", ["b"], ["a"])]
    )
    made.graph.node[-1].input[1] = "a"
    both(h, made.SerializeToString())


@attack("models")
def onnx_with_a_long_chain(h: Hostile) -> None:
    """20,000 nodes between a weight and its layer."""
    chain = [helper.make_node("Identity", [f"w{i}"], [f"w{i + 1}"]) for i in range(20_000)]
    made = linear(chain)
    made.graph.initializer[0].name = "w0"
    made.graph.node[-1].input[1] = "w20000"
    both(h, made.SerializeToString())


@attack("models")
def onnx_with_nested_graphs(h: Hostile) -> None:
    """An If in an If, 25 deep: protobuf takes no more."""
    out = helper.make_tensor_value_info("o", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node("Identity", ["input"], ["o"])], "leaf", [], [out])
    for _ in range(25):
        node = helper.make_node(
            "If",
            ["yes"],
            ["o"],
            then_branch=graph,
            else_branch=graph
            if _ < 3
            else helper.make_graph(
                [helper.make_node("Identity", ["input"], ["o"])], "leaf", [], [out]
            ),
        )
        graph = helper.make_graph([node], "g", [], [out])
    made = linear(graph.node, numpy_helper.from_array(np.array(True), "yes"))
    both(h, made.SerializeToString())


@attack("models")
def onnx_with_a_hundred_thousand_nodes(h: Hostile) -> None:
    """Each with a weight."""
    nodes = [helper.make_node("Conv", ["input", "kernel"], [f"c{i}"]) for i in range(100_000)]
    kernel = numpy_helper.from_array(np.zeros((1, 3, 3, 3), np.float32), "kernel")
    both(h, linear(nodes, kernel).SerializeToString())


@attack("models")
def onnx_with_negative_shapes(h: Hostile) -> None:
    """And a type that there is not."""
    both(h, declared((-1, -(1 << 40)), 99))


@attack("models")
def onnx_nodes_without_inputs(h: Hostile) -> None:
    """Layers that have none of what they need."""
    made = linear()
    for name in (
        "Conv",
        "QLinearConv",
        "MatMul",
        "Add",
        "BatchNormalization",
        "Transpose",
        "DequantizeLinear",
    ):
        made.graph.node.append(helper.make_node(name, [], []))
    both(h, made.SerializeToString())


@attack("models")
def onnx_of_strings(h: Hostile) -> None:
    """A weight of strings, and one of complex numbers."""
    made = linear()
    made.graph.initializer.append(
        helper.make_tensor("s", TensorProto.STRING, [1], [b"\x1b[2J\xff"])
    )
    made.graph.initializer.append(helper.make_tensor("c", TensorProto.COMPLEX64, [1], [1j]))
    made.graph.node.append(helper.make_node("Conv", ["input", "s", "c"], ["z"]))
    both(h, made.SerializeToString())


@attack("models")
def onnx_of_nested_protobufs(h: Hostile) -> None:
    """Graphs in attributes of nodes in graphs, by the bytes."""

    def field(number: int, data: bytes) -> bytes:
        size, length = len(data), b""
        while True:
            size, low = size >> 7, size & 0x7F
            length += bytes([low | (0x80 if size else 0)])
            if not size:
                break
        return bytes([number << 3 | 2]) + length + data

    data = b""
    for _ in range(2000):
        data = field(1, field(5, field(6, data)))
    both(h, field(7, data))


@attack("models")
def onnx_that_crashes_its_reader(h: Hostile) -> None:
    """A field longer than the file, in the middle of the real one."""
    good = h.variants.good[FP32]
    both(h, good[: len(good) // 2] + b"\xff" * 64 + good[len(good) // 2 + 64 :])


@attack("models", says=LATE, deadline=SOON)
def onnx_that_is_slow(h: Hostile) -> None:
    """A product of matrices that takes an hour."""
    made = linear(
        [
            helper.make_node("ConstantOfShape", ["shape"], ["m"]),
            *(
                helper.make_node("MatMul", [f"m{i}" if i else "m", "m"], [f"m{i + 1}"])
                for i in range(2000)
            ),
            helper.make_node("ReduceSum", ["m2000"], ["sum"], keepdims=0),
        ],
        integers("shape", 4000, 4000),
    )
    made.graph.node[-1].output[0] = "product"
    made.graph.node.append(helper.make_node("Add", ["product", "sum"], ["output"]))
    both(h, made.SerializeToString())
