"""Other right zips and models, as programs and people make them: nothing of this may cost a point.

Where a public report has one of them, it is named.
"""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from tests import handin
from tests.handin import FP32, ID, INT8
from tests.mutants.archive import zipped
from tests.mutants.core import HandIn, harmless
from tests.mutants.models import both, external, quantised, rename_value, with_location
from tests.mutants.notebook import EXPORT, LOAD, QUANTISE

Files = dict[str, bytes]
FOLDER = ("zip-flat",)
TROUBLE = ("zip-members-safe",)


def deflate64(files: Files) -> bytes:
    """A zip whose members are compressed by method 9, which zipfile cannot write."""
    from inflate64 import Deflater

    data, directory = b"", b""
    for name, content in files.items():
        deflater = Deflater()
        packed = deflater.deflate(content) + deflater.flush()
        sizes = struct.pack("<LLL", zlib.crc32(content), len(packed), len(content))
        common = struct.pack("<HHHHH", 21, 0x800, 9, 0, 0) + sizes
        encoded = name.encode()
        directory += b"PK\1\2" + struct.pack("<H", 21) + common
        directory += struct.pack("<HHHHHLL", len(encoded), 0, 0, 0, 0, 0, len(data)) + encoded
        data += b"PK\3\4" + common + struct.pack("<HH", len(encoded), 0) + encoded + packed
    end = struct.pack("<HHHHLLH", 0, 0, len(files), len(files), len(directory), len(data), 0)
    return data + directory + b"PK\5\6" + end


def packed(h: HandIn, pack: Callable[[Files], bytes]) -> None:
    """The zip made by another function."""
    h.pack = lambda path, files: path.write_bytes(pack(files))


def with_zip(h: HandIn, write: Callable[[zipfile.ZipFile, Files], Any], **options: Any) -> None:
    """The zip written by ``write`` into a ``ZipFile`` with these options."""

    def pack(path: Path, files: Files) -> None:
        with zipfile.ZipFile(path, "w", **options) as archive:
            write(archive, files)

    h.pack = pack


def plainly(archive: zipfile.ZipFile, files: Files) -> None:
    for name, content in files.items():
        archive.writestr(name, content)


# The zip


@harmless(notes=FOLDER, alone=True)
def backslashes(h: HandIn) -> None:
    """PowerShell 5 zips a folder with backslashes: SharpZipLib 617, corefx 32788."""

    def write(archive: zipfile.ZipFile, files: Files) -> None:
        archive.writestr("lab5\\", b"")
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.filename = f"lab5\\{name}"
            archive.writestr(info, content)

    with_zip(h, write)


@harmless(fast=True)
def compressed_by_deflate64(h: HandIn) -> None:
    """7-Zip's Deflate64: poco 2724."""
    packed(h, deflate64)


@harmless(notes=FOLDER, alone=True)
def zip_in_the_zip(h: HandIn) -> None:
    """The zip was zipped once more."""
    packed(h, lambda files: zipped({h.archive: zipped(files)}))


@harmless(notes=("zip-name",))
def tar_named_zip(h: HandIn) -> None:
    """A tar.gz under the name of a zip."""

    def pack(files: Files) -> bytes:
        found = io.BytesIO()
        with tarfile.open(fileobj=found, mode="w:gz", compresslevel=1) as archive:
            for name, content in files.items():
                info = tarfile.TarInfo(f"./{name}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        return found.getvalue()

    packed(h, pack)


@harmless(notes=FOLDER, alone=True)
def folder_around_everything(h: HandIn) -> None:
    """The folder was zipped, and has an entry of its own."""

    def write(archive: zipfile.ZipFile, files: Files) -> None:
        archive.writestr(f"{ID}_lab5/", b"")
        plainly(archive, {f"{ID}_lab5/{name}": content for name, content in files.items()})

    with_zip(h, write)


@harmless(notes=(*FOLDER, *TROUBLE), alone=True)
def folder_with_a_colon(h: HandIn) -> None:
    """A folder as macOS allows it: its name has a colon and a question mark."""
    h.files = {f"作業5: 壓縮?/{name}": content for name, content in h.files.items()}


@harmless(notes=FOLDER, alone=True)
def folder_in_big5(h: HandIn) -> None:
    """A folder with a Chinese name in Big5, not said to be so."""

    def pack(path: Path, files: Files) -> None:
        handin.write_zip(path, {f"XXXX/{name}": content for name, content in files.items()})
        path.write_bytes(path.read_bytes().replace(b"XXXX/", "作業".encode("big5") + b"/"))

    h.pack = pack


@harmless(notes=("zip-members-safe", "zip-flat", "nothing-unexpected"))
def file_and_folder_of_one_name(h: HandIn) -> None:
    """Members ``a`` and ``a/b``."""
    h.files |= {"a": b"1", "a/b": b"2", "c/d": b"3", "c": b"4"}


@harmless(notes=TROUBLE)
def damaged_lzma(h: HandIn) -> None:
    """A file beside the others is compressed by LZMA and damaged."""

    def pack(path: Path, files: Files) -> None:
        handin.write_zip(path, files)
        with zipfile.ZipFile(path, "a", zipfile.ZIP_LZMA) as archive:
            archive.writestr("notes.txt", bytes(5000))
        data = bytearray(path.read_bytes())
        at = data.rindex(b"notes.txt", 0, data.rindex(b"PK\1\2")) + len("notes.txt")
        data[at + 4 : at + 24] = b"\xff" * 20
        path.write_bytes(data)

    h.pack = pack


@harmless(notes=TROUBLE)
def member_of_a_strange_method(h: HandIn) -> None:
    """A file beside the others is compressed in a way that nothing here reads."""

    def pack(path: Path, files: Files) -> None:
        data = bytearray(zipped({**files, "notes.txt": b"x"}))
        for magic, offset in ((b"PK\3\4", 8), (b"PK\1\2", 10)):
            data[data.rindex(magic) + offset] = 97
        path.write_bytes(data)

    h.pack = pack


@harmless()
def zip64_and_streamed(h: HandIn) -> None:
    """Written to a pipe, every member in zip64 form, with a comment at the end."""

    class Pipe(io.RawIOBase):
        def __init__(self, path: Path) -> None:
            self._file = path.open("wb")

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            return self._file.write(data)

        def close(self) -> None:
            self._file.close()

    def pack(path: Path, files: Files) -> None:
        with Pipe(path) as pipe, zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.comment = "作業".encode()
            for name, content in files.items():
                with archive.open(name, "w", force_zip64=True) as member:
                    member.write(content)

    h.pack = pack


@harmless()
def self_extracting(h: HandIn) -> None:
    """Something stands before the zip, as in an archive that unpacks itself."""
    packed(h, lambda files: b"MZ" + bytes(3000) + zipped(files))


@harmless()
def compressed_in_other_ways(h: HandIn) -> None:
    """One member by LZMA, one by bzip2, one stored."""
    methods = (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, zipfile.ZIP_STORED)

    def write(archive: zipfile.ZipFile, files: Files) -> None:
        for number, (name, content) in enumerate(sorted(files.items(), key=lambda f: len(f[1]))):
            archive.writestr(name, content, methods[min(number, 2)])

    with_zip(h, write)


@harmless(advises=("one-student-id",), alone=True)
def id_in_lower_case(h: HandIn) -> None:
    """Every file of the zip has the id in lower case, the zip itself in upper case."""
    with h.notebook() as content:
        for cell in content["cells"]:
            cell["source"] = "".join(cell["source"]).replace(ID, ID.lower())
    h.files = {name.replace(ID, ID.lower()): content for name, content in h.files.items()}


# External data


@harmless(fast=True)
def external_data_with_a_dot(h: HandIn) -> None:
    """The model refers to ``./N26140692_FP32.onnx.data``."""
    model, data = external(h, f"{FP32}.data")
    h.files[FP32] = lambda: with_location(model(), f"./{FP32}.data")
    h.files[f"{FP32}.data"] = data


@harmless(notes=("external-data",))
def external_data_under_another_name(h: HandIn) -> None:
    """save_as_external_data with a location of its own: hey-buddy 29."""
    h.files[FP32], h.files["weights.data"] = external(h, "weights.data")


@harmless(notes=("external-data", "zip-flat"))
def external_data_in_a_folder(h: HandIn) -> None:
    """The weights lie in a folder that is in the zip."""
    h.files[FP32], h.files["weights/fp32.bin"] = external(h, "weights/fp32.bin")


@harmless()
def external_data_of_int8(h: HandIn) -> None:
    """quantize_static(use_external_data_format=True)."""
    h.files[INT8], h.files[f"{INT8}.data"] = external(h, f"{INT8}.data", of=INT8)


# The models


def _dynamo(h: HandIn, **options: Any) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        import torch

        torch.onnx.export(
            h.variants.net,
            (torch.zeros(1, 3, 32, 32),),
            str(path),
            input_names=["input"],
            output_names=["output"],
            opset_version=13,
            external_data=False,
            **options,
        )

    return make


@harmless(advises=("fp32-opset",))
def exported_by_dynamo(h: HandIn) -> None:
    """opset_version=13 and external_data=False by torch's default exporter, which writes 18."""
    both(h, "by-dynamo", _dynamo(h))


@harmless(advises=("fp32-opset",))
def exported_by_dynamo_with_any_batch(h: HandIn) -> None:
    """The same with dynamic_axes."""
    both(h, "by-dynamo-any", _dynamo(h, dynamic_axes={"input": {0: "N"}, "output": {0: "N"}}))


@harmless(advises=("fp32-opset",))
def asked_for_opset_17(h: HandIn) -> None:
    """Only the FP32 file was exported again, at opset 17."""
    h.files[FP32] = lambda: h.variants.once(
        "opset-17-alone", lambda path: h.variants.export(h.variants.net, path, opset_version=17)
    )


@harmless()
def initializers_as_inputs(h: HandIn) -> None:
    """keep_initializers_as_inputs=True: every weight is an input, too."""
    both(
        h,
        "as-inputs",
        lambda path: h.variants.export(h.variants.net, path, keep_initializers_as_inputs=True),
    )


@harmless()
def weights_as_constants(h: HandIn) -> None:
    """The weights stand in Constant nodes, as other exporters write them."""

    def edit(model: onnx.ModelProto) -> None:
        nodes = [
            onnx.helper.make_node("Constant", [], [tensor.name], value=tensor)
            for tensor in model.graph.initializer
        ]
        nodes += model.graph.node
        del model.graph.initializer[:]
        del model.graph.node[:]
        model.graph.node.extend(nodes)

    h.graph(FP32, edit)


@harmless()
def inner_names_of_another_exporter(h: HandIn) -> None:
    """The values between the nodes have other names, the nodes none."""

    def edit(model: onnx.ModelProto) -> None:
        for number, node in enumerate(list(model.graph.node)):
            node.name = ""
            for name in list(node.output):
                if name != "output":
                    rename_value(model, name, f"value_{number}")

    h.graph(FP32, edit)


@harmless()
def shapes_inferred(h: HandIn) -> None:
    """onnx.shape_inference.infer_shapes was run on both files."""
    for name in (FP32, INT8):
        h.graph(name, lambda model: model.CopyFrom(onnx.shape_inference.infer_shapes(model)))


@harmless(advises=("int8-qoperator",))
def qdq_after_preprocessing(h: HandIn) -> None:
    """quant_pre_process, then QDQ."""

    def make(path: Path) -> None:
        from onnxruntime.quantization import QuantFormat, quant_pre_process

        prepared = path.with_suffix(".prepared")
        quant_pre_process(onnx.load_from_string(h.variants.good[FP32]), prepared)
        handin.quantise(prepared.read_bytes(), path, quant_format=QuantFormat.QDQ)

    h.files[INT8] = lambda: h.variants.once("qdq-prepared", make)


@harmless()
def calibrated_by_percentile(h: HandIn) -> None:
    """calibrate_method=CalibrationMethod.Percentile on random normal images."""
    from onnxruntime.quantization import CalibrationMethod

    quantised(h, "percentile", calibrate_method=CalibrationMethod.Percentile)


@harmless()
def calibrated_by_moving_average(h: HandIn) -> None:
    """MinMax with CalibMovingAverage."""
    quantised(h, "moving", extra_options={"CalibMovingAverage": True})


@harmless(advises=("int8-qoperator", "int8-no-overflow", "int8-speed"))
def quantised_by_the_assignments_call(h: HandIn) -> None:
    """1.4's call letter by letter, on 50 random images: onnxruntime takes the string for QDQ."""
    from onnxruntime.quantization import QuantType

    images = np.random.default_rng(3).standard_normal((50, 3, 32, 32))
    quantised(
        h, "letter-by-letter", images, quant_format="QOperator", reduce_range=False,
        activation_type=QuantType.QInt8,
    )  # fmt: skip


# The code of topic 1


@harmless(advises=("weights-loaded-strictly",))
def counters_keys_tolerated(h: HandIn) -> None:
    """strict=False for thop's keys, the names printed: pytorch-OpCounter 82, 168."""
    h.code(
        LOAD,
        "    result = model.load_state_dict(state, strict=False)\n"
        "    print(result.missing_keys, result.unexpected_keys)\n",
    )


@harmless()
def counters_keys_dropped(h: HandIn) -> None:
    """thop's keys are dropped by name, then loading is strict: pytorch-OpCounter 82, 168."""
    h.code(
        LOAD,
        '    state = {k: v for k, v in state.items() if "total_" not in k}  # FLOP 計數器的鍵\n'
        + LOAD,
    )


@harmless(advises=("weights-loaded-strictly",))
def wrapped_filtered_and_not_strict(h: HandIn) -> None:
    """Unwrapped, filtered by the model's own keys, then strict=False: pytorch-cifar 153."""
    h.code(
        LOAD,
        '    if "net" in state:\n        state = state["net"]\n    own = model.state_dict()\n'
        "    state = {k: v for k, v in state.items() if k in own}\n"
        "    model.load_state_dict(state, strict=False)\n",
    )


@harmless()
def weights_loaded_at_once(h: HandIn) -> None:
    """torch.load inside load_state_dict, with weights_only."""
    h.code(
        LOAD,
        "    model.load_state_dict(torch.load(path, map_location='cpu', weights_only=True))\n",
    )


@harmless()
def export_by_keywords(h: HandIn) -> None:
    """Every argument by its keyword, args for the dummy input, external_data=False."""
    h.code(
        EXPORT,
        f'    torch.onnx.export(model=model, args=dummy, f="{FP32}", opset_version=13,\n'
        '        input_names=["input"], output_names=["output"], external_data=False)\n',
    )


@harmless(alone=True)
def data_merged_after_the_export(h: HandIn) -> None:
    """An extra cell merges the .onnx.data into the model."""
    h.cell(
        f'# 把外部權重合併成單一檔案\nmerged = onnx.load("{FP32}")\n'
        f'onnx.save_model(merged, "{FP32}", save_as_external_data=False)\n'
        f'if os.path.exists("{FP32}.data"):\n    os.remove("{FP32}.data")\n',
        at=5,
    )


@harmless()
def quantised_by_the_string(h: HandIn) -> None:
    """The notebook's call has quant_format="QOperator" and no activation_type."""
    h.code(
        QUANTISE,
        QUANTISE.replace("QuantFormat.QOperator", '"QOperator"').replace(
            "        activation_type=QuantType.QUInt8,\n", ""
        ),
    )


@harmless()
def notebook_prepares_first(h: HandIn) -> None:
    """quant_pre_process in the notebook, into a file beside it."""
    h.code(
        QUANTISE,
        "    from onnxruntime.quantization.shape_inference import quant_pre_process\n"
        "    quant_pre_process(fp32_path, 'prepared.onnx')\n"
        + QUANTISE.replace("model_input=fp32_path", "model_input='prepared.onnx'"),
    )


# The code of topic 2


@harmless(advises=("compare-outputs",))
def sample_of_2_2_letter_by_letter(h: HandIn) -> None:
    """out_fp32 = sess_fp32.run([out_fp32], …) inside the function."""
    for kind in ("fp32", "int8"):
        h.code(f"logits_{kind} = sess_{kind}.run", f"out_{kind} = sess_{kind}.run")
        h.code(
            f"    {kind}_ms = (time.time() - t0) * 1000\n",
            f"    {kind}_ms = (time.time() - t0) * 1000\n    logits_{kind} = out_{kind}\n",
        )


@harmless()
def probabilities_rounded(h: HandIn) -> None:
    """The probabilities are rounded to four digits."""
    h.code("    return top3_fp32, top3_int8, summary",
           "    top3_fp32 = {k: round(v, 4) for k, v in top3_fp32.items()}\n"
           "    return top3_fp32, top3_int8, summary")  # fmt: skip


# Two public hand-ins of 2025, rebuilt


@harmless(
    advises=("fp32-opset", "int8-qoperator", "int8-no-overflow", "int8-speed", "one-student-id"),
    notes=("chinese-comments",),
    alone=True,
)
def first_public_hand_in(h: HandIn) -> None:
    """Opset 18, data merged in an extra cell, QDQ after quant_pre_process, lower case, English comments."""
    from tests.mutants.notebook import comments_in_english

    h.code("opset_version=13,\n        dynamo=False,", "opset_version=18,")
    data_merged_after_the_export(h)
    notebook_prepares_first(h)
    comments_in_english(h)

    def make(path: Path) -> None:
        from onnxruntime.quantization import QuantFormat, QuantType, quant_pre_process

        fp32, prepared = h.variants.once("by-dynamo", _dynamo(h)), path.with_suffix(".prepared")
        quant_pre_process(onnx.load_from_string(fp32), prepared)
        handin.quantise(
            prepared.read_bytes(), path, quant_format=QuantFormat.QDQ, reduce_range=False,
            activation_type=QuantType.QInt8,
        )  # fmt: skip

    h.files[FP32] = lambda: h.variants.once("by-dynamo", _dynamo(h))
    h.files[INT8] = lambda: h.variants.once("first-public-int8", make)
    id_in_lower_case(h)


@harmless(
    advises=(
        "weights-loaded-strictly", "fp32-opset", "int8-qoperator", "int8-no-overflow", "int8-speed",
    ),
    alone=True,
)  # fmt: skip
def second_public_hand_in(h: HandIn) -> None:
    """pip lines as comments, filtered and strict=False, opset_version=13, quant_format as a string."""
    h.code("!pip install -U \\\n    torch torchvision torchaudio \\\n    onnx onnxscript onnxruntime \\\n"
           "    onnxruntime-tools", "# !pip install -U \\\n#     torch torchvision torchaudio \\\n"
           "#     onnx onnxscript onnxruntime \\\n#     onnxruntime-tools")  # fmt: skip
    wrapped_filtered_and_not_strict(h)
    h.code("        dynamo=False,", "        external_data=False,")
    quantised_by_the_string(h)
    h.files[FP32] = lambda: h.variants.once("by-dynamo", _dynamo(h))

    def make(path: Path) -> None:
        from onnxruntime.quantization import QuantType

        handin.quantise(
            h.variants.once("by-dynamo", _dynamo(h)), path, quant_format="QOperator",
            reduce_range=False, activation_type=QuantType.QInt8,
        )  # fmt: skip

    h.files[INT8] = lambda: h.variants.once("second-public-int8", make)
