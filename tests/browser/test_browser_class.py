"""The pages of a class as a person meets them: from the disk, in a real browser, wide and narrow."""

from __future__ import annotations

import contextlib
import importlib.util
import json

import pytest

from lab5.classroom import html as pages
from lab5.errors import AppError
from lab5.web.screenshots import chromium
from tests.classes import example
from tests.conftest import need

# Not traced by coverage: what they run of ours others run as well, and the most is Playwright.
pytestmark = [pytest.mark.browser, pytest.mark.no_cover]

SIZES = {"desktop": (1280, 900), "phone": (375, 780)}
TITLE = "EAI Lab 5"
# It would fetch the style, and describe what it finds right
AXE = {"preload": False, "resultTypes": ["violations"]}


@pytest.fixture(scope="module")
def running():
    try:
        with chromium() as (browser, _):
            yield browser
    except AppError as error:
        need(False, error.text.en)


@pytest.fixture(scope="module")
def some():
    return example(26)


@pytest.fixture
def folder(some, tmp_path):
    pages.write(tmp_path / "class", some, "en", title=TITLE)
    return tmp_path / "class"


@pytest.fixture
def faults():
    """What the pages complain of; the test fails if anything is left."""
    found = []
    yield found
    assert found == []


@pytest.fixture
def visit(running, faults):
    """Open a page in a browser that remembers nothing."""
    with contextlib.ExitStack() as opened:

        def visit(path, size="desktop", **options):
            width, height = SIZES[size]
            context = running.new_context(viewport={"width": width, "height": height}, **options)
            opened.callback(context.close)
            context.set_default_timeout(20_000)
            page = context.new_page()
            page.on("pageerror", lambda error: faults.append(str(error)))
            page.on("console", lambda m: faults.append(m.text) if m.type == "error" else None)
            page.on(
                "request",
                lambda r: None if r.url.startswith(("file:", "blob:")) else faults.append(r.url),
            )
            page.goto(path.as_uri())
            return page

        yield visit


def student(folder, one):
    return folder / "students" / f"{one.handin.key}.html"


def shown(page) -> list[str]:
    return [row.get_attribute("data-key") for row in page.locator("#class tbody tr:visible").all()]


def name_of(some, key):
    return next(one.handin.student for one in some if one.handin.key == key)


@pytest.mark.parametrize("size", SIZES)
def test_nothing_scrolls_sideways_and_one_language_is_seen(folder, some, visit, size):
    for path in (folder / "index.html", student(folder, some[5]), student(folder, some[17])):
        page = visit(path, size)
        for _ in range(2):
            width, window = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
            assert width <= window
            language = page.evaluate("document.documentElement.lang")
            seen = {
                s.get_attribute("lang") for s in page.locator("main span[lang]:visible").all()[:60]
            }
            assert seen == {language}
            page.keyboard.press("l")


@pytest.mark.parametrize("size", SIZES)
def test_axe_finds_nothing(folder, some, visit, size):
    need(importlib.util.find_spec("axe_playwright_python"), "pip install axe-playwright-python")
    from axe_playwright_python.sync_playwright import Axe

    for path in (folder / "index.html", student(folder, some[5])):
        page = visit(path, size)
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            found = Axe().run(page, options=AXE)
            assert found.violations_count == 0, (scheme, found.generate_report())


def test_sorting_by_a_column_both_ways(folder, visit):
    page = visit(folder / "index.html")
    heads = page.locator("#class thead th[aria-sort]")

    def column(index: int) -> list[str]:
        cells = page.locator(f"#class tbody tr > :nth-child({index + 1})").all()
        return [cell.get_attribute("data-v") for cell in cells]

    for index in (2, 7, 0):
        key = float if index else str
        orders = []
        for _ in range(2):
            heads.nth(index).get_by_role("button").click()
            orders.append((heads.nth(index).get_attribute("aria-sort"), column(index)))
        assert {order for order, _ in orders} == {"ascending", "descending"}
        if index:
            for order, values in orders:
                numbers = [key(value) for value in values]
                assert numbers == sorted(numbers, reverse=order == "descending")
        assert sorted(orders[0][1]) == sorted(orders[1][1])


def test_filters_search_and_faults(folder, some, visit):
    page = visit(folder / "index.html")
    everybody = shown(page)
    assert len(everybody) == len(some)
    failed = [
        one.handin.key
        for one in some
        if one.graded and any(c.status == "fail" for c in one.graded.checks)
    ]
    page.get_by_role("button", name="有錯誤").click()
    assert shown(page) == failed
    page.get_by_role("button", name="相似").click()
    assert shown(page) == [some[n].handin.key for n in (5, 9, 23)]
    page.get_by_role("button", name="未評分").click()
    assert shown(page) == [some[17].handin.key]
    page.get_by_role("button", name="全部").click()
    page.keyboard.press("/")
    page.keyboard.type(some[3].handin.student)
    assert shown(page) == [o.handin.key for o in some if o.handin.student == some[3].handin.student]
    page.keyboard.press("Escape")
    page.locator("#search").fill("nobody <b>")
    assert shown(page) == []
    page.locator("#search").fill("")
    fault = page.locator("[data-check]").first
    check = fault.get_attribute("data-check")
    fault.click()
    assert shown(page) == [
        one.handin.key for one in some
        if one.graded and any(c.name == check and c.status == "fail" for c in one.graded.checks)
    ]  # fmt: skip
    page.locator("#only").click()
    assert shown(page) == everybody


def test_a_class_is_gone_through_without_the_mouse(folder, some, visit):
    page = visit(folder / "index.html")
    page.locator("#class thead button").nth(2).click()  # by total, the best first
    order = shown(page)
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    page.wait_for_url("**/students/**")
    heading = page.get_by_role("heading", level=1)
    assert name_of(some, order[0]) in heading.inner_text()
    page.keyboard.press("n")
    page.wait_for_url(f"**/{order[1]}.html")
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.className").startswith("check")
    page.keyboard.press("m")
    page.keyboard.type("1.5")
    page.keyboard.press("Escape")
    page.keyboard.press("p")
    page.wait_for_url(f"**/{order[0]}.html")
    page.keyboard.press("p")  # there is none before
    page.keyboard.press("?")
    assert page.get_by_role("dialog").is_visible()
    page.keyboard.press("n")  # not while that is open
    page.keyboard.press("Escape")
    assert not page.get_by_role("dialog").is_visible()
    page.keyboard.press("u")
    page.wait_for_url("**/index.html")
    row = page.locator(f"tr[data-key='{order[1]}']")
    assert row.locator(".own").inner_text() == "1.5"


@pytest.mark.parametrize("size", SIZES)
def test_what_a_person_enters_survives_a_reload_a_later_run_and_another_browser(
    folder, some, visit, size, tmp_path
):
    one = some[5]
    page = visit(student(folder, one), size)
    checks = [c.name for c in one.graded.checks if c.status == "manual" and c.points]
    page.locator(f"#points-{checks[0]}").fill("2")
    page.locator(f"#points-{checks[1]}").fill("0.5")
    page.locator("#points-other").fill("-3")
    page.locator("#note").fill("遲交 </textarea><b>一天\n第二行")
    total = one.graded.earned - 0.5
    assert page.locator("#total").inner_text() == f"{total:g}"

    def as_entered(page) -> bool:
        return page.locator("#note").input_value() == "遲交 </textarea><b>一天\n第二行" and [
            page.locator(f"#points-{name}").input_value() for name in (*checks[:2], "other")
        ] == ["2", "0.5", "-3"]

    page.reload()
    assert as_entered(page)
    pages.write(folder, some, "en", title=TITLE)
    page.reload()
    assert as_entered(page)

    page.goto((folder / "index.html").as_uri())
    assert page.locator(f"tr[data-key='{one.handin.key}'] .total").inner_text() == f"{total:g}"
    assert page.locator("#left").inner_text() == str(len(some) - 1)  # one not graded, one in part
    with page.expect_download() as download:
        page.locator("#export").click()
    assert download.value.suggested_filename == "marks.json"
    download.value.save_as(folder / "marks.json")
    assert set(json.loads((folder / "marks.json").read_text("utf-8"))["marks"]) == {one.handin.key}

    pages.write(folder, some, "en", title=TITLE)  # into the pages, for another browser
    other = visit(student(folder, one), size)
    assert as_entered(other)
    assert other.locator("#total").inner_text() == f"{total:g}"

    moved = tmp_path / "elsewhere"  # another folder, which knows nothing, takes the export
    pages.write(moved, some, "en", title=TITLE)
    third = visit(moved / "index.html", size)
    third.locator("#import").set_input_files(folder / "marks.json")
    third.locator("#kept-status").get_by_text("1").wait_for()
    assert third.locator(f"tr[data-key='{one.handin.key}'] .total").inner_text() == f"{total:g}"
    third.goto(student(moved, one).as_uri())
    assert as_entered(third)


def test_an_older_export_takes_nothing_back(folder, some, visit):
    one = some[0]
    old = {"points": {}, "note": "old", "at": 1}
    (folder / "marks.json").write_text(json.dumps({"marks": {one.handin.key: old}}))
    pages.write(folder, some, "en", title=TITLE)
    page = visit(student(folder, one))
    assert page.locator("#note").input_value() == "old"
    page.locator("#note").fill("new")
    page.reload()
    assert page.locator("#note").input_value() == "new"
    page.goto((folder / "index.html").as_uri())
    page.locator("#import").set_input_files(folder / "marks.json")
    page.locator("#kept-status").get_by_text("0").wait_for()
    page.goto(student(folder, one).as_uri())
    assert page.locator("#note").input_value() == "new"
    bad = folder / "bad.json"
    bad.write_text('{"marks": {"x": {"points": {"a": "b"}}}}')
    page.goto((folder / "index.html").as_uri())
    page.locator("#import").set_input_files(bad)
    page.locator("#kept-status").get_by_text("bad.json").wait_for()


def test_points_for_a_check_that_waits_no_more_do_not_count_and_are_kept(folder, some, visit):
    one = some[5]
    given = {"points": {"fp32-opset": 2, "other": 1}, "note": "", "at": 1}
    (folder / "marks.json").write_text(json.dumps({"marks": {one.handin.key: given}}))
    pages.write(folder, some, "en", title=TITLE)
    page = visit(student(folder, one))
    assert page.locator("#total").inner_text() == f"{one.graded.earned + 1:g}"
    page.locator("#note").fill("a")
    page.goto((folder / "index.html").as_uri())
    total = page.locator(f"tr[data-key='{one.handin.key}'] .total")
    assert total.inner_text() == f"{one.graded.earned + 1:g}"
    with page.expect_download() as download:
        page.locator("#export").click()
    kept = json.loads(download.value.path().read_text("utf-8"))["marks"][one.handin.key]
    assert kept["points"] == given["points"]
    assert kept["note"] == "a"


def test_points_out_of_range_are_said_and_not_counted(folder, some, visit):
    one = some[5]
    page = visit(student(folder, one))
    box = page.locator(".give input").first
    box.fill("99")
    page.locator("#kept-status").get_by_text("超出範圍").wait_for()
    assert page.locator("#total").inner_text() == f"{one.graded.earned:g}"


def test_a_browser_that_keeps_pages_apart_is_told_so_and_exports_the_page(folder, some, visit):
    one = some[0]
    page = visit(student(folder, one))
    assert page.locator(".apart").is_visible()  # the overview was never here
    page.locator("#note").fill("mine")
    with page.expect_download() as download:
        page.locator("#export").click()
    download.value.save_as(folder / download.value.suggested_filename)
    pages.write(folder, some, "en", title=TITLE)
    again = visit(folder / "index.html")
    again.goto(student(folder, one).as_uri())
    assert not again.locator(".apart").is_visible()
    assert again.locator("#note").input_value() == "mine"


def test_the_pictures_are_shown_and_the_policy_stops_what_is_foreign(folder, some, visit, faults):
    page = visit(student(folder, some[5]))
    page.evaluate("for (const image of document.images) image.loading = 'eager'")
    page.wait_for_function("[...document.images].every(i => i.complete && i.naturalWidth > 100)")
    stopped = page.evaluate(
        """() => new Promise(done => {
            document.addEventListener('securitypolicyviolation', e => done(e.violatedDirective));
            const script = document.createElement('script');
            script.textContent = 'window.ran = true';
            document.body.append(script);
        })"""
    )
    assert stopped.startswith("script-src")
    assert page.evaluate("window.ran") is None
    (fault,) = faults
    assert "Content Security Policy" in fault
    faults.clear()


def test_printing_leaves_the_tools_out(folder, some, visit):
    page = visit(student(folder, some[5]))
    page.emulate_media(media="print")
    assert not page.locator(".tools").is_visible()
    assert page.locator(".check.fail").first.is_visible()
