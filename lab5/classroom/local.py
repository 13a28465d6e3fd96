"""The jobs on this machine: threads, each with rooms of its own, whose processes do the work."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import Final

from lab5.classroom.entry import HandIn, Marked
from lab5.classroom.marking import Options, mark
from lab5.errors import SandboxError
from lab5.grading.rooms import Rooms

_END: Final = 15  # seconds for a worker to close its rooms; they end with this process anyway


class Local:
    """Grades ``jobs`` hand-ins at a time."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs

    def __call__(
        self, handins: Sequence[HandIn], options: Options, started: Callable[[HandIn], None]
    ) -> Generator[Marked, None, None]:
        """Each hand-in's results, in the order in which they are done; ``started`` is told which runs.

        Raises:
            SandboxError: the rooms do not start.
        """
        waiting, done = deque(handins), _Done()
        workers = [
            _Worker(waiting, done, options, started) for _ in range(min(self.jobs, len(handins)))
        ]
        for worker in workers:
            worker.thread.start()
        try:
            for _ in handins:
                worker, found = done.get()
                if isinstance(found, BaseException):
                    raise found
                yield found
                worker.taken.set()
        finally:
            for worker in workers:
                worker.stop()
            for worker in workers:
                worker.thread.join(_END)


class _Worker:
    def __init__(
        self,
        waiting: deque[HandIn],
        done: _Done,
        options: Options,
        started: Callable[[HandIn], None],
    ) -> None:
        self.thread = threading.Thread(target=self._run, daemon=True)
        self._waiting, self._done, self._options, self._started = waiting, done, options, started
        self._stopped = False
        self.taken = threading.Event()  # what it did is kept: the next may begin
        self._rooms: Rooms | None = None

    def stop(self) -> None:
        """Leave what is being graded: its rooms are over."""
        self._stopped = True
        self.taken.set()
        if self._rooms:
            self._rooms.end()

    def _run(self) -> None:
        try:
            while not self._stopped and self._waiting:
                try:
                    handin = self._waiting.popleft()
                except IndexError:  # another took the last
                    return
                self._started(handin)
                self.taken.clear()
                self._done.put((self, self._marked(handin)))
                self.taken.wait()
        except BaseException as error:
            if not self._stopped:
                self._done.put((self, error))
        finally:
            self._close()

    def _marked(self, handin: HandIn) -> Marked:
        """Where the rooms failed and new ones start, this hand-in is tried once more."""
        for last in (False, True):
            try:
                return mark(handin, self._options, self._opened())
            except SandboxError as error:
                if self._stopped:
                    raise
                self._close()
                self._opened().reading.wait()
                if last:
                    return Marked(handin, None, error.text)
        raise AssertionError

    def _opened(self) -> Rooms:
        if self._rooms is None:
            self._rooms = self._options.rooms()
            if self._stopped:
                self._rooms.end()
        return self._rooms

    def _close(self) -> None:
        if self._rooms:
            self._rooms.close()
            self._rooms = None


_Done = queue.SimpleQueue[tuple[_Worker, Marked | BaseException]]
