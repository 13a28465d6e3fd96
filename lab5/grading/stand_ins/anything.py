"""Stand-ins for libraries that a notebook may import and that need not be installed beside lab5.

Of torchvision and OpenCV what prepares a picture is there, by Pillow and PyTorch; tqdm passes its
argument on; the rest answers to everything with itself. A library that is installed is used itself.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from lab5.assignment import IMAGE_SIZE, INPUT_NAME

# A module by another name is a file of the student's that is not in the zip.
LIBRARIES: Final = {
    "cv2", "google", "imageio", "ipywidgets", "IPython", "kaggle", "matplotlib",
    "onnxruntime_tools", "onnxsim", "openvino", "pandas", "plotly", "psutil", "requests",
    "scipy", "seaborn", "skimage", "sklearn", "spaces", "tensorflow", "thop", "timm",
    "torchaudio", "torchinfo", "torchsummary", "torchvision", "tqdm",
}  # fmt: skip
_COMPLETE: Final = {"tqdm", "google", "matplotlib", "IPython"}  # what they do changes no result


class Anything:
    """Answers to everything with itself: for what cannot be imported and what need not run."""

    def __init__(self, name: str = "") -> None:
        self.__dict__["__name__"] = name or "stand_in"
        self.rewind()

    def rewind(self) -> None:
        self.__dict__["__left__"] = 1

    def get_next(self) -> dict[str, np.ndarray] | None:
        """As a calibration reader: one batch of plain grey, then the end."""
        left, self.__dict__["__left__"] = self.__dict__["__left__"], 0
        return {INPUT_NAME: np.zeros((1, 3, IMAGE_SIZE, IMAGE_SIZE), np.float32)} if left else None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        pass

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self

    def __getitem__(self, key: Any) -> Any:
        return self

    def __iter__(self) -> Any:
        return iter(())

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *args: Any) -> None:
        pass

    def __mro_entries__(self, bases: Any) -> tuple[type, ...]:
        return (object,)


class _Library(types.ModuleType):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__: list[str] = []
        top, _, rest = name.partition(".")
        if top == "torchvision" and rest.startswith("transforms"):
            self.__dict__.update(_functional() if rest.endswith("functional") else _transforms())
        elif top == "cv2":
            self.__dict__.update(_opencv())
        elif top == "tqdm":
            self.__dict__.update(tqdm=_passed_on, tqdm_notebook=_passed_on, trange=range)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if self.__name__ in ("torchvision", "torchvision.transforms") and name in (
            "transforms",
            "functional",
            "v2",
        ):
            return importlib.import_module(f"{self.__name__}.{name}")
        return Anything(name)


class _Importer(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self) -> None:
        self.absent: set[str] = set()

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        top = name.partition(".")[0]
        if top not in LIBRARIES:
            return None
        if top not in _COMPLETE:
            self.absent.add(top)
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: Any) -> types.ModuleType:
        return _Library(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def install() -> set[str]:
    """Stand in for what is not installed; the names of those used so far, the set grows."""
    importer = _Importer()
    sys.meta_path.append(importer)  # last: what is installed is found before
    return importer.absent


def _passed_on(items: Any = (), *args: Any, **kwargs: Any) -> Any:
    return items


# torchvision.transforms


def _size(size: Any) -> tuple[int, int] | int:
    """(height, width); a single number is the shorter side."""
    if isinstance(size, Sequence) and len(size) == 1:
        size = size[0]
    return size if isinstance(size, int) else (int(size[0]), int(size[1]))


def _resize(picture: Any, size: Any, interpolation: Any = None, *args: Any, **kwargs: Any) -> Any:
    from PIL import Image

    wanted = _size(size)
    how = interpolation if isinstance(interpolation, int) else Image.Resampling.BILINEAR
    if isinstance(wanted, int):
        width, height = picture.size
        scale = wanted / min(width, height)
        wanted = (int(height * scale), int(width * scale))
    return picture.resize(wanted[::-1], how)


def _center_crop(picture: Any, size: Any) -> Any:
    wanted = _size(size)
    height, width = wanted if isinstance(wanted, tuple) else (wanted, wanted)
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))


def _pil_to_tensor(picture: Any) -> Any:
    import torch

    pixels = np.array(picture)
    return torch.from_numpy(pixels.reshape(*pixels.shape[:2], -1)).permute(2, 0, 1).contiguous()


def _to_tensor(picture: Any) -> Any:
    return _pil_to_tensor(picture).float() / 255


def _normalize(tensor: Any, mean: Any, std: Any, inplace: bool = False) -> Any:
    import torch

    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"img should be Tensor Image. Got {type(tensor)}")
    values = [torch.as_tensor(np.asarray(v, np.float32)).view(-1, 1, 1) for v in (mean, std)]
    return (tensor - values[0]) / values[1]


def _functional() -> dict[str, Callable[..., Any]]:
    return {
        "resize": _resize,
        "center_crop": _center_crop,
        "pil_to_tensor": _pil_to_tensor,
        "to_tensor": _to_tensor,
        "normalize": _normalize,
    }


def _transform(function: Callable[..., Any]) -> Callable[..., Any]:
    """``Resize(size)(picture)`` for ``resize(picture, size)``."""

    def make(*args: Any, **kwargs: Any) -> Callable[[Any], Any]:
        return lambda picture: function(picture, *args, **kwargs)

    return make


def _compose(steps: Sequence[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    def run(picture: Any) -> Any:
        for step in steps:
            picture = step(picture)
        return picture

    return run


def _transforms() -> dict[str, Any]:
    from PIL import Image

    return {
        "Compose": _compose,
        "Resize": _transform(_resize),
        "CenterCrop": _transform(_center_crop),
        "PILToTensor": _transform(_pil_to_tensor),
        "ToTensor": _transform(_to_tensor),
        "Normalize": _transform(_normalize),
        "Lambda": lambda function: function,
        "ConvertImageDtype": lambda dtype: lambda tensor: (tensor / 255).to(dtype),
        "InterpolationMode": Image.Resampling,
    }


# OpenCV


def _opencv() -> dict[str, Any]:
    from PIL import Image

    filters = {
        "INTER_NEAREST": Image.Resampling.NEAREST,
        "INTER_LINEAR": Image.Resampling.BILINEAR,
        "INTER_CUBIC": Image.Resampling.BICUBIC,
        "INTER_AREA": Image.Resampling.BOX,
        "INTER_LANCZOS4": Image.Resampling.LANCZOS,
    }

    def resize(src: Any, dsize: Any, *args: Any, interpolation: Any = 2, **kwargs: Any) -> Any:
        pixels = np.asarray(src)
        planes = pixels.reshape(*pixels.shape[:2], -1)
        done = [
            np.asarray(Image.fromarray(planes[..., i]).resize(tuple(dsize), interpolation))
            for i in range(planes.shape[2])
        ]
        return np.stack(done, -1) if pixels.ndim == 3 else done[0]

    def convert(src: Any, code: str, *args: Any) -> Any:
        pixels = np.asarray(src)
        before, _, after = code.partition("2")
        if before == "GRAY":
            return np.stack([pixels] * 3, -1)
        if before == "RGBA" or before == "BGRA":
            pixels, before = pixels[..., :3], before[:3]
        if after == "GRAY":
            rgb = pixels if before == "RGB" else pixels[..., ::-1]
            return np.asarray(Image.fromarray(rgb).convert("L"))
        return pixels if before == after else np.ascontiguousarray(pixels[..., ::-1])

    codes = [
        f"{a}2{b}" for a in ("RGB", "BGR", "RGBA", "BGRA", "GRAY") for b in ("RGB", "BGR", "GRAY")
    ]
    return {
        **filters,
        **{f"COLOR_{code}": code for code in codes},
        "resize": resize,
        "cvtColor": convert,
    }
