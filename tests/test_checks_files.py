"""What the checks read of files: the checkpoint without PyTorch, the speed of two models on a busy machine."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

from lab5.assignment import FileNames
from lab5.errors import CheckpointError
from lab5.grading import handin as grading_handin
from lab5.grading.core import Advice, Fault
from lab5.grading.evidence import checkpoint
from lab5.grading.evidence.checkpoint import checkpoint_layers
from lab5.grading.evidence.onnx_file import OnnxFile, Unreadable, in_order, reference_logits
from lab5.grading.handin import ROUNDS, Evidence, read_report, times_as_long
from lab5.grading.suite import CHECKS
from lab5.report.document import make_report
from lab5.text import LANGUAGES
from tests import figures, handin

LOGITS = np.eye(8, 10, dtype=np.float32) + np.float32(1e-30)


def test_a_checkpoint_read_without_torch_computes_the_same(weights, model):
    x = np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32)
    with torch.no_grad():
        want = model(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(
        reference_logits(checkpoint_layers(weights), x), want, rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize(
    "saved",
    [
        lambda state: {"state_dict": state},
        lambda state: {f"module.{name}": value for name, value in state.items()},
        lambda state: {name: torch.nn.Parameter(value) for name, value in state.items()
                       if value.is_floating_point()} | {n: v for n, v in state.items() if v.dim() == 0},
        lambda state: {n: v.half() if v.is_floating_point() else v for n, v in state.items()},
    ],
    ids=["wrapped", "of DataParallel", "of parameters", "in half precision"],
)  # fmt: skip
def test_other_ways_of_saving_give_the_same_layers(weights, model, tmp_path, saved):
    path = tmp_path / "best_model.pth"
    torch.save(saved(model.state_dict()), path)
    for one, other in zip(checkpoint_layers(path), checkpoint_layers(weights), strict=True):
        np.testing.assert_allclose(one.folded, other.folded, rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize(
    ("what", "name", "reader"),
    [("cells", handin.NOTEBOOK, "read_cells"), ("report", handin.REPORT, "read_report")],
)
def test_that_a_file_is_unreadable_is_found_once(tmp_path, monkeypatch, what, name, reader):
    evidence = Evidence(handin.write_zip(tmp_path / handin.ARCHIVE, {name: b"["}), tmp_path)
    read = Mock(side_effect=getattr(grading_handin, reader))
    monkeypatch.setattr(grading_handin, reader, read)
    said = []
    for _ in range(2):
        with pytest.raises(Unreadable) as found:
            getattr(evidence, what)
        said.append(found.value)
    assert said[0] is said[1]
    read.assert_called_once()


@pytest.mark.parametrize("content", [b"", b"<html>", b"PK\3\4" + bytes(100)])
def test_no_checkpoint(tmp_path, content):
    path = tmp_path / "best_model.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError):
        checkpoint_layers(path)


def test_the_fp32_file_has_the_checkpoints_layers(weights, fp32):
    for mine, theirs in zip(
        in_order(OnnxFile(fp32).layers), checkpoint_layers(weights), strict=True
    ):
        np.testing.assert_allclose(mine.folded, theirs.folded, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(mine.folded_bias, theirs.folded_bias, rtol=1e-4, atol=1e-5)


NOISE = st.lists(st.floats(1, 20), min_size=ROUNDS[1], max_size=ROUNDS[1])


@given(st.floats(0.1, 8), NOISE, NOISE)
def test_one_quiet_run_of_either_model_is_enough(ratio, fp32, int8):
    pairs = [(a, ratio * b) for a, b in zip([*fp32, 1.0], [1.0, *int8], strict=True)]
    assert times_as_long(pairs) <= ratio * (1 + 1e-9)


@given(st.floats(0.1, 8), NOISE, st.integers(0, ROUNDS[1] - 1), st.floats(0.3, 1))
def test_a_moment_in_which_the_machine_is_faster_favours_neither(ratio, noise, at, boost):
    """FP32 caught it, INT8 never did."""
    pairs = [(a, ratio * a) for a in noise]
    pairs[at] = (boost, pairs[at][1])
    assert times_as_long(pairs) <= ratio * (1 + 1e-9)


@given(st.floats(0.1, 8), st.lists(st.floats(0.9, 1.1), min_size=8, max_size=8))
def test_a_slow_file_is_found_slow(ratio, noise):
    found = times_as_long([(a, ratio * b) for a, b in zip(noise[:4], noise[4:], strict=True)])
    assert found == pytest.approx(ratio, rel=0.25)


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize(("devices", "emulated"), [(0, 0), (0, 3), (2, 1), (3, 0), (3, 3)])
def test_emulated_screenshots_of_our_report_are_not_counted(tmp_path, lang, devices, emulated):
    folder = tmp_path / "screenshots"
    folder.mkdir()
    for i in range(devices + emulated):
        name = f"phone-{i}.png" if i < devices else f"emulated-phone-{i}.png"
        (folder / name).write_bytes(handin.screenshot(i))
    names = FileNames(handin.ID)
    make_report(tmp_path / names.report, names, figures.figures(), tmp_path, lang)
    given = SimpleNamespace(report=read_report(tmp_path / names.report))
    if devices >= 3:
        assert CHECKS["screenshots"].function(given)
        return
    with pytest.raises(Fault) as caught:
        CHECKS["screenshots"].function(given)
    assert caught.value.share == devices / 3


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [(0, (5,), (1,)), (1, (4,), (1,)), (0, (2, 3), (2, 1)), (0, (1000,), (0,)), (-1, (2,), (1,)), (3, (2,), (-1,))],
)  # fmt: skip
def test_a_tensor_never_reaches_beyond_its_storage(offset, size, stride):
    with pytest.raises(ValueError, match="beyond"):
        checkpoint._tensor(np.zeros(4, np.float32), offset, size, stride)


@pytest.mark.parametrize(("largest", "advised"), [(64, False), (65, True)])
def test_weights_that_may_overflow_are_advised_against(largest, advised):
    rows = np.full((2, 8), largest, np.int8)
    int8 = OnnxFile(Path("int8.onnx"))
    vars(int8)["layers"] = [SimpleNamespace(integers=rows), SimpleNamespace(integers=None)]
    given = SimpleNamespace(int8=int8)
    function = CHECKS["int8-no-overflow"].function
    with pytest.raises(Advice) if advised else contextlib.nullcontext():
        function(given)


@pytest.mark.parametrize(
    ("opset", "expected"), [(13, None), (14, Advice), (18, Advice), (12, Fault), (0, Fault)]
)
def test_an_opset_above_13_is_advice_and_one_below_a_fault(opset, expected):
    given = SimpleNamespace(fp32=SimpleNamespace(opset=opset))
    if expected is None:
        assert CHECKS["fp32-opset"].function(given) is None
        return
    with pytest.raises(Fault) as caught:
        CHECKS["fp32-opset"].function(given)
    assert type(caught.value) is expected


@pytest.mark.parametrize("what", ["refused", "session"])
@pytest.mark.parametrize("optimise", [[], ["-O"]])
def test_a_file_outside_is_never_opened(what, optimise, tmp_path):
    """Nor where Python leaves assertions out: onnx and onnxruntime would open it by themselves."""
    tensor = numpy_helper.from_array(np.ones(8, np.float32), "w")
    set_external_data(tensor, "../secret")
    tensor.ClearField("raw_data")
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [8])
    nodes = [helper.make_node("Identity", ["w"], ["y"])]
    graph = helper.make_graph(nodes, "g", [], [y], [tensor])
    (tmp_path / "secret").write_bytes(bytes(32))
    model = tmp_path / "inside" / "a.onnx"
    model.parent.mkdir()
    model.write_bytes(helper.make_model(graph).SerializeToString())
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from lab5.grading.evidence.onnx_file import OnnxFile, Unreadable\n"
        "try:\n"
        "    getattr(OnnxFile(Path(sys.argv[1])), sys.argv[2])\n"
        "except Unreadable as fault:\n"
        "    print(fault)\n"
    )
    command = [sys.executable, *optimise, "-c", program, model, what]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout == "It refers to a file outside the zip.\n"


@pytest.mark.parametrize(
    ("fp32", "int8", "shown"),
    [
        (LOGITS, LOGITS, None),
        (LOGITS, LOGITS * 1.2, None),
        (LOGITS, LOGITS * 1.4, "100%, L2 0.400"),
        (LOGITS, LOGITS[::-1], "0%, L2 1.414"),
        (LOGITS, LOGITS * np.inf, "12%, L2 inf"),
        (LOGITS * 0, LOGITS * 0, "100%, L2 inf"),
        (LOGITS * 0, LOGITS, "12%, L2 inf"),
    ],
)  # fmt: skip
def test_how_far_int8_may_be_from_fp32(fp32, int8, shown):
    function = CHECKS["int8-agrees"].function
    given = SimpleNamespace(held_out=(fp32, int8))
    if shown is None:
        assert "100%" in function(given).en
        return
    with pytest.raises(Fault) as caught:
        function(given)
    assert caught.value.got.en == shown
