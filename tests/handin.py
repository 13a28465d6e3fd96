"""A good hand-in as a student makes one: the template filled by hand, models, a report; by parts."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab5.cli import without_advice
from tests.conftest import FIXTURES

if TYPE_CHECKING:
    import numpy as np

ID = "N26140692"
FP32, INT8 = f"{ID}_FP32.onnx", f"{ID}_INT8.onnx"
NOTEBOOK, REPORT, ARCHIVE = f"{ID}.ipynb", f"{ID}_report.pdf", f"{ID}_lab5.zip"

NETWORK = """
class BasicBlock(nn.Module):
    # 殘差區塊：兩個 3x3 卷積，加上 shortcut
    def __init__(self, inchannel, outchannel, stride=1):
        super(BasicBlock, self).__init__()
        self.left = nn.Sequential(
            nn.Conv2d(inchannel, outchannel, kernel_size=3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outchannel),
            nn.ReLU(inplace=True),
            nn.Conv2d(outchannel, outchannel, kernel_size=3, stride=1, padding=1, bias=False),
            nn.BatchNorm2d(outchannel)
        )
        self.shortcut = nn.Sequential()
        # 尺寸或通道改變時，用 1x1 卷積對齊
        if stride != 1 or inchannel != outchannel:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inchannel, outchannel, kernel_size=1, stride=stride, bias=False),
                nn.BatchNorm2d(outchannel)
            )

    def forward(self, x):
        out = self.left(x)
        out = out + self.shortcut(x)
        out = F.relu(out)
        return out


class ResNet18(nn.Module):
    # 提醒：__init__ 的第一個參數叫做 ResBlock
    def __init__(self, ResBlock, num_classes=10):
        super(ResNet18, self).__init__()
        self.inchannel = 64
        self.conv1 = nn.Sequential(
            nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU()
        )
        # 四個階段，每階段兩個區塊
        self.layer1 = self.make_layer(ResBlock, 64, 2, stride=1)
        self.layer2 = self.make_layer(ResBlock, 128, 2, stride=2)
        self.layer3 = self.make_layer(ResBlock, 256, 2, stride=2)
        self.layer4 = self.make_layer(ResBlock, 512, 2, stride=2)
        self.fc = nn.Linear(512, num_classes)

    def make_layer(self, block, channels, num_blocks, stride):
        strides = [stride] + [1] * (num_blocks - 1)
        layers = []
        for s in strides:
            layers.append(block(self.inchannel, channels, s))
            self.inchannel = channels
        return nn.Sequential(*layers)

    def forward(self, x):
        out = self.conv1(x)
        out = self.layer1(out)
        out = self.layer2(out)
        out = self.layer3(out)
        out = self.layer4(out)
        out = F.avg_pool2d(out, 4)
        out = out.view(out.size(0), -1)
        out = self.fc(out)
        return out
""".lstrip()

# (what stands in the template, what a student writes there), cell by cell
FILLED = {
    3: [("Design Your ResNet18 Model", f"Design Your ResNet18 Model\n{NETWORK}")],
    4: [
        (
            "    # TODO : load state dict\n",
            "    # TODO : load state dict\n    # 載入權重並切換成推論模式\n"
            "    model.load_state_dict(state)\n    model.eval()\n",
        ),
        (
            "    # Todo : Export ONNX FILE\n\n    pass\n",
            "    # Todo : Export ONNX FILE\n    # 匯出成 ONNX\n"
            "    torch.onnx.export(\n        model,\n        dummy,\n"
            f'        "{FP32}",\n        input_names=["input"],\n        output_names=["output"],\n'
            "        opset_version=13,\n        dynamo=False,\n    )\n",
        ),
    ],
    5: [("image_classifier_model.onnx", FP32), ("image_classifier_model_int8.onnx", INT8)],
    6: [
        (
            "    quantize_static(\n\n    )\n",
            "    # 靜態量化；要用 QuantFormat.QOperator，不能用字串\n"
            "    quantize_static(\n        model_input=fp32_path,\n        model_output=int8_path,\n"
            "        calibration_data_reader=reader,\n        quant_format=QuantFormat.QOperator,\n"
            "        per_channel=True,\n        activation_type=QuantType.QUInt8,\n"
            "        weight_type=QuantType.QInt8,\n        calibrate_method=CalibrationMethod[method],\n"
            "    )\n",
        ),
        ("import CalibrationMethod,", "import CalibrationMethod, QuantFormat,"),
    ],
    7: [
        (
            "  return\n",
            "    # 建立 session\n    return ort.InferenceSession(model_path, providers=providers)\n",
        )
    ],
    10: [
        ("image_classifier_model_int8.onnx", INT8),
        ("image_classifier_model.onnx", FP32),
        (
            "\n\n\n    return arr\n",
            '\n    # 轉成 RGB 並縮放\n    img = image.convert("RGB").resize((32, 32))\n'
            "    arr = np.asarray(img, dtype=np.float32) / 255.0\n"
            "    arr = (arr - CIFAR10_MEAN) / CIFAR10_STD  # 正規化\n"
            "    arr = arr.transpose(2, 0, 1)  # HWC -> CHW\n"
            "    arr = arr[None, ...]\n    return arr\n",
        ),
        # the assignment's names, of which the given ones differ
        (
            "LABELS = ['plane', 'car', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck']",
            'LABELS = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]',
        ),
        ("softmax_np()\n    p_int8", "softmax_np(logits_fp32)\n    p_int8"),
        ("p_int8 = softmax_np()", "p_int8 = softmax_np(logits_int8)"),
        (
            "    # Your progarm\n",
            "    # Your progarm\n    # FP32 推論計時\n    t0 = time.time()\n"
            "    logits_fp32 = sess_fp32.run([out_fp32], {in_fp32: x})[0]\n"
            "    fp32_ms = (time.time() - t0) * 1000\n    # INT8 推論計時\n    t0 = time.time()\n"
            "    logits_int8 = sess_int8.run([out_int8], {in_int8: x})[0]\n"
            "    int8_ms = (time.time() - t0) * 1000\n",
        ),
        (
            "    fn = compare_fp32_int8,\n    inputs = ,\n    outputs = ,\n    title = ,\n"
            "    description = \n)\n",
            "    fn=compare_fp32_int8,\n"
            '    inputs=gr.Image(type="pil"),\n    outputs=[\n'
            '        gr.Label(label="FP32 Top-3"),\n        gr.Label(label="INT8 Top-3"),\n'
            '        gr.Textbox(label="Performance Comparison"),\n    ],\n'
            '    title="CIFAR-10 Image Classifier - FP32 vs INT8",\n'
            '    description="Upload an image to compare FP32 and INT8 model inference",\n)\n',
        ),
        (
            "    # TODO : building a public web",
            "    # TODO : building a public web\n    demo.launch(share=True)",
        ),
    ],
}

REPORT_SOURCE = """
#set document(date: none)
#set page(width: 15cm, height: 22cm)
= EAI Lab 5 Report
== 3.1 Screenshots from other devices
The page on a telephone and a tablet.
#image("one.png", width: 4cm) #image("two.png", width: 4cm) #image("three.png", width: 4cm)
== 3.2 FP32 vs INT8
#table(columns: 3, [], [FP32], [INT8],
  [Inference time (ms)], [6.52], [1.61],
  [File size (MB)], [44.7], [11.3],
  [Accuracy], [90.1 %], [90.0 %])
The predictions agree on 99.1 % of the test images.
== 3.3 Reflection and suggestions
I learnt that a graph can be valid and wrong at once, and that calibration decides.
"""


def notebook() -> dict:
    """The handed-out notebook, filled as a student fills it."""
    found = json.loads((FIXTURES / "EAI_lab5.ipynb").read_text(encoding="utf-8"))
    for number, edits in FILLED.items():
        cell = found["cells"][number]
        source = "".join(cell["source"])
        for old, new in edits:
            assert old in source, (number, old)
            source = source.replace(old, new)
        cell["source"] = source.splitlines(keepends=True)
    return found


def notebook_bytes(content: dict) -> bytes:
    return json.dumps(content, ensure_ascii=False, indent=1).encode()


def screenshot(seed: int, size: tuple[int, int] = (390, 700)) -> bytes:
    """A picture as large as a telephone's screen, each seed another."""
    import io

    from PIL import Image, ImageDraw

    image = Image.new("RGB", size, (245, 245, 250))
    draw = ImageDraw.Draw(image)
    for row in range(12):
        length = 40 + (seed * 67 + row * 41) % 300
        draw.rectangle(
            (20, 30 + 50 * row, 20 + length, 55 + 50 * row), fill=(seed * 80 % 256, 90, 200)
        )
    found = io.BytesIO()
    image.save(found, "PNG")
    return found.getvalue()


def report(source: str = REPORT_SOURCE, pictures: Mapping[str, bytes] | None = None) -> bytes:
    """A PDF of this typst source."""
    import tempfile

    import typst

    if pictures is None:
        pictures = {f"{name}.png": screenshot(i) for i, name in enumerate(("one", "two", "three"))}
    with tempfile.TemporaryDirectory() as folder:
        for name, data in pictures.items():
            (Path(folder) / name).write_bytes(data)
        main = Path(folder) / "main.typ"
        main.write_text(source, encoding="utf-8")
        return typst.compile(str(main))


def write_zip(path: Path, files: Mapping[str, bytes | Path]) -> Path:
    """The same bytes for the same files."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name, (2026, 6, 1, 12, 0, 0))
            info.external_attr = 0o100600 << 16
            archive.writestr(info, content.read_bytes() if isinstance(content, Path) else content)
    return path


def quantise(fp32: bytes, path: Path, images: np.ndarray | None = None, **options: Any) -> None:
    """``quantize_static`` as the assignment means it, but for ``options``.

    Args:
        images: (N, 3, 32, 32) to calibrate on; 8 random normal ones if None.
    """
    import numpy as np
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    from lab5.calibration import BatchReader

    if images is None:
        images = np.random.default_rng(0).standard_normal((8, 3, 32, 32))
    given = {
        "quant_format": QuantFormat.QOperator,
        "per_channel": True,
        "activation_type": QuantType.QUInt8,
        "weight_type": QuantType.QInt8,
        "reduce_range": True,
    }
    model = onnx.load_from_string(fp32)
    reader = BatchReader(list(images[:, None].astype(np.float32)), model.graph.input[0].name)
    with without_advice():
        quantize_static(model, path, reader, **{**given, **options})


def make(folder: Path, model) -> dict[str, bytes]:
    """The files of a good hand-in by name, models exported and quantised in ``folder``."""
    import numpy as np
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    from lab5.calibration import CIFARLikeCalibReader
    from lab5.export import export_fp32

    np.random.seed(0)
    export_fp32(model, folder / FP32)
    quantize_static(
        folder / FP32,
        folder / INT8,
        CIFARLikeCalibReader(batch_size=1, num_batches=50),
        quant_format=QuantFormat.QOperator,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return {
        NOTEBOOK: notebook_bytes(notebook()),
        FP32: (folder / FP32).read_bytes(),
        INT8: (folder / INT8).read_bytes(),
        REPORT: report(),
    }
