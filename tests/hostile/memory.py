"""Attacks that take memory, each of a fixed size."""

from __future__ import annotations

from tests.handin import FP32, INT8, NOTEBOOK, REPORT
from tests.hostile.core import LATE, SOON, Hostile, attack, code
from tests.hostile.onnx_files import declared, large_batch
from tests.hostile.pdf import bomb, document, nested_forms

_FILL = "x = bytearray({0} << 20)\nx[::4096] = b'x' * len(x[::4096])\n"


@code(quick=True)
def eight_gigabytes() -> str:
    """In one piece, all of it written to."""
    return _FILL.format(8 << 10)


@code()
def four_children_of_two_gigabytes() -> str:
    """Each within the limit of a process."""
    fill = _FILL.format(2 << 10) + "import time; time.sleep(8)"
    return f"for one in [child({fill!r}) for _ in range(4)]: one.wait(20)"


@code()
def memory_that_no_process_has() -> str:
    """Six gigabytes in a file that is nowhere."""
    return """
    number = os.memfd_create(MARK)
    for i in range(6 << 10):
        os.write(number, bytes(1 << 20))
    won("six gigabytes")
    """


@code()
def memory_in_the_shared_folder() -> str:
    """Six gigabytes in /dev/shm."""
    return """
    with open("/dev/shm/" + MARK, "wb") as file:
        for i in range(6 << 10):
            file.write(bytes(1 << 20))
    won("six gigabytes")
    """


@code()
def a_pipe_that_nobody_reads() -> str:
    """A thousand pipes, each full."""
    return """
    import fcntl
    for _ in range(400):
        end, begin = os.pipe()
        with contextlib.suppress(OSError):
            fcntl.fcntl(begin, 1031, 1 << 20)
        os.set_blocking(begin, False)
        with contextlib.suppress(OSError):
            os.write(begin, bytes(1 << 20))
    """


@attack()
def a_result_of_four_gigabytes(h: Hostile) -> None:
    """What preprocess returns."""
    h.in_function(
        "preprocess",
        "import numpy\nreturn numpy.ones((1, 3, 32, 174_763), 'float64').repeat(32, 0)",
    )


@attack(says=("MemoryError", "GB of memory"))
def an_answer_that_only_grows(h: Hostile) -> None:
    """The comparison is a generator without end, of 64 MB each."""
    h.in_function("compare_fp32_int8", "while True:\n    yield b'x' * (64 << 20)\n")


@attack()
def a_message_of_a_gigabyte(h: Hostile) -> None:
    """What the comparison raises."""
    h.in_function("compare_fp32_int8", "raise ValueError('x' * (1 << 30))")


@attack()
def an_array_that_lies(h: Hostile) -> None:
    """One number, shown as an array of a terabyte."""
    h.in_function(
        "preprocess",
        """
        import numpy
        return numpy.broadcast_to(numpy.float32(0), (1, 3, 1 << 19, 1 << 19))
        """,
    )


@attack("models")
def initialisers_declared_huge(h: Hostile) -> None:
    """Two terabytes of zeros in a few bytes."""
    h.files[FP32] = h.files[INT8] = declared((1 << 20, 1 << 19))


@attack("models")
def initialisers_of_eight_gigabytes(h: Hostile) -> None:
    """A constant that a node makes when the model is loaded."""
    from tests.hostile.onnx_files import expanded

    h.files[FP32] = h.files[INT8] = expanded(8 << 30)


@attack("models")
def a_batch_of_two_thousand(h: Hostile) -> None:
    """The axis is fixed, and the network is real."""
    h.files[FP32] = large_batch(h.variants.good[FP32], 2000)


@attack("report", deadline=SOON, says=LATE)
def pdf_with_nested_forms(h: Hostile) -> None:
    """Each form shows the next ten times, eight deep."""
    h.files[REPORT] = nested_forms(8, 10)


@attack("report")
def pdf_with_a_flate_bomb(h: Hostile) -> None:
    """Four gigabytes, deflated twice."""
    h.files[REPORT] = bomb(4 << 30)


@attack("report")
def pdf_with_a_huge_picture(h: Hostile) -> None:
    """60,000 pixels a side in a few bytes."""
    h.files[REPORT] = document(picture=(60_000, 60_000))


@attack("report")
def pdf_with_a_huge_page(h: Hostile) -> None:
    """Light years wide."""
    h.files[REPORT] = document(
        page="<</Type/Page/Parent 2 0 R/MediaBox[0 0 1e30 1e30]/UserUnit 1e9/Contents 4 0 R>>"
    )


@attack("report")
def notebook_of_many_small_things(h: Hostile) -> None:
    """48 MB of JSON that are gigabytes of objects."""
    h.files[NOTEBOOK] = b'{"cells":[' + b"{}," * (16 << 20) + b"{}]}"
