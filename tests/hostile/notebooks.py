"""Attacks by names and by the notebook's form, none of which runs code."""

from __future__ import annotations

import json
import pickle

from tests.handin import FP32, INT8, NOTEBOOK, REPORT
from tests.hostile.core import Hostile, attack


def cells(h: Hostile, *sources: object, **more: object) -> None:
    """A notebook of these sources."""
    found = [{"cell_type": "code", "metadata": {}, "source": one, "outputs": []} for one in sources]
    content = {"cells": found, "nbformat": 4, "nbformat_minor": 5, "metadata": {}, **more}
    h.files[NOTEBOOK] = json.dumps(content).encode()


def add(h: Hostile, kind: str, source: str) -> None:
    """A cell of what UTF-8 cannot write, but JSON can."""
    content = json.loads(h.files[NOTEBOOK])
    content["cells"].append({"cell_type": kind, "metadata": {}, "source": source})
    h.files[NOTEBOOK] = json.dumps(content).encode()


@attack(quick=True)
def a_surrogate_in_the_name_of_a_function(h: Hostile) -> None:
    """What is written of it cannot be encoded."""
    h.with_code("thing.__name__ = thing.__qualname__ = 'preprocess\\ud800\\udfff'")


@attack()
def a_surrogate_in_a_message(h: Hostile) -> None:
    """Of an exception that the judge quotes."""
    h.in_function("preprocess", "raise ValueError('\\ud800 \\udfff')")


@attack()
def escapes_in_a_message(h: Hostile) -> None:
    """They would clear the screen, set the clipboard and hide what follows."""
    h.in_function(
        "preprocess", r"raise ValueError('\x1b[2J\x1b[8A\x1b]52;c;bHM=\x07 \x9b2J \x1b[8m \u202e')"
    )


@attack()
def escapes_in_the_name_of_an_exception(h: Hostile) -> None:
    """A class may be called anything."""
    h.in_function("preprocess", r"raise type('\x1b[2J\ud800', (Exception,), {})('x')")


@attack()
def escapes_in_the_summary(h: Hostile) -> None:
    """What the page shows."""
    h.in_function(
        "compare_fp32_int8", r"return {'\x1b[2J': 1.0}, {'\ud800': 1.0}, '\x1b[8A\x9b2J\ud800'"
    )


@attack()
def escapes_in_a_provider(h: Hostile) -> None:
    """Which the session is opened with."""
    h.code(
        "return ort.InferenceSession(model_path, providers=providers)",
        r"return ort.InferenceSession('\x1b[2J\ud800_INT8.onnx', providers=['\x1b[8A'])",
    )


@attack()
def a_surrogate_in_the_source(h: Hostile) -> None:
    """The JSON of a notebook can hold half of a pair."""
    add(h, "code", "x = '\ud800'\ny = \udfff\n# \ud800")


@attack()
def a_surrogate_in_a_markdown_cell(h: Hostile) -> None:
    """Which is compared with the template's."""
    add(h, "markdown", "\ud800\x1b[2J")


@attack()
def markup_in_names(h: Hostile) -> None:
    """Of the terminal's library, of HTML and of spreadsheets."""
    h.in_function(
        "preprocess",
        "raise ValueError('[red]100[/red] [link=file:///etc/passwd]x[/] <script>alert(1)</script> =cmd()')",
    )


@attack()
def a_class_that_lies_about_itself(h: Hostile) -> None:
    """Its type's name raises."""
    h.in_function(
        "preprocess",
        """
        class Meta(type):
            def __getattribute__(cls, name):
                raise SystemExit(name)
        class Liar(metaclass=Meta):
            pass
        return Liar()
        """,
    )


@attack("report")
def a_notebook_that_is_nested(h: Hostile) -> None:
    """20,000 lists."""
    h.files[NOTEBOOK] = b'{"cells":' + b"[" * 20_000 + b"]" * 20_000 + b"}"


@attack("report")
def a_notebook_of_other_types(h: Hostile) -> None:
    """Numbers where text is expected."""
    cells(h, 5, None, {"a": "b"}, [1, [2], {}], True, [["x"]])


@attack("report")
def a_notebook_in_utf_7(h: Hostile) -> None:
    """And other encodings, by marks of UTF-16 that are wrong."""
    h.files[NOTEBOOK] = b"\xff\xfe" + '{"cells":[]}'.encode("utf-16-le")[:-1]


@attack("report")
def nested_parentheses(h: Hostile) -> None:
    """The parser's own stack."""
    cells(h, "(" * 5000 + ")" * 5000, "-" * 100_000 + "1", "x" + ".a" * 50_000, "f" + "()" * 20_000)


@attack("report")
def nested_functions(h: Hostile) -> None:
    """A hundred deep, and a chain of else."""
    cells(
        h,
        "\n".join(" " * i + f"def f{i}():" for i in range(100)) + "\n" + " " * 100 + "pass",
        "if a: pass\n" + "elif b: pass\n" * 5000,
        "x = " + "+".join(["1"] * 20_000),
        "x = " + "[" * 90 + "]" * 90,
    )


@attack("report")
def a_coding_line(h: Hostile) -> None:
    """Of an encoding that runs code, or is none."""
    cells(
        h,
        "# -*- coding: rot13 -*-\nvzcbeg bf",
        "# coding: utf-7\n+AGEAYg-",
        "# coding: nothing\nx=1",
    )


@attack("report")
def magics_without_end(h: Hostile) -> None:
    """Thousands in a cell, each to be rewritten."""
    cells(
        h,
        "\n".join(f"%time x{i} = !ls {{y}} ?" for i in range(1500)),
        "%%time\n" * 800 + "x=1",
        "!" * 50_000,
        "?" * 50_000,
        "%%timeit -n 1 -r 1 " + "- " * 50_000,
    )


@attack("report", fails="report-present")
def a_pickle_for_a_checkpoint(h: Hostile) -> None:
    """Code that runs when it is unpickled, under each name."""

    class Run:
        def __reduce__(self):
            return (open, (str(h.world.drop / h.world.mark), "w"))

    data = pickle.dumps(Run())
    for name in ("best_model.pth", FP32, INT8, f"{FP32}.data", "weights.pkl", "model.npy"):
        h.files[name] = data
    h.files.pop(REPORT)


@attack("report")
def a_checkpoint_as_torch_writes_it(h: Hostile) -> None:
    """A zip in the zip that holds a pickle which runs code."""
    import io
    import zipfile

    class Run:
        def __reduce__(self):
            return (open, (str(h.world.drop / h.world.mark), "w"))

    found = io.BytesIO()
    with zipfile.ZipFile(found, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Run()))
        archive.writestr("archive/version", "3")
    for name in ("best_model.pth", FP32, INT8, "model.zip"):
        h.files[name] = found.getvalue()
