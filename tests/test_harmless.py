"""What leaves a hand-in right costs nothing, however unusual it is."""

from __future__ import annotations

import pytest

from tests.mutants import HARMLESS
from tests.test_mutants import parameters

pytestmark = pytest.mark.slow  # the whole catalogue grades a zip for each entry


@pytest.mark.parametrize("variation", parameters(HARMLESS))
def test_a_harmless_variation_loses_nothing(variation, grader, tmp_path):
    results = grader(variation, tmp_path)
    lost = {
        name: (result.status, result.why, result.want, result.got)
        for name, result in results.items()
        if (result.status, result.earned)
        != (grader.results[name].status, grader.results[name].earned)
    }
    assert lost == {}


def test_there_are_twenty_harmless_variations():
    assert len(HARMLESS) >= 20
    assert all(variation.edit.__doc__ for variation in HARMLESS.values())
