"""zip: the layout and the names. No points of their own, but what is not found takes its items along."""

from __future__ import annotations

import contextlib
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from lab5.assignment import (
    EXAMPLE_ID,
    STUDENT_ID,
    TEMPLATE_FP32,
    TEMPLATE_INT8,
    file_name,
    id_in,
)
from lab5.grading.core import Advice, Blocked, Fault, check
from lab5.grading.evidence.submission import ROLES, member_id
from lab5.text import Text

if TYPE_CHECKING:
    from lab5.grading.handin import Evidence


@check(
    "zip",
    zh="壓縮檔可以開啟",
    hint=Text("Zip the files again, without a password.", "請重新壓縮，不要加密碼。"),
)
def zip_opens(e: Evidence) -> None:
    """The zip can be opened."""
    if e.zip.fault:
        raise Fault(e.zip.fault, want=Text("a zip", "zip 檔"), got=e.zip.archive)
    if not e.zip.members:
        raise Fault(
            Text("It is empty.", "壓縮檔是空的。"), want=Text("four files", "四個檔案"), got="0"
        )


@check(
    "zip",
    zh="壓縮檔內的每個檔案都可以安全讀取",
    needs=[zip_opens],
    hint=Text("Zip plain files only, each once.", "只壓縮一般檔案，每個檔案一份。"),
)
def zip_members_safe(e: Evidence) -> None:
    """Every file in the zip can be read safely."""
    found = [(m.name, m.trouble) for m in e.zip.members if m.trouble]
    if found:
        raise Fault(
            Text(
                "; ".join(f"{name!r}: {why.en}" for name, why in found[:5]),
                "；".join(f"{name!r}：{why.zh}" for name, why in found[:5]),
            ),
            want=Text("plain files", "一般檔案"),
            got=len(found),
        )


@check(
    "zip",
    zh="壓縮檔為 zip，檔名為「{archive}」",
    hint=Text("Name it {archive}.", "請命名為「{archive}」。"),
)
def zip_name(e: Evidence) -> None:
    """The zip is a zip, named {archive}."""
    if other := e.zip.other_format:
        raise Fault(
            Text(f"It is {other.en}, read all the same.", f"這是 {other.zh}，仍已讀取。"),
            want=Text("a zip", "zip 檔"),
            got=e.zip.archive,
        )
    if e.zip.named_id is None:
        known = e.zip.student_id or EXAMPLE_ID
        raise Fault(
            Text("The zip has another name.", "壓縮檔名不符。"),
            want=file_name("archive", known),
            got=e.zip.archive,
        )


def _present(e: Evidence, role: str) -> None:
    name = e.zip.role(role)
    want = getattr(e.zip.names, role) if e.zip.names else f"…{role}"
    if lost := e.zip.unread(role):
        assert lost.trouble
        raise Fault(
            Text(f"{lost.name} is there but was not read: {lost.trouble.en}.",
                 f"壓縮檔內有 {lost.name}，但無法讀取：{lost.trouble.zh}。"),
            want=want,
            got=lost.name,
        )  # fmt: skip
    if name is None:
        there = ", ".join(PurePosixPath(n).name for n in sorted(e.zip.files)) or "—"
        raise Fault(Text(f"{want} is missing.", f"缺少 {want}。"), want=want, got=there[:300])


_ADD = Text("Add the file and zip again.", "請加入這個檔案後重新壓縮。")


@check("zip", zh="內含可讀取的 notebook", needs=[zip_opens], hint=_ADD)
def notebook_present(e: Evidence) -> None:
    """The notebook is in the zip and can be read."""
    _present(e, "notebook")
    assert e.cells is not None


@check("zip", zh="內含 FP32 模型", needs=[zip_opens], hint=_ADD)
def fp32_present(e: Evidence) -> None:
    """The FP32 model is in the zip."""
    _present(e, "fp32")


@check("zip", zh="內含 INT8 模型", needs=[zip_opens], hint=_ADD)
def int8_present(e: Evidence) -> None:
    """The INT8 model is in the zip."""
    _present(e, "int8")


@check("zip", zh="內含報告", needs=[zip_opens], hint=_ADD)
def report_present(e: Evidence) -> None:
    """The report is in the zip."""
    _present(e, "report")


@check(
    "zip",
    zh="檔案放在壓縮檔的最上層",
    needs=[zip_opens],
    hint=Text("Zip the files themselves, not the folder.", "請直接壓縮檔案，不要壓縮資料夾。"),
)
def zip_flat(e: Evidence) -> None:
    """The files lie at the top of the zip, in no folder."""
    deep = sorted(name for name in e.zip.files if "/" in name)
    if deep:
        raise Fault(
            Text("There are files in folders.", "有檔案放在資料夾內。"),
            want=PurePosixPath(deep[0]).name,
            got=", ".join(deep[:5]),
        )


@check(
    "zip",
    zh="每個檔名都依作業規定",
    needs=[zip_opens],
    hint=Text("Rename the files as the assignment lists them.", "請依作業的繳交檔案結構命名。"),
)
def member_names(e: Evidence) -> None:
    """The files have the names that the assignment gives them."""
    wrong = {}
    for role in ROLES:
        name = e.zip.role(role)
        own = member_id(name) if name else None
        if name and e.zip.names:
            base, want = PurePosixPath(name).name, getattr(e.zip.names, role)
            # another id is the next check's business; the rest of the name is this one's
            if own is None or base != file_name(role, own):
                wrong[base] = want
    if wrong:
        raise Fault(
            Text("Files have other names than asked for.", "檔名與規定不符。"),
            want=", ".join(wrong.values()),
            got=", ".join(wrong),
        )


@check(
    "zip",
    zh="全部使用同一個學號、同一種寫法",
    needs=[zip_opens],
    hint=Text(
        "Use one student id, spelt the same way, in every name.",
        "所有檔名請使用同一個學號與相同大小寫。",
    ),
)
def one_student_id(e: Evidence) -> None:
    """One student id, spelt one way, is in every name."""
    found = {member_id(name) for name in e.zip.files} - {None}
    if e.zip.named_id:
        found.add(e.zip.named_id)
    loose = id_in(e.zip.archive, ("archive",), strict=False)
    if loose and STUDENT_ID.fullmatch(loose):
        found.add(loose)
    if len(found) > 1 and len({i.casefold() for i in found if i}) == 1:
        raise Advice(
            Text(
                "The id is spelt in two ways: to a system that tells capitals from small letters they "
                "are two names.",
                "學號有兩種寫法：在區分大小寫的系統上是不同的檔名。",
            ),
            want=e.zip.student_id,
            got=", ".join(sorted(i for i in found if i)),
        )
    if len(found) != 1:
        raise Fault(
            Text("The names carry different ids.", "檔名中的學號不一致。")
            if found
            else Text("No name carries a student id.", "檔名中沒有學號。"),
            want=e.zip.student_id or EXAMPLE_ID,
            got=", ".join(sorted(i for i in found if i)) or "—",
        )


def _referred(e: Evidence) -> dict[str, str]:
    """The members that a model refers to for its weights, there or not, and the name each should have."""
    found = {}
    for role in ("fp32", "int8"):
        if (name := e.zip.role(role)) is not None:
            with contextlib.suppress(Fault):  # it is no ONNX file, which is another check's matter
                for location in getattr(e, role).locations:
                    found[str(PurePosixPath(name).parent / location)] = f"{name}.data"
    return found


@check(
    "zip",
    zh="沒有多餘的檔案",
    needs=[zip_opens],
    hint=Text("Hand in the listed files only.", "只繳交作業列出的檔案。"),
)
def nothing_unexpected(e: Evidence) -> None:
    """The zip holds nothing but the files of the assignment."""
    expected = {e.zip.role(role) for role in ROLES} | _referred(e).keys()
    extra = [
        n for n in sorted(e.zip.files) if n not in expected and not n.lower().endswith(".onnx.data")
    ]
    if extra:
        raise Fault(
            Text("There are other files.", "有作業未要求的檔案。"),
            want=", ".join(e.zip.names.required) if e.zip.names else "4",
            got=", ".join(extra[:8]),
        )


@check(
    "zip",
    zh="模型參照外部資料時，資料檔才存在且檔名相符",
    needs=[fp32_present],
    hint=Text(
        "Export under the final name: a renamed model still looks for its old .data file.",
        "請直接以最終檔名匯出：改名後的模型仍會尋找舊的 .data 檔。",
    ),
)
def external_data(e: Evidence) -> None:
    """External data are there exactly when a model refers to them, named after it."""
    try:
        assert e.fp32.skeleton is not None
    except Fault:
        raise Blocked(Text("The FP32 file is no ONNX file.", "FP32 檔不是 ONNX 檔。")) from None
    wanted = _referred(e)
    there = {n for n in e.zip.files if n in wanted or n.lower().endswith(".onnx.data")}
    if there != wanted.keys() or any(name != right for name, right in wanted.items()):
        raise Fault(
            Text(
                f"The models refer to {', '.join(sorted(wanted)) or 'no external data'}.",
                f"模型參照的外部資料：{', '.join(sorted(wanted)) or '無'}。",
            ),
            want=", ".join(sorted(wanted.values())) or "—",
            got=", ".join(sorted(there)) or "—",
        )


@check(
    "zip",
    zh="notebook 內的模型檔名就是繳交的檔名",
    needs=[notebook_present],
    hint=Text(
        "Replace every image_classifier_model… in the notebook by your files' names.",
        "請把 notebook 中的 image_classifier_model… 全部改成自己的檔名。",
    ),
)
def notebook_file_names(e: Evidence) -> None:
    """The notebook writes and reads its models under the names handed in."""
    used = {PurePosixPath(text.replace("\\", "/")).name for text in e.program.strings}
    used = {name for name in used if re.fullmatch(r"[\w.\-]+\.onnx", name)}
    old = sorted(used & {TEMPLATE_FP32, TEMPLATE_INT8})
    ids = {i for name in used if (i := member_id(name))}
    mine = (
        e.zip.student_id or ""
    ).casefold()  # in which case it is spelt is another check's matter
    strange = sorted(i for i in ids if mine and i.casefold() != mine)
    if old or strange:
        names = e.zip.names
        raise Fault(
            Text("The notebook uses other file names.", "notebook 使用了其他檔名。"),
            want=f"{names.fp32}, {names.int8}" if names else file_name("fp32", student_id="學號"),
            got=", ".join(old + [n for n in sorted(used) if member_id(n) in strange]),
        )
