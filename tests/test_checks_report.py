"""What the checks read of reports: texts and small PDFs, without grading a zip."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab5.checks import CHECKS
from lab5.checks.core import Fault, Manual
from lab5.checks.pdf import legible, read_report, tidy
from lab5.checks.topic3 import _FP32, _INT8, _reflection, comparisons, figures, prose
from tests.handin import REPORT
from tests.mutants import harmless_report
from tests.mutants.core import HARMLESS, HandIn

MINE = {n: v for n, v in HARMLESS.items() if v.edit.__module__ == harmless_report.__name__}
MACHINE = ("report-readable", "screenshots", "analysis-figures", "reflection")


def statuses(edit, folder) -> dict[str, str]:
    """What becomes of the report's checks."""
    from tests import handin

    varied = HandIn(SimpleNamespace(good={REPORT: handin.report()}))
    edit(varied)
    path = folder / REPORT
    path.write_bytes(varied.files[REPORT])
    evidence, found = SimpleNamespace(report=read_report(path)), {}
    for name in MACHINE:
        try:
            CHECKS[name].function(evidence)
            found[name] = "pass"
        except Manual:
            found[name] = "manual"
        except Fault:
            found[name] = "fail"
    return found


@pytest.mark.parametrize("name", MINE)
def test_a_right_report_earns_all(name, tmp_path):
    assert statuses(MINE[name].edit, tmp_path) == dict.fromkeys(MACHINE, "pass")


@pytest.mark.parametrize("name", harmless_report.TO_A_PERSON)
def test_what_a_program_cannot_judge_goes_to_a_person(name, tmp_path):
    check, edit = harmless_report.TO_A_PERSON[name]
    found = statuses(edit, tmp_path)
    assert found[check] == "manual"
    assert "fail" not in found.values()
