"""The page around the assignment's interface: two languages, examples, and safe in public."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from starlette.middleware import Middleware
from starlette.responses import JSONResponse

from lab5.app import build_interface
from lab5.assignment import APP_TITLE, APP_TITLE_ZH, CLASSES
from lab5.compare import Models, Scores, top_k
from lab5.errors import AppError, DataError
from lab5.text import LANGUAGES, Language, Text
from lab5.web.decoding import decode
from lab5.web.examples import draw_examples
from lab5.web.gradio_setup import FileData, gr
from lab5.web.uploads import MAX_FILE, Guard, Received, plain_upload, read_upload

QUEUE: Final = 64  # visitors that may wait; the next one is told that the queue is full
WORKERS: Final = 2  # answers in the making; their measurements take turns
SESSIONS: Final = 200  # visitors that gradio remembers
KEPT: Final = 600  # seconds that an upload stays
SWEEP: Final = 60  # seconds between two clean-ups

TEXTS: Final = {  # what gradio's I18n is asked for -> what it says
    "title": Text(APP_TITLE, APP_TITLE_ZH),
    "description": Text(
        "Upload an image to compare FP32 and INT8 model inference. Best is a small "
        f"picture (about 32x32) of one of these: {', '.join(CLASSES)}.",
        "上傳一張圖片，比較 FP32 與 INT8 模型的推論。最好是小圖（約 32x32），"
        f"內容是這 {len(CLASSES)} 類之一：{'、'.join(CLASSES)}。",
    ),
    "examples": Text("Examples", "範例圖片"),
    "picture": Text("Picture", "圖片"),
    "Clear": Text("Clear", "清除"),
    "Submit": Text("Submit", "送出"),
}
QUEUE_FULL: Final = Text(
    f"{QUEUE} people are waiting already; please try again in a minute.",
    f"已經有 {QUEUE} 人在排隊，請一分鐘後再試。",
)
UNSEEN: Final = Text(
    "Your browser cannot show this picture; submit it to see whether it can be read.",
    "瀏覽器無法預覽這張圖片，送出後才知道能否讀取。",
)

# The device's own fonts: gradio's semibold one lacks most of the alphabet and all of Chinese.
FONTS: Final = ("system-ui", "PingFang TC", "Microsoft JhengHei", "Noto Sans CJK TC", "sans-serif")
# A 32x32 picture large enough to see, a tall one small enough for a phone, nothing that jumps, and
# where the keyboard is.
STYLE: Final = """
[data-testid=image] .upload-container { width: 100%; justify-content: center; }
[data-testid=image] .image-frame, [data-testid=image] .image-frame img {
  height: 15rem; max-width: 100%; object-fit: contain;
}
[data-testid=image] .image-frame img { min-width: 8rem; }
[data-testid=image] .image-frame img:not([alt=""]) {
  width: 100%; box-sizing: border-box; padding: 6rem 1rem 0; text-align: center;
}
textarea:focus { outline: auto !important; }
"""
# What gradio's css, which it keeps inside the page's container, cannot do.
HEAD: Final = (
    """
<style>.toast-body .toast-title { display: none; } /* in English whatever the language */</style>
<script>
// Few browsers show HEIC and TIFF.
for (const event of ["error", "load"]) addEventListener(event, ({target}) => {
  if (target.closest?.("[data-testid=image]")) target.alt = event === "load" ? ""
    : navigator.language.startsWith("zh") ? """
    f'"{UNSEEN.zh}" : "{UNSEEN.en}"'
    """;
}, true);
// Many know no type for HEIC, and gradio sends images only: the server decides what is one.
addEventListener("change", ({target}) => {
  if (target.type !== "file") return;
  const files = new DataTransfer();
  for (const f of target.files)
    files.items.add(f.type.startsWith("image/") ? f : new File([f], f.name, {type: "image/any"}));
  target.files = files.files;
}, true);
// What gradio gives no name, names twice or in English only, and what it lets no key reach.
new MutationObserver(() => {
  const each = (selector, mend) => document.querySelectorAll(selector).forEach(mend);
  each(".gallery-item:not([aria-label])", item => {
    const image = item.querySelector("img");
    if (image) item.ariaLabel = image.src.replace(/.*[/]|[.]png$/g, "");
  });
  each(".empty[aria-label]", box => box.removeAttribute("aria-label"));
  each("footer img:not([alt=''])", icon => icon.alt = "");
  each("textarea:disabled", box => { box.disabled = false; box.readOnly = true; });
}).observe(document, {childList: true, subtree: true});
</script>"""
)

# Gradio's own are too pale to read.
THEME: Final = gr.themes.Default(font=FONTS).set(
    body_text_color_subdued="*neutral_600",
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_dark="*primary_700",
    button_primary_background_fill_hover="*primary_800",
    button_primary_background_fill_hover_dark="*primary_800",
)


def language_of(accept_language: str | None) -> Language:
    """The page's language for a browser's ``Accept-Language``: its first choice decides."""
    return "zh-TW" if (accept_language or "").strip().lower().startswith("zh") else "en"


def build_demo(fp32: Path, int8: Path) -> gr.Interface:
    """The page for a pair of models; ``launch()`` serves it with everything a public page needs.

    Raises:
        AppError: onnxruntime cannot run one of the models on a (1, 3, 32, 32) picture.
    """
    decode.start()  # its process is up before the first picture comes
    try:
        models = Models(fp32, int8)
    except Exception as error:  # onnxruntime raises a type of its own for each fault
        raise AppError(
            f"{fp32} and {int8} cannot be run: {error}. Make them with python -m lab5.package <id>.",
            zh=f"無法執行 {fp32} 與 {int8}。請用 python -m lab5.package <學號> 產生。",
        ) from error

    def compare_fp32_int8(image: Any, request: gr.Request) -> tuple[Scores, Scores, str]:
        language = language_of(request.headers.get("accept-language"))
        if image is None:
            return (
                {},
                {},
                Text("Please upload a picture first.", "請先上傳一張圖片。").say(language),
            )
        try:
            size, x = read_upload(image, received)
        except DataError as error:
            sentence = error.text.say(language)
            gr.Warning(sentence)  # in sight on a phone, too
            return {}, {}, sentence
        comparison = models(x)
        return (
            top_k(comparison.fp32),
            top_k(comparison.int8),
            comparison.text(size, language),
        )

    demo: gr.Interface = build_interface(compare_fp32_int8)
    _translate(demo)
    picture = demo.main_input_components[0]
    _hand_on_unread(demo, picture)
    # Not gr.Examples: its click goes round the queue and gives the session a new picture component,
    # which would read its file itself.
    with tempfile.TemporaryDirectory() as folder, demo:
        examples = gr.Dataset(
            components=[picture],
            samples=[[str(path)] for path in draw_examples(Path(folder))],  # gradio keeps copies
            type="index",
            label=gr.I18n()("examples"),
        )

        def compare_example(number: int, request: gr.Request) -> tuple[str, Scores, Scores, str]:
            example = FileData.model_validate(examples.samples[number][0])
            return example.path, *compare_fp32_int8(example, request)

        examples.click(
            compare_example,
            examples,
            [picture, *demo.output_components],  # type: ignore[misc]  # None before it is built
            api_visibility="private",
        )
    received = Received(demo)
    demo.queue(max_size=QUEUE, default_concurrency_limit=WORKERS, api_open=False)
    demo.launch = functools.partial(  # type: ignore[method-assign]
        demo.launch,
        i18n=gr.I18n(**{x: {k: text.say(x) for k, text in TEXTS.items()} for x in LANGUAGES}),
        max_file_size=MAX_FILE,
        state_session_capacity=SESSIONS,
        enable_monitoring=False,
        run_history=False,
        footer_links=["gradio", "settings"],
        theme=THEME,
        css=STYLE,
        head=HEAD,
        app_kwargs={
            "middleware": [Middleware(Guard, received)],
            "exception_handlers": {503: _queue_full},
            "lifespan": _sweeping,
        },
    )
    return demo


def _translate(demo: gr.Interface) -> None:
    """Swap title, description, buttons and the picture's label for ones in the browser's language."""
    text = gr.I18n()
    blocks = list(demo.blocks.values())
    title, description = (b for b in blocks if isinstance(b, gr.Markdown))
    title.value = f"<h1 style='text-align: center'>{text('title')}</h1>"
    description.value = text("description")
    for button in (b for b in blocks if isinstance(b, gr.Button)):
        button.value = text(button.value)
    demo.main_input_components[0].label = text("picture")


def _hand_on_unread(demo: gr.Blocks, picture: Any) -> None:
    """Let ``read_upload`` alone decide what of a visitor's message is opened, and do it."""
    preprocess_data = demo.preprocess_data

    async def without_files(
        block_fn: Any, inputs: list[Any], *args: Any, **named: Any
    ) -> list[Any]:
        plain = [
            plain_upload(value) if block is picture else value if type(value) is int else None
            for block, value in zip(block_fn.inputs, inputs, strict=False)
        ]
        values: list[Any] = await preprocess_data(block_fn, plain, *args, **named)
        return values

    demo.preprocess_data = without_files  # type: ignore[method-assign]
    picture.preprocess = lambda payload: payload


async def _queue_full(request: Any, error: Exception) -> JSONResponse:
    """Not as 503, for which gradio's page has an English sentence of its own."""
    language = language_of(request.headers.get("accept-language"))
    return JSONResponse({"detail": QUEUE_FULL.say(language)}, 429)


@contextlib.asynccontextmanager
async def _sweeping(app: Any) -> AsyncIterator[None]:
    """Delete uploads while the page runs, and the last of them when it stops."""

    async def sweep() -> None:
        while True:
            await asyncio.sleep(SWEEP)
            _delete_uploads(app.get_blocks(), KEPT)

    task = asyncio.create_task(sweep())
    try:
        yield
    finally:
        task.cancel()
        _delete_uploads(app.get_blocks(), 0)


def _delete_uploads(demo: gr.Blocks, age: float) -> None:
    """Delete what visitors uploaded more than ``age`` seconds ago, folders included.

    Not gradio's ``delete_cache``, which leaves the folders and ends for ever at an upload that arrives
    while it looks through its set.
    """
    examples = Received(demo).examples
    for created in demo.temp_file_sets:
        for path in map(Path, created.copy() - examples):
            try:
                if time.time() - path.lstat().st_ctime < age:
                    continue
                path.unlink()
                path.parent.rmdir()
            except OSError:  # gone, or not alone in its folder
                pass
            created.discard(str(path))
