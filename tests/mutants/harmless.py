"""Other right ways: nothing of this may cost a point."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import onnx

from tests import handin
from tests.handin import FP32, ID, INT8, NOTEBOOK
from tests.mutants.core import HandIn, harmless
from tests.mutants.models import both, external, quantised
from tests.mutants.notebook import EXPORT, LOAD, QUANTISE, RESIZE, SESSION
from tests.mutants.report import pictures

# The zip


@harmless(fast=True)
def what_a_mac_adds(h: HandIn) -> None:
    """__MACOSX and .DS_Store, which macOS puts into every zip."""
    h.files[f"__MACOSX/._{NOTEBOOK}"] = b"\0\5\26\7"
    h.files[".DS_Store"] = b"\0\0\0\1Bud1"


@harmless()
def compressed_in_another_order(h: HandIn) -> None:
    """Deflated, and the report first."""

    def pack(path: Path, files: dict[str, bytes]) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name in reversed(files):
                archive.writestr(name, files[name])

    h.pack = pack


@harmless(alone=True)  # the others know the files by their first names
def id_of_another_form(h: HandIn) -> None:
    """A student id of digits and small letters, everywhere."""
    h.code(ID, "p78123456", count=5)
    h.files = {name.replace(ID, "p78123456"): content for name, content in h.files.items()}
    h.archive = "p78123456_lab5.zip"


# The models


@harmless()
def external_data(h: HandIn) -> None:
    """The FP32 model's weights in a .data file."""
    h.files[FP32], h.files[f"{FP32}.data"] = external(h, f"{FP32}.data")


@harmless()
def fixed_batch_axis(h: HandIn) -> None:
    """Exported as the assignment has it: batch size 1."""
    both(h, "fixed", lambda path: h.variants.export(h.variants.net, path))


@harmless()
def batch_norm_not_folded(h: HandIn) -> None:
    """The FP32 file keeps its BatchNorm nodes."""

    def make(path: Path) -> None:
        import torch

        h.variants.export(
            h.variants.net,
            path,
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
        )

    h.files[FP32] = lambda: h.variants.once("unfolded", make)


@harmless()
def dynamo_exporter_at_opset_13(h: HandIn) -> None:
    """Exported by torch's dynamo exporter and restated at opset 13."""

    def make(path: Path) -> None:
        import torch

        from lab5.export import graph_by_dynamo

        net = h.variants.net
        onnx.save(graph_by_dynamo(net, (torch.zeros(2, 3, 32, 32),)), path)

    h.files[FP32] = lambda: h.variants.once("dynamo", make)


@harmless()
def reduced_range(h: HandIn) -> None:
    """Weights of 7 bits: reduce_range=True."""
    quantised(h, "reduced", reduce_range=True)


@harmless(advises=("int8-no-overflow",))
def weights_of_8_bits(h: HandIn) -> None:
    """reduce_range=False, as the assignment's call has it."""
    quantised(h, "full-range", reduce_range=False)


@harmless()
def quantised_after_preprocessing(h: HandIn) -> None:
    """quant_pre_process first, as onnxruntime advises."""

    def make(path: Path) -> None:
        from onnxruntime.quantization import quant_pre_process

        prepared = path.with_suffix(".prepared")
        quant_pre_process(onnx.load_from_string(h.variants.good[FP32]), prepared)
        handin.quantise(prepared.read_bytes(), path)

    h.files[INT8] = lambda: h.variants.once("prepared-int8", make)


@harmless()
def calibrated_on_pictures(h: HandIn) -> None:
    """Calibrated on normalised pictures in place of random numbers."""
    from lab5.grading.evidence.inputs import scenes

    quantised(h, "pictures", images=scenes(40, seed=77))


@harmless()
def calibrated_on_much_noise(h: HandIn) -> None:
    """Calibrated on 150 random normal images, with another seed."""
    quantised(h, "noise", images=np.random.default_rng(9).standard_normal((150, 3, 32, 32)))


@harmless()
def symmetric_activations(h: HandIn) -> None:
    """ActivationSymmetric and WeightSymmetric as extra options."""
    quantised(h, "symmetric", extra_options={"WeightSymmetric": True, "ActivationSymmetric": False})


@harmless()
def documented_models(h: HandIn) -> None:
    """Both models carry a description and metadata."""

    def edit(model: onnx.ModelProto) -> None:
        model.doc_string, model.producer_name = "EAI Lab 5", "student"
        model.metadata_props.add(key="author", value=ID)

    h.graph(FP32, edit)
    h.graph(INT8, edit)


# The notebook as a file


@harmless(fast=True)
def executed_cells(h: HandIn) -> None:
    """Every code cell was run and has outputs."""
    with h.notebook() as content:
        for number, cell in enumerate(content["cells"], 1):
            if cell["cell_type"] == "code":
                cell["execution_count"] = number
                cell["outputs"] = [
                    {"output_type": "stream", "name": "stderr", "text": ["UserWarning: legacy\n"]},
                    {
                        "output_type": "display_data",
                        "metadata": {},
                        "data": {"text/plain": ["<x>"]},
                    },
                ]


@harmless()
def format_4_5_with_ids(h: HandIn) -> None:
    """Saved by Jupyter in format 4.5: every cell has an id, sources are strings."""
    with h.notebook() as content:
        content["nbformat"], content["nbformat_minor"] = 4, 5
        for number, cell in enumerate(content["cells"]):
            cell["id"], cell["source"] = f"cell{number:04}", "".join(cell["source"])


@harmless()
def windows_line_ends(h: HandIn) -> None:
    """The file and its cells have CR LF at their line ends, and a byte order mark."""
    with h.notebook() as content:
        for cell in content["cells"]:
            cell["source"] = "".join(cell["source"]).replace("\n", "\r\n")
    data = h.files[NOTEBOOK]
    assert isinstance(data, bytes)
    h.files[NOTEBOOK] = b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n")


@harmless()
def escaped_and_compact(h: HandIn) -> None:
    """The JSON is in one line, and everything that is not ASCII is escaped."""
    with h.notebook() as content:
        pass
    h.files[NOTEBOOK] = json.dumps(content).encode("ascii")


@harmless(fast=True)
def extra_cells(h: HandIn) -> None:
    """Cells of the student's own: notes, a look at the files, a shell command, a magic."""
    h.cell("## 我的筆記\n量化後比較小", kind="markdown", at=3)
    h.cell("!ls -l *.onnx\n%timeit -n1 sum(range(10))\nprint('完成')", at=8)
    h.cell("%%time\nimport sys\nprint(sys.version)")
    h.cell("%%bash\necho done")
    h.cell("")


@harmless()
def cell_of_colab(h: HandIn) -> None:
    """Colab's cell that mounts the drive and uploads the checkpoint."""
    h.cell(
        "from google.colab import drive, files\ndrive.mount('/content/drive')\n"
        "%cd /content/drive/MyDrive\nuploaded = files.upload()\n",
        at=3,
    )


@harmless()
def cells_that_take_long(h: HandIn) -> None:
    """Cells of the student's own that would run for hours, and plots."""
    h.cell(
        "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()\nwhile True:\n    pass\n",
        at=5,
    )
    h.cell("for epoch in range(10**9):\n    time.sleep(60)\n")


@harmless()
def more_comments(h: HandIn) -> None:
    """Comments at the ends of lines and docstrings."""
    h.code("    model.eval()\n", "    model.eval()  # 推論模式：\"eval\" 與 'train' 不同\n")
    h.code("def softmax_np(x):\n", 'def softmax_np(x):\n    """softmax，先減最大值避免溢位"""\n')


# 1.1


@harmless()
def network_written_otherwise(h: HandIn) -> None:
    """super() without arguments, ReLU not in place, torch.flatten, adaptive pooling."""
    h.code("super(BasicBlock, self)", "super()")
    h.code("super(ResNet18, self)", "super()")
    h.code("nn.ReLU(inplace=True)", "nn.ReLU()")
    h.code("out = F.avg_pool2d(out, 4)", "out = F.adaptive_avg_pool2d(out, (1, 1))")
    h.code("out = out.view(out.size(0), -1)", "out = torch.flatten(out, 1)")
    h.code(
        "        out = out + self.shortcut(x)\n        out = F.relu(out)\n        return out",
        "        return torch.relu(self.left(x).add(self.shortcut(x)))",
    )


@harmless()
def network_with_helpers(h: HandIn) -> None:
    """Convolution and BatchNorm come from a function of the student's own; other local names."""
    h.code(
        "class BasicBlock(nn.Module):\n",
        "def conv3x3(cin, cout, s=1):\n    return nn.Conv2d(cin, cout, 3, s, 1, bias=False)\n\n\n"
        "class BasicBlock(nn.Module):\n",
    )
    h.code(
        "nn.Conv2d(outchannel, outchannel, kernel_size=3, stride=1, padding=1, bias=False)",
        "conv3x3(outchannel, outchannel)",
    )
    h.code(
        "def make_layer(self, block, channels, num_blocks, stride)",
        "def make_layer(self, blk, ch, num_blocks, stride)",
    )
    h.code(
        "layers.append(block(self.inchannel, channels, s))\n            self.inchannel = channels",
        "layers.append(blk(self.inchannel, ch, s))\n            self.inchannel = ch",
    )


@harmless()
def reshape_and_mean(h: HandIn) -> None:
    """Average pooling by mean, the rest by reshape."""
    h.code(
        "out = F.avg_pool2d(out, 4)\n        out = out.view(out.size(0), -1)",
        "out = out.mean(dim=(2, 3)).reshape(x.shape[0], -1)",
    )


# 1.2


@harmless()
def eval_before_the_weights(h: HandIn) -> None:
    """model.eval() is called before load_state_dict, chained."""
    h.code(LOAD + "    model.eval()\n", "    model.eval().load_state_dict(state, strict=True)\n")


@harmless()
def checkpoint_in_a_wrapper(h: HandIn) -> None:
    """A checkpoint saved under "state_dict" or by DataParallel is unwrapped first."""
    h.code(
        LOAD,
        '    if "state_dict" in state:\n        state = state["state_dict"]\n'
        '    state = {k.replace("module.", ""): v for k, v in state.items()}\n' + LOAD,
    )


@harmless()
def weights_checked(h: HandIn) -> None:
    """The result of load_state_dict is printed and asserted."""
    h.code(
        LOAD,
        "    result = model.load_state_dict(state)\n    print(result)\n    assert not result.missing_keys\n",
    )


# 1.3


@harmless()
def export_by_position(h: HandIn) -> None:
    """Arguments by position, dynamic axes, constant folding, no_grad."""
    h.code(
        EXPORT,
        f'    with torch.no_grad():\n        torch.onnx.export(model, dummy, "{FP32}", export_params=True,\n'
        '            opset_version=13, do_constant_folding=True, input_names=["input"],\n'
        '            output_names=["output"], dynamic_axes={"input": {0: "N"}, "output": {0: "N"}}, dynamo=False)\n',
    )


@harmless()
def export_checked(h: HandIn) -> None:
    """The exported file is read back, checked, and printed."""
    h.code(
        EXPORT,
        f'{EXPORT}    check = onnx.load("{FP32}")\n    onnx.checker.check_model(check)\n'
        '    print("opset:", check.opset_import[0].version)\n',
    )


@harmless()
def export_imported_by_name(h: HandIn) -> None:
    """from torch.onnx import export."""
    h.code(
        EXPORT,
        "    from torch.onnx import export\n" + EXPORT.replace("torch.onnx.export", "export"),
    )


@harmless()
def export_as_the_assignment_has_it(h: HandIn) -> None:
    """The notebook's call without dynamo=False, run with a torch before 2.9."""
    h.code("        dynamo=False,\n", "")


# 1.4


@harmless()
def quantisation_by_another_import(h: HandIn) -> None:
    """import onnxruntime.quantization as q; options as extra."""
    h.code(
        QUANTISE,
        "    import onnxruntime.quantization as q\n    q.quantize_static(fp32_path, int8_path, reader,\n"
        "        quant_format=q.QuantFormat.QOperator, per_channel=True, reduce_range=False,\n"
        "        activation_type=q.QuantType.QUInt8, weight_type=q.QuantType.QInt8,\n"
        "        calibrate_method=q.CalibrationMethod.MinMax)\n",
    )


@harmless()
def sizes_printed(h: HandIn) -> None:
    """After quantising, both sizes are printed."""
    h.code(
        QUANTISE,
        QUANTISE
        + "    reader.rewind()\n    print(os.path.getsize(fp32_path) / os.path.getsize(int8_path))\n",
    )


# 1.5


@harmless()
def session_with_options(h: HandIn) -> None:
    """Session options, and the path by its keyword."""
    h.code(
        SESSION,
        "    options = ort.SessionOptions()\n    options.intra_op_num_threads = 1\n"
        "    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL\n"
        "    return ort.InferenceSession(path_or_bytes=model_path, sess_options=options, providers=providers)\n",
    )


@harmless()
def session_checked_first(h: HandIn) -> None:
    """build_session refuses a file that is not there, and prints the providers."""
    h.code(
        SESSION,
        "    if not os.path.exists(model_path):\n        raise FileNotFoundError(model_path)\n"
        "    sess = ort.InferenceSession(str(model_path), None, providers)\n"
        "    print(sess.get_providers())\n    return sess\n",
    )


# 2.1

PREPROCESS = """    img = image.convert("RGB").resize((32, 32))
    arr = np.asarray(img, dtype=np.float32) / 255.0
    arr = (arr - CIFAR10_MEAN) / CIFAR10_STD  # 正規化
    arr = arr.transpose(2, 0, 1)  # HWC -> CHW
    arr = arr[None, ...]
    return arr
"""


@harmless()
def preprocess_by_other_functions(h: HandIn) -> None:
    """np.array, np.transpose, np.expand_dims, bicubic by name, one name for everything."""
    h.code(
        PREPROCESS,
        "    x = image.resize((32, 32), Image.BICUBIC).convert('RGB')\n"
        "    x = np.array(x).astype(np.float32) / 255\n"
        "    x = np.transpose((x - CIFAR10_MEAN) / CIFAR10_STD, (2, 0, 1))\n"
        "    return np.expand_dims(x, axis=0).astype('float32')\n",
    )


@harmless()
def preprocess_bilinear(h: HandIn) -> None:
    """Bilinear resizing, and the channels normalised one by one."""
    h.code(
        PREPROCESS,
        "    img = image.convert('RGB').resize((32, 32), resample=Image.Resampling.BILINEAR)\n"
        "    arr = np.array(img, dtype=np.float32) / 255.0\n    for c in range(3):\n"
        "        arr[..., c] = (arr[..., c] - CIFAR10_MEAN[c]) / CIFAR10_STD[c]\n"
        "    return np.ascontiguousarray(np.moveaxis(arr, -1, 0)[np.newaxis])\n",
    )


@harmless()
def preprocess_by_torchvision(h: HandIn) -> None:
    """Tensors of PyTorch on the way."""
    h.code(
        PREPROCESS,
        "    import torch\n    img = image.convert('RGB').resize((32, 32))\n"
        "    t = torch.from_numpy(np.array(img)).permute(2, 0, 1).float() / 255\n"
        "    t = (t - torch.tensor(CIFAR10_MEAN).view(3, 1, 1)) / torch.tensor(CIFAR10_STD).view(3, 1, 1)\n"
        "    return t.unsqueeze(0).numpy()\n",
    )


@harmless()
def preprocess_by_torchvision_transforms(h: HandIn) -> None:
    """torchvision.transforms, which need not be installed beside the grader."""
    h.code(
        PREPROCESS,
        "    from torchvision import transforms\n    steps = transforms.Compose([\n"
        "        transforms.Resize((32, 32)), transforms.ToTensor(),\n"
        "        transforms.Normalize(CIFAR10_MEAN.tolist(), CIFAR10_STD.tolist())])\n"
        "    return steps(image.convert('RGB')).unsqueeze(0).numpy()\n",
    )


@harmless()
def preprocess_by_opencv(h: HandIn) -> None:
    """OpenCV resizes."""
    h.cell("import cv2\n", at=9)
    h.code(
        PREPROCESS,
        "    arr = cv2.resize(np.array(image.convert('RGB')), (32, 32), interpolation=cv2.INTER_AREA)\n"
        "    arr = (arr.astype(np.float32) / 255 - CIFAR10_MEAN) / CIFAR10_STD\n"
        "    return np.expand_dims(arr.transpose((2, 0, 1)), 0).astype(np.float32)\n",
    )


@harmless()
def helpers_and_type_hints(h: HandIn) -> None:
    """A helper and constants in a cell before, type hints, comments behind the template's lines."""
    h.cell(
        "SIZE = (32, 32)\n\n\ndef to_float(im):\n    return np.array(im, dtype='f4') / 255.0\n",
        at=9,
    )
    h.code("np.asarray(img, dtype=np.float32) / 255.0", "to_float(img)")
    h.code(RESIZE, RESIZE.replace("(32, 32)", "SIZE"))
    h.code("def preprocess(image):", "def preprocess(image: Image.Image) -> np.ndarray:  # 前處理")
    h.code("    x = preprocess(image)\n", "    x = preprocess(image)  # 前處理\n")


@harmless()
def noisy_and_careless(h: HandIn) -> None:
    """preprocess writes to stderr and spoils json, sys and os for whoever comes after it."""
    h.code(
        "    # 轉成 RGB 並縮放\n",
        "    # 轉成 RGB 並縮放\n    import json, sys\n    print('除錯' * 10_000, file=sys.stderr)\n"
        "    json.dumps = json.loads = sys.exit = os.write = os.replace = None\n",
    )


@harmless()
def preprocess_through_the_reader(h: HandIn) -> None:
    """preprocess uses the template's preprocess_32x32."""
    h.code(PREPROCESS, "    # 直接沿用校準時的前處理\n    return preprocess_32x32(image)[None]\n")


@harmless()
def preprocess_on_white(h: HandIn) -> None:
    """Transparency is put on white; EXIF is honoured; arrays are accepted."""
    h.code(
        RESIZE,
        "image\n    if not isinstance(img, Image.Image):\n        img = Image.fromarray(img)\n"
        "    if img.mode in ('RGBA', 'LA', 'P'):\n        img = img.convert('RGBA')\n"
        "        white = Image.new('RGBA', img.size, (255, 255, 255, 255))\n"
        "        img = Image.alpha_composite(white, img)\n"
        "    img = img.convert('RGB').resize((32, 32), Image.LANCZOS)",
    )


# 2.2

TIMED = """    # FP32 推論計時
    t0 = time.time()
    logits_fp32 = sess_fp32.run([out_fp32], {in_fp32: x})[0]
    fp32_ms = (time.time() - t0) * 1000
    # INT8 推論計時
    t0 = time.time()
    logits_int8 = sess_int8.run([out_int8], {in_int8: x})[0]
    int8_ms = (time.time() - t0) * 1000
"""


@harmless()
def timed_by_perf_counter(h: HandIn) -> None:
    """time.perf_counter, output names left out."""
    h.code(TIMED, TIMED.replace("time.time()", "time.perf_counter()").replace("[out_fp32]", "None"))


@harmless(advises=("compare-repeated",))
def timed_in_nanoseconds(h: HandIn) -> None:
    """perf_counter_ns in a function of its own that is called for either model."""
    h.code(
        TIMED,
        "    def timed(sess, name):\n        start = time.perf_counter_ns()\n"
        "        out = sess.run(None, {name: x})[0]\n"
        "        return out, (time.perf_counter_ns() - start) / 1e6\n\n"
        "    logits_fp32, fp32_ms = timed(sess_fp32, in_fp32)\n"
        "    logits_int8, int8_ms = timed(sess_int8, in_int8)\n",
    )


@harmless()
def warmed_up_and_repeated(h: HandIn) -> None:
    """Warm-up, ten runs of each, their mean."""
    h.code(
        TIMED,
        "    def timed(sess, out, name):\n        for _ in range(3):\n            sess.run([out], {name: x})\n"
        "        start = time.time()\n        for _ in range(10):\n            y = sess.run([out], {name: x})[0]\n"
        "        return y, (time.time() - start) / 10 * 1000\n\n"
        "    logits_fp32, fp32_ms = timed(sess_fp32, out_fp32, in_fp32)\n"
        "    logits_int8, int8_ms = timed(sess_int8, out_int8, in_int8)\n",
    )


@harmless()
def median_of_runs(h: HandIn) -> None:
    """The median of five runs of each, by statistics.median."""
    h.code(
        TIMED,
        "    import statistics\n    times = {}\n"
        "    for key, sess, name in (('fp32', sess_fp32, in_fp32), ('int8', sess_int8, in_int8)):\n"
        "        times[key] = []\n        for _ in range(5):\n            t0 = time.perf_counter()\n"
        "            y = sess.run(None, {name: x})[0]\n"
        "            times[key].append((time.perf_counter() - t0) * 1000)\n"
        "        if key == 'fp32':\n            logits_fp32 = y\n        else:\n            logits_int8 = y\n"
        "    fp32_ms, int8_ms = statistics.median(times['fp32']), statistics.median(times['int8'])\n",
    )


@harmless()
def timed_by_timeit(h: HandIn) -> None:
    """timeit.timeit, in a comparison that is a coroutine."""
    h.code("def compare_fp32_int8(image):", "async def compare_fp32_int8(image):")
    h.code(
        TIMED,
        "    import timeit\n    logits_fp32 = sess_fp32.run(None, {in_fp32: x})[0]\n"
        "    logits_int8 = sess_int8.run(None, {in_int8: x})[0]\n"
        "    fp32_ms = timeit.timeit(lambda: sess_fp32.run(None, {in_fp32: x}), number=20) * 50\n"
        "    int8_ms = timeit.timeit(lambda: sess_int8.run(None, {in_int8: x}), number=20) * 50\n",
    )


@harmless()
def three_hundred_runs(h: HandIn) -> None:
    """300 runs of each, with a progress bar, and much is printed."""
    h.cell("from tqdm.auto import tqdm\n", at=9)
    h.code(
        TIMED,
        "    times = {}\n    for key, sess, name in (('FP32', sess_fp32, in_fp32), ('INT8', sess_int8, in_int8)):\n"
        "        start = time.perf_counter()\n        for _ in tqdm(range(300)):\n"
        "            y = sess.run(None, {name: x})[0]\n"
        "        times[key] = (time.perf_counter() - start) / 300 * 1000, y\n        print(times)\n"
        "    (fp32_ms, logits_fp32), (int8_ms, logits_int8) = times['FP32'], times['INT8']\n",
    )


@harmless()
def no_picture_is_an_error(h: HandIn) -> None:
    """Without a picture gr.Error is raised."""
    h.code(
        "    if image is None:\n",
        '    if image is None:\n        raise gr.Error("沒有圖片")\n    if image is None:\n',
    )


@harmless()
def text_in_seconds(h: HandIn) -> None:
    """Times in seconds, the speed-up as time saved."""
    h.code(
        "    return top3_fp32, top3_int8, summary",
        "    summary = f'FP32 {fp32_ms / 1000:.5f} s, INT8 {int8_ms / 1000:.5f} s, 節省 {(1 - int8_ms / fp32_ms):.1%}'\n"
        "    return top3_fp32, top3_int8, summary",
    )


@harmless()
def more_in_the_text(h: HandIn) -> None:
    """The text says more: sizes, agreement, difference, a cosine."""
    h.code(
        TIMED,
        TIMED
        + "    # 其他比較項目\n    same = int(logits_fp32.argmax()) == int(logits_int8.argmax())\n"
        "    diff = float(np.abs(logits_fp32 - logits_int8).max())\n"
        "    extra = f'Top-1 agree: {same}, max |diff| = {diff:.4f}, size 44.7 MB vs 11.2 MB (-75%)'\n",
    )
    h.code(
        "    return top3_fp32, top3_int8, summary",
        "    summary += '\\n' + extra\n    return top3_fp32, top3_int8, summary",
    )


@harmless()
def text_in_chinese(h: HandIn) -> None:
    """The text is in Chinese, the times in other digits."""
    h.code(
        "    return top3_fp32, top3_int8, summary",
        "    summary = f'FP32 推論時間：{fp32_ms:.3f} 毫秒\\nINT8 推論時間：{int8_ms:.3f} 毫秒\\n加速：{speedup:.1f} 倍'\n"
        "    return top3_fp32, top3_int8, summary",
    )


@harmless()
def result_as_a_list(h: HandIn) -> None:
    """The results of a list, probabilities as numpy numbers."""
    h.code(
        "    return top3_fp32, top3_int8, summary",
        "    top3_fp32 = {k: np.float32(v) for k, v in top3_fp32.items()}\n    results = [top3_fp32, top3_int8, summary]\n    top3_int8, summary = results[1:]\n"
        "    return top3_fp32, top3_int8, summary",
    )


# 2.3 and 2.4


@harmless()
def interface_by_position(h: HandIn) -> None:
    """Arguments by position; examples, flagging and a theme as well."""
    h.code(
        'fn=compare_fp32_int8,\n    inputs=gr.Image(type="pil"),\n    outputs=[',
        'compare_fp32_int8,\n    gr.Image(type="pil", label="圖片", height=256),\n    [',
    )
    h.code(
        'FP32 and INT8 model inference",\n)',
        'FP32 and INT8 model inference",\n    flagging_mode="never",\n    theme=gr.themes.Soft(),\n)',
    )


@harmless()
def page_of_blocks(h: HandIn) -> None:
    """The page is laid out with gr.Blocks."""
    with h.notebook() as content:
        cell = content["cells"][10]
        source = "".join(cell["source"])
        start, end = source.index("demo = gr"), source.index('if __name__ == "__main__"')
        cell["source"] = source[:start] + _BLOCKS + source[end:]


_BLOCKS = """with gr.Blocks(title="CIFAR-10 Image Classifier - FP32 vs INT8") as demo:
    gr.Markdown("# CIFAR-10\\nUpload an image")
    with gr.Row():
        picture = gr.Image(type="pil", label="圖片")
        with gr.Column():
            results = [gr.Label(label="FP32 Top-3"), gr.Label(label="INT8 Top-3"), gr.Textbox(lines=6)]
    gr.Button("比較").click(compare_fp32_int8, picture, results)

"""


@harmless()
def input_in_a_list(h: HandIn) -> None:
    """The input in a list, labels with num_top_classes, more lines for the text."""
    h.code(
        'inputs=gr.Image(type="pil")',
        'inputs=[gr.Image(type="pil", sources=["upload", "clipboard"])]',
    )
    h.code('gr.Label(label="FP32 Top-3")', 'gr.Label(num_top_classes=3, label="FP32 Top-3")')
    h.code('gr.Textbox(label="Performance Comparison")', 'gr.Textbox(label="效能比較", lines=5)')


@harmless()
def interface_by_other_imports(h: HandIn) -> None:
    """from gradio import Interface, Image as …: names of the student's own."""
    h.code("demo = gr.Interface(", "from gradio import Interface, Label\n\ndemo = Interface(")
    h.code("gr.Label(", "Label(", count=2)


@harmless()
def launched_with_more(h: HandIn) -> None:
    """launch(share=True, debug=True, …) after queue()."""
    h.code(
        "demo.launch(share=True)",
        "demo.queue().launch(share=True, debug=False, server_port=7861, show_error=True)",
    )


@harmless()
def launched_outside_main(h: HandIn) -> None:
    """launch in a cell of its own, its address kept."""
    h.code("    demo.launch(share=True)", "    pass")
    h.cell(
        "app, local_url, share_url = demo.launch(share=True, prevent_thread_lock=True)\nprint(share_url)"
    )


# The report


@harmless()
def report_in_chinese(h: HandIn) -> None:
    """The report is in Chinese."""
    h.files[handin.REPORT] = handin.report(_CHINESE)


_CHINESE = """
#set document(date: none)
#set text(font: ("Noto Sans TC", "Noto Sans CJK TC"))
= EAI Lab5 報告
== 3.1 跨裝置測試截圖
以手機與平板開啟公開網址，上傳三張圖片。
#image("one.png", width: 4cm) #image("two.png", width: 4cm) #image("three.png", width: 4cm)
== 3.2 FP32 與 INT8 分析
FP32 推論時間為 6.52 毫秒，INT8 為 1.61 毫秒，加速約 4 倍。
FP32 檔案大小 44.7 MB，INT8 為 11.2 MB，約減少 75%。
三張圖片的預測結果一致（3/3），準確率由 90.1% 降為 90.0%。
== 3.3 心得與建議
這次學會了量化校準的重要性，也發現匯出時要確認 opset 版本。
"""


@harmless()
def larger_pictures(h: HandIn) -> None:
    """The screenshots are large, and there is a logo beside them."""
    found = pictures(one=(1170, 2532), two=(1024, 768), three=(390, 844))
    h.report(
        ('#image("three.png"', '#image("logo.png", width: 1cm) #image("three.png"'),
        pictures={**found, "logo.png": handin.screenshot(9, (64, 64))},
    )


@harmless()
def figures_in_sentences(h: HandIn) -> None:
    """The figures stand in sentences, no table."""
    h.report(
        (
            "#table(columns: 3, [], [FP32], [INT8],\n  [Inference time (ms)], [6.52], [1.61],\n"
            "  [File size (MB)], [44.7], [11.3],\n  [Accuracy], [90.1 %], [90.0 %])\n",
            "FP32 took 6.52 ms an image and INT8 1.61 ms. The FP32 file has 44.7 MB, the INT8 file 11.2 MB.\n",
        )
    )
