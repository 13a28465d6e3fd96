"""The benchmark: what it compares, what it counts, and what it says of engines that are not here."""

from __future__ import annotations

import json
import math
import sys
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch

from lab5.calibration import CIFARLikeCalibReader
from lab5.commands.bench import main, markdown, quality_table, speed_table
from lab5.errors import QuantizationError
from lab5.model import BasicBlock, ResNet18
from lab5.quantize import verify_int8
from lab5.study import bench
from lab5.study.bench import (
    OURS,
    REFERENCE,
    Engine,
    engines,
    judge,
    macs,
    measure_speed,
    write_files,
)
from lab5.study.data import Cifar10, Split


@pytest.fixture(autouse=True)
def _as_many_threads_afterwards():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def images():
    return CIFARLikeCalibReader(batch_size=4, num_batches=1).batches[0]


class Narrow(ResNet18):
    """The network with an eighth of its channels, which is quantised in a tenth of the time."""

    def __init__(self):
        super().__init__(BasicBlock)
        self.fc = torch.nn.Linear(64, 10)

    def make_layer(self, block, channels, num_blocks, stride):
        return super().make_layer(block, channels // 8, num_blocks, stride)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Narrow().eval()


@pytest.fixture(scope="module")
def files(model, images, tmp_path_factory):
    return write_files(model, tmp_path_factory.mktemp("files"), images)


def split(count):
    random = np.random.default_rng(0)
    return Split(random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8), np.arange(count) % 10)


def test_the_files_are_what_their_names_say(files):
    for name, last in (("ours", "DequantizeLinear"), ("synthetic", "QGemm")):
        assert verify_int8(files[name]).graph.node[-1].op_type == last
    for name, fault in (
        ("literal", "not QOperator throughout"),
        ("qdq", "not QOperator throughout"),
        ("int8", "int8 activations"),
    ):
        with pytest.raises(QuantizationError, match=fault):
            verify_int8(files[name])
    kinds = {
        name: {
            t.data_type for t in onnx.load(files[name]).graph.initializer if "zero_point" in t.name
        }
        for name in ("literal", "qdq")
    }
    assert onnx.TensorProto.UINT8 not in kinds["literal"]
    assert onnx.TensorProto.UINT8 in kinds["qdq"]


def test_engines_that_are_here_give_the_networks_answers(model, files, images):
    with torch.no_grad():
        want = model(torch.from_numpy(images)).numpy()
    competitors = engines(model, files, images)
    assert competitors[0].name == REFERENCE
    missing: dict[str, str] = {}
    runners = bench._started(competitors, 1, missing)
    assert {REFERENCE, OURS, "PyTorch eager FP32"} <= set(runners)
    for name in (REFERENCE, "PyTorch eager FP32"):
        assert np.abs(runners[name](images) - want).max() < 1e-3
    assert np.linalg.norm(runners[OURS](images) - want) < 0.5 * np.linalg.norm(want)
    assert set(runners) | set(missing) == {engine.name for engine in competitors}


def test_what_does_not_start_says_why_and_ends_nothing():
    def absent(threads):
        import a_package_that_nobody_has  # type: ignore[import-not-found]  # noqa: F401

    def broken(threads):
        raise RuntimeError("no such device\nand more")

    missing: dict[str, str] = {}
    here = Engine("here", lambda threads: lambda x: x)
    competitors = [Engine("absent", absent), Engine("broken", broken), here]
    assert list(bench._started(competitors, 1, missing)) == ["here"]
    assert "a_package_that_nobody_has is not installed" in missing["absent"]
    assert "未安裝 a_package_that_nobody_has" in missing["absent"]
    assert missing["broken"] == "RuntimeError: no such device"


def test_all_engines_take_equal_turns():
    calls = []
    runners = {n: (lambda x, n=n: calls.append((n, x.shape))) for n in "ab"}
    speeds = measure_speed(runners, 2, 1, 0.05)
    assert set(speeds) == {"a", "b"}
    assert speeds["a"].turns == speeds["b"].turns > 0
    assert {shape for _, shape in calls} == {(2, 3, 32, 32)}
    for speed in speeds.values():
        assert 0 < speed.p25 <= speed.median <= speed.p75


def test_multiply_accumulates_are_counted_as_torch_runs_them(model, files):
    total = 0

    def count(module, inputs, output):
        nonlocal total
        positions = output[0, 0].numel() if output.ndim == 4 else 1
        total += module.weight.numel() * positions

    layers = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    with torch.no_grad():
        model(torch.zeros(1, 3, 32, 32))
    for hook in hooks:
        hook.remove()
    assert macs(onnx.load(files["fp32"])) == total


def test_the_rate_of_multiplication_is_a_rate():
    assert 1e8 < bench.multiply_rate(0.05) < 1e14


def test_answers_are_judged_beside_the_reference():
    def right(x):
        return np.eye(10, dtype=np.float32)[np.arange(len(x)) % 10]

    def half(x):
        logits = right(x)
        logits[::2] = np.roll(logits[::2], 1, axis=1)
        return logits

    reference, logits = judge(right, split(100), None)
    assert (reference.top1, reference.drop, reference.agreement) == (100, 0, 100)
    assert reference.relative_l2 == 0
    found, _ = judge(half, split(100), logits)
    assert (found.top1, found.drop, found.agreement) == (50, 50, 50)
    assert found.relative_l2 == pytest.approx(1)
    low, high = found.interval
    assert 0 < low < 50 < high
    assert found.p_value < 1e-9


def test_tables_have_a_row_for_everything_and_equal_widths():
    def cells(text):
        return [line.strip("|").split("|") for line in text.splitlines()]

    speed = {"batch": 1, "threads": 2, "median": 1.234, "p25": 1.0, "p75": 2.0, "turns": 3}
    answers = {"top1": 90.0, "drop": 0.1, "interval": (-0.1, 0.3), "p_value": 0.4, "agreement": 99.5,
               "relative_l2": 0.0123, "images": 10}  # fmt: skip
    rows = [
        {"name": "first", "missing": None, "speeds": [speed], "answers": answers},
        {"name": "second", "missing": "not installed", "speeds": [], "answers": None},
        {"name": "third", "missing": None, "speeds": [speed], "answers": None},
    ]
    text = markdown(speed_table({"rows": rows}))
    assert {len(line) for line in cells(text)} == {6}
    assert "1.23 (1.00–2.00)" in text
    assert "not installed" in text
    text = markdown(quality_table({"rows": rows[:1]}))
    assert {len(line) for line in cells(text)} == {7}
    assert "-0.10 … +0.30" in text


@pytest.mark.slow
@pytest.mark.benchmark
def test_both_commands(model, weights, tmp_path, capsys, monkeypatch):
    """On a data set of a few random images: every figure is there and is valid JSON."""
    from lab5 import checkpoint
    from lab5.study import data, synthetic

    monkeypatch.setattr(checkpoint, "open_model", lambda path: model)
    made = CIFARLikeCalibReader(batch_size=20, num_batches=1).batches[0]
    monkeypatch.setattr(synthetic, "synthetic_images", lambda model, seed=0: made)
    monkeypatch.setattr(data, "load", lambda path=None: Cifar10(split(100), split(20)))
    monkeypatch.setattr(data, "cached", lambda: True)
    out = tmp_path / "bench.json"
    arguments = ["--weights", str(weights), "--json", str(out), "--seconds", "0.01"]
    assert main([*arguments, "--images", "10"]) == 0
    result = json.loads(out.read_text())
    ours = next(row for row in result["rows"] if row["name"] == OURS)
    assert [(s["batch"], s["threads"]) for s in ours["speeds"]] == list(bench.CONFIGURATIONS)
    assert ours["answers"]["images"] == 10
    assert math.isfinite(result["floor"]["ms"])
    assert main([*arguments, "--quality"]) == 0
    result = json.loads(out.read_text())
    assert len(result["rows"]) == 13
    assert result["rows"][0]["answers"]["agreement"] == 100
    assert OURS in capsys.readouterr().out


def test_wrong_usage():
    assert main(["--seconds", "0"]) == 2
    assert main(["--images", "0"]) == 2


def test_only_the_row_called_fp32_asks_openvino_for_float32(monkeypatch, tmp_path):
    """In bfloat16, which it takes by itself where the processor has it, it would be no FP32."""
    asked = []

    class Core:
        def read_model(self, path):
            return path

        def compile_model(self, model, device, settings):
            asked.append((model, settings.get("INFERENCE_PRECISION_HINT")))

    monkeypatch.setitem(sys.modules, "openvino", SimpleNamespace(Core=Core))
    files = dict.fromkeys(("ours", "synthetic", "literal", "int8", "qdq"), tmp_path / "int8")
    files["fp32"] = tmp_path / "fp32"
    for engine in engines(None, files, np.zeros((1, 3, 32, 32), np.float32)):
        if engine.name.startswith("OpenVINO") and "NNCF" not in engine.name:
            engine.make(1)
    assert asked == [(tmp_path / "fp32", "f32"), (tmp_path / "int8", None)]
