"""The assignment as data: its numbers, names and points.

Only the code that goes into notebooks says some of them again, as the assignment's own calls do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from lab5.errors import UsageError
from lab5.text import Text

CLASSES: Final = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)

TEMPLATE_CLASSES: Final = ("plane", "car", *CLASSES[2:])  # in the handed-out notebook's LABELS

IMAGE_SIZE: Final = 32  # pixels a side
CIFAR10_MEAN: Final = (0.4914, 0.4822, 0.4465)  # RGB, pixel range 0..1
CIFAR10_STD: Final = (0.2470, 0.2435, 0.2616)

INPUT_NAME: Final = "input"  # (N, 3, 32, 32) float32
OUTPUT_NAME: Final = "output"  # (N, 10) float32 logits
OPSET: Final = 13

TOP_K: Final = 3
LABEL_COMPARISON: Final = "Performance Comparison"
APP_TITLE: Final = "CIFAR-10 Image Classifier - FP32 vs INT8"

CHECKPOINT: Final = "best_model.pth"
TEMPLATE: Final = "EAI_lab5.ipynb"
TEMPLATE_FP32: Final = "image_classifier_model.onnx"  # what the handed-out notebook calls them
TEMPLATE_INT8: Final = "image_classifier_model_int8.onnx"

# What the INT8 file is calibrated on, or a folder of pictures; the default is the assignment's.
SYNTHETIC: Final = "synthetic"
CALIBRATIONS: Final = ("random", SYNTHETIC, "cifar10")
REAL_IMAGES: Final = 500  # the most that calibration takes of real pictures; our choice

MIN_SCREENSHOTS: Final = 3
MIN_SIDE: Final = 200  # pixels of a screenshot, ours; a telephone's has over 700, an icon under 100
MIN_REFLECTION_CHARS: Final = 10

# What the assignment promises of INT8; the report says where a measurement contradicts it.
EXPECTED_SIZE_CUT: Final = 0.75  # share of the file size
EXPECTED_SPEEDUP: Final = (2.0, 4.0)  # times FP32
EXPECTED_LOSS_PP: Final = 1.0  # percentage points of top-1


@dataclass(frozen=True)
class Item:
    """One graded line of the rubric."""

    number: str
    points: int
    title: Text


@dataclass(frozen=True)
class Topic:
    """One of the three parts of the assignment."""

    number: int
    title: Text
    items: tuple[Item, ...]

    @property
    def points(self) -> int:
        return sum(item.points for item in self.items)


TOPICS: Final = (
    Topic(
        1,
        Text("PyTorch to ONNX", "PyTorch 轉 ONNX"),
        (
            Item("1.1", 5, Text("Build the ResNet18 architecture", "建立 ResNet18 模型架構")),
            Item("1.2", 5, Text("Load the weights", "載入權重")),
            Item("1.3", 10, Text("Export to ONNX", "匯出 ONNX")),
            Item("1.4", 10, Text("Quantise statically to INT8", "靜態量化為 INT8")),
            Item("1.5", 10, Text("Build the ONNX Runtime sessions", "建立 ONNX Runtime Session")),
        ),
    ),
    Topic(
        2,
        Text("Deploy with Gradio", "Gradio 部署"),
        (
            Item("2.1", 10, Text("Preprocess a picture", "圖片前處理函式")),
            Item("2.2", 10, Text("Compare FP32 and INT8", "FP32 vs INT8 比較函式")),
            Item("2.3", 10, Text("Build the Gradio interface", "建立 Gradio UI 介面")),
            Item("2.4", 5, Text("Open a public page", "產生公開網頁")),
        ),
    ),
    Topic(
        3,
        Text("Report", "報告"),
        (
            Item("3.1", 10, Text("Screenshots from other devices", "跨裝置測試截圖")),
            Item("3.2", 10, Text("Analysis of FP32 against INT8", "FP32 vs INT8 分析")),
            Item("3.3", 5, Text("Reflection and suggestions", "心得與建議")),
        ),
    ),
)

ITEMS: Final = {item.number: item for topic in TOPICS for item in topic.items}
TOTAL_POINTS: Final = sum(topic.points for topic in TOPICS)

STUDENT_ID: Final = re.compile(r"[A-Za-z0-9]{2,32}", re.ASCII)


@dataclass(frozen=True)
class FileNames:
    """The names of everything that a student hands in.

    Raises:
        UsageError: the student id is not 2 to 32 letters and digits.
    """

    student_id: str

    def __post_init__(self) -> None:
        if not STUDENT_ID.fullmatch(self.student_id):
            raise UsageError(
                f"{self.student_id!r} is not a student id: expected 2 to 32 letters and digits, "
                "nothing else. Write it as on your student card, for example N26140692.",
                zh=f"{self.student_id!r} 不是學號：只能是 2 到 32 個英文字母與數字。"
                "請照學生證填寫，例如 N26140692。",
            )

    @property
    def notebook(self) -> str:
        return f"{self.student_id}.ipynb"

    @property
    def fp32(self) -> str:
        return f"{self.student_id}_FP32.onnx"

    @property
    def external_data(self) -> str:
        """Only when the FP32 model refers to it."""
        return f"{self.fp32}.data"

    @property
    def int8(self) -> str:
        return f"{self.student_id}_INT8.onnx"

    @property
    def report(self) -> str:
        return f"{self.student_id}_report.pdf"

    @property
    def archive(self) -> str:
        return f"{self.student_id}_lab5.zip"

    @property
    def required(self) -> tuple[str, ...]:
        """In the order of the assignment's listing, which is their order in the zip."""
        return (self.notebook, self.fp32, self.int8, self.report)
