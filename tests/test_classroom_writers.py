"""What is written of a class: CSV, Gradescope, Moodle's worksheet and feedback zip."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lab5.classroom import feedback, gradescope, marks, moodle, table
from lab5.classroom.entry import Marked
from lab5.classroom.marks import Own
from lab5.classroom.moodle import Worksheet
from lab5.classroom.writers import WRITERS
from lab5.commands import grade
from lab5.errors import UsageError
from lab5.grading.core import GROUPS
from lab5.text import Text
from tests import classroom
from tests.classroom import graded, marked

NOT_GRADED = replace(marked("lost", student="Lost, L.", moodle="9", folder="L_9_assignsubmission_file_"),
                     graded=None, why=Text("no zip", "沒有 zip"))  # fmt: skip


@pytest.mark.parametrize("name", WRITERS)
def test_each_has_its_option(name):
    args = grade.parser().parse_args(["x.zip", f"--{name}", "there"])
    assert getattr(args, name.replace("-", "_")) == Path("there")


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("name", WRITERS)
def test_each_says_whether_it_makes_a_folder(name, count, tmp_path):
    WRITERS[name](tmp_path / "written", [marked(key) for key in "ab"[:count]], "en")
    assert (tmp_path / "written").is_dir() == WRITERS[name].makes_folder(count)


# CSV


def test_csv_is_one_line_a_student(tmp_path):
    some = [marked("a", student="王小明", moodle="7"), NOT_GRADED]
    table.write(tmp_path / "class.csv", some, "en")
    data = (tmp_path / "class.csv").read_bytes()
    assert data.startswith(b"\xef\xbb\xbf")
    assert data.count(b"\r\n") == data.count(b"\n") == 3
    head, one, lost = csv.reader(io.StringIO(data.decode("utf-8-sig")))
    assert len(head) == len(one) == len(lost) == len(set(head)) == 5 + len(GROUPS) + 7
    row = dict(zip(head, one, strict=True))
    assert (row["Full name"], row["Moodle's number"]) == ("王小明", "7")
    assert float(row["Points of the checks"]) + int(row["Points for a person to give"]) == 100
    assert sum(float(one[5 + i]) for i in range(len(GROUPS))) == float(row["Points of the checks"])
    row = dict(zip(head, lost, strict=True))
    assert (row["Points of the checks"], row["Worst status"], row["Notes"]) == (
        "",
        "error",
        "no zip",
    )


def test_what_a_person_gave_goes_wherever_points_go(tmp_path):
    """And no more of it than counts: a check that found out by itself is not decided twice."""
    one = marked("a", student="Ada", moodle="7")
    assert one.graded
    waits = marks.waiting(one.graded)
    own = Own({waits[0]: 1.5, marks.OTHER: -0.5, "fp32-valid": 5}, "well argued")
    one = replace(one, own=own)
    points = {check.name: check.points for check in one.graded.checks}
    assert one.given == 1.0
    assert one.total == one.graded.earned + 1
    assert one.to_give == sum(points[name] for name in waits[1:])
    table.write(tmp_path / "class.csv", [one], "en")
    head, values = csv.reader(io.StringIO((tmp_path / "class.csv").read_text("utf-8-sig")))
    row = dict(zip(head, values, strict=True))
    assert float(row["All points"]) == one.total
    assert int(row["Points for a person to give"]) == one.to_give
    said = "\n".join(feedback.lines(one, "en"))
    assert f"A person gave 1 more: {one.total:g} in all." in said
    assert "well argued" in said
    assert gradescope.results(one, "en")["score"] == one.total
    worksheet = sheet(tmp_path, classroom.worksheet(SOME))
    ours = replace(MARKED[0], own=own)
    row = next(row for row in cells(worksheet.filled([ours], "en").text.encode())[1:] if row[5])
    assert float(row[5]) == ours.total


@given(st.text())
@example("=1+1")
@example("\t=1")
@example("\r=1")
@example("@SUM(A1)")
@example("\n=1")
@example(" \u3000＝1")
def test_no_cell_is_a_formula(name):
    assert not table.defused(name).startswith(("\t", "\r", "\n"))
    assert not table.defused(name).strip().startswith(tuple("=+-@＝＋－＠"))
    assert "\r" not in table.defused(name).replace("\r\n", "")


# Gradescope, as its documentation has it

_FORMAT = {"enum": ["text", "html", "simple_format", "md", "ansi"]}
_VISIBILITY = {"enum": ["hidden", "after_due_date", "after_published", "visible"]}
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "anyOf": [{"required": ["score"]}, {"required": ["tests"]}],
    "properties": {
        "score": {"type": "number"},
        "execution_time": {"type": "integer"},
        "output": {"type": "string"},
        "output_format": _FORMAT,
        "test_output_format": _FORMAT,
        "test_name_format": _FORMAT,
        "visibility": _VISIBILITY,
        "stdout_visibility": _VISIBILITY,
        "extra_data": {"type": "object"},
        "leaderboard": {"type": "array"},
        "tests": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "score": {"type": "number"},
                    "max_score": {"type": "number"},
                    "status": {"enum": ["passed", "failed"]},
                    "name": {"type": "string"},
                    "name_format": _FORMAT,
                    "number": {"type": "string"},
                    "output": {"type": "string"},
                    "output_format": _FORMAT,
                    "tags": {"type": "array", "items": {"type": "string"}},
                    "visibility": _VISIBILITY,
                    "extra_data": {"type": "object"},
                },
            },
        },
    },
}


@pytest.mark.parametrize("one", [marked(graded=graded(lost=30, error=True)), NOT_GRADED])
@pytest.mark.parametrize("lang", ["en", "zh-TW"])
def test_gradescope_takes_it(one, lang, tmp_path):
    gradescope.write(tmp_path / "results.json", [one], lang)
    found = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    jsonschema.validate(found, SCHEMA)
    assert found["score"] == (one.graded.earned if one.graded else 0)
    if one.graded:
        assert sum(test["score"] for test in found["tests"]) == pytest.approx(found["score"])
        assert sum(test["max_score"] for test in found["tests"]) == 100
        assert not any("hidden" in str(test) for test in found["tests"]), "it would hide the total"


def test_gradescope_of_several_is_a_folder(tmp_path):
    gradescope.write(tmp_path / "all", [marked("a"), marked("b")], "en")
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == ["a.json", "b.json"]


# Moodle's feedback zip


def test_the_feedback_zip_has_moodles_folders_and_both_languages(tmp_path):
    some = [
        marked("b", folder="B_2_assignsubmission_file", graded=graded(lost=12)),
        marked("a", folder="王_1_assignsubmission_file_"),
        NOT_GRADED,
        marked("loose"),
    ]
    noted = [replace(one, notes=(Text.of("The same bytes as somebody"),)) for one in some]
    for path, several in (("one.zip", noted), ("two.zip", noted[::-1])):
        feedback.write(tmp_path / path, several, "zh-TW")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        texts = {name: archive.read(name).decode("utf-8-sig") for name in archive.namelist()}
    assert set(texts) == {
        "B_2_assignsubmission_file/feedback.txt",
        "王_1_assignsubmission_file_/feedback.txt",
        "L_9_assignsubmission_file_/feedback.txt",
    }
    for text in texts.values():
        assert "somebody" not in text, "notes are not for students"
    text = texts["B_2_assignsubmission_file/feedback.txt"]
    assert text.index("滿分 100 分") < text.index("of 100 points")
    assert "no zip" in texts["L_9_assignsubmission_file_/feedback.txt"]


# Moodle's worksheet

SOME = classroom.students({"good": 4, "late": 1})
MARKED = [
    marked(f"{one.name}_{one.number}", student=one.name, moodle=str(one.number),
           graded=graded(one.id, lost=2 * i))
    for i, one in enumerate(SOME)
]  # fmt: skip


def sheet(tmp_path: Path, data: bytes) -> Worksheet:
    path = tmp_path / "sheet.csv"
    path.write_bytes(data)
    return Worksheet(path)


def cells(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))


@pytest.mark.parametrize("lang", ["en", "zh-TW"])
@pytest.mark.parametrize("bom", [False, True])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("without", [(), ("Email address", "ID number"), ("Feedback comments",)])
def test_only_grade_and_feedback_change(lang, bom, line_end, without, tmp_path):
    data = classroom.worksheet(SOME, lang=lang, bom=bom, line_end=line_end, without=without)
    filled = moodle.write(tmp_path / "out.csv", sheet(tmp_path, data), MARKED[:3], "en")
    out = (tmp_path / "out.csv").read_bytes()
    assert filled.entered == [one.handin.key for one in MARKED[:3]]
    assert not filled.unmatched
    before, after = cells(data), cells(out)
    assert out.startswith(b"\xef\xbb\xbf") == bom
    assert (b"\r\n" in out) == (line_end == "\r\n")
    grade = before[0].index({"en": "Grade", "zh-TW": "成績"}[lang])
    last = len(before[0]) - 1
    for old, new, one in zip(before[1:], after[1:], [*MARKED[:3], None, None, None], strict=True):
        changed = [i for i, (a, b) in enumerate(zip(old, new, strict=True)) if a != b]
        if one is None:
            assert changed == []
            continue
        assert changed == ([grade] if "Feedback comments" in without else [grade, last])
        assert new[grade] == f"{one.graded.earned:.2f}"
        if len(changed) == 2:
            assert "points are for a person" not in new[last] or one.graded.manual
            assert f"{one.graded.earned:g} of 100" in new[last]
    assert data.splitlines(keepends=True)[0] == out.splitlines(keepends=True)[0]
    assert data.splitlines(keepends=True)[-3:] == out.splitlines(keepends=True)[-3:]


@pytest.mark.parametrize("dates", [
    ["-"], ["", "Monday, 1 June 2026, 11:59 PM"], ["-", "2026年 06月 1日(週一) 23:59"], ["1/06/26, 23.59 (2026)"],
])  # fmt: skip
def test_feedback_never_goes_where_dates_are(dates, tmp_path, capsys):
    """As in a worksheet with texts handed in online and without feedback."""
    data = "Identifier,Full name,Grade,Maximum Grade,Changed,Last,Online text,Last\n"
    for number, date in enumerate(dates):
        data += f'Participant {number},A,,100.00,Yes,-,"My text",{date!r}\n'.replace("'", '"')
    worksheet = sheet(tmp_path, data.encode())
    some = [marked(str(number), moodle=str(number)) for number in range(len(dates))]
    moodle.write(tmp_path / "out.csv", worksheet, some, "en")
    assert "has no column for feedback" in capsys.readouterr().err
    after = cells((tmp_path / "out.csv").read_bytes())[1:]
    assert [row[-1] for row in after] == dates
    assert all(row[2] for row in after)
    for comments in (["", ""], ["-", "Well done"], ["In 2026 we will see."]):
        data = "Identifier,Full name,Grade,Maximum Grade,Changed,Last,Last,Comments\n"
        data += "".join(f'Participant 1,A,,100.00,Yes,-,-,"{one}"\n' for one in comments)
        assert sheet(tmp_path, data.encode()).feedback == 7


@pytest.mark.parametrize(
    ("maximum", "points", "written"),
    [("100.00", 87.5, "87.50"), ("10.00", 87.5, "8.75"), ("20", 33.33, "6.67"), ("10,00", 87.5, "8,75"), ("100.00", 0, "0.00")],
)  # fmt: skip
def test_the_grade_is_scaled_to_the_maximum_and_never_above(maximum, points, written, tmp_path):
    data = classroom.worksheet(SOME, maximum=maximum)
    result = graded(lost=100)
    first = replace(result.checks[0], earned=points)
    one = replace(MARKED[0], graded=replace(result, checks=(first, *result.checks[1:])))
    filled = sheet(tmp_path, data).filled([one], "en")
    assert cells(filled.text.encode())[1][5] == written


def test_who_is_matched_by_what(tmp_path):
    a, b, c, d, e = SOME
    data = classroom.worksheet(SOME, without=("ID number",))
    worksheet = sheet(tmp_path, data.replace(f"Participant {b.number}".encode(), b"hidden"))
    by = {
        "number": marked("number", moodle=str(a.number), student="Another", graded=graded(d.id)),
        "name": marked("name", moodle="1", student=b.name, graded=graded(d.id)),
        "address": marked("address", graded=graded(c.id.lower())),
        "namesake": marked("namesake", moodle="1", student=e.name, graded=graded(e.id)),
        "nothing": marked("nothing", graded=graded("Z9999999")),
        "no id": marked("no id", graded=graded(None)),
    }
    filled = worksheet.filled(list(by.values()), "en")
    assert filled.unmatched == ["namesake", "nothing", "no id"]
    assert filled.entered == ["number", "name", "address"]
    written = [i for i, row in enumerate(cells(filled.text.encode())[1:]) if row[4]]
    assert written == [0, 1, 2]


def test_two_of_one_row_and_namesakes_are_listed_and_not_entered(tmp_path):
    students = classroom.students({"good": 9})
    assert students[5].name == students[8].name
    worksheet = sheet(tmp_path, classroom.worksheet(students))
    namesake = marked("namesake", student=students[5].name, graded=graded(None))
    claims = [marked(key, graded=graded(students[0].id)) for key in ("first", "second")]
    filled = worksheet.filled([namesake, *claims], "en")
    assert sorted(filled.unmatched) == ["first", "namesake", "second"]
    assert filled.text == worksheet.text


def test_a_student_cannot_claim_the_row_of_another(tmp_path):
    """The id in the hand-in does not count where Moodle says whose it is."""
    worksheet = sheet(tmp_path, classroom.worksheet(SOME))
    one = replace(MARKED[0], graded=graded(SOME[1].id))
    rows = cells(worksheet.filled([one], "en").text.encode())
    assert [i for i, row in enumerate(rows[1:]) if row[5]] == [0]


@pytest.mark.parametrize("lang", ["en", "zh-TW"])
@pytest.mark.parametrize("state", [None, "Marking"])
def test_a_grade_that_cannot_be_changed_is_left_alone_and_listed(lang, state, tmp_path):
    """Also where a column with the state of the marking stands before that."""
    data = classroom.worksheet(SOME, lang=lang, locked=SOME[1:3])
    if state:
        lines = data.decode().splitlines()
        data = "\n".join(line.replace("100.00,", f"100.00,{state},") for line in lines).encode()
        data = data.replace(b"Maximum Grade,", b"Maximum Grade,State,")
        data = data.replace("最高分數,".encode(), "最高分數,狀態,".encode())
    worksheet = sheet(tmp_path, data)
    filled = worksheet.filled(MARKED, "en")
    assert filled.locked == [one.handin.key for one in MARKED[1:3]]
    assert filled.entered == [one.handin.key for one in (MARKED[0], *MARKED[3:])]
    before, after = cells(data), cells(filled.text.encode())
    assert [old == new for old, new in zip(before[1:], after[1:], strict=True)] == [
        False, True, True, False, False, True
    ]  # fmt: skip


def test_what_was_not_graded_is_not_entered(tmp_path):
    worksheet = sheet(tmp_path, classroom.worksheet(SOME))
    one = replace(MARKED[0], graded=None, why=Text.of("lost"))
    filled = worksheet.filled([one], "en")
    assert (filled.ungraded, filled.text) == ([one.handin.key], worksheet.text)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"Identifier,Grade\n", b"a,b,c\n1,2,3\n", "識別碼,全名".encode("big5"), b"\xff\xfea\0,\0",
        b'Identifier,"Full name",Grade,Scale\n"Participant 1",A,,"Good, Bad"\n',
    ],
)  # fmt: skip
def test_what_is_no_worksheet_is_refused(data, tmp_path):
    with pytest.raises(UsageError, match="no grading worksheet"):
        sheet(tmp_path, data)


def test_the_downloaded_worksheet_is_never_written_to(tmp_path):
    worksheet = sheet(tmp_path, classroom.worksheet(SOME))
    before = worksheet.path.read_bytes()
    with pytest.raises(UsageError, match="stays as it is"):
        moodle.write(worksheet.path, worksheet, MARKED, "en")
    assert worksheet.path.read_bytes() == before


def test_feedback_is_text_whatever_a_hand_in_says(tmp_path):
    """Moodle shows the cell as HTML."""
    result = graded(lost=1)
    bad = '<script>alert(1)</script>\n"x", y'
    checks = [
        replace(one, why=Text.of(bad)) if one.status == "fail" else one for one in result.checks
    ]
    one = replace(MARKED[0], graded=replace(result, checks=tuple(checks)))
    worksheet = sheet(tmp_path, classroom.worksheet(SOME))
    text = worksheet.filled([one], "en").text
    comment = cells(text.encode())[1][-1]
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;<br>&quot;x&quot;, y" in comment


# Any CSV file: the bytes outside of the two cells stay

anything = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters='",\r\n'))
quoted = st.text(st.characters(blacklist_categories=("Cs",))).map(
    lambda text: '"' + text.replace('"', '""') + '"'
)
raw = anything.filter(lambda text: not text.startswith(("\ufeff",))) | quoted


@given(
    st.lists(st.tuples(raw, raw, st.sampled_from(["", '""', "3.00", '"3.00"']), raw), min_size=1, max_size=5),
    st.sampled_from(["\n", "\r\n"]), st.booleans(), st.booleans(), st.integers(0, 4), st.sampled_from(["100.00", '"10"']),
)  # fmt: skip
@example([("", '"a\r\nb"', '""', '"=1"')], "\r\n", True, False, 0, "100.00")
def test_everything_else_is_the_same_byte_for_byte(tmp_path_factory, rows, line_end, bom, ends, at, maximum):  # fmt: skip
    head = 'Identifier,"Full name",Status,Grade,"Maximum Grade",Changed,Last,Last,"Feedback"'
    lines = [head]
    for number, (name, status, old, comment) in enumerate(rows):
        cell = f"{name or 'x'},{status},{old},{maximum},Yes,-,-,{comment}"
        lines.append(f'"Participant {number}",{cell}')
    text = ("\ufeff" if bom else "") + line_end.join(lines) + (line_end if ends else "")
    worksheet = sheet(tmp_path_factory.mktemp("sheet"), text.encode())
    number = at % len(rows)
    one = Marked(replace(marked("a").handin, moodle=str(number)), graded(lost=7))
    filled = worksheet.filled([one], "zh-TW")
    assert filled.entered == ["a"]
    name, status, _, _ = rows[number]
    start = f'"Participant {number}",{name or "x"},{status},'
    begin = text.index(start) + len(start)
    row_end = begin + len(lines[number + 1]) - len(start)
    assert filled.text[:begin] == text[:begin]
    rest = text[row_end:]
    assert filled.text.endswith(rest)
    middle = filled.text[begin : len(filled.text) - len(rest)]
    assert re.fullmatch(rf'"?[0-9.]+"?,{maximum},Yes,-,-,("([^"]|"")*"|[^",\r\n]*)', middle)
    read = cells(filled.text.encode())
    assert [len(row) for row in read] == [len(row) for row in cells(text.encode())]
