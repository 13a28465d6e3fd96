"""The grader's child as Colab: libraries start in it, files are where the code looks for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab5.grading.sandbox.room import Room

SET_UP = """
import os, sys
from lab5.grading.stand_ins import colab
from lab5.grading.stand_ins import gradio, sessions as stand_in_sessions
from lab5.grading.stand_ins import anything as stand_ins
from lab5.grading.stand_ins.given import Given
from lab5.grading.evidence.program import Cell, Program
stand_ins.install()
colab.install()
gradio.install()
sessions = stand_in_sessions.Sessions(Program(), Given())
space = sessions.space()
"""


@pytest.fixture(scope="module")
def run():
    """``run(code, folder, before="")``: what ``code`` prints as a notebook's, in a process of its own."""
    with Room(("torch", "torch.onnx", "onnx", "lab5.grading.stand_ins.sessions")) as room:

        def run(code: str, folder: Path, *, before: str = "") -> str:
            order = {"folder": str(folder), "code": f"{SET_UP}{before}\nexec({code!r}, space)"}
            with room.visit("tests.deeds:printed") as visit:
                found = visit.ask(order, 300)
            assert found.ended == "done", found.error
            return found.value.strip()

        yield run


IMPORTS = (
    "import pandas as pd", "import matplotlib.pyplot as plt", "import seaborn, cv2, torchvision",
    "from sklearn import metrics", "import torch, gradio as gr",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("order", [IMPORTS, IMPORTS[::-1]], ids=["forwards", "backwards"])
def test_what_students_import_starts(order, run, tmp_path):
    imports = "\n".join(["import datetime, time", *order])
    function = "\n".join(
        ["def f():", *(f"    {line}" for line in order), "    return pd.Timestamp.now()"]
    )
    assert (
        run(f"{imports}\n{function}\nf()\nprint(datetime.datetime.now().year)", tmp_path) == "2023"
    )


def test_only_the_notebook_sees_the_clock(run, tmp_path):
    code = (
        "import time, datetime, timeit\nfrom time import perf_counter_ns as ns\n"
        "a = time.time(), datetime.datetime.now(), ns()\ntime.sleep(100)\n"
        "print(round(time.time() - a[0]), (datetime.datetime.now() - a[1]).seconds, "
        "round((ns() - a[2]) / 1e9), round(timeit.timeit(lambda: time.sleep(1), number=3)), "
        "timeit.Timer('pass').timer() > 1.6e9)"
    )
    assert run(code, tmp_path) == "100 100 100 3 True"
    real = "import time, datetime\nreal = time.time, datetime.datetime, time.sleep\n"
    check = "import sys\nprint(real == (sys.modules['time'].time, sys.modules['datetime'].datetime, sys.modules['time'].sleep))"
    assert run(check, tmp_path, before=real + "space['real'] = real") == "True"


PLACES = (
    "N_FP32.onnx", "./N_FP32.onnx", "/content/N_FP32.onnx", "models/N_FP32.onnx",
    "/content/drive/MyDrive/My Lab/N_FP32.onnx", "C:\\Users\\me\\N_FP32.onnx",
)  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_a_model_is_wherever_it_is_looked_for(place, run, tmp_path):
    code = (
        f"import os, onnx\nfrom pathlib import Path\np = {place!r}\n"
        "sizes = os.path.getsize(p), Path(p).stat().st_size, len(open(p, 'rb').read())\n"
        "onnx.checker.check_model(p)\n"
        "print(os.path.exists(p), Path(p).exists(), os.path.isfile(p), *sizes, onnx.load(p).graph.name)"
    )
    size = 44_700_000
    assert run(code, tmp_path) == f"True True True {size} {size} {size} fp32"
    assert [file.name for file in tmp_path.iterdir()] == ["N_FP32.onnx"]


def test_sizes_are_those_handed_in(run, tmp_path):
    code = (
        "import os\nprint(*map(os.path.getsize, ('a_FP32.onnx', 'a_INT8.onnx', 'best_model.pth')))"
    )
    before = "sizes = dict(fp32=5_000_000, int8=2_000_000, weights=7_000_000)\nspace = stand_in_sessions.Sessions(Program(), Given(sizes=sizes)).space()"
    assert run(code, tmp_path, before=before) == "5000000 2000000 7000000"


def test_what_is_no_model_and_not_there_is_not_there(run, tmp_path):
    code = (
        "import os\nprint(*map(os.path.exists, ('cat.png', 'N_FP32.onnx.data', '/no/such', '/content')))\n"
        "os.makedirs('/content/drive/a/b', exist_ok=True)\nos.chdir('/content/drive/a')\n"
        "open('/content/drive/a/note.txt', 'w').write('x')\nprint(open('note.txt').read())"
    )
    assert run(code, tmp_path).split("\n") == ["False False False True", "x"]
    assert [file.name for file in tmp_path.iterdir()] == ["note.txt"]


def test_a_model_is_absent_until_it_is_written(run, tmp_path):
    code = "import os\nprint(os.path.exists('a_INT8.onnx'), os.path.exists('a_FP32.onnx'))\nwrite('a_INT8.onnx')\nprint(os.path.exists('a_INT8.onnx'))"
    before = "sessions = stand_in_sessions.Sessions(Program(), Given(), absent=('int8',))\nspace = sessions.space() | {'write': sessions.files.write}"
    assert run(code, tmp_path, before=before) == "False True\nTrue"


def test_cuda_is_the_processor(run, tmp_path):
    code = (
        "import torch\nnet = torch.nn.Linear(2, 2).cuda().to('cuda:0')\n"
        "x = torch.zeros(1, 2, device='cuda').cuda().to(torch.device('cuda'))\n"
        "torch.cuda.synchronize()\nprint(net(x).device, torch.cuda.is_available())"
    )
    assert run(code, tmp_path) == "cpu False"


def test_colab_is_known_by_all_its_signs(run, tmp_path):
    code = (
        "import os, sys\nfrom google.colab import files, drive, userdata\ndrive.mount('/content/drive')\n"
        "up = files.upload()\nprint('google.colab' in sys.modules, 'google.colab' in str(get_ipython()), "
        "'COLAB_RELEASE_TAG' in os.environ, list(up), len(up['a_INT8.onnx']), files.download('x'), "
        "repr(userdata.get('k')), get_ipython().getoutput('ls'), display(1))"
    )
    assert run(code, tmp_path) == "True True True ['best_model.pth'] 11300000 None '' [] None"
