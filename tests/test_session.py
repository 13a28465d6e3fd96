"""1.5: sessions as the assignment builds them."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from lab5.session import PROVIDERS, build_session, build_timed_session


def test_the_signature_is_the_assignments():
    assert list(inspect.signature(build_session).parameters) == ["model_path", "providers"]


def test_a_session_runs_the_file_with_the_providers_that_were_asked_for(fp32, model):
    session = build_session(str(fp32), ["CPUExecutionProvider"])
    assert session.get_providers() == ["CPUExecutionProvider"]
    x = np.random.default_rng(0).standard_normal((3, 3, 32, 32), dtype=np.float32)
    (found,) = session.run(None, {"input": x})
    with torch.no_grad():
        np.testing.assert_allclose(found, model(torch.from_numpy(x)), atol=1e-3, rtol=1e-4)


def test_an_unknown_provider_is_not_passed_over_in_silence(fp32):
    with pytest.warns(UserWarning, match="NoSuchProvider"):
        build_session(str(fp32), ["NoSuchProvider"])


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(Exception, match=r"none\.onnx"):
        build_session(str(tmp_path / "none.onnx"), PROVIDERS)


@pytest.mark.parametrize("threads", [0, 1, 2])
def test_a_timed_session_has_the_number_of_threads_asked_for(fp32, threads):
    options = build_timed_session(str(fp32), threads).get_session_options()
    assert options.intra_op_num_threads == threads
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_a_timed_session_gives_the_same_answer(fp32):
    x = np.random.default_rng(1).standard_normal((1, 3, 32, 32), dtype=np.float32)
    plain, timed = build_session(str(fp32), PROVIDERS), build_timed_session(str(fp32))
    np.testing.assert_allclose(
        plain.run(None, {"input": x})[0], timed.run(None, {"input": x})[0], atol=1e-4
    )


def test_onnxruntime_tells_nobody(tmp_path):
    """Its telemetry leaves a file in the temporary folder as soon as it is imported."""
    code = "import lab5.session, onnxruntime"
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    subprocess.run(
        [sys.executable, "-c", code], env={**environment, "TMPDIR": str(tmp_path)}, check=True
    )
    assert list(tmp_path.iterdir()) == []
