"""What tests share: the things that not every machine has, and where to get them."""

from __future__ import annotations

import functools
import gc
import importlib
import itertools
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

# The same examples in every run, and no test that fails because a machine is slow.
settings.register_profile(
    "lab5", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("lab5")

if "PYTEST_XDIST_WORKER" in os.environ:  # each has a core: more threads would only wait for it
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# What is imported stays: to walk it again and again took a tenth of the tests' time.
gc.set_threshold(50_000, 20, 20)

FIXTURES = Path(__file__).parent.parent / "fixtures"


@pytest.fixture(scope="session", autouse=True)
def _sessions_on_one_thread():
    """One of xdist's processes has a core: more threads of ONNX Runtime would spin while they wait for it."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        yield
        return
    import onnxruntime as ort

    options, init = ort.SessionOptions, ort.InferenceSession.__init__

    def on_one_thread():
        found = options()
        found.intra_op_num_threads = 1
        return found

    def opened(self, path_or_bytes, sess_options=None, *args, **kwargs):
        init(self, path_or_bytes, sess_options or on_one_thread(), *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ort, "SessionOptions", on_one_thread)
        patch.setattr(ort.InferenceSession, "__init__", opened)
        yield


def _untraced(call, *args, **options):
    """What a call of other people's code returns, which takes two or three times as long under coverage."""
    trace = sys.gettrace()  # another one after a test that is not traced
    sys.settrace(None)
    try:
        return call(*args, **options)
    finally:
        sys.settrace(trace)


@pytest.fixture(scope="session", autouse=True)
def _exporter_untraced():
    """Under coverage PyTorch's dynamo exporter takes three times as long, and none of its code is ours."""
    if sys.gettrace() is None:
        yield
        return
    import torch

    whole = torch.onnx.export

    def export(*args, **options):
        return _untraced(whole, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.onnx, "export", export)
        yield


TRACED = 25  # examples of a property, which reach what the others do


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    """Under coverage trace what hypothesis calls, ``TRACED`` times, and never hypothesis, which takes longer."""
    trace, handle = sys.gettrace(), getattr(pyfuncitem.obj, "hypothesis", None)
    if trace is None or handle is None:
        return (yield)
    test, times = handle.inner_test, itertools.count()

    @functools.wraps(test)  # which decides on the examples
    def traced(*args, **kwargs):
        if next(times) >= TRACED:
            return test(*args, **kwargs)
        sys.settrace(trace)
        try:
            return test(*args, **kwargs)
        finally:
            sys.settrace(None)

    handle.inner_test = traced
    sys.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(trace)
        handle.inner_test = test


def need(available: object, how_to_get_it: str) -> None:
    """Skip without ``available``, saying how to get it; in CI (LAB5_REQUIRE_ALL=1) fail instead."""
    if available:
        return
    if os.environ.get("LAB5_REQUIRE_ALL") == "1":
        pytest.fail(f"required here: {how_to_get_it}")
    pytest.skip(how_to_get_it)


@pytest.fixture
def hurried(monkeypatch):
    """Pictures get little time to be read, so that one which never ends does not take seconds."""
    from lab5.web.decoding import decode

    monkeypatch.setattr(decode, "deadlines", (0.5, 2.0))
    decode.close()
    yield
    decode.close()


@pytest.fixture(scope="session")
def cifar10():
    """The real data set, from the cache."""
    from lab5.study import data

    need(data.cached(), "CIFAR-10 is not in the cache; fetch it with: python -m lab5.data")
    return data.load()


@pytest.fixture(scope="session")
def weights() -> Path:
    """The repository's checkpoint."""
    return FIXTURES / "best_model.pth"


@pytest.fixture(scope="session")
def model(weights):
    """The network with the repository's weights, in eval mode."""
    from lab5.checkpoint import load_model

    return load_model(weights)[0]


@pytest.fixture(scope="session")
def once(tmp_path_factory) -> Callable[[str, Callable[[Path], object]], Path]:
    """``once(name, make)``: a folder that ``make`` fills, once for all of xdist's processes.

    In ``LAB5_TESTS_ONCE``, if that is set, once for all tests of one state of the code, as in CI. Read what is
    in it, never write to it.
    """
    base = tmp_path_factory.getbasetemp()
    base = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "once"
    base = Path(os.environ.get("LAB5_TESTS_ONCE", base))
    base.mkdir(exist_ok=True)

    def folder(name: str, make: Callable[[Path], object]) -> Path:
        found, part = base / name, base / f"{name}.part"
        with FileLock(f"{found}.lock"):
            if not found.exists():
                shutil.rmtree(part, ignore_errors=True)
                part.mkdir()
                make(part)
                part.rename(found)
        return found

    return folder


@pytest.fixture(scope="session")
def fp32(model, once, tmp_path_factory) -> Path:
    """The FP32 file of the repository's weights; read it, never write to it.

    In a folder of this process: given a path, onnxruntime's quantiser writes a second file beside it.
    """
    from lab5.export import export_fp32

    name = "N26140692_FP32.onnx"
    own = tmp_path_factory.mktemp("fp32") / name
    own.hardlink_to(once("fp32", lambda folder: export_fp32(model, folder / name)) / name)
    return own


@pytest.fixture(scope="session")
def synthetic_int8(model, fp32, once) -> Path:
    """The INT8 file of the repository's weights with ``--calibration synthetic``; read it only."""
    from lab5.quantize import quantize
    from lab5.study.calibration import calibrate

    def make(folder: Path) -> None:
        reader, improve = calibrate("synthetic")(model)
        quantize(fp32, folder / name, reader, improve=improve)

    name = "N26140692_INT8.onnx"
    return once("synthetic", make) / name


@pytest.fixture(scope="session")
def good_files(model, once) -> dict[str, bytes]:
    """The files of a good hand-in by name."""
    from tests import handin

    def make(folder: Path) -> None:
        for name, content in handin.make(folder, model).items():
            (folder / name).write_bytes(content)

    return {path.name: path.read_bytes() for path in once("good", make).iterdir()}


@pytest.hookimpl(optionalhook=True)  # of xdist's, for -n auto
def pytest_xdist_auto_num_workers(config) -> int:
    """Many tests wait for a browser or a command, so one more than there are cores."""
    from lab5.study.machine import cores

    return cores() + 1


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items):
    for item in items:
        if "grader" in item.fixturenames:
            item.add_marker(pytest.mark.xdist_group("grader"))
    items.sort(key=_turn)


def pytest_collection_finish() -> None:
    """What is imported stays: at its end pytest walks all that is left five times, and Python does."""
    gc.freeze()


def _turn(item) -> int:
    """The longest first, then the groups: no process is left with one when the others are done."""
    slow = item.get_closest_marker("slow")
    if slow and slow.kwargs.get("first"):
        return 0
    return 1 if item.get_closest_marker("xdist_group") else 2


def pytest_configure(config) -> None:
    config.option.loadscopereorder = False  # xdist would begin with the groups
    tests = hasattr(config, "workerinput") or not getattr(config.option, "numprocesses", None)
    if tests and sys.gettrace():
        for module in ("gradio", "onnxruntime.quantization", "torch.onnx"):
            _untraced(importlib.import_module, module)


def _group(item) -> str | None:
    """Of those that share a grader; all of this process do where xdist keeps no groups together."""
    mark = item.get_closest_marker("xdist_group")
    return mark.args[0] if mark and getattr(item.config.option, "loadgroup", False) else None


@pytest.fixture(scope="session")
def _graders():
    opened = {}
    yield opened
    for one in opened.values():
        one.close()


@pytest.fixture
def grader(request, _graders, model, good_files, once, weights, tmp_path_factory):
    """Grades the variations of the good hand-in that this session, or this group of it, tests."""
    from tests.mutants import Grader, Variants

    group = _group(request.node)
    if group not in _graders:
        asked = (
            item.callspec.params["variation"]
            for item in request.session.items
            if "variation" in getattr(getattr(item, "callspec", None), "params", {})
            and _group(item) == group
        )
        variations = {one.name: one for one in asked}.values()  # each once
        _graders[group] = Grader(
            Variants(model, good_files, once("variants", lambda folder: None)),
            variations,
            tmp_path_factory.mktemp("grader"),
            ahead=group is not None or "PYTEST_XDIST_WORKER" not in os.environ,
            weights=weights,
            template=FIXTURES / "EAI_lab5.ipynb",
        )
    return _graders[group]
