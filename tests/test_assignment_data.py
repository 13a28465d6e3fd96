"""Another assignment: how it is read, and that hand-ins are made and graded by it."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import jsonschema
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pypdf import PdfReader

from lab5 import assignment
from lab5.assignment import FileNames, inlined
from lab5.assignment_file import OWN, content_of, id_pattern, with_changes
from lab5.commands import rubric
from lab5.errors import UsageError
from lab5.grading.core import divided
from lab5.grading.suite import CHECKS
from tests import handin
from tests.conftest import FIXTURES
from tests.test_grade import SCHEMA

# One process: the others would only wait for the hand-ins that most of the slow ones grade.
pytestmark = pytest.mark.xdist_group("assignments")

AS_IT_IS = OWN
TEN = ["plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
EIGHT = ["apple", "bell", "cup", "desk", "eel", "fig", "gate", "hat"]
CHANGED = f"""
classes = {json.dumps(EIGHT)}
mean = [0.5, 0.4, 0.3]
std = [0.2, 0.25, 0.3]
opset = 17
title = "Eight things - FP32 vs INT8"

[student_id]
pattern = '[A-Z]\\d{{4}}'
example = "A1234"

[files]
fp32 = "{{id}}_model.onnx"
archive = "{{id}}_lab6.zip"
template_fp32 = "things.onnx"
template_int8 = "things_int8.onnx"

[items]
"1.1".points = 7
"1.4".points = 13
"2.2".points = 9
"3.3".points = 6

[advice]
fp32-opset = false
"""


def run(*arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lab5", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


# What it reads


def test_without_changes_it_is_the_assignment_as_it_is():
    assert with_changes("") == AS_IT_IS
    assert assignment.environment() == {}


def test_only_what_is_named_is_another():
    found = with_changes(CHANGED)
    assert found["opset"] == 17
    assert found["template_classes"] == found["classes"] == EIGHT
    assert found["title_zh"] == found["title"]
    assert found["student_id"]["en"] == r"what fits [A-Z]\d{4}"
    assert found["files"]["int8"] == "{id}_INT8.onnx"
    assert found["items"]["1.1"] == {**AS_IT_IS["items"]["1.1"], "points": 7}
    assert found["advice"].keys() == AS_IT_IS["advice"].keys() - {"fp32-opset"}


names = st.text("abcdefgh é貓 -", min_size=1).filter(str.strip)


@given(
    st.lists(names, min_size=3, max_size=40, unique=True),
    st.lists(st.floats(0.01, 1), min_size=3, max_size=3),
    st.integers(13, 20),
    st.dictionaries(st.sampled_from(list(AS_IT_IS["items"])), st.integers(1, 99), min_size=1),
    st.sets(st.sampled_from(list(AS_IT_IS["advice"]))),
)
def test_what_is_written_is_read(classes, std, opset, points, failing):
    lines = [f"classes = {json.dumps(classes)}", f"std = {std!r}", f"opset = {opset}"]
    lines += [f'items."{number}".points = {value}' for number, value in points.items()]
    lines += [f"advice.{name} = false" for name in failing]
    found = with_changes("\n".join(lines))
    assert (found["classes"], found["std"], found["opset"]) == (classes, std, opset)
    for number, item in AS_IT_IS["items"].items():
        assert found["items"][number] == {**item, "points": points.get(number, item["points"])}
    assert found["advice"].keys() == AS_IT_IS["advice"].keys() - failing
    assert all(found[key] == AS_IT_IS[key] for key in ("mean", "files", "student_id", "topics"))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("opset = = 3", "line 1"),
        ("colour = 'red'", "colour"),
        ("opset = 12", "opset"),
        ("opset = '17'", "opset"),
        ("opset = true", "opset"),
        ("classes = ['a', 'b']", "classes"),
        ("classes = ['a', 'b', 'b']", "classes"),
        ("classes = ['a', 'b', 3]", "classes"),
        ("classes = ['a', 'b', ' ']", "classes"),
        ("template_classes = ['a', 'b', 'c']", "template_classes"),
        ("mean = [0.5]", "mean"),
        ("std = [0.5, 0.5, 0.0]", "std"),
        ("items = 5", "items"),
        ("items.'4.1'.points = 5", "items.4.1"),
        ("items.'1.1'.points = -1", "1.1"),
        ("items.'1.1'.points = 2.5", "1.1"),
        ("items.'1.1'.point = 5", "items.1.1.point"),
        ("advice.preprocess-dtype = false", "advice.preprocess-dtype"),
        ("advice.fp32-opset = true", "advice.fp32-opset"),
        ("files.fp32 = 'model_FP32.onnx'", "files.fp32"),
        ("files.fp32 = '../{id}.onnx'", "files.fp32"),
        ("files.fp32 = '{id}_INT8.onnx'", "files.fp32"),
        ("files.int8 = '{id}_small.onnx'", "files.int8"),
        ("files.report = '{id}.docx'", "files.report"),
        ("files.checkpoint = '{id}.pth'", "files.checkpoint"),
        ("student_id.pattern = '['", "student_id.pattern"),
        ("student_id.pattern = '[A-Z]\\d{4}'", "student_id.example"),
        ("student_id.example = 'a/b'", "student_id.example"),
    ],
)
def test_what_cannot_be_is_refused_and_named(text, named):
    with pytest.raises(UsageError) as caught:
        with_changes(text)
    assert named in caught.value.text.en
    assert named in caught.value.text.zh


def test_no_points_at_all_are_refused():
    nothing = "\n".join(f"items.'{number}'.points = 0" for number in AS_IT_IS["items"])
    with pytest.raises(UsageError, match="points above 0"):
        with_changes(nothing)


@pytest.mark.parametrize("content", [None, b"\xff", b"#" * 100_000])
def test_a_file_that_cannot_be_read_is_named(content, tmp_path):
    path = tmp_path / "next.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"next\.toml"):
        content_of(path)


@given(st.text())
def test_no_pattern_lets_an_id_leave_the_folder(text):
    if id_pattern(".*").fullmatch(text):
        assert re.fullmatch(r"[A-Za-z0-9_-]+", text)


# Points


@given(st.lists(st.integers(0, 10), min_size=1).filter(any), st.integers(0, 1000))
def test_points_are_divided_in_proportion_and_add_up_exactly(shares, points):
    found = divided(points, shares)
    hundredths = [round(100 * one) for one in found]
    assert sum(hundredths) == 100 * points
    assert all(one == whole / 100 for one, whole in zip(found, hundredths, strict=True))
    for one, share in zip(hundredths, shares, strict=True):
        assert abs(one - 100 * points * share / sum(shares)) < 1
    assert divided(sum(shares), shares) == shares


def test_the_checks_of_an_item_earn_its_points():
    for number, item in assignment.ITEMS.items():
        points = [one.points for one in CHECKS.values() if one.item == number]
        assert sum(points) == item.points
        assert all(isinstance(one, int) for one in points)


# The option


def test_the_rubric_shows_the_changed_points(tmp_path):
    (tmp_path / "next.toml").write_text(CHANGED, encoding="utf-8")
    done = run("rubric", "--assignment", "next.toml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "(7 points)" in done.stdout
    assert "| `network-names` | 1.4 | The notebook defines BasicBlock" in done.stdout
    assert "opset 17." in done.stdout
    assert "output (N, 8), float32" in done.stdout
    advice = done.stdout.partition("## Advice")[2]
    assert "`int8-speed`" in advice
    assert "`fp32-opset`" not in advice
    same = run("rubric", cwd=tmp_path, LAB5_ASSIGNMENT=str(tmp_path / "next.toml"))
    assert same.stdout == done.stdout


def test_a_wrong_assignment_is_said_without_a_traceback(tmp_path):
    (tmp_path / "next.toml").write_text("opset = 3", encoding="utf-8")
    for done in (
        run("rubric", "--assignment", "next.toml", cwd=tmp_path),
        run("rubric", cwd=tmp_path, LAB5_ASSIGNMENT="next.toml"),
    ):
        assert done.returncode == 2
        assert "opset is 3, expected 13 to 20" in done.stderr
        assert "Traceback" not in done.stderr


def test_what_is_imported_stays(tmp_path, capsys):
    (tmp_path / "next.toml").write_text("opset = 17", encoding="utf-8")
    assert rubric.main(["--assignment", str(tmp_path / "next.toml")]) == 2
    assert "LAB5_ASSIGNMENT" in capsys.readouterr().err
    (tmp_path / "next.toml").write_text("", encoding="utf-8")
    assert rubric.main(["--assignment", str(tmp_path / "next.toml")]) == 0


def test_the_data_set_of_other_classes_cannot_be_fetched(tmp_path):
    (tmp_path / "next.toml").write_text(CHANGED, encoding="utf-8")
    done = run("data", "--assignment", "next.toml", cwd=tmp_path, LAB5_CACHE=str(tmp_path / "c"))
    assert done.returncode == 1
    assert "not CIFAR-10's but apple" in done.stderr
    assert not (tmp_path / "c").exists()


def test_results_of_two_assignments_are_not_mixed(tmp_path):
    code = "from lab5.classroom.marking import suite_version; print(suite_version())"
    found = set()
    for text in ("", "opset = 17", "opset = 18"):
        (tmp_path / "next.toml").write_text(text, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "LAB5_ASSIGNMENT": str(tmp_path / "next.toml")},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        found.add(done.stdout)
    assert len(found) == 3


# Its values in source


def test_a_module_gets_the_values_in_place_of_their_names():
    source = (
        "from lab5.assignment import APP_TITLE, OPSET\nfrom lab5.assignment import OPSET as number\n"
        'é = "OPSET"; x = (é, OPSET, number)  # OPSET\ny = f"{OPSET} {APP_TITLE}"\nz = APP_TITLE\n'
    )
    assert inlined(source) == (
        '\n\né = "OPSET"; x = (é, 13, 13)  # OPSET\ny = f"{OPSET} {APP_TITLE}"\n'
        'z = "CIFAR-10 Image Classifier - FP32 vs INT8"\n'
    )


def test_the_network_needs_no_lab5():
    source = (Path(assignment.__file__).parent / "model.py").read_text(encoding="utf-8")
    assert "lab5" in source
    assert not re.search(r"^(from|import) lab5", inlined(source), re.M)


# From end to end


def _changed_template() -> str:
    text = (FIXTURES / "EAI_lab5.ipynb").read_text(encoding="utf-8")
    for old, new in (
        ("num_classes=10", "num_classes=8"),
        ("image_classifier_model_int8.onnx", "things_int8.onnx"),
        ("image_classifier_model.onnx", "things.onnx"),
        ("[0.4914, 0.4822, 0.4465]", "[0.5, 0.4, 0.3]"),
        ("[0.2470, 0.2435, 0.2616]", "[0.2, 0.25, 0.3]"),
        (repr(TEN), repr(EIGHT)),
    ):
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def changed(once, weights) -> Path:
    """A folder with the changed assignment, what it hands out, and a hand-in that ``lab5 package`` made."""

    def make(folder: Path) -> None:
        (folder / "next.toml").write_text(CHANGED, encoding="utf-8")
        (folder / "EAI_lab5.ipynb").write_text(_changed_template(), encoding="utf-8")
        state = torch.load(weights, map_location="cpu", weights_only=True)
        for name in ("fc.weight", "fc.bias"):  # of eight classes
            state[name] = state[name][:8].clone()
        torch.save(state, folder / "best_model.pth")
        (folder / "submission" / "screenshots").mkdir(parents=True)
        for number in range(3):
            picture = folder / "submission" / "screenshots" / f"{number}.png"
            picture.write_bytes(handin.screenshot(number))
        words = (
            "I learnt that one file can hold all the numbers, and that tests must see them change."
        )
        (folder / "submission" / "reflection.md").write_text(words, encoding="utf-8")
        done = run("package", "A1234", "--assignment", "next.toml", cwd=folder)
        assert done.returncode == 0, done.stdout + done.stderr

    return once("changed", make)


def graded(folder: Path, *arguments: object) -> tuple[dict, dict[str, str]]:
    """The submission, and the states of its checks that are not as good as they can be."""
    out = folder / "out.json"
    done = run("grade", *arguments, "--json", out, "--lang", "en", cwd=folder)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text(encoding="utf-8"))
    jsonschema.validate(found, SCHEMA)
    (one,) = found["submissions"]
    return one, {
        c["name"]: c["status"] for c in one["checks"] if c["status"] not in ("pass", "manual")
    }


@pytest.mark.slow
def test_a_hand_in_of_the_changed_assignment_earns_all_that_a_machine_can_give(changed, tmp_path):
    archive = changed / "submission" / "A1234_lab6.zip"
    options = ("--weights", changed / "best_model.pth", "--template", changed / "EAI_lab5.ipynb")
    one, lost = graded(tmp_path, archive, *options, "--assignment", changed / "next.toml")
    assert lost == {}
    assert one["student_id"] == "A1234"
    assert one["points"] == 105
    assert one["earned"] + one["manual"] == pytest.approx(105)
    assert one["manual"] == 6.4  # 2 + 2, and 2 of 5 of six
    points = {item["id"]: item["points"] for item in one["items"]}
    assert (points["1.1"], points["1.4"], points["2.2"], points["3.3"]) == (7, 13, 9, 6)


@pytest.mark.slow
def test_nothing_made_for_other_classes_speaks_of_cifar10(changed):
    with zipfile.ZipFile(changed / "submission" / "A1234_lab6.zip") as opened:
        notebook = opened.read("A1234.ipynb").decode()
        report = PdfReader(io.BytesIO(opened.read("A1234_report.pdf")))
    assert "CIFAR-10" not in notebook
    text = "".join(page.extract_text() for page in report.pages)
    assert "FP32" in text
    assert "CIFAR" not in text


@pytest.mark.slow
def test_as_a_hand_in_of_this_assignment_it_fails_what_the_change_concerns(changed, tmp_path):
    one, lost = graded(tmp_path, changed / "submission" / "A1234_lab6.zip")
    assert one["points"] == 100
    assert {name for name, status in lost.items() if status == "fail"} == {
        "zip-name", "member-names", "export-called", "fp32-shapes", "fp32-parity",
        "preprocess-values", "compare-outputs",
    }  # fmt: skip
    assert lost["fp32-opset"] == "advice"


@pytest.mark.slow
def test_a_hand_in_of_this_assignment_fails_what_the_change_concerns(changed, good_files, tmp_path):
    archive = handin.write_zip(tmp_path / handin.ARCHIVE, good_files)
    options = ("--weights", changed / "best_model.pth", "--assignment", changed / "next.toml")
    one, lost = graded(tmp_path, archive, *options)
    assert one["student_id"] is None
    assert {name for name, status in lost.items() if status == "fail"} == {
        "zip-name", "one-student-id", "export-called", "fp32-opset", "fp32-shapes", "fp32-parity",
        "fp32-carries-weights", "preprocess-values", "compare-labels",
    }  # fmt: skip


MUTANTS = {  # a line of the changed assignment that is another -> what fails then
    "opset = 18": {"fp32-opset"},
    "mean = [0.5, 0.45, 0.3]": {"preprocess-values"},
    f"classes = {json.dumps(['bell', 'apple', *EIGHT[2:]])}": {"compare-labels"},
    'int8 = "{id}_quantised_INT8.onnx"': {"member-names"},
}


@pytest.mark.slow
@pytest.mark.parametrize("line", MUTANTS)
def test_each_change_is_seen_by_its_own_check(line, changed, tmp_path):
    key = line.partition(" ")[0]
    text, count = re.subn(rf"(?m)^{key} = .*", lambda _: line, CHANGED)
    (tmp_path / "other.toml").write_text(
        text if count else text.replace("[files]", f"[files]\n{line}"), encoding="utf-8"
    )
    archive = changed / "submission" / "A1234_lab6.zip"
    options = ("--weights", changed / "best_model.pth", "--assignment", "other.toml")
    _, lost = graded(tmp_path, archive, *options)
    assert {name for name, status in lost.items() if status != "blocked"} == MUTANTS[line]


def test_the_id_is_checked_before_anything_is_made(tmp_path):
    (tmp_path / "next.toml").write_text(CHANGED, encoding="utf-8")
    done = run("package", "N26140692", "--assignment", "next.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert r"expected what fits [A-Z]\d{4}" in done.stderr
    assert FileNames("N26140692").archive == "N26140692_lab5.zip"  # here nothing changed


# Another network


@pytest.fixture(scope="module")
def networked(once) -> Path:
    """A folder with an assignment that names another network, and a hand-in that has it."""

    def make(folder: Path) -> None:
        source = Path(assignment.__file__).with_name("model.py").read_text(encoding="utf-8")
        changed = source.replace("F.avg_pool2d(out, 4)", "F.max_pool2d(out, 4)")
        assert changed != source
        (folder / "pooled.py").write_text(changed, encoding="utf-8")
        (folder / "next.toml").write_text('network = "pooled.py"', encoding="utf-8")
        done = run("package", handin.ID, "--assignment", "next.toml", cwd=folder)
        assert done.returncode == 0, done.stdout + done.stderr

    return once("networked", make)


@pytest.mark.slow
def test_a_hand_in_of_another_network_is_compared_with_that(networked, weights, tmp_path):
    archive = networked / "submission" / handin.ARCHIVE
    with zipfile.ZipFile(archive) as opened:
        assert "F.max_pool2d(out, 4)" in opened.read(handin.NOTEBOOK).decode()
    template = FIXTURES / "EAI_lab5.ipynb"
    options = ("--weights", weights, "--template", template)
    _, lost = graded(tmp_path, archive, *options, "--assignment", networked / "next.toml")
    assert {n for n in lost if not n.startswith(("screenshots", "reflection"))} == {
        "compare-labels"
    }
    _, lost = graded(tmp_path, archive, *options)
    assert {"network-output", "fp32-parity"} <= lost.keys()


@pytest.mark.slow
def test_a_hand_in_of_our_network_is_not_that_of_another(networked, good_files, weights, tmp_path):
    archive = handin.write_zip(tmp_path / handin.ARCHIVE, good_files)
    options = ("--weights", weights, "--assignment", networked / "next.toml")
    _, lost = graded(tmp_path, archive, *options)
    assert {name for name, status in lost.items() if status == "fail"} == {
        "network-output", "fp32-parity", "fp32-carries-weights",
    }  # fmt: skip


def diagnosed(archive: Path, folder: Path, weights: Path, *arguments: str) -> dict:
    """By the assignment of ``folder``."""
    out = archive.with_suffix(".json")
    options = ("--weights", weights, "--json", out, "--assignment", folder / "next.toml")
    done = run("diagnose", archive, *options, "--lang", "en", *arguments, cwd=archive.parent)
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_of_another_network_causes_are_named_only_where_they_are_known(
    networked, weights, tmp_path
):
    with zipfile.ZipFile(networked / "submission" / handin.ARCHIVE) as opened:
        files = {name: opened.read(name) for name in opened.namelist()}
    found = diagnosed(handin.write_zip(tmp_path / "good.zip", files), networked, weights)
    assert (found["causes"], found["unknown"]) == ([], [])
    text = files[handin.NOTEBOOK].decode()
    for old, new in (
        ("F.max_pool2d(out, 4)", "F.avg_pool2d(out, 4)"),
        ("np.asarray(img, dtype=np.float32) / 255.0", "np.asarray(img, dtype=np.float32)"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    files[handin.NOTEBOOK] = text.encode()
    found = diagnosed(handin.write_zip(tmp_path / "faulty.zip", files), networked, weights)
    assert [cause["name"] for cause in found["causes"]] == ["not-divided-by-255"]
    (unknown,) = found["unknown"]
    assert unknown.startswith("1.1 network-output: ")


def test_the_layers_of_another_network_are_refused(tmp_path):
    (tmp_path / "other.py").write_text(
        "class BasicBlock: pass\nclass ResNet18: pass", encoding="utf-8"
    )
    (tmp_path / "next.toml").write_text("network = 'other.py'", encoding="utf-8")
    done = run("diagnose", ".", "--layers", "--assignment", "next.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert "lab5.model's layers" in done.stderr


@pytest.mark.parametrize(
    ("named", "content"),
    [
        ("none.py", None),
        ("no_module_of_this_name", None),
        ("broken.py", "class BasicBlock("),
        ("other.py", "class ResNet34: pass"),
    ],
)
def test_a_network_that_is_none_is_refused_and_named(named, content, tmp_path):
    (tmp_path / "next.toml").write_text(f"network = '{named}'", encoding="utf-8")
    if content:
        (tmp_path / named).write_text(content, encoding="utf-8")
    (tmp_path / "x.zip").write_bytes(b"")
    done = run("grade", "x.zip", "--assignment", "next.toml", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert named in done.stderr
    assert "BasicBlock and ResNet18" in done.stderr
    assert "Traceback" not in done.stderr


def test_another_network_may_have_other_parameters(tmp_path):
    """``lab5.checkpoint`` and 1.1's check know them by the module that is named."""
    source = Path(assignment.__file__).with_name("model.py").read_text(encoding="utf-8")
    empty = 'self.register_buffer("none", torch.empty(0))'  # has no least and no largest value
    narrow = source.replace("512", "300").replace("self.fc =", f"{empty}; self.fc =")
    (tmp_path / "narrow.py").write_text(narrow, encoding="utf-8")
    (tmp_path / "next.toml").write_text('network = "narrow.py"', encoding="utf-8")
    code = """
import torch
from lab5.checkpoint import load_model, untrained
from lab5.grading.evidence.checkpoint import reference_parameters
torch.save({"model": untrained().state_dict()}, "narrow.pth")
network = load_model(__import__("pathlib").Path("narrow.pth"))[0]
assert (network.fc.in_features, network.none.numel()) == (300, 0)
print(reference_parameters()["fc.weight"])
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "LAB5_ASSIGNMENT": "next.toml"},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "[10, 300]\n", done.stderr


TINY = """
import torch
from torch import nn

class BasicBlock(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x):
        return x * self.scale

class ResNet18(nn.Module):
    def __init__(self, ResBlock, num_classes=3):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, stride=8), nn.BatchNorm2d(4), ResBlock(4))
        self.head = nn.Linear(4 * 4 * 4, num_classes)  # 32 x 32 pixels only

    def forward(self, x):
        return self.head(self.stem(x).flatten(1))
"""


def test_another_network_is_trained(tmp_path):
    """At the assignment's size; all of its parameters, and ``lab5.checkpoint`` reads what is left."""
    (tmp_path / "tiny.py").write_text(TINY, encoding="utf-8")
    (tmp_path / "next.toml").write_text(
        "network = 'tiny.py'\nclasses = ['red', 'green', 'blue']", encoding="utf-8"
    )
    for split in ("train", "test"):
        for name in ("red", "green", "blue"):
            folder = tmp_path / "data" / split / name
            folder.mkdir(parents=True)
            Image.new("RGB", (32, 32), name).save(folder / "0.png")
    asked = ("train", "--assignment", "next.toml", "--data", "data")
    done = run(*asked, "--epochs", 2, "--out", "first.pth", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    log = json.loads((tmp_path / "first.json").read_text())
    assert [row["side"] for row in log["history"]] == [32, 32]
    state = torch.load(tmp_path / "first.pth", weights_only=True)
    assert state["head.weight"].shape == (3, 64)
    assert (state["stem.2.scale"] != 1).any()
    more = ("--weights", "first.pth", "--last", 1, "--average", "--epochs", 2, "--out", "more.pth")
    done = run(*asked, *more, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
