"""``--calibration``: what else than the handed-out reader an INT8 file can be calibrated with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from lab5.assignment import CALIBRATIONS, INPUT_NAME, REAL_IMAGES
from lab5.calibration import BatchReader, CIFARLikeCalibReader, even_batches, pictures
from lab5.errors import CalibrationError
from lab5.files import PICTURE_SUFFIXES
from lab5.models import Calibrate, Calibration, handed_out
from lab5.preprocess import preprocess_batch

if TYPE_CHECKING:
    from torch import nn


def calibrate(mode: str) -> Calibrate:
    """How to calibrate in this ``mode``.

    Args:
        mode: ``random`` (the handed-out notebook's 50 noise images), ``synthetic`` (images made from
            the network, and refined scales), ``cifar10`` (training images from the cache), or a
            folder of pictures.

    Raises:
        CalibrationError: the mode is unknown or the folder holds no picture; when called, also that
            a picture cannot be read or the images of this network are not finite.
        DataMissing: when called, ``cifar10`` is not in the cache.
    """
    if mode in _MODES:
        return _MODES[mode]
    if not pictures(Path(mode)):
        raise CalibrationError(
            f"--calibration {mode} is neither one of {', '.join(CALIBRATIONS)} nor a folder with pictures "
            f"({', '.join(PICTURE_SUFFIXES)}). Check the path.",
            zh=f"--calibration {mode} 不是 {'、'.join(CALIBRATIONS)} 之一，也不是含有圖片"
            f"（{'、'.join(PICTURE_SUFFIXES)}）的資料夾。請檢查路徑。",
        )
    return lambda model: Calibration(CIFARLikeCalibReader(mode, INPUT_NAME, 1, REAL_IMAGES))


def synthetic(model: nn.Module) -> Calibration:
    from lab5.study.refine import refine_int8
    from lab5.study.synthetic import synthetic_images

    images = synthetic_images(model)
    if not np.isfinite(images).all():
        raise CalibrationError(
            "No calibration images can be made for these weights: the gradients are not finite. "
            "Check the checkpoint, or give --calibration cifar10 or a folder of pictures.",
            zh="無法為這組權重產生校準影像：梯度不是有限數。"
            "請檢查權重檔，或改用 --calibration cifar10 或圖片資料夾。",
        )
    return Calibration(BatchReader(even_batches(images), INPUT_NAME), refine_int8)


def cifar10(model: nn.Module) -> Calibration:
    from lab5.study import data

    images = preprocess_batch(data.load().train.images[:REAL_IMAGES])
    return Calibration(BatchReader(even_batches(images), INPUT_NAME))


_MODES: Final = dict(zip(CALIBRATIONS, (handed_out, synthetic, cifar10), strict=True))
