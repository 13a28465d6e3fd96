"""2.2: what the comparison says, and that it is so."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lab5 import compare
from lab5.assignment import CLASSES
from lab5.compare import Comparison, Models, softmax, timed_run, top_k
from lab5.models import cached_pair as make_pair
from lab5.preprocess import preprocess
from lab5.session import PROVIDERS, build_session, build_timed_session

logits = st.lists(st.floats(-50, 50, width=32), min_size=10, max_size=10, unique=True).map(
    lambda values: np.array(values, np.float32)
)


@pytest.fixture(scope="session")
def pair(weights) -> tuple[Path, Path]:
    return make_pair(weights)


@pytest.fixture(scope="session")
def picture() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


class Counting:
    """A session that counts its runs and takes as many seconds for each as it is told."""

    def __init__(self, *seconds: float) -> None:
        self.runs, self.seconds = 0, seconds

    def get_inputs(self):
        return [SimpleNamespace(name="the input")]

    def run(self, names, feed):
        self.runs += 1
        time.sleep(self.seconds[self.runs - 1] if self.seconds else 0)
        return [(names, feed, self.runs)]


def test_a_timed_run_warms_up_once_and_then_repeats():
    session, x = Counting(), np.zeros((1, 3, 32, 32))
    logits, _ = timed_run(session, x, repeats=7)
    assert session.runs == 8
    assert logits == (None, {"the input": x}, 1)


def test_a_timed_run_reports_the_median_in_ms_without_the_first():
    _, ms = timed_run(Counting(0.3, 0.02, 0.02, 0.3), np.zeros(1), repeats=3)
    assert isinstance(ms, float)
    assert 20 <= ms < 300


@given(logits)
def test_softmax_is_torchs(values):
    np.testing.assert_allclose(
        softmax(values), torch.softmax(torch.from_numpy(values), 0), atol=1e-6
    )


def test_softmax_of_a_batch_is_softmax_of_each():
    batch = np.random.default_rng(0).standard_normal((4, 10))
    np.testing.assert_allclose(softmax(batch), [softmax(row) for row in batch])


@given(logits)
def test_top_3_are_the_likeliest_in_order(values):
    top = top_k(softmax(values))
    assert list(top) == [CLASSES[i] for i in sorted(range(10), key=lambda i: -values[i])[:3]] or (
        sorted(top.values(), reverse=True) == list(top.values())  # equal after rounding
    )
    assert len(top) == 3
    assert all(isinstance(p, float) and 0 <= p <= 1 for p in top.values())


def test_both_answers_are_those_of_the_models(pair, picture):
    x = preprocess(picture)
    found = Models(*pair)(x)
    for path, probabilities in zip(pair, (found.fp32, found.int8), strict=True):
        (logits,) = build_session(str(path), PROVIDERS).run(None, {"input": x})
        assert probabilities == pytest.approx(softmax(logits[0]), abs=1e-5)


def test_the_sessions_of_the_page_do_not_spin_while_the_other_one_runs(pair, monkeypatch):
    opened = []

    def watched(*args, **kwargs):
        opened.append(build_timed_session(*args, **kwargs))
        return opened[-1]

    monkeypatch.setattr(compare, "build_timed_session", watched)
    Models(*pair)
    for session in opened:
        options = session.get_session_options()
        assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
        assert options.intra_op_num_threads == 0  # all cores
    assert len(opened) == 2


def comparison(fp32=(0.9, 0.1), int8=(0.8, 0.15), fp32_ms=(6, 7, 8), int8_ms=(1.8, 2, 2.2)):
    def probabilities(first_two):
        return np.array([*first_two, *[0.0] * 8])

    return Comparison(
        probabilities(fp32), probabilities(int8), np.array(fp32_ms), np.array(int8_ms), 44.7, 11.3
    )


def test_the_text_states_every_figure():
    assert comparison().text((32, 32)).splitlines() == [
        "FP32: 7.00 ms (median of the last 3 runs, 6.00 to 8.00 ms)",
        "INT8: 2.00 ms (median of the last 3 runs, 1.80 to 2.20 ms)",
        "Speedup: 3.50x",
        "Same answer: yes (airplane)",
        "Largest difference in probability: 10.00 percentage points (airplane)",
        "File size: FP32 44.7 MB, INT8 11.3 MB (75% smaller)",
    ]


def test_the_chinese_text_states_the_same_figures():
    made = comparison(fp32=(0.4, 0.1), int8=(0.1, 0.4), fp32_ms=(1, 7, 90))
    numbers = [re.findall(r"[\d.]+", made.text((999, 300), lang)) for lang in ("en", "zh-TW")]
    assert sorted(map(float, (n for n in numbers[0] if n != "."))) == pytest.approx(
        sorted(map(float, (n for n in numbers[1] if n != "."))), abs=1e-9
    )


@pytest.mark.parametrize(
    ("made", "size", "warning"),
    [
        (comparison(), (32, 32), None),
        (comparison(), (256, 256), None),
        (comparison(), (257, 10), "The picture is large (257x10)"),
        (comparison(), (10, 4000), "The picture is large (10x4000)"),
        (comparison(fp32=(0.49, 0.1)), (32, 32), "The network is not sure (49%)"),
        (comparison(fp32=(0.51, 0.1)), (32, 32), None),
        (comparison(fp32_ms=(6, 7, 16)), (32, 32), "the machine was busy"),
        (comparison(int8_ms=(1, 1, 1, 9)), (32, 32), "the machine was busy"),
    ],
)
def test_a_warning_only_where_one_is_due(made, size, warning):
    lines = [line for line in made.text(size).splitlines() if line.startswith("⚠")]
    assert len(lines) == (warning is not None)
    assert warning is None or warning in lines[0]


def test_disagreement_names_both_answers():
    text = comparison(fp32=(0.6, 0.4), int8=(0.4, 0.6)).text((32, 32))
    assert "Same answer: no (FP32 says airplane, INT8 says automobile)" in text


def test_measurements_of_two_visitors_take_turns(pair, picture, monkeypatch):
    at_once, most = 0, 0
    count = threading.Lock()

    class Watched:
        def __init__(self, session):
            self.session = session

        def __getattr__(self, name):
            return getattr(self.session, name)

        def run(self, *args):
            nonlocal at_once, most
            with count:
                at_once += 1
                most = max(most, at_once)
            result = self.session.run(*args)
            with count:
                at_once -= 1
            return result

    monkeypatch.setattr(
        compare,
        "build_timed_session",
        lambda path, threads: Watched(build_session(path, PROVIDERS)),
    )
    models, x = Models(*pair), preprocess(picture)
    threads = [threading.Thread(target=models, args=(x,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_an_answer_costs_one_run_of_each_model_and_states_the_latest_times(pair, monkeypatch):
    opened: list[Counted] = []

    class Counted:
        def __init__(self, session):
            self.session, self.runs = session, 0
            opened.append(self)

        def __getattr__(self, name):
            return getattr(self.session, name)

        def run(self, *args):
            self.runs += 1
            time.sleep(0.05 * (self.runs > 1 + compare.WINDOW))  # those of the answers
            return self.session.run(*args)

    monkeypatch.setattr(
        compare,
        "build_timed_session",
        lambda path, threads: Counted(build_session(path, PROVIDERS)),
    )
    models, x = Models(*pair), np.zeros((1, 3, 32, 32), np.float32)
    before = [one.runs for one in opened]
    for n in range(1, compare.WINDOW + 1):
        found = models(x)
        assert [one.runs for one in opened] == [b + n for b in before]
        for ms in (found.fp32_ms, found.int8_ms):
            assert ms.shape == (compare.WINDOW,)
            assert (ms[-n:] >= 50).all()


def test_the_same_picture_gets_the_same_answer_every_time(pair, picture):
    models, x = Models(*pair), preprocess(picture)
    first, second = models(x), models(x)
    assert (first.fp32 == second.fp32).all()
    assert (first.int8 == second.int8).all()
