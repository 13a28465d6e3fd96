"""What the checks feed to the hand-in: seeded, the same every time, made without a data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab5.assignment import CIFAR10_MEAN, CIFAR10_STD, IMAGE_SIZE

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image as Picture

_SHAPE = (3, IMAGE_SIZE, IMAGE_SIZE)


def parity() -> np.ndarray:
    """(2, 3, 32, 32) float32 for comparing two implementations of one network."""
    return scenes(2, seed=1)


def scenes(count: int, seed: int) -> np.ndarray:
    """(N, 3, 32, 32) float32, normalised: a shaded background with blobs and bars of random colours."""
    import numpy as np

    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:IMAGE_SIZE, 0:IMAGE_SIZE] / (IMAGE_SIZE - 1)
    images = np.empty((count, *_SHAPE))
    for image in images:
        from_, to, angle = rng.random(3), rng.random(3), rng.random() * 2 * np.pi
        ramp = (np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.5)) + 0.5
        image[:] = from_[:, None, None] * (1 - ramp) + to[:, None, None] * ramp
        for _ in range(rng.integers(2, 9)):
            cx, cy, size, squeeze = (
                rng.random(),
                rng.random(),
                rng.uniform(0.05, 0.4),
                rng.uniform(0.3, 2),
            )
            distance = np.hypot((x - cx) * squeeze, y - cy)
            mask = np.clip((size - distance) * IMAGE_SIZE, 0, 1)
            image[:] = image * (1 - mask) + rng.random(3)[:, None, None] * mask
        image += rng.normal(0, 0.02, _SHAPE)
    pixels = np.clip(images, 0, 1)
    mean, std = np.array(CIFAR10_MEAN), np.array(CIFAR10_STD)
    return ((pixels - mean[:, None, None]) / std[:, None, None]).astype(np.float32)


def pictures() -> dict[str, Picture]:
    """Pictures of many modes and sizes; the name says which."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(7)

    def made(width: int, height: int) -> Picture:
        coarse = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        noise = rng.integers(-12, 13, (height, width, 3))
        return Image.fromarray((np.asarray(smooth) + noise).clip(0, 255).astype(np.uint8))

    exact = made(32, 32)
    half = made(32, 32).convert("RGBA")
    half.putalpha(Image.linear_gradient("L").resize((32, 32)))
    return {
        "RGB 32x32": exact,
        "RGB 32x32 black": Image.new("RGB", (32, 32)),
        "RGB 32x32 white": Image.new("RGB", (32, 32), "white"),
        "RGB 32x32 red": Image.new("RGB", (32, 32), (255, 0, 0)),
        "RGB 64x64": made(64, 64),
        "RGB 200x120": made(200, 120),
        "RGB 37x90": made(37, 90),
        "RGB 1x1": Image.new("RGB", (1, 1), (10, 200, 90)),
        "RGB 16x16": made(16, 16),
        "RGBA 32x32 opaque": exact.convert("RGBA"),
        "RGBA 32x32 half transparent": half,
        "L 32x32": exact.convert("L"),
        "LA 32x32 opaque": exact.convert("LA"),
        "P 32x32": exact.quantize(64),
        "1 32x32": exact.convert("1"),
        "CMYK 32x32": exact.convert("CMYK"),
        "L 50x40": made(50, 40).convert("L"),
        "RGBA 48x64 opaque": made(48, 64).convert("RGBA"),
    }


def telling_pictures() -> dict[str, Picture]:
    """Pictures on which no two ways of preprocessing give the same; the name says mode and size."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(11)

    def made(width: int, height: int, darkest: int = 0, brightest: int = 255) -> Picture:
        coarse = rng.integers(0, 256, (6, 5, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        noise = rng.integers(-40, 41, (height, width, 3))
        pixels = (np.asarray(smooth) + noise).clip(0, 255) / 255 * (brightest - darkest) + darkest
        return Image.fromarray(pixels.astype(np.uint8))

    def veiled(width: int, height: int) -> Picture:
        picture = made(width, height).convert("RGBA")
        picture.putalpha(
            made(width, height).convert("L").point(lambda v: min(255, max(0, 2 * v - 128)))
        )
        return picture

    def see_through(picture: Picture) -> Picture:
        picture.info["transparency"] = 3
        return picture

    plain = made(32, 32)
    return {
        "RGB 32x32": plain,
        "RGB 32x32 again": plain.copy(),
        "RGB 32x32 dark": made(32, 32, 20, 90),
        "RGB 60x40": made(60, 40),
        "RGB 40x72": made(40, 72),
        "RGB 16x16": made(16, 16),
        "RGB 300x200": made(300, 200),
        "RGBA 32x32": veiled(32, 32),
        "LA 32x32": veiled(32, 32).convert("LA"),
        "L 32x32": made(32, 32).convert("L"),
        "1 32x32": made(32, 32).convert("1"),
        "P 32x32": made(32, 32).quantize(64),
        "P 32x32 see-through": see_through(made(32, 32).quantize(16)),
        "CMYK 32x32": made(32, 32).convert("CMYK"),
        "RGBA 50x40": veiled(50, 40),
        "P 50x40": made(50, 40).quantize(64),
    }


def comparison_pictures() -> list[Picture]:
    """Three pictures on which the stand-in models disagree."""
    found = pictures()
    return [found[name] for name in ("RGB 32x32", "RGB 64x64", "L 50x40")]
