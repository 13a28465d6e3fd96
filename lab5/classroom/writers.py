"""What is written of a class, each by the name of its option of ``lab5 grade``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lab5.text import Language, Text

if TYPE_CHECKING:
    from lab5.classroom.entry import Marked


@dataclass(frozen=True)
class Writer:
    """``metavar`` stands for the option's value, ``said`` is what --help says of it; ``makes_folder`` is
    whether so many hand-ins become a folder, and no file.

    The function ``write`` of ``module`` writes; it is imported then, as --help has no time for it.
    """

    module: str
    metavar: str
    said: Text
    makes_folder: Callable[[int], bool] = lambda count: False

    def __call__(self, path: Path, marked: Sequence[Marked], lang: Language) -> None:
        import_module(f"lab5.classroom.{self.module}").write(path, marked, lang)


WRITERS: Final = {
    "json": Writer("json_file", "F", Text("write the results there", "輸出 JSON")),
    "csv": Writer("table", "F", Text("a table for Excel", "輸出 CSV 表格")),
    "html": Writer(
        "html", "DIR", Text("pages to go through in a browser", "輸出網頁"), lambda count: True
    ),
    "gradescope": Writer(
        "gradescope",
        "F",
        Text("results.json; of several hand-ins a folder of them", "輸出 Gradescope 格式"),
        lambda count: count != 1,
    ),
    "feedback-zip": Writer(
        "feedback", "F", Text("for Moodle's upload of feedback files", "輸出 Moodle 回饋檔")
    ),
}
