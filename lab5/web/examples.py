"""Pictures to try the page with: drawn here, so that nothing of CIFAR-10 is shown or shipped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw, ImageFilter

SIDE: Final = 64  # pixels of the finished picture
_SCALE: Final = 8  # drawn larger, then reduced: smooth edges


def draw_examples(folder: Path) -> list[Path]:
    """Write each drawing as ``<class>.png`` into ``folder``; the same bytes every time."""
    paths = []
    for draw in DRAWINGS:
        path = folder / f"{draw.__name__}.png"
        large = Image.new("RGB", (SIDE * _SCALE, SIDE * _SCALE))
        draw(_Pen(large))
        large.filter(ImageFilter.GaussianBlur(_SCALE / 2)).resize((SIDE, SIDE)).save(path)
        paths.append(path)
    return paths


class _Pen:
    """Shapes with corners in 0..100 of the picture's side."""

    def __init__(self, image: Image.Image) -> None:
        self._draw = ImageDraw.Draw(image)
        self._unit = image.width / 100

    def sky(self, top: tuple[int, int, int], bottom: tuple[int, int, int], end: int = 100) -> None:
        """A gradient over the full width, from the top edge down to ``end``."""
        for y in range(end):
            mix = [round(t + (b - t) * y / end) for t, b in zip(top, bottom, strict=True)]
            self._draw.rectangle(self._scaled(0, y, 100, y + 1), fill=tuple(mix))

    def box(self, *corners: float, fill: str) -> None:
        self._draw.rectangle(self._scaled(*corners), fill=fill)

    def oval(self, *corners: float, fill: str) -> None:
        self._draw.ellipse(self._scaled(*corners), fill=fill)

    def shape(self, *corners: float, fill: str) -> None:
        self._draw.polygon(self._scaled(*corners), fill=fill)

    def _scaled(self, *corners: float) -> list[float]:
        return [c * self._unit for c in corners]


def airplane(pen: _Pen) -> None:
    pen.sky((70, 130, 200), (170, 205, 235))
    pen.shape(8, 30, 16, 30, 28, 47, 16, 48, fill="#c8ccd2")  # fin
    pen.oval(10, 44, 92, 58, fill="#eef0f3")  # fuselage
    pen.shape(42, 50, 58, 50, 38, 80, 28, 80, fill="#aab0b8")  # near wing
    pen.shape(46, 46, 56, 46, 46, 28, 40, 28, fill="#c8ccd2")  # far wing
    pen.box(24, 52, 84, 54, fill="#3b5b8c")


def ship(pen: _Pen) -> None:
    pen.sky((150, 195, 235), (215, 230, 240), end=62)
    pen.box(0, 62, 100, 100, fill="#28567d")  # sea
    pen.shape(6, 56, 94, 56, 84, 74, 16, 74, fill="#7d2626")  # hull
    pen.box(6, 54, 94, 58, fill="#1f2933")
    pen.box(24, 40, 70, 55, fill="#f1f1ee")  # cabins
    pen.box(32, 30, 56, 41, fill="#e2e2de")
    pen.box(42, 16, 50, 31, fill="#c4502e")  # funnel


def automobile(pen: _Pen) -> None:
    pen.sky((165, 185, 200), (205, 210, 212), end=55)
    pen.box(0, 55, 100, 100, fill="#6f7072")  # road
    pen.shape(26, 44, 38, 26, 66, 26, 80, 44, fill="#b3161b")  # roof
    pen.shape(31, 44, 40, 30, 50, 30, 50, 44, fill="#27323d")
    pen.shape(53, 44, 53, 30, 64, 30, 74, 44, fill="#27323d")
    pen.shape(6, 48, 26, 43, 80, 43, 95, 50, 96, 68, 5, 68, fill="#c41c22")  # body
    for x in (14, 68):
        pen.oval(x, 56, x + 20, 78, fill="#17181a")
        pen.oval(x + 6, 63, x + 14, 71, fill="#b9bcc0")


def truck(pen: _Pen) -> None:
    pen.sky((150, 185, 220), (215, 225, 230), end=66)
    pen.box(0, 66, 100, 100, fill="#77736c")
    pen.box(4, 16, 66, 68, fill="#e9e9e6")  # box body
    pen.box(4, 62, 66, 70, fill="#3c3f43")
    pen.shape(68, 32, 84, 32, 94, 50, 95, 70, 68, 70, fill="#2358a5")  # cab
    pen.shape(73, 36, 83, 36, 90, 50, 73, 50, fill="#20303f")
    for x in (12, 34, 74):
        pen.oval(x, 60, x + 17, 80, fill="#16171a")
        pen.oval(x + 5, 66, x + 12, 74, fill="#aeb2b8")


def frog(pen: _Pen) -> None:
    pen.sky((112, 92, 60), (140, 118, 82))
    pen.oval(14, 38, 86, 88, fill="#4c8a2c")  # body
    pen.oval(2, 58, 34, 92, fill="#3f7524")  # legs
    pen.oval(66, 58, 98, 92, fill="#3f7524")
    pen.oval(24, 24, 76, 66, fill="#5b9e36")  # head
    for x in (26, 58):
        pen.oval(x, 16, x + 17, 35, fill="#6fb048")
        pen.oval(x + 4, 20, x + 13, 31, fill="#15180f")
    pen.box(32, 51, 68, 53, fill="#2d5319")  # mouth


def deer(pen: _Pen) -> None:
    pen.sky((96, 128, 70), (150, 165, 92))
    pen.oval(28, 42, 78, 66, fill="#8a5a30")  # body
    for x in (32, 40, 66, 73):
        pen.box(x, 58, x + 4, 92, fill="#74491f")
    pen.shape(28, 56, 20, 22, 30, 22, 42, 46, fill="#8a5a30")  # neck
    pen.oval(8, 18, 32, 32, fill="#94643a")  # head
    pen.shape(26, 20, 22, 2, 25, 2, 30, 20, fill="#5a3c1d")  # antlers
    pen.shape(28, 20, 38, 4, 40, 6, 31, 20, fill="#5a3c1d")


DRAWINGS: Final[tuple[Callable[[_Pen], None], ...]] = (
    airplane,
    automobile,
    deer,
    frog,
    ship,
    truck,
)
