"""The results of a class as they are kept: one JSON file a hand-in, written as soon as it is graded."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from lab5.classroom.entry import HandIn, Marked
from lab5.classroom.found import digest
from lab5.classroom.marking import Options, suite_version
from lab5.errors import SubmissionError, UsageError
from lab5.files import write_json
from lab5.grading.core import STATUSES
from lab5.grading.graded import Graded
from lab5.grading.suite import SHOWN
from lab5.text import Text, printable

_MORE: Final = ("diagnose", "portrait")  # options that add to a result and change no mark
_SEEDS: Final = 1 << 31  # so many there are


class Results:
    """Those in ``folder``, which is made.

    ``options`` have a seed afterwards, the same for all: that of the results before, at first any.

    Raises:
        UsageError: its ``seed.json`` is somebody else's.
    """

    def __init__(self, folder: Path, options: Options) -> None:
        self.folder = folder / "results"
        if options.seed is None:
            options = replace(options, seed=self._seed(folder / "seed.json"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.options = options
        self._made_by: dict[str, Any] = {"suite": suite_version(), "options": options.stored()}
        self._unkept: dict[
            str, Marked
        ] = {}  # by key: what has no file, or took no better one's place

    def _seed(self, path: Path) -> int:
        """The one there; of two runs that begin at once both take the first one's.

        Raises:
            UsageError: what is there is none.
        """
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            own = path.with_name(f".seed.{secrets.token_hex(4)}.json")
            write_json(own, {"seed": secrets.randbelow(_SEEDS)}, indent=1)
            try:
                os.link(own, path)
            except FileExistsError:
                pass
            except OSError:  # the file system has no hard links
                own.replace(path)
            finally:
                own.unlink(missing_ok=True)
        known = _read(path)
        found = known.get("seed") if isinstance(known, dict) else None
        if type(found) is not int or not 0 <= found < _SEEDS:
            raise UsageError(
                f"{path} has no seed of a class: it would be overwritten. Give another --out, or --seed N.",
                zh=f"{path} 不是班級的亂數種子，寫入會蓋掉它。請指定其他 --out，或加上 --seed N。",
            )
        return found

    def known(self, handin: HandIn) -> Marked | None:
        """What the same bytes got under the same suite version and options, if they were graded."""
        stored = None if handin.trouble else self._stored(handin)
        if stored is None or stored["suite"] != suite_version() or not self._serves(stored):
            return None
        try:
            same = stored["sha256"] == digest(handin)
        except (SubmissionError, OSError):
            return None
        return _restored(handin, stored) if same else None

    def keep(self, marked: Marked) -> Marked:
        """Write it. What counts is returned, and is what ``of`` says from then on.

        Where the same bytes were graded before with the same options, and better than now, as an error of
        ours is no result, that counts on. With other options it does not, and stays in its file.
        """
        stored = self._stored(marked.handin)
        if stored and marked.sha256 in ("", stored["sha256"]):
            before = _restored(marked.handin, stored)
            if _worth(before) > _worth(marked):
                if not self._serves(stored):
                    self._unkept[marked.handin.key] = marked
                    return marked
                kept = _kept(stored["suite"], marked)
                notes = (*(note for note in before.notes if note != kept), kept)
                return self._written(replace(before, notes=notes), stored)
        return self._written(marked, self._made_by)

    def of(self, handin: HandIn) -> Marked:
        """What was kept of it in this run, or before.

        Raises:
            OSError, KeyError, TypeError, ValueError: its file is gone, or another's.
        """
        if handin.key in self._unkept:
            return self._unkept[handin.key]
        return _restored(handin, json.loads(self._path(handin).read_text(encoding="utf-8")))

    def _serves(self, stored: dict[str, Any]) -> bool:
        """Whether it was made with these options, or with more than is wanted now."""
        made, now = stored["options"], self._made_by["options"]
        more = {name: made.get(name) or now[name] for name in _MORE}
        return bool(made == {**now, **more})

    def _written(self, marked: Marked, made_by: dict[str, Any]) -> Marked:
        found = {
            "suite": made_by["suite"],
            "options": made_by["options"],
            "path": str(marked.handin.where),
            "name": printable(marked.handin.name),
            "sha256": marked.sha256,
            "graded": marked.graded and marked.graded.stored(),
            "why": marked.why and vars(marked.why),
            "notes": [vars(note) for note in marked.notes],
        }
        path = self._path(marked.handin)
        if path.is_dir():
            note = Text(f"Not kept: {path} is a folder.", f"未保留結果：{path} 是資料夾。")
            marked = replace(marked, notes=(*marked.notes, note))
            self._unkept[marked.handin.key] = marked
        else:
            write_json(path, found, ensure_ascii=False, indent=1)
        return marked

    def _path(self, handin: HandIn) -> Path:
        return self.folder / f"{handin.key}.json"

    def _stored(self, handin: HandIn) -> dict[str, Any] | None:
        """What was written of a file of this name, if it is whole and its checks are today's."""
        found = _read(self._path(handin))
        try:
            checks = [one["name"] for one in found["graded"]["checks"]]
            graded = _restored(handin, found).graded
            if graded is None or any(
                one.status not in STATUSES or not 0 <= one.earned <= one.points
                for one in graded.checks
            ):
                return None
            whole = {"suite", "options", "sha256"} <= set(found)
        except (KeyError, TypeError, ValueError, AttributeError):
            return None
        today = checks == [one.name for one in SHOWN]
        return found if whole and today and found["name"] == printable(handin.name) else None


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # the last: damaged, too
        return None


def _restored(handin: HandIn, stored: dict[str, Any]) -> Marked:
    graded = stored["graded"] and Graded.restored(stored["graded"])
    return Marked(
        handin,
        graded and replace(graded, path=str(handin.where)),
        stored["why"] and Text(**stored["why"]),
        stored["sha256"],
        tuple(Text(**note) for note in stored["notes"]),
    )


def _worth(marked: Marked) -> int:
    """0 not graded, 1 with errors of ours, 2 whole."""
    if marked.graded is None:
        return 0
    return 1 if any(one.status == "error" for one in marked.graded.checks) else 2


def _kept(version: str, now: Marked) -> Text:
    why = now.why or Text("errors of ours", "檢查程式的錯誤")
    return Text(
        f"The result of before counts (suite {version}), as grading it again failed: {why.en}",
        f"沿用先前的結果（suite {version}），因為重新評分失敗：{why.zh}",
    )
