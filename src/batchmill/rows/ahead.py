"""Work done ahead of whoever waits for it, by threads that never keep a program alive."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")


def in_order(jobs: Iterable[Callable[[], T] | Future[T]], at_once: int) -> Iterator[T]:
    """
    Yield what each job returns, in their order, while up to *at_once* of them are worked on.

    A job may also be a `Future` that has its result already. No more than *at_once* results wait;
    the error of a job is raised in its turn, and then no other is begun.
    """
    waiting: deque[Future[T]] = deque()
    crew = _Crew[T](at_once)
    try:
        for job in jobs:
            waiting.append(job if isinstance(job, Future) else crew.take(job))
            if len(waiting) == at_once:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
        crew.dismiss()


def done(result: T) -> Future[T]:
    """Return a job that needs no work."""
    future: Future[T] = Future()
    future.set_result(result)
    return future


class _Crew(Generic[T]):
    """
    Threads that are started as they are needed.

    Not the executor of the standard library: at the end of a program that one is waited for, and
    what it does may hang for a minute.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0
        self._todo: SimpleQueue[tuple[Callable[[], T], Future[T]] | None] = SimpleQueue()

    def take(self, job: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        self._todo.put((job, future))
        if self._count < self._most:
            self._count += 1
            threading.Thread(target=self._work, name="batchmill-ahead", daemon=True).start()
        return future

    def dismiss(self) -> None:
        for _ in range(self._count):
            self._todo.put(None)

    def _work(self) -> None:
        while (found := self._todo.get()) is not None:
            job, future = found
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(job())
            except BaseException as error:  # noqa: BLE001  # raised again where it is waited for
                future.set_exception(error)
