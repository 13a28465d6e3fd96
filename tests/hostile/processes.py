"""Attacks that stay when the run is over."""

from __future__ import annotations

from tests.hostile.core import SOON, Hostile, attack, code


@code(quick=True)
def a_child_that_sleeps() -> str:
    """Nobody waits for it."""
    return "child()"


@code()
def a_grandchild_without_parent() -> str:
    """Forked twice, as daemons are."""
    return """
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(300)", MARK])
        os._exit(0)
    os.wait()
    """


@code()
def a_child_that_is_stopped() -> str:
    """It does not see that it should end."""
    return """
    one = child()
    os.kill(one.pid, signal.SIGSTOP)
    """


@code()
def a_child_that_is_traced() -> str:
    """Which waits for its tracer."""
    return """
    if os.fork() == 0:
        ctypes.CDLL(None).ptrace(0, 0, 0, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(0)
    """


@code()
def a_child_that_forks_on() -> str:
    """Each ends before it is found; 2,000 in all."""
    return """
    if os.fork() == 0:
        for _ in range(2000):
            if os.fork():
                os._exit(0)
            os.setsid()
        os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(300)", MARK])
    """


@code()
def two_hundred_children() -> str:
    """A fork bomb that stops."""
    return """
    for _ in range(200):
        with contextlib.suppress(OSError):
            if os.fork() == 0:
                threading.Event().wait(300)
                os._exit(0)
    """


@code()
def four_thousand_threads() -> str:
    """More than a system may have."""
    return """
    for _ in range(4000):
        with contextlib.suppress(RuntimeError):
            threading.Thread(target=threading.Event().wait, args=(300,), daemon=True).start()
    """


@code()
def a_child_in_new_namespaces() -> str:
    """Where other rules hold."""
    return """
    if os.fork() == 0:
        ctypes.CDLL(None).unshare(0x10000000 | 0x20000000)
        if os.fork() == 0:
            os.setsid()
            os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(300)", MARK])
        os._exit(0)
    """


@code()
def a_thread_that_goes_on() -> str:
    """In the process of the judge, if there is one."""
    return """
    def last():
        while True:
            threading.Event().wait(0.1)
    threading.Thread(target=last).start()
    """


@attack("models", fails="fp32-parity", deadline=SOON)
def a_model_that_never_ends(h: Hostile) -> None:
    """An ONNX Loop of 2^62 rounds: only its process can be ended, should it be run."""
    from tests.hostile.onnx_files import loop

    h.files["N26140692_FP32.onnx"] = h.files["N26140692_INT8.onnx"] = loop(1 << 62)
