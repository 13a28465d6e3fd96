"""gradio, imported as a public page needs it; to be imported before anything else of gradio."""

import inspect
import os
from typing import Any
from unittest import mock

# Read when gradio is imported or an interface is built.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["GRADIO_FLAGGING_MODE"] = "never"
os.environ["GRADIO_ANALYTICS_MAX_EVENTS"] = "1"  # for the monitoring page, which is closed
os.environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"] = "1000000"  # requests: each would cost a summary

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
