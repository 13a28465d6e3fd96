"""Training the assignment's network; ``lab5 train`` is the command.

The convolutions are trained by Muon (K. Jordan et al., 2024, kellerjordan.github.io/posts/muon),
which wants far fewer epochs than SGD; BatchNorm and the classifier by Nesterov SGD. Every
convolution is followed by BatchNorm, so its scale has no effect and is held fixed. Resolution grows
during the run (progressive resizing), which is what makes a CPU run affordable; a network that the
assignment names in place of ``lab5.model``'s sees the assignment's size only. The last epoch is the
result: no choice is made on the test set.
"""

from __future__ import annotations

import dataclasses
import errno
import functools
import io
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.swa_utils import update_bn

from lab5.assignment import CIFAR10_MEAN, CIFAR10_STD, IMAGE_SIZE, network_source
from lab5.checkpoint import open_model, untrained
from lab5.cli import console, progress
from lab5.errors import CheckpointError, DataError, UsageError
from lab5.files import replacing, sha256, write_json
from lab5.model import ResNet18
from lab5.study import data as cifar10
from lab5.text import Text, in_a_line

LOG_IMAGES: Final = 2000  # test images looked at after each epoch; all of them after the last
BATCHNORM_IMAGES: Final = 10_000  # a channel's mean is then known to 1% of its deviation or better


@dataclass(frozen=True)
class Recipe:
    """The numbers of a run. Sources: [A] airbench94_muon by K. Jordan, scaled to this batch size;
    [S] the usual CIFAR-10 practice; [M] measured here on training images held out for it."""

    epochs: int = 15  # passes over the training split
    first: int = 0  # of these, done before: a run from weights repeats only what follows
    batch: int = 500  # images a step [S]
    filter_lr: float = 0.11  # spectral norm of a filter bank's first step; falls linearly to 0 [M]
    filter_momentum: float = 0.85  # [A]: 0.6 at batch 2000
    newton_schulz: int = 3  # iterations of the orthogonalisation [A]
    other_lr: float = 0.1  # BatchNorm and classifier, at the peak [S]
    other_momentum: float = 0.9  # Nesterov [S]
    warmup: float = 0.2  # share of the run until other_lr peaks; it falls linearly to 0 after [S]
    weight_decay: float = 5e-4  # on the classifier's weight only [S]
    label_smoothing: float = 0.1  # [S]
    translate: int = 3  # pixels each way, reflected at the border [S]
    # share of the run up to which images are scaled to so many pixels a side
    resolutions: tuple[tuple[float, int], ...] = ((1 / 3, 16), (2 / 3, 24), (1.0, IMAGE_SIZE))

    def resolution(self, epoch: int) -> int:
        """Pixels a side in epoch 0, 1, …; the last is at the assignment's size however short."""
        if epoch == self.epochs - 1 or network_source():
            return self.resolutions[-1][1]
        return next(side for end, side in self.resolutions if epoch < end * self.epochs - 1e-9)


class Muon(torch.optim.Optimizer):
    """SGD with Nesterov momentum whose step for a filter bank is the nearest orthogonal matrix.

    torch.optim.Muon takes two-dimensional parameters only; these are convolutions (O, I, H, W).
    """

    def __init__(self, params: Any, momentum: float, iterations: int) -> None:
        super().__init__(params, {"lr": 0.0, "momentum": momentum, "iterations": iterations})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                momentum = state["momentum"].mul_(group["momentum"]).add_(p.grad)
                step = p.grad.add(momentum, alpha=group["momentum"])
                p.mul_(len(p) ** 0.5 / p.norm())  # each filter about unit norm
                p.sub_(group["lr"] * orthogonalise(step, group["iterations"]))


def orthogonalise(matrix: Tensor, iterations: int) -> Tensor:
    """All singular values of ``matrix`` (O, …) brought near 1 by a quintic Newton-Schulz iteration.

    The coefficients are those of the Muon write-up: steep at zero, singular values end in 0.7..1.2.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix.flatten(1)  # (O, I*H*W)
    if bfloat16_is_fast(matrix.device):  # elsewhere it is emulated, many times slower than float32
        x = x.bfloat16()
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(iterations):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    orthogonal: Tensor = (x.T if tall else x).reshape(matrix.shape).to(matrix.dtype)
    return orthogonal


def bfloat16_is_fast(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16 natively."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", bool)())


def normalised(images: Tensor, side: int) -> Tensor:
    """(N, 32, 32, 3) uint8 -> (N, 3, side, side) float32, channels last in memory."""
    mean = torch.tensor(CIFAR10_MEAN, device=images.device)
    std = torch.tensor(CIFAR10_STD, device=images.device)
    x = ((images.float() / 255 - mean) / std).permute(0, 3, 1, 2)
    if side != images.shape[1]:
        x = F.interpolate(x, (side, side), mode="bilinear", antialias=True, align_corners=False)
    return x.contiguous(memory_format=torch.channels_last)


def augmented(images: Tensor, pad: int, random: torch.Generator) -> Tensor:
    """Each image flipped by chance and moved by up to ``pad`` pixels each way; shape is kept."""
    n, side, device = len(images), images.shape[1], images.device
    flip = torch.rand(n, generator=random).to(device) < 0.5
    dy, dx = torch.randint(0, 2 * pad + 1, (2, n), generator=random).to(device)
    along = torch.arange(side, device=device)
    columns = torch.where(flip[:, None], along.flip(0), along) + dx[:, None] - pad
    rows = along + dy[:, None] - pad

    def reflect(i: Tensor) -> Tensor:
        return (side - 1) - ((side - 1) - i.abs()).abs()

    picked = torch.arange(n, device=device)[:, None, None]
    return images[picked, reflect(rows)[:, :, None], reflect(columns)[:, None, :]]


def logits_at_any_size(model: ResNet18, x: Tensor) -> Tensor:
    """The network's forward pass with its 4x4 average pool widened to whatever is left.

    Of a network that the assignment names, its own pass: what of it depends on the size is not known.
    """
    if network_source():
        logits: Tensor = model(x)
        return logits
    for stage in (model.conv1, model.layer1, model.layer2, model.layer3, model.layer4):
        x = stage(x)
    logits = model.fc(x.mean((2, 3)))
    return logits


def accuracy(
    model: ResNet18, split: cifar10.Split, side: int = IMAGE_SIZE, batch: int = 500
) -> float:
    """Top-1 in percent, without test-time augmentation."""
    device = next(model.parameters()).device
    model.eval()
    right = 0
    with torch.no_grad(), _autocast(device):
        for i in range(0, len(split), batch):
            images = torch.from_numpy(split.images[i : i + batch]).to(device)
            found = logits_at_any_size(model, normalised(images, side)).argmax(1)
            right += int((found.cpu().numpy() == split.labels[i : i + batch]).sum())
    return 100 * right / max(len(split), 1)


def _autocast(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=bfloat16_is_fast(device))


@torch.no_grad()
def average_with(model: ResNet18, start: ResNet18, split: cifar10.Split) -> None:
    """Stochastic weight averaging (P. Izmailov et al., 2018, arXiv:1803.05407) of ``model`` and
    ``start``, two ends of a falling learning rate: their mean, with BatchNorm's statistics taken
    anew on ``BATCHNORM_IMAGES`` training images as they are seen at test time."""
    device = next(model.parameters()).device
    for p, q in zip(model.parameters(), start.parameters(), strict=True):
        p.lerp_(q.to(device), 0.5)
    images = torch.from_numpy(split.first(BATCHNORM_IMAGES).images).to(device)
    update_bn((normalised(part, IMAGE_SIZE) for part in images.split(500)), model)
    model.eval()


class Run:
    """One training run; its whole state after an epoch goes through ``state`` and ``restore``."""

    def __init__(self, recipe: Recipe, seed: int, device: torch.device) -> None:
        torch.manual_seed(seed)
        self.recipe, self.seed, self.device = recipe, seed, device
        model = untrained()
        self.model = model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        everything = dict(self.model.named_parameters())
        filters = [p for p in everything.values() if p.ndim == 4]
        head = [p for p in everything.values() if p.ndim == 2]
        rest = [p for p in everything.values() if p.ndim not in (2, 4)]
        self.filters = Muon(filters, recipe.filter_momentum, recipe.newton_schulz)
        groups: list[dict[str, Any]] = [
            {"params": head, "weight_decay": recipe.weight_decay},
            {"params": rest},
        ]
        self.others = torch.optim.SGD(groups, lr=0.0, momentum=recipe.other_momentum, nesterov=True)
        self.epoch = recipe.first
        self.history: list[dict[str, float]] = []

    def state(self) -> dict[str, Any]:
        return {
            "recipe": dataclasses.asdict(self.recipe),
            "seed": self.seed,
            "epoch": self.epoch,
            "history": self.history,
            "model": self.model.state_dict(),
            "filters": self.filters.state_dict(),
            "others": self.others.state_dict(),
        }

    def restore(self, state: Any) -> None:
        """Continue from what ``state`` returned.

        Raises:
            CheckpointError: it is of another recipe or seed, or parts of it are missing.
        """
        try:
            if not isinstance(state, dict):
                raise TypeError(f"a {type(state).__name__}, not a dict")
            if (state["seed"], state["recipe"]) != (self.seed, dataclasses.asdict(self.recipe)):
                raise CheckpointError(
                    "The checkpoint belongs to a run with another recipe or seed. "
                    "Give the same options as then, or remove it and start anew.",
                    zh="這個檢查點屬於另一組設定或亂數種子。請使用相同的選項，或刪除它後重新開始。",
                )
            self.model.load_state_dict(state["model"])
            self.filters.load_state_dict(state["filters"])
            self.others.load_state_dict(state["others"])
            self.epoch, self.history = int(state["epoch"]), list(state["history"])
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise CheckpointError(
                f"The checkpoint is not a training state ({type(error).__name__}: {error}). "
                "Remove it and start anew.",
                zh="檢查點的內容不是訓練狀態。請刪除它後重新開始。",
            ) from error

    def train_epoch(self, split: cifar10.Split, tick: Callable[[int], None]) -> None:
        """One pass in an order that depends on the seed and the epoch alone."""
        recipe, n = self.recipe, len(split)
        random = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
        side = recipe.resolution(self.epoch)
        steps = -(-n // recipe.batch)
        images = torch.from_numpy(split.images).to(self.device)
        labels = torch.from_numpy(split.labels).to(self.device)
        right, total_loss, start = 0, 0.0, time.monotonic()
        self.model.train()
        for i, picked in enumerate(torch.randperm(n, generator=random).split(recipe.batch)):
            picked = picked.to(self.device)
            x = normalised(augmented(images[picked], recipe.translate, random), side)
            with _autocast(self.device):
                logits = logits_at_any_size(self.model, x).float()
            loss = F.cross_entropy(logits, labels[picked], label_smoothing=recipe.label_smoothing)
            loss.backward()
            self._step((self.epoch + i / steps) / recipe.epochs)
            right += int((logits.argmax(1) == labels[picked]).sum())
            total_loss += loss.item() * len(picked)
            tick(len(picked))
        self.epoch += 1
        if not np.isfinite(total_loss):
            raise DataError(
                "The loss is no longer finite. Lower filter_lr or check the data.",
                zh="損失值已不是有限數。請降低 filter_lr 或檢查資料。",
            )
        self.history.append(
            {
                "epoch": self.epoch,
                "side": side,
                "loss": round(total_loss / n, 4),
                "train_top1": round(100 * right / n, 2),
                "seconds": round(time.monotonic() - start, 1),
            }
        )

    def _step(self, done: float) -> None:
        """Apply both optimisers at ``done`` (0..1) of the run."""
        recipe = self.recipe
        for group in self.filters.param_groups:
            group["lr"] = recipe.filter_lr * (1 - done)
        for group in self.others.param_groups:
            group["lr"] = recipe.other_lr * min(
                done / recipe.warmup, (1 - done) / (1 - recipe.warmup)
            )
        for optimiser in (self.filters, self.others):
            optimiser.step()
            optimiser.zero_grad()


def train(
    dataset: cifar10.Cifar10,
    recipe: Recipe,
    *,
    seed: int,
    out: Path,
    weights: Path | None = None,
    average: bool = False,
    resume: bool = False,
    device: torch.device | None = None,
) -> dict[str, Any]:
    """Train to the end; write a float16 state dict to ``out`` and a log to ``<out stem>.json``.

    With ``weights`` the run starts from them: with ``recipe.first`` near ``recipe.epochs`` it trains
    them on at the low rates that the schedule ends with; ``average`` then makes the result the mean
    of where it started and where it ended (``average_with``).

    After each epoch the whole state goes to ``<out>.resume``; ``resume`` continues from there and
    ends with the same bytes as a run that was not interrupted on the same hardware and versions.

    Returns:
        the log: recipe, seed, accuracies, hardware, versions, seconds, the hash of ``out``.

    Raises:
        DataError: the training split is empty or the loss diverged.
        CheckpointError: ``resume`` finds a checkpoint of another run, or none that can be read;
            or ``weights`` are none of this network.
        UsageError: ``out`` is no file name, an unfinished run would be lost without ``resume``, or
            there is nothing to average with.
    """
    if not len(dataset.train):
        raise DataError(
            "There are no training images. Expected a train split beside the test split.",
            zh="沒有訓練影像。除了測試集之外還需要訓練集。",
        )
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run = Run(recipe, seed, device)
    checkpoint = out.with_name(out.name + ".resume")
    _check_target(run, out)
    if average and (weights is None or weights.resolve() == out.resolve()):
        raise UsageError(
            "An average needs the weights that the run starts from, in another file than the result.",
            zh="要取平均，必須提供起始的權重檔，而且不能與輸出是同一個檔案。",
        )
    resuming = checkpoint.exists()
    # Read before the first epoch, so that a bad file fails here and not after the last.
    start = open_model(weights) if weights and (average or not resuming) else None
    if resuming:
        if not resume:
            raise UsageError(
                f"{checkpoint} is an unfinished run. Continue it with --resume, or remove it.",
                zh=f"{checkpoint} 是未完成的訓練。請加 --resume 繼續，或先刪除它。",
            )
        run.restore(_load_checkpoint(checkpoint))
        text = Text(f"resumed after epoch {run.epoch}", f"從第 {run.epoch} 個 epoch 之後繼續")
        console.print(str(text))
    elif start is not None:
        run.model.load_state_dict(start.state_dict())
    sample = dataset.test.first(LOG_IMAGES)
    while run.epoch < recipe.epochs:
        with progress() as bar:
            number = f"{run.epoch + 1}/{recipe.epochs}"
            epoch = in_a_line(Text(f"epoch {number}", f"第 {number} 輪"))
            task = bar.add_task(epoch, total=len(dataset.train))
            run.train_epoch(dataset.train, functools.partial(bar.advance, task))
        row = run.history[-1]
        row["test_sample_top1"] = round(accuracy(run.model, sample, int(row["side"])), 2)
        console.print("  ".join(f"{key} {value:g}" for key, value in row.items()), soft_wrap=True)
        _save(run.state(), checkpoint)
    if average and start is not None:
        average_with(run.model, start, dataset.train)
    _save({name: _half(value) for name, value in run.model.state_dict().items()}, out)
    log = _log(run, dataset, out)
    write_json(out.with_suffix(".json"), log, indent=2)
    checkpoint.unlink(missing_ok=True)
    return log


def _check_target(run: Run, out: Path) -> None:
    """Fail before the first epoch, not after it."""
    if out.is_dir() or out.suffix == ".json":
        raise UsageError(
            f"{out} cannot hold the weights: expected a file name such as best_model.pth "
            "(the log goes beside it, ending in .json).",
            zh=f"{out} 不能用來存權重：應為檔名，例如 best_model.pth（紀錄會存在旁邊的 .json）。",
        )
    with tempfile.TemporaryFile(dir=out.parent):
        pass  # the folder exists and takes files
    weights = sum(p.numel() * p.element_size() for p in run.model.parameters())
    # A checkpoint is weights and as much momentum; the old one stays until the new one is whole.
    if shutil.disk_usage(out.parent).free < 5 * weights:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(out.parent))


def _save(value: Any, path: Path) -> None:
    # Through memory: then the archive does not hold the temporary file's name, so equal values are
    # equal bytes, and a full disk is an OSError.
    buffer = io.BytesIO()
    torch.save(value, buffer)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def _half(value: Tensor) -> Tensor:
    value = value.detach().cpu().contiguous()
    return value.half() if value.is_floating_point() else value


def _load_checkpoint(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen types for a damaged file
        raise CheckpointError(
            f"{path} cannot be continued ({type(error).__name__}). Remove it and start anew.",
            zh=f"無法從 {path} 繼續（{type(error).__name__}）。請刪除它後重新開始。",
        ) from error


def _log(run: Run, dataset: cifar10.Cifar10, out: Path) -> dict[str, Any]:
    return {
        "command": " ".join(["python -m lab5.train", *sys.argv[1:]]),
        "recipe": dataclasses.asdict(run.recipe),
        "seed": run.seed,
        "test_top1": round(accuracy(run.model, dataset.test), 2),
        "test_images": len(dataset.test),
        "seconds": round(sum(row["seconds"] for row in run.history), 1),
        "history": run.history,
        "sha256": sha256(out),
        "hardware": _hardware(run.device),
        "bfloat16": bfloat16_is_fast(run.device),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }


def _hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{torch.get_num_threads()} CPU threads, {torch.backends.cpu.get_cpu_capability()}"
