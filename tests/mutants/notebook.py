"""Faults of the notebook's code."""

from __future__ import annotations

from tests.handin import FP32, NETWORK
from tests.mutants.core import HandIn, fault, harmless

# 1.1


@fault("network-names")
def classes_under_their_old_names(h: HandIn) -> None:
    """resnet18.py was pasted in as it is: ResBlock and ResNet."""
    h.code("class BasicBlock(", "class ResBlock(")
    h.code("super(BasicBlock, self)", "super(ResBlock, self)")
    h.code("class ResNet18(", "class ResNet(")
    h.code("super(ResNet18, self)", "super(ResNet, self)")


@fault("network-names")
def block_under_another_name(h: HandIn) -> None:
    """The block's class is called Block."""
    h.code("class BasicBlock(", "class Block(")
    h.code("super(BasicBlock, self)", "super(Block, self)")


@fault("network-names", also=("network-parameters",))
def network_in_a_file_not_handed_in(h: HandIn) -> None:
    """The classes are imported from resnet18.py."""
    h.code(NETWORK, "from resnet18 import ResBlock as BasicBlock, ResNet as ResNet18\n")


@fault("network-parameters")
def biases_in_the_convolutions(h: HandIn) -> None:
    """The block's convolutions have biases."""
    h.code("stride=stride, padding=1, bias=False)", "stride=stride, padding=1)")


@fault("network-parameters")
def batch_norm_missing(h: HandIn) -> None:
    """The shortcut has no BatchNorm."""
    h.code(
        "kernel_size=1, stride=stride, bias=False),\n                nn.BatchNorm2d(outchannel)\n",
        "kernel_size=1, stride=stride, bias=False),\n",
    )


@fault("network-parameters")
def first_convolution_of_imagenet(h: HandIn) -> None:
    """The first convolution is ImageNet's, 7x7."""
    h.code(
        "nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1",
        "nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3",
    )


@fault("network-parameters")
def network_of_34_layers(h: HandIn) -> None:
    """The stages have 3, 4, 6 and 3 blocks."""
    for channels, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        h.code(f"(ResBlock, {channels}, 2,", f"(ResBlock, {channels}, {blocks},")


@fault("network-parameters")
def last_layer_by_another_name(h: HandIn) -> None:
    """The last layer is called linear."""
    h.code("self.fc = nn", "self.linear = nn")
    h.code("self.fc(out)", "self.linear(out)")


@fault("network-parameters")
def network_of_a_library(h: HandIn) -> None:
    """ResNet18 is torchvision's."""
    with h.notebook() as content:
        cell = content["cells"][3]
        source = "".join(cell["source"])
        start, end = source.index("class ResNet18"), source.index("    def make_layer")
        cell["source"] = (
            source[:start]
            + (
                "class ResNet18(nn.Module):\n    # 提醒：__init__ 的第一個參數叫做 ResBlock\n"
                "    def __init__(self, ResBlock, num_classes=10):\n        super().__init__()\n"
                "        self.net = nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3), nn.Flatten())\n\n"
            )
            + source[end:]
        )


@fault("network-output")
def last_relu_forgotten(h: HandIn) -> None:
    """The block does not end with a ReLU."""
    h.code("        out = F.relu(out)\n", "")


@fault("network-output")
def shortcut_not_added(h: HandIn) -> None:
    """The block does not add its shortcut."""
    h.code("        out = out + self.shortcut(x)\n", "")


@fault("network-output")
def second_stage_without_stride(h: HandIn) -> None:
    """The second stage has stride 1: the last layer does not fit."""
    h.code("128, 2, stride=2", "128, 2, stride=1")


@fault("network-output")
def maximum_for_average(h: HandIn) -> None:
    """Maximum pooling in place of average pooling."""
    h.code("F.avg_pool2d", "F.max_pool2d")


@fault("network-output")
def softmax_in_forward(h: HandIn) -> None:
    """forward returns probabilities."""
    h.code(
        "out = self.fc(out)\n        return out",
        "out = self.fc(out)\n        return F.softmax(out, dim=1)",
    )


@fault("network-output")
def forward_returns_nothing(h: HandIn) -> None:
    """forward has no return."""
    h.code("out = self.fc(out)\n        return out", "out = self.fc(out)")


@fault("network-output")
def leaky_relu(h: HandIn) -> None:
    """The block ends with a leaky ReLU."""
    h.code("F.relu(out)", "F.leaky_relu(out, 0.1)")


# 1.2

LOAD = "    model.load_state_dict(state)\n"


@fault("weights-loaded", fast=True)
def weights_not_loaded(h: HandIn) -> None:
    """load_state_dict is not called."""
    h.code(LOAD, "")


@fault("weights-loaded")
def weights_loaded_after_the_export(h: HandIn) -> None:
    """load_state_dict is called after the export."""
    h.code(LOAD, "")
    h.code("        dynamo=False,\n    )\n", f"        dynamo=False,\n    )\n{LOAD}")


@fault("weights-loaded")
def weights_loaded_into_another_model(h: HandIn) -> None:
    """The weights are loaded into a network that is not exported."""
    h.code(LOAD, "    other = ResNet18(BasicBlock)\n    other.load_state_dict(state)\n")


@fault("weights-loaded")
def weights_changed_before_they_are_loaded(h: HandIn) -> None:
    """Those of the last layer are halved, in place, between torch.load and load_state_dict."""
    h.code(LOAD, f'    state["fc.weight"].mul_(0.5)\n{LOAD}')


@fault("weights-loaded")
def weights_assigned_to_the_method(h: HandIn) -> None:
    """model.state_dict = state, which loads nothing."""
    h.code(LOAD, "    model.state_dict = state\n")


@harmless()
def weights_changed_and_loaded_anew(h: HandIn) -> None:
    """Those of the last layer are halved, in place, and the file is read again."""
    h.code(
        LOAD,
        '    state["fc.weight"].mul_(0.5)\n'
        f'    state = torch.load("best_model.pth", map_location="cpu")\n{LOAD}',
    )


@harmless(advises=("weights-loaded-strictly",))
def strict_false(h: HandIn) -> None:
    """load_state_dict(state, strict=False)."""
    h.code("load_state_dict(state)", "load_state_dict(state, strict=False)")


@harmless(advises=("weights-loaded-strictly",))
def loading_errors_ignored(h: HandIn) -> None:
    """An error of load_state_dict is caught and ignored."""
    h.code(
        LOAD,
        "    try:\n        model.load_state_dict(state)\n    except Exception:\n        pass\n",
    )


@harmless(advises=("weights-loaded-strictly",))
def only_the_names_that_fit(h: HandIn) -> None:
    """Names that do not fit are left out before loading."""
    h.code(
        LOAD,
        "    own = model.state_dict()\n    own.update({k: v for k, v in state.items() if k in own})\n"
        "    model.load_state_dict(own)\n",
    )


@fault("model-in-eval-mode")
def eval_forgotten(h: HandIn) -> None:
    """model.eval() is not called."""
    h.code("    model.eval()\n", "")


@fault("model-in-eval-mode")
def back_in_training_mode(h: HandIn) -> None:
    """model.train() is called after model.eval()."""
    h.code("    model.eval()\n", "    model.eval()\n    model.train()\n")


@fault("model-in-eval-mode")
def eval_without_parentheses(h: HandIn) -> None:
    """model.eval is named but not called."""
    h.code("model.eval()", "model.eval")


# 1.3

EXPORT = f'''    torch.onnx.export(
        model,
        dummy,
        "{FP32}",
        input_names=["input"],
        output_names=["output"],
        opset_version=13,
        dynamo=False,
    )
'''


@fault("export-called")
def nothing_exported(h: HandIn) -> None:
    """torch.onnx.export is not called."""
    h.code(EXPORT, "")


@fault("export-called", also=("template-lines",))
def export_function_not_called(h: HandIn) -> None:
    """The function that exports is never called."""
    h.code('    export_onnx(torch_model, dummy_input, path="best_model.pth")', "    pass")


@fault("export-called")
def saved_by_torch(h: HandIn) -> None:
    """The model is saved by torch.save."""
    h.code(EXPORT, f'    torch.save(model, "{FP32}")\n')


@fault("export-called")
def traced_by_torchscript(h: HandIn) -> None:
    """The model is traced, not exported."""
    h.code(EXPORT, f'    torch.jit.trace(model, dummy).save("{FP32}")\n')


# 1.4

QUANTISE = """    quantize_static(
        model_input=fp32_path,
        model_output=int8_path,
        calibration_data_reader=reader,
        quant_format=QuantFormat.QOperator,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod[method],
    )
"""


@fault("quantize-called")
def nothing_quantised(h: HandIn) -> None:
    """quantize_static is not called."""
    h.code(QUANTISE, "")


@fault("quantize-called")
def quantised_dynamically_in_the_notebook(h: HandIn) -> None:
    """The notebook calls quantize_dynamic."""
    h.code(
        QUANTISE,
        "    from onnxruntime.quantization import quantize_dynamic\n"
        "    quantize_dynamic(fp32_path, int8_path, weight_type=QuantType.QInt8)\n",
    )


@fault("quantize-called")
def file_quantised_onto_itself(h: HandIn) -> None:
    """quantize_static reads the file that it writes."""
    h.code("model_input=fp32_path", "model_input=int8_path")


@fault("quantize-called")
def files_exchanged(h: HandIn) -> None:
    """The INT8 file is quantised to the FP32 file."""
    h.code("model_input=fp32_path", "model_input=int8_path")
    h.code("model_output=int8_path", "model_output=fp32_path")


@fault("quantize-called")
def reader_of_nothing(h: HandIn) -> None:
    """The calibration data are None."""
    h.code("calibration_data_reader=reader", "calibration_data_reader=None")


@fault("quantize-called")
def no_calibration_reader(h: HandIn) -> None:
    """quantize_static gets no calibration data."""
    h.code("        calibration_data_reader=reader,\n", "")


@fault("quantize-called")
def file_copied_for_quantised(h: HandIn) -> None:
    """The FP32 file is copied to the INT8 name."""
    h.code(QUANTISE, "    import shutil\n    shutil.copy(fp32_path, int8_path)\n")


# 1.5

SESSION = "    return ort.InferenceSession(model_path, providers=providers)\n"


@fault("session-path")
def session_of_one_file(h: HandIn) -> None:
    """build_session opens the FP32 model whatever it is given."""
    h.code(SESSION, "    return ort.InferenceSession(FP32_MODEL, providers=providers)\n")


@fault("session-path")
def session_not_returned(h: HandIn) -> None:
    """build_session does not return its session."""
    h.code(SESSION, SESSION.replace("return", "session ="))


@fault("session-path", also=("session-providers",))
def session_with_a_typing_error(h: HandIn) -> None:
    """build_session uses a name that does not exist."""
    h.code(SESSION, SESSION.replace("model_path, p", "model_pth, p"))


@fault("session-path")
def session_returned_with_its_name(h: HandIn) -> None:
    """build_session returns a pair."""
    h.code(
        SESSION, "    return ort.InferenceSession(model_path, providers=providers), model_path\n"
    )


@fault("session-providers")
def providers_ignored(h: HandIn) -> None:
    """build_session always takes the CPU."""
    h.code(SESSION, SESSION.replace("=providers", '=["CPUExecutionProvider"]'))


@fault("session-providers")
def providers_left_out(h: HandIn) -> None:
    """build_session passes no providers on."""
    h.code(SESSION, SESSION.replace(", providers=providers", ""))


@fault("session-providers")
def only_the_first_provider(h: HandIn) -> None:
    """build_session uses the first provider only."""
    h.code(SESSION, SESSION.replace("=providers", "=providers[:1]"))


@fault("sessions-opened")
def sessions_exchanged(h: HandIn) -> None:
    """sess_fp32 is opened on the INT8 model and the other way round."""
    h.code("x_demo = np", "FP32_MODEL, INT8_MODEL = INT8_MODEL, FP32_MODEL\nx_demo = np")


@fault("sessions-opened", also=("template-lines",))
def fp32_opened_twice(h: HandIn) -> None:
    """Both sessions are opened on the FP32 model."""
    h.code("sess_int8 = build_session(INT8_MODEL", "sess_int8 = build_session(FP32_MODEL")


# 2.1

RESIZE = 'image.convert("RGB").resize((32, 32))'


@fault("preprocess-shape", fast=True)
def no_batch_axis(h: HandIn) -> None:
    """preprocess returns (3, 32, 32)."""
    h.code("    arr = arr[None, ...]\n", "")


@fault("preprocess-shape")
def channels_last(h: HandIn) -> None:
    """preprocess returns (1, 32, 32, 3)."""
    h.code("    arr = arr.transpose(2, 0, 1)  # HWC -> CHW\n", "")


@fault("preprocess-shape")
def resized_for_imagenet(h: HandIn) -> None:
    """preprocess resizes to 224x224."""
    h.code(RESIZE, RESIZE.replace("(32, 32)", "(224, 224)"))


@fault("preprocess-shape")
def preprocess_without_return(h: HandIn) -> None:
    """preprocess returns nothing."""
    h.code("    arr = arr[None, ...]\n    return arr\n", "    arr = arr[None, ...]\n")


@fault("preprocess-shape")
def preprocess_hangs(h: HandIn) -> None:
    """preprocess never ends."""
    h.code(
        "    # 轉成 RGB 並縮放\n",
        "    # 轉成 RGB 並縮放\n    while True:\n        pass\n",
    )


@fault("preprocess-shape")
def preprocess_ends_the_process(h: HandIn) -> None:
    """preprocess calls os._exit."""
    h.code("    # 轉成 RGB 並縮放\n", "    # 轉成 RGB 並縮放\n    import os\n    os._exit(0)\n")


@fault("preprocess-shape")
def preprocess_takes_all_memory(h: HandIn) -> None:
    """preprocess asks for a terabyte."""
    h.code("    # 轉成 RGB 並縮放\n", "    # 轉成 RGB 並縮放\n    np.ones(1 << 37)\n")


@fault("preprocess-dtype")
def double_precision(h: HandIn) -> None:
    """preprocess returns float64."""
    h.code("np.asarray(img, dtype=np.float32)", "np.asarray(img)")


@fault("preprocess-dtype")
def half_precision(h: HandIn) -> None:
    """preprocess returns float16."""
    h.code("    return arr\n", "    return arr.astype(np.float16)\n")


@fault("preprocess-dtype")
def tensor_for_array(h: HandIn) -> None:
    """preprocess returns a tensor of PyTorch, which onnxruntime does not take."""
    h.code("    arr = arr[None, ...]\n    return arr\n", "    return torch.tensor(arr[None])\n")


@fault("preprocess-values")
def not_divided_by_255(h: HandIn) -> None:
    """preprocess does not divide by 255."""
    h.code("np.asarray(img, dtype=np.float32) / 255.0", "np.asarray(img, dtype=np.float32)")


@fault("preprocess-values")
def mean_not_subtracted(h: HandIn) -> None:
    """preprocess does not subtract the mean."""
    h.code("(arr - CIFAR10_MEAN) / CIFAR10_STD  #", "arr / CIFAR10_STD  #")


@fault("preprocess-values")
def not_normalised(h: HandIn) -> None:
    """preprocess only divides by 255."""
    h.code("    arr = (arr - CIFAR10_MEAN) / CIFAR10_STD  # 正規化\n", "")


@fault("preprocess-values")
def statistics_of_imagenet(h: HandIn) -> None:
    """preprocess uses ImageNet's mean and standard deviation."""
    h.code(
        "(arr - CIFAR10_MEAN) / CIFAR10_STD  #",
        "(arr - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])  #",
    )


@fault("preprocess-values")
def half_for_mean_and_deviation(h: HandIn) -> None:
    """preprocess maps to -1..1."""
    h.code("(arr - CIFAR10_MEAN) / CIFAR10_STD  #", "(arr - np.float32(0.5)) / np.float32(0.5)  #")


@fault("preprocess-values")
def blue_first(h: HandIn) -> None:
    """preprocess gives the channels as BGR."""
    h.code("arr.transpose(2, 0, 1)", "arr[..., ::-1].transpose(2, 0, 1)")


@fault("preprocess-values")
def mean_added(h: HandIn) -> None:
    """preprocess adds the mean."""
    h.code("(arr - CIFAR10_MEAN) / CIFAR10_STD  #", "(arr + CIFAR10_MEAN) / CIFAR10_STD  #")


@fault("preprocess-values")
def multiplied_by_the_deviation(h: HandIn) -> None:
    """preprocess multiplies by the standard deviation."""
    h.code("(arr - CIFAR10_MEAN) / CIFAR10_STD  #", "(arr - CIFAR10_MEAN) * CIFAR10_STD  #")


@fault("preprocess-values", also=("preprocess-sizes", "preprocess-modes"))
def height_and_width_exchanged(h: HandIn) -> None:
    """preprocess transposes the picture itself."""
    h.code("arr.transpose(2, 0, 1)", "arr.transpose(2, 1, 0)")


@fault("preprocess-values", also=("preprocess-sizes", "preprocess-modes"))
def reshaped_for_transposed(h: HandIn) -> None:
    """reshape in place of transpose, which mixes the channels."""
    h.code("arr.transpose(2, 0, 1)", "arr.reshape(3, 32, 32)")


@fault("preprocess-sizes")
def corner_for_the_whole(h: HandIn) -> None:
    """preprocess cuts out the upper left corner."""
    h.code(RESIZE, 'image.convert("RGB").crop((0, 0, 32, 32))')


@fault("preprocess-sizes")
def not_resized(h: HandIn) -> None:
    """preprocess does not resize."""
    h.code(RESIZE, 'image.convert("RGB")')


@fault("preprocess-sizes")
def thumbnail_for_resize(h: HandIn) -> None:
    """preprocess keeps the picture's proportions, so that few come out as 32x32."""
    h.code(RESIZE, 'image.convert("RGB")\n    img.thumbnail((32, 32))')


@fault("preprocess-modes")
def not_converted_to_rgb(h: HandIn) -> None:
    """preprocess does not convert to RGB."""
    h.code(RESIZE, "image.resize((32, 32))")


@fault("preprocess-modes")
def first_three_channels(h: HandIn) -> None:
    """preprocess takes the first three channels, which grey pictures have not."""
    h.code(RESIZE, "image.resize((32, 32))")
    h.code("np.asarray(img, dtype=np.float32)", "np.asarray(img, dtype=np.float32)[..., :3]")


# 2.2

_RETURN = "return top3_fp32, top3_int8, summary"


@fault("compare-outputs", also=("template-lines",))
def text_first(h: HandIn) -> None:
    """compare_fp32_int8 returns the text first."""
    h.code(_RETURN, "return summary, top3_fp32, top3_int8")


@fault("compare-outputs", fast=True)
def comparison_fails(h: HandIn) -> None:
    """compare_fp32_int8 uses a name that does not exist."""
    h.code("logits_int8 = sess_int8.run", "logits_int8 = session_int8.run")


@fault("compare-outputs")
def comparison_without_int8(h: HandIn) -> None:
    """compare_fp32_int8 does not run the INT8 model."""
    h.code("    logits_int8 = sess_int8.run([out_int8], {in_int8: x})[0]\n", "")


@fault("compare-outputs", also=("template-lines",))
def two_results(h: HandIn) -> None:
    """compare_fp32_int8 returns no text."""
    h.code(_RETURN, "return top3_fp32, top3_int8")


@fault("compare-outputs", also=("template-lines",))
def names_for_probabilities(h: HandIn) -> None:
    """compare_fp32_int8 returns the names as a string."""
    h.code(_RETURN, 'return ", ".join(top3_fp32), ", ".join(top3_int8), summary')


@fault("compare-outputs")
def comparison_hangs(h: HandIn) -> None:
    """compare_fp32_int8 never ends."""
    h.code("    # FP32 推論計時\n", "    # FP32 推論計時\n    while True:\n        pass\n")


@fault("compare-top3")
def int8_top_one(h: HandIn) -> None:
    """INT8's result is its first class only."""
    h.code("    speedup =", "    top3_int8 = dict(list(top3_int8.items())[:1])\n    speedup =")


@fault("compare-top3", also=("template-lines",))
def top_five(h: HandIn) -> None:
    """The results list five classes."""
    h.code("np.argsort(probs)[::-1][:3]", "np.argsort(probs)[::-1][:5]")


@fault("compare-top3", also=("template-lines",))
def every_class(h: HandIn) -> None:
    """The results list all classes."""
    h.code("np.argsort(probs)[::-1][:3]", "range(10)")


@fault("compare-probabilities", also=("compare-times", "compare-speedup"))
def int8_run_on_the_fp32_session(h: HandIn) -> None:
    """Both results come from the FP32 model."""
    h.code("sess_int8.run([out_int8], {in_int8: x})", "sess_fp32.run([out_fp32], {in_fp32: x})")


@fault("compare-probabilities")
def models_exchanged(h: HandIn) -> None:
    """The FP32 result comes from the INT8 model and the other way round."""
    h.code("    speedup =", "    top3_fp32, top3_int8 = top3_int8, top3_fp32\n    speedup =")


@fault("compare-probabilities", also=("template-lines",))
def logits_for_probabilities(h: HandIn) -> None:
    """The results are logits."""
    h.code("softmax_np(logits_fp32)", "logits_fp32[0]")
    h.code("softmax_np(logits_int8)", "logits_int8[0]")


@fault("compare-probabilities")
def softmax_twice(h: HandIn) -> None:
    """The softmax is taken twice."""
    h.code("{in_fp32: x})[0]\n", "{in_fp32: x})[0]\n    logits_fp32 = softmax_np(logits_fp32)\n")


@fault("compare-probabilities", also=("template-lines",))
def softmax_over_the_batch(h: HandIn) -> None:
    """The softmax is taken over the batch axis: every class has probability 1."""
    h.code("    x = np.asarray(x).reshape(-1)\n", "    x = np.asarray(x).reshape(1, -1)\n")
    h.code(
        "    e = np.exp(x - x.max())\n    return e / e.sum()",
        "    e = np.exp(x - x.max())\n    return (e / e.sum(axis=0))[0]",
    )


@fault("compare-probabilities", also=("template-lines",))
def probabilities_in_per_cent(h: HandIn) -> None:
    """The probabilities are given in per cent."""
    h.code("float(probs[i])", "float(probs[i]) * 100")


@fault("compare-probabilities", also=("template-lines",))
def three_least_likely(h: HandIn) -> None:
    """The three least likely classes are listed."""
    h.code("np.argsort(probs)[::-1][:3]", "np.argsort(probs)[:3]")


@harmless(advises=("compare-labels",))
def labels_plane_and_car(h: HandIn) -> None:
    """The classes are called plane and car."""
    h.code('"airplane", "automobile"', '"plane", "car"')


@fault("compare-labels")
def labels_in_another_order(h: HandIn) -> None:
    """Cat and dog are exchanged."""
    h.code('"cat", "deer", "dog"', '"dog", "deer", "cat"')


@fault("compare-labels")
def labels_in_chinese(h: HandIn) -> None:
    """The classes are called by their Chinese names."""
    h.code(
        'LABELS = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]',
        'LABELS = ["飛機", "汽車", "鳥", "貓", "鹿", "狗", "青蛙", "馬", "船", "卡車"]',
    )


@fault("compare-times")
def speedup_alone(h: HandIn) -> None:
    """The text gives the speed-up only."""
    h.code(f"    {_RETURN}", f'    summary = f"Speedup: {{speedup:.2f}}x"\n    {_RETURN}')


@fault("compare-times", also=("template-lines",))
def int8_time_missing(h: HandIn) -> None:
    """The text lacks the INT8 time."""
    h.code("\\nINT8: {int8_ms:.2f} ms", "")


@fault("compare-times", also=("compare-speedup",))
def times_made_up(h: HandIn) -> None:
    """The times are constants."""
    h.code("fp32_ms = (time.time() - t0) * 1000", "fp32_ms = 35.0")
    h.code("int8_ms = (time.time() - t0) * 1000", "int8_ms = 20.0")


@fault("compare-times", also=("template-lines",))
def seconds_called_milliseconds(h: HandIn) -> None:
    """The times are seconds but called ms."""
    h.code("(time.time() - t0) * 1000", "(time.time() - t0)", count=2)
    h.code(":.2f} ms", ":.6f} ms", count=2)


@fault("compare-times", also=("compare-speedup",))
def fp32_time_includes_int8(h: HandIn) -> None:
    """The clock is started once: the INT8 time includes FP32's."""
    h.code("    # INT8 推論計時\n    t0 = time.time()\n", "    # INT8 推論計時\n")


@fault("compare-times", also=("compare-speedup",))
def time_includes_preprocessing(h: HandIn) -> None:
    """FP32's clock is started before preprocess."""
    h.code("    # FP32 推論計時\n    t0 = time.time()\n", "    # FP32 推論計時\n")
    h.code("    x = preprocess(image)\n", "    t0 = time.time()\n    x = preprocess(image)\n")


@fault("compare-speedup")
def speedup_of_four(h: HandIn) -> None:
    """The speed-up is a constant."""
    h.code("speedup = fp32_ms / int8_ms", "speedup = fp32_ms / int8_ms\n    speedup = 4")


@fault("compare-speedup")
def speedup_upside_down(h: HandIn) -> None:
    """The speed-up is INT8's time over FP32's."""
    h.code("speedup = fp32_ms / int8_ms", "speedup = fp32_ms / int8_ms\n    speedup = 1 / speedup")


@fault("compare-speedup", also=("template-lines",))
def speedup_left_out(h: HandIn) -> None:
    """The text has no speed-up."""
    h.code("\\nSpeedup: {speedup:.2f}x", "")


@fault("compare-speedup")
def difference_for_quotient(h: HandIn) -> None:
    """The speed-up is the difference of the times."""
    h.code(
        "speedup = fp32_ms / int8_ms",
        "speedup = fp32_ms / int8_ms\n    speedup = fp32_ms - int8_ms",
    )


@fault("compare-none")
def converted_before_the_question(h: HandIn) -> None:
    """The picture is used before it is asked whether there is one."""
    h.code("    if image is None:\n", '    image = image.convert("RGB")\n    if image is None:\n')


@fault("compare-none")
def one_result_without_a_picture(h: HandIn) -> None:
    """Without a picture one text is returned for three outputs."""
    h.code("    if image is None:\n", '    if image is None:\n        return "沒有圖片"\n')


@fault("compare-none", also=("template-lines",))
def none_not_handled(h: HandIn) -> None:
    """Without a picture compare_fp32_int8 fails."""
    h.code(
        '    if image is None:\n        return {}, {}, "請先上傳一張圖片 (please upload an image)"\n',
        "",
    )


# 2.3


@fault("interface-built")
def no_interface(h: HandIn) -> None:
    """No interface is made."""
    with h.notebook() as content:
        cell = content["cells"][10]
        source = "".join(cell["source"])
        start, end = source.index("demo = gr"), source.index('if __name__ == "__main__"')
        cell["source"] = source[:start] + source[end:]


@fault("interface-function")
def interface_of_preprocess(h: HandIn) -> None:
    """The interface calls preprocess."""
    h.code("fn=compare_fp32_int8,", "fn=preprocess,")


@fault("interface-function")
def function_called_at_once(h: HandIn) -> None:
    """fn is what compare_fp32_int8 returns, not the function."""
    h.code("fn=compare_fp32_int8,", "fn=compare_fp32_int8(None),")


@fault("interface-function")
def function_without_a_comparison(h: HandIn) -> None:
    """The interface calls a function that returns constants."""
    h.code(
        "# ====== Gradio UI ======\n",
        '# ====== Gradio UI ======\ndef demo_only(image):\n    return {"cat": 1.0}, {"cat": 1.0}, "ok"\n',
    )
    h.code("fn=compare_fp32_int8,", "fn=demo_only,")


@fault("interface-input")
def picture_as_an_array(h: HandIn) -> None:
    """The picture is given as a numpy array."""
    h.code('gr.Image(type="pil")', 'gr.Image(type="numpy")')


@fault("interface-input")
def picture_by_default(h: HandIn) -> None:
    """gr.Image without a type, which gives a numpy array."""
    h.code('gr.Image(type="pil")', "gr.Image()")


@fault("interface-input")
def file_for_picture(h: HandIn) -> None:
    """The input is a file."""
    h.code('gr.Image(type="pil")', "gr.File()")


@fault("interface-input")
def path_for_picture(h: HandIn) -> None:
    """The picture is given as a path."""
    h.code('gr.Image(type="pil")', 'gr.Image(type="filepath")')


@fault("interface-outputs")
def no_text_box(h: HandIn) -> None:
    """The interface has no box for the text."""
    h.code('        gr.Textbox(label="Performance Comparison"),\n', "")


@fault("interface-outputs")
def labels_exchanged(h: HandIn) -> None:
    """The label of INT8 stands over the FP32 result."""
    h.code('gr.Label(label="FP32 Top-3")', 'gr.Label(label="?")')
    h.code('gr.Label(label="INT8 Top-3")', 'gr.Label(label="FP32 Top-3")')
    h.code('gr.Label(label="?")', 'gr.Label(label="INT8 Top-3")')


@fault("interface-outputs")
def text_boxes_for_labels(h: HandIn) -> None:
    """The results are shown in text boxes."""
    h.code('gr.Label(label="FP32', 'gr.Textbox(label="FP32')
    h.code('gr.Label(label="INT8', 'gr.Textbox(label="INT8')


@fault("interface-outputs")
def one_output(h: HandIn) -> None:
    """The interface shows one label only."""
    h.code(
        '        gr.Label(label="INT8 Top-3"),\n        gr.Textbox(label="Performance Comparison"),\n',
        "",
    )


@fault("interface-title")
def no_title(h: HandIn) -> None:
    """The interface has no title."""
    h.code('    title="CIFAR-10 Image Classifier - FP32 vs INT8",\n', "")


@fault("interface-title")
def no_description(h: HandIn) -> None:
    """The interface has no description."""
    h.code('    description="Upload an image to compare FP32 and INT8 model inference",\n', "")


# 2.4


@fault("page-launched")
def not_launched(h: HandIn) -> None:
    """launch is not called."""
    h.code("demo.launch(share=True)", "demo")


@fault("page-launched")
def launch_commented_out(h: HandIn) -> None:
    """The call of launch is a comment."""
    h.code("    demo.launch(share=True)", "    # demo.launch(share=True)\n    pass")


@fault("page-shared", fast=True)
def not_shared(h: HandIn) -> None:
    """launch() without share."""
    h.code("demo.launch(share=True)", "demo.launch()")


@fault("page-shared")
def share_false(h: HandIn) -> None:
    """launch(share=False)."""
    h.code("launch(share=True)", "launch(share=False)")


@fault("page-shared")
def open_to_the_local_network_only(h: HandIn) -> None:
    """launch(server_name="0.0.0.0"), which has no public address."""
    h.code("launch(share=True)", 'launch(server_name="0.0.0.0")')


# template


@fault("cells-parse")
def cell_with_a_syntax_error(h: HandIn) -> None:
    """An extra cell does not parse."""
    h.cell("print('done'\n")


@fault("cells-parse")
def cell_with_bad_indentation(h: HandIn) -> None:
    """An extra cell is indented wrongly."""
    h.cell("x = 1\n  y = 2\n")


@fault("template-cells")
def heading_deleted(h: HandIn) -> None:
    """The heading of topic 2 was deleted."""
    with h.notebook() as content:
        del content["cells"][8]


@fault("template-cells")
def topics_exchanged(h: HandIn) -> None:
    """Topic 2 stands before topic 1's last cell."""
    with h.notebook() as content:
        content["cells"].insert(7, content["cells"].pop(8))


@fault("template-comments")
def todo_deleted(h: HandIn) -> None:
    """A TODO was deleted."""
    h.code("    # Todo : Export ONNX FILE\n", "")


@fault("template-comments")
def reminders_deleted(h: HandIn) -> None:
    """The teacher's reminders were deleted."""
    h.code("    # 提醒 : 在 Colab 執行時，先把 best_model.pth 上傳到 Content 資料夾\n", "")


@fault("template-lines")
def template_code_deleted(h: HandIn) -> None:
    """The template's measurement of 50 runs was deleted."""
    with h.notebook() as content:
        cell = content["cells"][7]
        source = "".join(cell["source"])
        cell["source"] = source[: source.index("def bench(")]


@fault("template-lines")
def template_code_rewritten(h: HandIn) -> None:
    """The template's softmax was written anew."""
    h.code(
        "    e = np.exp(x - x.max())\n",
        "    e = np.exp(x - np.max(x))\n",
    )


@fault("nothing-left-blank")
def blank_function(h: HandIn) -> None:
    """A function of the student's own was left blank."""
    h.cell("def plot_results(results):\n    # TODO 畫圖\n    pass\n")


@fault("chinese-comments")
def comments_in_english(h: HandIn) -> None:
    """The student's comments are in English."""
    with h.notebook() as content:
        template = _template_comments()
        for cell in content["cells"]:
            if cell["cell_type"] == "code":
                lines = "".join(cell["source"]).split("\n")
                cell["source"] = "\n".join(
                    line if line.strip() in template else _without_chinese_comment(line)
                    for line in lines
                )


def _template_comments() -> set[str]:
    import json

    from tests.conftest import FIXTURES

    cells = json.loads((FIXTURES / "EAI_lab5.ipynb").read_text(encoding="utf-8"))["cells"]
    return {line.strip() for cell in cells for line in "".join(cell["source"]).split("\n")}


def _without_chinese_comment(line: str) -> str:
    code, mark, comment = line.partition("#")
    return f"{code}# as asked" if mark and not comment.isascii() and "提醒" not in comment else line
