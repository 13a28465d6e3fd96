"""Words for people, in the two languages that lab5 speaks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

Language = Literal["zh-TW", "en"]
LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)  # the default first

MAX_TEXT: Final = 10_000  # characters
# What a terminal obeys, what turns the writing round, and halves of surrogate pairs.
_UNPRINTABLE: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufff9-\ufffb\ud800-\udfff]"
)


def printable(text: str) -> str:
    """The text as any encoding can write it and no terminal obeys it, at most ``MAX_TEXT`` characters.

    What cannot be shown is escaped. This is the border: all words of a hand-in that reach a reader
    have passed here, as every ``Text`` does.
    """
    if len(text) > MAX_TEXT:
        text = text[: MAX_TEXT - 1] + "…"
    return _UNPRINTABLE.sub(_escaped, text.replace("\r\n", "\n"))


def _escaped(char: re.Match[str]) -> str:
    return char[0].encode("unicode_escape").decode("ascii")


@dataclass(frozen=True)
class Text:
    """The same words in English and in zh-TW, as any file and terminal can take them.

    Two other shapes are meant: an error is raised with its English text and ``zh=``, and a check has its
    docstring and ``@check``'s ``zh=``.
    """

    en: str = ""
    zh: str = ""

    def __post_init__(self) -> None:
        for language in ("en", "zh"):
            object.__setattr__(self, language, printable(getattr(self, language)))

    def say(self, language: Language) -> str:
        return self.en if language == "en" else self.zh

    def __str__(self) -> str:
        """Both, a line each, for whoever reads: zh-TW first."""
        return f"{self.zh}\n{self.en}"

    def __bool__(self) -> bool:
        return bool(self.en or self.zh)

    @classmethod
    def of(cls, value: Any) -> Text:
        """``value`` itself, or what it prints as, the same in both languages."""
        return value if isinstance(value, Text) else cls(*[str(value)] * 2)


NOTHING: Final = Text()


def in_a_line(text: Text) -> str:
    """Both languages, where there is one line, as in ``--help``: English first."""
    return f"{text.en} / {text.zh}"
