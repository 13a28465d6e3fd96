"""The assignment's own sample code, typed into the handed-out notebook, earns every point a machine gives."""

from __future__ import annotations

import re
import shutil
import textwrap
from pathlib import Path

import numpy as np
import pytest

from lab5.grading.suite import CHECKS, check_submission
from tests import handin
from tests.conftest import FIXTURES, need
from tests.handin import FP32, ID, INT8, NOTEBOOK, REPORT
from tests.mutants.harmless import PREPROCESS, TIMED
from tests.mutants.notebook import EXPORT, LOAD, QUANTISE, SESSION

ASSIGNMENT = Path(__file__).parent.parent.parent / "shared" / "EAI_Lab5.md"

# What it costs with --strict, and nothing else
ADVICE = {
    "fp32-opset", "int8-qoperator", "int8-no-overflow", "int8-speed", "compare-outputs",
    "compare-labels", "compare-repeated",
}  # fmt: skip

STUDENTS_REPORT = """
#set document(date: none)
#set page(width: 15cm, height: 22cm)
#set text(font: ("Noto Sans TC", "Noto Sans CJK TC"))
= EAI Lab5 報告
== 3.1 跨裝置測試截圖
#image("one.png", width: 4cm) #image("two.png", width: 4cm) #image("three.png", width: 4cm)
== 3.2 FP32 vs INT8 分析
#table(columns: 3, [圖片], [FP32], [Int8], [貓], [6.52], [24.31], [船], [6.49], [23.87], [馬], [6.61], [24.05])
表一：三張圖片的推論時間（毫秒）。INT8 慢了 3\\~4 倍，可能是這台電腦不支援。
== 3.3 心得與建議
這次作業讓我了解模型從訓練到部署的流程，量化沒有想像中簡單。
"""


def sample(words: str) -> str:
    """The one block of the assignment's sample code that has these words, the id filled in."""
    blocks = re.findall(r"```python\n(.*?)```", ASSIGNMENT.read_text(encoding="utf-8"), re.DOTALL)
    (found,) = [block for block in blocks if words in block]
    return found.replace("學號", ID)


def typed() -> dict:
    """The filled notebook with the sample code in every place that a student fills."""
    network = sample("class ResBlock")
    network = network[network.index("class ResBlock") :]
    for old, new in (("ResBlock", "BasicBlock"), ("ResNet", "ResNet18")):
        network = network.replace(f"class {old}(nn", f"class {new}(nn")
        network = network.replace(f"super({old},", f"super({new},")
    load = sample("load_state_dict").splitlines(keepends=True)[1:]  # torch.load is the template's
    export = sample("torch.onnx.export").replace("dummy_input", "dummy")
    quantise = sample("quantize_static(")
    quantise = quantise[quantise.index("quantize_static(") :]
    edits = {
        handin.NETWORK: network,
        f"{LOAD}    model.eval()\n": _in_function("".join(load)),
        EXPORT: _in_function(export),
        QUANTISE: _in_function(quantise),
        SESSION: _in_function(sample("def build_session").split("\n", 1)[1]),
        PREPROCESS: _in_function(sample("def preprocess").split("\n", 1)[1]),
        TIMED: _in_function(
            sample("fp32_ms =") + "logits_fp32, logits_int8 = out_fp32, out_int8\n"
        ),
    }
    content, found = handin.notebook(), set()
    for cell in content["cells"]:
        cell["source"] = "".join(cell["source"])
        for old, new in edits.items():
            if old in cell["source"]:
                cell["source"], found = cell["source"].replace(old, new), found | {old}
    assert found == edits.keys()
    labels = content["cells"][10]
    labels["source"] = labels["source"].replace('"airplane", "automobile"', '"plane", "car"')
    return content


def _in_function(code: str) -> str:
    return textwrap.indent(textwrap.dedent(code), "    ")


@pytest.fixture(scope="module")
def archive(tmp_path_factory, weights):
    """The hand-in: the notebook typed, its models made by running its cells."""
    need(ASSIGNMENT.is_file(), f"the assignment's text is not at {ASSIGNMENT}")
    folder = tmp_path_factory.mktemp("typed")
    content = typed()
    shutil.copy(weights, folder / "best_model.pth")
    np.random.seed(0)
    space = {"__name__": "__main__"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for cell in content["cells"][3:7]:
            exec("".join(cell["source"]), space)
    names = (FP32, f"{FP32}.data", INT8)
    return handin.write_zip(
        folder / handin.ARCHIVE,
        {
            NOTEBOOK: handin.notebook_bytes(content),
            **{name: folder / name for name in names if (folder / name).exists()},
            REPORT: handin.report(STUDENTS_REPORT),
        },
    )


def graded(archive, weights, **options) -> dict[str, str]:
    found = check_submission(
        archive, weights=weights, template=FIXTURES / "EAI_lab5.ipynb", **options
    )
    return {one.name: (one.status, one.earned) for one in found.checks}


@pytest.mark.slow
def test_the_sample_code_earns_every_point_that_a_machine_gives(archive, weights):
    found = graded(archive, weights)
    lost = {n: r for n, r in found.items() if CHECKS[n].points and not CHECKS[n].manual
            and r[1] != CHECKS[n].points}  # fmt: skip
    assert lost == {}
    assert {name for name, (status, _) in found.items() if status == "advice"} == ADVICE
    assert not [name for name, (status, _) in found.items() if status in ("error", "blocked")]


@pytest.mark.slow
def test_strictly_it_loses_exactly_the_advice(archive, weights):
    found = graded(archive, weights, strict=True)
    assert {name for name, (status, _) in found.items() if status == "fail"} == ADVICE
