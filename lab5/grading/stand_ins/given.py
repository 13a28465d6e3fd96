"""What a probe gets beside the notebook: nothing that a check compares with."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_POOL = 100_003  # numbers; prime, so that no two rows of a tensor are the same


@dataclass(frozen=True)
class Given:
    """
    Args:
        seed: of the pictures, weights and times, other ones in every run.
        sizes: bytes of the hand-in's models and the checkpoint by kind, for the code that looks: those of
            the file alone, as ``os.path.getsize`` gives them, without a model's external data.
        parameters: names and shapes of the handed-out checkpoint.
        network: Python source of a network that it fits, for a notebook whose own does not run.
    """

    seed: int = 0
    sizes: Mapping[str, int] = field(default_factory=dict)
    parameters: Mapping[str, list[int]] = field(default_factory=dict)
    network: str = ""


Shapes = tuple[tuple[str, tuple[int, ...]], ...]


def as_key(shapes: Mapping[str, Sequence[int]]) -> Shapes:
    """The same shapes, in the order that decides what is drawn, as a key of what is made of them."""
    return tuple((name, tuple(shape)) for name, shape in shapes.items())


def weights_drawn_once(shapes: Mapping[str, Sequence[int]], seed: int) -> dict[str, np.ndarray]:
    """``seeded_weights``, the same arrays for the same shapes: read them, never write to them."""
    return _drawn(as_key(shapes), seed)


@functools.lru_cache(maxsize=1)
def _drawn(shapes: Shapes, seed: int) -> dict[str, np.ndarray]:
    return seeded_weights(dict(shapes), seed)


def seeded_weights(shapes: Mapping[str, Sequence[int]], seed: int) -> dict[str, np.ndarray]:
    """Random weights and statistics for parameters of these names and shapes, float32 and int64.

    Drawn from one pool, each from another place on: eleven million draws take longer than all that is
    done with them.
    """
    import numpy as np

    rng = np.random.default_rng([seed, 20])
    pool = rng.standard_normal(_POOL, np.float32)

    def normal(shape: Sequence[int], deviation: float) -> np.ndarray:
        part = np.float32(deviation) * np.roll(pool, int(rng.integers(_POOL)))
        return np.resize(part, shape)

    found: dict[str, np.ndarray] = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            found[name] = np.full(shape, 7, np.int64)
        elif name.endswith("running_var"):
            found[name] = rng.uniform(0.5, 1.5, shape).astype(np.float32)
        elif len(shape) == 4:
            deviation = (2 / max(1, math.prod(shape[1:]))) ** 0.5
            found[name] = normal(shape, deviation)
        else:
            mean = 1 if ".weight" in name and len(shape) == 1 else 0
            found[name] = np.float32(mean) + normal(shape, 0.2)
    return found


def seeded_input(seed: int, count: int = 2) -> np.ndarray:
    """(N, 3, 32, 32) float32."""
    import numpy as np

    return np.random.default_rng([seed, 21]).standard_normal((count, 3, 32, 32), np.float32)
