"""Attacks that do not do the work and persuade the judge that they did."""

from __future__ import annotations

from tests.hostile.core import Hostile, attack, code


def deceive(h: Hostile, text: str) -> None:
    """Functions that do nothing, and code that is run with them."""
    for name in ("preprocess", "compare_fp32_int8", "build_session"):
        h.in_function(name, "return None")
    h.with_code(text)


@attack(quick=True, fails="preprocess-shape")
def take_the_code_of_the_reference(h: Hostile) -> None:
    """Every probe returns what is right."""
    deceive(
        h,
        """
        from lab5.preprocess import preprocess
        thing.__code__ = preprocess.__code__
        return preprocess if thing.__name__ == "preprocess" else thing
        """,
    )


@attack(fails="preprocess-shape")
def return_the_function_of_the_reference(h: Hostile) -> None:
    """By whatever name it is loaded."""
    deceive(
        h,
        """
        for module in list(sys.modules.values()):
            found = getattr(module, thing.__name__, None)
            if callable(found) and found is not thing and "lab5" in getattr(found, "__module__", ""):
                return found
        """,
    )


@attack(fails="preprocess-shape")
def search_the_heap_for_the_reference(h: Hostile) -> None:
    """By the garbage collector."""
    deceive(
        h,
        """
        import gc, types
        for found in gc.get_objects():
            if isinstance(found, types.FunctionType) and found.__name__ == thing.__name__ and found is not thing and found.__code__.co_filename.endswith(".py"):
                return found
        """,
    )


@attack(fails="preprocess-shape")
def walk_the_stack(h: Hostile) -> None:
    """For a frame that holds what is expected."""
    deceive(
        h,
        """
        frame = sys._getframe()
        while frame:
            for name, value in list(frame.f_locals.items()):
                if name in ("ours", "preprocess", "expected", "wanted", "reference") and callable(value):
                    return value
            for name in ("preprocess", "reference"):
                value = frame.f_globals.get(name)
                if callable(value) and value is not thing and "lab5" in str(getattr(value, "__module__", "")):
                    return value
            frame = frame.f_back
        """,
    )


@attack(fails="preprocess-shape")
def change_the_frames_of_the_judge(h: Hostile) -> None:
    """What it found so far."""
    deceive(
        h,
        """
        frame = sys._getframe()
        while frame:
            found = frame.f_locals.get("found")
            if isinstance(found, dict):
                found.update(calls={}, errors=[], output=None, exports=[{"loaded": True, "called": True, "training": False}])
            frame = frame.f_back
        """,
    )


@attack(fails="preprocess-shape")
def patch_numpy(h: Hostile) -> None:
    """All arrays are alike and close to each other."""
    deceive(
        h,
        """
        import numpy
        for name in ("allclose", "array_equal", "isclose", "testing.assert_allclose"):
            setattr(numpy, name, lambda *args, **kwargs: True)
        numpy.abs = lambda *args, **kwargs: numpy.zeros(1)
        """,
    )


@attack(fails="preprocess-shape")
def patch_json(h: Hostile) -> None:
    """What is written is what it wants."""
    deceive(
        h,
        """
        real = json.JSONEncoder.encode
        def encode(self, value):
            return real(self, {"ended": "done", "value": {"calls": {}, "errors": []}})
        json.JSONEncoder.encode = encode
        json.dumps = lambda *args, **kwargs: '{"ended": "done", "value": {}}'
        import lab5.grading.sandbox as box
        box.dumps = json.dumps
        box._do = lambda *args: json.dumps()
        """,
    )


@attack(fails="compare-outputs")
def patch_onnxruntime(h: Hostile) -> None:
    """Sessions that give nothing and count as run."""
    deceive(
        h,
        """
        import onnxruntime
        inner = onnxruntime.capi.onnxruntime_inference_collection
        class Session(inner.InferenceSession):
            def __new__(cls, *args, **kwargs):
                return object.__new__(cls)
            def __init__(self, *args, **kwargs): pass
            def run(self, *args, **kwargs): return [[0] * 10]
        inner.InferenceSession = onnxruntime.InferenceSession = Session
        """,
    )


@attack(fails="interface-input")
def patch_gradio(h: Hostile) -> None:
    """A page that was never built, in the stand-in's list."""
    h.code('inputs=gr.Image(type="pil"),', "inputs=None,")
    h.with_code(
        """
        gradio = sys.modules.get("gradio")
        for name in dir(gradio):
            with contextlib.suppress(Exception):
                getattr(gradio, name).kind = "Interface"
        with contextlib.suppress(Exception):
            gradio.made.clear()
        """
    )


@attack(fails="preprocess-shape")
def patch_torch(h: Hostile) -> None:
    """All tensors are equal."""
    deceive(
        h,
        """
        import torch
        torch.equal = torch.allclose = lambda *args, **kwargs: True
        torch.Tensor.__eq__ = lambda *args: True
        torch.nn.Module.load_state_dict = lambda *args, **kwargs: None
        """,
    )


@attack(fails="preprocess-shape")
def replace_the_code_of_the_judge(h: Hostile) -> None:
    """The code objects of its functions."""
    deceive(
        h,
        """
        import lab5.grading.probes.preprocess as probe
        def found(program):
            return {"function": "preprocess", "calls": {}, "errors": []}
        for name in list(vars(probe)):
            if callable(vars(probe)[name]) and hasattr(vars(probe)[name], "__code__"):
                with contextlib.suppress(ValueError):
                    vars(probe)[name].__code__ = found.__code__
        """,
    )


@attack(fails="preprocess-shape")
def write_into_its_own_memory(h: Hostile) -> None:
    """By /proc/self/mem, over what is read-only for others."""
    deceive(
        h,
        """
        for line in open("/proc/self/maps"):
            if "[heap]" in line:
                start, end = (int(part, 16) for part in line.split()[0].split("-"))
                with open("/proc/self/mem", "r+b", 0) as memory:
                    memory.seek(start)
                    data = memory.read(min(end - start, 64 << 20))
                    at = data.find(b"lab5.preprocess")
                    if at >= 0:
                        memory.seek(start + at)
                        memory.write(b"lab5.preprocess")
        """,
    )


@attack(fails="preprocess-shape")
def change_constants_by_ctypes(h: Hostile) -> None:
    """Small numbers that all share."""
    deceive(
        h,
        """
        ctypes.memmove(id(0.5) + 16, id(1.0) + 16, 8)
        false = ctypes.c_long.from_address(id(False) + 24) if sys.version_info >= (3, 12) else None
        """,
    )


@attack(fails="preprocess-shape")
def an_array_that_is_equal_to_all(h: Hostile) -> None:
    """A class of arrays that compares as it likes."""
    h.in_function(
        "preprocess",
        """
        import numpy
        class Equal(numpy.ndarray):
            shape = (1, 3, 32, 32)
            dtype = numpy.dtype("float32")
            def __sub__(self, other): return numpy.zeros((1, 3, 32, 32), "float32")
            __rsub__ = __eq__ = __sub__
            def __array_ufunc__(self, *args, **kwargs): return numpy.zeros((1, 3, 32, 32), "float32")
            def __array_function__(self, *args, **kwargs): return True
        return numpy.zeros(1, "float32").view(Equal)
        """,
    )


@attack(fails="preprocess-values")
def preprocess_that_returns_nan(h: Hostile) -> None:
    """Of the right shape."""
    h.in_function(
        "preprocess", "import numpy\nreturn numpy.full((1, 3, 32, 32), numpy.nan, 'float32')"
    )


@attack(fails="preprocess-values")
def know_the_pictures_by_heart(h: Hostile) -> None:
    """The judge's pictures are the same each time: their answers could be handed in."""
    h.in_function(
        "preprocess",
        """
        import numpy
        from lab5.grading.evidence import inputs
        for known in inputs.pictures().values():
            if known.mode == image.mode and known.size == image.size and known.tobytes() == image.tobytes():
                mean = numpy.array([0.4914, 0.4822, 0.4465], "float32")
                std = numpy.array([0.2470, 0.2435, 0.2616], "float32")
                found = numpy.asarray(known.convert("RGB").resize((32, 32)), "float32") / 255
                return ((found - mean) / std).astype("float32").transpose(2, 0, 1)[None]
        return None
        """,
    )


@attack(fails="compare-repeated")
def lie_about_the_time(h: Hostile) -> None:
    """The clock that the judge gave is set, and what it logged is doubled."""
    h.with_code(
        """
        import gc
        for found in gc.get_objects():
            if type(found).__name__ == "Clock":
                found.now = 0.0
            if isinstance(found, list) and found and isinstance(found[0], dict) and "seconds" in found[0]:
                found.extend(found * 5)
        """
    )
    h.in_function(
        "compare_fp32_int8",
        """
        frame = sys._getframe()
        while frame:
            sessions = frame.f_locals.get("sessions")
            if sessions is not None and hasattr(sessions, "runs"):
                sessions.runs.extend([{"kind": kind, "x": None, "seconds": 0.01} for kind in ("fp32", "int8") * 5])
            frame = frame.f_back
        return None
        """,
    )


@attack(fails="session-path")
def log_sessions_that_were_not_opened(h: Hostile) -> None:
    """In the stand-in's own list."""
    h.in_function(
        "build_session",
        """
        frame = sys._getframe()
        while frame:
            sessions = frame.f_locals.get("sessions")
            if sessions is not None and hasattr(sessions, "opened"):
                sessions.opened.append({"file": model_path, "kind": "int8" if "INT8" in model_path else "fp32", "providers": providers})
            frame = frame.f_back
        return None
        """,
    )


@code()
def find_expected_values() -> str:
    """Anything in the process that is called so."""
    return """
    import gc
    for found in gc.get_objects():
        if isinstance(found, dict) and {"parameters", "output"} <= {k for k in found if isinstance(k, str)}:
            won("the reference's output")
    seeded = sys.modules.get("lab5.grading.probes.seeded")
    if seeded and hasattr(seeded, "reference"):
        with contextlib.suppress(ImportError):
            won(str(seeded.reference()["output"])[:40])
    """


@code()
def import_the_judge() -> str:
    """The checks, with their expected values, in the room of the student's code."""
    return """
    import lab5.grading.checks.topic2
    won("the checks can be imported")
    """


@attack("report", fails="reflection")
def a_reflection_of_the_guide(h: Hostile) -> None:
    """Nothing of one's own."""
    from tests import handin

    source = handin.REPORT_SOURCE
    start = source.index("I learnt")
    h.files[handin.REPORT] = handin.report(
        source[:start] + "撰寫對本次 Lab 的心得與建議，至少 10 字"
    )
