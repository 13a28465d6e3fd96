"""How long the main job takes beside the bare library calls: pytest -m benchmark -s."""

from __future__ import annotations

import contextlib
import copy
import os
import re
import statistics
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.benchmark

# What nobody can do without: import torch, load, export, quantise on 300 images, deflate.
BARE = """
import sys, warnings, zipfile
warnings.simplefilter("ignore")
import numpy as np, torch
from lab5.model import BasicBlock, ResNet18
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

model = ResNet18(BasicBlock)
model.load_state_dict(torch.load(sys.argv[1], weights_only=True))
model.eval()
torch.onnx.export(model, (torch.zeros(1, 3, 32, 32),), "fp32.onnx", input_names=["input"],
                  output_names=["output"], opset_version=13, dynamo=False,
                  dynamic_axes={"input": {0: "N"}, "output": {0: "N"}})

class Reader(CalibrationDataReader):
    batches = iter(np.random.default_rng(0).standard_normal((10, 30, 3, 32, 32), dtype=np.float32))
    def get_next(self):
        batch = next(self.batches, None)
        return None if batch is None else {"input": batch}

quantize_static("fp32.onnx", "int8.onnx", Reader(), quant_format=QuantFormat.QOperator,
                per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
with zipfile.ZipFile("bare.zip", "w", zipfile.ZIP_DEFLATED) as z:
    z.write("fp32.onnx")
    z.write("int8.onnx")
"""


def seconds(command: list[str], cwd) -> float:
    start = time.perf_counter()
    subprocess.run(command, cwd=cwd, check=True, capture_output=True)
    return time.perf_counter() - start


def test_the_main_job_beside_the_bare_calls(tmp_path, weights, monkeypatch):
    monkeypatch.setenv("LAB5_CACHE", str(tmp_path / "no data set"))
    commands = {
        "bare": [sys.executable, "-c", BARE, str(weights)],
        "package": [sys.executable, "-m", "lab5.package", "N26140692", "--no-grade"],
        "package, graded": [sys.executable, "-m", "lab5.package", "N26140692"],
        "--help": [sys.executable, "-m", "lab5.package", "--help"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(3):  # by turns, so that all meet the same machine
        for name, command in commands.items():
            times[name].append(seconds(command, tmp_path))
    bare = statistics.median(times["bare"])
    for name, values in times.items():
        median = statistics.median(values)
        print(f"\n{name}: median {median:.2f} s ({min(values):.2f} to {max(values):.2f}), "
              f"{median / bare:.2f} x bare")  # fmt: skip


def test_what_the_wall_costs_a_hand_in(tmp_path, good_files, weights):
    """The same zip graded in rooms that are up, with and without bubblewrap, by turns."""
    from lab5.grading.rooms import Rooms
    from lab5.grading.suite import check_submission
    from tests import handin

    archive = handin.write_zip(tmp_path / handin.ARCHIVE, good_files)
    times: dict[str, list[float]] = {"unsafe": [], "walled": []}
    with Rooms("unsafe") as unsafe, Rooms("walled") as walled:
        for turn in range(8):
            for rooms in (unsafe, walled):
                graded = check_submission(archive, weights=weights, rooms=rooms, seed=0)
                if turn:  # the first is to warm up
                    times[rooms.run_code].append(graded.seconds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, values in times.items():
        print(f"\n{name}: median {medians[name]:.2f} s ({min(values):.2f} to {max(values):.2f})")
    print(f"the wall: {medians['walled'] - medians['unsafe']:+.2f} s a hand-in")


def varied(path, source, number: int):
    """The same hand-in with another byte, as equal files are graded once."""
    import shutil
    import zipfile

    shutil.copy(source, path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = str(number).encode()
    return path


def classroom(folder, source, count: int):
    """So many hand-ins, found as a command finds them."""
    from lab5.classroom.found import find_handins

    folder.mkdir()
    for number in range(count):
        place = folder / f"{number}"
        place.mkdir()
        varied(place / source.name, source, number)
    return find_handins([folder]).handins


@contextlib.contextmanager
def accounted():
    """A clock of the processor time, in seconds, of this process and all that it starts from now on.

    Many of them nobody waits for: only a cgroup counts them.
    """
    root, file, unit = Path("/sys/fs/cgroup"), "cpu.stat", 1e6
    if (root / "cpuacct").is_dir():  # the first version of cgroups
        root, file, unit = root / "cpuacct", "cpuacct.usage", 1e9
    group = root / f"lab5-{os.getpid()}"
    try:
        group.mkdir()
        (group / "cgroup.procs").write_text(str(os.getpid()))
    except OSError as error:
        pytest.skip(f"needs root, and a cgroup of its own: {error}")
    try:
        yield lambda: int(re.findall(r"[0-9]+", (group / file).read_text())[0]) / unit
    finally:
        (root / "cgroup.procs").write_text(str(os.getpid()))
        with contextlib.suppress(OSError):  # something that was started goes on
            group.rmdir()


def test_a_class_beside_nbclient(tmp_path, good_files, weights):
    """Ten hand-ins graded with everything run, and their notebooks just executed, by turns."""
    import nbformat
    from nbclient import NotebookClient

    from lab5.classroom.local import Local
    from lab5.classroom.marking import Options
    from tests import handin
    from tests.conftest import FIXTURES

    archive = handin.write_zip(tmp_path / handin.ARCHIVE, good_files)
    handins = classroom(tmp_path / "class", archive, 11)
    options = Options(weights, FIXTURES / "EAI_lab5.ipynb", seed=0)
    place = tmp_path / "executed"
    place.mkdir()
    (place / "best_model.pth").write_bytes(weights.read_bytes())
    source = nbformat.reads(good_files[handin.NOTEBOOK].decode(), as_version=4)
    for cell in source.cells:  # nothing is installed, and nothing opened to the world
        shown = "" if cell.source.lstrip().startswith("!") else cell.source
        cell.source = shown.replace("share=True", "share=False")

    def execute() -> None:
        resources = {"metadata": {"path": str(place)}}
        NotebookClient(copy.deepcopy(source), timeout=600, resources=resources).execute()

    spent: dict[str, list[tuple[float, float]]] = {"graded": [], "executed": []}
    with accounted() as processor:
        graded = Local(1)(handins, options, lambda handin: None)
        before = processor(), time.perf_counter()
        assert next(graded).graded  # with it the rooms start
        first = processor() - before[0], time.perf_counter() - before[1]
        for _ in range(10):
            for name, job in (("graded", lambda: next(graded)), ("executed", execute)):
                before = processor(), time.perf_counter()
                job()
                spent[name].append((processor() - before[0], time.perf_counter() - before[1]))
    print(
        f"\nthe first, with the rooms' start: {first[0]:.2f} s of the processor, {first[1]:.2f} s"
    )
    medians = {}
    for name, times in spent.items():
        processors, walls = zip(*times, strict=True)
        medians[name] = statistics.median(processors), statistics.median(walls)
        print(
            f"{name}: {medians[name][0]:.2f} s of the processor ({min(processors):.2f} to "
            f"{max(processors):.2f}), {medians[name][1]:.2f} s by the clock "
            f"({min(walls):.2f} to {max(walls):.2f})"
        )
    ratios = [b / a for a, b in zip(medians["graded"], medians["executed"], strict=True)]
    print(f"executing takes {ratios[0]:.1f} times the processor, {ratios[1]:.1f} by the clock; "
          f"{60 / medians['graded'][0]:.0f} hand-ins a minute and core")  # fmt: skip


def test_what_a_hand_in_costs_in_a_small_class_and_in_a_large_one(tmp_path, good_files, weights):
    """In time; the parent's memory does not grow with the class, and what is known is only read."""
    import resource

    from lab5.classroom.batch import Class, grade_class
    from lab5.classroom.local import Local
    from lab5.classroom.marking import Options
    from lab5.classroom.results import Results
    from lab5.classroom.writers import WRITERS
    from tests import handin

    archive = handin.write_zip(
        tmp_path / handin.ARCHIVE, {name: good_files[name] for name in (handin.NOTEBOOK, handin.REPORT)}
    )  # fmt: skip
    todo: list[int] = []

    def engine(handins, options, started):
        todo.append(len(handins))
        return Local(1)(handins, options, started)

    peaks = []
    for count in (10, 200):
        handins = classroom(tmp_path / f"{count}", archive, count)
        results = Results(tmp_path / f"out-{count}", Options(weights, run_code="never", seed=0))
        for what in ("graded", "known"):
            start = time.perf_counter()
            done = sum(1 for _ in grade_class(handins, results, engine))
            WRITERS["csv"](tmp_path / "class.csv", Class(handins, results), "en")
            spent = (time.perf_counter() - start) / done
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
            print(
                f"\n{count} {what}: {spent:.3f} s a hand-in, {peaks[-1]:.0f} MB in the parent at most"
            )
            assert done == count
    assert todo == [10, 0, 200, 0]
    assert peaks[-1] < peaks[0] + 50


def processor_seconds(command: list[str]) -> float:
    """Of a command on one core and all that it starts, its rooms and their visitors; Linux only."""
    tick, spent = os.sysconf("SC_CLK_TCK"), {}
    child = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, preexec_fn=lambda: os.sched_setaffinity(0, {0})
    )
    while child.poll() is None:
        family = {child.pid}
        stats = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            stats[int(stat.parent.name)] = int(fields[1]), int(fields[11]) + int(fields[12])
        for pid in sorted(stats):  # parents come first, but where numbers began anew
            if stats[pid][0] in family:
                family.add(pid)
        spent |= {pid: stats[pid][1] / tick for pid in family if pid in stats}
        time.sleep(0.02)
    return sum(spent.values())


DIAGNOSED = (
    "as it is", "2.1 BGR", "2.1 resize 36, crop", "1.1 maximum", "1.3 stride of layer4",
    "1.3 no first ReLU", "1.2 another checkpoint", "1.4 calibrated 0..255", "2.2 FP32 twice",
)  # fmt: skip


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
def test_what_a_diagnosis_takes_on_one_core(tmp_path, once, weights):
    """A right hand-in and faults of each kind, by processor time: at most 10 s are wanted."""
    from tests.faults import FAULTS, RIGHT, HandIn, Shop

    shop = Shop(once("bench", lambda folder: None))
    by_name = {one.name: one for one in (*FAULTS, *RIGHT)}
    archive = tmp_path / "N26140692_lab5.zip"
    print("\n| hand-in | processor time |\n| --- | ---: |")
    unit = processor_seconds([sys.executable, "-c", "import torch"])
    print(f"| (`import torch` alone) | {unit:.1f} s |")
    for name in DIAGNOSED:
        made = HandIn(shop)
        by_name[name].edit(made)
        with zipfile.ZipFile(archive, "w") as opened:
            for member, content in made.written().items():
                opened.writestr(member, content)
        command = [sys.executable, "-m", "lab5.diagnose", str(archive), "--weights", str(weights)]
        took = statistics.median(processor_seconds(command) for _ in range(3))
        print(f"| {name} | {took:.1f} s |")
