"""Training: a run that was interrupted ends as one that was not, and says what it did."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from lab5.checkpoint import load_model
from lab5.commands import train
from lab5.errors import CheckpointError, DataError, UsageError
from lab5.model import BasicBlock, ResNet18
from lab5.preprocess import preprocess_batch
from lab5.study import data, training
from lab5.study.data import Cifar10, Split
from lab5.study.training import Recipe, Run
from tests.conftest import need

TINY = Recipe(epochs=3, batch=8, newton_schulz=1, resolutions=((0.5, 8), (1.0, 16)))
SEED = 3


@pytest.fixture(scope="module")
def dataset():
    """16 training images and 6 test images whose brightness gives their class away."""
    rng = np.random.default_rng(0)

    def split(n):
        labels = np.arange(n) % 10
        noise = rng.integers(0, 20, (n, 32, 32, 3))
        return Split((noise + 20 * labels[:, None, None, None]).astype(np.uint8), labels)

    return Cifar10(split(16), split(6))


def tiny(dataset, out, **options):
    return training.train(dataset, TINY, seed=SEED, out=out, **options)


@pytest.fixture(scope="module")
def uninterrupted(dataset, tmp_path_factory):
    """The folder and the log of a whole run."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    return folder, tiny(dataset, folder / "best_model.pth")


@pytest.fixture(scope="module")
def interrupted(dataset, tmp_path_factory):
    """The folder of a run that was interrupted within its second epoch; copy it to go on."""
    folder = tmp_path_factory.mktemp("interrupted")
    train_epoch = Run.train_epoch

    def interrupting(run, split, tick):
        def tick_then_stop(n):
            if run.epoch == 1:
                raise KeyboardInterrupt

        train_epoch(run, split, tick_then_stop)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "train_epoch", interrupting)
        with pytest.raises(KeyboardInterrupt):
            tiny(dataset, folder / "best_model.pth")
    return folder


@pytest.fixture
def unfinished(interrupted, tmp_path):
    """The same files, 130 MB: nothing writes into one, what is new takes its place."""
    return shutil.copytree(interrupted, tmp_path / "unfinished", copy_function=os.link)


def names(folder):
    return sorted(p.name for p in folder.iterdir())


# Runs


def test_what_a_run_leaves(uninterrupted):
    folder, log = uninterrupted
    assert names(folder) == ["best_model.json", "best_model.pth"]
    assert json.loads((folder / "best_model.json").read_text()) == json.loads(json.dumps(log))
    content = (folder / "best_model.pth").read_bytes()
    assert log["sha256"] == hashlib.sha256(content).hexdigest()
    assert len(content) < 23e6  # float16
    assert log["seed"] == SEED
    assert log["recipe"] == dataclasses.asdict(TINY)
    assert [row["epoch"] for row in log["history"]] == [1, 2, 3]
    assert [row["side"] for row in log["history"]] == [8, 8, 16]
    assert all(0 <= row["test_sample_top1"] <= 100 for row in log["history"])
    assert log["versions"]["torch"] == torch.__version__
    assert log["seconds"] > 0
    assert log["hardware"]
    assert log["test_images"] == 6


def test_the_result_loads_as_the_assignments_checkpoint(uninterrupted):
    folder, _ = uninterrupted
    state = torch.load(folder / "best_model.pth", weights_only=True)
    assert {v.dtype for v in state.values()} == {torch.float16, torch.int64}
    model, notes = load_model(folder / "best_model.pth")
    assert len(notes) == 1
    assert "float16" in notes[0].en
    assert next(model.parameters()).dtype == torch.float32


def test_an_interrupted_run_leaves_its_last_whole_epoch(interrupted):
    assert names(interrupted) == ["best_model.pth.resume"]
    assert torch.load(interrupted / "best_model.pth.resume", weights_only=True)["epoch"] == 1


def test_resumed_is_uninterrupted_to_the_byte(dataset, uninterrupted, unfinished, monkeypatch):
    whole, expected = uninterrupted
    out = unfinished / "best_model.pth"
    with monkeypatch.context() as patch:  # interrupt it again, between the weights and the log
        patch.delattr(training, "_log")
        with pytest.raises(NameError):
            tiny(dataset, out, resume=True)
    assert names(unfinished) == ["best_model.pth", "best_model.pth.resume"]
    log = tiny(dataset, out, resume=True)
    assert names(unfinished) == names(whole)
    assert out.read_bytes() == (whole / "best_model.pth").read_bytes()
    for found, wanted in zip(log["history"], expected["history"], strict=True):
        assert found | {"seconds": 0} == wanted | {"seconds": 0}


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_and_another_does_not(dataset, uninterrupted, tmp_path):
    first = uninterrupted[1]["sha256"]
    assert tiny(dataset, tmp_path / "again.pth")["sha256"] == first
    assert training.train(dataset, TINY, seed=4, out=tmp_path / "b.pth")["sha256"] != first


@pytest.mark.slow
def test_it_learns(dataset, tmp_path):
    recipe = dataclasses.replace(TINY, epochs=6, filter_lr=0.03, other_lr=0.02, translate=0)
    log = training.train(dataset, recipe, seed=0, out=tmp_path / "a.pth")
    assert log["history"][-1]["loss"] < 0.8 * log["history"][0]["loss"]


def test_weights_are_trained_on_over_the_last_epochs(dataset, uninterrupted, tmp_path):
    """At rates of zero what comes out is what went in."""
    start, out = uninterrupted[0] / "best_model.pth", tmp_path / "best_model.pth"
    still = dataclasses.replace(TINY, first=2, filter_lr=0.0, other_lr=0.0)
    log = training.train(dataset, still, seed=SEED, out=out, weights=start)
    assert [row["epoch"] for row in log["history"]] == [3]
    (before, _), (after, _) = load_model(start), load_model(out)
    for (name, old), new in zip(before.named_parameters(), after.parameters(), strict=True):
        if old.ndim == 4:  # each filter bank is scaled to its norm, whatever the rate
            old, new = (w / w.norm() for w in (old, new))
        torch.testing.assert_close(old, new, rtol=2e-3, atol=1e-4, msg=name)


def test_an_average_lies_halfway_and_has_batchnorm_statistics_of_its_own(
    dataset, uninterrupted, tmp_path
):
    start = uninterrupted[0] / "best_model.pth"
    recipe = dataclasses.replace(TINY, first=2)
    for name, average in (("end", False), ("mean", True)):
        training.train(
            dataset, recipe, seed=SEED, out=tmp_path / name, weights=start, average=average
        )
    (before, _), (end, _), (mean, _) = map(load_model, (start, tmp_path / "end", tmp_path / "mean"))
    for (name, p), q, found in zip(
        before.named_parameters(), end.parameters(), mean.parameters(), strict=True
    ):
        torch.testing.assert_close(found, (p + q) / 2, rtol=2e-3, atol=1e-4, msg=name)
    images = training.normalised(torch.from_numpy(dataset.train.images), 32)
    norm, out = mean.conv1[1], mean.conv1[0](images)
    torch.testing.assert_close(norm.running_mean, out.mean((0, 2, 3)), rtol=1e-2, atol=1e-3)
    torch.testing.assert_close(norm.running_var, out.var((0, 2, 3)), rtol=1e-2, atol=1e-3)


# What can go wrong


def rejected(kind, match, function, *args, **options):
    with pytest.raises(kind) as caught:
        function(*args, **options)
    assert match in caught.value.text.en
    assert any("一" <= c <= "鿿" for c in caught.value.text.zh)


def test_an_unfinished_run_is_not_thrown_away(dataset, unfinished):
    before = (unfinished / "best_model.pth.resume").read_bytes()
    rejected(UsageError, "--resume", tiny, dataset, unfinished / "best_model.pth")
    assert (unfinished / "best_model.pth.resume").read_bytes() == before


def test_another_recipe_or_seed_cannot_continue_a_run(dataset, unfinished):
    out = unfinished / "best_model.pth"
    for recipe, seed in ((TINY, 4), (dataclasses.replace(TINY, epochs=4), SEED)):
        rejected(
            CheckpointError, "another recipe or seed",
            training.train, dataset, recipe, seed=seed, out=out, resume=True,
        )  # fmt: skip


DAMAGE = {
    "empty": lambda whole, path: path.write_bytes(b""),
    "text": lambda whole, path: path.write_text("<html>"),
    "truncated": lambda whole, path: path.write_bytes(whole.read_bytes()[:-100_000]),
    "code": lambda whole, path: path.write_bytes(pickle.dumps(print, protocol=2)),
    "a list": lambda whole, path: torch.save([1, 2], path),
    "a tensor": lambda whole, path: torch.save(torch.zeros(2), path),
    "nothing": lambda whole, path: torch.save({}, path),
    **{
        f"without {key}": lambda whole, path, key=key: torch.save(
            {k: v for k, v in torch.load(whole, weights_only=True).items() if k != key}, path
        )
        for key in ("recipe", "seed", "epoch", "history", "model", "filters", "others")
    },
    **{
        f"{key} of another kind": lambda whole, path, key=key: torch.save(
            torch.load(whole, weights_only=True) | {key: "x"}, path
        )
        for key in ("recipe", "seed", "epoch", "model", "filters", "others")
    },
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint(dataset, unfinished, damage):
    path = unfinished / "best_model.pth.resume"
    DAMAGE[damage](path.rename(unfinished / "whole"), path)
    before = path.read_bytes()
    rejected(
        CheckpointError, "start anew", tiny, dataset, unfinished / "best_model.pth", resume=True
    )
    assert path.read_bytes() == before


def test_no_training_images(dataset, tmp_path):
    empty = Cifar10(dataset.train.first(0), dataset.test)
    rejected(DataError, "no training images", tiny, empty, tmp_path / "a.pth")


def test_nothing_to_average_with(dataset, tmp_path):
    same = tmp_path / "a.pth"
    for weights in (None, same):
        rejected(UsageError, "average", tiny, dataset, same, weights=weights, average=True)


@pytest.mark.parametrize("name", ["", "a.json"])
def test_where_the_weights_cannot_go(dataset, tmp_path, name):
    rejected(UsageError, "cannot hold the weights", tiny, dataset, tmp_path / name)
    assert names(tmp_path) == []


def test_a_missing_folder_is_told_before_the_first_epoch(dataset, tmp_path):
    with pytest.raises(FileNotFoundError):
        tiny(dataset, tmp_path / "none" / "a.pth")


def test_a_disk_too_small_is_told_before_the_first_epoch(dataset, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100_000_000))
    with pytest.raises(OSError, match="No space left") as caught:
        tiny(dataset, tmp_path / "a.pth")
    assert caught.value.errno == errno.ENOSPC
    assert names(tmp_path) == []


def test_a_disk_that_fills_up_keeps_the_last_checkpoint(tmp_path):
    need(sys.platform == "linux", "file size limits as here are Linux's")
    program = (
        "import resource, signal, sys, torch\n"
        "from pathlib import Path\n"
        "from lab5.cli import command\n"
        "from lab5.study.training import _save\n"
        "@command\n"
        "def main(argv=None):\n"
        "    path = Path('a.resume')\n"
        "    _save(torch.zeros(10), path)\n"
        "    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6))\n"
        "    _save(torch.zeros(10**6), path)\n"
        "sys.exit(main())"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 1
    assert "The file system refused" in run.stderr
    assert "Traceback" not in run.stderr
    assert names(tmp_path) == ["a.resume"]
    assert torch.equal(torch.load(tmp_path / "a.resume", weights_only=True), torch.zeros(10))


def test_a_loss_that_explodes_is_an_error(dataset, tmp_path):
    recipe = dataclasses.replace(TINY, filter_lr=1e30, other_lr=1e30)
    rejected(
        DataError, "no longer finite",
        training.train, dataset, recipe, seed=0, out=tmp_path / "a.pth",
    )  # fmt: skip
    assert "a.pth" not in names(tmp_path)


# The parts


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 8))
def test_augmentation_is_a_reflected_crop_of_the_image_or_its_mirror(seed, pad):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (3, 32, 32, 3), np.uint8)
    found = training.augmented(
        torch.from_numpy(images), pad, torch.Generator().manual_seed(seed)
    ).numpy()
    for image, result in zip(images, found, strict=True):
        padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode="reflect")
        mirrored = np.pad(image[:, ::-1], ((pad, pad), (pad, pad), (0, 0)), mode="reflect")
        crops = (
            source[y : y + 32, x : x + 32]
            for source in (padded, mirrored)
            for y in range(2 * pad + 1)
            for x in range(2 * pad + 1)
        )
        assert any(np.array_equal(result, crop) for crop in crops)


def test_augmentation_flips_and_moves_evenly():
    ramp = np.broadcast_to(np.arange(32, dtype=np.uint8)[:, None], (32, 32))
    image = np.stack([ramp, ramp.T, ramp], axis=2)  # row number, column number, row number
    images = torch.from_numpy(np.stack([image] * 4000))
    found = training.augmented(images, 2, torch.Generator().manual_seed(0)).numpy()
    down = found[:, 16, 16, 0].astype(int) - 16
    assert set(down) == {-2, -1, 0, 1, 2}
    assert np.bincount(down + 2).min() > 700  # 800 expected
    mirrored = found[:, 0, 15, 1] > found[:, 0, 16, 1]
    assert 0.46 < mirrored.mean() < 0.54


def test_training_normalises_as_the_assignment_does():
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    found = training.normalised(torch.from_numpy(images), 32).numpy()
    np.testing.assert_allclose(found, preprocess_batch(images), rtol=0, atol=1e-6)
    assert training.normalised(torch.from_numpy(images), 16).shape == (5, 3, 16, 16)


def test_at_full_size_the_training_network_is_the_assignments():
    torch.manual_seed(0)
    model = ResNet18(BasicBlock).eval()
    x = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(training.logits_at_any_size(model, x), model(x))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**31))
def test_orthogonalised_matrices_have_singular_values_near_one(rows, columns, seed):
    matrix = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    found = training.orthogonalise(matrix, 10)
    assert found.shape == matrix.shape
    largest = torch.linalg.matrix_norm(found, 2)
    assert 0.6 < largest < 1.3  # the smallest may still be on its way up


def test_orthogonalising_keeps_the_directions():
    torch.manual_seed(0)
    left, _ = torch.linalg.qr(torch.randn(16, 16))
    right, _ = torch.linalg.qr(torch.randn(16, 16))
    matrix = left @ torch.diag(torch.linspace(1, 3, 16)) @ right
    found = training.orthogonalise(matrix.reshape(16, 4, 2, 2), 10).flatten(1)
    off_diagonal = left.T @ found @ right.T
    off_diagonal -= torch.diag(off_diagonal.diag())
    assert off_diagonal.abs().max() < 0.1  # bfloat16


def test_muon_moves_by_its_rate_whatever_the_gradients_size():
    for scale in (1e-6, 1.0, 1e6):
        p = torch.nn.Parameter(torch.randn(8, 3, 3, 3, generator=torch.Generator().manual_seed(1)))
        muon = training.Muon([p], momentum=0.9, iterations=10)
        muon.param_groups[0]["lr"] = 0.1
        p.grad = scale * torch.randn(p.shape, generator=torch.Generator().manual_seed(2))
        held = p.detach() * (8**0.5 / p.detach().norm())
        muon.step()
        step = torch.linalg.matrix_norm((held - p.detach()).flatten(1), 2)
        assert 0.06 < step < 0.13
        assert ((held - p.detach()) * p.grad).sum() > 0  # downhill


def test_every_parameter_is_trained_once():
    run = Run(TINY, 0, torch.device("cpu"))
    groups = [*run.filters.param_groups, *run.others.param_groups]
    trained = [id(p) for group in groups for p in group["params"]]
    assert sorted(trained) == sorted(id(p) for p in run.model.parameters())
    decayed = [g["params"] for g in run.others.param_groups if g["weight_decay"]]
    assert decayed == [[run.model.fc.weight]]


def test_rates_rise_and_fall():
    run = Run(Recipe(newton_schulz=0), 0, torch.device("cpu"))
    seen = []
    for done in (0.0, 0.1, 0.2, 0.6, 1.0):
        for p in run.model.parameters():
            p.grad = torch.zeros_like(p)
        run._step(done)
        seen.append((run.filters.param_groups[0]["lr"], run.others.param_groups[0]["lr"]))
    filters, others = zip(*seen, strict=True)
    assert filters == pytest.approx([0.11, 0.099, 0.088, 0.044, 0.0])
    assert others == pytest.approx([0.0, 0.05, 0.1, 0.05, 0.0])


@given(st.integers(1, 100))
def test_every_run_ends_at_the_assignments_size(epochs):
    recipe = Recipe(epochs=epochs)
    sides = [recipe.resolution(epoch) for epoch in range(epochs)]
    assert sides == sorted(sides)
    assert sides[-1] == 32


def test_the_resolutions_of_the_default_run():
    recipe = Recipe()
    sides = [recipe.resolution(epoch) for epoch in range(recipe.epochs)]
    assert sides == [16] * 5 + [24] * 5 + [32] * 5


def test_accuracy_counts_what_is_right(dataset):
    class Knows(ResNet18):
        def forward(self, x):
            raise AssertionError("accuracy goes through logits_at_any_size")

    model = Knows(BasicBlock)
    label = dataset.test.labels[0]
    with torch.no_grad():
        model.fc.weight.zero_()
        model.fc.bias.copy_(F.one_hot(torch.tensor(label), 10))
    expected = 100 * float((dataset.test.labels == label).mean())
    assert training.accuracy(model, dataset.test, batch=4) == pytest.approx(expected)


# The command


def test_the_command_reports_the_accuracy(dataset, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LAB5_CACHE", str(tmp_path / "cache"))
    data.store(dataset)
    out = tmp_path / "w.pth"
    assert train.main(["--epochs", "1", "--seed", "7", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    log = json.loads((tmp_path / "w.json").read_text())
    assert f"test top-1 {log['test_top1']}% on 6 images → {out}" in printed
    assert "epoch 1  side 32" in printed
    assert log["recipe"]["epochs"] == 1
    assert log["seed"] == 7
    assert log["command"].startswith("python -m lab5.train")


def test_wrong_usage(tmp_path, capsys):
    assert train.main(["--epochs", "0"]) == 2
    assert "至少" in capsys.readouterr().err
    for alone in (["--last", "2"], ["--weights", "a.pth"], ["--average"]):
        assert train.main(alone) == 2
        assert "belong together" in capsys.readouterr().err
    assert train.main(["--weights", "a.pth", "--last", "16"]) == 2
    assert "1 to 15" in capsys.readouterr().err
    assert train.main(["--data", str(tmp_path / "none"), "--out", str(tmp_path / "a.pth")]) == 1
    assert "There is no file or folder at" in capsys.readouterr().err
