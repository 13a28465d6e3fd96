"""The pictures that the notebook's functions are called with, other ones in every run."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image as Picture


def pictures(seed: int) -> dict[str, Picture]:
    """Pictures of many modes and sizes; the name says which. Each caller's are its own."""
    return {name: picture.copy() for name, picture in _made(seed).items()}


@functools.lru_cache(maxsize=1)
def _made(seed: int) -> dict[str, Picture]:
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng([seed, 7])

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
        **{f"RGB 32x32 again {n}": plain.copy() for n in range(1, 7)},
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


def comparison_pictures(seed: int) -> list[Picture]:
    """Three pictures on which the stand-in models disagree."""
    found = pictures(seed)
    return [found[name] for name in ("RGB 32x32", "RGB 64x64", "L 50x40")]
