"""The jobs on a Dask cluster: its workers see the hand-ins under the same paths as this machine."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import Any, Final

from lab5.assignment import VARIABLE
from lab5.classroom.entry import HandIn, Marked
from lab5.classroom.marking import Options, mark, suite_version
from lab5.errors import Lab5Error, NoWallError, SandboxError, UsageError
from lab5.grading.rooms import Rooms
from lab5.text import Text

PATIENCE: Final = 10  # seconds for the scheduler to answer
_RETRIES: Final = 2  # of a job whose rooms failed; Dask itself tries again where a worker died


class Cluster:
    """Grades on the workers of the scheduler at ``address`` (tcp://…).

    Raises:
        UsageError: ``distributed`` is not installed, or nobody answers there.
    """

    def __init__(self, address: str) -> None:
        try:
            from distributed import Client
        except ImportError as error:
            raise UsageError(
                "--scheduler needs the package distributed: pip install 'lab5[cluster]'",
                zh="--scheduler 需要套件 distributed：pip install 'lab5[cluster]'",
            ) from error
        try:
            self._client: Any = Client(address, timeout=PATIENCE)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"No Dask scheduler answers at {address} ({error}).",
                zh=f"{address} 沒有 Dask scheduler 回應（{error}）。",
            ) from error

    def __call__(
        self, handins: Sequence[HandIn], options: Options, started: Callable[[HandIn], None]
    ) -> Generator[Marked, None, None]:
        """As ``Local``; which runs is not told.

        Raises:
            UsageError: a worker has another suite than this machine.
            NoWallError: a worker cannot build one.
        """
        from distributed import as_completed

        with self._client as client:
            jobs = {
                client.submit(
                    _job,
                    replace(one, path=one.path.absolute()),
                    options.absolute(),
                    pure=False,
                    retries=_RETRIES,
                ): one
                for one in handins
            }
            try:
                for job in as_completed(jobs):
                    handin = jobs[job]
                    try:
                        version, marked = job.result()
                    except NoWallError:
                        raise
                    except Lab5Error as error:
                        yield Marked(handin, None, error.text)
                        continue
                    except Exception as error:  # its worker died each time
                        yield Marked(handin, None, Text.of(f"{type(error).__name__}: {error}"))
                        continue
                    job.release()
                    if version != suite_version():
                        raise UsageError(
                            f"A worker grades with suite {version}, this machine has {suite_version()}: "
                            f"install the same lab5 on both, and start its workers with the same {VARIABLE}.",
                            zh=f"叢集上的 suite 是 {version}，本機是 {suite_version()}：請安裝相同的 lab5，"
                            f"並以相同的 {VARIABLE} 啟動 worker。",
                        )
                    yield marked.shared_with(handin)
            finally:
                with contextlib.suppress(Exception):  # the scheduler may be what is gone
                    client.cancel(list(jobs))
                    client.run(_close)


_here = threading.local()  # each of a worker's threads has rooms of its own …
_opened: list[Rooms] = []  # … all of which are closed when a class is done


def _job(handin: HandIn, options: Options) -> tuple[str, Marked]:
    """On a worker."""
    rooms, made_for = getattr(_here, "rooms", (None, None))
    if rooms not in _opened or made_for != options:
        rooms = options.rooms()
        _here.rooms = rooms, options
        _opened.append(rooms)
    try:
        return suite_version(), mark(handin, options, rooms)
    except SandboxError:
        _opened.remove(rooms)
        rooms.close()
        raise


def _close() -> None:
    while _opened:
        rooms = _opened.pop()
        rooms.end()
        rooms.close()
