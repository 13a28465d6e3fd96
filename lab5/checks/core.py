"""What a check is: one fact about a hand-in, as one function.

A check takes the evidence of a hand-in, and raises ``Fault`` when its fact does not hold. Its docstring
is the fact. Any other exception is our own error, never the student's. What a check returns, if
anything, is a remark for the reader.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from lab5.assignment import ITEMS
from lab5.checks.newer_python import needs_newer
from lab5.errors import SandboxError

if TYPE_CHECKING:
    from lab5.checks.evidence import Evidence

Text = str | tuple[str, str]  # the same in both languages, or (English, zh-TW)
Status = Literal["pass", "fail", "blocked", "manual", "error"]

GROUPS: Final[dict[str, tuple[str, str]]] = {
    "zip": ("Layout and naming of the zip", "壓縮檔的結構與命名"),
    **{item.number: (item.en, item.zh) for item in ITEMS.values()},
    "template": ("The assignment's writing rules", "作業的撰寫規則"),
}


def say(text: Text | None, lang: str) -> str:
    """``text`` in ``en`` or ``zh-TW``."""
    if text is None:
        return ""
    return text if isinstance(text, str) else text[0 if lang == "en" else 1]


class Fault(Exception):
    """The student's fault: what is wrong, what was expected, what was found, what to do.

    Args:
        share: the part of the check's points that is earned all the same, 0 to 1.
    """

    def __init__(
        self,
        why: Text,
        *,
        want: Any = "",
        got: Any = "",
        hint: Text | None = None,
        share: float = 0.0,
    ) -> None:
        super().__init__(say(why, "en"))
        self.why, self.hint, self.share = why, hint, share
        self.want: Text = want if isinstance(want, tuple) else str(want)
        self.got: Text = got if isinstance(got, tuple) else str(got)


class Blocked(Exception):
    """The check cannot be made: something that it needs is not there. Nobody's new fault."""

    def __init__(self, why: Text) -> None:
        super().__init__(say(why, "en"))
        self.why = why


class Manual(Exception):
    """Only a person can judge this: what to look at."""

    def __init__(self, why: Text, *, got: Text = "") -> None:
        super().__init__(say(why, "en"))
        self.why, self.got = why, got


@dataclass(frozen=True)
class Check:
    """A registered check; ``runs`` marks those that run the notebook's code."""

    name: str
    item: str
    points: int
    en: str
    zh: str
    hint: Text
    needs: tuple[str, ...]
    runs: bool
    manual: bool
    function: Callable[[Evidence], Text | None]


CHECKS: Final[dict[str, Check]] = {}  # in the order of the assignment, as they are imported


def check(
    item: str,
    points: int = 0,
    *,
    zh: str,
    hint: Text = "",
    needs: Iterable[str] = (),
    runs: bool = False,
    manual: bool = False,
) -> Callable[[Callable[[Evidence], Text | None]], Callable[[Evidence], Text | None]]:
    """Register a function as a check of ``item``; its docstring is the fact, ``zh`` the same in Chinese.

    Args:
        needs: names of checks, registered before, without which this one is blocked.
        runs: it runs code of the notebook.
        manual: only a person can give its points.
    """

    def register(function: Callable[[Evidence], Text | None]) -> Callable[[Evidence], Text | None]:
        name = function.__name__.replace("_", "-")
        assert item in GROUPS, item
        assert name not in CHECKS, f"{name} is there twice"
        assert function.__doc__, name
        assert all(need in CHECKS for need in needs), (name, needs)
        en = function.__doc__.split("\n\n")[0].strip()
        CHECKS[name] = Check(name, item, points, en, zh, hint, tuple(needs), runs, manual, function)
        return function

    return register


@dataclass
class Result:
    """What became of a check."""

    name: str
    status: Status
    earned: float = 0.0
    why: Text = ""
    want: Text = ""
    got: Text = ""
    hint: Text = ""


def judge(one: Check, evidence: Evidence, done: dict[str, Result]) -> Result:
    """Make one check; ``done`` holds the results so far."""
    for need in one.needs:
        if done[need].status not in ("pass", "manual"):
            title = CHECKS[need]
            return Result(
                one.name, "blocked", why=(f"Needs this first: {title.en}", f"須先通過：{title.zh}")
            )
    try:
        remark = one.function(evidence)
    except Fault as fault:
        if one.runs and (version := evidence.program.newer):  # what did not run is not judged
            return Result(one.name, "error", why=error_text(needs_newer(version)))
        return Result(
            one.name,
            "fail",
            round(one.points * fault.share, 2),
            fault.why,
            fault.want,
            fault.got,
            one.hint if fault.hint is None else fault.hint,
        )
    except Blocked as blocked:
        return Result(one.name, "blocked", why=blocked.why)
    except Manual as manual:
        return Result(one.name, "manual", why=manual.why, got=manual.got)
    except SandboxError as error:
        return Result(one.name, "error", why=(error.en, error.zh))
    except Exception as error:
        return Result(one.name, "error", why=error_text(error))
    return Result(one.name, "pass", one.points, why=remark or "")


def error_text(error: BaseException | str) -> Text:
    """An error of ours, said so."""
    shown = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    shown = shown[:300]
    return (
        f"The check itself failed, which is no fault of the hand-in: {shown}",
        f"檢查程式本身出錯，與繳交內容無關：{shown}",
    )
