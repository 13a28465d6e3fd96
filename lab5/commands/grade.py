"""``lab5 grade``: a hand-in's table; of a class what Moodle, Gradescope, Excel and a browser take.

Exit status 0 when every zip was graded, whatever the grades; 1 when one could not be.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lab5.classroom.writers import WRITERS
from lab5.cli import (
    HANDED_OUT_TEMPLATE,
    HANDED_OUT_WEIGHTS,
    Parser,
    add_language,
    add_run_code,
    at_least,
    command,
    errors,
    progress,
    shown,
)
from lab5.errors import SubmissionError, UsageError
from lab5.files import temporary_folder
from lab5.text import Language, Text, printable

if TYPE_CHECKING:
    from rich.progress import Progress

    from lab5.classroom.batch import Engine
    from lab5.classroom.entry import HandIn, Marked
    from lab5.classroom.moodle import Filled, Worksheet
    from lab5.classroom.results import Results

_WORTH: Final = 4  # hand-ins take as long as the rooms of one job take to start
_SHARE: Final = 50  # the JSON is written again when that many times as long was spent on grading


def parser() -> Parser:
    found = Parser("grade", Text("Grade <student id>_lab5.zip", "評分 <學號>_lab5.zip"))
    paths = Text(
        "hand-ins, folders of them, or Moodle's download of all submissions, as a zip or a folder",
        "繳交檔、資料夾，或 Moodle 下載的全部繳交",
    )
    found.add("paths", paths, nargs="+", type=Path, metavar="PATH")
    for name, writer in WRITERS.items():
        found.add(f"--{name}", writer.said, type=Path, metavar=writer.metavar)
    out = Text("keep each result there, as it is done", "保留每份結果的資料夾")
    found.add("--out", out, type=Path, metavar="DIR")
    one = found.add_mutually_exclusive_group()
    fresh = Text(
        "grade all again; by default what --out has of the same bytes and suite is kept (--resume)",
        "全部重新評分；預設沿用 --out 裡相同檔案與版本的結果 (--resume)",
    )
    found.add("--fresh", fresh, among=one, action="store_true")
    resume = Text("the opposite of --fresh, and the default", "與 --fresh 相反，為預設")
    found.add("--resume", resume, among=one, dest="fresh", action="store_false")
    worksheet = Text(
        "the grading worksheet as downloaded: filled in under --out",
        "Moodle 評分表，填好後放在 --out",
    )
    found.add("--moodle-worksheet", worksheet, type=Path, metavar="F")
    jobs = Text("how many at a time; the cores by default", "同時評分數，預設為核心數")
    found.add("--jobs", jobs, type=int, metavar="N")
    scheduler = Text("of a Dask cluster that does it", "由這個 Dask 叢集評分")
    found.add("--scheduler", scheduler, metavar="tcp://…")
    found.add("--template", HANDED_OUT_TEMPLATE, type=Path)
    found.add("--weights", HANDED_OUT_WEIGHTS, type=Path)
    add_run_code(found)
    seed = Text("of what its functions are called with", "呼叫其函式時的亂數種子")
    found.add("--seed", seed, type=int, metavar="N")
    found.add("--strict", Text("advice is a fail", "建議視為未通過"), action="store_true")
    diagnose = Text(
        "causes as hints; by default of a single hand-in only",
        "以診斷出的原因為建議，預設只對單一繳交檔",
    )
    found.add("--diagnose", diagnose, action=argparse.BooleanOptionalAction)
    add_language(found)
    return found


@command
def main(argv: list[str] | None = None) -> None:
    args = parser().parse_args(argv)
    _check(args)
    from lab5.classroom import html, marks
    from lab5.classroom.batch import Class
    from lab5.classroom.found import find_handins
    from lab5.classroom.marking import Options
    from lab5.classroom.moodle import Worksheet
    from lab5.classroom.results import Results

    worksheet = args.moodle_worksheet and Worksheet(args.moodle_worksheet)
    found = find_handins(args.paths)
    found = replace(
        found, handins=tuple(one for one in found.handins if not _written_before(one, args))
    )
    _check_targets(args, found.handins)
    options = Options(
        args.weights,
        args.template,
        args.run_code,
        args.strict,
        args.seed,
        diagnose=len(found.handins) == 1 if args.diagnose is None else args.diagnose,
        portrait=args.html is not None,
    )
    with contextlib.ExitStack() as opened:
        folder = args.out or opened.enter_context(temporary_folder())
        # what is wrong with the marks and the folders is said before it grades
        own = marks.read(args.html) if args.html else {}
        results = Results(folder, options)
        if args.html:
            html.prepare(args.html)
        _grade(args, found.handins, results)
        marked = Class(found.handins, results, own)
        failed: dict[str, Text] = {}
        for name, target in _targets(args).items():
            with _noted(failed, target):
                WRITERS[name](target, marked, args.lang)
        if worksheet:
            path = _filled_in(args)
            with _noted(failed, path):
                _fill(path, worksheet, marked, args.lang)
        not_graded = {str(one.handin.where): one.why for one in marked if one.why}
        _say_what_is_next(args, marked)
    _list(Text("Not looked at, as they are no zips:", "不是 zip，未評分："), found.others)
    wrong = [
        Text(
            "\n".join([title.en, *(f"  {name}: {why.en}" for name, why in these.items())]),
            "\n".join([title.zh, *(f"  {name}：{why.zh}" for name, why in these.items())]),
        )
        for title, these in (
            (Text("Not graded:", "未評分："), not_graded),
            (Text("Not written:", "未寫出："), failed),
        )
        if these
    ]
    if wrong:
        raise SubmissionError(
            "\n".join(one.en for one in wrong), zh="\n".join(one.zh for one in wrong)
        )


@contextlib.contextmanager
def _noted(failed: dict[str, Text], target: Path) -> Iterator[None]:
    """What cannot be written does not keep the others from being written."""
    try:
        yield
    except OSError as error:
        failed[str(target)] = Text.of(error.strerror or str(error))
    except UsageError as error:
        failed[str(target)] = error.text


def _grade(args: argparse.Namespace, handins: Sequence[HandIn], results: Results) -> None:
    """All of them, each said and kept as it is done."""
    from lab5.classroom.batch import Class, grade_class

    done: set[str] = set()

    def write_json() -> None:
        so_far = [one for one in handins if one.key in done]
        with contextlib.suppress(OSError):  # said when all is written
            WRITERS["json"](args.json, Class(so_far, results), args.lang)

    written = _seldom(write_json)
    engine = _engine(args, len(handins))
    with _said_when_interrupted(args.out, done), _Bar(handins) as bar, contextlib.closing(
        grade_class(handins, results, engine, fresh=args.fresh, started=bar.started)
    ) as marked:  # fmt: skip
        for one in marked:
            done.add(one.handin.key)
            bar.done(one.handin)
            _say(one, args)
            if args.json:
                written()


@contextlib.contextmanager
def _said_when_interrupted(folder: Path | None, done: Collection[str]) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        if folder:
            said = Text(
                f"{len(done)} hand-ins are kept in {folder}: the same command goes on from there.",
                f"已完成的 {len(done)} 份保留在 {folder}，再執行同一個指令即可接續。",
            )
            errors.print(str(said), markup=False, soft_wrap=True)
        raise


def _targets(args: argparse.Namespace) -> dict[str, Path]:
    """What is to be written, by its option."""
    given = {name: getattr(args, name.replace("-", "_")) for name in WRITERS}
    return {name: path for name, path in given.items() if path}


def _written_before(handin: HandIn, args: argparse.Namespace) -> bool:
    """Whether a run before wrote it, as a feedback zip in the folder that is graded."""
    given = {path.absolute() for path in args.paths}
    targets = [path.absolute() for path in (*_targets(args).values(), args.out) if path]
    place = handin.path.absolute()
    return place not in given and any(
        place.is_relative_to(target) and not any(path.is_relative_to(target) for path in given)
        for target in targets
    )


def _filled_in(args: argparse.Namespace) -> Path:
    """Where the copy of the worksheet goes."""
    path: Path = args.out / args.moodle_worksheet.name
    return path


def _check(args: argparse.Namespace) -> None:
    """
    Raises:
        UsageError
    """
    for path in (args.template, args.weights, args.moodle_worksheet):
        if path is not None and not path.is_file():
            raise UsageError(f"There is no file {path}.", zh=f"找不到檔案 {path}。")
    at_least(args, seed=0, jobs=1)
    for path in (args.out, *_targets(args).values()):
        if path and not (parent := path.absolute().parent).is_dir():
            raise UsageError(f"There is no folder {parent}.", zh=f"找不到資料夾 {parent}。")
    if args.moodle_worksheet and not args.out:
        raise UsageError(
            "--moodle-worksheet stays as it is, and its copy with the marks goes under --out DIR: give that.",
            zh="--moodle-worksheet 不會被改寫，填好的副本放在 --out DIR 之下：請加上 --out。",
        )


def _check_targets(args: argparse.Namespace, handins: Sequence[HandIn]) -> None:
    """
    Raises:
        UsageError: what is to be written could not be, or would take the place of something else.
    """
    from lab5.classroom import html

    targets = {f"--{name}": path for name, path in _targets(args).items()}
    folders = {"--out"} | {f"--{n}" for n, w in WRITERS.items() if w.makes_folder(len(handins))}
    if args.out:
        targets["--out"] = args.out
        targets["--out DIR/seed.json"] = args.out / "seed.json"
        if args.moodle_worksheet:
            targets["--out DIR/" + args.moodle_worksheet.name] = _filled_in(args)
    for name, path in targets.items():
        if path.exists() and path.is_dir() != (name in folders):
            is_a, not_a = ("folder", "file") if path.is_dir() else ("file", "folder")
            raise UsageError(
                f"{name} {path} is a {is_a}, and a {not_a} is to be written: give another name.",
                zh=f"{name} {path} 已存在，但種類不符（需要的是{'檔案' if path.is_dir() else '資料夾'}）："
                "請指定其他名稱。",
            )
    taken = {one.path.resolve(): "PATH" for one in handins}
    for name in ("template", "weights", "moodle_worksheet"):
        if given := getattr(args, name):
            taken[given.resolve()] = f"--{name.replace('_', '-')}"
    for name, path in targets.items():
        other = taken.setdefault(path.resolve(), name)
        if other != name:
            raise UsageError(
                f"{other} and {name} are the same, {path}, which would be overwritten: give another name.",
                zh=f"{other} 與 {name} 是同一個：{path}，寫入會蓋掉它，請指定其他名稱。",
            )
    if args.html:
        html.check(args.html)


def _engine(args: argparse.Namespace, count: int) -> Engine:
    if args.scheduler:
        from lab5.classroom.cluster import Cluster

        return Cluster(args.scheduler)
    from lab5.classroom.local import Local
    from lab5.study.machine import cores

    return Local(args.jobs or max(1, min(cores(), count // _WORTH)))


def _seldom(write: Callable[[], None]) -> Callable[[], None]:
    """``write``, as often as costs little: its time grows with what was done before."""
    next_time = 0.0

    def maybe() -> None:
        nonlocal next_time
        start = time.monotonic()
        if start >= next_time:
            write()
            next_time = time.monotonic() + _SHARE * (time.monotonic() - start)

    return maybe


class _Bar:
    """How many are done, and which are being graded."""

    def __init__(self, handins: Sequence[HandIn]) -> None:
        self._bar: Progress = progress()
        self._task = self._bar.add_task("", total=len(handins))
        self._all, self._done = len(handins), 0
        self._running: list[str] = []  # keys

    def __enter__(self) -> _Bar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def started(self, handin: HandIn) -> None:
        self._running.append(handin.key)
        self._show()

    def done(self, handin: HandIn) -> None:
        self._done += 1
        if handin.key in self._running:  # nobody began with what was known
            self._running.remove(handin.key)
        self._show()

    def _show(self) -> None:
        names = ", ".join(self._running[:3])
        what = shown(f"{self._done}/{self._all} {names}")
        self._bar.update(self._task, description=what, completed=self._done)


def _say(one: Marked, args: argparse.Namespace) -> None:
    """All of a hand-in; where the results are kept, a line."""
    from lab5.classroom.table import status
    from lab5.grading.render import RENDERERS

    if not args.out:
        if one.graded:
            print(RENDERERS["terminal"](one.graded, args.lang), end="")
        return

    points = f"{one.graded.earned:g}/{one.graded.points}" if one.graded else "-"
    why = one.why.say(args.lang) if one.why else ""
    print(printable(f"{points:>9}  {status(one.graded):8}  {one.handin.key}  {why}").rstrip())


def _left(marked: Sequence[Marked]) -> float:
    """The most points of a hand-in that still wait for a person."""
    return max((one.to_give for one in marked), default=0)


def _say_what_is_next(args: argparse.Namespace, marked: Sequence[Marked]) -> None:
    """Of a class: where the results are, and how a person gives the points that only a person can give."""
    if not args.html and (not args.out or len(marked) == 1):
        return
    place = args.html / "index.html" if args.html else args.out
    said = [Text(f"The results are in {place}.", f"結果在 {place}。")]
    if left := _left(marked):
        said.append(
            Text(
                f" Up to {left:g} points of a hand-in are for a person to give",
                f"每份最多 {left:g} 分待人工評閱",
            )
        )
        said.append(
            Text(" there.", "。")
            if args.html
            else Text(
                ": with --html DIR the same command makes pages for that. It grades again, to draw the reports.",
                "：同一個指令加上 --html DIR 會產生評閱網頁（為繪製報告，會重新評分）。",
            )
        )
    errors.print("".join(one.say(args.lang) for one in said), markup=False, soft_wrap=True)


def _fill(path: Path, worksheet: Worksheet, marked: Sequence[Marked], lang: Language) -> None:
    from lab5.assignment import TOTAL_POINTS
    from lab5.classroom import moodle

    found: Filled = moodle.write(path, worksheet, marked, lang)
    left = _left(marked)
    said = Text(
        f"{path}: {len(found.entered)} grades, what the checks gave of the maximum, and a person",
        f"{path}：填入 {len(found.entered)} 個成績，含檢查項目與人工評分",
    ).say(lang)
    said += (
        Text(
            f"; up to {left:g} of {TOTAL_POINTS} points are still for a person to give and not in them.",
            f"；最多 {left:g} 分（滿分 {TOTAL_POINTS}）仍待人工評閱，未計入。",
        ).say(lang)
        if left
        else Text(".", "。").say(lang)
    )
    errors.print(said, markup=False, soft_wrap=True)
    _list(
        Text("No single row of the worksheet is theirs:", "在評分表中找不到唯一對應的列："),
        found.unmatched,
    )
    _list(Text("Their rows were left as they are:", "評分表中未變動的列："), found.ungraded)
    _list(
        Text(
            "Their rows were left as they are, as Moodle says that the grade cannot be changed:",
            "評分表中未變動的列（Moodle 標示成績不可更改）：",
        ),
        found.locked,
    )


def _list(title: Text, names: Iterable[Any]) -> None:
    lines = [f"  {printable(str(name))}" for name in names]
    if lines:
        errors.print("\n".join([str(title), *lines]), markup=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
