"""best_model.pth read without PyTorch, whose import takes longer than all checks of files together."""

from __future__ import annotations

import math
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, Final

import numpy as np

from lab5.assignment import NUM_CLASSES, network_source
from lab5.grading.evidence import other_network
from lab5.grading.evidence.onnx_file import Layer, folded

_STORAGES: Final = {
    "HalfStorage": "<f2",
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "LongStorage": "<i8",
}


def checkpoint_layers(path: Path) -> list[Layer]:
    """The network's 21 layers with these weights, every BatchNorm folded, in the order of ``in_order``.

    The plain file is read here; on every other, ``lab5.checkpoint`` decides, so both accept the same.

    Raises:
        CheckpointError: it is no checkpoint of this network.
    """
    try:
        return layers_of(_plain(_read(path)))
    except Exception:  # whatever is unusual, or a hostile pickle's dozen types of errors
        from lab5.checkpoint import load_model

        state = load_model(path)[0].state_dict()
        return layers_of({name: value.numpy() for name, value in state.items()})


def is_plain(path: Path) -> bool:
    """Whether ``torch.load`` gives the network's weights as they are, thop's counts left out."""
    try:
        return bool(_plain(_read(path)))
    except Exception:  # as above
        return False


def _shapes() -> dict[str, tuple[int, ...]]:
    """The assignment's names, without the ``num_batches_tracked``."""
    shapes: dict[str, tuple[int, ...]] = {}

    def convolution(stem: str, number: int, *shape: int) -> None:
        shapes[f"{stem}{number}.weight"] = shape
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{stem}{number + 1}.{part}"] = shape[:1]

    convolution("conv1.", 0, 64, 3, 3, 3)
    before = 64
    for stage, channels in enumerate((64, 128, 256, 512), 1):
        for block in (0, 1):
            convolution(f"layer{stage}.{block}.left.", 0, channels, before, 3, 3)
            convolution(f"layer{stage}.{block}.left.", 3, channels, channels, 3, 3)
            if before != channels:
                convolution(f"layer{stage}.{block}.shortcut.", 0, channels, before, 1, 1)
            before = channels
    return shapes | {"fc.weight": (NUM_CLASSES, 512), "fc.bias": (NUM_CLASSES,)}


def reference_parameters() -> dict[str, list[int]]:
    """Names and shapes of the handed-out network's parameters and buffers, as its state dict has them."""
    if network_source():
        return other_network.parameters()
    found = {}
    for name, shape in _shapes().items():
        found[name] = list(shape)
        if name.endswith("running_var"):
            found[name.replace("running_var", "num_batches_tracked")] = []
    return found


def _plain(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights, if nothing but thop's counts and the numbers of batches stands beside them."""
    counts = ("total_ops", "total_params", "num_batches_tracked")
    weights = {n: v for n, v in state.items() if n.rpartition(".")[2] not in counts}
    if {name: value.shape for name, value in weights.items()} != _shapes():
        raise ValueError("other names or shapes")
    for name, value in weights.items():
        values = np.asarray(value, np.float32)
        if not np.isfinite(values).all() or (name.endswith("running_var") and values.min() < 0):
            raise ValueError(name)
    return weights


def layers_of(found: dict[str, np.ndarray]) -> list[Layer]:
    """The 21 layers of these parameters, in the order of ``in_order``, every BatchNorm folded."""
    state = {name: np.asarray(value, np.float32) for name, value in found.items()}
    blocks = [f"layer{stage}.{block}." for stage in (1, 2, 3, 4) for block in (0, 1)]
    threes = ["conv1.0", *(f"{block}left.{n}" for block in blocks for n in (0, 3))]
    ones = [f"{block}shortcut.0" for block in blocks if f"{block}shortcut.0.weight" in state]
    layers = []
    for name in (*threes, *ones):
        stem, _, number = name.rpartition(".")
        norm = [
            state[f"{stem}.{int(number) + 1}.{part}"]
            for part in ("weight", "bias", "running_mean", "running_var")
        ]
        layer = Layer("Conv", state[f"{name}.weight"], None)
        layer.folded, layer.folded_bias = folded(layer, *norm)
        layers.append(layer)
    last = Layer("Gemm", state["fc.weight"], state["fc.bias"])
    last.folded, last.folded_bias = last.weight, last.bias
    return [*layers, last]


def _read(path: Path) -> dict[str, np.ndarray]:
    """A state dict as ``torch.save`` writes it since 1.6; of other classes nothing is made."""
    with zipfile.ZipFile(path) as archive:
        pickled = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        with archive.open(pickled) as stream:
            state = _Unpickler(stream, archive, pickled.removesuffix("data.pkl")).load()
    if not isinstance(state, dict):
        raise ValueError(type(state))
    return state


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: Any, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(stream)
        self._archive, self._root = archive, root

    def find_class(self, module: str, name: str) -> Any:
        known = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
            **{("torch", kind): kind for kind in _STORAGES},
        }
        return known[module, name]

    def persistent_load(self, saved: Any) -> np.ndarray:
        _, kind, key, _, _ = saved
        return np.frombuffer(self._archive.read(f"{self._root}data/{key}"), _STORAGES[kind])


def _tensor(storage: np.ndarray, offset: int, size: Any, stride: Any, *rest: Any) -> np.ndarray:
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if min(offset, *size, *stride, 0) < 0 or max(last + 1, math.prod(size)) > len(storage):
        raise ValueError("a tensor reaches beyond what is stored for it")
    steps = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, steps, writeable=False)
