"""What jobs do to the sandbox; light to import, as every child does so."""

from __future__ import annotations

import json
import os
import socket
import sys
import time


def job(order):
    """What the child runs: the deed that the order names."""
    return _DEEDS[order["do"]](order)


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


def _fifo(order):
    """In the place of results, whatever is written there later."""
    folder = os.path.dirname(os.getcwd())  # noqa: PTH120, PTH109
    for index in range(3):
        os.mkfifo(os.path.join(folder, f"result-{index}.json"))  # noqa: PTH118
    os.kill(os.getpid(), 9)


class _Rude(Exception):
    def __str__(self):
        raise RuntimeError


def _raise_rudely(order):
    raise _Rude


_DEEDS = {
    "add": lambda order: order["a"] + order["b"],
    "array": lambda order: {"x": order["x"] * 2},
    "sleep": _sleep,
    "spin": _spin,
    "exit": lambda order: os._exit(3),
    "leave": lambda order: sys.exit(3),
    "kill": lambda order: os.kill(os.getpid(), 9),
    "kill parent": lambda order: os.kill(os.getppid(), 9) or time.sleep(60),
    "detach": _detach,
    "fifo": _fifo,
    "memory": lambda order: len(bytearray(1 << 40)),
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
