"""The page as a person meets it: a real browser, three devices, two languages."""

from __future__ import annotations

import base64
import importlib.util
import itertools
import re

import pytest
from conftest import need
from pictures import READABLE, saved, scene

from lab5.assignment import LABEL_COMPARISON
from lab5.errors import AppError
from lab5.models import cached_pair as make_pair
from lab5.web.examples import draw_examples
from lab5.web.page import QUEUE_FULL
from lab5.web.screenshots import DEVICES, chromium, open_page, submit, take_screenshots

pytestmark = pytest.mark.browser
# By coverage: what they run of ours others run as well, and the most is Playwright.
untraced = pytest.mark.no_cover

LANGUAGES = ["zh-TW", "en"]
TITLE = {"zh-TW": "CIFAR-10 圖片分類器：FP32 與 INT8 比較", "en": "CIFAR-10 Image Classifier"}
FIRST_LINE = {"zh-TW": "次的中位數", "en": "median of"}
CLEAR = {"zh-TW": "清除", "en": "Clear"}
SUBMIT = {"zh-TW": "送出", "en": "Submit"}
VIOLATIONS = {"resultTypes": ["violations"]}  # what axe finds right it need not describe


@pytest.fixture(scope="module")
def page_of(weights, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        from lab5.web.page import build_demo

        demo = build_demo(*make_pair(weights))
        demo.launch(prevent_thread_lock=True, quiet=True)
        yield demo
        demo.close()


@pytest.fixture(scope="module")
def url(page_of):
    return page_of.local_url


@pytest.fixture(scope="module")
def running():
    """Chromium with a camera that shows a test pattern."""
    try:
        with chromium(
            "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"
        ) as browser:
            yield browser
    except AppError as error:
        need(False, error.text.en)


@pytest.fixture(scope="module")
def faults():
    """What the pages logged as errors since the last test."""
    return []


@pytest.fixture(scope="module")
def opened(running, url, faults):
    """Open the page as a device in a language; a second time it is loaded anew, for half the work."""
    browser, devices = running
    pages = {}

    def watch(page):
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda m: faults.append(m.text) if m.type == "error" else None)

    def open_it(device: str, language: str):
        if page := pages.get((device, language)):
            page.reload()
            page.get_by_label(LABEL_COMPARISON).wait_for()
        else:
            page = open_page(browser, devices[DEVICES[device]], url, language, watch)
            pages[device, language] = page
        return page

    yield open_it
    for page in pages.values():
        page.context.close()


@pytest.fixture
def visit(opened, faults):
    """``opened``; the test fails if a page logs an error."""
    yield opened
    found = faults.copy()
    faults.clear()
    assert found == []


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    return draw_examples(tmp_path_factory.mktemp("examples"))


def button(page, names, language):
    return page.get_by_role("button", name=names[language], exact=True)


def comparison(page) -> str:
    return page.get_by_label(LABEL_COMPARISON).input_value()


def wait_for_comparison(page) -> str:
    box = page.get_by_label(LABEL_COMPARISON).element_handle()
    page.wait_for_function("box => box.value !== ''", arg=box)
    return comparison(page)


@untraced
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("device", DEVICES)
def test_upload_answer_clear(device, language, visit, examples):
    page = visit(device, language)
    assert TITLE[language] in page.get_by_role("heading", level=1).inner_text()
    answer = submit(page, examples[0])
    assert FIRST_LINE[language] in answer.splitlines()[0]
    text = page.locator("body").inner_text()
    assert "FP32 Top-3" in text
    assert "INT8 Top-3" in text
    assert text.count("%") >= 6  # three confidences for each model
    width, window = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert width <= window, "the page scrolls sideways"
    button(page, CLEAR, language).click()
    page.wait_for_function(
        "box => box.value === ''", arg=page.get_by_label(LABEL_COMPARISON).element_handle()
    )
    assert page.locator("[data-testid=image] img").count() == 0


@pytest.mark.parametrize("device", DEVICES)
def test_nothing_is_cut_off_or_overlaps(device, visit, examples):
    page = visit(device, "zh-TW")
    submit(page, examples[0])
    box = page.get_by_label(LABEL_COMPARISON)
    assert box.evaluate("b => b.scrollHeight <= b.clientHeight + 2"), "the text is cut off"
    sizes = [
        b.bounding_box() for b in page.get_by_role("button", name=re.compile("清除|送出")).all()
    ]
    assert all(size["height"] >= 36 for size in sizes), "too small for a thumb"


def test_chinese_is_not_boxes(visit):
    """A missing glyph is drawn as the same box for every character."""
    page = visit("phone", "zh-TW")
    pictures = page.evaluate(
        """() => ['圖', '類', '較'].map(character => {
            const canvas = document.createElement('canvas');
            const pen = canvas.getContext('2d');
            pen.font = '40px ' + getComputedStyle(document.querySelector('h1')).fontFamily;
            pen.fillText(character, 10, 60);
            return canvas.toDataURL();
        })"""
    )
    need(len(set(pictures)) == 3, "no Chinese font: apt-get install fonts-noto-cjk")


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_example_answers_at_one_click_and_a_bad_file_after_it_is_refused(
    language, visit, tmp_path
):
    page = visit("phone", language)
    page.locator(".gallery-item").first.click()
    assert FIRST_LINE[language] in wait_for_comparison(page)
    button(page, CLEAR, language).click()
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"this is no picture")
    page.locator("input[type=file]").first.set_input_files(bad)
    page.locator("[data-testid=image] img").wait_for(state="attached")
    button(page, SUBMIT, language).click()
    sentence = {
        "zh-TW": "這個檔案不是可以讀取的圖片",
        "en": "This file is no picture that can be read",
    }
    assert sentence[language] in wait_for_comparison(page)
    toast = page.get_by_test_id("toast-body").inner_text()
    assert sentence[language] in toast
    assert "Warning" not in toast


@untraced
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_full_queue_is_said_in_the_readers_language(language, running, url, page_of):
    browser, devices = running
    page = open_page(browser, devices[DEVICES["phone"]], url, language)  # logs what is refused
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page_of._queue, "max_size", 0)
        page.locator(".gallery-item").first.click()
        toast = page.get_by_test_id("toast-body")
        toast.wait_for()
    assert QUEUE_FULL.say(language) in toast.inner_text()
    page.context.close()


def test_a_picture_that_the_browser_cannot_show_is_explained_and_answered(visit, tmp_path):
    page = visit("phone", "zh-TW")
    name, make, _ = READABLE["HEIC"]
    (tmp_path / name).write_bytes(make())
    page.locator("input[type=file]").first.set_input_files(tmp_path / name)
    page.get_by_alt_text("瀏覽器無法預覽這張圖片").wait_for()
    button(page, SUBMIT, "zh-TW").click()
    assert FIRST_LINE["zh-TW"] in wait_for_comparison(page)


@pytest.mark.parametrize("size", [(32, 32), (3000, 400), (400, 3000)])
def test_every_picture_is_shown_at_a_size_to_see_it(size, visit, tmp_path):
    page = visit("phone", "zh-TW")
    scene(*size).save(tmp_path / "a.png")
    page.locator("input[type=file]").first.set_input_files(tmp_path / "a.png")
    picture = page.locator("[data-testid=image] img")
    picture.wait_for()
    box, window = picture.bounding_box(), page.evaluate("window.innerWidth")
    assert 100 <= box["height"] <= 300
    assert 100 <= box["width"] <= window


def test_submitting_nothing_asks_for_a_picture(visit):
    page = visit("desktop", "en")
    button(page, SUBMIT, "en").click()
    assert wait_for_comparison(page) == "Please upload a picture first."


def test_a_picture_from_the_camera(visit):
    page = visit("phone", "en")
    page.get_by_label("Capture from camera").click()
    page.get_by_label("Click to Access Webcam").or_(
        page.get_by_text("Click to Access Webcam")
    ).click()
    # The camera shows something now; gradio takes no photo before that.
    page.wait_for_function("() => document.querySelector('video')?.videoWidth > 0")
    page.get_by_label("capture photo").click()
    page.locator("[data-testid=image] img").wait_for()
    button(page, SUBMIT, "en").click()
    assert FIRST_LINE["en"] in wait_for_comparison(page)


def test_a_picture_from_the_clipboard(visit):
    page = visit("desktop", "en")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate(
        """async data => {
            const blob = await (await fetch('data:image/png;base64,' + data)).blob();
            await navigator.clipboard.write([new ClipboardItem({'image/png': blob})]);
        }""",
        base64.b64encode(saved(scene(), "PNG")).decode(),
    )
    page.get_by_label("Paste from clipboard").click()
    page.locator("[data-testid=image] img").wait_for()
    button(page, SUBMIT, "en").click()
    assert FIRST_LINE["en"] in wait_for_comparison(page)


@untraced
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("device", DEVICES)
def test_axe_finds_nothing(device, language, visit, examples):
    need(importlib.util.find_spec("axe_playwright_python"), "pip install axe-playwright-python")
    from axe_playwright_python.sync_playwright import Axe

    page = visit(device, language)
    for answered, scheme in itertools.product((False, True), ("light", "dark")):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function(
            "dark => document.body.classList.contains('dark') === dark", arg=scheme == "dark"
        )
        if answered and scheme == "light":
            submit(page, examples[0])
        # Buttons change their colour by degrees.
        page.wait_for_function("document.getAnimations().every(one => one.playState !== 'running')")
        found = Axe().run(page, options=VIOLATIONS)
        assert found.violations_count == 0, (answered, scheme, found.generate_report())


@untraced
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_keyboard_alone_is_enough(language, visit, examples):
    page = visit("desktop", language)

    def tab_to(wanted):
        for _ in range(30):
            page.keyboard.press("Tab")
            if wanted.evaluate("e => e === document.activeElement"):
                break
        assert wanted.evaluate("e => e.matches(':focus')"), f"no key reaches {wanted}"
        assert wanted.evaluate("e => getComputedStyle(e).outlineStyle") != "none", "unseen"

    page.on("filechooser", lambda chooser: chooser.set_files(examples[0]))
    tab_to(page.locator("button.upload-container"))
    page.keyboard.press("Enter")
    page.locator("[data-testid=image] img").wait_for()
    tab_to(button(page, SUBMIT, language))
    page.keyboard.press("Enter")
    assert FIRST_LINE[language] in wait_for_comparison(page)
    tab_to(page.get_by_label(LABEL_COMPARISON))
    tab_to(page.get_by_role("button", name="ship", exact=True))  # an example, by its name
    page.keyboard.press("Enter")
    page.get_by_test_id("label-output-value").first.get_by_text("ship").wait_for()
    tab_to(button(page, CLEAR, language))
    page.keyboard.press("Enter")
    page.locator("[data-testid=image] img").wait_for(state="detached")


def test_screenshots_are_named_and_labelled_as_emulated(running, url, examples, tmp_path):
    from PIL import Image

    made = take_screenshots(running, url, examples[:1], tmp_path, "zh-TW")
    assert [path.name for path in made] == [f"emulated-{device}-1.png" for device in DEVICES]
    for path in made:
        with Image.open(path) as image:
            assert "Emulated by Chromium, not a real device" in image.text["Title"]
            assert image.width >= 390
