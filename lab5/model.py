"""1.1 and 1.2: the network of the assignment, and its weights.

The parameter names are those of the handed-out resnet18.py, so the teacher's checkpoint loads as it is.
"""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lab5.assignment import CLASSES
from lab5.errors import CheckpointError


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: (N, in, H, W) -> (N, out, H / stride, W / stride)."""

    def __init__(self, inchannel, outchannel, stride=1):
        super().__init__()
        self.left = nn.Sequential(
            nn.Conv2d(inchannel, outchannel, kernel_size=3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outchannel),
            nn.ReLU(inplace=True),
            nn.Conv2d(outchannel, outchannel, kernel_size=3, stride=1, padding=1, bias=False),
            nn.BatchNorm2d(outchannel),
        )
        self.shortcut = nn.Sequential()
        if stride != 1 or inchannel != outchannel:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inchannel, outchannel, kernel_size=1, stride=stride, bias=False),
                nn.BatchNorm2d(outchannel),
            )

    def forward(self, x):
        return F.relu(self.left(x) + self.shortcut(x))


class ResNet18(nn.Module):
    """The CIFAR-10 ResNet18: (N, 3, 32, 32) -> (N, num_classes) logits, 11.2 million parameters."""

    def __init__(self, ResBlock, num_classes=10):
        super().__init__()
        self.inchannel = 64
        self.conv1 = nn.Sequential(
            nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
        )
        self.layer1 = self.make_layer(ResBlock, 64, 2, stride=1)
        self.layer2 = self.make_layer(ResBlock, 128, 2, stride=2)
        self.layer3 = self.make_layer(ResBlock, 256, 2, stride=2)
        self.layer4 = self.make_layer(ResBlock, 512, 2, stride=2)
        self.fc = nn.Linear(512, num_classes)

    def make_layer(self, block, channels, num_blocks, stride):
        layers = []
        for s in [stride] + [1] * (num_blocks - 1):
            layers.append(block(self.inchannel, channels, s))
            self.inchannel = channels
        return nn.Sequential(*layers)

    def forward(self, x):
        out = self.conv1(x)  # (N, 64, 32, 32)
        out = self.layer1(out)  # (N, 64, 32, 32)
        out = self.layer2(out)  # (N, 128, 16, 16)
        out = self.layer3(out)  # (N, 256, 8, 8)
        out = self.layer4(out)  # (N, 512, 4, 4)
        out = F.avg_pool2d(out, 4)  # (N, 512, 1, 1)
        out = torch.flatten(out, 1)  # (N, 512)
        return self.fc(out)


def load_weights(model, state):
    """Load a state dict strictly and switch to eval mode: BatchNorm then uses its running statistics."""
    # what thop's FLOP counter left in the handed-out file: no weights
    state = {k: v for k, v in state.items() if not k.endswith(("total_ops", "total_params"))}
    model.load_state_dict(state)  # strict: a missing or unexpected name is an error
    model.eval()


def load_model(path: Path) -> tuple[ResNet18, list[str]]:
    """The network with the weights of ``path``, in eval mode, and what was unwrapped on the way.

    Accepts a plain state dict, one inside ``{"state_dict": …}`` or ``{"model": …}``, and names that
    begin with ``module.`` (as DataParallel writes them). Only tensors are unpickled, never code.

    Raises:
        CheckpointError: the file is missing, damaged, holds code, or is of another network.
    """
    state, notes = _unwrapped(_read_checkpoint(path))
    model = ResNet18(BasicBlock, num_classes=len(CLASSES))
    if faults := _mismatch(model.state_dict(), state):
        shown = "\n".join(f"  - {fault}" for fault in faults[:_MAX_FAULTS])
        more = len(faults) - _MAX_FAULTS
        shown += f"\n  - … {more} more" if more > 0 else ""
        raise CheckpointError(
            f"{path} is not a checkpoint of the assignment's ResNet18:\n{shown}\n"
            "Use the best_model.pth that was handed out; never load it with strict=False.",
            zh=f"{path} 不是本作業 ResNet18 的權重檔（細節見下）。"
            "請使用老師提供的 best_model.pth，不要用 strict=False 跳過錯誤。",
        )
    load_weights(model, state)
    return model, notes


_MAX_FAULTS = 12  # names listed in an error message


def _read_checkpoint(path: Path) -> Any:
    if not path.is_file():
        raise CheckpointError(
            f"There is no file {path}. Put the handed-out best_model.pth there, or give --weights.",
            zh=f"找不到 {path}。請把老師提供的 best_model.pth 放在這裡，或用 --weights 指定。",
        )
    if path.stat().st_size == 0:
        raise CheckpointError(
            f"{path} is empty (0 bytes). Copy best_model.pth again; the upload was cut off.",
            zh=f"{path} 是空檔（0 位元組）。請重新複製 best_model.pth，可能是上傳中斷。",
        )
    with path.open("rb") as file:
        start = file.read(4)
    if not start.startswith((b"PK\3\4", b"\x80")):  # a zip, or a pickle from before torch 1.6
        raise CheckpointError(
            f"{path} is no PyTorch file; a web page or a Git LFS pointer was saved under its name? "
            "Download best_model.pth itself.",
            zh=f"{path} 不是 PyTorch 檔案，可能存到的是網頁或 Git LFS 指標。"
            "請下載 best_model.pth 檔案本身。",
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the errors below say it better
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds more than tensors (a whole pickled model, or code). Nothing of it was run. "
            "Expected a state dict: save with torch.save(model.state_dict(), path).",
            zh=f"{path} 除了張量之外還有其他內容（整個模型或程式碼），沒有執行其中任何東西。"
            "應為 state dict：請用 torch.save(model.state_dict(), path) 儲存。",
        ) from error
    except Exception as error:  # torch raises a dozen types for a damaged file
        raise CheckpointError(
            f"{path} is damaged or no PyTorch file ({type(error).__name__}). Copy it again.",
            zh=f"{path} 已損壞或不是 PyTorch 檔案（{type(error).__name__}）。請重新複製。",
        ) from error


def _unwrapped(state: Any) -> tuple[dict[str, Any], list[str]]:
    """The plain state dict, and a note on each layer that was taken off; as ``load_weights`` does."""
    notes = []
    for wrapper in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
            notes.append(f"the weights were inside {wrapper!r}")
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise CheckpointError(
            f"The checkpoint is a {type(state).__name__}, expected a state dict "
            "(names to tensors). Save with torch.save(model.state_dict(), path).",
            zh=f"權重檔的內容是 {type(state).__name__}，應為 state dict（名稱對應張量）。"
            "請用 torch.save(model.state_dict(), path) 儲存。",
        )
    if any(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): value for name, value in state.items()}
        notes.append("the names began with 'module.'")
    return state, notes


def _mismatch(expected: dict[str, Tensor], state: dict[str, Any]) -> list[str]:
    faults = [f"missing: {name}" for name in expected if name not in state]
    faults += [f"unexpected: {name}" for name in state if name not in expected]
    for name, want in expected.items():
        if name in state:
            found = state[name]
            if not isinstance(found, Tensor):
                faults.append(f"{name}: a {type(found).__name__}, expected a tensor")
            elif found.shape != want.shape:
                faults.append(f"{name}: shape {tuple(found.shape)}, expected {tuple(want.shape)}")
            elif not (found.layout is torch.strided and found.device == want.device) or (
                found.is_quantized or found.is_complex()
            ):
                faults.append(f"{name}: no plain tensor of real numbers")
            elif not bool(torch.isfinite(found.to(want.dtype)).all()):
                faults.append(f"{name}: not finite")
            elif name.endswith("running_var") and bool((found < 0).any()):
                faults.append(f"{name}: a negative variance")
    return faults
