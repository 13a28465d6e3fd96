"""Calibration images for 1.4: the handed-out reader, and images made without any data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnxruntime.quantization import CalibrationDataReader
from PIL import Image

from lab5.assignment import IMAGE_SIZE, INPUT_NAME
from lab5.data import PICTURE_SUFFIXES
from lab5.preprocess import preprocess


class CIFARLikeCalibReader(CalibrationDataReader):
    """Batches from a folder of pictures, or random normal ones when there is none.

    The interface is that of the handed-out notebook.
    """

    def __init__(self, image_dir=None, input_name=INPUT_NAME, batch_size=32, num_batches=10):
        self.input_name = input_name
        folder = Path(image_dir) if image_dir else None
        files = sorted(folder.rglob("*")) if folder and folder.is_dir() else []
        files = [f for f in files if f.suffix.lower() in PICTURE_SUFFIXES]
        if files:
            images = np.concatenate(
                [preprocess(Image.open(f)) for f in files[: batch_size * num_batches]]
            )
        else:
            shape = (batch_size * num_batches, 3, IMAGE_SIZE, IMAGE_SIZE)
            images = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
        self.batches = [images[i : i + batch_size] for i in range(0, len(images), batch_size)]
        self.rewind()

    def get_next(self):
        batch = next(self._iterator, None)
        return None if batch is None else {self.input_name: batch}

    def rewind(self):
        self._iterator = iter(self.batches)
