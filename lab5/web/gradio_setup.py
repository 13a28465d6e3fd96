"""gradio, imported as a public page needs it; to be imported before anything else of gradio."""

import inspect
import os
import sys
from typing import Any
from unittest import mock

import httpx

from lab5.text import Text

# Read when gradio is imported or an interface is built.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["GRADIO_FLAGGING_MODE"] = "never"
os.environ["GRADIO_ANALYTICS_MAX_EVENTS"] = "1"  # for the monitoring page, which is closed
os.environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"] = "1000000"  # requests: each would cost a summary


def reach_directly(*hosts: str) -> None:
    """Except addresses of this machine from the proxies: gradio asks its own page over HTTP."""
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), *hosts]))


def _without_unusable_proxies() -> None:
    """httpx fails at its first use, gradio at its import, where one proxy has a form it cannot use."""
    try:
        httpx.Client().close()
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        for name in list(os.environ):
            if name.lower() in ("http_proxy", "https_proxy", "all_proxy"):
                del os.environ[name]
        note = Text(
            f"The proxy in the environment cannot be used and is left out: {error}",
            f"環境變數中的代理伺服器無法使用，已略過：{error}",
        )
        print(note, file=sys.stderr)


reach_directly("localhost", "127.0.0.1", "::1")
_without_unusable_proxies()

_getfile = inspect.getfile


def _hiding_gradio(thing: Any) -> str:
    """gradio writes a .pyi file for each class of its own whose source it finds: half of its import."""
    if getattr(thing, "__module__", "").startswith("gradio."):
        raise OSError
    return _getfile(thing)


with mock.patch("inspect.getfile", _hiding_gradio):
    import gradio as gr
    from gradio.data_classes import FileData

__all__ = ["FileData", "gr"]
