"""The page under load and beside an empty one: pytest tests/test_load.py -s -m slow, soak, benchmark."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from pictures import saved
from PIL import Image
from test_app import free_port, start, until_it_answers
from test_page import CALL, ask, file, send

from lab5.models import cached_pair as make_pair
from lab5.web.page import KEPT, QUEUE, QUEUE_FULL, SWEEP

# The page as the command serves it, but for the seconds that uploads stay and between clean-ups.
SERVE = """
import sys
from lab5.commands import app
from lab5.web import page
page.KEPT, page.SWEEP = map(int, sys.argv.pop(1).split())
sys.exit(app.main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def pair(weights):
    return make_pair(weights)


@pytest.fixture
def served(request, pair, tmp_path):
    """The page in a process of its own: the process, its address and its folder for uploads."""
    kept = getattr(request, "param", f"{KEPT} {SWEEP}")
    port = free_port()
    files = ["--fp32", str(pair[0]), "--int8", str(pair[1])]
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, kept, "--no-share", "--port", str(port), *files],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
    )
    until_it_answers(port, process)
    yield process, f"http://127.0.0.1:{port}", tmp_path
    process.terminate()
    process.wait(60)


def noise(seed: int) -> bytes:
    """A picture that nobody else uploads."""
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    return saved(Image.fromarray(pixels), "PNG")


def visit(url: str, seed: int) -> tuple:
    """One visitor: upload, submit, wait. The two labels, or what the visitor was told instead."""
    with httpx.Client(base_url=url, timeout=300) as client:
        try:
            event, data = ask(client, file(send(client, f"{seed}.png", noise(seed))))
        except httpx.HTTPStatusError as error:
            return (error.response.json()["detail"],)
    assert event == "complete", data
    return tuple(str(label) for label in data[:2]) if data[0].get("label") else (data[2],)


@pytest.mark.slow
def test_fifty_clients_at_once_all_get_the_answers_of_a_single_one(served):
    _, url, _ = served
    alone = [visit(url, seed) for seed in range(10)]
    begin = time.perf_counter()
    with ThreadPoolExecutor(50) as clients:
        together = list(clients.map(lambda n: visit(url, n % 10), range(50)))
    print(f"\n50 clients at once: all answered in {time.perf_counter() - begin:.1f} s")
    assert together == [alone[n % 10] for n in range(50)]


@pytest.mark.slow
def test_beyond_the_queue_clients_are_refused_and_no_one_is_lost(served):
    _, url, _ = served
    begin = time.perf_counter()
    with ThreadPoolExecutor(150) as clients:
        found = list(clients.map(lambda n: visit(url, n), range(150)))
    refused = found.count((QUEUE_FULL.en,))
    print(f"\n150 at once: {150 - refused} answered, {refused} refused, "
          f"{time.perf_counter() - begin:.1f} s")  # fmt: skip
    assert sum(len(answer) == 2 for answer in found) == 150 - refused >= QUEUE
    assert refused > 0
    assert len(visit(url, 1)) == 2  # and it goes on


def resident(pid: int) -> float:
    """Megabytes that the process holds in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.soak
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("served", ["20 5"], indirect=True)  # so that the test sees uploads go
def test_two_thousand_requests_leave_neither_memory_nor_files_behind(served):
    process, url, folder = served
    files = lambda: set(folder.rglob("*"))  # folders too  # noqa: E731
    before, begin = files(), time.perf_counter()
    megabytes = []
    with ThreadPoolExecutor(4) as clients:
        for part in range(10):
            answers = list(
                clients.map(lambda n: visit(url, n), range(part * 200, part * 200 + 200))
            )
            assert {len(answer) for answer in answers} == {2}
            megabytes.append(resident(process.pid))
    print(f"\n2,000 requests in {time.perf_counter() - begin:.0f} s; "
          f"MB after each 200: {[round(m) for m in megabytes]}")  # fmt: skip
    time.sleep(35)  # the last uploads' 20 s and two clean-ups
    assert files() == before
    assert statistics.mean(megabytes[-3:]) < statistics.mean(megabytes[1:4]) + 20


EMPTY = """
import sys, gradio as gr
gr.Interface(
    lambda image: ({}, {}, ""),
    gr.Image(type="pil"),
    [gr.Label(), gr.Label(), gr.Textbox()],
    api_name="compare_fp32_int8",
).launch(server_port=int(sys.argv[1]), quiet=True)
"""


@pytest.mark.benchmark
def test_an_answer_beside_that_of_an_empty_page(served, pair):
    _, url, _ = served
    port = free_port()
    empty = subprocess.Popen([sys.executable, "-c", EMPTY, str(port)], stdout=subprocess.DEVNULL)
    until_it_answers(port, empty)
    times: dict[str, list[float]] = {url: [], f"http://127.0.0.1:{port}": []}
    parts: list[list[float]] = []
    with contextlib.ExitStack() as stack:
        stack.callback(empty.wait, 60)
        stack.callback(empty.terminate)
        clients = {at: stack.enter_context(httpx.Client(base_url=at, timeout=120)) for at in times}
        for n in range(40):  # by turns, so that both meet the same machine
            for at, taken in times.items():
                picture = file(send(clients[at], "a.png", noise(n)))
                begin = time.perf_counter()
                event, data = ask(clients[at], picture)
                taken.append((time.perf_counter() - begin) * 1000)
                assert event == "complete"
                if at == url:
                    parts.append([float(line.split()[1]) for line in data[2].splitlines()[:2]])
    ours, nothing = (statistics.median(taken[5:]) for taken in times.values())
    fp32, int8 = np.median(parts[5:], axis=0)
    print(f"\nanswer {ours:.1f} ms, empty page {nothing:.1f} ms: {ours / nothing:.2f} x; "
          f"one run FP32 {fp32:.1f} ms, INT8 {int8:.1f} ms")  # fmt: skip


@pytest.mark.benchmark
def test_from_the_command_to_serving(pair, tmp_path):
    files = ["--no-share", "--fp32", str(pair[0]), "--int8", str(pair[1])]
    taken, imports = [], []
    for _ in range(5):
        port, begin = free_port(), time.perf_counter()
        process = start("--port", str(port), *files, cwd=tmp_path)
        until_it_answers(port, process)
        taken.append(time.perf_counter() - begin)
        process.terminate()
        process.communicate(timeout=60)
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import gradio"], check=True)
        imports.append(time.perf_counter() - begin)
    print(f"\nserving after {statistics.median(taken):.2f} s ({min(taken):.2f} to {max(taken):.2f});"
          f" import gradio alone {statistics.median(imports):.2f} s")  # fmt: skip


@pytest.mark.slow
def test_the_exported_space_runs_in_a_new_environment(pair, tmp_path):
    """As Hugging Face Spaces does: install requirements.txt, run app.py."""
    from lab5.web.spaces import export_space

    space, venv = tmp_path / "space", tmp_path / "venv"
    export_space(*pair, space)
    python = venv / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    install = ["pip", "install", "-q", "--no-compile", "-r", space / "requirements.txt"]
    subprocess.run([python, "-m", *install], check=True)  # Python compiles what is imported
    port = free_port()
    environment = {**os.environ, "GRADIO_SERVER_PORT": str(port), "GRADIO_TEMP_DIR": str(tmp_path)}
    environment.pop("PYTHONPATH", None)
    with subprocess.Popen(
        [python, "app.py"], cwd=space, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            until_it_answers(port, process)
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
                assert client.post(CALL, json={"data": [None]}).status_code == 200
                event, (fp32, int8, text) = ask(client, file(send(client, "a.png", noise(0))))
            assert event == "complete"
            assert text.startswith("FP32: ")
            assert len(fp32["confidences"]) == len(int8["confidences"]) == 3
            where = "import lab5, importlib.util as u; print(lab5.__file__, u.find_spec('torch'))"
            run = subprocess.run(
                [python, "-c", where], cwd=space, check=True, capture_output=True, text=True
            )
            assert run.stdout.split() == [str(space / "lab5" / "__init__.py"), "None"]
        finally:
            process.terminate()
