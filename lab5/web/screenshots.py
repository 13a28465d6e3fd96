"""3.1: pictures of the page on a desktop, a phone and a tablet, as Chromium emulates them.

``python -m lab5.screenshots`` writes ``emulated-<device>-<n>.png``. They show that the page fits such
screens; they are no proof of a real device, and say so in their names and in their metadata.
"""

from __future__ import annotations

import contextlib
import io
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from lab5.assignment import LABEL_COMPARISON
from lab5.errors import AppError
from lab5.files import replacing
from lab5.text import Language, Text

# name in the file -> Playwright's device descriptor
DEVICES: Final = {"phone": "iPhone 15", "tablet": "iPad (gen 7)", "desktop": "Desktop Chrome"}
EMULATED_TITLE: Final = "Emulated by Chromium, not a real device"  # so begins the files' Title
PAGE_WAIT: Final = 60_000  # milliseconds for a page or an answer

# the shell, where it is installed, takes half the time of the whole browser
_CHROMIUM: Final = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
_ARGUMENTS: Final = (
    "--no-sandbox",  # Chromium refuses to run as root with it; only our own page is opened
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextlib.contextmanager
def chromium(*arguments: str) -> Iterator[tuple[Any, Any]]:
    """A running Chromium, and Playwright's descriptors of devices.

    Raises:
        AppError: Playwright or Chromium is not installed.
    """
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError as error:
        raise AppError(
            "Screenshots need Playwright: pip install playwright",
            zh="截圖需要 Playwright：pip install playwright",
        ) from error
    path = next(filter(None, map(shutil.which, _CHROMIUM)), None)
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(
                executable_path=path, args=[*_ARGUMENTS, *arguments]
            )
        except Error as error:
            raise AppError(
                "Screenshots need a browser: apt-get install chromium fonts-noto-cjk, "
                "or python -m playwright install chromium",
                zh="截圖需要瀏覽器：apt-get install chromium fonts-noto-cjk，"
                "或 python -m playwright install chromium",
            ) from error
        try:
            yield browser, playwright.devices
        finally:
            browser.close()


def open_page(
    browser: Any,
    descriptor: dict[str, Any],
    url: str,
    language: Language,
    watch: Callable[[Any], None] = lambda page: None,
) -> Any:
    """The page at ``url`` on an emulated device, ready for a picture; ``watch`` gets it empty."""
    context = browser.new_context(**descriptor, locale=language)
    context.set_default_timeout(PAGE_WAIT)
    page = context.new_page()
    watch(page)
    page.goto(url)
    page.get_by_label(LABEL_COMPARISON).wait_for()
    return page


def submit(page: Any, picture: Path) -> str:
    """Upload ``picture`` and press the button, as a person does: the performance comparison."""
    _button(page, Text("Clear", "清除")).click()
    page.locator("input[type=file]").first.set_input_files(picture)
    page.locator("[data-testid=image] img").wait_for()
    answer = page.get_by_label(LABEL_COMPARISON)
    _button(page, Text("Submit", "送出")).click()
    page.wait_for_function("box => box.value !== ''", arg=answer.element_handle())
    return str(answer.input_value())


def _button(page: Any, name: Text) -> Any:
    return page.get_by_role("button", name=re.compile(f"^({name.en}|{name.zh})$"))


def take_screenshots(
    running: tuple[Any, Any], url: str, pictures: list[Path], out: Path, language: Language
) -> list[Path]:
    """One screenshot for each device and picture, by a ``chromium()``; the paths of the files."""
    browser, devices = running
    made = []
    for device, descriptor in DEVICES.items():
        page = open_page(browser, devices[descriptor], url, language)
        for n, picture in enumerate(pictures, 1):
            submit(page, picture)
            path = out / f"emulated-{device}-{n}.png"
            _save(page.screenshot(full_page=True), path, f"{descriptor}, {browser.version}")
            made.append(path)
        page.context.close()
    return made


def _save(png: bytes, path: Path, emulated: str) -> None:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    label = PngInfo()
    label.add_text("Title", f"{EMULATED_TITLE}: {emulated}")
    with replacing(path) as temporary, Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").save(temporary, "PNG", pnginfo=label, optimize=True)


@contextlib.contextmanager
def own_page() -> Iterator[str]:
    """A page served for the screenshots alone: its address."""
    from lab5.models import find_models
    from lab5.web.page import build_demo

    demo = build_demo(*find_models())
    _, url, _ = demo.launch(share=False, prevent_thread_lock=True, quiet=True)
    try:
        yield url
    finally:
        demo.close(verbose=False)
