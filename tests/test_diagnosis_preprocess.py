"""2.1: every cause is told from what the function returns, alone and with another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lab5.assignment import CIFAR10_MEAN, CIFAR10_STD
from lab5.diagnosis import chain
from lab5.diagnosis.core import Findings
from lab5.diagnosis.source import Source
from lab5.grading.evidence.program import Cell
from lab5.grading.stand_ins.pictures import telling_pictures
from tests.diffs import apply

MEAN, STD = np.array(CIFAR10_MEAN), np.array(CIFAR10_STD)

STEPS: dict[str, dict[str, str]] = {
    "picture": {
        "": 'img = image.convert("RGB").resize((32, 32))',
        "not-converted-to-rgb": "img = image.resize((32, 32))",
        "another-size": 'img = image.convert("RGB").resize((28, 28))',
        "another-filter": 'img = image.convert("RGB").resize((32, 32), Image.BILINEAR)',
        "cropped": 'img = image.convert("RGB").crop((0, 0, 32, 32))',
        "grey-for-colour": 'img = image.convert("L").convert("RGB").resize((32, 32))',
    },
    "array": {
        "": "arr = np.asarray(img, dtype=np.float32) / 255.0",
        "not-divided-by-255": "arr = np.asarray(img, dtype=np.float32)",
        "divided-by-256": "arr = np.asarray(img, dtype=np.float32) / 256.0",
        "divided-by-255-twice": "arr = np.asarray(img, dtype=np.float32) / 255.0 / 255.0",
    },
    "values": {
        "": "arr = (arr - CIFAR10_MEAN) / CIFAR10_STD",
        "mean-and-deviation-exchanged": "arr = (arr - CIFAR10_STD) / CIFAR10_MEAN",
        "mean-not-subtracted": "arr = arr / CIFAR10_STD",
        "other-constants": "arr = (arr - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])",
        "normalised-twice": "arr = ((arr - CIFAR10_MEAN) / CIFAR10_STD - CIFAR10_MEAN) / CIFAR10_STD",
    },
    "layout": {
        "": "arr = arr.transpose(2, 0, 1)",
        "channels-reversed": "arr = arr[..., ::-1].transpose(2, 0, 1)",
        "channels-last": "pass",
        "reshape-for-transpose": "arr = arr.reshape(3, *arr.shape[:2])",
        "height-and-width-exchanged": "arr = arr.transpose(2, 1, 0)",
    },
    "batch": {
        "": "arr = arr[None, ...].astype(np.float32)",
        "no-batch-axis": "arr = arr.astype(np.float32)",
        "double-precision": "arr = arr[None, ...].astype(np.float64)",
    },
}


def cell(**chosen: str) -> str:
    lines = [STEPS[step][chosen.get(step, "")] for step in STEPS]
    body = "".join(f"    {line}\n" for line in lines)
    return f'def preprocess(image):\n    """A picture."""\n{body}    return arr\n'


def called(source: str) -> dict[str, Any]:
    """What the probe would observe; our own code, so it runs here."""
    space: dict[str, Any] = {
        "np": np, "Image": Image,
        "CIFAR10_MEAN": MEAN.astype(np.float32), "CIFAR10_STD": STD.astype(np.float32),
    }  # fmt: skip
    exec(source, space)
    calls: dict[str, Any] = {}
    for label, picture in telling_pictures().items():
        try:
            value = space["preprocess"](picture)
            calls[label] = {"value": value.astype(np.float32), "dtype": str(value.dtype)}
        except Exception as error:
            calls[label] = {"error": f"{type(error).__name__}: {error}"}
    return calls


def found(source: str) -> Findings:
    findings = Findings()
    chain.look(called(source), findings, Source([Cell("code", source)]), "preprocess")
    return findings


def names(findings: Findings) -> set[str]:
    return {one.name for one in findings.causes}


def test_the_right_one_has_no_cause():
    findings = found(cell())
    assert (findings.causes, findings.unknown) == ([], [])
    assert len(findings.done().ruled_out) > 40


SINGLE = [(step, name) for step, options in STEPS.items() for name in options if name]


@pytest.mark.parametrize(("step", "name"), SINGLE)
def test_a_cause_is_named_with_its_line_and_mended(step, name):
    source = cell(**{step: name})
    findings = found(source)
    assert names(findings) == {name}
    (one,) = findings.causes
    assert one.cell == 0
    assert one.sentence.zh
    assert one.sentence.en
    assert "def preprocess" not in source.split("\n")[one.line - 1]
    mended = apply(one.mend.en, source)
    assert mended != source
    assert names(found(mended)) == set()


@settings(max_examples=25)
@given(st.data())
def test_two_causes_of_two_steps_are_both_named(data):
    steps = data.draw(st.lists(st.sampled_from(list(STEPS)), min_size=2, max_size=2, unique=True))
    chosen = {step: data.draw(st.sampled_from([n for n in STEPS[step] if n])) for step in steps}
    if set(chosen.values()) >= {"grey-for-colour", "channels-reversed"}:
        return  # the grey picture has no order of channels
    if {"not-converted-to-rgb", "reshape-for-transpose"} <= set(chosen.values()):
        return
    assert names(found(cell(**chosen))) == set(chosen.values())


@settings(max_examples=20)
@given(
    st.lists(st.floats(0.2, 0.8), min_size=3, max_size=3),
    st.lists(st.floats(0.1, 0.9), min_size=3, max_size=3),
)
def test_any_other_constants_are_measured(mean, std):
    source = cell().replace(
        STEPS["values"][""], f"arr = (arr - np.array({mean})) / np.array({std})"
    )
    findings = found(source)
    assert len(findings.causes) <= 1  # they may be right, or ones that are known
    assert findings.unknown == []


def test_what_no_cause_predicts_is_not_guessed():
    findings = found(cell().replace(STEPS["values"][""], "arr = np.sin(arr * 7) ** 3"))
    assert findings.causes == []
    assert "no known cause" in findings.unknown[0].en


def test_a_function_that_fails_is_not_guessed():
    findings = found(cell().replace(STEPS["values"][""], "arr = arr.no_such_thing"))
    assert findings.causes == []
    assert "AttributeError" in findings.unknown[0].en


def test_constants_that_stand_above_the_function_are_mended_there():
    source = "CIFAR10_MEAN = np.array([0.4824, 0.4822, 0.4465], dtype=np.float32)\n" + cell()
    findings = found(source)
    assert names(findings) == {"other-constants"}
    assert findings.causes[0].line == 1
    assert "+CIFAR10_MEAN = np.array([0.4914, 0.4822, 0.4465], dtype=np.float32)" in (
        findings.causes[0].mend.en
    )


@pytest.mark.parametrize(
    "write",
    [
        lambda body: body,
        lambda body: body.replace("\n", "\r\n"),
        lambda body: "# 註解\n\n" + body,
    ],
)
def test_places_are_those_of_the_cell(write: Callable[[str], str]):
    source = write(cell(layout="channels-reversed"))
    (one,) = found(source).causes
    assert "::-1" in source.replace("\r\n", "\n").split("\n")[one.line - 1]
