"""The pictures of docs/: ``python -m tests.docs_pictures`` makes them all anew.

Needs Chromium with fonts-noto-cjk, and pdftoppm of poppler-utils. The figures in those of the page are
the machine's own.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from lab5.compare import WINDOW
from lab5.web.examples import draw_examples
from lab5.web.screenshots import chromium, open_page, own_page, submit
from tests import classes, report_examples

DOCS = Path(__file__).parent.parent / "docs"
PAGES = {"page-en": "en", "page-zh": "zh-TW"}
TRIES = 100  # until the page does not say that the machine was busy


def page(out: Path) -> None:
    """The page with an answer, in both languages."""
    automobile = draw_examples(out)[1]
    window = {"viewport": {"width": 1280, "height": 900}}
    with own_page() as url, chromium() as (browser, _):
        for name, language in PAGES.items():
            tab = open_page(browser, window, url, language)
            answers = [submit(tab, automobile) for _ in range(WINDOW)]
            while "⚠" in answers[-1] and len(answers) < TRIES:
                tab.wait_for_timeout(1000)
                answers.append(submit(tab, automobile))
            if "⚠" in answers[-1]:
                raise SystemExit("The machine is too busy for its figures to be shown.")
            tab.get_by_role("heading", level=1).click()  # no focus is seen
            tab.screenshot(path=out / f"{name}.png", full_page=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for make in (page, classes.main, report_examples.render):
            out = Path(folder, make.__module__)
            out.mkdir()
            make(out)
            for known in DOCS.glob("*.png"):
                if (made := out / known.name).exists():
                    shutil.copyfile(made, known)


if __name__ == "__main__":
    main()
