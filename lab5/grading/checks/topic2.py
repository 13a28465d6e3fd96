"""2.1 to 2.4: the page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from lab5.assignment import (
    CIFAR10_MEAN,
    CIFAR10_STD,
    CLASSES,
    IMAGE_SIZE,
    TEMPLATE_CLASSES,
    TOP_K,
)
from lab5.grading.checks.layout import notebook_present
from lab5.grading.checks.observed import MILLISECONDS, errors_of, require_libraries
from lab5.grading.core import Advice, Blocked, Fault, check
from lab5.grading.stand_ins.pictures import pictures
from lab5.text import Text

if TYPE_CHECKING:
    import numpy as np

    from lab5.grading.handin import Evidence

_SHAPE: Final = (1, 3, IMAGE_SIZE, IMAGE_SIZE)
_CLOSE: Final = 0.02  # normalised units: 1.3 grey levels
_CLOSE_RESIZED: Final = 0.12  # mean difference, for whichever filter and order of steps


# 2.1


def _calls(e: Evidence) -> dict[str, Any]:
    found = e.probe("preprocess")
    if not found["calls"]:
        raise Fault(
            Text("There is no preprocess.", "沒有 preprocess 函式。"),
            want="preprocess(image)",
            got="—",
        )
    return dict(found["calls"])


def _fail_of(e: Evidence, call: dict[str, Any], label: str) -> Fault:
    require_libraries(e.probe("preprocess"))
    errors = e.probe("preprocess").get("errors") or []
    return Fault(
        Text(f"It fails on a picture ({label}).", f"處理圖片時出錯（{label}）。"),
        want=f"{_SHAPE}",
        got="; ".join([call["error"], *errors])[:300],
    )


@check(
    "2.1", 2, zh="preprocess 傳回形狀 (1, 3, 32, 32)", needs=[notebook_present], runs=True,
    hint=Text("transpose(2, 0, 1), then arr[None, ...].", "先 transpose(2, 0, 1)，再 arr[None, ...]。"),
)  # fmt: skip
def preprocess_shape(e: Evidence) -> None:
    """preprocess returns an array of shape (1, 3, 32, 32)."""
    call = _calls(e)["RGB 32x32"]
    if "error" in call:
        raise _fail_of(e, call, "RGB 32x32")
    if call["value"].shape != _SHAPE:
        raise Fault(
            Text("The shape is another.", "形狀不同。"), want=_SHAPE, got=call["value"].shape
        )


@check(
    "2.1", 1, zh="preprocess 傳回 float32", needs=[preprocess_shape], runs=True,
    hint=Text("np.asarray(img, dtype=np.float32), and mean and std in float32.", "np.asarray(img, dtype=np.float32)，平均與標準差也用 float32。"),
)  # fmt: skip
def preprocess_dtype(e: Evidence) -> None:
    """preprocess returns float32."""
    got = _calls(e)["RGB 32x32"]["dtype"]
    if got != "float32":
        raise Fault(Text("The type is another.", "型別不同。"), want="float32", got=got)


def _numbers(values: Any) -> str:
    return "[" + " ".join(f"{value:.4g}" for value in values) + "]"


def _reference(image: Any) -> np.ndarray:
    """(1, 3, 32, 32) of an RGB picture of 32x32 pixels, by the assignment's formula."""
    import numpy as np

    pixels = np.asarray(image.convert("RGB"), np.float64) / 255
    return ((pixels - CIFAR10_MEAN) / CIFAR10_STD).transpose(2, 0, 1)[None]


@check(
    "2.1", 3, zh="數值為 (像素/255 − 平均) / 標準差，通道順序 RGB", needs=[preprocess_shape], runs=True,
    hint=Text("Divide by 255, subtract CIFAR10_MEAN, divide by CIFAR10_STD, keep RGB.", "除以 255、減 CIFAR10_MEAN、除以 CIFAR10_STD，通道維持 RGB。"),
)  # fmt: skip
def preprocess_values(e: Evidence) -> None:
    """The values are (pixel / 255 - mean) / std, channels in the order RGB."""
    images = pictures(e.seed)
    for label in ("RGB 32x32 black", "RGB 32x32 white", "RGB 32x32 red", "RGB 32x32"):
        call = _calls(e)[label]
        if "error" in call:
            raise _fail_of(e, call, label)
        want, got = _reference(images[label]), call["value"]
        if got.shape != want.shape or not abs(got - want).max() <= _CLOSE:
            shown = got[0, :, 0, 0] if got.shape == want.shape else got.shape
            raise Fault(
                Text(f"The values differ ({label}).", f"數值不同（{label}）。"),
                want=_numbers(want[0, :, 0, 0]),
                got=_numbers(shown),
            )


@check(
    "2.1", 2, zh="各種大小的圖片都縮放為 32×32", needs=[preprocess_shape], runs=True,
    hint=Text("Resize the whole picture to (32, 32); do not crop it.", "整張圖縮放為 (32, 32)，不要裁切。"),
)  # fmt: skip
def preprocess_sizes(e: Evidence) -> None:
    """Pictures of every size are resized whole to 32x32."""
    _each(e, lambda label: "32x32" not in label and label.startswith("RGB "))


@check(
    "2.1", 2, zh="各種色彩模式（RGBA、灰階、調色盤等）都轉為 RGB", needs=[preprocess_shape], runs=True,
    hint=Text('image.convert("RGB") first.', '先做 image.convert("RGB")。'),
)  # fmt: skip
def preprocess_modes(e: Evidence) -> None:
    """Pictures of every mode (RGBA, grey, palette and others) are converted to RGB."""
    _each(e, lambda label: not label.startswith("RGB ") and "32x32" in label)


def _each(e: Evidence, wanted: Any) -> None:
    """The pictures so labelled come out as the plain one's own formula has them, resized in any way."""
    import numpy as np

    images, calls = pictures(e.seed), _calls(e)
    formula = _own_formula(calls["RGB 32x32"]["value"], images["RGB 32x32"])
    for label in filter(wanted, images):
        call = calls[label]
        if "error" in call:
            raise _fail_of(e, call, label)
        got = call["value"]
        if got.shape != _SHAPE or not np.isfinite(got).all():
            raise Fault(
                Text(f"The shape is another ({label}).", f"形狀不同（{label}）。"),
                want=_SHAPE,
                got=got.shape,
            )
        if "half transparent" in label:  # on which background is the student's choice
            continue
        difference = min(abs(formula(v) - got).mean() for v in _resized(images[label]))
        if not difference <= _CLOSE_RESIZED:
            raise Fault(
                Text(
                    f"The picture is not the whole one ({label}).", f"結果不是整張圖片（{label}）。"
                ),
                want=f"Δ ≤ {_CLOSE_RESIZED}",
                got=f"Δ {difference:.2f}",
            )


def _own_formula(found: np.ndarray, image: Any) -> Any:
    """What this preprocess makes of pixels: the assignment's formula, or its own if that is another.

    A wrong mean is the fault of ``preprocess-values`` and of no other check.
    """
    import numpy as np

    want = _reference(image)
    pixels = np.asarray(image.convert("RGB"), np.float64).transpose(2, 0, 1)[None]
    if found.shape != want.shape or abs(found - want).max() <= _CLOSE:
        return _reference
    fits = []
    for channel in range(3):
        options = []
        for source in range(3):
            x, y = pixels[0, source].ravel(), found[0, channel].ravel().astype(np.float64)
            slope, offset = np.polyfit(x, y, 1)
            options.append((abs(slope * x + offset - y).max(), source, slope, offset))
        fits.append(min(options))
    if max(fit[0] for fit in fits) > _CLOSE * max(abs(f[2]) for f in fits) * 255:
        return _reference

    def formula(picture: Any) -> np.ndarray:
        arr = np.asarray(picture.convert("RGB"), np.float64).transpose(2, 0, 1)
        return np.stack([arr[source] * slope + offset for _, source, slope, offset in fits])[None]

    return formula


def _resized(image: Any) -> list[Any]:
    """The picture at 32x32, with every filter, before and after its conversion."""
    from PIL import Image

    size = (IMAGE_SIZE, IMAGE_SIZE)
    if image.size == size:
        return [image.convert("RGB")]
    found = []
    for how in Image.Resampling:
        found.append(image.convert("RGB").resize(size, how))
        if image.mode not in ("P", "1"):
            found.append(image.resize(size, how).convert("RGB"))
    return found


# 2.2


def _compared(e: Evidence) -> list[dict[str, Any]]:
    found = e.probe("compare")
    if not found["calls"]:
        raise Fault(
            Text("There is no compare_fp32_int8.", "沒有 compare_fp32_int8 函式。"),
            want="compare_fp32_int8(image)",
            got="—",
        )
    for call in found["calls"]:
        if "error" in call or "message" in call:
            require_libraries(found)
            got = [call.get("error") or call["message"], *found["errors"]]
            raise Fault(
                Text("It fails on a picture.", "處理圖片時出錯。"),
                want=Text("three results", "三個結果"),
                got="; ".join(got)[:300],
            )
    return list(found["calls"])


def _label(value: Any) -> list[tuple[str, float]] | None:
    """A label's classes with their confidence; None when it is no such thing."""
    if not isinstance(value, dict) or "dict" not in value:
        return None
    pairs = value["dict"]
    good = all(isinstance(k, str | int) and isinstance(v, int | float) for k, v in pairs)
    return [(str(k), float(v)) for k, v in pairs] if good else None


@check(
    "2.2", 1, zh="compare_fp32_int8 傳回 FP32 結果、INT8 結果與文字", needs=[notebook_present], runs=True,
    hint="return top3_fp32, top3_int8, summary",
)  # fmt: skip
def compare_outputs(e: Evidence) -> None:
    """compare_fp32_int8 returns two dicts of class to probability, and a text."""
    for call in _compared(e):
        value = call["value"]
        if not (isinstance(value, list) and len(value) == 3):
            shown = len(value) if isinstance(value, list) else type(value).__name__
            raise Fault(Text("It returns something else.", "傳回值不同。"), want="3", got=shown)
        if _label(value[0]) is None or _label(value[1]) is None or not isinstance(value[2], str):
            raise Fault(
                Text("It returns other types.", "傳回的型別不同。"),
                want="{class: probability}, {class: probability}, str",
                got=str(value)[:200],
            )
    if mended := e.probe("compare").get("mended"):
        names = ", ".join(mended)
        raise Advice(
            Text(
                f"Where {names} is assigned in the function it cannot be read before: the page shows an "
                "error for every picture. What follows was judged with another name for the result.",
                f"函式內對 {names} 賦值後，就不能在賦值前讀取它：網頁對每張圖片都會顯示錯誤。以下各項以結果改名後評分。",
            ),
            want="logits_fp32 = sess_fp32.run([out_fp32], {in_fp32: x})[0]",
            got="UnboundLocalError",
            hint="logits_fp32 = sess_fp32.run([out_fp32], {in_fp32: x})[0]",
        )


def _probabilities(kind: str, x: Any, seed: int) -> np.ndarray:
    """The softmax of what the stand-in model of that kind gives for ``x``."""
    import numpy as np

    from lab5.compare import softmax
    from lab5.grading.stand_ins.sessions import logits_of

    return softmax(logits_of(kind, np.asarray(x, np.float32), seed)[0].astype(np.float64))


def _results(e: Evidence) -> list[tuple[str, list[tuple[str, float]], np.ndarray]]:
    """(kind, the label that was returned, the probabilities that the model of that kind gives).

    A model that was not run has none.
    """
    found = []
    for call in _compared(e):
        for place, kind in enumerate(("fp32", "int8")):
            label = _label(call["value"][place])
            assert label is not None
            if (x := call[kind].get("x")) is not None:
                found.append((kind, label, _probabilities(kind, x, e.seed)))
    return found


@check(
    "2.2", 1, zh="兩個結果各列出前三名", needs=[compare_outputs], runs=True,
    hint=Text("The three likeliest classes: top3_map(prob).", "列出機率最高的三個類別：top3_map(prob)。"),
)  # fmt: skip
def compare_top3(e: Evidence) -> None:
    """Both results are the top three."""
    for call in _compared(e):
        for value in call["value"][:2]:
            if len(_label(value) or []) != TOP_K:
                raise Fault(
                    Text("The number of classes is another.", "類別數不同。"),
                    want=TOP_K,
                    got=len(_label(value) or []),
                )


@check(
    "2.2", 3, zh="機率是對應模型 logits 的 softmax", needs=[compare_outputs], runs=True,
    hint=Text("softmax over the {classes} logits of the right session, FP32 first.", "對正確的 session 的 {classes} 個 logits 做 softmax，FP32 在前。"),
)  # fmt: skip
def compare_probabilities(e: Evidence) -> None:
    """The probabilities are the softmax of the right model's logits, FP32 first."""
    results = _results(e)
    for kind in sorted({"fp32", "int8"} - {kind for kind, _, _ in results}):
        raise Fault(
            Text(f"It does not run the {kind.upper()} model.", f"沒有執行 {kind.upper()} 模型。"),
            want=f"sess_{kind}.run(…)",
            got="—",
        )
    for kind, label, probabilities in results:
        got = sorted((value for _, value in label), reverse=True)
        want = sorted(probabilities, reverse=True)[: len(got)]
        if not label or not _is_softmax(label, probabilities):
            raise Fault(
                Text(f"The {kind.upper()} values are others.", f"{kind.upper()} 的數值不同。"),
                want=_numbers(want),
                got=_numbers(got),
            )


@check(
    "2.2", 1, zh="類別名稱與順序依作業規定", needs=[compare_outputs], runs=True,
    hint="LABELS = [" + ", ".join(CLASSES) + "]",
)  # fmt: skip
def compare_labels(e: Evidence) -> None:
    """The class names are the assignment's, in its order."""
    handed_out = dict(zip(TEMPLATE_CLASSES, CLASSES, strict=True))
    seen: set[str] = set()
    for _, label, probabilities in _results(e):
        names = [handed_out.get(name, name) for name, _ in label]
        seen |= {name for name, _ in label} - set(CLASSES)
        if strange := sorted(set(names) - set(CLASSES)):
            raise Fault(
                Text("There are other names.", "有其他名稱。"),
                want=", ".join(CLASSES),
                got=", ".join(strange),
            )
        wanted = [CLASSES[i] for i in (-probabilities).argsort()[: len(label)]]
        values = [probabilities[CLASSES.index(name)] for name in names]
        # the same probabilities under other names: the order of the names is at fault
        if _is_softmax(label, probabilities) and not _close([value for _, value in label], values):
            raise Fault(
                Text("The names are in another order.", "名稱順序不同。"),
                want=", ".join(wanted),
                got=", ".join(names),
            )
    if seen:
        raise Advice(
            Text(
                "They are the handed-out notebook's, not the text's. It costs nothing.",
                "使用 notebook 提供的名稱，與作業說明的不同。沒有損失。",
            ),
            want=", ".join(handed_out[name] for name in sorted(seen)),
            got=", ".join(sorted(seen)),
        )


def _close(found: list[float], wanted: Any) -> bool:
    """To two decimals, which are enough."""
    return len(found) == len(wanted) and all(
        abs(a - b) <= 6e-3 for a, b in zip(found, wanted, strict=True)
    )


def _is_softmax(label: list[tuple[str, float]], probabilities: np.ndarray) -> bool:
    got = sorted((value for _, value in label), reverse=True)
    return _close(got, sorted(probabilities, reverse=True)[: len(got)])


_NUMBER: Final = re.compile(
    r"(?<![A-Za-z0-9_.])[x×]?(\d+(?:\.\d+)?(?:e[-+]?\d+)?)\s*([A-Za-zµμ]+|毫秒|微秒|秒|[%％])?",
    re.IGNORECASE,
)


def _times(text: str) -> list[float]:
    """The times in ``text``, in ms; a number without a unit may be ms or s."""
    found = []
    for number, unit in _NUMBER.findall(text):
        if (factor := MILLISECONDS.get(unit.lower())) is not None:
            found.append(float(number) * factor)
        else:
            found += [float(number), float(number) * 1e3]
    return found


def _measured(value: float, seconds: list[float]) -> bool:
    """``value`` ms is the time of one run, or of all of them less those that warm up."""
    runs = {1, *range(max(1, len(seconds) - 10), len(seconds) + 1)}
    return any(abs(value - n * seconds[0] * 1e3) <= 0.02 * value + 0.06 for n in runs)


@check(
    "2.2", 2, zh="文字中有 FP32 與 INT8 的推論時間", needs=[compare_outputs], runs=True,
    hint=Text("Measure each run and print both times in ms.", "測量兩次推論並以 ms 印出。"),
)  # fmt: skip
def compare_times(e: Evidence) -> None:
    """The text gives the measured time of either model."""
    for call in _compared(e):
        text, seconds = call["value"][2], {k: call[k]["seconds"] for k in ("fp32", "int8")}
        good = all(
            runs and any(_measured(value, runs) for value in _times(text))
            for runs in seconds.values()
        )
        if not good or _swapped(text, seconds):
            want = (f"{k.upper()} {runs[0] * 1e3:.1f} ms" for k, runs in seconds.items() if runs)
            raise Fault(
                Text("The times are not those that were measured.", "時間不是實際測得的。"),
                want=", ".join(want),
                got=text[:200] or "—",
            )


def _swapped(text: str, seconds: dict[str, list[float]]) -> bool:
    """Either time stands right behind the other model's name."""
    wrong = []
    for mine, other in (("fp32", "int8"), ("int8", "fp32")):
        behind = re.findall(
            rf"{mine}((?:(?!fp32|int8)[^\d\n]){{1,25}}\d[^\n]{{0,12}})", text, re.IGNORECASE
        )
        times = [time for rest in behind for time in _times(rest)[:1]]
        wrong.append(
            any(_measured(t, seconds[other]) for t in times)
            and not any(_measured(t, seconds[mine]) for t in times)
        )
    return all(wrong)


@check(
    "2.2", 1, zh="文字中有加速倍數（FP32 時間 / INT8 時間）", needs=[compare_outputs], runs=True,
    hint="speedup = fp32_ms / int8_ms",
)  # fmt: skip
def compare_speedup(e: Evidence) -> None:
    """The text gives the speed-up: FP32's time over INT8's."""
    for call in _compared(e):
        text, fp32, int8 = call["value"][2], call["fp32"]["seconds"], call["int8"]["seconds"]
        if not fp32 or not int8:
            raise Blocked(Text("A model was not run.", "有模型沒有執行。"))
        found = []
        for number, unit in _NUMBER.findall(text):
            value = float(number)
            if unit in ("%", "％"):  # so much faster, or so much less time
                found += [1 + value / 100] + ([1 / (1 - value / 100)] if value < 100 else [])
            elif unit.lower() not in MILLISECONDS:
                found.append(value)
        wanted = {fp32[0] / int8[0], sum(fp32) / sum(int8)}
        whole = [float(n) for n in re.findall(r"(?<![\d.])(\d+)\s*(?:[x×倍]|times)", text)]
        if not any(
            abs(value - want) <= 0.05 * want for value in found for want in wanted
        ) and not any(value == round(want) for value in whole for want in wanted):
            raise Fault(
                Text("The speed-up is not in the text.", "文字中沒有加速倍數。"),
                want=f"{fp32[0] / int8[0]:.2f}x",
                got=text[:200] or "—",
            )


@check(
    "2.2", 0, zh="兩個模型都重複計時", needs=[compare_outputs], runs=True,
    hint="for _ in range(10): t0 = time.perf_counter(); sess.run(...); times.append(time.perf_counter() - t0)",
)  # fmt: skip
def compare_repeated(e: Evidence) -> None:
    """Both models are timed over several runs."""
    runs = [len(call[kind]["seconds"]) for call in _compared(e) for kind in ("fp32", "int8")]
    if min(runs) < 2:
        raise Advice(
            Text(
                "One run is timed: the first pays for what later ones reuse, and a single time is noise. "
                "The speed-up that is shown varies from picture to picture.",
                "只計時一次：第一次推論包含配置記憶體的時間，單一數值只是雜訊，顯示的加速倍數每張圖都會不同。",
            ),
            want="≥ 2",
            got=min(runs),
        )


@check(
    "2.2", 1, zh="沒有圖片（None）時不會出錯", needs=[notebook_present], runs=True,
    hint=Text("if image is None: return a message.", "if image is None: 傳回提示訊息。"),
)  # fmt: skip
def compare_none(e: Evidence) -> None:
    """Without a picture (None) it does not fail."""
    found = e.probe("none")
    if found["function"] is None:
        raise Blocked(Text("There is no compare_fp32_int8.", "沒有 compare_fp32_int8 函式。"))
    if "error" in found:
        require_libraries(found)
        raise Fault(
            Text("It fails.", "執行出錯。"),
            want=Text("a message", "提示訊息"),
            got=errors_of(found),
        )
    value = found.get("value")
    if "message" not in found and not (isinstance(value, list) and len(value) == 3):
        raise Fault(
            Text("It returns something else than with a picture.", "傳回值的個數與有圖片時不同。"),
            want=Text("three results, or gr.Error", "三個結果，或 gr.Error"),
            got=str(value)[:200],
        )


# 2.3


def _interface(e: Evidence) -> dict[str, Any]:
    found = e.probe("page")
    if not found["interfaces"]:
        require_libraries(found)
        raise Fault(
            Text("No gr.Interface was made.", "沒有建立 gr.Interface。"),
            want="demo = gr.Interface(fn=…, inputs=…, outputs=…)",
            got=errors_of(found),
        )
    return dict(found["interfaces"][-1])


@check(
    "2.3", 2, zh="notebook 建立了 Gradio 介面", needs=[notebook_present], runs=True,
    hint="demo = gr.Interface(…)",
)  # fmt: skip
def interface_built(e: Evidence) -> None:
    """The notebook builds a Gradio interface."""
    _interface(e)


@check(
    "2.3", 2, zh="介面呼叫比較函式", needs=[interface_built], runs=True,
    hint=Text("fn=compare_fp32_int8, without parentheses.", "fn=compare_fp32_int8，不要加括號。"),
)  # fmt: skip
def interface_function(e: Evidence) -> None:
    """The interface calls the comparison."""
    one = _interface(e)
    named = one["fn"] == "compare_fp32_int8" or one["fn"] == e.probe("compare")["function"]
    if not one["callable"] or not (named or one["runs"] == ["fp32", "int8"]):
        raise Fault(
            Text("It calls something else.", "呼叫的不是比較函式。"),
            want="fn=compare_fp32_int8",
            got=one["fn"] or "—",
        )


@check(
    "2.3", 2, zh="輸入為 PIL 圖片：gr.Image(type=\"pil\")", needs=[interface_built], runs=True,
    hint='inputs=gr.Image(type="pil")',
)  # fmt: skip
def interface_input(e: Evidence) -> None:
    """The input is a picture, given as PIL: gr.Image(type="pil")."""
    given = _interface(e)["inputs"]
    good = len(given) == 1 and (
        given[0]["kind"] == "pil"
        or (given[0]["kind"] in ("image", "imageeditor") and given[0].get("type") == "pil")
    )
    if not good:
        raise Fault(
            Text("The input is another.", "輸入不同。"),
            want='gr.Image(type="pil")',
            got=_shown(given),
        )


def _shown(components: list[dict[str, Any]]) -> str:
    return (
        ", ".join(
            f"{c['kind']}({', '.join(f'{k}={v!r}' for k, v in c.items() if k not in ('kind', 'first') and v is not None)})"
            for c in components
        )
        or "—"
    )


@check(
    "2.3", 3, zh="輸出為 FP32 Label、INT8 Label 與文字框", needs=[interface_built], runs=True,
    hint='outputs=[gr.Label(label="FP32 Top-3"), gr.Label(label="INT8 Top-3"), gr.Textbox(label="Performance Comparison")]',
)  # fmt: skip
def interface_outputs(e: Evidence) -> None:
    """The outputs are a label for FP32, a label for INT8, and a text."""
    given = _interface(e)["outputs"]
    kinds = [c["kind"] for c in given]
    texts = ("textbox", "text", "markdown", "textarea", "html", "code")
    good = len(kinds) == 3 and kinds[:2] == ["label", "label"] and kinds[2] in texts
    if good:
        for component, mine, other in zip(given, ("fp32", "int8"), ("int8", "fp32"), strict=False):
            text = str(component.get("label") or "").lower()
            good = good and (mine in text or other not in text)
    if not good:
        raise Fault(
            Text("The outputs are others.", "輸出不同。"),
            want='label "FP32 Top-3", label "INT8 Top-3", textbox',
            got=_shown(given),
        )


@check(
    "2.3", 1, zh="介面有標題與說明", needs=[interface_built], runs=True,
    hint="title=…, description=…",
)  # fmt: skip
def interface_title(e: Evidence) -> None:
    """The interface has a title and a description."""
    one = _interface(e)
    lacking = [key for key in ("title", "description") if not one[key].strip()]
    if lacking:
        raise Fault(
            Text("It lacks one.", "缺少標題或說明。"),
            want="title, description",
            got=f"– {', '.join(lacking)}",
            share=0.5 if len(lacking) == 1 else 0,
        )


# 2.4


@check(
    "2.4", 2, zh="notebook 啟動介面", needs=[notebook_present], runs=True,
    hint=Text("demo.launch(share=True) in the last cell.", "在最後呼叫 demo.launch(share=True)。"),
)  # fmt: skip
def page_launched(e: Evidence) -> None:
    """The notebook launches the page."""
    found = e.probe("page")
    if not found["launches"]:
        require_libraries(found)
        raise Fault(
            Text("launch was not called.", "沒有呼叫 launch。"),
            want="demo.launch(share=True)",
            got=errors_of(found),
        )


@check(
    "2.4", 3, zh="以 share=True 產生公開網址", needs=[page_launched], runs=True,
    hint="demo.launch(share=True)",
)  # fmt: skip
def page_shared(e: Evidence) -> None:
    """The page is launched with share=True, which gives it a public address."""
    shares = [launch["share"] for launch in e.probe("page")["launches"]]
    if not any(share in (True, 1) for share in shares):
        raise Fault(
            Text("It is not shared.", "沒有公開。"), want="share=True", got=f"share={shares[-1]}"
        )
