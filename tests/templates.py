"""Templates with every kind of blank, made from the fixture by edits; a name says which blanks."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from typing import Any

from tests.conftest import FIXTURES

BASE: dict[str, Any] = json.loads((FIXTURES / "EAI_lab5.ipynb").read_text(encoding="utf-8"))
Notebook = dict[str, Any]


def source(notebook: Notebook, number: int) -> str:
    return "".join(notebook["cells"][number]["source"])


def edited(*edits: tuple[int, str, str], base: Notebook = BASE) -> Notebook:
    """The fixture with texts replaced in its cells; a text that is not there is our own fault."""
    notebook = copy.deepcopy(base)
    for number, old, new in edits:
        text = source(notebook, number)
        assert old in text, (number, old)
        notebook["cells"][number]["source"] = text.replace(old, new).splitlines(keepends=True)
    return notebook


def every_cell(change: Callable[[str], str], base: Notebook = BASE) -> Notebook:
    notebook = copy.deepcopy(base)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["source"] = change("".join(cell["source"]))
    return notebook


# What stands in the fixture
DESIGN = "# Design Your ResNet18 Model"
EXPORT = "    # Todo : Export ONNX FILE\n\n    pass\n"
QUANTIZE = "    quantize_static(\n\n    )\n"
SESSION = "providers):\n  return\n"
GUARD = (
    "    if not isinstance(image, Image.Image):\n"
    '        raise TypeError("preprocess expects a PIL image")\n'
)
PREPROCESS = f"{GUARD}\n\n    return arr\n"
INTERFACE = (
    "demo = gr.Interface(\n    fn = compare_fp32_int8,\n    inputs = ,\n    outputs = ,\n"
    "    title = ,\n    description = \n)\n"
)
LAUNCH = "    # TODO : building a public web"
SOFTMAX = "    p_fp32 = softmax_np()\n    p_int8 = softmax_np()\n"
GIVEN_SOFTMAX = (
    "    x = np.asarray(x).reshape(-1)\n    e = np.exp(x - x.max())\n    return e / e.sum()\n"
)
READER = "                yield np.random.randn(self.batch_size, 3, 32, 32).astype(np.float32)\n"
BLOCKS = (
    "class BasicBlock(nn.Module):\n    def __init__(self, in_channels, out_channels, stride=1):\n"
    "        super(BasicBlock, self).__init__()\n        {0}\n\n    def forward(self, x):\n        {0}\n\n\n"
    "class ResNet18(nn.Module):\n    def __init__(self, {1}num_classes=10):\n        {0}\n\n"
    "    def _make_layer(self, {2}planes, num_blocks, stride):\n        {0}\n\n"
    "    def forward(self, x):\n        {0}\n"
)


def _metadata_missing() -> Notebook:
    notebook = copy.deepcopy(BASE)
    del notebook["metadata"]
    for number, cell in enumerate(notebook["cells"]):
        cell.pop("outputs", None)
        cell.pop("execution_count", None)
        del cell["metadata"]
        cell["id"] = f"c{number}"  # in a notebook of 4.0
    notebook["cells"][0]["source"] = "# 2025 EAI Lab 5 \ud83d"
    return notebook


def _run_in_vscode() -> Notebook:
    notebook = copy.deepcopy(BASE)
    notebook |= {"nbformat_minor": 5}
    notebook["metadata"]["vscode"] = {"interpreter": {"hash": "x"}}
    for number, cell in enumerate(notebook["cells"]):
        cell["id"] = f"c{number % 9}"  # some of them twice
        cell["source"] = "".join(cell["source"])
        if cell["cell_type"] == "code":
            cell["execution_count"] = number
            cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "x"}]
    return notebook


TEMPLATES: dict[str, Notebook] = {
    "as_handed_out": BASE,
    "pass_everywhere": edited(
        (3, DESIGN, f"{DESIGN}\nclass BasicBlock(nn.Module):\n    pass\n\n\nclass ResNet18(nn.Module):\n    # 提醒：參考 resnet18.py\n    pass"),
        (6, QUANTIZE, "    pass\n"),
        (7, SESSION, "providers):\n    pass\n"),
        (10, PREPROCESS, "    pass\n"),
        (10, INTERFACE, "pass\n"),
        (10, LAUNCH, f"{LAUNCH}\n    pass"),
    ),
    "dots_everywhere": edited(
        (3, DESIGN, f"{DESIGN}\nclass BasicBlock(nn.Module): ...\n\n\nclass ResNet18(nn.Module): ..."),
        (4, "    pass\n", "    ...\n"),
        (6, QUANTIZE, "    quantize_static(...)\n"),
        (7, SESSION, "providers): ...\n"),
        (10, PREPROCESS, f"{GUARD}    ...\n"),
        (10, SOFTMAX, "    p_fp32 = ...\n    p_int8 = ...\n"),
        (10, INTERFACE, "demo = gr.Interface(...)\n"),
        (10, LAUNCH, f"{LAUNCH}\n    ..."),
    ),
    "nothing_below_the_markers": edited(
        (4, EXPORT, "    # Todo : Export ONNX FILE\n"),
        (6, QUANTIZE, ""),
        (7, SESSION, "providers):\n"),
        (10, PREPROCESS, GUARD),
        (10, SOFTMAX, ""),
        (10, INTERFACE, ""),
    ),
    "no_definitions_below_the_markers": edited(
        (7, f"def build_session(model_path, {SESSION}", ""),
        (10, f'def preprocess(image):\n    """PIL 圖片 -> (1, 3, 32, 32) float32"""\n{PREPROCESS}', ""),
        (10, LAUNCH, f"{LAUNCH}\n    demo.launch()"),
    ),
    "block_fixed_and_methods_without_bodies": edited(
        (3, DESIGN, DESIGN + "\n" + BLOCKS.format("", "", "")),
        (4, "ResNet18(ResBlock=BasicBlock, num_classes=10)", "ResNet18(num_classes=10)"),
        (7, SESSION, "providers):\n  return None\n"),
    ),
    "block_positional_and_hollow_methods": edited(
        (3, DESIGN, DESIGN + "\n" + BLOCKS.format("pass", "block, ", "block, ")),
        (4, "ResNet18(ResBlock=BasicBlock, num_classes=10)", "ResNet18(BasicBlock, 10)"),
    ),
    "block_called_ResBlock_and_axis_one": edited(
        (4, "ResBlock=BasicBlock", "ResBlock"),
        (10, GIVEN_SOFTMAX, "    e = np.exp(x - x.max(axis=1, keepdims=True))\n    return (e / e.sum(axis=1, keepdims=True))[0]\n"),
    ),
    "block_fixed_classes_missing_softmax_of_one": edited(
        (4, "ResBlock=BasicBlock, ", ""),
        (10, GIVEN_SOFTMAX, "    e = np.exp(x - np.max(x))\n    return e / e.sum()\n"),
    ),
    "calls_half_filled": edited(
        (4, "    # TODO : load state dict\n", "    # TODO : load state dict\n    model.load_state_dict()\n    model.eval()\n"),
        (4, "    pass\n", '    torch.onnx.export(\n        model, dummy, "image_classifier_model.onnx",\n        input_names=["input"],\n        opset_version=\n    )\n'),
        (6, QUANTIZE, "    quantize_static(\n        fp32_path,\n        model_output=int8_path,  # 輸出\n        # 提醒：QOperator\n    )\n"),
        (7, SESSION, "providers):\n    return ort.InferenceSession()\n"),
        (10, INTERFACE, 'demo = gr.Interface(fn=compare_fp32_int8, inputs=gr.Image(type="pil"))\n'),
        (10, LAUNCH, f"{LAUNCH}\n    demo.launch(share=)"),
    ),
    "keywords_without_commas": edited(
        (10, INTERFACE, "demo = gr.Interface(\n    fn = compare_fp32_int8,\n    inputs =\n    outputs =\n    title = 'Mine'\n    description =\n)\n"),
    ),
    "two_spaces_and_half_run": every_cell(
        lambda text: re.sub(r"^( +)", lambda m: m[1][: len(m[1]) // 2] if len(m[1]) > 2 else m[1], text, flags=re.M)
    ),
    "tabs": every_cell(lambda text: re.sub(r"^( +)", lambda m: "\t" * max(1, len(m[1]) // 4), text, flags=re.M)),
    "crlf": every_cell(lambda text: text.replace("\n", "\r\n")),
    "metadata_missing_ids_and_a_lone_surrogate": _metadata_missing(),
    "run_in_vscode": _run_in_vscode(),
    "reader_in_batches_drawn_at_once": edited(
        (5, READER, "                yield from self.drawn\n"),
        (5, "        self.rewind()\n\n", "        self.drawn = [np.clip(np.random.normal(size=(batch_size, 3, 32, 32)), -2, 2).astype('float32') for _ in range(num_batches)]\n        self.rewind()\n\n"),
        (6, "batch_size=1, num_batches=50", "batch_size=4, num_batches=5"),
    ),
    "reader_with_a_generator": edited(
        (5, READER, "                yield self.rng.standard_normal((self.batch_size, 3, 32, 32), dtype=np.float32)\n"),
        (5, "        self.files = []\n", "        self.files = []\n        self.rng = np.random.default_rng(7)\n"),
        (6, "num_batches=50", "num_batches=8"),
    ),
    "results_read_by_other_names": edited(
        (10, SOFTMAX, ""),
        (10, "top3_map(p_fp32)", "top3_map(softmax_np(out_fp32))"),
        (10, "top3_map(p_int8)", "top3_map(softmax_np(out_int8))"),
        (10, "fp32_ms", "t_fp32"),
        (10, "int8_ms", "t_int8"),
        (10, "    speedup = t_fp32 / t_int8\n", ""),
    ),
    "markers_in_other_words": edited(
        (3, f"# TODO\n{DESIGN}", "#todo:\n# 模型架構"),
        (4, "# TODO : load state dict", "# TODO：載入權重"),
        (4, "# Todo : Export ONNX FILE", "# Todo: 匯出"),
        (6, "# Todo : quantize_static", "#TODO : static quantization"),
        (7, "# Todo : build session function", "# TODO"),
        (10, "# TODO : preprocess input image function", "## TODO"),
        (10, "# TODO : Building GUI Interface", "# TODO : Gradio UI"),
        (10, "# TODO : building a public web", "# TODO"),
    ),
    "bare_markers_and_other_variables": edited(
        (4, "def export_onnx(model, dummy, path):", "def export_onnx(net, sample, ckpt):"),
        (4, "torch.load(path", "torch.load(ckpt"),
        (4, 'path="best_model.pth"', 'ckpt="best_model.pth"'),
        (4, "# TODO : load state dict", "# TODO"),
        (4, "# Todo : Export ONNX FILE", "# TODO"),
        (4, "ResBlock=BasicBlock, num_classes=10", ""),
        (7, f"build_session(model_path, {SESSION}", "build_session(path, providers=None):\n  sess =\n  return sess\n"),
        (10, "sess_fp32", "fp32_session"),
        (10, "sess_int8", "int8_session"),
        (10, "    x = preprocess(image)", "    inp = preprocess(image)"),
        (10, "\n\n    return arr\n", "    arr = None\n    return arr\n"),
        (10, "top3_map(p_fp32)", "top3_map()"),
        (10, "top3_map(p_int8)", "top3_map()"),
        (10, "    # Your progarm\n", "    # TODO : your program\n    fp32_ms = \n    int8_ms = \n"),
        (10, INTERFACE, "demo =\n"),
    ),
    "cells_indented": every_cell(
        lambda text: text if text.startswith("!") else re.sub(r"^(?=.*\S)", "    ", text, flags=re.M)
    ),
}  # fmt: skip
