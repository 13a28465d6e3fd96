"""The reference network with random weights and statistics, the same every time, and an input.

Made when it is imported, which is before the sandbox forks: no probe need make it again.
"""

from __future__ import annotations

from typing import Any, Final

import torch

from lab5.assignment import CLASSES, IMAGE_SIZE
from lab5.model import BasicBlock, ResNet18

torch.set_num_threads(1)
_generator = torch.Generator().manual_seed(20)

NET: Final = ResNet18(BasicBlock, num_classes=len(CLASSES)).eval()
with torch.no_grad():
    for _name, _value in NET.state_dict().items():
        if _name.endswith("running_var"):
            _value.uniform_(0.5, 1.5, generator=_generator)
        elif _name.endswith("num_batches_tracked"):
            _value.fill_(7)
        elif _value.dim() == 4:
            _value.normal_(0, (2 / _value[0].numel()) ** 0.5, generator=_generator)
        else:
            _mean = 1 if ".weight" in _name and _value.dim() == 1 else 0
            _value.normal_(_mean, 0.2, generator=_generator)
INPUT: Final = torch.randn(2, 3, IMAGE_SIZE, IMAGE_SIZE, generator=_generator)


def reference() -> dict[str, Any]:
    """The reference network's parameters, and its output for seeded weights."""
    with torch.no_grad():
        return {
            "parameters": {n: list(v.shape) for n, v in NET.state_dict().items()},
            "output": NET(INPUT).numpy(),
        }
