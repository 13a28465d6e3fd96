"""Any picture becomes an upright RGB one; what is slow, large or harmful ends a process, not the page."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import saved, scene, slow_jpeg
from PIL import Image, ImageOps
from test_preprocess import MODES
from test_preprocess import random_image as ordinary_image

from lab5.preprocess import preprocess
from lab5.web.decoding import DEADLINES, MEMORY, SIZE, Decoder, Outcome, upright_rgb

DEEP_MODES = ["I", "F", "I;16", "I;16L", "I;16B"]


def pixels_of(image: Image.Image) -> np.ndarray:
    """(H, W, 3) float, 0..255."""
    return np.asarray(image, dtype=float)


def random_image(mode: str, size: tuple[int, int], seed: int) -> Image.Image:
    if mode not in DEEP_MODES:
        return ordinary_image(mode, size, seed)
    kind = {"I": np.int32, "F": np.float32}.get(mode, "<u2")
    values = np.random.default_rng(seed).integers(0, 65536, size[::-1]).astype(kind)
    if mode == "F":
        values /= 257
    if mode == "I;16B":
        values = values.astype(">u2")
    return Image.frombytes(mode, size, values.tobytes())


@settings(deadline=None, max_examples=150)
@given(
    mode=st.sampled_from(MODES + DEEP_MODES),
    width=st.integers(1, 200),
    height=st.integers(1, 200),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_mode_and_size_gives_a_small_rgb_picture(mode, width, height, seed):
    image = random_image(mode, (width, height), seed)
    before = image.tobytes()
    small = upright_rgb(image)
    assert (small.mode, small.size) == ("RGB", SIZE)
    assert (image.mode, image.size, image.tobytes()) == (mode, (width, height), before)


@settings(deadline=None, max_examples=60)
@given(
    mode=st.sampled_from(["1", "L", "P", "RGB", "CMYK", "YCbCr"]),
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    seed=st.integers(0, 2**32 - 1),
)
def test_of_an_ordinary_picture_preprocess_makes_the_same(mode, width, height, seed):
    image = random_image(mode, (width, height), seed)
    np.testing.assert_array_equal(preprocess(upright_rgb(image)), preprocess(image))


@given(alpha=st.integers(0, 255), colour=st.tuples(*[st.integers(0, 255)] * 3))
def test_alpha_is_composited_on_white(alpha, colour):
    found = pixels_of(upright_rgb(Image.new("RGBA", (50, 20), (*colour, alpha))))
    expected = np.array(colour) * alpha / 255 + 255 * (1 - alpha / 255)
    assert np.abs(found - expected).max() <= 2  # two 8-bit roundings


@pytest.mark.parametrize("mode", ["P", "L", "RGB", "1"])
def test_a_transparent_colour_of_a_png_becomes_white(mode):
    image = Image.new(mode, (32, 32), 0)
    image.info["transparency"] = (0, 0, 0) if mode == "RGB" else 0
    assert pixels_of(upright_rgb(image)).min() > 254.9


@pytest.mark.parametrize("mode", DEEP_MODES)
def test_deep_grey_is_scaled_not_clipped(mode):
    full = 255 if mode == "F" else 65535
    ramp = np.tile(np.linspace(0, full, 32), (32, 1))
    kind = {"I": "<i4", "F": "<f4", "I;16B": ">u2"}.get(mode, "<u2")
    image = Image.frombytes(mode, (32, 32), ramp.astype(kind).tobytes())
    np.testing.assert_allclose(pixels_of(upright_rgb(image))[..., 0], ramp * 255 / full, atol=0.51)


def test_a_float_picture_from_0_to_1_is_scaled():
    ramp = np.tile(np.linspace(0, 1, 32, dtype=np.float32), (32, 1))
    image = Image.frombytes("F", (32, 32), ramp.tobytes())
    np.testing.assert_allclose(pixels_of(upright_rgb(image))[..., 0], ramp * 255, atol=0.51)


def test_not_a_number_becomes_black():
    image = Image.frombytes("F", (32, 32), np.full((32, 32), np.nan, np.float32).tobytes())
    np.testing.assert_allclose(pixels_of(upright_rgb(image)), 0, atol=1e-3)


@pytest.mark.parametrize("suffix", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_whatever_the_format(suffix, orientation):
    corners = np.zeros((64, 48, 3), np.uint8)
    corners[:32, :24] = 255, 0, 0
    corners[32:, :24] = 0, 255, 0
    corners[32:, 24:] = 0, 0, 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(corners).save(file, suffix, exif=exif)
    turned = Image.open(io.BytesIO(file.getvalue()))
    turned.load()
    upright = ImageOps.exif_transpose(turned).convert("RGB")
    difference = pixels_of(upright_rgb(Image.open(file))) - pixels_of(upright.resize(SIZE))
    assert np.abs(difference).max() <= 3  # two roundings of the resize


# The process


@pytest.fixture
def decoder():
    decoder = Decoder()
    yield decoder
    decoder.close()


SMALL = saved(scene(), "PNG")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and ") Z " in stat.read_text())  # nobody may have waited for it


def gone_within(pid: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    return not alive(pid)


def test_one_process_decodes_one_picture_after_the_other(decoder):
    outcome, size, picture = decoder(SMALL)
    assert (outcome, size) == (Outcome.READ, (48, 64))
    np.testing.assert_array_equal(pixels_of(picture), pixels_of(upright_rgb(scene())))
    pid = decoder._process.pid
    assert decoder(b"")[0] is Outcome.NO_PICTURE
    assert decoder(SMALL)[0] is Outcome.READ
    assert decoder._process.pid == pid


def test_what_takes_too_long_ends_and_the_next_is_read(decoder):
    decoder(SMALL)
    begin = time.monotonic()
    assert decoder(slow_jpeg())[0] is Outcome.TOO_SLOW
    assert time.monotonic() - begin < DEADLINES[0] + 5
    assert decoder(SMALL)[0] is Outcome.READ


def test_a_process_that_died_is_replaced(decoder):
    decoder(SMALL)
    decoder._process.kill()
    decoder._process.wait()
    assert decoder(SMALL)[0] is Outcome.READ


@pytest.mark.skipif(sys.platform != "linux", reason="the limit works on Linux")
def test_its_memory_is_limited(decoder):
    import resource

    decoder(SMALL)
    assert resource.prlimit(decoder._process.pid, resource.RLIMIT_AS) == (MEMORY, MEMORY)


def test_it_imports_neither_torch_nor_gradio():
    code = "import sys, lab5.web.decoding; print({'torch', 'gradio', 'onnxruntime'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


USER = """
import sys
from lab5.web.decoding import decode
from pictures import saved, scene, slow_jpeg
decode.deadlines = 2.0, 8.0
decode(saved(scene(), "PNG"))
print(decode._process.pid, flush=True)
if sys.argv[1] == "busy":
    decode(slow_jpeg())
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
@pytest.mark.parametrize(
    ("state", "end"),
    [(state, f"SIG{end}") for state in ("idle", "busy") for end in ("KILL", "TERM", "INT")]
    + [("idle", "its own accord")],
)
def test_it_ends_with_whoever_started_it(state, end):
    """An idle one at once, a busy one with its deadline at the latest."""
    with subprocess.Popen(
        [sys.executable, "-c", USER, state],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as user:
        pid = int(user.stdout.readline())
        assert alive(pid)
        if state == "busy":
            time.sleep(1)
        if end.startswith("SIG"):
            user.send_signal(signal.Signals[end])
        else:
            user.stdin.close()
        user.wait(60)
        assert gone_within(pid, 7 if state == "busy" else 5)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("kind", "mode"), [("PNG", "RGBA"), ("JPEG", "RGB"), ("WEBP", "RGBA")])
def test_the_largest_pictures_fit_its_memory(kind, mode, decoder):
    assert decoder(saved(Image.new(mode, (8000, 8000)), kind))[0] is Outcome.READ
    status = Path(f"/proc/{decoder._process.pid}/status").read_text()
    (peak,) = (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmPeak"))
    assert peak * 1024 < 0.75 * MEMORY
