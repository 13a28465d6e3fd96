"""FP32: what the network computes with one thing done wrongly, and what its layers hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab5.compare import softmax
from lab5.diagnosis import fp32 as f
from lab5.diagnosis.core import Findings
from lab5.diagnosis.reference import Net, Reference
from lab5.grading.evidence import inputs
from lab5.grading.evidence.checkpoint import checkpoint_layers
from lab5.grading.evidence.onnx_file import Layer, OnnxFile
from tests.conftest import FIXTURES


@pytest.fixture(scope="module")
def layers():
    return checkpoint_layers(FIXTURES / "best_model.pth")


@pytest.fixture(scope="module")
def reference(layers):
    return Reference(layers, inputs.parity())


def test_the_reference_is_the_network(reference, model):
    import torch

    with torch.no_grad():
        want = model(torch.from_numpy(inputs.parity())).numpy()
    assert np.abs(reference.logits() - want).max() < 1e-3
    assert f.computed(want, reference, inputs.parity()) == []


@pytest.mark.parametrize(
    ("net", "name"),
    [
        (Net(shortcut=(1, 1, 0, 1, 1, 1, 1, 1)), "shortcut_missing"),
        (Net(shortcut=(2,) * 8), "shortcut_doubled"),
        (Net(last=(0,) * 8), "relu_missing"),
        (Net(pool="max"), "maximum_for_average"),
        (Net(strides=(1, 1, 2, 2, 1)), "another_stride"),
        (Net(early=True), "relu_before_the_addition"),
    ],
)
def test_one_thing_done_wrongly_is_told(net, name, reference):
    ((step, _),) = f.computed(reference.logits(net), reference, inputs.parity())
    assert step.__name__ == name


def test_a_softmax_upon_another_fault_is_told(reference):
    found = softmax(reference.logits(Net(pool="max")).astype(float))
    names = [step.__name__ for step, _ in f.computed(found, reference, inputs.parity())]
    assert names == ["maximum_for_average", "softmax_included"]


def test_what_no_cause_gives_is_not_guessed(reference):
    assert f.computed(reference.logits() + 1.5, reference, inputs.parity()) is None


def test_the_file_of_the_checkpoint_holds_its_layers(fp32, layers):
    from lab5.grading.evidence.onnx_file import in_order

    findings = Findings()
    f.held(in_order(OnnxFile(fp32).layers), layers, FIXTURES / "best_model.pth", findings)
    assert findings.causes == []


def test_layers_as_they_were_made_are_told():
    import torch

    torch.manual_seed(1)
    for layer in (torch.nn.Conv2d(64, 64, 3, bias=False), torch.nn.Conv2d(3, 64, 3, bias=False)):
        weight = layer.weight.detach().numpy()
        assert f.weights_not_loaded(Layer("Conv", weight, None, folded=weight))
        assert not f.weights_not_loaded(Layer("Conv", weight * 2, None, folded=weight * 2))


@given(st.permutations(range(10)))
def test_any_order_of_the_classes_is_found(order):
    weight = np.random.default_rng(0).standard_normal((10, 16))
    found = f.classes_in_another_order(weight[order], weight)
    assert found == (None if list(order) == sorted(order) else list(order))
