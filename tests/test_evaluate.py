"""The measures by their definitions, and the command on a handful of images."""

from __future__ import annotations

import json
import math
from fractions import Fraction

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import TensorProto, helper

from lab5.assignment import CLASSES
from lab5.commands import evaluate as command
from lab5.errors import CalibrationError, CheckpointError, DataError
from lab5.model import BasicBlock, ResNet18
from lab5.preprocess import preprocess_batch
from lab5.session import PROVIDERS, build_session
from lab5.study import data, evaluate
from lab5.study.data import Cifar10, Split
from lab5.study.evaluate import FP32, INT8, PYTORCH, Evaluation, Paired

logits = arrays(np.float32, (7, 10), elements=st.floats(-50, 50, width=32))
labels = arrays(np.int64, 7, elements=st.integers(0, 9))


# Measures


@given(logits, labels)
def test_top1_counts_the_largest_logit(x, y):
    right = sum(
        max(range(10), key=lambda c: row[c]) == label for row, label in zip(x, y, strict=True)
    )
    assert evaluate.top1(x, y) == pytest.approx(100 * right / 7)


@given(logits, labels)
def test_per_class_top1_adds_up_to_top1(x, y):
    share = evaluate.per_class_top1(x, y)
    assert share.shape == (10,)
    counts = np.bincount(y, minlength=10)
    assert np.isnan(share).tolist() == (counts == 0).tolist()
    assert np.nansum(share * counts) / 7 == pytest.approx(evaluate.top1(x, y))


@given(logits, logits)
def test_agreement(x, y):
    assert evaluate.agreement(x, x) == 100
    assert evaluate.agreement(x, y) == evaluate.agreement(y, x)
    assert evaluate.agreement(x, y) == evaluate.top1(x, y.argmax(1))


@given(logits, logits)
def test_relative_l2(x, y):
    assert evaluate.relative_l2(x, x) == 0
    difference = math.sqrt(
        sum((float(a) - float(b)) ** 2 for a, b in zip(x.flat, y.flat, strict=True))
    )
    norm = math.sqrt(sum(float(b) ** 2 for b in y.flat))
    if norm > 1e-12:
        assert evaluate.relative_l2(x, y) == pytest.approx(difference / norm, rel=1e-5)
    assert evaluate.relative_l2(2 * x + 1, np.zeros_like(x)) in (0, math.inf)


def test_no_images_is_not_a_number():
    none = np.zeros((0, 10), np.float32)
    assert math.isnan(evaluate.top1(none, np.zeros(0, np.int64)))
    assert math.isnan(evaluate.agreement(none, none))


@given(logits, logits, labels)
def test_paired_is_the_difference_of_both_top1(x, y, truth):
    pair = evaluate.paired(x, y, truth)
    assert pair.images == 7
    assert pair.difference == pytest.approx(evaluate.top1(y, truth) - evaluate.top1(x, truth))
    swapped = evaluate.paired(y, x, truth)
    assert swapped.difference == -pair.difference
    assert swapped.p_value == pair.p_value
    low, high = pair.interval
    assert low < high


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_exact_binomial_test(first, second):
    n = first + second
    tail = sum(Fraction(math.comb(n, k), 2**n) for k in range(min(first, second) + 1))
    expected = min(1.0, float(2 * tail))
    assert Paired(200, first, second).p_value == pytest.approx(expected, rel=1e-9)


def test_mcnemar_by_hand():
    assert Paired(100, 0, 0).p_value == 1
    assert Paired(100, 1, 0).p_value == 1
    assert Paired(100, 6, 0).p_value == pytest.approx(2 / 64)
    assert Paired(100, 6, 0).differs
    assert not Paired(100, 5, 0).differs  # 2/32
    assert Paired(10_000, 4000, 4001).p_value == pytest.approx(1, abs=0.01)  # no overflow


def test_the_interval_holds_the_truth_as_often_as_it_says():
    """Two models that are each right alone on 3% and 4% of all images: 1 point of difference."""
    rng = np.random.default_rng(0)
    n, held = 1000, 0
    draws = rng.multinomial(n, [0.03, 0.04, 0.93], size=2000)
    for first, second, _ in draws:
        low, high = Paired(n, int(first), int(second)).interval
        held += low <= 1.0 <= high
    assert 0.93 < held / 2000 < 0.97


# Logits


def random_images(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 32, 32, 3), np.uint8)


def tiny_session(tmp_path, batch):
    """Logits are the mean of the picture plus the class number."""
    mean = helper.make_node("ReduceMean", ["x"], ["m"], axes=[1, 2, 3], keepdims=0)
    nodes = [
        mean,
        helper.make_node("Unsqueeze", ["m", "one"], ["column"]),
        helper.make_node("Add", ["column", "classes"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, 32, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 10])],
        [
            helper.make_tensor("one", TensorProto.INT64, [1], [1]),
            helper.make_tensor("classes", TensorProto.FLOAT, [10], list(range(10))),
        ],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7),
        tmp_path / "tiny.onnx",
    )
    return build_session(str(tmp_path / "tiny.onnx"), PROVIDERS)


@pytest.mark.parametrize("batch", ["N", 1, 3])
@pytest.mark.parametrize("n", [0, 3, 213])
def test_session_logits(tmp_path, batch, n):
    images, done = random_images(n), []
    found = evaluate.session_logits(tiny_session(tmp_path, batch), images, done.append)
    expected = preprocess_batch(images).mean((1, 2, 3))[:, None] + np.arange(10)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.reshape(n, 10), rtol=1e-4, atol=1e-5)
    assert sum(done) == n


def test_torch_logits():
    torch.manual_seed(0)
    model = ResNet18(BasicBlock).eval()
    images, done = random_images(evaluate.BATCH + 1), []
    found = evaluate.torch_logits(model, images, done.append)
    with torch.no_grad():
        expected = model(torch.from_numpy(preprocess_batch(images[-2:]))).numpy()
    np.testing.assert_allclose(found[-2:], expected, rtol=1e-4, atol=1e-5)
    assert done == [evaluate.BATCH, 1]


# The evaluation


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("checkpoint") / "seeded.pth"
    torch.save(ResNet18(BasicBlock).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def split():
    return Split(random_images(12), np.arange(12) % 5)  # no image of the last five classes


@pytest.fixture(scope="module")
def evaluation(checkpoint, split):
    done = []
    found = evaluate.evaluate(checkpoint, split, calibration="random", tick=done.append)
    assert sum(done) == 3 * 12
    return found


def test_three_models_on_the_same_images(evaluation, split):
    assert list(evaluation.logits) == [PYTORCH, FP32, INT8]
    assert all(x.shape == (12, 10) for x in evaluation.logits.values())
    np.testing.assert_array_equal(evaluation.labels, split.labels)
    assert evaluation.calibration == "random"
    figures = evaluation.figures()
    assert figures[PYTORCH]["relative_l2"] < 1e-5
    assert figures[FP32]["relative_l2"] == 0
    assert figures[FP32]["agreement"] == figures[PYTORCH]["agreement"] == 100
    assert 1e-4 < figures[INT8]["relative_l2"] < 0.5


def test_the_report_is_plain_json(evaluation, checkpoint):
    report = json.loads(json.dumps(command.report(evaluation, checkpoint), allow_nan=False))
    assert report["images"] == 12
    assert len(report["sha256"]) == 64
    for model in (PYTORCH, FP32, INT8):
        assert list(report["models"][model]["per_class"]) == list(CLASSES)
        assert report["models"][model]["per_class"]["truck"] is None  # has no image
    pair = report["int8_against_fp32"]
    assert pair["interval_pp"][0] < pair["difference_pp"] < pair["interval_pp"][1]
    assert 0 < pair["mcnemar_p"] <= 1


def test_no_images(checkpoint, split):
    with pytest.raises(DataError, match="no test images"):
        evaluate.evaluate(checkpoint, split.first(0))


def test_a_statement_for_each_outcome():
    def statement(only_fp32, only_int8):
        return str(command._statement(Paired(10_000, only_fp32, only_int8)))

    assert "-0.03 pp" in statement(14, 11)
    assert "no difference shown" in statement(14, 11)
    assert "看不出差異" in statement(14, 11)
    assert "+0.30 pp" in statement(10, 40)
    assert "(95% CI +0.16 … +0.44)" in statement(10, 40)
    assert ": a difference at the 5% level" in statement(10, 40)


@pytest.fixture
def cache(tmp_path, monkeypatch, split):
    """A cache whose test images are ``split``."""
    monkeypatch.setenv("LAB5_CACHE", str(tmp_path / "cache"))
    data.store(Cifar10(split, split))


def test_the_command(cache, checkpoint, tmp_path, capsys):
    out = tmp_path / "figures.json"
    argv = ["--weights", str(checkpoint), "--images", "6", "--calibration", "random"]
    assert command.main([*argv, "--json", str(out)]) == 0
    printed = capsys.readouterr().out
    report = json.loads(out.read_text())
    assert "6 test images" in printed
    words = ("top-1", "agreement", "相同", "relative L2", "相對 L2", "McNemar")
    for word in (*words, *CLASSES):
        assert word in printed
    assert f"{report['models'][INT8]['top1']:.2f}%" in printed
    assert report["images"] == 6
    assert report["calibration"] == "random"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cache", "figures.json"]


def failure(capsys, status, *argv):
    assert command.main([str(a) for a in argv]) == status
    err = capsys.readouterr().err
    assert "Traceback" not in err
    return err


def test_what_can_go_wrong(cache, checkpoint, tmp_path, capsys):
    assert "at least 1" in failure(capsys, 2, "--weights", checkpoint, "--images", 0)
    assert "no file" in failure(capsys, 1, "--weights", tmp_path / "none.pth")
    assert "no file or folder" in failure(
        capsys, 1, "--weights", checkpoint, "--data", tmp_path / "none"
    )
    err = failure(capsys, 1, "--weights", checkpoint, "--calibration", "no-such-mode")
    assert "no-such-mode" in err


def test_errors_have_their_types(checkpoint, split, tmp_path):
    with pytest.raises(CheckpointError):
        evaluate.evaluate(tmp_path / "none.pth", split)
    with pytest.raises(CalibrationError):
        evaluate.evaluate(checkpoint, split, calibration="no-such-mode")


@pytest.mark.cifar10
@pytest.mark.slow
def test_the_repositorys_weights(cifar10, weights, synthetic_int8):
    """What the project promises of its own weights, on enough images to tell."""
    test = cifar10.test.first(1000)
    found = evaluate.evaluate(weights, test, calibration="random")
    assert isinstance(found, Evaluation)
    session = build_session(str(synthetic_int8), PROVIDERS)
    synthetic = {**found.logits, INT8: evaluate.session_logits(session, test.images)}
    for one, relative_l2 in (
        (found, 0.12),
        (Evaluation(test.labels, synthetic, "synthetic"), 0.05),
    ):
        figures = one.figures()
        assert figures[FP32]["top1"] > 91  # 94.2 on all: three standard deviations of 1,000 images
        assert figures[PYTORCH]["agreement"] == 100
        assert figures[INT8]["agreement"] > 98.5, one.calibration
        assert figures[INT8]["relative_l2"] < relative_l2, one.calibration
