"""What jobs do to the sandbox; light to import, as every child does so."""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path


def job(order):
    """What the child runs: the deed that the order names."""
    return _DEEDS[order["do"]](order)


def prepare(order):
    """What a visitor makes of its first request, whose requests are apart."""
    held = [order["first"]]

    def job_apart(order):
        held.append(order["do"])
        if order["do"] == "held":
            return held
        return _DEEDS[order["do"]](order)

    return job_apart


def printed(order):
    """What a program prints, run in a folder."""
    os.chdir(order["folder"])
    with contextlib.redirect_stdout(io.StringIO()) as output:
        exec(order["code"], {"__name__": "__main__"})
    return output.getvalue()


def _sleep(order):
    while True:
        time.sleep(0.01)


def _spin(order):
    while True:
        pass


def _patch(order):
    json.dumps = json.loads = None
    json.JSONEncoder.encode = None
    os.write = os.replace = os.open = os._exit = None
    sys.stdout = sys.stderr = sys.exit = None
    return "patched"


def _noise(order):
    os.write(1, b"x" * 100_000)
    os.write(2, b"y" * 100_000)
    print("z" * 100_000, file=sys.stderr)
    return "noisy"


def _connect(order):
    with socket.socket() as client:
        client.settimeout(2)
        client.connect(("127.0.0.1", order["port"]))
    return "connected"


def _write_much(order):
    with open("big", "wb") as file:  # noqa: PTH123
        for _ in range(100):
            file.write(bytes(1 << 20))


def _detach(order):
    """A sleeping grandchild in a session of its own, whose parent is gone; its mark is in ``argv``."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execv(
                sys.executable,
                [sys.executable, "-c", "import time; time.sleep(600)", order["mark"]],
            )
        os._exit(0)
    os.wait()
    time.sleep(600 if order["wait"] else 0)


def _fork(order):
    """More processes than anybody needs; a fixed number, should nobody stop it."""
    for _ in range(100):
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
    time.sleep(60)


def _hold(order):
    """In four processes, each within its own limit."""
    for _ in range(3):
        if os.fork() == 0:
            break
    held = bytearray(100 << 20)
    for at in range(0, len(held), 4096):
        held[at] = 1
    time.sleep(60)


def _ignore(order):
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    _spin(order)


def _deaf(order):
    """It closes all that it holds and goes on."""
    os.closerange(3, 200)
    time.sleep(60)


def _fill(order):
    written = 0
    with contextlib.suppress(OSError):
        for number in range(100):
            with open(f"f{number}", "wb") as file:  # noqa: PTH123
                written += file.write(bytes(1 << 20))
    return written


def _harm(order):
    """End, trace and write into every process that it can name, itself apart."""
    libc = ctypes.CDLL(None)
    found = {"killed": [], "traced": [], "written": []}
    for pid in [*range(1, 60), os.getppid()]:
        if pid == os.getpid():
            continue
        with contextlib.suppress(OSError):
            os.kill(pid, 9)
            if pid != 1:  # the first process of a namespace takes no signal from within
                found["killed"].append(pid)
        if libc.ptrace(16, pid, 0, 0) == 0:
            found["traced"].append(pid)
        with contextlib.suppress(OSError):
            own = os.readlink("/proc/self") == str(pid)  # noqa: PTH115 (which may count as another namespace does)
            with open(f"/proc/{pid}/mem", "r+b"):  # noqa: PTH123
                found["written"] += [] if own else [pid]
    return found


def _connect_unix(order):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(order["address"])
    return "connected"


def _look_around(order):
    found = {"read": [], "imported": [], "written": [], "user": os.getuid()}
    for path in order["paths"]:
        with contextlib.suppress(OSError):
            found["read"].append(os.listdir(path) if os.path.isdir(path) else open(path).read())  # noqa
    for module in ("lab5.errors", "lab5.grading.suite", "tests.handin"):
        with contextlib.suppress(ImportError):
            __import__(module)
            found["imported"].append(module)
    for folder in ("/", "/dev", "/etc", "/usr", "/usr/lib", os.path.dirname(__file__), sys.prefix):  # noqa: PTH120
        with contextlib.suppress(OSError), open(f"{folder}/x", "w"):  # noqa: PTH123
            found["written"].append(folder)
    status = {}
    with open("/proc/self/status") as file:  # noqa: PTH123
        for line in file:
            name, _, value = line.partition(":")
            status[name] = value.strip()
    capabilities = sum(int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd"))
    return found | {"capabilities": capabilities, "seccomp": int(status["Seccomp"])}


def _given(order):
    path = order["archive"]
    with open(path) as file:  # noqa: PTH123
        read = file.read()
    try:
        with open(path, "r+") as file:  # noqa: PTH123
            file.write("other")
        changed = True
    except OSError:
        changed = False
    return [os.path.basename(path), read, changed]  # noqa: PTH119


def _forge(order):
    """An answer on every connection that it holds, for this request and for the next."""
    answer = b'{"ended": "done", "value": "forged"}'
    for handle in range(3, 256):
        with contextlib.suppress(OSError):
            os.write(handle, (len(answer).to_bytes(8, "big") + answer) * 2)


class _Rude(Exception):
    def __str__(self):
        raise RuntimeError


def _raise_rudely(order):
    raise _Rude


def _anonymous(order):
    """Bytes of memory of its own or its parents'."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.split("RssAnon:")[1].split()[0]) << 10


_DEEDS = {
    "anonymous": _anonymous,
    "add": lambda order: order["a"] + order["b"],
    "array": lambda order: {"x": order["x"] * 2},
    "sleep": _sleep,
    "spin": _spin,
    "exit": lambda order: os._exit(3),
    "leave": lambda order: sys.exit(3),
    "kill": lambda order: os.kill(os.getpid(), 9),
    "detach": _detach,
    "fork": _fork,
    "hold": _hold,
    "much": lambda order: "x" * (65 << 20),
    "spin on": _ignore,
    "deaf": _deaf,
    "fill": _fill,
    "harm": _harm,
    "connect unix": _connect_unix,
    "look around": _look_around,
    "forge": _forge,
    "given": _given,
    "memory": lambda order: len(bytearray(1 << 40)),
    "too much at once": lambda order: len(bytearray(300 << 20)),
    "shared": lambda order: [_made, Path(order["given"]).read_text("ascii")],
    "patch": _patch,
    "noise": _noise,
    "environment": lambda order: dict(os.environ),
    "cwd": lambda order: [os.getcwd(), os.listdir()],  # noqa: PTH208, PTH109
    "connect": _connect,
    "write": _write_much,
    "rude": _raise_rudely,
    "object": lambda order: object(),
    "recursion": lambda order: (lambda f: f(f))(lambda f: f(f)),
}


_made: list[str | bytes] = []


def waste(request):
    """What a room holds for a while, in pieces that glibc does not give back by itself."""
    pieces = [bytes(100_000) for _ in range(1000)]
    _made.append(pieces[-1])  # behind them all


def share(request):
    """In the room, for its visitors."""
    _made.append(request["word"] + Path(request["given"]).read_text("ascii"))
