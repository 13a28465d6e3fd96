"""Faults of the zip itself: its layout, its names, what is in it."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from tests import handin
from tests.handin import FP32, ID, INT8, NOTEBOOK, REPORT
from tests.mutants.core import HandIn, fault, harmless
from tests.mutants.models import external, with_location


def zipped(files: dict[str, bytes]) -> bytes:
    """The bytes of a zip of these."""
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return found.getvalue()


@fault("zip-opens")
def upload_cut_off(h: HandIn) -> None:
    """The second half of the zip is missing."""

    def pack(path: Path, files: dict[str, bytes]) -> None:
        data = zipped(files)
        path.write_bytes(data[: len(data) // 2])

    h.pack = pack


@fault("zip-opens")
def another_format_named_zip(h: HandIn) -> None:
    """It is a 7z archive under the name of a zip."""
    h.pack = lambda path, files: path.write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(10_000))


@fault("zip-opens")
def empty_zip(h: HandIn) -> None:
    """The zip has no files."""
    h.files = {}


@fault("zip-members-safe", fast=True)
def path_leaves_the_zip(h: HandIn) -> None:
    """A file is to be written outside the folder."""
    h.files["../notes.txt"] = b"out"


@fault("zip-members-safe")
def absolute_path(h: HandIn) -> None:
    """A file is to be written to an absolute path."""
    h.files["/tmp/notes.txt"] = b"out"


@fault("zip-members-safe")
def link_in_the_zip(h: HandIn) -> None:
    """A member is a symbolic link to a file of the machine."""

    def pack(path: Path, files: dict[str, bytes]) -> None:
        handin.write_zip(path, files)
        with zipfile.ZipFile(path, "a") as archive:
            info = zipfile.ZipInfo("link")
            info.create_system, info.external_attr = 3, 0o120777 << 16
            archive.writestr(info, "/etc/passwd")

    h.pack = pack


@fault("zip-members-safe")
def one_name_twice(h: HandIn) -> None:
    """The notebook is in the zip twice."""

    def pack(path: Path, files: dict[str, bytes]) -> None:
        handin.write_zip(path, files)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(NOTEBOOK.lower(), files[NOTEBOOK])

    h.pack = pack


@fault("zip-members-safe", also=("report-present",))
def damaged_member(h: HandIn) -> None:
    """The report's bytes do not fit their checksum."""

    def pack(path: Path, files: dict[str, bytes]) -> None:
        data, report = bytearray(zipped(files)), files[REPORT]
        at = data.index(report) + len(report) // 2
        data[at] ^= 0xFF
        path.write_bytes(data)

    h.pack = pack


@fault("zip-name", fast=True)
def placeholder_in_the_zip_name(h: HandIn) -> None:
    """The zip is called 學號_lab5.zip."""
    h.archive = "學號_lab5.zip"


@fault("zip-name")
def zip_name_of_a_second_download(h: HandIn) -> None:
    """The zip is called N26140692_lab5 (1).zip."""
    h.archive = f"{ID}_lab5 (1).zip"


@fault("zip-name")
def zip_name_with_a_capital(h: HandIn) -> None:
    """The zip is called N26140692_Lab5.zip."""
    h.archive = f"{ID}_Lab5.zip"


@fault("zip-name")
def zip_name_without_lab5(h: HandIn) -> None:
    """The zip is called N26140692.zip."""
    h.archive = f"{ID}.zip"


@fault("notebook-present")
def no_notebook(h: HandIn) -> None:
    """The notebook is missing."""
    del h.files[NOTEBOOK]


@fault("notebook-present", also=("nothing-unexpected",))
def script_for_notebook(h: HandIn) -> None:
    """The code is a Python script in place of a notebook."""
    with h.notebook() as content:
        code = "\n".join("".join(c["source"]) for c in content["cells"] if c["cell_type"] == "code")
    del h.files[NOTEBOOK]
    h.files[f"{ID}.py"] = code.encode()


@fault("notebook-present")
def script_named_notebook(h: HandIn) -> None:
    """The notebook is a Python script under another name."""
    h.files[NOTEBOOK] = b"import torch\n"


@fault("fp32-present")
def no_fp32_model(h: HandIn) -> None:
    """The FP32 model is missing."""
    del h.files[FP32]


@fault("int8-present")
def no_int8_model(h: HandIn) -> None:
    """The INT8 model is missing."""
    del h.files[INT8]


@fault("report-present")
def no_report(h: HandIn) -> None:
    """The report is missing."""
    del h.files[REPORT]


@fault("report-present", also=("nothing-unexpected",))
def report_in_word(h: HandIn) -> None:
    """The report is a Word file."""
    del h.files[REPORT]
    h.files[f"{ID}_report.docx"] = zipped({"word/document.xml": b"<document/>"})


@fault("zip-flat", fast=True)
def folder_in_the_zip(h: HandIn) -> None:
    """The folder was zipped, not the files in it."""
    h.files = {f"{ID}_lab5/{name}": content for name, content in h.files.items()}


@fault("zip-flat")
def models_in_a_folder(h: HandIn) -> None:
    """The models lie in a folder of their own."""
    h.rename(FP32, f"models/{FP32}")
    h.rename(INT8, f"models/{INT8}")


@fault("member-names", fast=True)
def fp32_in_lower_case(h: HandIn) -> None:
    """The FP32 model is called N26140692_fp32.onnx."""
    h.rename(FP32, f"{ID}_fp32.onnx")


@fault("member-names")
def report_without_an_id(h: HandIn) -> None:
    """The report is called report.pdf."""
    h.rename(REPORT, "report.pdf")


@fault("member-names")
def report_with_a_hyphen(h: HandIn) -> None:
    """The report is called N26140692-report.pdf."""
    h.rename(REPORT, f"{ID}-report.pdf")


@fault("member-names")
def notebook_under_its_first_name(h: HandIn) -> None:
    """The notebook is still called EAI_lab5.ipynb."""
    h.rename(NOTEBOOK, "EAI_lab5.ipynb")


@fault("member-names")
def notebook_with_lab5_in_its_name(h: HandIn) -> None:
    """The notebook is called N26140692_lab5.ipynb."""
    h.rename(NOTEBOOK, f"{ID}_lab5.ipynb")


@fault("member-names")
def models_under_the_template_names(h: HandIn) -> None:
    """The models are called as the template calls them."""
    h.rename(FP32, "image_classifier_model.onnx")
    h.rename(INT8, "image_classifier_model_int8.onnx")


@fault("one-student-id")
def report_of_another_student(h: HandIn) -> None:
    """The report carries another id."""
    h.rename(REPORT, "N26140001_report.pdf")


@harmless(advises=("one-student-id",), fast=True)
def id_in_lower_case_once(h: HandIn) -> None:
    """The INT8 model spells the id in lower case."""
    h.rename(INT8, f"{ID.lower()}_INT8.onnx")


@fault("nothing-unexpected")
def checkpoint_in_the_zip(h: HandIn) -> None:
    """best_model.pth is in the zip."""
    h.files["best_model.pth"] = bytes(1000)


@fault("nothing-unexpected")
def screenshots_in_the_zip(h: HandIn) -> None:
    """The screenshots are in the zip as files too."""
    h.files["screenshot1.png"] = handin.screenshot(1)


@fault("nothing-unexpected")
def two_notebooks(h: HandIn) -> None:
    """The handed-out notebook is in the zip as well."""
    h.files["EAI_lab5.ipynb"] = (handin.FIXTURES / "EAI_lab5.ipynb").read_bytes()


@fault("external-data")
def data_that_nothing_refers_to(h: HandIn) -> None:
    """There is a .data file, but the model holds its weights itself."""
    h.files[f"{FP32}.data"] = bytes(1000)


@fault("external-data")
def data_under_the_template_name(h: HandIn) -> None:
    """The model was renamed after its export, its .data file was not."""
    model, data = external(h, "image_classifier_model.onnx.data")
    h.files[FP32], h.files["image_classifier_model.onnx.data"] = model, data


@fault("external-data", also=("fp32-valid",))
def data_left_out(h: HandIn) -> None:
    """The FP32 model refers to a .data file that was not handed in."""
    h.files[FP32] = external(h, f"{FP32}.data")[0]


@fault("external-data", also=("fp32-valid",))
def data_renamed(h: HandIn) -> None:
    """Model and .data file were renamed; the model still asks for the old name."""
    model, data = external(h, "image_classifier_model.onnx.data")
    h.files[FP32], h.files[f"{FP32}.data"] = model, data


@fault("external-data", also=("fp32-valid",))
def data_outside_the_zip(h: HandIn) -> None:
    """The FP32 model refers to a file of the machine."""
    h.files[FP32] = lambda: with_location(external(h, "x")[0](), "../../../etc/passwd")


@fault("notebook-file-names", fast=True)
def template_file_name_left(h: HandIn) -> None:
    """One cell still opens image_classifier_model.onnx."""
    h.code(f'MODEL_PATH_FP32 = "{FP32}"', 'MODEL_PATH_FP32 = "image_classifier_model.onnx"')


@fault("notebook-file-names")
def notebook_of_another_student(h: HandIn) -> None:
    """The notebook writes its models under another id."""
    h.code(ID, "N26140001", count=5)


@fault("zip-opens")
def rar_named_zip(h: HandIn) -> None:
    """It is a RAR archive under the name of a zip."""
    h.pack = lambda path, files: path.write_bytes(b"Rar!\x1a\x07\x01\x00" + bytes(10_000))
