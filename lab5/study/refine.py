"""1.4, afterwards: better weights, biases and logits for the INT8 file that onnxruntime wrote.

All stays inside the assignment's settings (QOperator, per channel, int8 weights, MinMax): every weight
is still the nearest step of its channel's scale. docs/int8.md has what each of them gains.

In notebooks, with ``--calibration synthetic``: everything here.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime as ort


def safe_scales(weights):
    """The finest scales for ``weights`` (C, I, ...) that are safe on every x86 CPU: (C,) float32.

    Without VNNI, 255 times the sum of two neighbours of one sign must fit 16 bits: their integers may
    add up to 128. Neighbours are those of the order in which kernels take them, channels innermost.
    ``reduce_range`` lets none exceed 64, however small its neighbours are.
    """
    rows = np.moveaxis(weights, 1, -1).reshape(len(weights), -1)
    rows = np.pad(rows, ((0, 0), (0, 1)))  # the last one has a zero beside it
    signs = rows.clip(min=0), -rows.clip(max=0)
    pair = np.max([(sign[:, 1:] + sign[:, :-1]).max(1) for sign in signs], axis=0)
    scales = pair / 127  # rounding adds at most 1 to a pair
    # A channel with next to no weights needs no fine step, and its bias must fit 32 bits.
    return np.maximum(scales, scales.max() / 1024 or 1).astype(np.float32)


def settings(node):
    """A convolution's attributes, ONNX's defaults included."""
    usual = {"group": 1, "dilations": [1, 1], "pads": [0, 0, 0, 0], "strides": [1, 1]}
    return usual | {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def pairs(fp32, int8):
    """The layers of both files that belong together: (node, scale of its input, what is made anew).

    A layer that torch does not export so, or that shares its tensors with another, is left out.
    """
    uses = Counter(name for node in int8.graph.node for name in node.input)
    quantized = {node.name: node for node in int8.graph.node}
    found = []
    for node in fp32.graph.node:
        inside, given = quantized.get(node.name + "_quant"), settings(node)
        if inside is None or len(node.input) != 3:
            continue
        if node.op_type == "Conv":
            usual = given["group"] == 1 and given["dilations"] == [1, 1]
            names = *inside.input[3:5], inside.input[8]
        else:
            usual = given.get("transB") == 1
            names = *inside.input[3:5], inside.input[6]
        if usual and all(uses[name] == 1 for name in names):
            found.append((node, inside.input[1], names))
    return found


def patches(x, weights, node, count, rng):
    """What ``weights`` (C, I, ...) are multiplied with at ``count`` random places of ``x``: (count, K)."""
    if weights.ndim == 2:  # a matrix: one place in each image
        return x.reshape(len(x), -1)[rng.integers(len(x), size=count)]
    given = settings(node)
    (top, left, bottom, right), (down, across) = given["pads"], given["strides"]
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    views = np.lib.stride_tricks.sliding_window_view(x, weights.shape[2:], axis=(2, 3))
    views = views[:, :, ::down, ::across].transpose(0, 2, 3, 1, 4, 5)  # (N, H, W, I, kh, kw)
    return views[tuple(rng.integers(size, size=count) for size in views.shape[:3])].reshape(
        count, -1
    )


def layer_inputs(model, layers, images):
    """What each of ``layers``, (node, weights), sees of ``images`` (N, 3, 32, 32): {name: patches}."""
    graph = onnx.ModelProto()
    graph.CopyFrom(model)
    entry, rng = graph.graph.input[0].name, np.random.default_rng(0)
    inside = sorted({node.input[0] for node, _ in layers} - {entry})
    graph.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inside)
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    fixed = session.get_inputs()[0].shape[0]
    size = fixed if isinstance(fixed, int) else 32  # few at once: all activations are in memory
    found = {node.name: [] for node, _ in layers}
    for i in range(0, len(images), size):
        batch = images[i : i + size]
        values = dict(zip(names, session.run(names, {entry: batch}), strict=True))
        values[entry] = batch
        for node, weights in layers:
            x = values[node.input[0]]
            found[node.name].append(patches(x, weights, node, 8 * len(batch), rng))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def best_scales(weights, seen):
    """Of the safe scales up to 15% above the finest, those that change a channel's output least.

    ``weights`` (C, I, ...), ``seen`` (P, K): the inputs at P places. Gives the scales (C,) float32, the
    weights in steps of them, and what the steps add to each channel on average (C,).
    """
    flat, finest = weights.reshape(len(weights), -1), safe_scales(weights)
    mean = seen.mean(0)
    varying = seen - mean  # what is the same at all places is the bias's business
    scales, least = finest, np.full(len(weights), np.inf)
    for factor in np.linspace(1, 1.15, 11, dtype=np.float32):
        steps = (finest * factor)[:, None]
        error = (np.rint(flat / steps) * steps - flat).astype(np.float32)
        power = np.square(varying @ error.T).sum(0)  # (C,)
        scales = np.where(power < least, steps[:, 0], scales)
        least = np.minimum(power, least)
    integers = np.rint(flat / scales[:, None])
    return scales, integers.reshape(weights.shape), (integers * scales[:, None] - flat) @ mean


def float_output(graph):
    """Let the last layer, a QGemm, give its sums as real numbers: they need no eight bits."""
    makers = {name: node for node in graph.node for name in node.output}
    last = makers[graph.output[0].name]
    gemm = makers.get(last.input[0]) if last.op_type == "DequantizeLinear" else None
    if gemm is not None and gemm.op_type == "QGemm":
        unused = {*gemm.input[7:], *last.input[1:]}
        del gemm.input[7:]
        gemm.output[0] = graph.output[0].name
        graph.node.remove(last)
        unused -= {name for node in graph.node for name in node.input}
        for tensor in [t for t in graph.initializer if t.name in unused]:
            graph.initializer.remove(tensor)


def refine_int8(fp32_path, int8_path, reader):
    """Give the layers in ``int8_path`` their ``best_scales``, corrected biases, and real logits.

    What the steps of its weights add to a channel on average is a constant, which the bias takes back
    (Nagel et al., "Data-Free Quantization", 2019). 128 of the reader's images are looked at.
    """
    fp32, int8 = onnx.load(fp32_path), onnx.load(int8_path)
    values = {t.name: onnx.numpy_helper.to_array(t) for t in fp32.graph.initializer}
    stored = {t.name: t for t in int8.graph.initializer}
    reader.rewind()
    images = np.concatenate([next(iter(feed.values())) for feed in iter(reader.get_next, None)])
    images = images[np.random.default_rng(0).permutation(len(images))[:128]]
    layers = pairs(fp32, int8)
    seen = layer_inputs(fp32, [(node, values[node.input[1]]) for node, *_ in layers], images)
    for node, x_scale, names in layers:
        weights, bias = (values[name].astype(np.float64) for name in node.input[1:])
        scales, integers, added = best_scales(weights, seen[node.name])
        step = scales * onnx.numpy_helper.to_array(stored[x_scale]).astype(np.float64)
        biases = np.rint((bias - added) / step)
        if np.abs(biases).max() < 2**31:
            new = integers.astype(np.int8), scales, biases.astype(np.int32)
            for name, value in zip(names, new, strict=True):
                stored[name].CopyFrom(onnx.numpy_helper.from_array(value, name))
    float_output(int8.graph)
    onnx.save(int8, int8_path)
