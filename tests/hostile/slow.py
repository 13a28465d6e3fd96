"""Attacks that hold all the others up."""

from __future__ import annotations

import json

from tests.handin import NOTEBOOK, REPORT
from tests.hostile.core import LATE, SOON, Hostile, attack, code
from tests.hostile.pdf import pages


@code(deadline=SOON, says=LATE, quick=True)
def wait_for_ever() -> str:
    """In every probe, at no cost of computing."""
    return "threading.Event().wait(300)"


@code(says=LATE)
def wait_until_the_grader_ends_it() -> str:
    """The same, for as long as a hand-in may take."""
    return "threading.Event().wait(300)"


@code(deadline=SOON, says=LATE)
def compute_in_c_for_ever() -> str:
    """Where no signal is looked at."""
    return """
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
    sum(iter(int, 1))
    """


@code(deadline=SOON, says=LATE)
def forty_spinning_children() -> str:
    """More than there are cores."""
    return """
    for _ in range(40):
        child("while True: pass")
    threading.Event().wait(300)
    """


@code(deadline=SOON, says=LATE)
def read_what_never_comes() -> str:
    """From a FIFO."""
    return """
    os.mkfifo("fifo")
    open("fifo")
    """


@code(deadline=SOON, says=LATE)
def a_slow_regular_expression() -> str:
    """Which holds the interpreter's lock."""
    return "import re; re.match(r'(a*)*b', 'a' * 64)"


@attack(deadline=SOON, says=LATE)
def preprocess_that_waits(h: Hostile) -> None:
    """On every picture."""
    h.in_function("preprocess", "threading.Event().wait(300)")


@attack(deadline=SOON, says=LATE)
def an_answer_that_never_ends(h: Hostile) -> None:
    """The comparison is a generator, and in no hurry: else its memory may be over before its time."""
    h.in_function(
        "compare_fp32_int8", "while True:\n    threading.Event().wait(0.1)\n    yield 1\n"
    )


@attack(deadline=SOON)
def an_array_that_takes_its_time(h: Hostile) -> None:
    """What preprocess returns computes when it is looked at."""
    h.in_function(
        "preprocess",
        """
        class Slow:
            shape, dtype = (1, 3, 32, 32), "float32"
            def __array__(self, *args, **kwargs):
                threading.Event().wait(300)
        return Slow()
        """,
    )


@attack(seconds=30)
def a_line_of_numbers_signs(h: Hostile) -> None:
    """100,000 of them."""
    h.cell("# " + "#" * 100_000 + "\n" + "x = 1" + "#" * 100_000)


@attack(seconds=30)
def a_syntax_error_and_blanks(h: Hostile) -> None:
    """300,000 of them, and lines of nothing."""
    h.cell("def f(:\n" + " " * 300_000 + "\n" + "\n \t" * 100_000 + "x")


@attack(seconds=30)
def a_cell_of_comment_lines(h: Hostile) -> None:
    """200,000, before a magic."""
    h.cell("#\n" * 200_000 + "%%bash")


@attack(seconds=30)
def nested_f_strings(h: Hostile) -> None:
    """20,000 braces that do not close."""
    h.cell('x = f"' + "{a:" * 20_000 + '"\n' + "f'{" * 20_000)


@attack(seconds=30)
def a_thousand_cells(h: Hostile) -> None:
    """Of which each binds the name that the next one reads, and none parses."""
    with h.notebook() as content:
        cell = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
        content["cells"] += [
            {**cell, "source": f"x{i} = x{i - 1} +\ny{i} = (\n" * 8} for i in range(990)
        ]


@attack(seconds=30)
def twenty_thousand_statements(h: Hostile) -> None:
    """Each needs all before it."""
    h.cell(
        "\n".join(
            f"preprocess = lambda image, f=preprocess: f(image)  # {i}" for i in range(20_000)
        )
    )


@attack("report", seconds=30)
def a_page_of_reflections(h: Hostile) -> None:
    """40 pages of the word that heads one."""
    h.files[REPORT] = pages(["reflection " * 450] * 40)


@attack("report", seconds=30)
def pages_of_digits(h: Hostile) -> None:
    """400,000."""
    h.files[REPORT] = pages(["1" * 8000] * 50)


@attack("report", seconds=30)
def pages_of_digits_and_dots(h: Hostile) -> None:
    """Addresses, versions and dates that go on."""
    h.files[REPORT] = pages(["1.2-3/4:5x6," * 700] * 50)


@attack("report", seconds=30)
def pages_of_blanks(h: Hostile) -> None:
    """Between every two letters."""
    h.files[REPORT] = pages([("心得 " + "( " * 2000) * 2] * 50)


@attack("report", seconds=30)
def ten_thousand_pages(h: Hostile) -> None:
    """All of them empty."""
    h.files[REPORT] = pages([""] * 10_000)


@attack("report", seconds=30)
def a_notebook_of_brackets(h: Hostile) -> None:
    """40 MB of JSON that is nested."""
    h.files[NOTEBOOK] = b"[" * (40 << 20)


@attack("report", seconds=30)
def a_notebook_of_lines(h: Hostile) -> None:
    """A source of five million lines of nothing."""
    cell = {"cell_type": "code", "metadata": {}, "source": [""] * 5_000_000, "outputs": []}
    h.files[NOTEBOOK] = json.dumps({"cells": [cell], "nbformat": 4, "metadata": {}}).encode()
