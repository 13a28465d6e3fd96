"""What stands in for libraries that are not installed: it prepares a picture as they do."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from lab5.assignment import CIFAR10_MEAN, CIFAR10_STD
from lab5.grading.stand_ins import anything as stand_ins
from lab5.grading.stand_ins.pictures import pictures
from lab5.preprocess import preprocess


def run(code: str) -> str:
    """In a process of its own: what is imported stays imported."""
    code = f"from lab5.grading.stand_ins import anything as stand_ins\nabsent = stand_ins.install()\n{code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("label", ["RGB 32x32", "RGB 64x64", "L 32x32"])
def test_torchvision_prepares_as_the_assignment_does(label):
    transforms = stand_ins._transforms()
    picture = pictures(1)[label]
    steps = transforms["Compose"](
        [
            transforms["Resize"]((32, 32), interpolation=transforms["InterpolationMode"].BICUBIC),
            transforms["ToTensor"](),
            transforms["Normalize"](CIFAR10_MEAN, CIFAR10_STD),
        ]
    )
    found = steps(picture.convert("RGB")).numpy()[None]
    np.testing.assert_allclose(found, preprocess(picture), atol=1e-4)


def test_a_single_size_is_the_shorter_side():
    assert stand_ins._resize(pictures(1)["RGB 200x120"], 32).size == (53, 32)
    assert stand_ins._center_crop(pictures(1)["RGB 200x120"], 32).size == (32, 32)


def test_normalize_refuses_a_picture():
    with pytest.raises(TypeError):
        stand_ins._normalize(pictures(1)["RGB 32x32"], CIFAR10_MEAN, CIFAR10_STD)


@pytest.mark.parametrize("shape", [(64, 48), (64, 48, 3), (10, 90, 1)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_opencv_takes_width_first(shape, dtype):
    cv2 = stand_ins._opencv()
    found = cv2["resize"](np.full(shape, 7, dtype), (32, 16), interpolation=cv2["INTER_AREA"])
    assert found.shape == (16, 32, *shape[2:])
    assert found.dtype == dtype
    assert (found == 7).all()


def test_opencv_exchanges_colours():
    cv2, pixels = stand_ins._opencv(), np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    np.testing.assert_array_equal(cv2["cvtColor"](pixels, cv2["COLOR_RGB2BGR"]), pixels[..., ::-1])
    grey = cv2["cvtColor"](pixels, cv2["COLOR_RGB2GRAY"])
    assert cv2["cvtColor"](grey, cv2["COLOR_GRAY2RGB"]).shape == (2, 2, 3)


def test_what_is_installed_is_used_itself():
    assert run("import numpy, PIL.Image\nprint(numpy.__name__, type(PIL.Image).__name__)") == (
        "numpy module"
    )


def test_what_is_not_there_is_named():
    out = run(
        "import kaggle.api as k\nfrom google.colab import drive\ndrive.mount('/x')\nprint(absent)"
    )
    assert out == "{'kaggle'}"  # Colab changes no result


def test_a_file_of_the_students_own_has_no_stand_in():
    out = run("try:\n    import resnet18\nexcept ModuleNotFoundError as e:\n    print(e)")
    assert out == "No module named 'resnet18'"


def test_a_progress_bar_passes_its_items_on():
    assert stand_ins._Library("tqdm.auto").tqdm([1, 2]) == [1, 2]
    assert list(stand_ins._Library("tqdm").trange(2)) == [0, 1]
