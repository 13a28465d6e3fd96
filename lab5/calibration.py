"""1.4: what the model is calibrated with: the handed-out reader.

In notebooks, with another ``--calibration``: ``BatchReader``, ``even_batches``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnxruntime.quantization import CalibrationDataReader

from lab5.assignment import IMAGE_SIZE, INPUT_NAME
from lab5.errors import CalibrationError
from lab5.files import PICTURE_SUFFIXES, visible
from lab5.preprocess import preprocess


class BatchReader(CalibrationDataReader):
    """Gives onnxruntime a list of batches, (N, 3, 32, 32) float32 each, as they are."""

    def __init__(self, batches, input_name):
        self.batches, self.input_name = batches, input_name
        self.rewind()

    def get_next(self):
        batch = next(self.iterator, None)
        return None if batch is None else {self.input_name: batch}

    def rewind(self):
        self.iterator = iter(self.batches)


def even_batches(images: np.ndarray) -> list[np.ndarray]:
    """``images`` (N, ...) in equal parts of at most 32.

    Larger ones are slower, and onnxruntime's percentile calibration crashes on uneven ones.
    """
    size = max(n for n in range(1, 33) if len(images) % n == 0)
    return [images[i : i + size] for i in range(0, len(images), size)]


class CIFARLikeCalibReader(BatchReader):
    """Batches from a folder of pictures, or random normal ones when there is none.

    The interface and the numbers are those of the handed-out notebook after ``np.random.seed(0)``.

    Raises:
        CalibrationError: a file in the folder is no picture that can be read.
    """

    def __init__(self, image_dir=None, input_name=INPUT_NAME, batch_size=32, num_batches=10):
        files = pictures(Path(image_dir)) if image_dir else []
        if files:
            images = np.concatenate([_read(file) for file in files[: batch_size * num_batches]])
            batches = [images[i : i + batch_size] for i in range(0, len(images), batch_size)]
        else:
            random, shape = np.random.RandomState(0), (batch_size, 3, IMAGE_SIZE, IMAGE_SIZE)
            batches = [random.randn(*shape).astype(np.float32) for _ in range(num_batches)]
        super().__init__(batches, input_name)


def handed_out_reader() -> CIFARLikeCalibReader:
    """As the handed-out notebook makes it: 50 noise images, one a batch."""
    return CIFARLikeCalibReader(None, INPUT_NAME, batch_size=1, num_batches=50)


def pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(f for f in visible(folder, "**/*") if f.suffix.lower() in PICTURE_SUFFIXES)


def _read(file: Path) -> np.ndarray:
    """A picture as (1, 3, 32, 32) float32."""
    from PIL import Image

    try:
        with Image.open(file) as picture:
            return preprocess(picture)
    except Exception as error:  # Pillow raises a dozen types for a damaged file
        raise CalibrationError(
            f"{file} is no picture that can be read ({type(error).__name__}). Remove it.",
            zh=f"{file} 不是可讀取的圖片（{type(error).__name__}）。請移除它。",
        ) from error
