"""``pytest --submission``: from a folder of its own, as a user runs it."""

from __future__ import annotations

import pytest

from tests import handin

pytest_plugins = ["pytester"]


@pytest.fixture
def run(pytester):
    """pytest in a process of its own, on a zip that holds only a report."""
    handin.write_zip(pytester.path / handin.ARCHIVE, {handin.REPORT: handin.report()})
    pytester.makepyfile(test_own="def test_own(): pass")

    def run(*arguments):
        return pytester.runpytest_subprocess("-p", "no:randomly", *arguments)

    return run


def test_every_check_is_a_test_and_nothing_else_is(run):
    from lab5.grading.suite import CHECKS

    found = run("--submission", handin.ARCHIVE, "--lang", "en", "-v")
    counts = found.parseoutcomes()
    assert sum(counts[k] for k in ("passed", "failed", "skipped")) == len(CHECKS)
    assert counts["failed"] == 3  # the notebook and both models are missing
    found.stdout.fnmatch_lines(["*N26140692_FP32.onnx is missing.*", "*3.1 *8/10*", "*/100*"])
    found.stdout.no_fnmatch_line("*test_own*")


def test_expected_failures_are_strict(run, pytester):
    names = ("notebook-present", "fp32-present", "int8-present")
    lines = [f'{name} = "not handed in"' for name in names]
    pytester.path.joinpath("known.toml").write_text("\n".join(lines), encoding="utf-8")
    arguments = ("--submission", handin.ARCHIVE, "--expected-failures", "known.toml")
    found = run(*arguments)
    assert found.ret == 0
    assert found.parseoutcomes()["xfailed"] == 3
    lines.append('report-present = "it is there"')
    pytester.path.joinpath("known.toml").write_text("\n".join(lines), encoding="utf-8")
    found = run(*arguments)
    assert found.ret == 1
    assert found.parseoutcomes()["failed"] == 1


@pytest.mark.parametrize("content", ['none = "x"', 'fp32-opset = ""', "not toml"])
def test_a_wrong_file_of_expected_failures(run, pytester, content):
    pytester.path.joinpath("known.toml").write_text(content, encoding="utf-8")
    found = run("--submission", handin.ARCHIVE, "--expected-failures", "known.toml")
    assert found.ret != 0
    assert "known.toml" in found.stdout.str() + found.stderr.str()


@pytest.mark.parametrize("strict", [False, True])
def test_advice_is_a_warning_and_strictly_a_failure(run, pytester, strict):
    """The report's name has the id in lower case, the zip's in upper case."""
    handin.write_zip(
        pytester.path / handin.ARCHIVE, {handin.REPORT.replace("N", "n", 1): handin.report()}
    )
    found = run("--submission", handin.ARCHIVE, "--lang", "en", *["--strict"] * strict)
    counts = found.parseoutcomes()
    assert counts["failed"] == 3 + strict
    assert ("HandInAdvice" in found.stdout.str()) is not strict
    found.stdout.fnmatch_lines(["*The id is spelt in two ways*"])


def test_no_such_zip(run):
    found = run("--submission", "none.zip")
    assert found.ret == pytest.ExitCode.USAGE_ERROR


def test_without_the_option_nothing_changes(run):
    run().assert_outcomes(passed=1)
