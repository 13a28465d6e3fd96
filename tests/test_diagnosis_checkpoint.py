"""The checkpoint: prefixes and renamings are told, whatever they are."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lab5.diagnosis import checkpoint
from lab5.diagnosis.core import Findings


def found(state, tmp_path) -> Findings:
    path = tmp_path / "best_model.pth"
    torch.save(state, path)
    findings = Findings()
    checkpoint.look(path, findings, None)
    return findings


def test_the_handed_out_one_has_no_cause(model, tmp_path):
    state = {"total_ops": torch.zeros(1), **model.state_dict()}
    assert found(state, tmp_path).causes == []


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda s: {f"module.{k}": v for k, v in s.items()}, "keys-prefixed"),
        (lambda s: {k.replace("fc.", "classifier."): v for k, v in s.items()}, "keys-renamed"),
        (lambda s: {"model": s}, "weights-inside"),
        (lambda s: {k: v for k, v in s.items() if k != "fc.bias"}, "checkpoint-incomplete"),
        (lambda s: s | {"fc.bias": s["fc.bias"].detach().numpy()}, "checkpoint-incomplete"),
        (lambda s: s | {"fc.bias": s["fc.bias"] * float("nan")}, "checkpoint-incomplete"),
        (lambda s: s | {"fc.bias": s["fc.bias"].to(torch.int8)}, "checkpoint-incomplete"),
        (lambda s: s | {"fc.bias": torch.zeros(100)}, "checkpoint-of-another-architecture"),
        (lambda s: s | {"what is missing": torch.zeros(1)}, "checkpoint-of-another-architecture"),
        (lambda s: {"features.0.weight": torch.zeros(64, 3, 3, 3)}, "checkpoint-of-another-architecture"),
        (lambda s: {"param_groups": []}, "checkpoint-of-another-architecture"),
        (lambda s: [1, 2], "no-checkpoint"),
    ],
)  # fmt: skip
def test_why_it_does_not_load(change, name, model, tmp_path):
    (one,) = found(change(model.state_dict()), tmp_path).causes
    assert one.name == name
    assert one.mend


def test_what_is_no_checkpoint_is_none_whatever_its_folder_is_called(tmp_path):
    folder = tmp_path / "what is missing"
    folder.mkdir()
    (folder / "best_model.pth").write_text("<html>")
    findings = Findings()
    checkpoint.look(folder / "best_model.pth", findings, None)
    assert [one.name for one in findings.causes] == ["no-checkpoint"]


@settings(max_examples=20)
@given(
    st.dictionaries(
        st.sampled_from(["left", "shortcut", "conv1", "fc"]),
        st.text("abxyz", min_size=3, max_size=6),
        min_size=1,
    )
)
def test_any_renaming_in_order_is_mapped(words):
    wanted = {
        "conv1.0.weight": (3, 2),
        "layer1.0.left.0.weight": (2, 2),
        "layer1.0.shortcut.0.weight": (4, 4),
        "fc.bias": (10,),
    }

    def renamed(name: str) -> str:
        return ".".join(words.get(part, part) for part in name.split("."))

    state = {renamed(n): torch.zeros(s) for n, s in wanted.items()}
    if len(state) < len(wanted):
        return
    assert checkpoint.keys_renamed(state, wanted) == {
        renamed(n): n for n in wanted if renamed(n) != n
    }
