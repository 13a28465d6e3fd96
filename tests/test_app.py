"""2.3 and 2.4 from the command line: which models, which address, and what goes wrong."""

from __future__ import annotations

import ast
import inspect
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from lab5 import app, files, models
from lab5.assignment import APP_TITLE, LABEL_COMPARISON
from lab5.commands import app as command
from lab5.errors import AppError, UsageError
from lab5.notebook.source import module
from lab5.quantize import verify_int8
from lab5.web.serve import serve


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def start(*arguments: str, cwd: Path, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "lab5.app", *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TMPDIR": str(cwd), **environment},
    )


def until_it_answers(
    port: int, process: subprocess.Popen, host: str = "127.0.0.1"
) -> httpx.Response:
    for _ in range(600):
        try:
            return httpx.get(f"http://{host}:{port}/config", timeout=60)
        except httpx.TransportError:
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.2)
    raise AssertionError("it never answered")


@pytest.fixture(scope="module")
def pair(weights):
    return models.cached_pair(weights)


# The assignment's calls


def test_the_interface_is_the_assignments_call_and_nothing_else():
    (call,) = (
        node
        for node in ast.walk(ast.parse(module("app").source("build_interface")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "gr.Interface"
    )
    given = {word.arg: ast.unparse(word.value) for word in call.keywords}
    assert given["fn"] == "compare_fp32_int8"
    assert given["inputs"] == "gr.Image(type='pil')"
    assert given["outputs"] == (
        "[gr.Label(label='FP32 Top-3'), gr.Label(label='INT8 Top-3'), "
        f"gr.Textbox(label='{LABEL_COMPARISON}')]"
    )
    assert ast.literal_eval(given["title"]) == APP_TITLE
    assert set(given) == {"fn", "inputs", "outputs", "title", "description"}


def test_the_public_page_is_share_true():
    source = ast.parse(inspect.getsource(app.launch_public)).body[0]
    assert [ast.unparse(line) for line in source.body] == ["demo.launch(share=True)"]


# Which models


def write_pair(folder: Path, student: str, age: int = 0) -> models.Pair:
    files = folder / f"{student}_FP32.onnx", folder / f"{student}_INT8.onnx"
    for file in files:
        file.write_bytes(b"x")
        os.utime(file, (1e9 - age, 1e9 - age))
    return files


def test_the_newest_pair_is_taken(tmp_path):
    write_pair(tmp_path, "A1", age=5)
    newest = write_pair(tmp_path, "B2")
    assert models.find_pair((tmp_path,)) == newest


def test_the_first_folder_with_a_pair_wins(tmp_path):
    (tmp_path / "submission").mkdir()
    (tmp_path / "lone_FP32.onnx").write_bytes(b"x")
    there = write_pair(tmp_path / "submission", "A1")
    assert models.find_pair((tmp_path, tmp_path / "submission", tmp_path / "nowhere")) == there
    here = write_pair(tmp_path, "B2")
    assert models.find_pair((tmp_path, tmp_path / "submission")) == here


def test_without_models_and_weights_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(files, "FIXTURES", tmp_path / "fixtures")
    with pytest.raises(UsageError, match=r"There is no best_model\.pth"):
        models.find_models()


def test_the_pair_is_made_once_and_kept_for_these_weights(pair, weights):
    before = [file.stat().st_mtime_ns for file in pair]
    assert models.cached_pair(weights) == pair
    assert verify_int8(pair[1]).graph.node[-1].op_type == "DequantizeLinear"  # not refined
    assert [file.stat().st_mtime_ns for file in pair] == before


def test_another_calibration_or_library_is_another_pair(weights, tmp_path, monkeypatch):
    monkeypatch.setenv("LAB5_CACHE", str(tmp_path))
    monkeypatch.setattr("lab5.export.export_fp32", lambda model, path: path.touch())
    improved = []

    def calibrate(model):
        return models.Calibration(None, improved.append)

    def quantize(fp32, int8, reader, *, improve):
        if improve:
            improve(int8)
        int8.touch()

    monkeypatch.setattr("lab5.quantize.quantize", quantize)
    make = models.cached_pair
    pairs = [make(weights), make(weights, "synthetic", calibrate), make(weights)]
    libraries = ("torch", "onnx", "onnxscript", "onnxruntime", "numpy", "pillow")
    for changed in ("none", *libraries):
        monkeypatch.setattr(models, "version", lambda name, new=changed: f"{name == new}")
        pairs.append(make(weights))
    assert len(improved) == 1
    assert pairs[2] == pairs[0]
    assert len(set(pairs)) == 3 + len(libraries)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--fp32", "a.onnx"], "Give both"),
        (["--int8", "a.onnx"], "Give both"),
        (["--fp32", "a.onnx", "--int8", "b.onnx"], "There is no file"),
        (["--dir", "nowhere"], "holds no <id>_FP32.onnx"),
        (["--port", "0"], "--port"),
        (["--port", "70000"], "--port"),
        (["--port", "x"], "--port"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_why(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    try:
        status = command.main(arguments)
    except SystemExit as error:  # argparse's own
        status = error.code
    assert status == 2
    assert says in capsys.readouterr().err


def test_a_file_that_is_no_model_is_an_error_without_a_traceback(tmp_path):
    write_pair(tmp_path, "A1")
    run = start("--no-share", "--dir", ".", cwd=tmp_path)
    output, _ = run.communicate(timeout=120)
    assert run.returncode == 1
    assert "cannot be run" in output
    assert "Traceback" not in output


# Serving


@pytest.mark.parametrize("share", ["--share", "--no-share"])
def test_it_serves_at_the_port_and_cleans_up_when_stopped(share, pair, tmp_path):
    port = free_port()
    files = ["--fp32", str(pair[0]), "--int8", str(pair[1])]
    process = start(share, "--port", str(port), *files, cwd=tmp_path)
    try:
        assert until_it_answers(port, process).json()["title"] == APP_TITLE
        assert any(tmp_path.glob("lab5-page-*"))
    finally:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=120)
    assert f"127.0.0.1:{port}" in output
    assert "Traceback" not in output
    assert not any(tmp_path.glob("lab5-page-*"))


def test_without_a_share_server_it_says_so_and_serves_locally(capsys):
    class Page:
        share_url, local_url = None, "http://127.0.0.1:1/"
        asked: dict

        def launch(self, **options):
            self.asked = options

        def block_thread(self):
            pass

    page = Page()
    serve(page, share=True, host="127.0.0.1", port=None)
    said = capsys.readouterr().out
    assert "No share server in reach" in said
    assert "連不上公開連結" in said
    page = Page()
    page.share_url = "https://x.gradio.live"
    serve(page, share=True, host="127.0.0.1", port=None)
    assert "No share server" not in capsys.readouterr().out


def test_a_port_in_use_is_an_error_that_says_so(pair, tmp_path):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = str(sock.getsockname()[1])
        files = ["--fp32", str(pair[0]), "--int8", str(pair[1])]
        process = start("--no-share", "--port", port, *files, cwd=tmp_path)
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "cannot be served" in output
    assert "Traceback" not in output


DEAD = "http://127.0.0.1:9"  # a proxy that nobody answers at


@pytest.mark.parametrize(
    ("proxies", "host"),
    [
        ({"http_proxy": DEAD}, "::"),
        ({"HTTP_PROXY": DEAD, "HTTPS_PROXY": DEAD, "no_proxy": "example.org"}, "localhost"),
        ({"ALL_PROXY": "socks5://127.0.0.1:9"}, "127.0.0.1"),
        ({"http_proxy": "nonsense://"}, "0.0.0.0"),
        ({"https_proxy": "http://["}, "[::1]"),
    ],
)
def test_it_serves_whatever_the_proxies_and_the_address(proxies, host, pair, tmp_path):
    if ":" in host:
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            pytest.skip("no IPv6 on this machine")
    port = free_port()
    files = ["--fp32", str(pair[0]), "--int8", str(pair[1])]
    process = start(
        "--no-share", "--host", host, "--port", str(port), *files, cwd=tmp_path, **proxies
    )
    try:
        there = "[::1]" if ":" in host else "127.0.0.1"
        assert until_it_answers(port, process, there).json()["title"] == APP_TITLE
    finally:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    assert "Traceback" not in output
    assert not any(tmp_path.glob("lab5-page-*"))


@pytest.mark.parametrize(
    "host", ["no.such.host.invalid", "203.0.113.7", "1.2.3", "x" * 70, "a b", "fe80::1%none", ""]
)
def test_an_address_that_is_none_is_one_sentence(host):
    with pytest.raises(AppError, match="cannot be served") as caught:
        serve(SimpleNamespace(launch=print), share=False, host=host, port=None)
    assert len(str(caught.value).splitlines()) == 2  # one in each language
