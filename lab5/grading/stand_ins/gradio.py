"""gradio, as a notebook meets it: whatever it makes with it is remembered."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import types
from typing import Any

from lab5.grading.stand_ins.anything import Anything


class GradioError(Exception):
    """What ``raise gr.Error(...)`` raises."""


class Component:
    """Anything made with gradio: remembers how it was made and what was called on it."""

    def __init__(self, log: list[Component], kind: str, args: Any, kwargs: Any) -> None:
        self.kind, self.args, self.kwargs = kind, args, kwargs
        self.calls: list[tuple[str, Any, Any]] = []
        self._log = log
        log.append(self)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def method(*args: Any, **kwargs: Any) -> Any:
            self.calls.append((name, args, kwargs))
            return (self, "http://127.0.0.1:7860", None) if name == "launch" else self

        return method

    def __enter__(self) -> Component:
        return self

    def __exit__(self, *args: Any) -> None:
        pass


class Gradio(types.ModuleType):
    """A module in gradio's place: every name in it makes a ``Component``."""

    def __init__(self, name: str = "gradio", log: list[Component] | None = None) -> None:
        super().__init__(name)
        self.__path__: list[str] = []
        self.__version__ = "6.0.0"
        self.made: list[Component] = [] if log is None else log
        self.Error = GradioError

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in ("themes", "components", "inputs", "outputs", "templates", "blocks"):
            return sys.modules.setdefault(f"gradio.{name}", Gradio(f"gradio.{name}", self.made))
        if name in ("Progress", "Warning", "Info", "State", "Request"):
            return Anything(name)
        return lambda *args, **kwargs: Component(self.made, name, args, kwargs)


class _GradioImporter(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, module: Gradio) -> None:
        self.module = module

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name == "gradio" or name.startswith("gradio."):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: Any) -> types.ModuleType:
        if spec.name == "gradio":
            return self.module
        return Gradio(spec.name, self.module.made)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def install() -> Gradio:
    module = Gradio()
    sys.modules.pop("gradio", None)
    sys.meta_path.insert(0, _GradioImporter(module))
    return module
