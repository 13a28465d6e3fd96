"""Attacks that end or stop the grader, so that nobody has a result."""

from __future__ import annotations

from tests.hostile.core import LATE, SOON, Hostile, attack, code

# Every process that it can see but its own, by a signal; bounded to those of this grading
_TO_ALL = """
for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
    with contextlib.suppress(OSError):
        mine = MARK.encode() in open(f"/proc/{{pid}}/environ", "rb").read() + open(f"/proc/{{pid}}/cmdline", "rb").read()
        if pid != os.getpid() and mine:
            os.kill(pid, signal.{0})
"""


@code(quick=True)
def kill_the_grader() -> str:
    """Every process above it."""
    return _TO_ALL.format("SIGKILL")


@code()
def stop_the_grader() -> str:
    """A stopped process waits for ever."""
    return _TO_ALL.format("SIGSTOP")


@code()
def kill_the_parent() -> str:
    """The process that forked it."""
    return "os.kill(os.getppid(), signal.SIGKILL)"


@code()
def kill_the_process_group() -> str:
    """All that were started together."""
    return "os.killpg(os.getpgid(0), signal.SIGKILL)"


@code()
def end_at_once() -> str:
    """Without a word."""
    return "os._exit(0)"


@code()
def recurse_in_c() -> str:
    """Until the stack is gone."""
    return """
    sys.setrecursionlimit(10 ** 9)
    thing = None
    for _ in range(300_000):  # of which each takes more than 28 bytes of the stack's 8 MB
        thing = (thing,)
    hash(thing)
    """


@code()
def raise_what_cannot_be_shown() -> str:
    """Its text raises, too."""
    return """
    class Rude(BaseException):
        def __str__(self):
            raise self
        __repr__ = __str__
    raise Rude
    """


@code()
def raise_with_a_huge_text() -> str:
    """200 MB of it."""
    return "raise ValueError('x' * 200_000_000)"


@code()
def join_other_namespaces() -> str:
    """As root may."""
    return """
    libc = ctypes.CDLL(None, use_errno=True)
    for kind in ("net", "pid", "mnt", "user"):
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/ns/{kind}") == os.readlink(f"/proc/self/ns/{kind}"):
                    continue
                if libc.setns(os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY), 0) == 0:
                    won("in the namespace " + kind)
    """


@code(deadline=SOON)
def stop_itself() -> str:
    """Who waits for it waits for ever."""
    return "os.kill(os.getpid(), signal.SIGSTOP)"


@code()
def exit_handlers() -> str:
    """Code that runs when the judge's process ends."""
    return """
    import atexit
    def last():
        os.kill(os.getppid(), signal.SIGKILL)
    atexit.register(last)
    threading._register_atexit(last)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    """


@code()
def ignore_every_signal() -> str:
    """What asks it to end."""
    return """
    for number in range(1, 65):
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_IGN)
    """


@attack("code", deadline=SOON, says=LATE)
def fork_and_kill_again(h: Hostile) -> None:
    """A process of each two survives the other's end, for a while."""
    h.with_code(
        """
        for _ in range(30):
            child("import time; time.sleep(300)", start_new_session=True)
        threading.Event().wait()
        """
    )
