"""Words for people, in the two languages that lab5 speaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

Language = Literal["zh-TW", "en"]
LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)  # the default first


def printable(text: str) -> str:
    """What no encoding can write (half of a surrogate pair) escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


@dataclass(frozen=True)
class Text:
    """The same words in English and in zh-TW, as any file and terminal can take them."""

    en: str = ""
    zh: str = ""

    def __post_init__(self) -> None:
        for language in ("en", "zh"):
            object.__setattr__(self, language, printable(getattr(self, language)))

    def say(self, language: Language) -> str:
        return self.en if language == "en" else self.zh

    def __str__(self) -> str:
        """Both, for whoever reads: zh-TW first, as on the command line."""
        return f"{self.zh}\n{self.en}"

    def __bool__(self) -> bool:
        return bool(self.en or self.zh)

    @classmethod
    def of(cls, value: Any) -> Text:
        """``value`` itself, or what it prints as, the same in both languages."""
        return value if isinstance(value, Text) else cls(*[str(value)] * 2)


NOTHING: Final = Text()
