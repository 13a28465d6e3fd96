"""What goes in and out of a room: JSON with numpy arrays, in frames of a stated length."""

from __future__ import annotations

import base64
import json
import math
import re
import socket
import struct
import time
from collections.abc import Callable
from typing import Any, Final

MOST: Final = 64 << 20  # bytes of a message
TICK: Final = 0.1  # seconds between two looks at the rest of the world
_HEAD: Final = struct.Struct(">Q")
_DTYPE: Final = re.compile(r"[<>|][biuf][1248]")


def _pack(value: Any) -> Any:
    import numpy as np

    if isinstance(value, np.generic):
        value = value.item()
        return value if isinstance(value, bool | int | float | str) else repr(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        data = np.ascontiguousarray(value)
        coded = base64.b64encode(data.tobytes()).decode("ascii")
        return {"__array__": coded, "dtype": data.dtype.str, "shape": data.shape}
    return repr(value)[:200]


def _unpack(value: dict[str, Any]) -> Any:
    if "__array__" not in value:
        return value
    import numpy as np

    if not _DTYPE.fullmatch(value["dtype"]):
        raise ValueError(f"dtype {value['dtype']}")
    data = np.frombuffer(base64.b64decode(value["__array__"]), value["dtype"])
    return data.reshape(value["shape"])


# Bound once, before any foreign code runs: what it patches in ``json`` costs nothing.
dumps: Final = json.JSONEncoder(default=_pack).encode
loads: Final = json.JSONDecoder(object_hook=_unpack).decode


def describe(error: BaseException) -> str:
    """A foreign exception in one short line; its own ``__str__`` may fail."""
    try:
        text = " ".join(str(error)[:2000].split())
    except BaseException:
        text = "?"
    return f"{type(error).__name__}: {text}"[:300]


def answered(
    function: Callable[[Any], Any],
    request: bytes,
    given: dict[str, str],
    *,
    read: Callable[[str], Any] = loads,
    write: Callable[[Any], str] = dumps,
    say: Callable[[BaseException], str] = describe,
) -> bytes:
    """What ``function`` answers to a request with these files, or what it raises, as a message.

    All that it needs is bound beforehand: see ``dumps``.
    """
    try:
        found = write({"ended": "done", "value": function(read(request.decode()) | given)})
    except BaseException as error:
        found = write({"ended": "raised", "error": say(error)})
    return found.encode("utf-8", "backslashreplace")


def send(to: socket.socket, data: bytes, *, until: float = math.inf) -> None:
    """One frame.

    Raises:
        OSError: nobody is there (BrokenPipeError) or reads (TimeoutError).
    """
    to.settimeout(None if until == math.inf else max(0.001, until - time.monotonic()))
    to.sendall(_HEAD.pack(len(data)) + data)


def receive(
    from_: socket.socket,
    *,
    most: int = MOST,
    until: float = math.inf,
    look: Callable[[], None] | None = None,
) -> bytes:
    """One frame; ``look`` is called every ``TICK`` seconds meanwhile.

    Raises:
        EOFError: the other end is closed.
        TimeoutError: it is not complete at ``until``, by ``time.monotonic``.
        ValueError: it is longer than ``most`` bytes.
    """
    data = bytearray()
    want = _HEAD.size
    while len(data) < want:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        from_.settimeout(min(left, TICK))
        try:
            found = from_.recv(min(want - len(data), 1 << 20))
        except TimeoutError:
            if look:
                look()
            continue
        except ConnectionError:
            raise EOFError from None
        if not found:
            raise EOFError
        data += found
        if want == _HEAD.size == len(data):
            (size,) = _HEAD.unpack(data)
            if size > most:
                raise ValueError(f"{size} bytes")
            want += size
    return bytes(data[_HEAD.size :])
