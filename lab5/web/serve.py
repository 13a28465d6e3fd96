"""Serving a page until it is interrupted."""

from __future__ import annotations

import functools
import socket
from typing import TYPE_CHECKING

from lab5.app import launch_public
from lab5.cli import console
from lab5.errors import AppError
from lab5.text import Text

if TYPE_CHECKING:
    import gradio as gr


def serve(demo: gr.Blocks, *, share: bool, host: str, port: int | None) -> None:
    """Serve until interrupted; without a share server in reach, say so and serve locally.

    Raises:
        AppError: the address cannot be used.
    """
    from lab5.web.gradio_setup import reach_directly

    host = host.strip("[]")
    reach_directly(host)
    demo.launch = functools.partial(  # type: ignore[method-assign]
        demo.launch,
        server_name=f"[{host}]" if ":" in host else host,  # as in an address of a browser
        server_port=port,
        prevent_thread_lock=True,
    )
    try:
        _try_address(host, port)
        if share:
            launch_public(demo)
        else:
            demo.launch(share=False)
    except Exception as error:  # gradio and httpx raise a type of their own for each fault
        raise AppError(
            f"The page cannot be served at {host}:{port or '7860 to 7959'}: {error}. "
            "Choose another --port or --host.",
            zh=f"無法在 {host}:{port or '7860 到 7959'} 提供網頁。請換一個 --port 或 --host。",
        ) from error
    if share and not demo.share_url:
        note = Text(
            f"No share server in reach: serving locally only, at {demo.local_url}",
            f"連不上公開連結的伺服器，只在本機提供：{demo.local_url}",
        )
        console.print(str(note))
    demo.block_thread()


def _try_address(host: str, port: int | None) -> None:
    """gradio itself tries 100 ports, 5 seconds each, where an address is none of this machine's.

    Raises:
        OSError, UnicodeError: the name does not resolve, or nothing can be served there.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port or 0, type=socket.SOCK_STREAM)[0]
    socket.create_server(address, family=family).close()
