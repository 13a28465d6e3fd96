"""What a check is: one fact about a hand-in, as one function.

A check takes the evidence of a hand-in, and raises ``Fault`` when its fact does not hold. Its docstring
is the fact. Where the assignment itself leads to what is wrong, it raises ``Advice``. Any other
exception is our own error, never the student's. What a check returns, if anything, is a remark for the
reader.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from lab5.assignment import ADVISED, ITEMS, with_numbers
from lab5.errors import SandboxError
from lab5.grading.newer_python import needs_newer
from lab5.text import NOTHING, Text

if TYPE_CHECKING:
    from lab5.grading.handin import Evidence

Status = Literal["pass", "advice", "manual", "blocked", "fail", "error"]
STATUSES: Final[tuple[Status, ...]] = get_args(Status)  # from the best to the worst


GROUPS: Final[dict[str, Text]] = {
    "zip": Text("Layout and naming of the zip", "壓縮檔的結構與命名"),
    **{item.number: item.title for item in ITEMS.values()},
    "template": Text("The assignment's writing rules", "作業的撰寫規則"),
}


Fact = Callable[["Evidence"], Text | str | None]  # a check's function


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
        hint: Text | str | None = None,
        share: float = 0.0,
    ) -> None:
        self.why, self.want, self.got = why, Text.of(want), Text.of(got)
        super().__init__(self.why.en)
        self.hint = None if hint is None else Text.of(hint)
        self.share = share


class Advice(Fault):
    """A deviation to which the assignment's own words lead: see ``ADVISED``.

    ``why`` says what deviates and what it costs in speed or accuracy, ``hint`` the line that mends it.
    """


class Blocked(Exception):
    """The check cannot be made: something that it needs is not there. Nobody's new fault."""

    def __init__(self, why: Text) -> None:
        self.why = why
        super().__init__(self.why.en)


class Manual(Exception):
    """Only a person can judge this: what to look at."""

    def __init__(self, why: Text, *, got: Text | str = "") -> None:
        self.why, self.got = why, Text.of(got)
        super().__init__(self.why.en)


@dataclass(frozen=True)
class Check:
    """A registered check; ``runs`` marks those that run the notebook's code."""

    name: str
    item: str
    points: float
    title: Text
    hint: Text
    needs: tuple[str, ...]
    runs: bool
    manual: bool
    function: Fact


CHECKS: Final[dict[str, Check]] = {}  # by name, as they are registered; ``suite`` has the orders


def _name(function: Fact) -> str:
    return function.__name__.replace("_", "-")


def shown_order() -> list[Check]:
    """The checks in the order of the rubric's items."""
    items = list(GROUPS)
    return sorted(CHECKS.values(), key=lambda one: items.index(one.item))


def made_order() -> list[Check]:
    """The checks in an order in which they can be made: what is needed first, what runs code late."""
    shown = {one.name: place for place, one in enumerate(shown_order())}
    sorter = TopologicalSorter({one.name: one.needs for one in CHECKS.values()})
    sorter.prepare()
    ready: list[tuple[bool, int, str]] = []
    found = []
    while sorter.is_active():
        for name in sorter.get_ready():
            heapq.heappush(ready, (CHECKS[name].runs, shown[name], name))
        *_, name = heapq.heappop(ready)
        found.append(CHECKS[name])
        sorter.done(name)
    return found


def check(
    item: str,
    points: int = 0,
    *,
    zh: str,
    hint: Text | str = "",
    needs: Iterable[Fact] = (),
    runs: bool = False,
    manual: bool = False,
) -> Callable[[Fact], Fact]:
    """Register a function as a check of ``item``; its docstring is the fact, ``zh`` the same in Chinese.

    Args:
        points: its share of its item's, by those that the other checks of the item have.
        needs: the functions of the checks without which this one is blocked.
        runs: it runs code of the notebook.
        manual: only a person can give its points.
    """

    def register(function: Fact) -> Fact:
        name = _name(function)
        assert item in GROUPS, item
        assert name not in CHECKS, f"{name} is there twice"
        assert function.__doc__, name
        wanted = tuple(map(_name, needs))
        assert all(need in CHECKS for need in wanted), (name, wanted)
        title = with_numbers(Text(function.__doc__.split("\n\n")[0].strip(), zh))
        said = with_numbers(Text.of(hint))
        CHECKS[name] = Check(name, item, points, title, said, wanted, runs, manual, function)
        return function

    return register


def divided(points: int, shares: list[int]) -> list[float]:
    """``points`` in proportion to ``shares``, to hundredths, which add up to it exactly.

    What rounding down leaves goes to those that lost most by it.
    """
    whole = sum(shares)
    found = [100 * points * share // whole for share in shares]
    lost = [100 * points * share % whole for share in shares]
    for place in sorted(range(len(shares)), key=lambda i: -lost[i])[: 100 * points - sum(found)]:
        found[place] += 1
    return [as_points(one / 100) for one in found]


def as_points(value: float) -> float:
    """To hundredths; a whole number as such."""
    rounded = round(value, 2)
    return int(rounded) if rounded == int(rounded) else rounded


def share_out() -> None:
    """Give the checks, once all are registered, their parts of what their items earn."""
    for item in ITEMS.values():
        mine = [one for one in CHECKS.values() if one.item == item.number]
        for one, points in zip(
            mine, divided(item.points, [int(c.points) for c in mine]), strict=True
        ):
            CHECKS[one.name] = replace(one, points=points)


@dataclass(frozen=True)
class Result:
    """What became of a check."""

    name: str
    status: Status
    earned: float = 0.0
    why: Text = NOTHING
    want: Text = NOTHING
    got: Text = NOTHING
    hint: Text = NOTHING

    @property
    def item(self) -> str:
        return CHECKS[self.name].item

    @property
    def title(self) -> Text:
        return CHECKS[self.name].title

    @property
    def points(self) -> float:
        """What its check can give."""
        return CHECKS[self.name].points

    def strictly(self) -> Result:
        """The same where advice counts as a fail."""
        return replace(self, status="fail", earned=0.0) if self.status == "advice" else self


def judge(one: Check, evidence: Evidence, done: dict[str, Result]) -> Result:
    """Make one check; ``done`` holds the results so far. Advice blocks nothing."""
    for need in one.needs:
        if done[need].status not in ("pass", "advice", "manual"):
            title = CHECKS[need].title
            return Result(
                one.name,
                "blocked",
                why=Text(f"Needs this first: {title.en}", f"須先通過：{title.zh}"),
            )
    try:
        remark = one.function(evidence)
    except Fault as fault:
        if one.runs and (version := evidence.program.newer):  # what did not run is not judged
            return Result(one.name, "error", why=error_text(needs_newer(version)))
        advised = isinstance(fault, Advice) and one.name in ADVISED
        return Result(
            one.name,
            "advice" if advised else "fail",
            one.points if advised else round(one.points * fault.share, 2),
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
        return Result(one.name, "error", why=error.text)
    except Exception as error:
        return Result(one.name, "error", why=error_text(error))
    return Result(one.name, "pass", one.points, why=Text.of(remark or ""))


def out_of_time(running: str) -> SandboxError:
    """A check that was not made; ``running`` is what took the time of the whole zip."""
    return SandboxError(
        f"The time for this zip was over while {running} was running: this was not checked.",
        zh=f"這個壓縮檔的檢查時間用完了，當時正在執行 {running}，因此未檢查這一項。",
    )


def error_text(error: BaseException | str) -> Text:
    """An error of ours, said so."""
    shown = (error if isinstance(error, str) else f"{type(error).__name__}: {error}")[:300]
    return Text(
        f"The check itself failed, which is no fault of the hand-in: {shown}",
        f"檢查程式本身出錯，與繳交內容無關：{shown}",
    )
