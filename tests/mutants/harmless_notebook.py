"""Right notebooks as people really write, save and run them: nothing of this may cost a point."""

from __future__ import annotations

import json

from tests.handin import FP32, ID, INT8, NOTEBOOK
from tests.mutants.core import HandIn, harmless
from tests.mutants.notebook import EXPORT, LOAD, QUANTISE, SESSION


def _in_compare(h: HandIn, code: str) -> None:
    """Put ``code`` before the two timed runs of the comparison."""
    h.code("    # FP32 推論計時\n", f"{code}    # FP32 推論計時\n")


def _each_cell(h: HandIn, having: str, edit) -> None:
    with h.notebook() as content:
        found = [c for c in content["cells"] if having in "".join(c["source"])]
        assert found, having
        for cell in found:
            cell["source"] = edit("".join(cell["source"]))


# The file


@harmless()
def saved_as_utf_16(h: HandIn) -> None:
    """The notebook was saved by an editor as UTF-16 with a byte order mark."""
    data = h.files[NOTEBOOK]
    assert isinstance(data, bytes)
    h.files[NOTEBOOK] = data.decode("utf-8-sig").encode("utf-16")


@harmless()
def saved_with_a_mark(h: HandIn) -> None:
    """The notebook begins with UTF-8's byte order mark."""
    data = h.files[NOTEBOOK]
    assert isinstance(data, bytes)
    assert data.startswith(b"{")  # with no mark
    h.files[NOTEBOOK] = b"\xef\xbb\xbf" + data


@harmless()
def stripped_of_everything_optional(h: HandIn) -> None:
    """No execution_count, outputs or metadata, and cell ids in format 4.0 (otter-grader 340, jupytext 764)."""
    with h.notebook() as content:
        content["metadata"], content["nbformat_minor"] = {}, 0
        for number, cell in enumerate(content["cells"]):
            for key in ("execution_count", "outputs", "metadata"):
                cell.pop(key, None)
            cell["id"] = f"c{number}"


@harmless()
def saved_in_format_3(h: HandIn) -> None:
    """Saved in format 3, in worksheets, code under "input"."""
    with h.notebook() as content:
        cells = content["cells"]
    for cell in cells:
        if cell["cell_type"] == "code":
            cell["input"] = cell.pop("source")
    three = {"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": cells}]}
    h.files[NOTEBOOK] = json.dumps(three).encode()


# Cells as IPython runs them


@harmless(fast=True)
def statement_timed_by_a_magic(h: HandIn) -> None:
    """%time before a statement that binds a session (nbQA 313)."""
    h.code("sess_fp32 = build_session(FP32_MODEL,", "%time sess_fp32 = build_session(FP32_MODEL,")


@harmless()
def cell_timed_below_a_comment(h: HandIn) -> None:
    """%%time below blank lines."""
    _each_cell(h, "class BasicBlock", lambda source: f"\n\n%%time\n{source}")


@harmless()
def whole_cell_indented(h: HandIn) -> None:
    """Four blanks before each line of a cell (notebook 7630)."""
    _each_cell(
        h,
        "class BasicBlock",
        lambda source: "".join(f"    {line}" for line in source.splitlines(keepends=True)),
    )


@harmless()
def percent_continues_an_expression(h: HandIn) -> None:
    """A shell line, and a line continued with %, in one cell (near nbQA 249)."""
    h.cell('!pip install tqdm\nname = "N"\ntext = "%s" \\\n    % (name)\nprint(text)\n', at=4)


@harmless()
def prompts_pasted(h: HandIn) -> None:
    """A cell pasted with its prompts, help, and a shell command's result."""
    h.cell(">>> import sys\n>>> for p in sys.path:\n...     print(p)\n")
    h.cell("In [1]: a = 1\n   ...: b = 2")
    h.cell("lines = !nvidia-smi\nprint('\\n'.join(lines))\nprint?\n?help")


@harmless()
def shell_in_a_branch(h: HandIn) -> None:
    """Shell lines within if and for, and continued ones."""
    h.cell(
        "import os\nif not os.path.exists('best_model.pth'):\n"
        "    !gdown \\\n        1abc\nelse:\n    %cd .\n",
        at=3,
    )


@harmless()
def automagic(h: HandIn) -> None:
    """pip install without its percent sign, in a cell of its own."""
    h.cell("pip install -q onnxruntime", at=3)


@harmless()
def pip_commented_out(h: HandIn) -> None:
    """The lines that install are commented out, as everything is there already."""
    _each_cell(
        h,
        "pip install",
        lambda source: "".join(f"# {line}" for line in source.splitlines(keepends=True)),
    )


@harmless()
def captured_cell(h: HandIn) -> None:
    """%%capture keeps what a cell prints."""
    _each_cell(h, "quantize_to_int8(FP32_MODEL", lambda source: f"%%capture out\n{source}")


@harmless()
def awaited_at_top_level(h: HandIn) -> None:
    """A number that compare needs comes from a coroutine, awaited at top level."""
    h.cell("async def looked_up():\n    return 1\n\n\nSCALE = await looked_up()\n", at=4)
    _in_compare(h, "    x = x * SCALE\n")


@harmless()
def quotes_nested_in_an_f_string(h: HandIn) -> None:
    """f"{ms["fp32"]}" inside compare, as Python 3.12 has it (colabtools 6081)."""
    h.code(
        "\n    top3_fp32 =",
        '\n    ms = {"fp32": fp32_ms}\n    print(f"{ms["fp32"]:.2f} ms")\n    top3_fp32 =',
    )


# Files


@harmless(fast=True)
def names_by_f_strings(h: HandIn) -> None:
    """File names of an f-string, their sizes read in compare (otter-grader 434)."""
    h.cell(f'ID = "{ID}"\n', at=3)
    _in_compare(
        h,
        '    ratio = os.path.getsize(f"{ID}_FP32.onnx") / os.path.getsize(f"{ID}_INT8.onnx")\n'
        "    assert 3 < ratio < 5, ratio\n",
    )


@harmless()
def paths_of_drive(h: HandIn) -> None:
    """Absolute paths of Drive, looked at before they are opened (nbgrader 894)."""
    folder = "/content/drive/MyDrive/EAI/lab5"
    h.code(f'MODEL_PATH_FP32 = "{FP32}"', f'MODEL_PATH_FP32 = "{folder}/{FP32}"')
    h.code(f'MODEL_PATH_INT8 = "{INT8}"', f'MODEL_PATH_INT8 = "{folder}/{INT8}"')
    h.code(
        "sess_int8 = build_session(MODEL_PATH_INT8",
        "for path in (MODEL_PATH_FP32, MODEL_PATH_INT8):\n    assert os.path.exists(path), path\n"
        "sess_int8 = build_session(MODEL_PATH_INT8",
    )
    _in_compare(h, "    assert os.path.isfile(MODEL_PATH_FP32), MODEL_PATH_FP32\n")


@harmless()
def working_folder_changed(h: HandIn) -> None:
    """os.chdir to a folder of Drive, and folders made there, inside the functions."""
    h.code(
        LOAD,
        '    os.makedirs("/content/drive/MyDrive/lab5", exist_ok=True)\n'
        f'    os.chdir("/content/drive/MyDrive/lab5")\n{LOAD}',
    )
    _in_compare(h, '    os.chdir("/content")\n')


@harmless()
def paths_of_pathlib(h: HandIn) -> None:
    """Path, its join and its stat."""
    h.cell(f'from pathlib import Path\nFOLDER = Path("/content") / "models"\nID = "{ID}"\n', at=3)
    _in_compare(
        h,
        '    path = FOLDER / f"{ID}_FP32.onnx"\n'
        "    assert path.exists() and path.stat().st_size > 40e6, path\n"
        '    assert (Path(".") / f"{ID}_INT8.onnx").is_file()\n',
    )


@harmless()
def sizes_in_megabytes(h: HandIn) -> None:
    """os.path.join, getsize and a rounded size that must not be nought."""
    _in_compare(
        h,
        f'    size = os.path.getsize(os.path.join(".", "{FP32}")) / 1024 / 1024\n'
        "    assert round(size) > 40, size\n",
    )


@harmless()
def checkpoint_asked_for_first(h: HandIn) -> None:
    """The checkpoint's existence and size are asserted before it is loaded."""
    h.code(
        LOAD,
        f"    assert os.path.exists(path) and os.path.getsize(path) > 20e6, path\n{LOAD}",
    )


@harmless()
def exported_only_when_not_there(h: HandIn) -> None:
    """The model is exported if its file is not there yet."""
    h.code(
        EXPORT,
        f'    if not os.path.exists("{FP32}"):\n'
        + "".join(f"    {line}" for line in EXPORT.splitlines(keepends=True)),
    )


@harmless()
def files_read_whole(h: HandIn) -> None:
    """Models are read by open(…, "rb") and by onnx.load, and checked by their path."""
    h.code(
        SESSION,
        '    with open(model_path, "rb") as file:\n        assert len(file.read()) > 1000\n'
        "    onnx.checker.check_model(onnx.load(model_path))\n"
        f"    onnx.checker.check_model(model_path)\n{SESSION}",
    )


@harmless()
def quantised_file_looked_at(h: HandIn) -> None:
    """After quantising, both sizes are read and compared."""
    h.code(
        QUANTISE,
        QUANTISE + "    assert os.path.getsize(int8_path) < os.path.getsize(fp32_path) / 3\n",
    )


# Colab's machine


@harmless(fast=True)
def network_on_cuda(h: HandIn) -> None:
    """.cuda(), a device of cuda and map_location="cuda"."""
    h.code(
        LOAD,
        f'    state = torch.load(path, map_location="cuda")\n    device = "cuda"\n    model = model.cuda()\n    model.to(device)\n{LOAD}',
    )
    h.code(
        "    model.eval()\n",
        '    model.eval()\n    dummy = (torch.randn(1, 3, 32, 32, device="cuda").cuda(),)\n'
        '    model(dummy[0].to(torch.device("cuda:0")))\n    torch.cuda.synchronize()\n',
    )


@harmless()
def cuda_if_available(h: HandIn) -> None:
    """The device by torch.cuda.is_available(), CUDA's provider if it is there."""
    h.cell('device = torch.device("cuda" if torch.cuda.is_available() else "cpu")\n', at=4)
    h.code(LOAD, f"    model = model.to(device)\n{LOAD}")
    h.code(
        SESSION,
        '    if "CUDAExecutionProvider" in providers:\n        print("GPU")\n' + SESSION,
    )


@harmless()
def checkpoint_uploaded(h: HandIn) -> None:
    """files.upload() gives the checkpoint's name; the file is downloaded at the end."""
    h.cell(
        "from google.colab import files\nuploaded = files.upload()\nCKPT = next(iter(uploaded))\n",
        at=4,
    )
    h.code(LOAD, f"    state = torch.load(CKPT)\n{LOAD}")
    h.code(QUANTISE, QUANTISE + "    files.download(int8_path)\n")


@harmless()
def shared_on_colab(h: HandIn) -> None:
    """share is whether google.colab is there."""
    h.code(
        "demo.launch(share=True)",
        'import sys\n    demo.launch(share="google.colab" in sys.modules)',
    )


@harmless()
def colab_known_by_its_shell(h: HandIn) -> None:
    """get_ipython() tells where it runs, display() shows, userdata gives a secret."""
    h.code(
        "demo.launch(share=True)",
        "from google.colab import drive, userdata\n    drive.mount('/content/drive')\n"
        "    os.environ['HF_TOKEN'] = userdata.get('HF_TOKEN')\n    display(demo)\n"
        "    demo.launch(share='google.colab' in str(get_ipython()))",
    )


# Libraries


@harmless(fast=True)
def pandas_in_the_comparison(h: HandIn) -> None:
    """pandas is imported inside compare, and makes a table with the time of day."""
    _in_compare(
        h,
        "    import pandas as pd\n    from datetime import datetime\n"
        "    pd.DataFrame({'at': [datetime.now()], 'model': ['FP32']})\n",
    )


@harmless()
def libraries_at_the_top(h: HandIn) -> None:
    """pandas, matplotlib, and torch with gradio in one line."""
    h.cell(
        "import pandas as pd\nimport matplotlib.pyplot as plt\nimport seaborn as sns\n"
        "from sklearn.metrics import accuracy_score\nimport cv2, torchvision\n",
        at=3,
    )
    h.code("import gradio as gr\n", "import torch, gradio as gr\n")
    h.code("    model.eval()\n", "    model.eval()\n    print(pd.Timestamp(0))\n")


@harmless()
def timed_by_datetime(h: HandIn) -> None:
    """datetime.now() before and after, imported among the others."""
    h.code("import gradio as gr\n", "from datetime import datetime\nimport gradio as gr\n")
    h.code("    t0 = time.time()\n", "    t0 = datetime.now()\n", count=2)
    h.code("(time.time() - t0) * 1000", "(datetime.now() - t0).total_seconds() * 1000", count=2)


@harmless()
def timed_by_a_clock_imported_within(h: HandIn) -> None:
    """from time import perf_counter, inside the function."""
    _in_compare(h, "    from time import perf_counter as clock\n")
    h.code("time.time()", "clock()", count=4)


@harmless()
def speedup_with_the_sign_before_it(h: HandIn) -> None:
    """The text gives the speed-up as "x3.95"."""
    shown = "return top3_fp32, top3_int8, summary"
    h.code(
        f"    {shown}",
        f'    summary = summary.split("Speedup")[0] + f"x{{speedup:.2f}}"\n    {shown}',
    )
