"""Moodle's offline grading worksheet: marks go into the one that was downloaded, nothing else changes.

Moodle names its columns in the site's language, so they are known by their place: the grade stands left
of the maximum, a column of one number; right of it, or of a state, whether it can be changed; the student's
number ends the first cell of each row; the feedback is the last column, but for one of dates.
"""

from __future__ import annotations

import html
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lab5.classroom import feedback
from lab5.classroom.entry import Marked
from lab5.cli import errors
from lab5.errors import UsageError
from lab5.files import replacing
from lab5.grading.graded import Graded
from lab5.text import Language, Text

_CELL: Final = re.compile(r'("(?:[^"]|"")*"[^,\r\n]*|[^,\r\n]*)(,|\r\n|\r|\n|\Z)')
_NUMBER: Final = re.compile(r"\d+(?:[.,]\d+)?")
_BOM: Final = "\ufeff"
# The last column where Moodle's feedback comments are on; else that is when the grade was changed, also
# behind one of texts handed in online.
_AFTER_MAXIMUM: Final = 3  # whether it can be changed, and two times of change
# A grade that cannot be changed is locked, or overridden, in the gradebook: Moodle leaves out such rows.
_YES: Final = {"yes", "是", "ja", "oui", "sí", "sim", "sì", "tak", "да", "はい", "예", "có", "ya"}
_NO: Final = {
    "no",
    "否",
    "nein",
    "nee",
    "non",
    "não",
    "nie",
    "нет",
    "いいえ",
    "아니오",
    "không",
    "tidak",
}
_DATE: Final = re.compile(r"-|(?=.{0,60}\Z)(?=.*\b[12]\d{3}(?!\d)).*\d[:.]\d\d.*")  # "-": never


@dataclass(frozen=True)
class Cell:
    """A cell: where it stands in the file's text, and what it says."""

    start: int
    end: int
    text: str

    @property
    def value(self) -> str:
        if self.text.startswith('"'):
            inside, _, rest = self.text[1:].rpartition('"')
            return inside.replace('""', '"') + rest
        return self.text


Row = list[Cell]


def rows(text: str) -> Iterator[Row]:
    """The rows of a CSV text; empty lines are none."""
    row: Row = []
    at = len(_BOM) if text.startswith(_BOM) else 0
    while at < len(text) or row:
        match = _CELL.match(text, at)
        assert match  # it fits everything
        row.append(Cell(match.start(1), match.end(1), match[1]))
        at = match.end()
        if match[2] != ",":
            if len(row) > 1 or row[0].text:
                yield row
            row = []


@dataclass
class Filled:
    """A worksheet with marks in it.

    Args:
        entered: the hand-ins whose marks are in it, by key.
        unmatched: those that no row, or no single one, belongs to.
        ungraded: those that have a row and no marks: nothing was entered.
        locked: those of whose row Moodle says that its grade cannot be changed.
    """

    text: str
    entered: list[str] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)
    ungraded: list[str] = field(default_factory=list)
    locked: list[str] = field(default_factory=list)


class Worksheet:
    """The downloaded worksheet.

    Raises:
        UsageError: it is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.text = path.read_bytes().decode("utf-8")
        except (OSError, UnicodeError) as error:
            raise _no_worksheet(path, str(error)) from error
        found = list(rows(self.text))
        width = len(found[0]) if found else 0
        self.rows = [row for row in found[1:] if len(row) == width]
        if not self.rows:
            raise _no_worksheet(path, "it has no rows")
        maximum = max(
            (i for i in range(2, width - _AFTER_MAXIMUM) if self._is_maximum(i)), default=0
        )
        if not maximum:
            raise _no_worksheet(path, "no column has the maximum grade")
        self.grade, self.maximum = maximum - 1, maximum
        self._numbers = [_moodle(row) for row in self.rows]
        self._names = [_plain(row[1].value) for row in self.rows]
        answers = range(maximum + 1, maximum + _AFTER_MAXIMUM)
        self._changeable = next((i for i in answers if self._says_yes_or_no(i)), None)
        last = {row[-1].value.strip() for row in self.rows} - {""}
        dates = last and all(map(_DATE.fullmatch, last))
        self.feedback = width - 1 if width - 1 > maximum + _AFTER_MAXIMUM and not dates else None

    def _is_maximum(self, column: int) -> bool:
        """Whether it has one positive number in all rows, and no larger one, or none, stands left of it."""
        values = {row[column].value.strip() for row in self.rows}
        value = values.pop()
        if values or not _NUMBER.fullmatch(value) or not (most := _number(value)):
            return False
        grades = {row[column - 1].value.strip() for row in self.rows} - {"", "-"}
        return all(_NUMBER.fullmatch(one) and _number(one) <= most for one in grades)

    def _says_yes_or_no(self, column: int) -> bool:
        return {_plain(row[column].value) for row in self.rows} <= _YES | _NO

    def _locked(self, row: Row) -> bool:
        return self._changeable is not None and _plain(row[self._changeable].value) in _NO

    def filled(self, marked: Sequence[Marked], lang: Language) -> Filled:
        """With the points of the checks, scaled to the maximum, and what the student is told."""
        keys = []
        owners: dict[int | None, list[int]] = defaultdict(list)  # row -> places of hand-ins
        for place, one in enumerate(marked):
            keys.append(one.handin.key)
            owners[self._row(one)].append(place)
        result = Filled("", unmatched=[keys[place] for place in owners.pop(None, ())])
        changed: list[tuple[Cell, str]] = []
        for number, owned in owners.items():
            assert number is not None
            row, key, one = self.rows[number], keys[owned[0]], marked[owned[0]]
            if len(owned) > 1:
                result.unmatched += [keys[place] for place in owned]
            elif self._locked(row):
                result.locked.append(key)
            elif one.graded is None:
                result.ungraded.append(key)
            else:
                changed += self._cells(row, one, one.graded, lang)
                result.entered.append(key)
        parts, at = [], 0
        for cell, text in sorted(changed, key=lambda one: one[0].start):
            parts += [self.text[at : cell.start], text]
            at = cell.end
        result.text = "".join([*parts, self.text[at:]])
        return result

    def _cells(
        self, row: Row, marked: Marked, graded: Graded, lang: Language
    ) -> list[tuple[Cell, str]]:
        most = row[self.maximum].value.strip()
        grade = f"{min(max(marked.total / graded.points, 0), 1) * _number(most):.2f}"
        found = [(row[self.grade], grade.replace(".", ",") if "," in most else grade)]
        if self.feedback is not None:
            said = "<br>".join(html.escape(line) for line in feedback.lines(marked, lang))
            found.append((row[self.feedback], said.replace("\r", " ").replace("\n", "<br>")))
        return [(cell, _written(text, cell)) for cell, text in found]

    def _row(self, marked: Marked) -> int | None:
        """By Moodle's number; without one by student id or address, then by name.

        The id is what the hand-in says of itself: it counts only where Moodle says nothing. Nor does a
        name where both have numbers: another number is a namesake's.
        """
        handin = marked.handin
        if handin.moodle:
            numbered = [i for i, number in enumerate(self._numbers) if number == handin.moodle]
            rest = [i for i, number in enumerate(self._numbers) if not number]
            return _only(numbered) if numbered else self._named(handin.student, rest)
        claimed = marked.graded.student_id if marked.graded else None
        if claimed:
            known = [i for i, row in enumerate(self.rows) if self._is_of(row, claimed.casefold())]
            if known:
                return _only(known)
        return self._named(handin.student, range(len(self.rows)))

    def _is_of(self, row: Row, student: str) -> bool:
        cells = (cell.value.strip().casefold() for cell in row[: self.grade])
        return any(cell == student or cell.startswith(f"{student}@") for cell in cells)

    def _named(self, name: str, among: Iterable[int]) -> int | None:
        if not name:
            return None
        wanted = _plain(name)
        return _only([i for i in among if self._names[i] == wanted])


def write(path: Path, worksheet: Worksheet, marked: Sequence[Marked], lang: Language) -> Filled:
    """Fill ``worksheet`` in, as a new file, and say so where that takes no feedback.

    Raises:
        UsageError: ``path`` is the worksheet itself.
    """
    if path.exists() and path.samefile(worksheet.path):
        raise UsageError(
            f"{path} is the worksheet itself, which stays as it is: give another --out.",
            zh=f"{path} 就是下載的評分表，不會被改寫：請換一個 --out。",
        )
    found = worksheet.filled(marked, lang)
    with replacing(path) as temporary:
        temporary.write_bytes(found.text.encode("utf-8"))
    if worksheet.feedback is None:
        said = Text(
            f"{worksheet.path} has no column for feedback: only the grades are in {path}.",
            f"{worksheet.path} 沒有評語欄：{path} 只填入成績。",
        )
        errors.print(said.say(lang), markup=False, soft_wrap=True)
    return found


def _no_worksheet(path: Path, why: str) -> UsageError:
    return UsageError(
        f"{path} is no grading worksheet of Moodle's in UTF-8 ({why}): download it from the assignment "
        "(Download grading worksheet) and give that file, unchanged.",
        zh=f"{path} 不是 Moodle 下載的評分表（UTF-8）（{why}）：請從作業頁面下載評分表，不要修改，直接使用該檔案。",
    )


def _number(text: str) -> float:
    return float(text.replace(",", "."))


def _moodle(row: Row) -> str:
    """The number that ends the row's first cell, as in "Participant 123"."""
    match = re.search(r"[0-9]+\Z", row[0].value.strip())
    return match[0] if match else ""


def _plain(name: str) -> str:
    """As Moodle's folder has it: no underscore, one case and one blank."""
    return " ".join(name.replace("_", " ").split()).casefold()


def _only(found: list[int]) -> int | None:
    return found[0] if len(found) == 1 else None


def _written(text: str, cell: Cell) -> str:
    """Quoted where the cell was, or where it must be."""
    if cell.text.startswith('"') or re.search(r'[",\r\n]|^\s|\s$', text):
        return '"' + text.replace('"', '""') + '"'
    return text
