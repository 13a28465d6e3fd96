"""What file a checkpoint is, and what it holds.

Nothing that a file holds is run: torch's ``weights_only`` unpickler makes tensors and plain values.
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any, Final

import torch

from lab5.assignment import CHECKPOINT
from lab5.errors import CheckpointError
from lab5.text import Text

# unpacked; with Adam and an average in float64, this network has 360 MB
_MAX_BYTES: Final = 1 << 30


def shown(key: Any) -> str:
    """A key, or a name, as a message has it."""
    text = repr(key)
    return text if len(text) <= 80 else f"{text[:77]}…"


def content_of(path: Path) -> tuple[Any, list[Text]]:
    """What the file holds, and a note on it where ``torch.load`` alone does not read it.

    Raises:
        CheckpointError: it is missing, damaged, something else, or holds code.
    """
    if not path.is_file():
        raise CheckpointError(
            f"There is no file {path}. Put the handed-out {CHECKPOINT} there, or give --weights.",
            zh=f"找不到 {path}。請把老師提供的 {CHECKPOINT} 放在這裡，或用 --weights 指定。",
        )
    if path.stat().st_size == 0:
        raise CheckpointError(
            f"{path} is empty (0 bytes). Copy best_model.pth again; the upload was cut off.",
            zh=f"{path} 是空檔（0 位元組）。請重新複製 best_model.pth，可能是上傳中斷。",
        )
    with path.open("rb") as file:
        start = file.read(512)
    if start.startswith(b"PK"):
        _check_archive(path)
    elif re.match(rb"(?s).{4}[\0-\x7f]\0{3}\{", start):  # the length of a header, and JSON
        return _from_safetensors(path)
    elif not start.startswith(b"\x80"):  # a pickle, torch's format before 1.6
        raise _no_checkpoint(path, _kind_of_file(start))
    return _unpickled(path)


_CUT_OFF: Final = Text(
    "is damaged or was cut off; copy it again",
    "已損壞或傳輸中斷，請重新複製",
)
_PACKED: Final = Text(
    "is a packed archive; unpack it and give the file inside",
    "是壓縮檔，請先解壓縮，再使用裡面的檔案",
)
_MAGIC: Final[tuple[tuple[bytes, Text], ...]] = (
    (rb"(\xef\xbb\xbf)?\s*<", Text("is a web page; download the file itself", "是網頁，請下載檔案本身")),
    (
        rb"version https://git-lfs",
        Text(
            "is a Git LFS pointer; fetch the file it stands for with git lfs pull",
            "是 Git LFS 指標，請用 git lfs pull 取得真正的檔案",
        ),
    ),
    (rb"\x89HDF", Text("is an HDF5 file, as Keras writes it", "是 HDF5 檔（Keras 的格式）")),
    (rb"\x08[\x01-\x20][\x12\x1a\x3a\x42]", Text("is an ONNX file, the result of 1.3", "是 ONNX 檔，也就是 1.3 的結果")),
    (rb"\x1f\x8b|BZh|\xfd7zXZ|Rar!|7z\xbc\xaf|(?s:.{257})ustar", _PACKED),
    (rb"\x93NUMPY", Text("is a NumPy array", "是 NumPy 陣列")),
    (rb"%PDF|\x89PNG|\xff\xd8\xff|GIF8", Text("is a document or a picture", "是文件或圖片")),
    (rb"\s*[{\[]", Text("is a JSON text, perhaps a notebook", "是 JSON 文字檔，可能是 notebook")),
    (rb"\0{16}", Text("begins with zeros: the download was not finished", "開頭都是 0，下載未完成")),
)  # fmt: skip


def _kind_of_file(start: bytes) -> Text:
    for magic, kind in _MAGIC:
        if re.match(magic, start):
            return kind
    return Text("is no PyTorch file", "不是 PyTorch 檔案")


def _no_checkpoint(path: Path, what: Text) -> CheckpointError:
    return CheckpointError(
        f"{path} {what.en}. Expected best_model.pth as it was handed out: a state dict, saved with "
        "torch.save(model.state_dict(), path).",
        zh=f"{path} {what.zh}。應為老師提供的 best_model.pth："
        "用 torch.save(model.state_dict(), path) 儲存的 state dict。",
    )


def _check_archive(path: Path) -> None:
    """A zip must be one that ``torch.save`` writes, and of a size that memory can take."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except Exception as error:  # zipfile raises several for a hostile directory
        raise _no_checkpoint(path, _CUT_OFF) from error
    names = [member.filename.partition("/")[2] or member.filename for member in members]
    if any(name == "constants.pkl" or name.startswith("code/") for name in names):
        script = Text(
            "is a TorchScript archive: a program, which is not run here",
            "是 TorchScript 檔：內含程式，這裡不會執行",
        )
        raise _no_checkpoint(path, script)
    if "data.pkl" not in names:
        raise _no_checkpoint(path, _kind_of_archive([member.filename for member in members]))
    if (size := sum(member.file_size for member in members)) > _MAX_BYTES:
        large = Text(
            f"unpacks to {size / 1e9:.1f} GB; this network has 0.045 GB",
            f"解開後有 {size / 1e9:.1f} GB；此網路只有 0.045 GB",
        )
        raise _no_checkpoint(path, large)


def _kind_of_archive(names: list[str]) -> Text:
    if inside := next((n for n in names if n.endswith((".pth", ".pt", ".safetensors"))), None):
        name = shown(inside)
        return Text(
            f"is a zip with {name} in it; unzip it first", f"是裝著 {name} 的 zip，請先解壓縮"
        )
    if any(name.endswith(".weights.h5") for name in names):
        return Text("is a Keras file", "是 Keras 檔")
    if any("archive_format" in name or name.endswith("exported_program.json") for name in names):
        return Text("is a torch.export program", "是 torch.export 的程式")
    if names and all(name.endswith(".npy") for name in names):
        return Text("is a NumPy archive (.npz)", "是 NumPy 的 .npz 檔")
    return Text("is a zip that torch.save did not write", "是 zip，但不是 torch.save 存的")


def _from_safetensors(path: Path) -> tuple[Any, list[Text]]:
    from safetensors.torch import load_file

    try:
        content = load_file(path)
    except Exception as error:  # SafetensorError, or torch's for a type that it lacks
        raise _no_checkpoint(path, _CUT_OFF) from error
    return content, [_unreadable(Text("a safetensors file", "是 safetensors 檔"))]


def _unreadable(what: Text) -> Text:
    return Text(
        f"{what.en}, which the notebook's torch.load cannot read; a plain copy for it: "
        "torch.save(load_model(path)[0].state_dict(), 'best_model.pth')",
        f"{what.zh}，notebook 的 torch.load 讀不了；可另存一份："
        "torch.save(load_model(path)[0].state_dict(), 'best_model.pth')",
    )


class Inert:
    """Stands for a value that nobody needs: so numpy's and others' own code never sees the file."""

    def __new__(cls, *_: Any) -> Inert:
        return object.__new__(cls)

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass


def _inert(path: str) -> type[Inert]:
    module, _, name = path.rpartition(".")
    return type(name, (Inert,), {"__module__": module, "__qualname__": name})


# What training scripts save beside the weights: numpy's scalars and arrays (numpy 1 and 2), arguments.
_BESIDE: Final[list[Any]] = [
    *(_inert(f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    *(_inert(f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
    *map(_inert, ("numpy.dtype", "numpy.ndarray", "argparse.Namespace")),
    *map(_inert, ("pathlib.PosixPath", "pathlib.WindowsPath", "pathlib._local.PosixPath")),
]


def _unpickled(path: Path) -> tuple[Any, list[Text]]:
    def load() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the errors below say it better
            return torch.load(path, map_location="cpu", weights_only=True)

    try:
        try:
            return load(), []
        except pickle.UnpicklingError as error:
            if _forbidden(error) is None:
                raise
            with torch.serialization.safe_globals(_BESIDE):
                content = load()
    except pickle.UnpicklingError as error:
        if name := _forbidden(error):
            raise _no_checkpoint(
                path,
                Text(
                    f"holds {shown(name)}: a whole pickled model, or code. Nothing of it was run",
                    f"裡面有 {shown(name)}：是整個模型或程式碼，沒有執行其中任何東西",
                ),
            ) from error
        raise _no_checkpoint(
            path,
            Text(
                "is a pickle that torch.save did not write", "是 pickle 檔，但不是 torch.save 存的"
            ),
        ) from error
    except Exception as error:  # torch raises a dozen types for a damaged file
        raise _no_checkpoint(path, _CUT_OFF) from error
    note = _unreadable(
        Text("numpy's or other values beside the weights", "權重旁邊有 numpy 等其他物件")
    )
    return content, [note]


def _forbidden(error: pickle.UnpicklingError) -> str | None:
    """The class or function that the unpickler refused to touch."""
    match = re.search(r"GLOBAL (\S+)", str(error))
    return match and match.group(1)
