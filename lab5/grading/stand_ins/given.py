"""What a probe gets beside the notebook: nothing that a check compares with."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
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
        sizes: bytes of the hand-in's models and the checkpoint by kind, for the code that looks.
        parameters: names and shapes of the handed-out checkpoint.
        network: Python source of a network that it fits, for a notebook whose own does not run.
    """

    seed: int = 0
    sizes: Mapping[str, int] = field(default_factory=dict)
    parameters: Mapping[str, list[int]] = field(default_factory=dict)
    network: str = ""

    @functools.cached_property
    def weights(self) -> dict[str, np.ndarray]:
        """``seeded_weights`` of ``parameters``: what is in the checkpoint."""
        return _drawn(tuple((n, tuple(s)) for n, s in self.parameters.items()), self.seed)

    def weights_of(self, shapes: Mapping[str, list[int]]) -> dict[str, np.ndarray]:
        """``seeded_weights`` of these, drawn before where they are ``parameters`` in the same order."""
        if list(shapes.items()) == list(self.parameters.items()):
            return self.weights
        return seeded_weights(shapes, self.seed)


@functools.cache
def _drawn(shapes: tuple[tuple[str, tuple[int, ...]], ...], seed: int) -> dict[str, np.ndarray]:
    return seeded_weights({name: list(shape) for name, shape in shapes}, seed)


def seeded_weights(shapes: Mapping[str, list[int]], seed: int) -> dict[str, np.ndarray]:
    """Random weights and statistics for parameters of these names and shapes, float32 and int64.

    Drawn from one pool, each from another place on: eleven million draws take longer than all that is
    done with them.
    """
    import numpy as np

    rng = np.random.default_rng([seed, 20])
    pool = rng.standard_normal(_POOL, np.float32)

    def normal(shape: list[int], deviation: float) -> np.ndarray:
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
