"""A class as pages: whole, closed in themselves, escaped, and a person's marks never lost."""

from __future__ import annotations

import dataclasses
import gc
import html.parser
import json
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab5.classroom import html as pages
from lab5.classroom import marks
from lab5.classroom.entry import HandIn, Marked
from lab5.classroom.moodle import Worksheet
from lab5.classroom.writers import WRITERS
from lab5.errors import UsageError
from lab5.grading.core import Result
from lab5.grading.graded import Graded
from lab5.grading.portrait import Portrait
from lab5.grading.render import PARTS, SIGNS, as_text
from lab5.grading.suite import SHOWN
from lab5.text import LANGUAGES, Text, printable
from tests.classes import example
from tests.classroom import Student, worksheet

VOID = {"meta", "link", "input", "br", "img"}
SVG = {"svg", "rect"}


class Page(html.parser.HTMLParser):
    """What a page is made of: its tags with their attributes' names, its text, what it refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.skeleton: list[tuple] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.skeleton.append((tag, *(name for name, _ in attrs)))
        self.attributes += [(tag, name, value) for name, value in attrs]
        self.links += [value for name, value in attrs if name in ("href", "src")]
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        self.skeleton.append((f"/{tag}",))

    def handle_data(self, data):
        self.texts.append(data)

    def handle_comment(self, data):
        raise AssertionError(data)

    handle_pi = unknown_decl = handle_comment


def read(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def written(folder: Path, marked: Sequence[Marked], title: str = "EAI Lab 5") -> Path:
    pages.write(folder, marked, "en", title=title)
    return folder


@pytest.fixture(scope="module")
def some():
    return example(24)


@pytest.fixture(scope="module")
def folder(some, tmp_path_factory):
    return written(tmp_path_factory.mktemp("class"), some)


def test_every_page_is_whole_and_closed_in_itself(folder, some):
    files = [folder / "index.html", *sorted((folder / "students").iterdir())]
    assert len(files) == 1 + len(some)
    for file in files:
        page = read(file)
        assert len(set(page.ids)) == len(page.ids)
        for tag, name, value in page.attributes:
            assert not name.startswith("on"), (tag, name)
            assert name != "style", tag
            if name in ("for", "aria-labelledby"):
                assert value in page.ids, value
        for link in page.links:
            parts = urlsplit(link)
            assert (parts.scheme, parts.netloc, parts.query) == ("", "", "")
            if parts.path:
                assert (file.parent / unquote(parts.path)).is_file(), link
            else:
                assert parts.fragment in page.ids
        (policy,) = [v for tag, name, v in page.attributes if v and v.startswith("default-src")]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy


def test_style_and_script_reach_for_nothing_else(folder):
    for name in ("style.css", "class.js"):
        text = (folder / name).read_text(encoding="utf-8")
        for word in (
            "http:",
            "https:",
            "url(",
            "@import",
            "fetch(",
            "innerHTML",
            "eval(",
            "insertAdjacent",
        ):
            assert word not in text, (name, word)


def test_what_is_wrong_is_said_with_want_got_and_hint_in_both_languages(folder, some):
    for one in some:
        text = "".join(read(folder / "students" / f"{one.handin.key}.html").texts)
        for check in one.graded.checks if one.graded else ():
            if check.status == "fail":
                for part in (check.title, check.why, check.want, check.got, check.hint):
                    assert part.en in text
                    assert part.zh in text
        if one.why:
            assert one.why.zh in text


def test_the_reports_pages_stand_beside_what_a_person_marks(folder, some):
    one = some[0]
    page = read(folder / "students" / f"{one.handin.key}.html")
    pictures = [link for link in page.links if link.endswith(".webp")]
    assert len(set(pictures)) == len(one.graded.portrait.pages) > 0
    waiting = [c.name for c in one.graded.checks if c.status == "manual" and c.points]
    boxes = [v for tag, name, v in page.attributes if (tag, name) == ("input", "data-check")]
    assert boxes == [*waiting, marks.OTHER]


def test_the_overview_counts_what_the_checks_say(folder, some):
    from lab5.grading.suite import CHECKS

    page = read(folder / "index.html")
    failing = [
        c.name for one in some if one.graded for c in one.graded.checks if c.status == "fail"
    ]
    commonest = max(set(failing), key=lambda name: (failing.count(name), name))
    shown = [v for tag, name, v in page.attributes if (tag, name) == ("button", "data-check")]
    assert shown[0] in {n for n in failing if failing.count(n) == failing.count(commonest)}
    assert len(shown) == min(12, len(set(failing)))
    assert CHECKS[shown[0]].title.zh in "".join(page.texts)
    rows = [v for tag, name, v in page.attributes if (tag, name) == ("tr", "data-key")]
    assert rows == [one.handin.key for one in some]


# Whatever a hand-in holds

NASTY = st.one_of(
    st.text(min_size=1, max_size=60),
    st.text("<>&\"'`/=!-;{}%# \n\0abc", min_size=1, max_size=60),
    st.sampled_from([
        "</textarea><script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "'-->]]><!--",
        "</title></style></script><svg onload=alert(1)>", "{{ 7 * 7 }}{% raw %}", "javascript:alert(1)",
        "&lt;b&gt;&#60;script&#62;", "\u202e\u2066<b>", "</pre></table>", "\ud800",
    ]),
)  # fmt: skip


def with_text(text: str) -> list[Marked]:
    """Two hand-ins with this text wherever there is a text."""
    both = Text(f"e{text}", f"z{text}")
    statuses = ("fail", "advice", "manual", "blocked", "error", "pass")
    checks = tuple(
        Result(one.name, statuses[i % 6], 0.0, both, both, both, both)
        for i, one in enumerate(SHOWN)
    )
    found = []
    for key in ("a", "b"):
        code = tuple(printable(f"{text}{i}")[:160] for i in range(8))
        graded = Graded(text, text, checks, 1.0, 1, Portrait(report="ab" * 32, code=code))
        found.append(Marked(HandIn(Path("x.zip"), key, f"n{text}"), graded))
    found.append(Marked(HandIn(Path("y.zip"), "c", f"n{text}"), None, both))
    return found


def rendered(text: str) -> list[Page]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        own = {"a": {"points": {}, "note": f"n{text}", "at": 1}}
        (out / "marks.json").write_text(json.dumps({"marks": own}), encoding="utf-8")
        written(out, with_text(text), f"t{text}")
        return [read(out / name) for name in ("index.html", "students/a.html", "students/c.html")]


PLAIN = [page.skeleton for page in rendered("x")]


@settings(max_examples=40)
@given(NASTY)
def test_no_text_breaks_out_of_its_place(text):
    found = rendered(text)
    assert [page.skeleton for page in found] == PLAIN
    normal = printable(text)
    assert f"n{normal}" in "".join(found[1].texts).replace("\r", "\n")


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_terminal_and_the_pages_say_it_in_the_same_words(lang):
    page = {text.strip().lower() for text in rendered("x")[1].texts}
    terminal = as_text(with_text("x")[0].graded, lang).lower()
    for status in ("advice", "manual", "fail", "error"):
        word = SIGNS[status].word.say(lang)
        assert word in page
        assert f"{word}\n" in terminal
    for part in ("want", "got", "hint"):
        word = PARTS[part].say(lang)
        assert word in page
        assert f"  {word}: " in terminal


@settings(max_examples=20)
@given(st.text("ab #%?&;+é陳", min_size=1, max_size=12))
def test_any_file_name_can_be_a_key(key):
    with tempfile.TemporaryDirectory() as folder:
        out = written(Path(folder), [Marked(HandIn(Path("x.zip"), key), None, Text.of("?"))])
        (link,) = {unquote(x) for x in read(out / "index.html").links if x.startswith("students/")}
        assert (out / link).is_file()


# What a person enters

OWN = {"points": {"reflection-own": 1.5, marks.OTHER: -1}, "note": "晚一天 <b>", "at": 5}


def put(folder: Path, name: str, **entries) -> bytes:
    data = json.dumps({"title": "x", "marks": entries}, ensure_ascii=False).encode()
    (folder / name).write_bytes(data)
    return data


def test_a_later_run_reads_the_marks_and_writes_to_none(some, tmp_path):
    key = some[0].handin.key
    data = put(tmp_path, "marks.json", **{key: OWN, "gone": OWN})
    for _ in range(2):
        written(tmp_path, some)
    assert (tmp_path / "marks.json").read_bytes() == data
    page = read(tmp_path / "students" / f"{key}.html")
    values = {attrs for attrs in page.attributes if attrs[1] == "value"}
    assert {("input", "value", "1.5"), ("input", "value", "-1")} <= values
    assert "晚一天 <b>" in "".join(page.texts)
    assert f"{some[0].graded.earned + 0.5:g}" in page.texts
    (kept,) = [v for _, name, v in read(tmp_path / "index.html").attributes if name == "data-marks"]
    assert json.loads(kept)["gone"] == OWN  # of somebody who is not in this run


def test_the_later_of_two_words_counts_whatever_the_files_are_called(tmp_path):
    put(tmp_path, "marks.json", a={**OWN, "at": 5}, b={**OWN, "at": 9})
    put(tmp_path, "marks (1).json", a={**OWN, "at": 7, "note": "later"})
    put(tmp_path, "marks-b.json", b={**OWN, "at": 3, "note": "earlier"})
    found = marks.read(tmp_path)
    assert (found["a"].note, found["b"].note) == ("later", OWN["note"])
    assert found["a"].total(["reflection-own"]) == 0.5
    assert found["a"].total([]) == -1  # the check found out by itself in a later run


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b'{"marks": 3}', b'{"marks": {"a": {"points": {"x": "y"}}}}', b"\xff\xfe\x00",
     b'{"marks": {"a": {"points": {"x": NaN}}}}', b'{"marks": {"a": {}}}', b'{"marks": {"a": null}}',
     b'{"marks": {"a": {"points": {}, "at": 1e999}}}', b'{"marks": ' + b"[" * 100_000,
     b'{"marks": {"a": {"points": {}, "at": 1%s}}}' % (b"0" * 400),
     b'{"marks": {"a": {"points": {"x": 1%s}}}}' % (b"0" * 400),
     b'{"marks": {"a": {"points": {"x": 100.5}}}}', b'{"marks": {"a": {"points": {"x": -101}}}}'],
    ids=range(15),
)  # fmt: skip
def test_marks_that_cannot_be_read_are_said_and_stay(data, some, tmp_path):
    (tmp_path / "marks.json").write_bytes(data)
    with pytest.raises(UsageError, match=r"marks\.json"):
        written(tmp_path, some[:2])
    assert (tmp_path / "marks.json").read_bytes() == data
    assert not (tmp_path / "index.html").exists()


# The folder


def test_another_run_leaves_nothing_of_who_is_gone_and_the_same_bytes_else(some, tmp_path):
    def files() -> dict[str, bytes]:
        found = (p for p in tmp_path.rglob("*") if p.is_file())
        return {p.relative_to(tmp_path).as_posix(): p.read_bytes() for p in found}

    written(tmp_path, some[:6])
    (tmp_path / "students" / "mine.txt").write_text("not ours")
    before = files()
    written(tmp_path, some[:6])
    assert files() == before
    written(tmp_path, some[:5])
    gone = some[5].handin.key
    assert {name for name in before if gone in name}
    assert not {name for name in files() if gone in name}
    assert "students/mine.txt" in files()


def test_an_index_of_somebody_else_is_not_overwritten(some, tmp_path):
    (tmp_path / "index.html").write_text("<h1>my home page</h1>")
    with pytest.raises(UsageError, match=r"index\.html"):
        written(tmp_path, some)
    assert (tmp_path / "index.html").read_text() == "<h1>my home page</h1>"


@pytest.mark.parametrize(
    "name", ["pages/mine.html", "students/thesis.html", "style.css", "thesis.pdf"]
)
def test_a_folder_of_somebody_else_stays_as_it_is(name, some, tmp_path):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match=r"no folder of a class's pages"):
        written(tmp_path, some[:1])
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / name).read_text() == "mine"


def test_only_what_an_earlier_run_wrote_is_removed(some, tmp_path):
    written(tmp_path, some[:2])
    foreign = [tmp_path / "students" / "thesis.html", tmp_path / "pages" / "mine.html",
               tmp_path / "pages" / "holiday-1.webp"]  # fmt: skip
    for path in foreign:
        path.write_text("mine")
    written(tmp_path, some[:1])
    assert all(path.read_text() == "mine" for path in foreign)
    assert not list(tmp_path.rglob(f"{some[1].handin.key}*"))


def test_a_first_run_that_is_killed_can_be_run_again(some, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        written(tmp_path, Stopping(some))
    read(tmp_path / "index.html")
    written(tmp_path, some[:2])
    assert not list(tmp_path.rglob(f"*{some[2].handin.key}*"))


class Stopping(Sequence):
    """The hand-ins, and the end of the machine in the midst of the second time through."""

    def __init__(self, marked):
        self.marked, self.left = marked, len(marked) + 3

    def __len__(self):
        return len(self.marked)

    def __getitem__(self, index):
        if index < len(self.marked):
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
        return self.marked[index]


def test_a_run_that_is_killed_leaves_whole_pages_only(some, tmp_path):
    written(tmp_path, some[:8], "before")
    index = (tmp_path / "index.html").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        written(tmp_path, Stopping(some), "after")
    assert (tmp_path / "index.html").read_bytes() == index
    for path in tmp_path.rglob("*.html"):
        read(path)
        assert path.read_text(encoding="utf-8").endswith("</html>\n")
    assert not list(tmp_path.rglob(".*"))


class Lazy(Sequence):
    """Makes each hand-in when it is asked for it, and counts how many live."""

    def __init__(self, marked):
        self.marked, self.living, self.most = marked, weakref.WeakSet(), 0

    def __len__(self):
        return len(self.marked)

    def __getitem__(self, index):
        one = self.marked[index]
        if one.graded is None:
            return one
        portrait = dataclasses.replace(one.graded.portrait)
        fresh = dataclasses.replace(one.graded, portrait=portrait)
        self.living.add(fresh)
        if len(self.living) > 3:
            gc.collect()
        self.most = max(self.most, len(self.living))
        return dataclasses.replace(one, graded=fresh)


@pytest.mark.parametrize("name", WRITERS)
def test_memory_does_not_grow_with_the_class(name, some, tmp_path):
    lazy = Lazy(some)
    WRITERS[name](tmp_path / "written", lazy, "en")
    assert lazy.most <= 4


def test_a_worksheet_is_filled_in_with_one_hand_in_at_a_time(some, tmp_path):
    students = [Student("A", n, one.handin.path.name[:9], "good") for n, one in enumerate(some)]
    (tmp_path / "sheet.csv").write_bytes(worksheet(students))
    lazy = Lazy(some)
    assert Worksheet(tmp_path / "sheet.csv").filled(lazy, "en").entered
    assert lazy.most <= 4


def test_a_class_of_nobody(tmp_path):
    assert "0" in read(written(tmp_path, []) / "index.html").texts


def test_where_all_look_alike_a_page_names_a_few(some, tmp_path):
    """Else a class of a thousand would be a million names."""
    one = next(one for one in some if one.graded)
    replace = dataclasses.replace
    alike = [
        replace(one, handin=replace(one.handin, key=f"k{n:02}", student=f"Name {n:02}."))
        for n in range(30)
    ]
    written(tmp_path, alike)
    assert "k29" in (tmp_path / "index.html").read_text("utf-8").partition('id="alike"')[2]
    page = (tmp_path / "students" / "k20.html").read_text("utf-8").partition('id="alike"')[2]
    shown = {name for name in (f"Name {n:02}." for n in range(30)) if name in page}
    assert shown == {*(f"Name {n:02}." for n in range(12)), "Name 20."}
    assert "and 17 more" in page


def test_namesakes_are_told_apart_by_moodles_number(tmp_path):
    why = Text.of("?")
    some = [
        Marked(HandIn(Path("x.zip"), f"{name}_{n}", student=name, moodle=str(n)), None, why)
        for n, name in enumerate(("Participant", "Participant", "Ada"), 71)
    ]
    texts = read(written(tmp_path, some) / "index.html").texts
    assert {"Participant (71)", "Participant (72)", "Ada"} <= set(texts)
    assert "Participant (72)" in read(tmp_path / "students" / "Participant_72.html").texts
