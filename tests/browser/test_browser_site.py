"""The documentation as a reader meets it: what is searched for is found, in both languages."""

from __future__ import annotations

import contextlib
import functools
import http.server
import importlib.util
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lab5.errors import AppError
from lab5.web.screenshots import chromium
from tests.conftest import need

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# What is searched for -> a section that has it
SEARCHED = {
    "上傳": "page/#every-kind-of-upload",  # begins with a stop word
    "傳檔": "page/#every-kind-of-upload",  # within words
    "量化": "rubric/#14-quantise-statically-to-int8-int8-10-points",
    "upload": "page/#every-kind-of-upload",
}


class Files(http.server.SimpleHTTPRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # the browser wants no more of it
            super().handle()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The address of the site as CI builds it."""
    need(importlib.util.find_spec("material"), "the site needs pip install '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", folder],
        cwd=Path(__file__).parents[2],
        check=True,
    )
    handler = functools.partial(Files, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_what_is_searched_for_is_found(site):
    try:
        with chromium() as (browser, _):
            page = browser.new_page()
            for words, section in SEARCHED.items():
                page.goto(f"{site}?q={words}")  # as typed into the field
                path, anchor = section.split("#")
                page.locator(
                    f".md-search-result__link[href*='/{path}'][href$='#{anchor}']"
                ).wait_for(state="attached", timeout=20_000)
    except AppError as error:
        need(False, error.text.en)
