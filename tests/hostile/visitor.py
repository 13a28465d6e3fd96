"""Attacks of one probe on the process that makes them all, and on those that come later."""

from __future__ import annotations

from tests.hostile.core import LATE, SOON, code


def _sending(head: str, body: str) -> str:
    """Code that sends these bytes on every connection that a probe holds, in place of its answer."""
    return f"""
    import stat
    body = {body}
    frame = {head}.to_bytes(8, "big") + body
    for number in range(3, 64):
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                socket.socket(fileno=os.dup(number)).sendall(frame)
    os._exit(0)
    """


@code(quick=True)
def end_the_visitor() -> str:
    """In every probe."""
    return "os.kill(os.getppid(), signal.SIGKILL)"


@code(deadline=SOON, says=LATE)
def stop_the_visitor() -> str:
    """It answers nobody any more."""
    return "os.kill(os.getppid(), signal.SIGSTOP); threading.Event().wait()"


@code()
def an_answer_of_many_small_things() -> str:
    """63 MB that are a hundred times as much when they are read."""
    things = """b'{"ended":"done","value":{"a":[' + b'{},' * (20 << 20) + b'{}]}}'"""
    return _sending("len(body)", things)


@code()
def an_answer_of_one_long_text() -> str:
    """62 MB, each character written with another before it."""
    text = r"""b'{"ended":"done","value":{"a":"' + b'\\"' * (31 << 20) + b'"}}'"""
    return _sending("len(body)", text)


@code()
def a_frame_that_never_comes() -> str:
    """2^62 bytes, by its head."""
    return _sending("(1 << 62)", 'b"{}"')


@code()
def segments_of_memory_that_no_process_holds() -> str:
    """System V's, which last until somebody takes them away."""
    return """
    libc = ctypes.CDLL(None)
    held = [libc.shmget(0, 64 << 20, 0o1600) for _ in range(3)]
    max(held) >= 0 and won("a segment")
    """


@code()
def memory_of_sockets() -> str:
    """Buffers that count as nobody's."""
    return """
    with socket.socketpair()[0] as one:
        for name in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            with contextlib.suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, name, 4 << 20)
                won("a larger buffer")
    with contextlib.suppress(OSError):
        socket.socket(socket.AF_INET)
        won("a socket of the network")
    """


@code()
def limits_of_the_visitor() -> str:
    """None of its processes may do anything any more."""
    return """
    import resource
    for pid in (os.getppid(), 1):
        for limit in (resource.RLIMIT_AS, resource.RLIMIT_NPROC, resource.RLIMIT_NOFILE):
            with contextlib.suppress(OSError, ValueError):
                resource.prlimit(pid, limit, (0, 0))
    """


@code()
def folders_for_later_probes() -> str:
    """Nobody can enter them."""
    return """
    for place in (os.path.dirname(os.getcwd()), "/tmp", "/dev/shm"):
        with contextlib.suppress(OSError):
            os.chmod(place, 0)
    """


@code()
def no_room_for_later_probes() -> str:
    """All that can be written to is full."""
    return """
    for place in (os.path.dirname(os.getcwd()), "/tmp", "/dev/shm"):
        with contextlib.suppress(OSError):
            with open(place + "/full", "xb") as file:  # the first probe's lasts
                for _ in range(600):
                    file.write(bytes(1 << 20))
        with contextlib.suppress(OSError):
            for number in range(30_000):
                os.mknod(f"{place}/{number}")
    """
