"""What Linux offers to shut a process in: namespaces, limits, and an end for all of its children."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

NEWNS, NEWIPC, NEWUSER = 0x00020000, 0x08000000, 0x10000000
NEWPID, NEWNET = 0x20000000, 0x40000000
_NOSUID, _NODEV, _BIND, _RECURSIVE, _DETACH = 2, 4, 4096, 16384, 2
_NO_NEW_PRIVS, _SUBREAPER, _SECCOMP, _DUMPABLE = 38, 36, 22, 4
_BOUNDING_DROP, _CAPABILITY_VERSION = 24, 0x20080522
_NOBODY: Final = 64198  # a user and a group that no system gives to anybody


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def give_free_memory_back() -> None:
    """What glibc holds and nothing uses: of that a forked process copies each page that it takes."""
    with contextlib.suppress(AttributeError):  # another C library
        _libc().malloc_trim(0)


def become_nobody() -> None:
    """Root inside a wall is root of the machine: give that up, with every capability."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
        _libc().prctl(
            _DUMPABLE, 1, 0, 0, 0
        )  # its files in /proc are its own again: namespaces need them


def drop_capabilities() -> None:
    """All of them, for this process and what it starts."""
    libc = _libc()
    for capability in range(64):
        libc.prctl(_BOUNDING_DROP, capability, 0, 0, 0)
    header = ctypes.create_string_buffer(struct.pack("Ii", _CAPABILITY_VERSION, 0))
    if libc.capset(ctypes.byref(header), ctypes.byref(ctypes.create_string_buffer(24))) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def unshare(namespaces: int) -> bool:
    """Namespaces of its own: as root at once, else by a user namespace, else not."""
    with contextlib.suppress(OSError, AttributeError):
        take = _libc().unshare
        if take(namespaces) == 0:
            return True
        user, group = os.getuid(), os.getgid()
        if take(NEWUSER | namespaces) != 0:
            return False
        with contextlib.suppress(OSError):  # as oneself, or no child could do the same
            Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
            Path("/proc/self/uid_map").write_text(f"{user} {user} 1", encoding="ascii")
            Path("/proc/self/gid_map").write_text(f"{group} {group} 1", encoding="ascii")
        return True
    return False


def mount_empty(folder: str, size: int, *, keep: Iterable[str] = (), aside: str = "") -> None:
    """Memory in place of ``folder``, ``size`` bytes at most.

    Args:
        keep: what stands in it, and is to stand there still.
        aside: another folder, for that meanwhile.

    Raises:
        OSError
    """
    kept = {path: f"{aside}/{number}" for number, path in enumerate(keep)}
    for path, place in kept.items():
        _put(path, place)
    _mount("tmpfs", folder, "tmpfs", _NOSUID | _NODEV, f"size={size},nr_inodes=20000,mode=700")
    for path, place in kept.items():
        _put(place, path)
        if _libc().umount2(os.fsencode(place), _DETACH) == 0:
            Path(place).rmdir() if Path(place).is_dir() else Path(place).unlink()


def _put(source: str, place: str) -> None:
    """The same file or folder at another place, too."""
    if Path(source).is_dir():
        os.makedirs(place)  # noqa: PTH103
    else:
        os.makedirs(os.path.dirname(place), exist_ok=True)  # noqa: PTH103, PTH120
        Path(place).touch()
    _mount(source, place, "", _BIND | _RECURSIVE, "")


def _mount(source: str, place: str, kind: str, flags: int, options: str) -> None:
    given = (os.fsencode(source), os.fsencode(place), kind.encode(), flags, options.encode())
    if _libc().mount(*given) != 0:
        raise OSError(ctypes.get_errno(), f"mount {place}")


def adopt_orphans() -> None:
    """What loses its parent below this process becomes its child."""
    with contextlib.suppress(OSError, AttributeError):
        _libc().prctl(_SUBREAPER, 1, 0, 0, 0)


def keep_memory_shut() -> None:
    """To other processes of the same user, by /proc."""
    with contextlib.suppress(OSError, AttributeError):
        _libc().prctl(_DUMPABLE, 0, 0, 0, 0)


# seccomp: calls that no notebook needs, and that have opened many a wall. Numbers by machine.
_CALLS: Final = {
    "x86_64": (
        0xC000003E,
        {
            "ptrace": 101, "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161,
            "unshare": 272, "setns": 308, "bpf": 321, "userfaultfd": 323, "keyctl": 250,
            "add_key": 248, "request_key": 249, "perf_event_open": 298, "io_uring_setup": 425,
            "process_vm_readv": 310, "process_vm_writev": 311, "kexec_load": 246,
            "shmget": 29, "semget": 64, "msgget": 68,
            "memfd_create": 319, "memfd_secret": 447, "open_tree": 428, "move_mount": 429, "fsopen": 430,
            "name_to_handle_at": 303, "open_by_handle_at": 304,
        },
        {"clone": 56, "socket": 41, "setsockopt": 54},
    ),
    "aarch64": (
        0xC00000B7,
        {
            "ptrace": 117, "mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51,
            "unshare": 97, "setns": 268, "bpf": 280, "userfaultfd": 282, "keyctl": 219,
            "add_key": 217, "request_key": 218, "perf_event_open": 241, "io_uring_setup": 425,
            "process_vm_readv": 270, "process_vm_writev": 271, "kexec_load": 104,
            "shmget": 194, "semget": 190, "msgget": 186,
            "memfd_create": 279, "memfd_secret": 447, "open_tree": 428, "move_mount": 429, "fsopen": 430,
            "name_to_handle_at": 264, "open_by_handle_at": 265,
        },
        {"clone": 220, "socket": 198, "setsockopt": 208},
    ),
}  # fmt: skip
_CLONE3: Final = 435
_BUFFERS: Final = (
    7,
    8,
    32,
    33,
)  # SO_SNDBUF, SO_RCVBUF, and the same by force: memory of no process
_X32: Final = 0x40000000  # x86-64's second set of numbers for the same calls


def _filter(machine: str) -> bytes:
    """The program of the filter: BPF instructions (code, jump if true, jump if false, constant)."""
    architecture, refused, looked_at = _CALLS[machine]
    load, equal, greater, any_of, answer = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, end = 0x7FFF0000, 0x80000000  # the process's end
    refuse, unknown = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
    no_family = 0x00050000 | errno.EAFNOSUPPORT
    number, first_argument, third = 0, 16, 32  # where they stand in what the kernel shows
    found = [
        (load, 0, 0, 4),
        (equal, 1, 0, architecture),
        (answer, 0, 0, end),
        (load, 0, 0, number),
    ]
    if machine == "x86_64":
        found += [(greater, 0, 1, _X32), (answer, 0, 0, refuse)]
    for one in sorted(refused.values()):
        found += [(equal, 0, 1, one), (answer, 0, 0, refuse)]
    found += [
        (equal, 0, 1, _CLONE3),
        (answer, 0, 0, unknown),
    ]  # whose flags cannot be seen: libc takes clone
    found += [
        (equal, 0, 3, looked_at["clone"]),
        (load, 0, 0, first_argument),
        (any_of, 0, 1, NEWUSER),
        (answer, 0, 0, refuse),
    ]
    found += [
        (load, 0, 0, number),
        (equal, 0, 3, looked_at["socket"]),
        (load, 0, 0, first_argument),
        (equal, 1, 0, socket.AF_UNIX),
        (answer, 0, 0, no_family),
    ]
    found += [
        (load, 0, 0, number),
        (equal, 0, 2 + 2 * len(_BUFFERS), looked_at["setsockopt"]),
        (load, 0, 0, third),
        *(line for one in _BUFFERS for line in ((equal, 0, 1, one), (answer, 0, 0, refuse))),
        (answer, 0, 0, allow),
    ]
    found.append((answer, 0, 0, allow))
    return b"".join(struct.pack("HBBI", *one) for one in found)


def refuse_calls() -> bool:
    """Take the calls of ``_CALLS`` from this process and its children, for good; whether it could."""
    if os.uname().machine not in _CALLS:
        return False
    program = _filter(os.uname().machine)
    code = ctypes.create_string_buffer(program, len(program))
    order = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    given = ctypes.create_string_buffer(order, len(order))
    libc = _libc()
    alone = libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    return bool(alone and libc.prctl(_SECCOMP, 2, ctypes.byref(given), 0, 0) == 0)


# All that came of a process


def descendants(of: int) -> list[int]:
    """Process numbers as /proc has them; none where it counts as another PID namespace does."""
    children: dict[int, list[int]] = {}
    with contextlib.suppress(OSError):
        if str(Path("/proc/self").readlink()) != str(os.getpid()):
            return []
    for name in _numbers():
        with contextlib.suppress(OSError, ValueError, IndexError):
            text = Path(f"/proc/{name}/stat").read_text("utf-8", "replace")
            children.setdefault(int(text.rpartition(")")[2].split()[1]), []).append(int(name))
    found = [of]
    for pid in found:
        found += children.get(pid, [])
    return found[1:]


def _numbers() -> list[str]:
    with contextlib.suppress(OSError):
        return [name for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 (a look a tick)
    return []


def end_descendants() -> None:
    """Of this process, to the last."""
    while found := descendants(os.getpid()):
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.001)


def own_data() -> int:
    """Bytes that this process may write to and shares with nobody, as RLIMIT_DATA counts them."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[5]) * os.sysconf("SC_PAGE_SIZE")


def memory(pids: Iterable[int], limit: int) -> int:
    """Bytes that these processes hold together; exact only above ``limit``: to count what they share takes long."""
    page = os.sysconf("SC_PAGE_SIZE")
    resident, pids = 0, list(pids)
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError):
            resident += int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * page
    if resident <= limit:
        return resident
    shared_out = 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError):
            text = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii")
            line = next(line for line in text.splitlines() if line.startswith("Pss:"))
            shared_out += int(line.split()[1]) * 1024
    return shared_out or resident


AVAILABLE: Final = sys.platform.startswith("linux")
