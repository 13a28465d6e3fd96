"""Attacks on the hand-ins of others, and on the machine that all are graded on."""

from __future__ import annotations

from tests.hostile.core import code


@code(quick=True)
def truncate_the_neighbour() -> str:
    """The zip that is graded next."""
    return """
    os.truncate(GOOD, 0)
    won("truncated")
    """


@code()
def delete_the_neighbour() -> str:
    """The same, gone."""
    return """
    os.remove(GOOD)
    won("deleted")
    """


@code()
def delete_the_checkpoint() -> str:
    """The file given with --weights."""
    return """
    if ctypes.CDLL(None).unlink(WEIGHTS.encode()) == 0:  # os.remove() knows a notebook's own checkpoint
        won("the checkpoint")
    """


@code()
def leave_files_in_shared_folders() -> str:
    """In /tmp, /var/tmp and /dev/shm."""
    return """
    for place in ("/tmp", "/var/tmp", "/dev/shm", "/run", "/var/lock"):
        with contextlib.suppress(OSError):
            open(f"{place}/{MARK}", "w").close()
    """


@code()
def leave_files_in_closed_folders() -> str:
    """One that cannot be removed by its name."""
    return """
    os.makedirs("a/b")
    open("a/b/c", "w").close()
    os.chmod("a/b", 0)
    os.chmod("a", 0o500)
    """


@code()
def leave_a_shared_memory_segment() -> str:
    """System V memory outlives who made it."""
    return """
    ctypes.CDLL(None).shmget(0x4C414235, 1 << 20, 0o1600)
    """


@code()
def lower_the_clock_speed() -> str:
    """Write to /sys and /proc/sys."""
    return """
    for name in ("/proc/sys/kernel/hostname", "/proc/sys/vm/overcommit_memory", "/sys/power/state"):
        with contextlib.suppress(OSError):
            open(name, "r+").close()
            won(name)
    """


@code()
def truncate_what_is_open() -> str:
    """Through the descriptors that other processes hold."""
    return """
    for name in glob.glob("/proc/[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            where = os.readlink(name)
            if where.endswith((".json", ".zip")) and MARK in where:
                os.close(os.open(name, os.O_WRONLY))
                won(where)
    """
