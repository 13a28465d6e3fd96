"""The diagnosis of whole hand-ins: files alone and together, the verb, symptoms, layers, the benchmark."""

from __future__ import annotations

import importlib
import inspect
import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from lab5.assignment import CLASSES
from lab5.commands.diagnose import _asked, main
from lab5.diagnosis import CAUSES, SYMPTOMS, Diagnosis, asked
from lab5.diagnosis.core import name_of
from lab5.diagnosis.diagnosing import Diagnosing
from lab5.diagnosis.given import gathered
from lab5.diagnosis.symptoms import Answer, from_answers, ways
from lab5.grading.evidence.onnx_file import OnnxFile
from lab5.grading.sandbox.keeper import Limits
from tests import handin
from tests.conftest import FIXTURES
from tests.diagnosis_benchmark import PAIRS, measured, pairs, table
from tests.faults import FAULTS, RIGHT
from tests.handin import FP32, INT8, NOTEBOOK

FAST = ("1.3 softmax", "1.4 calibrated 0..255", "1.2 module.", "1.2 pytorch-cifar's names",
        "1.4 QDQ", "right: FP32 alone", "right: INT8 alone", "right: thop's counts")  # fmt: skip


@pytest.fixture(scope="module")
def folder(good_files, tmp_path_factory):
    """A hand-in as a folder, its notebook with two faults."""
    path = tmp_path_factory.mktemp("handin")
    for name, content in good_files.items():
        (path / name).write_bytes(content)
    content = json.loads(good_files[NOTEBOOK])
    for cell in content["cells"]:
        text = "".join(cell["source"])
        text = text.replace("arr.transpose(2, 0, 1)", "arr[..., ::-1].transpose(2, 0, 1)")
        text = text.replace("speedup = fp32_ms / int8_ms", "speedup = int8_ms / fp32_ms")
        cell["source"] = text
    (path / NOTEBOOK).write_bytes(handin.notebook_bytes(content))
    return path


def test_the_table_of_causes_is_whole():
    strangers = set(CAUSES)
    for topic in ("checkpoint", "fp32", "int8", "page", "preprocessing", "sessions"):
        module = importlib.import_module(f"lab5.diagnosis.{topic}")
        functions = [one for one in vars(module).values() if inspect.isfunction(one)]
        own = {name_of(one) for one in functions if one.__module__ == module.__name__}
        assert own & set(CAUSES), topic
        strangers -= own
    assert not strangers
    assert len(CAUSES) > 100
    for name, one in CAUSES.items():
        assert one.says.en, name
        assert one.says.zh, name
        assert one.says.en.count("{}") == one.says.zh.count("{}"), name
        assert one.item in ("1.1", "1.2", "1.3", "1.4", "1.5", "2.1", "2.2"), name
    assert {s for one in CAUSES.values() for s in one.symptoms} == set(SYMPTOMS)


def test_both_faults_of_a_folder_and_nothing_else(folder, tmp_path, capsys):
    out = tmp_path / "found.json"
    arguments = [str(folder), "--json", str(out), "--lang", "en"]
    assert main([*arguments, "--weights", str(FIXTURES / "best_model.pth")]) == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    assert [one["name"] for one in found["causes"]] == ["channels-reversed", "speedup-upside-down"]
    for one in found["causes"]:
        assert set(one) == {"name", "item", "sentence", "evidence", "cell", "line", "mend"}
        assert one["cell"] == 10
        assert one["mend"].startswith("--- cell 10")
    assert found["unknown"] == []
    assert "channels-last" in found["ruled_out"]
    assert "BGR" in capsys.readouterr().out


def test_a_model_alone(good_files, tmp_path):
    path = tmp_path / "model.onnx"  # told by what it is, not by its name
    path.write_bytes(good_files[INT8])
    evidence = gathered([path], None, tmp_path).evidence
    assert evidence.zip.path("int8")
    assert not evidence.zip.path("fp32")


def test_a_symptom_is_answered_from_the_models(good_files, tmp_path, capsys):
    path = tmp_path / FP32
    path.write_bytes(good_files[FP32])
    assert main([str(path), "--symptom", "same-class", "--lang", "en"]) == 0
    said = capsys.readouterr().out
    assert "classes for 12 pictures" in said
    assert "Ruled out" in said


def test_what_is_no_diagnosis_is_not_believed():
    named = {
        "name": "cropped", "sentence": {"en": "a\x1b[2Jb", "zh": ""}, "evidence": {"en": "", "zh": ""},
        "cell": 3, "line": 1, "mend": {"en": "", "zh": ""},
    }  # fmt: skip
    right = {"causes": [named, named], "ruled_out": ["padded"], "unknown": [], "remarks": []}
    (one,) = Diagnosis.believed(right).causes
    assert "\x1b" not in one.sentence.en
    assert one.item == "2.1"  # of our own table
    for wrong in (
        None, [], {}, {**right, "ruled_out": ["no-such-cause"]}, {**right, "unknown": [3]},
        *({**right, "causes": [{**named, key: value}]} for key, value in (
            ("name", "no-such-cause"), ("cell", -1), ("cell", "3"), ("line", 0), ("line", 1 << 40),
            ("sentence", "words"),
        )),
    ):  # fmt: skip
        with pytest.raises((KeyError, TypeError, ValueError)):
            Diagnosis.believed(wrong)


def test_the_files_are_read_in_no_process_of_ours(folder, monkeypatch):
    """The command's own process opens neither the zip nor the models."""

    def never(*args, **kwargs):
        raise AssertionError("read here")

    for name in ("open_submission", "OnnxFile", "read_cells"):
        monkeypatch.setattr(f"lab5.grading.handin.{name}", never)
    with asked.opened([folder], run_code="never") as reader:
        assert reader.diagnosis().causes == ()  # both faults are found by running the code


def test_a_damaged_zip_is_not_known(tmp_path):
    path = tmp_path / "N26140692_lab5.zip"
    path.write_bytes(b"PK\x03\x04 and nothing behind it")
    with asked.opened([path], run_code="never") as reader:
        found = reader.diagnosis()
    assert found.causes == ()
    assert len(found.unknown) == 1


def test_what_ends_its_reader_is_told(tmp_path, monkeypatch, capsys):
    """Nothing of it reaches the command but that."""
    monkeypatch.setattr("lab5.diagnosis.asked.READER", Limits(resident=32 << 20, file_size=1 << 20))
    (tmp_path / FP32).write_bytes(b"\x08" * (8 << 20))
    assert main([str(tmp_path / FP32), "--lang", "en"]) == 1
    assert "cannot be diagnosed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("answer", "chosen"),
    [("1", "same-class"), (" 5\n", "int8-slow"), ("6", None), ("0", None), ("", None), ("²", None)],
)
def test_a_symptom_is_chosen_at_a_terminal(answer, chosen, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda prompt: answer)
    assert _asked("en") == chosen
    said = capsys.readouterr().out
    assert all(f"{n}  {text.en}" in said for n, text in enumerate(SYMPTOMS.values(), 1))


def test_nobody_is_asked_who_cannot_answer(monkeypatch):
    def gone(prompt):
        raise EOFError

    monkeypatch.setattr("builtins.input", gone)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    assert _asked("en") is None
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    assert _asked("en") is None  # Ctrl-D


def test_without_a_path_this_folder_is_diagnosed(good_files, tmp_path, monkeypatch, capsys):
    (tmp_path / FP32).write_bytes(good_files[FP32])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda prompt: "2")
    assert main(["--lang", "en", "--json", "found.json"]) == 0
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert found["symptom"][0] == SYMPTOMS["ten-percent"].en
    assert "classes for 12 pictures" in found["symptom"][1]


@pytest.mark.parametrize("arguments", [["nothing.zip"], ["."], ["x", "--picture", "y"]])
def test_wrong_usage_is_told(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2


def test_answers_that_pictures_got_tell_the_preprocessing(good_files, tmp_path):
    model = tmp_path / FP32
    model.write_bytes(good_files[FP32])
    rng = np.random.default_rng(2)
    cases = []
    file = OnnxFile(model)
    for number in range(4):
        coarse = rng.integers(0, 256, (5, 4, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((70, 50), Image.Resampling.BICUBIC)
        path = tmp_path / f"{number}.png"
        picture.save(path)
        wrong = next(x for name, x in ways(picture) if name == "not-divided-by-255")
        logits = file.logits(wrong)[0].astype(float)
        powers = np.exp(logits - logits.max())
        name = CLASSES[logits.argmax()]
        cases.append((path, Answer.of(f"{name} {100 * powers.max() / powers.sum():.1f}%")))
    names, _ = from_answers(cases, gathered([model], None, tmp_path).evidence)
    assert "not-divided-by-255" in names


def test_answers_are_read_as_people_write_them():
    assert Answer.of("car: 100%") == Answer("automobile", 1.0)
    assert Answer.of("cat 0.42") == Answer("cat", 0.42)
    assert Answer.of("ship") == Answer("ship")


def test_layers_are_compared_and_the_first_jump_is_marked(good_files, tmp_path):
    from lab5.diagnosis.layers import compared, svg

    edited = _without_a_shortcut(good_files[FP32])
    (tmp_path / FP32).write_bytes(edited)
    (tmp_path / INT8).write_bytes(good_files[INT8])
    given = gathered([tmp_path / FP32, tmp_path / INT8], None, tmp_path)
    rows = compared(given.evidence, FIXTURES / "best_model.pth")
    assert len(rows) == 21
    (first,) = [row.layer for row in rows if "fp32" in row.jump.split()]
    assert first == "layer2.1.left.0"  # the layer behind the block that lacks its shortcut
    ET.fromstring(svg(rows))


def _without_a_shortcut(data: bytes) -> bytes:
    import onnx

    model = onnx.load_from_string(data)
    add = [n for n in model.graph.node if n.op_type == "Add"][2]
    for node in model.graph.node:
        node.input[:] = [add.input[0] if n == add.output[0] else n for n in node.input]
    model.graph.node.remove(add)
    return bytes(model.SerializeToString())


STORY = {
    "first-public-hand-in": {"another-opset", "qdq-format", "int8-activations"},
    "second-public-hand-in": {
        "another-opset", "qdq-format", "int8-activations", "not-converted-to-rgb",
    },
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", STORY)
def test_the_story_of_two_hand_ins(name, model, good_files, once, weights, tmp_path):
    """Every deviation that matters is named, and nothing else."""
    from tests.mutants import HARMLESS, HandIn, Variants

    varied = HandIn(Variants(model, good_files, once("variants", lambda folder: None)))
    if "not-converted-to-rgb" in STORY[name]:
        varied.code('image.convert("RGB").resize((32, 32))', "image.resize((32, 32))")
    HARMLESS[name].edit(varied)
    with asked.opened([varied.write(tmp_path)], weights) as reader:
        found = reader.diagnosis()
    assert {one.name for one in found.causes} == STORY[name]
    assert all(one.cell is not None and one.mend for one in found.causes)
    assert found.unknown == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "wanted"), [("names-exchanged", {"other-names"}), ("batch-norm-not-folded", set())]
)
def test_the_models_tensors_are_not_confused(name, wanted, model, good_files, once, tmp_path):
    """What FP32 and INT8 call alike is compared only where it is the same."""
    from tests.mutants import FAULTS as MUTANTS
    from tests.mutants import HARMLESS, HandIn, Variants

    varied = HandIn(Variants(model, good_files, once("variants", lambda folder: None)))
    {**MUTANTS, **HARMLESS}[name].edit(varied)
    given = gathered([varied.write(tmp_path)], None, tmp_path)
    found = Diagnosing(given.evidence).diagnosis(checks=False)
    assert {one.name for one in found.causes} == wanted


def test_the_benchmark_has_what_it_promises():
    assert len(FAULTS) >= 100
    assert len(pairs()) == PAIRS
    assert len(RIGHT) >= 40
    assert len({one.name for one in (*FAULTS, *RIGHT)}) == len(FAULTS) + len(RIGHT)
    assert pairs() == pairs()
    assert all(one.causes for one in FAULTS)
    assert not any(one.causes for one in RIGHT)


def test_a_sample_of_the_benchmark(once):
    every = [one for one in (*FAULTS, *RIGHT) if one.name in FAST]
    assert len(every) == len(FAST)
    outcome = measured([f for f in every if f.causes], [], [f for f in every if not f.causes],
                       made_in=once("bench", lambda folder: None))  # fmt: skip
    for one in (*outcome.single, *outcome.right):
        assert one.named == one.wanted, one.name
    assert "named ≥ 97 %" in table(outcome)


@pytest.mark.soak
def test_the_whole_benchmark(once):
    outcome = measured(FAULTS, pairs(), RIGHT, made_in=once("bench", lambda folder: None))
    assert np.mean([one.found for one in outcome.single]) >= 0.97
    assert np.mean([one.found for one in outcome.pair]) >= 0.75
    assert [one.name for one in outcome.right if one.named] == []
    assert outcome.wrong <= 0.01
    assert max(one.seconds for one in outcome.single) < 60  # 10 on a core that is free
