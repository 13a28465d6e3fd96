"""What looks alike in a class, and what everybody was given."""

from __future__ import annotations

import base64
import random
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab5.classroom.alike import MIN_STATEMENTS, groups
from lab5.grading.portrait import SIDE, Picture, Portrait


def statements(name: str, count: int) -> tuple[str, ...]:
    return tuple(f"_ = _.{name}_{i}(_, _)" for i in range(count))


def picture(seed: int, page: int = 1, noise: int = 0) -> Picture:
    greys = np.random.default_rng(seed).integers(20, 230, SIDE**2).astype(np.int16)
    greys += np.random.default_rng(seed + noise).integers(-noise, noise + 1, SIDE**2)
    return Picture(page, base64.b64encode(greys.astype("u1")).decode())


def crowd(count: int) -> dict[str, Portrait]:
    """Hand-ins that have nothing in common."""
    return {
        f"z{i:04}": Portrait(
            f"{i:064x}", f"{i + 5000:064x}", "", f"{i + 9000:064x}", statements(f"own{i}", 20),
            (picture(i), picture(i + 5000, 2)),
        )
        for i in range(count)
    }  # fmt: skip


def test_nobody_looks_like_another_without_a_reason():
    assert groups(crowd(60)) == []
    assert groups({}) == []


@pytest.mark.parametrize("part", ["notebook", "report", "weights", "scales"])
def test_equal_digests(part):
    both = {key: Portrait(**{part: "ab" * 32}) for key in ("b", "a")}
    (group,) = groups(crowd(5) | both)
    assert group.keys == ("a", "b")
    assert [one.kind for one in group.likenesses] == [part]


def test_the_same_code_in_another_order_with_some_of_it_changed():
    one, two = statements("x", 20), (*reversed(statements("x", 14)), *statements("y", 9))
    (group,) = groups(crowd(30) | {"a": Portrait(code=one), "b": Portrait(code=two)})
    (likeness,) = group.likenesses
    assert (group.keys, likeness.kind, likeness.where) == (("a", "b"), "code", (20, 23))
    assert set(likeness.common) == set(statements("x", 14))


def test_a_few_statements_in_common_are_no_likeness():
    few, more = statements("x", MIN_STATEMENTS - 1), statements("x", MIN_STATEMENTS)
    for common, expected in ((few, 0), (more, 1)):
        both = {key: Portrait(code=common + statements(key, 3)) for key in ("a", "b")}
        assert len(groups(crowd(9) | both)) == expected
        both = {key: Portrait(code=common + statements(key, 30)) for key in ("a", "b")}
        assert groups(crowd(9) | both) == []


def test_what_a_third_of_the_class_has_was_given_to_it():
    given = statements("given", 30)
    everybody = {key: Portrait(code=one.code + given, pictures=(*one.pictures, picture(-1 % 99)))
                 for key, one in crowd(30).items()}  # fmt: skip
    assert groups(everybody) == []


def test_a_ring_is_one_group_with_all_its_reasons():
    ring = {f"r{i}": Portrait(scales="cd" * 32, code=statements("x", 12), pictures=(picture(77, i),))
            for i in range(1, 5)}  # fmt: skip
    pair = {"p": Portrait(report="ef" * 32), "q": Portrait(report="ef" * 32)}
    first, second = groups(crowd(20) | ring | pair)
    assert first.keys == ("r1", "r2", "r3", "r4")
    assert [one.kind for one in first.likenesses] == ["scales", "code", "picture"]
    assert first.likenesses[-1].where == (1, 2, 3, 4)
    assert second.keys == ("p", "q")


def test_an_equal_file_needs_no_word_on_what_is_in_it():
    one = Portrait("ab" * 32, "cd" * 32, code=statements("x", 12), pictures=(picture(1),))
    (group,) = groups({"a": one, "b": one})
    assert [one.kind for one in group.likenesses] == ["notebook", "report"]


@given(st.integers(0, 200), st.integers(0, 3))
def test_a_picture_compressed_anew_is_the_same_and_another_one_is_not(seed, noise):
    def pair(other: Picture) -> dict[str, Portrait]:
        return {"a": Portrait(pictures=(picture(seed),)), "b": Portrait(pictures=(other,))}

    assert len(groups(pair(picture(seed, 3, noise)))) == 1
    assert groups(pair(picture(seed + 1000))) == []


@given(st.lists(st.sampled_from("abc"), max_size=12), st.randoms(use_true_random=False))
def test_groups_do_not_depend_on_the_order_and_hold_each_pair(digests, rng):
    portraits = {f"k{i}": Portrait(report=d * 64) for i, d in enumerate(digests)}
    shuffled = list(portraits.items())
    rng.shuffle(shuffled)
    found = groups(portraits)
    assert groups(dict(shuffled)) == found
    alike = {frozenset((a, b)) for one in found for a in one.keys for b in one.keys if a != b}
    assert alike == {
        frozenset((a, b))
        for a in portraits for b in portraits if a != b and portraits[a] == portraits[b]
    }  # fmt: skip


def test_a_thousand_hand_ins_in_seconds():
    portraits = crowd(1000)
    portraits["z0999"] = portraits["z0001"]
    start = time.process_time()
    (group,) = groups(portraits)
    assert time.process_time() - start < 20
    assert group.keys == ("z0001", "z0999")


def test_a_thousand_hand_ins_with_nearly_the_same_picture():
    rng = random.Random(0)
    portraits = {
        f"z{i}": Portrait(pictures=(picture(1, noise=rng.randint(1, 3)),)) for i in range(1000)
    }
    assert groups(portraits) == []  # it was given to all
