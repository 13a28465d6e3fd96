"""2.3 and 2.4: the Gradio page and its public link, by the assignment's own calls.

``lab5.web`` adds around it what a page in public needs.

In notebooks: ``build_interface``, ``launch_public``.
"""

from __future__ import annotations

from lab5.assignment import APP_TITLE


def build_interface(compare_fp32_int8):
    import gradio as gr

    return gr.Interface(
        fn=compare_fp32_int8,
        inputs=gr.Image(type="pil"),
        outputs=[
            gr.Label(label="FP32 Top-3"),
            gr.Label(label="INT8 Top-3"),
            gr.Textbox(label="Performance Comparison"),
        ],
        title=APP_TITLE,
        description="Upload an image to compare FP32 and INT8 model inference",
    )


def launch_public(demo):
    demo.launch(share=True)


if __name__ == "__main__":
    from lab5.__main__ import run

    run("app")
