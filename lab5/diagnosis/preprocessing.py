"""2.1: which step of ``preprocess`` makes another tensor than the assignment's.

A preprocessing is taken as a chain of steps, of which each has its right way and its wrong ones:

    picture ── mode ──> RGB ── geometry ──> (32, 32, 3) ── values ──> numbers ── layout ──> (1, 3, 32, 32)

A cause is one wrong way. Layout and values are told from pictures of 32x32 pixels, the geometry from
others once these are known, the mode last: so every combination is tried, and the one with the fewest
causes that gives what was observed is named.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from PIL import Image

from lab5.assignment import CIFAR10_MEAN, CIFAR10_STD, IMAGE_SIZE
from lab5.diagnosis.core import cause
from lab5.text import Text

MEAN, STD = np.array(CIFAR10_MEAN), np.array(CIFAR10_STD)
CLOSE_LEVELS: Final = 1.2  # grey levels by which a right prediction may differ
_FILTERS: Final = {
    one.name.lower(): one for one in Image.Resampling
}  # nearest, lanczos, bilinear, bicubic, box, hamming
RIGHT_FILTER: Final = "bicubic"  # Pillow's own choice

Step = Callable[..., Any]


@dataclass(frozen=True)
class Way:
    """One way to do a step: the causes that it stands for, and what of them is particular here."""

    causes: tuple[Step, ...]
    do: Any
    detail: str = ""


# Layout: (H, W, 3) of numbers -> what is returned, without its axes of size 1


@cause(
    "2.1",
    Text(
        "The axes are not exchanged: the channels come last (HWC), the network wants them first (CHW).",
        "沒有交換軸：通道在最後（HWC），模型要的是通道在前（CHW）。",
    ),
    symptoms=("same-class",),
)
def channels_last(a: np.ndarray) -> np.ndarray:
    return a


@cause(
    "2.1",
    Text(
        "Height and width are exchanged: the transpose has another order than (2, 0, 1).",
        "高與寬對調：transpose 的順序不是 (2, 0, 1)。",
    ),
    symptoms=("photos-wrong",),
)
def height_and_width_exchanged(a: np.ndarray) -> np.ndarray:
    return a.transpose(2, 1, 0)


@cause(
    "2.1",
    Text(
        "The axes come in another order than channels, height, width.", "軸的順序不是通道、高、寬。"
    ),
    symptoms=("same-class",),
)
def axes_in_another_order(a: np.ndarray) -> Iterator[np.ndarray]:
    for order in ((0, 2, 1), (1, 2, 0), (1, 0, 2)):
        yield a.transpose(order)


@cause(
    "2.1",
    Text(
        "A reshape stands in place of a transpose: it keeps the order of the numbers and so mixes pixels and channels.",
        "用 reshape 代替 transpose：數字的順序沒變，像素與通道因此混在一起。",
    ),
    symptoms=("same-class", "ten-percent"),
)
def reshape_for_transpose(a: np.ndarray) -> np.ndarray:
    return a.reshape(3, *a.shape[:2])


def right_layout(a: np.ndarray) -> np.ndarray:
    return a.transpose(2, 0, 1)


@cause("2.1", Text("The picture is mirrored.", "圖片左右相反。"))
def mirrored(a: np.ndarray) -> np.ndarray:
    return a[:, ::-1]


@cause("2.1", Text("The picture stands on its head.", "圖片上下顛倒。"), symptoms=("photos-wrong",))
def upside_down(a: np.ndarray) -> np.ndarray:
    return a[::-1]


@cause(
    "2.1",
    Text(
        "The batch axis is missing: the network takes (1, 3, 32, 32).",
        "缺少 batch 軸：模型要的是 (1, 3, 32, 32)。",
    ),
)
def no_batch_axis(a: np.ndarray) -> np.ndarray:
    return a


@cause("2.1", Text("The batch axis was added twice.", "batch 軸加了兩次。"))
def batch_axis_twice(a: np.ndarray) -> np.ndarray:
    return a[None, None]


@cause("2.1", Text("The batch axis is not the first one.", "batch 軸不在最前面。"))
def batch_axis_elsewhere(a: np.ndarray) -> Iterator[np.ndarray]:
    for axis in range(1, a.ndim + 1):
        yield np.expand_dims(a, axis)


# Values: pixels 0..255 of a channel -> numbers, as slope and offset for each channel


@cause(
    "2.1",
    Text("/ 255 is missing: the pixels stay 0..255.", "缺少 / 255：像素值仍是 0～255。"),
    symptoms=("same-class",),
)
def not_divided_by_255() -> float:
    return 1


@cause(
    "2.1",
    Text(
        "The pixels are divided by 255 twice: all come out near black.",
        "除以 255 兩次：結果幾乎全黑。",
    ),
    symptoms=("same-class",),
)
def divided_by_255_twice() -> float:
    return 255 * 255


@cause("2.1", Text("The pixels are divided by 256, not by 255.", "除以 256，而不是 255。"))
def divided_by_256() -> float:
    return 256


@cause(
    "2.1",
    Text(
        "The pixels are divided by 127.5 without the 1 subtracted: they fill 0..2.",
        "除以 127.5 而沒有減 1：數值為 0～2。",
    ),
)
def divided_by_half_of_255() -> float:
    return 127.5


Pair = tuple[np.ndarray, np.ndarray]  # slope and offset for each channel, for pixels in 0..1


def formula(mean: Any = MEAN, std: Any = STD) -> Pair:
    mean, std = (np.broadcast_to(np.asarray(v, float), 3) for v in (mean, std))
    return 1 / std, -mean / std


@cause(
    "2.1",
    Text("Mean and standard deviation are exchanged.", "平均與標準差寫反了。"),
    symptoms=("same-class",),
)
def mean_and_deviation_exchanged() -> Pair:
    return formula(STD, MEAN)


@cause("2.1", Text("The mean is not subtracted.", "沒有減去平均。"))
def mean_not_subtracted() -> Pair:
    return formula(0)


@cause("2.1", Text("It is not divided by the standard deviation.", "沒有除以標準差。"))
def not_divided_by_the_deviation() -> Pair:
    return formula(MEAN, 1)


@cause(
    "2.1",
    Text(
        "Mean and standard deviation are left out: the numbers stay 0..1.",
        "沒有減平均、除以標準差：數值停在 0～1。",
    ),
)
def not_normalised() -> Pair:
    return formula(0, 1)


@cause(
    "2.1",
    Text(
        "The pixels are mapped to -1..1 (x / 127.5 - 1, or 0.5 for mean and deviation), not normalised as in training.",
        "像素被轉成 -1～1（x / 127.5 - 1，或平均與標準差都用 0.5），與訓練時的正規化不同。",
    ),
)
def scaled_to_minus_one_one() -> Iterator[Pair]:
    yield formula(0.5, 0.5)
    yield 2 / STD, (-1 - MEAN) / STD  # and normalised as well


@cause("2.1", Text("The mean is added, not subtracted.", "平均是加上去的，應該減去。"))
def mean_added() -> Pair:
    return formula(-MEAN)


@cause(
    "2.1",
    Text(
        "It is multiplied by the standard deviation, not divided.", "乘上了標準差，應該除以標準差。"
    ),
)
def multiplied_by_the_deviation() -> Pair:
    return STD, -MEAN * STD


@cause("2.1", Text("It is normalised twice.", "正規化做了兩次。"))
def normalised_twice() -> Pair:
    return 1 / STD**2, -MEAN / STD**2 - MEAN / STD


@cause(
    "2.1",
    Text(
        "It is divided by the deviation before the mean is subtracted.",
        "先除以標準差才減平均，順序相反。",
    ),
)
def divided_before_subtracted() -> Pair:
    return 1 / STD, -MEAN


@cause(
    "2.1",
    Text(
        "The mean (0..1) is subtracted before the pixels (0..255) are divided by 255.",
        "像素還是 0～255 時就減去 0～1 的平均，之後才除以 255。",
    ),
)
def normalised_before_division() -> Iterator[Pair]:
    yield 1 / STD, -MEAN / STD / 255
    yield np.ones(3) / STD, -MEAN / STD / 255 / STD  # deviation then as well


_KNOWN: Final = {
    "ImageNet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "MNIST": ((0.1307,) * 3, (0.3081,) * 3),
    "Fashion-MNIST": ((0.2860,) * 3, (0.3530,) * 3),
    "CIFAR-100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    "0.2023, 0.1994, 0.2010 (pytorch-cifar)": (CIFAR10_MEAN, (0.2023, 0.1994, 0.2010)),
    "CLIP": ((0.4815, 0.4578, 0.4082), (0.2686, 0.2613, 0.2758)),
    "SVHN": ((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
    "STL-10": ((0.4467, 0.4398, 0.4066), (0.2603, 0.2566, 0.2713)),
    "BGR": (CIFAR10_MEAN[::-1], CIFAR10_STD[::-1]),
    "one number for all channels": ((MEAN.mean(),) * 3, (STD.mean(),) * 3),
}


@cause(
    "2.1",
    Text("Mean and standard deviation are other constants: {}.", "平均與標準差用了其他常數：{}。"),
)
def other_constants() -> Iterator[tuple[Pair, str]]:
    for name, (mean, std) in _KNOWN.items():
        yield formula(mean, std), name
        if mean != CIFAR10_MEAN:
            yield formula(mean), f"mean of {name}"
            yield formula(MEAN, std), f"standard deviation of {name}"


@cause(
    "2.1",
    Text(
        "The normalised numbers come out {} times as large (as when only the mean is times 255).",
        "正規化後的數值變成 {} 倍（例如只有平均乘了 255）。",
    ),
    symptoms=("same-class",),
)
def multiplied_after_normalising() -> float:
    return 255


@cause("2.1", Text("The pixels are divided by {}, not by 255.", "像素除以 {}，而不是 255。"))
def divided_by_another_number() -> float:
    return 100


@cause(
    "2.1",
    Text(
        "The channels come as BGR, the network was trained on RGB.",
        "通道順序是 BGR，模型是用 RGB 訓練的。",
    ),
)
def channels_reversed() -> tuple[int, ...]:
    return 2, 1, 0


@cause(
    "2.1",
    Text(
        "The channels are in the order {}, the network was trained on RGB.",
        "通道順序是 {}，模型是用 RGB 訓練的。",
    ),
)
def channels_permuted() -> Iterator[tuple[int, ...]]:
    yield from ((0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1))
    yield from ((c, c, c) for c in range(3))


@cause(
    "2.1",
    Text(
        "The colours are lost: all three channels are the grey picture.",
        "顏色不見了：三個通道都是灰階圖。",
    ),
)
def grey_for_colour() -> tuple[int, ...]:
    return 3, 3, 3  # the luminance stands behind R, G and B


@cause(
    "2.1", Text("The picture is in another colour space than RGB: {}.", "圖片不是 RGB，而是 {}。")
)
def other_colour_space(image: Image.Image) -> Iterator[tuple[Image.Image, str]]:
    for mode in ("HSV", "YCbCr", "LAB"):
        yield Image.merge("RGB", image.convert(mode).split()), mode
    yield image.convert("P").convert("RGB"), "a palette of few colours"
    yield image.quantize(256).convert("RGB"), "a palette of few colours"
    yield image.convert("1").convert("RGB"), "black and white"


# Values that are no straight line: (H, W, 3) in 0..255 -> numbers of the same shape


@cause(
    "2.1",
    Text(
        "Each picture is scaled by its own mean and deviation or extremes, not by the data set's.",
        "用每張圖片自己的平均、標準差或最大最小值縮放，而不是資料集的。",
    ),
)
def scaled_by_its_own_statistics(g: np.ndarray) -> Iterator[np.ndarray]:
    for axes in (None, (0, 1)):
        yield (g - g.mean(axes)) / g.std(axes)
        unit = (g - g.min(axes)) / (g.max(axes) - g.min(axes))
        yield from (unit, unit * 2 - 1, (unit - MEAN) / STD)
    yield from (g / g.max(), (g / g.max() - MEAN) / STD)


@cause(
    "2.1",
    Text(
        "The division is one of integers (//, or an integer type): only 0 and 1 are left.",
        "用了整數除法（// 或整數型別）：只剩 0 與 1。",
    ),
    symptoms=("same-class",),
)
def divided_as_integers(g: np.ndarray) -> Iterator[np.ndarray]:
    yield (g // 255 - MEAN) / STD
    yield g // 255


@cause(
    "2.1",
    Text(
        "The normalised numbers are made integers: almost nothing of the picture is left.",
        "正規化後又轉成整數：圖片幾乎什麼都不剩。",
    ),
    symptoms=("same-class",),
)
def rounded_to_integers(g: np.ndarray) -> Iterator[np.ndarray]:
    normalised = (g / 255 - MEAN) / STD
    yield from (np.trunc(normalised), np.rint(normalised), np.floor(normalised))
    yield np.trunc(normalised).astype(np.int64) % 256  # uint8 wraps
    yield np.trunc(g / 255)


@cause(
    "2.1",
    Text(
        "The normalised numbers are cut off at 0 and 1, though they fill about -2..2.1.",
        "正規化後的數值被截在 0 與 1 之間，原本應為約 -2～2.1。",
    ),
)
def clipped(g: np.ndarray) -> Iterator[np.ndarray]:
    normalised = (g / 255 - MEAN) / STD
    for low, high in ((0, 1), (-1, 1), (0, np.inf), (0, 255)):
        yield normalised.clip(low, high)


@cause(
    "2.1",
    Text(
        "The same picture gives other numbers each time: a random crop, flip or noise of training is left in.",
        "同一張圖片每次結果都不同：留著訓練用的隨機裁切、翻轉或雜訊。",
    ),
)
def random_augmentation(first: np.ndarray, again: np.ndarray) -> bool:
    return first.shape != again.shape or not np.allclose(first, again, atol=1e-3)


@cause(
    "2.1",
    Text(
        "Mean and deviation are used when the channels already come first: shapes (3, 32, 32) and (3,) do not fit.",
        "通道已經換到最前面才用平均與標準差：形狀 (3, 32, 32) 與 (3,) 不合。",
    ),
)
def constants_for_channels_last() -> str:
    return r"broadcast together with shapes \((1,)?3,\d+,\d+\) \(3,\)"


# The type


@cause(
    "2.1",
    Text(
        "It returns float64; the model takes float32, and onnxruntime refuses.",
        "傳回 float64；模型要 float32，onnxruntime 會報錯。",
    ),
)
def double_precision() -> str:
    return "float64"


@cause(
    "2.1", Text("It returns float16; the model takes float32.", "傳回 float16；模型要 float32。")
)
def half_precision() -> str:
    return "float16"


@cause(
    "2.1",
    Text(
        "It returns {}; the model takes a numpy array of float32.",
        "傳回 {}；模型要的是 float32 的 numpy 陣列。",
    ),
)
def another_type() -> str:
    return ""


# Geometry: a picture in RGB -> (H, W, 3)


def resize(image: Image.Image, size: tuple[int, int], how: str) -> np.ndarray:
    if how in _FILTERS:
        return np.asarray(image.resize(size, _FILTERS[how]), float)
    pixels = np.asarray(image, float)
    for axis, wanted in ((0, size[1]), (1, size[0])):  # as OpenCV and torch without antialias
        have = pixels.shape[axis]
        at = (np.arange(wanted) + 0.5) * have / wanted - 0.5
        if how == "nearest (floor)":
            pixels = pixels.take((np.arange(wanted) * have / wanted).astype(int), axis)
            continue
        at = at.clip(0, have - 1)
        low = np.floor(at).astype(int)
        part = np.expand_dims(at - low, tuple(i for i in range(3) if i != axis))
        pixels = (
            pixels.take(low, axis) * (1 - part)
            + pixels.take((low + 1).clip(max=have - 1), axis) * part
        )
    return pixels


FILTER_NAMES: Final = (*_FILTERS, "bilinear without antialias", "nearest (floor)")


def _square(image: Image.Image, side: int) -> Image.Image:
    """The middle, as torchvision's CenterCrop cuts it; black where there is nothing."""
    left, top = round((image.width - side) / 2), round((image.height - side) / 2)
    return image.crop((left, top, left + side, top + side))


@cause(
    "2.1",
    Text(
        "The picture is resized by another filter than Pillow's own (bicubic): {}.",
        "縮放用了 Pillow 預設（bicubic）以外的濾波器：{}。",
    ),
)
def another_filter(image: Image.Image, size: tuple[int, int], how: str) -> np.ndarray:
    return resize(image, size, how)


@cause(
    "2.1",
    Text(
        "The picture is cropped ({}): what lies outside is never seen by the network.",
        "圖片被裁切（{}）：裁掉的部分模型看不到。",
    ),
    symptoms=("photos-wrong",),
)
def cropped(
    image: Image.Image, size: tuple[int, int], how: str
) -> Iterator[tuple[np.ndarray, str]]:
    side, short = size[0], min(image.size)
    yield resize(_square(image, short), size, how), "the middle square"
    scale = side / short
    whole = (max(side, int(image.width * scale)), max(side, int(image.height * scale)))
    yield _cut(resize(image, whole, how), side), "the middle, the shorter side resized"
    if how == RIGHT_FILTER:
        yield np.asarray(image.crop((0, 0, *size)), float), "the upper left corner"
        yield np.asarray(_square(image, side), float), "the middle, not resized"
    for larger in (33, 34, 35, 36, 38, 40, 42, 44, 48, 50, 56, 64, 72, 96, 100, 128, 224, 256):
        if larger > side:
            yield (
                _cut(resize(image, (larger, larger), how), side),
                f"resized to {larger}, then cropped",
            )
            whole = (int(image.width * larger / short), int(image.height * larger / short))
            yield _cut(resize(image, whole, how), side), f"shorter side {larger}, then cropped"


def _cut(pixels: np.ndarray, side: int) -> np.ndarray:
    top, left = round((pixels.shape[0] - side) / 2), round((pixels.shape[1] - side) / 2)
    return pixels[top : top + side, left : left + side]


@cause(
    "2.1",
    Text(
        "The picture keeps its proportions and is padded ({}); the network was trained on whole squares.",
        "圖片保持長寬比並補邊（{}）；模型是用整張正方形圖訓練的。",
    ),
    symptoms=("photos-wrong",),
)
def padded(image: Image.Image, size: tuple[int, int], how: str) -> Iterator[tuple[np.ndarray, str]]:
    side, long = size[0], max(image.size)
    for colour in (0, 255, 128, 127, 114):
        for put in (math.floor, math.ceil, lambda _: 0):  # in the middle, or in the corner
            square = np.full((long, long, 3), colour, np.uint8)
            top, left = (int(put((long - n) / 2)) for n in (image.height, image.width))
            square[top : top + image.height, left : left + image.width] = np.asarray(image)
            yield resize(Image.fromarray(square), size, how), f"grey level {colour}"
            for rounded in (int, round):
                w, h = (max(1, rounded(n * side / long)) for n in image.size)
                small = np.full((side, side, 3), float(colour))
                top, left = int(put((side - h) / 2)), int(put((side - w) / 2))
                small[top : top + h, left : left + w] = resize(image, (w, h), how)
                yield small, f"grey level {colour}"


@cause(
    "2.1",
    Text(
        "The picture is resized to {} first and then again: detail is lost.",
        "圖片先縮放成 {}，再縮放一次：細節流失。",
    ),
)
def resized_twice(
    image: Image.Image, size: tuple[int, int], how: str
) -> Iterator[tuple[np.ndarray, str]]:
    for other in (8, 16, 20, 24, 28, 30, 36, 40, 48, 64, 96, 128, 224, 256, 299):
        if other != size[0]:
            once = resize(image, (other, other), how).round().clip(0, 255).astype(np.uint8)
            yield resize(Image.fromarray(once), size, how), f"{other}x{other}"


@cause(
    "2.1",
    Text("The picture is resized to {}, not to 32x32.", "圖片縮放成 {}，而不是 32x32。"),
    symptoms=("photos-wrong",),
)
def another_size(size: tuple[int, int]) -> tuple[int, int]:
    return size


@cause(
    "2.1",
    Text(
        "The picture is not resized: only one of 32x32 pixels fits.",
        "沒有縮放圖片：只有 32x32 的圖片能用。",
    ),
    symptoms=("photos-wrong",),
)
def not_resized(image: Image.Image) -> tuple[int, int]:
    return image.height, image.width


@cause(
    "2.1",
    Text(
        "thumbnail() keeps the proportions and never enlarges: few pictures come out as 32x32.",
        "thumbnail() 保持長寬比且不會放大：很少圖片會變成 32x32。",
    ),
    symptoms=("photos-wrong",),
)
def thumbnail_for_resize(image: Image.Image) -> tuple[int, int]:
    small = image.copy()
    small.thumbnail((IMAGE_SIZE, IMAGE_SIZE))
    return small.height, small.width


# Mode: a picture -> RGB; None: it fails


@cause(
    "2.1",
    Text(
        "The picture is not converted to RGB: those of other modes fail ({}).",
        "沒有轉成 RGB：其他模式的圖片會出錯（{}）。",
    ),
)
def not_converted_to_rgb(image: Image.Image) -> Image.Image | None:
    return image if image.mode == "RGB" else None


@cause(
    "2.1",
    Text(
        "Grey and palette pictures are not converted to RGB and fail; transparent ones lose their fourth channel only.",
        "灰階與調色盤圖片沒有轉成 RGB 而出錯；透明圖片只去掉第四個通道。",
    ),
)
def first_three_channels(image: Image.Image) -> Image.Image | None:
    if len(image.getbands()) < 3:
        return None
    return Image.merge("RGB", image.split()[:3])


@cause(
    "2.1",
    Text(
        "Transparent pictures keep their fourth channel and fail.", "透明圖片保留第四個通道而出錯。"
    ),
)
def alpha_kept(image: Image.Image) -> Image.Image | None:
    return None if image.mode in ("RGBA", "CMYK") else image.convert("RGB")


@cause(
    "2.1", Text("Grey pictures are not converted to RGB and fail.", "灰階圖片沒有轉成 RGB 而出錯。")
)
def grey_kept(image: Image.Image) -> Image.Image | None:
    return None if image.mode in ("L", "1", "LA") else image.convert("RGB")


@cause(
    "2.1",
    Text(
        'Transparent pictures are laid on {}; convert("RGB") keeps the colours below.',
        '透明圖片被疊在{}上；convert("RGB") 會保留底下的顏色。',
    ),
)
def laid_on_a_background(image: Image.Image) -> Iterator[tuple[Image.Image, Text]]:
    see_through = "A" in image.getbands() or "transparency" in image.info
    for shown, colour in (
        (Text("white", "白色"), "white"),
        (Text("black", "黑色"), "black"),
        (Text("grey", "灰色"), (128,) * 3),
    ):
        below = Image.new("RGB", image.size, colour)
        if see_through:
            rgba = image.convert("RGBA")
            below.paste(rgba, mask=rgba.split()[3])
        yield (below if see_through else image.convert("RGB")), shown


@cause(
    "2.1",
    Text(
        "The numbers of a palette picture are taken for grey levels.",
        "調色盤圖片的索引被當成灰階。",
    ),
)
def palette_taken_for_grey(image: Image.Image) -> Image.Image:
    if image.mode == "P":
        return Image.fromarray(np.asarray(image)).convert("RGB")
    return image.convert("RGB")


@cause(
    "2.1",
    Text(
        "The picture is resized before it is converted: a palette can only be resized by the nearest pixel.",
        "先縮放才轉成 RGB：調色盤圖片只能用最近鄰縮放。",
    ),
)
def resized_before_converting(image: Image.Image, size: tuple[int, int], how: str) -> np.ndarray:
    return np.asarray(image.resize(size, _FILTERS.get(how)).convert("RGB"), float)


# The tables, the right way of each step first

LAYOUTS: Final = (
    None,
    channels_last,
    height_and_width_exchanged,
    reshape_for_transpose,
    axes_in_another_order,
)
MIRRORS: Final = ((), (mirrored,), (upside_down,), (mirrored, upside_down))
SCALES: Final = (
    None, not_divided_by_255, divided_by_255_twice, divided_by_256, divided_by_half_of_255,
)  # fmt: skip
FORMULAS: Final = (
    None, mean_and_deviation_exchanged, mean_not_subtracted, not_divided_by_the_deviation,
    not_normalised, scaled_to_minus_one_one, mean_added, multiplied_by_the_deviation,
    normalised_twice, divided_before_subtracted, normalised_before_division, other_constants,
)  # fmt: skip
ORDERS: Final = (None, channels_reversed, channels_permuted, grey_for_colour)
BENT: Final = (scaled_by_its_own_statistics, divided_as_integers, rounded_to_integers, clipped)
GEOMETRIES: Final = (None, cropped, padded, resized_twice)
MODES: Final = (
    None, not_converted_to_rgb, first_three_channels, alpha_kept, grey_kept, laid_on_a_background,
    palette_taken_for_grey,
)  # fmt: skip
TYPES: Final = (double_precision, half_precision)
ALL_CAUSES: Final = tuple(
    dict.fromkeys(
        one
        for one in (
            *LAYOUTS, mirrored, upside_down, no_batch_axis, batch_axis_twice, batch_axis_elsewhere,
            *SCALES, divided_by_another_number, multiplied_after_normalising, *FORMULAS, *ORDERS, *BENT, other_colour_space, random_augmentation, *TYPES,
            another_type, another_filter, *GEOMETRIES, another_size, not_resized,
            thumbnail_for_resize, *MODES, resized_before_converting, constants_for_channels_last,
        )
        if one is not None
    )
)  # fmt: skip


def ways(table: tuple[Step | None, ...], right: Any, *args: Any) -> Iterator[Way]:
    """Every way of a step, its predictions made for ``args``."""
    for step in table:
        made = right(*args) if step is None else step(*args)
        options = made if isinstance(made, Iterator) else [made]
        for option in options:
            do, detail = option if _detailed(option) else (option, "")
            yield Way((step,) if step else (), do, detail)


def _detailed(option: Any) -> bool:
    return isinstance(option, tuple) and len(option) == 2 and isinstance(option[1], str | Text)
