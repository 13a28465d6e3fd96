"""What leaves a hand-in right costs nothing, however unusual it is."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.handin import FP32, INT8
from tests.mutants import HARMLESS, HandIn, Variation
from tests.test_mutants import parameters

MODELS = (FP32, INT8)
COMBINED = [variation for variation in HARMLESS.values() if not variation.alone]


def lost(grader, results, variations: list[Variation]) -> dict:
    """What is worse than in the good hand-in and was not to be."""
    advises = {name for variation in variations for name in variation.advises}
    notes = {name for variation in variations for name in variation.notes}
    return {
        name: result
        for name, result in grader.worse(results).items()
        if not (result.status == "advice" and name in advises)
        and not (result.status == "fail" and name in notes)
    }


@pytest.mark.parametrize("variation", parameters(HARMLESS))
def test_a_harmless_variation_loses_nothing(variation, grader, tmp_path):
    results = grader(variation, tmp_path)
    assert lost(grader, results, [variation]) == {}
    for name in variation.advises:
        assert results[name].status == "advice"
        assert results[name].hint
    for name in variation.notes:
        assert results[name].status == "fail"


@pytest.mark.slow
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(st.sampled_from(COMBINED), min_size=2, max_size=8, unique_by=lambda v: v.name))
def test_any_that_can_be_combined_lose_nothing(grader, tmp_path_factory, variations):
    varied, applied = HandIn(grader.variants), []
    for variation in variations:
        before = dict(varied.files), varied.archive, varied.pack
        try:
            variation.edit(varied)
            for name in MODELS:  # a model is replaced once
                replaced = before[0].get(name) is not grader.good[name]
                assert not (replaced and varied.files.get(name) is not before[0].get(name))
            applied.append(variation)
        except AssertionError:  # what it edits is no longer there
            varied.files, varied.archive, varied.pack = before
    results = grader.grade(varied, tmp_path_factory.mktemp("combined"))
    assert lost(grader, results, applied) == {}, [variation.name for variation in applied]


def test_there_are_a_hundred_harmless_variations():
    assert len(HARMLESS) >= 100
