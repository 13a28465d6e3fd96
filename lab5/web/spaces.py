"""A page that outlives the share link: a folder that Hugging Face Spaces runs as it is.

The folder carries the page's own modules, so what runs there is what runs here.
"""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import sys
from pathlib import Path
from typing import Final

from lab5.assignment import APP_TITLE, CHANGES, VARIABLE
from lab5.errors import UsageError
from lab5.files import model_files
from lab5.text import Text

# All that the page needs at run time: nothing of torch, nothing that makes models.
MODULES: Final = (
    "__init__",
    "app",
    "assignment",
    "assignment_file",
    "compare",
    "errors",
    "files",
    "preprocess",
    "session",
    "text",
    "web/__init__",
    "web/decoding",
    "web/examples",
    "web/gradio_setup",
    "web/page",
    "web/uploads",
)
REQUIREMENTS: Final = (
    *("gradio", "numpy", "onnx", "onnxruntime", "pillow", "pillow-heif"),
    *(("tomli",) if sys.version_info < (3, 11) else ()),
)

_APP: Final = '''"""The page, as Hugging Face Spaces starts it."""

{environ}from pathlib import Path

{assignment}from lab5.web.page import build_demo

here = Path(__file__).parent
demo = build_demo(here / "fp32" / {fp32}, here / "int8" / {int8})

if __name__ == "__main__":
    demo.launch()
'''
_ASSIGNMENT: Final = f'''os.environ["{VARIABLE}"] = str(Path(__file__).with_name("assignment.toml"))

'''

_ABOUT: Final = Text(
    "Compares an FP32 and an INT8 model on your picture.", "比較 FP32 與 INT8 模型對圖片的分類。"
)
_PUBLISH: Final = Text(
    "To publish: make a Gradio Space at https://huggingface.co/new-space and push this folder's content.",
    "上傳方式：在 https://huggingface.co/new-space 建立 Gradio Space，再把這個資料夾的內容推送上去。",
)
_README: Final = """---
title: {title}
emoji: 🖼️
colorFrom: blue
colorTo: green
sdk: gradio
sdk_version: {gradio}
python_version: "{python}"
app_file: app.py
pinned: false
---

# {title}

{about}

{publish}
"""


def export_space(fp32: Path, int8: Path, out: Path) -> list[Path]:
    """Write app, requirements, README header, modules and both models into ``out``.

    Each model gets a folder of its own, as both may call a data file by the same name.

    Raises:
        UsageError: ``out`` is there already and not empty, or is no folder; or a model's files are
            not all there (``model_files``).
    """
    models = {"fp32": (fp32, model_files(fp32)), "int8": (int8, model_files(int8))}
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UsageError(
            f"{out} is there already. Give a new folder, so that nothing is overwritten.",
            zh=f"{out} 已經存在。請指定新的資料夾，以免覆蓋檔案。",
        )
    package, ours = out / "lab5", Path(__file__).parents[1]
    (package / "web").mkdir(parents=True)
    for name in MODULES:
        shutil.copyfile(ours / f"{name}.py", package / f"{name}.py")
    for folder, (model, files) in models.items():
        for file in files:
            copy = out / folder / file.relative_to(model.parent)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    versions = {name: importlib.metadata.version(name) for name in REQUIREMENTS}
    (out / "requirements.txt").write_text(
        "".join(f"{name}=={version}\n" for name, version in versions.items())
    )
    shutil.copyfile(ours / "assignment.toml", package / "assignment.toml")
    app = {"environ": "", "assignment": ""}
    if CHANGES:
        (out / "assignment.toml").write_text(CHANGES, encoding="utf-8")
        app = {"environ": "import os\n", "assignment": _ASSIGNMENT}
    app |= {"fp32": repr(fp32.name), "int8": repr(int8.name)}
    (out / "app.py").write_text(_APP.format(**app), encoding="utf-8")
    python = ".".join(platform.python_version_tuple()[:2])
    readme = _README.format(
        title=APP_TITLE,
        gradio=versions["gradio"],
        python=python,
        about=_ABOUT,
        publish=_PUBLISH,
    )
    (out / "README.md").write_text(readme, encoding="utf-8")
    return sorted(file for file in out.rglob("*") if file.is_file())
