"""What a cause is, what a diagnosis says, and the table of all causes.

A cause is one small function which says what the output would be if it were so. It registers itself with
``@cause``; what it takes and gives is its topic's business. A topic compares the predictions with what
was observed and names a cause when its prediction fits and no other's does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, TypeVar

from lab5.text import NOTHING, Language, Text

# What people see on the page, in their words.
SYMPTOMS: Final[dict[str, Text]] = {
    "same-class": Text("the same class for every picture", "每張圖片都是同一類"),
    "ten-percent": Text("all classes near 10 %", "每一類的機率都接近 10%"),
    "int8-wrong": Text("FP32 is right and INT8 is wrong", "FP32 正確，INT8 錯誤"),
    "photos-wrong": Text("right on small icons, wrong on photographs", "小圖正確，照片錯誤"),
    "int8-slow": Text("INT8 is slower than FP32", "INT8 比 FP32 慢"),
}


@dataclass(frozen=True)
class Cause:
    """A cause of the table.

    Args:
        says: the sentence; ``{}`` stands for what was found out in the case at hand.
        symptoms: what of ``SYMPTOMS`` it can look like.
    """

    name: str
    item: str
    says: Text
    symptoms: tuple[str, ...]

    def sentence(self, detail: Text | str = "") -> Text:
        detail = Text.of(detail)
        return Text(self.says.en.replace("{}", detail.en), self.says.zh.replace("{}", detail.zh))


CAUSES: Final[dict[str, Cause]] = {}

_Function = TypeVar("_Function", bound=Callable[..., Any])


def cause(
    item: str, says: Text, *, symptoms: tuple[str, ...] = ()
) -> Callable[[_Function], _Function]:
    """Register a function as the cause of its name."""
    assert set(symptoms) <= set(SYMPTOMS), symptoms

    def register(function: _Function) -> _Function:
        name = name_of(function)
        assert name not in CAUSES, f"{name} is there twice"
        CAUSES[name] = Cause(name, item, says, symptoms)
        return function

    return register


def name_of(function: Callable[..., Any]) -> str:
    return function.__name__.strip("_").replace("_", "-")


@dataclass(frozen=True)
class Named:
    """A cause that was found.

    Args:
        evidence: what was observed that it predicts.
        cell: which of the notebook's cells, from 0; None: it stands in no notebook.
        line: of that cell, from 1.
        mend: the change as a unified diff, or words where there is no line to change.
    """

    name: str
    sentence: Text
    evidence: Text = NOTHING
    cell: int | None = None
    line: int | None = None
    mend: Text = NOTHING

    @property
    def item(self) -> str:
        return CAUSES[self.name].item

    def as_dict(self, lang: Language) -> dict[str, Any]:
        return {
            "name": self.name,
            "item": self.item,
            "sentence": self.sentence.say(lang),
            "evidence": self.evidence.say(lang),
            "cell": self.cell,
            "line": self.line,
            "mend": self.mend.say(lang),
        }


@dataclass(frozen=True)
class Diagnosis:
    """What is the matter with a hand-in.

    Args:
        causes: those that are named.
        ruled_out: the names of causes that were tried and predict something else.
        unknown: what deviates and no cause explains.
        remarks: what is right here and may be wrong elsewhere.
    """

    causes: tuple[Named, ...] = ()
    ruled_out: tuple[str, ...] = ()
    unknown: tuple[Text, ...] = ()
    remarks: tuple[Text, ...] = ()

    def as_dict(self, lang: Language) -> dict[str, Any]:
        return {
            "causes": [one.as_dict(lang) for one in self.causes],
            "ruled_out": list(self.ruled_out),
            "unknown": [one.say(lang) for one in self.unknown],
            "remarks": [one.say(lang) for one in self.remarks],
        }

    def stored(self) -> dict[str, Any]:
        """All of it as JSON can hold it, texts in both languages: what ``believed`` reads."""
        return asdict(self)

    @classmethod
    def believed(cls, claimed: Any) -> Diagnosis:
        """A diagnosis as it was claimed, as far as it can be one: causes of the table, each once.

        Raises:
            KeyError, TypeError, ValueError: it has another form.
        """
        causes = {
            one["name"]: Named(
                CAUSES[one["name"]].name,
                text_of(one["sentence"]),
                text_of(one["evidence"]),
                _number(one["cell"], 0),
                _number(one["line"], 1),
                text_of(one["mend"]),
            )
            for one in claimed["causes"][: len(CAUSES)]
        }
        return cls(
            tuple(causes.values()),
            tuple(CAUSES[name].name for name in claimed["ruled_out"][: len(CAUSES)]),
            tuple(map(text_of, claimed["unknown"][:MOST])),
            tuple(map(text_of, claimed["remarks"][:MOST])),
        )


MOST: Final = 100  # of what a diagnosis says beside its causes


def text_of(claimed: Any) -> Text:
    """
    Raises:
        KeyError, TypeError: it is nothing that a ``Text`` was stored as.
    """
    return Text(str(claimed["en"]), str(claimed["zh"]))


def _number(claimed: Any, least: int) -> int | None:
    if claimed is None:
        return None
    if type(claimed) is not int or not least <= claimed < 1 << 20:
        raise ValueError(str(claimed)[:20])
    return claimed


@dataclass
class Findings:
    """A diagnosis in the making."""

    causes: list[Named] = field(default_factory=list)
    tried: set[str] = field(default_factory=set)
    unknown: list[Text] = field(default_factory=list)
    remarks: list[Text] = field(default_factory=list)

    def name(
        self,
        function: Callable[..., Any],
        evidence: Text | str = NOTHING,
        *,
        detail: Text | str = "",
        at: tuple[int, int] | None = None,
        mend: Text | str = NOTHING,
    ) -> None:
        """Name the cause of ``function``; found twice, it is told once, with its line if any has one."""
        name = name_of(function)
        sentence = CAUSES[name].sentence(detail)
        cell, line = at or (None, None)
        new = Named(name, sentence, Text.of(evidence), cell, line, Text.of(mend))
        for place, old in enumerate(self.causes):
            if old.name == name:
                if old.cell is None and new.cell is not None:
                    self.causes[place] = replace(new, evidence=old.evidence or new.evidence)
                return
        self.causes.append(new)

    def tries(self, functions: Iterable[Callable[..., Any]]) -> None:
        self.tried |= {name_of(function) for function in functions}

    def has(self, *functions: Callable[..., Any]) -> bool:
        return not {one.name for one in self.causes}.isdisjoint(map(name_of, functions))

    def items(self) -> set[str]:
        return {one.item for one in self.causes}

    def done(self) -> Diagnosis:
        named = {one.name for one in self.causes}
        causes = sorted(self.causes, key=lambda one: one.item)
        ruled_out = [name for name in CAUSES if name in self.tried - named]
        return Diagnosis(
            tuple(causes),
            tuple(ruled_out),
            tuple(dict.fromkeys(self.unknown)),
            tuple(dict.fromkeys(self.remarks)),
        )


def listed(names: Sequence[str], most: int = 6) -> str:
    """Names with commas, the rest as a number."""
    more = f", … ({len(names)})" if len(names) > most else ""
    return ", ".join(names[:most]) + more
