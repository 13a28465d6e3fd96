"""The portrait: what of a hand-in is its own, and what the parent believes of it."""

from __future__ import annotations

import base64
import copy
import io
import json

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lab5.assignment import FileNames
from lab5.classroom.alike import groups
from lab5.grading.evidence.own_code import own_statements
from lab5.grading.evidence.program import Cell, Program
from lab5.grading.graded import Graded
from lab5.grading.handin import Evidence
from lab5.grading.portrait import (
    MAX_PAGE,
    PAGE_SIZE,
    PARTS,
    SIDE,
    Picture,
    Portrait,
    believed,
    made,
)
from lab5.grading.rooms import Rooms
from lab5.grading.suite import check_submission
from lab5.notebook import fill, read_notebook
from tests import handin
from tests.conftest import FIXTURES, need
from tests.handin import FP32, INT8, NOTEBOOK, REPORT
from tests.test_sample_code import ASSIGNMENT, typed

TEMPLATE = FIXTURES / "EAI_lab5.ipynb"

OWN = """
def sharpen(picture, factor):
    '''What nobody else wrote.'''
    # 銳化
    edges = picture - picture.mean(axis=(0, 1), keepdims=True)
    stronger = np.clip(picture + factor * edges, 0, 1)
    return stronger.astype(np.float32)

table = {name: os.path.getsize(name) / 2 ** 20 for name in (FP32_MODEL, INT8_MODEL)}
for label, size in sorted(table.items(), key=lambda pair: pair[1]):
    print(f"{label}: {size:.1f} MB")
spread = np.percentile(np.array([bench(sess_int8, x_demo, repeats=3) for _ in range(9)]), [5, 95])
"""


@pytest.fixture
def drawn(good_files, weights, tmp_path):
    """The portrait of a hand-in with these files in place of the good one's."""
    count = iter(range(99))

    def draw(**changed) -> Portrait:
        folder = tmp_path / str(next(count))
        folder.mkdir()
        names = {"notebook": NOTEBOOK, "fp32": FP32, "int8": INT8, "report": REPORT}
        files = good_files | {names[role]: content for role, content in changed.items()}
        archive = handin.write_zip(folder / handin.ARCHIVE, files)
        evidence = Evidence(archive, folder, weights=weights, template=TEMPLATE)
        return Portrait(**{part: believed(part, made(part, evidence)) for part in PARTS})

    return draw


def program(notebook) -> Program:
    return Program.of([Cell(c["cell_type"], "".join(c["source"])) for c in notebook["cells"]])


def own(notebook) -> list[str]:
    return own_statements(program(notebook), program(read_notebook(TEMPLATE)))


def with_cell(notebook, source: str):
    found = copy.deepcopy(notebook)
    cell = {"cell_type": "code", "metadata": {}, "source": source, "outputs": []}
    found["cells"].append({**cell, "execution_count": None})
    return found


def likenesses(portraits):
    """The kinds of likeness in a class of these and nobody else."""
    return [one.kind for group in groups(portraits) for one in group.likenesses]


@pytest.mark.parametrize("calibration", ["random", "synthetic", "cifar10"])
def test_what_this_package_fills_in_is_nobodys_own(calibration):
    filled = fill(read_notebook(TEMPLATE), FileNames("N26140692"), calibration)
    assert len(own(filled)) <= 2


def test_names_comments_and_texts_are_taken_out():
    renamed = OWN
    for old, new in (("sharpen", "f"), ("edges", "kanten"), ("picture", "bild"), ("label", "n"),
                     ("# 銳化", "# another remark"), ("MB", "megabytes"), ("'''What", "'''Not what")):  # fmt: skip
        renamed = renamed.replace(old, new)
    found = own(with_cell(handin.notebook(), OWN))
    assert found == own(with_cell(handin.notebook(), renamed))
    assert "_ = _ - _.mean(axis=(0, 1), keepdims=True)" in found
    assert len(found) >= 6
    assert len(own(handin.notebook())) <= 2


def test_the_handed_out_template_has_nothing_of_its_own():
    assert own(read_notebook(TEMPLATE)) == []


@given(st.text("ab_=()[]{}:\n #'1.,*@\\%", max_size=120))
def test_any_source_has_its_own_statements_or_none(source):
    found = own_statements(Program.of([Cell("code", source)]), Program())
    assert len(set(found)) == len(found)
    assert all("\n" not in one for one in found)


def test_two_who_type_the_assignments_own_code_do_not_look_alike(drawn):
    need(ASSIGNMENT.is_file(), f"the assignment's text is not at {ASSIGNMENT}")
    one = drawn(notebook=handin.notebook_bytes(typed()))
    assert (one.code, one.notebook) == ((), "")
    assert not {"code", "notebook", "weights"} & {*likenesses({"a": one, "b": one})}


def test_what_a_notebook_printed_is_its_own(drawn):
    content = read_notebook(TEMPLATE)
    assert drawn(notebook=handin.notebook_bytes(content)).notebook == ""
    content["cells"][7]["outputs"] = [
        {"output_type": "stream", "name": "stdout", "text": "average ms: FP32 6.5213 INT8 1.6112"}
    ]
    printed = drawn(notebook=handin.notebook_bytes(content)).notebook
    assert likenesses({"a": Portrait(printed), "b": Portrait(printed)}) == ["notebook"]


def test_copied_code_is_found_under_other_names(drawn):
    renamed = OWN.replace("edges", "kanten").replace("picture", "bild")
    notebooks = [with_cell(handin.notebook(), source) for source in (OWN, renamed)]
    one, two = (drawn(notebook=handin.notebook_bytes(content)) for content in notebooks)
    assert one.notebook != two.notebook
    assert "code" in likenesses({"a": one, "b": two})


SEEDED = ("reader = CIFARLikeCalibReader(", "np.random.seed(0)\nreader = CIFARLikeCalibReader(")
FROM_FOLDER = (
    "(image_dir=None, input_name=INPUT_NAME",
    '(image_dir="images", input_name=INPUT_NAME',
)


@pytest.mark.parametrize(
    ("edit", "evident"),
    [(("", ""), True), (SEEDED, False), (FROM_FOLDER, False), (("reader =", "# seed(0)\nreader ="), True)],
)  # fmt: skip
def test_equal_scales_say_something_where_chance_would_give_others(drawn, edit, evident):
    content = handin.notebook()
    content["cells"][6]["source"] = "".join(content["cells"][6]["source"]).replace(*edit)
    one = drawn(notebook=handin.notebook_bytes(content))
    assert ("scales" in likenesses({"a": one, "b": one})) == evident


@pytest.mark.parametrize("calibration", ["random", "synthetic", "cifar10"])
def test_scales_of_this_packages_own_notebooks_say_nothing(drawn, calibration):
    filled = fill(read_notebook(TEMPLATE), FileNames("N26140692"), calibration)
    assert drawn(notebook=handin.notebook_bytes(filled)).scales == ""


def test_scales_tell_calibrations_apart_whatever_the_files_names_are(drawn, good_files):
    def edited(edit) -> bytes:
        model = onnx.load_from_string(good_files[INT8])
        edit(model)
        return model.SerializeToString()

    def rename(model):
        model.graph.name, model.producer_name = "another", "another"

    def calibrate(model):
        scales = [t for t in model.graph.initializer if t.name.endswith("_scale") and not t.dims]
        for tensor in scales:
            value = onnx.numpy_helper.to_array(tensor) * np.float32(1.001)
            tensor.CopyFrom(onnx.numpy_helper.from_array(value, tensor.name))
        assert scales

    good = drawn().scales
    assert drawn(int8=edited(rename)).scales == good
    assert drawn(int8=edited(calibrate)).scales not in (good, "")
    assert drawn(int8=good_files[FP32]).scales == ""


def test_weights_count_unless_they_are_those_handed_out(drawn, good_files):
    assert drawn().weights == ""
    model = onnx.load_from_string(good_files[FP32])
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 4:
            value = onnx.numpy_helper.to_array(tensor) * np.float32(1.2)
            tensor.CopyFrom(onnx.numpy_helper.from_array(value, tensor.name))
    one = drawn(fp32=model.SerializeToString())
    assert "weights" in likenesses({"a": one, "b": one})


def test_a_picture_is_found_again_in_another_report(drawn):
    def compressed(png: bytes) -> bytes:
        file = io.BytesIO()
        Image.open(io.BytesIO(png)).resize((500, 897)).save(file, "JPEG", quality=60)
        return file.getvalue()

    shots = {f"{name}.png": handin.screenshot(i) for i, name in enumerate(("one", "two", "three"))}
    others = {name: handin.screenshot(i + 40) for i, name in enumerate(shots)}
    one, two = (drawn(report=handin.report(pictures=given)) for given in (shots, others))
    assert len(one.pictures) == 3
    assert "picture" not in likenesses({"a": one, "b": two})
    source = handin.REPORT_SOURCE.replace("two.png", "two.jpg")
    jpeg = {**others, "two.jpg": compressed(shots["two.png"])}
    again = drawn(report=handin.report(source, jpeg))
    (group,) = [g for g in groups({"a": one, "b": again, "c": two}) if g.keys == ("a", "b")]
    assert "picture" in [likeness.kind for likeness in group.likenesses]


def test_the_pages_are_small_pictures(drawn):
    one = drawn()
    assert len(one.pages) == 2
    for page in one.pages:
        data = base64.b64decode(page)
        assert len(data) <= MAX_PAGE
        with Image.open(io.BytesIO(data)) as image:
            assert image.format == "WEBP"
            assert image.width <= PAGE_SIZE[0]
            assert image.height <= PAGE_SIZE[1]
            assert np.ptp(np.asarray(image)) > 100


NOISE = np.random.default_rng(0).integers(0, 256, (*reversed(PAGE_SIZE), 3), dtype="u1")


def test_pages_of_noise_are_small_too():
    (page,) = believed("pages", [NOISE])
    assert len(base64.b64decode(page)) <= MAX_PAGE


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("notebook", "x"), ("report", 7), ("weights", None), ("scales", "ab" * 33),
        ("code", "one"), ("code", [1]), ("code", ["x" * 161]), ("code", ["x"] * 301),
        ("pictures", [{}]), ("pictures", [{"page": 0, "greys": ""}]), ("pictures", [[]]),
        ("pictures", [{"page": "1", "greys": base64.b64encode(bytes(SIDE**2)).decode()}]),
        ("pictures", [{"page": 1, "greys": "AA"}]), ("pictures", [{"page": 1, "greys": "<b>"}]),
        ("pages", ["RIFF"]), ("pages", [NOISE] * 7), ("pages", [np.zeros((9, 9, 4), "u1")]),
        ("pages", [np.zeros((9, 9, 3), "f4")]), ("pages", [np.zeros((9, 481, 3), "u1")]),
        ("pages", [np.zeros((0, 9, 3), "u1")]), ("pages", [np.zeros(9, "u1")]),
    ],
)  # fmt: skip
def test_a_part_of_another_form_is_not_believed(part, value):
    with pytest.raises((ValueError, TypeError, KeyError, AttributeError, IndexError)):
        believed(part, value)


def test_a_hand_in_that_is_nothing_has_an_empty_portrait(tmp_path):
    broken = {NOTEBOOK: b"{", FP32: b"x", INT8: b"y", REPORT: b"%PDF-1.7"}
    (tmp_path / "broken").mkdir()
    with Rooms("never") as rooms:
        for files in (broken, {}):
            archive = handin.write_zip(tmp_path / "broken" / handin.ARCHIVE, files)
            found = check_submission(
                archive, template=TEMPLATE, rooms=rooms, portrait=True
            ).portrait
            assert found is not None
            assert (found.code, found.pictures, found.pages, found.scales) == ((), (), (), "")
            assert bool(found.report) == bool(files)


def test_it_survives_being_stored_and_is_in_no_json_for_others(good_files, tmp_path):
    archive = handin.write_zip(tmp_path / handin.ARCHIVE, good_files)
    with Rooms("never") as rooms:
        found, plain = (
            check_submission(archive, rooms=rooms, seed=1, portrait=wanted)
            for wanted in (True, False)
        )
    assert found.portrait is not None
    assert found.portrait.pages
    assert isinstance(found.portrait.pictures[0], Picture)
    assert plain.portrait is None
    marks = [[(c.name, c.status, c.earned) for c in one.checks] for one in (found, plain)]
    assert marks[0] == marks[1]
    for one in (found, plain):
        assert Graded.restored(json.loads(json.dumps(one.stored()))) == one
        assert "portrait" not in one.as_dict("en")
    older = {key: value for key, value in plain.stored().items() if key != "portrait"}
    assert Graded.restored(older) == plain
