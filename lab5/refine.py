"""1.4, afterwards: finer weights and corrected biases for the INT8 file that onnxruntime wrote.

Both stay inside the assignment's settings (QOperator, per channel, int8 weights, MinMax): every weight
is still the nearest step of its channel's scale. docs/int8.md has what each of them gains.

The functions here are also what the notebook is filled with: they use nothing of lab5.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime as ort


def safe_scales(weights):
    """The finest scales for ``weights`` (C, K) that are safe on every x86 CPU: (C,) float32.

    Without VNNI, 255 times the sum of two weights of one sign must fit 16 bits: the integers of the
    two largest may add up to 128. ``reduce_range`` lets none exceed 64, however small the second is.
    """
    ordered = np.sort(weights, axis=1)
    pair = np.maximum(ordered[:, -2:].sum(1), -ordered[:, :2].sum(1))
    scales = np.maximum(pair, np.abs(weights).max(1)) / 127  # rounding adds at most 1 to a pair
    # A channel with next to no weights needs no fine step, and its bias must fit 32 bits.
    return np.maximum(scales, scales.max() / 1024 or 1).astype(np.float32)


def channel_means(model, names, reader):
    """The mean of each channel of the tensors ``names`` over the reader's images: {name: (C,)}."""
    graph = onnx.ModelProto()
    graph.CopyFrom(model)
    entry = graph.graph.input[0].name
    inside = sorted(set(names) - {entry})
    graph.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inside)
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    totals, count = dict.fromkeys([entry, *inside], 0.0), 0
    reader.rewind()
    while (feed := reader.get_next()) is not None:
        for i in range(0, len(feed[entry]), 32):  # few at once: all activations are in memory
            images = feed[entry][i : i + 32]  # (N, 3, 32, 32)
            values = dict(zip(inside, session.run(inside, {entry: images}), strict=False))
            for name, value in {entry: images, **values}.items():
                totals[name] += value.sum((0, *range(2, value.ndim))) / value[0, 0].size
            count += len(images)
    return {name: total / count for name, total in totals.items()}


def refine_int8(fp32_path, int8_path, reader):
    """Give the weights in ``int8_path`` their ``safe_scales`` and correct the biases.

    What rounding its weights adds to a channel, times the mean of what they are multiplied with, is a
    constant, which the bias takes back (Nagel et al., "Data-Free Quantization", 2019). A layer that
    torch does not export so, or that shares its tensors with another, stays as it is.
    """
    fp32, int8 = onnx.load(fp32_path), onnx.load(int8_path)
    values = {t.name: onnx.numpy_helper.to_array(t) for t in fp32.graph.initializer}
    stored = {t.name: t for t in int8.graph.initializer}
    uses = Counter(name for node in int8.graph.node for name in node.input)
    quantized = {node.name: node for node in int8.graph.node}
    layers = []
    for layer in fp32.graph.node:
        node = quantized.get(layer.name + "_quant")
        rows = layer.op_type == "Conv" or any(a.name == "transB" and a.i for a in layer.attribute)
        if node is not None and rows and len(layer.input) == 3:
            names = (*node.input[3:5], node.input[8 if layer.op_type == "Conv" else 6])
            if all(uses[name] == 1 for name in names):
                layers.append((layer.input, node.input[1], names))
    means = channel_means(fp32, [inputs[0] for inputs, *_ in layers], reader)
    for (x, weight, bias), x_scale, names in layers:
        weights = values[weight].astype(np.float64)  # (C, I, ...)
        flat = weights.reshape(len(weights), -1)
        scales = safe_scales(flat)
        integers = np.rint(flat / scales[:, None])
        error = (integers * scales[:, None] - flat).reshape(*weights.shape[:2], -1).sum(2)  # (C, I)
        step = scales * onnx.numpy_helper.to_array(stored[x_scale]).astype(np.float64)
        biases = np.rint((values[bias] - error @ means[x]) / step)
        if np.abs(biases).max() < 2**31:
            new = integers.reshape(weights.shape).astype(np.int8), scales, biases.astype(np.int32)
            for name, value in zip(names, new, strict=True):
                stored[name].CopyFrom(onnx.numpy_helper.from_array(value, name))
    onnx.save(int8, int8_path)
