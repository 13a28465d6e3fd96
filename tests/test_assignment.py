"""The rubric adds up, and file names hold no surprises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab5.assignment import (
    CIFAR10_MEAN,
    CIFAR10_STD,
    CLASSES,
    ITEMS,
    TOPICS,
    TOTAL_POINTS,
    FileNames,
)
from lab5.errors import UsageError


def test_points_are_those_of_the_assignment():
    assert [topic.points for topic in TOPICS] == [40, 35, 25]
    assert TOTAL_POINTS == 100
    points = {number: item.points for number, item in ITEMS.items()}
    assert points == {
        **{"1.1": 5, "1.2": 5, "1.3": 10, "1.4": 10, "1.5": 10},
        **{"2.1": 10, "2.2": 10, "2.3": 10, "2.4": 5},
        **{"3.1": 10, "3.2": 10, "3.3": 5},
    }


def test_items_are_numbered_by_topic():
    for topic in TOPICS:
        assert [i.number for i in topic.items] == [
            f"{topic.number}.{k}" for k in range(1, len(topic.items) + 1)
        ]
    assert all(item.title.zh and item.title.en for item in ITEMS.values())


def test_classes_are_in_the_official_order():
    assert len(CLASSES) == 10
    assert list(CLASSES) == sorted(CLASSES)  # CIFAR-10 numbers its classes alphabetically
    assert "automobile" in CLASSES  # not "car", as the handed-out notebook has it


@pytest.mark.cifar10
def test_mean_and_std_are_those_of_the_training_images(cifar10):
    channels = np.moveaxis(cifar10.train.images, -1, 0)
    shares = np.array(
        [np.bincount(c.ravel(), minlength=256) / c.size for c in channels]
    )  # (3, 256)
    levels = np.arange(256) / 255
    mean = shares @ levels
    std = np.sqrt(shares @ levels**2 - mean**2)
    assert mean.round(4).tolist() == list(CIFAR10_MEAN)
    assert std.round(4).tolist() == pytest.approx(CIFAR10_STD, abs=1.1e-4)


def test_the_names_of_the_hand_in():
    names = FileNames("N26140692")
    assert names.required == (
        "N26140692.ipynb",
        "N26140692_FP32.onnx",
        "N26140692_INT8.onnx",
        "N26140692_report.pdf",
    )
    assert names.archive == "N26140692_lab5.zip"
    assert names.external_data == "N26140692_FP32.onnx.data"


@given(st.from_regex(r"[A-Za-z0-9]{2,32}", fullmatch=True))
def test_letters_and_digits_are_a_student_id(student_id):
    assert FileNames(student_id).required[0] == f"{student_id}.ipynb"


@pytest.mark.parametrize(
    "student_id",
    [
        "",
        "a",
        "a" * 33,
        "../x",
        "a/b",
        "a\\b",
        "學號",
        "١٢٣",
        "N2 6",
        "N26\n",
        "N26_lab5",
        "C:x",
        ".",
    ],
)
def test_anything_else_is_not(student_id):
    with pytest.raises(UsageError) as caught:
        FileNames(student_id)
    assert "2 to 32 letters and digits" in caught.value.text.en
    assert "學號" in caught.value.text.zh


@given(st.text())
def test_a_file_name_never_leaves_the_folder(text):
    try:
        names = FileNames(text)
    except UsageError:
        return
    for name in (*names.required, names.archive, names.external_data):
        assert "/" not in name
        assert "\\" not in name
        assert name.isascii()
        assert name.isprintable()
