"""A job may hang, crash, lie or eat memory; the others' results are whole."""

from __future__ import annotations

import os
import socket
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab5 import sandbox
from lab5.sandbox import Sandbox, dumps, loads

POSIX = hasattr(os, "fork")


ADD = {"do": "add", "a": 1, "b": 2}


def outcomes(tmp_path, *deeds, **limits):
    box = Sandbox(**{"seconds": 20.0, "fork": POSIX, **limits})
    jobs = [deed if isinstance(deed, dict) else {"do": deed} for deed in deeds]
    return [o for _, o in box.run("tests.deeds:job", jobs, tmp_path / "box")]


def test_results_come_back_in_order(tmp_path):
    first, second = outcomes(tmp_path, ADD, {"do": "array", "x": np.arange(6.0).reshape(2, 3)})
    assert (first.ended, first.value) == ("done", 3)
    np.testing.assert_array_equal(second.value["x"], np.arange(6.0).reshape(2, 3) * 2)


@pytest.mark.parametrize(
    "fork", [pytest.param(True, marks=pytest.mark.skipif(not POSIX, reason="POSIX")), False]
)
@pytest.mark.parametrize(
    ("deed", "ended"),
    [
        ("exit", "crashed"),
        ("leave", "raised"),
        ("kill", "crashed"),
        ("memory", "raised"),
        ("rude", "raised"),
        ("recursion", "raised"),
    ],
)
def test_a_bad_job_costs_only_itself(tmp_path, deed, ended, fork):
    before, bad, after = outcomes(tmp_path, ADD, deed, ADD, fork=fork)
    assert bad.ended == ended
    assert bad.error
    assert before.value == after.value == 3


@pytest.mark.parametrize(
    "deed", ["sleep", pytest.param("spin", marks=pytest.mark.skipif(not POSIX, reason="POSIX"))]
)
def test_a_hanging_job_is_stopped(tmp_path, deed):
    bad, after = outcomes(tmp_path, deed, ADD, seconds=1.0)
    assert bad.ended == "timeout"
    assert after.value == 3


@pytest.mark.skipif(not POSIX, reason="POSIX")
@pytest.mark.parametrize("deed", ["kill parent", "write"])
def test_harm_to_the_server_or_the_disk(tmp_path, deed):
    bad, after = outcomes(tmp_path, deed, ADD, file_size=1 << 20)
    assert bad.ended in ("crashed", "raised")
    assert after.value == 3


@pytest.mark.skipif(not POSIX, reason="POSIX")
def test_what_a_job_patches_costs_nothing(tmp_path):
    patched, after = outcomes(tmp_path, "patch", ADD)
    assert patched.value == "patched"
    assert after.value == 3


def test_output_is_no_result(tmp_path):
    noisy, after = outcomes(tmp_path, "noise", ADD)
    assert noisy.value == "noisy"
    assert after.value == 3


def test_the_environment_is_empty(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "x")
    (found,) = outcomes(tmp_path, "environment")
    assert "SECRET_TOKEN" not in found.value
    assert found.value["HOME"].startswith(str(tmp_path))


@pytest.mark.skipif(not POSIX, reason="POSIX")
def test_each_job_has_an_empty_folder_of_its_own(tmp_path):
    (place, listing), (other, _) = (o.value for o in outcomes(tmp_path, "cwd", "cwd"))
    assert place != other
    assert listing == []


def test_what_is_no_data_comes_back_as_text(tmp_path):
    (found,) = outcomes(tmp_path, "object")
    assert "object" in found.value


def _has_namespaces():
    if not sys.platform.startswith("linux"):
        return False
    child = os.fork()
    if child == 0:
        import ctypes

        libc = ctypes.CDLL(None)
        done = (
            libc.unshare(sandbox._CLONE_NEWNET) == 0
            or libc.unshare(sandbox._CLONE_NEWUSER | sandbox._CLONE_NEWNET) == 0
        )
        os._exit(0 if done else 1)
    return os.waitpid(child, 0)[1] == 0


def test_there_is_no_network(tmp_path):
    if not _has_namespaces():
        pytest.skip("this system gives no network namespace to an unprivileged user")
    with socket.create_server(("127.0.0.1", 0)) as server:
        order = {"do": "connect", "port": server.getsockname()[1]}
        (closed,) = outcomes(tmp_path, order)
        (open_,) = outcomes(tmp_path, order, network=True)
    assert closed.ended == "raised"
    assert open_.value == "connected"


def test_wrap_decides_what_is_started(tmp_path):
    seen = []

    def wrap(command, folder):
        seen.append((command, folder))
        return command

    (found,) = outcomes(tmp_path, ADD, wrap=wrap)
    assert found.value == 3
    assert seen[0][1] == tmp_path / "box"


@settings(max_examples=50, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_plain_data_go_there_and_back(value):
    assert loads(dumps(value)) == value
