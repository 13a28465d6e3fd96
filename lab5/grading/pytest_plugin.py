"""``pytest --submission X.zip``: every check a test, its explanation the failure message.

Without ``--submission`` the plugin does nothing. Advice is a warning; with ``--strict`` it fails.

``--expected-failures FILE`` is TOML, one line a check: ``fp32-opset = "the reason"``. It is strict: an
expected failure that passes fails.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lab5.cli import HANDED_OUT_TEMPLATE, HANDED_OUT_WEIGHTS, RUN_CODE
from lab5.text import LANGUAGES, Text, in_a_line

if TYPE_CHECKING:
    from lab5.grading.graded import Graded

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it along

_TEMPLATE, _WEIGHTS = "lab5_template", "lab5_weights"


def pytest_addoption(parser: pytest.Parser) -> None:
    title = Text("lab5: check an EAI Lab 5 hand-in", "lab5：檢查 EAI Lab 5 的繳交檔")
    group = parser.getgroup("lab5", in_a_line(title))

    def add(name: str, text: Text, **given: Any) -> None:
        group.addoption(name, help=in_a_line(text), **given)

    add("--submission", Text("a hand-in", "繳交檔"), action="append", default=[], metavar="X.zip")
    add("--template", HANDED_OUT_TEMPLATE, dest=_TEMPLATE, metavar="T")
    add("--weights", HANDED_OUT_WEIGHTS, dest=_WEIGHTS, metavar="W")
    expected = Text(
        "TOML: check = reason; strict in both ways", "TOML：檢查 = 理由，意外通過也算失敗"
    )
    add("--expected-failures", expected, metavar="FILE")
    run_code = Text("as lab5 grade has it", "同 lab5 grade")
    add("--run-code", run_code, choices=RUN_CODE, default=RUN_CODE[0])
    group.addoption("--lang", dest="lab5_lang", choices=LANGUAGES, default=LANGUAGES[0])


def pytest_configure(config: pytest.Config) -> None:
    zips = config.getoption("--submission")
    if not zips:
        return
    for name in (*zips, *_given(config, _TEMPLATE, _WEIGHTS, "expected_failures")):
        if not Path(name).is_file():
            raise pytest.UsageError(str(Text(f"There is no file {name}.", f"找不到檔案 {name}。")))
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args.clear()  # without a path on the command line: this zip and nothing else
    config.args += [str(Path(name).resolve()) for name in zips]


def _strict(config: pytest.Config) -> bool:
    """Whether ``--strict`` was given: an option of pytest's own, so it cannot be added."""
    return "--strict" in config.invocation_params.args


def _given(config: pytest.Config, *names: str) -> list[str]:
    return [value for name in names if (value := config.getoption(name))]


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    zips = parent.config.getoption("--submission")
    if any(Path(name).resolve() == file_path for name in zips):
        return HandIn.from_parent(parent, path=file_path)
    return None


def _expected(config: pytest.Config) -> dict[str, str]:
    from lab5.grading.suite import CHECKS

    name = config.getoption("expected_failures")
    if not name:
        return {}
    try:
        found = tomllib.loads(Path(name).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise pytest.UsageError(f"{name}: {error}") from None
    for check, reason in found.items():
        if check not in CHECKS:
            text = Text(f"{name}: {check!r} is no check.", f"{name}：沒有 {check!r} 這項檢查。")
            raise pytest.UsageError(str(text))
        if not isinstance(reason, str) or not reason.strip():
            text = Text(f"{name}: {check} needs a reason.", f"{name}：{check} 須附理由。")
            raise pytest.UsageError(str(text))
    return found


class HandIn(pytest.File):
    """A zip: graded once, when its first check is asked for."""

    result: Graded | None = None

    def collect(self) -> Iterator[pytest.Item]:
        from lab5.grading.suite import SHOWN

        expected = _expected(self.config)
        for one in SHOWN:
            item = CheckItem.from_parent(self, name=f"{one.item}-{one.name}")
            item.check = one.name
            if one.name in expected:
                item.add_marker(pytest.mark.xfail(reason=expected[one.name], strict=True))
            yield item

    def graded(self) -> Graded:
        if self.result is None:
            from lab5.errors import SandboxError
            from lab5.grading.suite import check_submission

            try:
                self.result = check_submission(
                    self.path,
                    weights=self.config.getoption(_WEIGHTS),
                    template=self.config.getoption(_TEMPLATE),
                    strict=_strict(self.config),
                    run_code=self.config.getoption("run_code"),
                )
            except SandboxError as error:  # no check is to fail by it, and none could be made
                pytest.exit(str(error), returncode=1)
            self.config.stash.setdefault(_RESULTS, []).append(self.result)
        return self.result


_RESULTS = pytest.StashKey[list["Graded"]]()


class CheckFailed(Exception):
    """The fact of a check does not hold."""


class HandInAdvice(UserWarning):
    """What the assignment's own words lead to, and the line that mends it."""


class CheckItem(pytest.Item):
    """One check of one hand-in."""

    check: str

    def runtest(self) -> None:
        from lab5.grading.render import SIGNS, explained

        assert isinstance(self.parent, HandIn)
        lang = self.config.getoption("lab5_lang")
        one = next(c for c in self.parent.graded().checks if c.name == self.check)
        message = "\n".join(explained(one, lang))
        if one.status == "fail":
            raise CheckFailed(message)
        if one.status == "advice":
            warnings.warn(HandInAdvice(message), stacklevel=1)
        if one.status == "error":
            raise RuntimeError(message)
        if one.status in ("blocked", "manual"):
            pytest.skip(f"{SIGNS[one.status].word.say(lang)}: {one.why.say(lang)}")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, CheckFailed | RuntimeError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, None, self.name


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    from_stash = config.stash.get(_RESULTS, [])
    if not from_stash:
        return
    from lab5.grading.render import RENDERERS

    lang = config.getoption("lab5_lang")
    for graded in from_stash:
        terminalreporter.section(Path(graded.path).name)
        terminalreporter.write(RENDERERS["table"](graded, lang))
