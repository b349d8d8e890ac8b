"""Workers over a stream of items in several processes, with the results in the items' order.

A pipe to each process is all that connects them. concurrent.futures has one queue for all, whose ends every
process holds, so that its processes wait for ever where their parent was killed; here they see the pipe end.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

from src.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")


def available_cores() -> int:
    """Cores that this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0))


def _serve(
    pipe: Connection, make: Callable[..., Callable[[Item], Result]], arguments: tuple[Any, ...]
) -> None:
    """Answer each item that comes through `pipe`, until its other end is closed or gone with the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the main one ends the others
    worker = make(*arguments)
    try:
        while True:
            item = pipe.recv()
            result: Result | UserError
            try:
                result = worker(item)
            except UserError as error:  # any other fault is the program's: it is printed and ends the process
                result = error
            pipe.send(result)
    except (EOFError, ConnectionError):
        pass


class WorkerPool(Generic[Item, Result]):
    """One worker a process. A context manager: leaving it ends the processes.

    The processes start when there is a second item to share out; a single item, and everything with one
    process, is done by a worker in the calling process. They are spawned, so the calling script must keep its
    work under `if __name__ == "__main__"`.

    Args:
        make, arguments: make(*arguments) is a worker, which makes a result of an item.
        num_workers: processes, 1 or more.
    """

    def __init__(
        self, make: Callable[..., Callable[[Item], Result]], arguments: tuple[Any, ...], num_workers: int
    ):
        self._make, self._arguments, self._workers = make, arguments, num_workers
        self._own: Callable[[Item], Result] | None = None
        self._pipes: list[Connection] = []
        self._processes: list[BaseProcess] = []

    def __enter__(self) -> WorkerPool[Item, Result]:
        return self

    def __exit__(self, *error: object) -> None:
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join()

    def _start(self) -> None:
        context = get_context("spawn")
        for _ in range(self._workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, self._make, self._arguments), daemon=True)
            process.start()
            theirs.close()  # the process alone holds it, so that its death is seen here
            self._pipes.append(ours)
            self._processes.append(process)

    def map(self, items: Iterable[Item]) -> Iterator[Result]:
        """Results in the items' order. Each process has one item at a time, so memory does not grow with the
        stream. After a stream that was left before its end, the pool is of no more use.

        Raises:
            UserError: a worker raised it, or a process died (out of memory, killed).
        """
        items = iter(items)
        head = list(islice(items, 2))
        if self._workers == 1 or len(head) < 2:
            self._own = self._own or self._make(*self._arguments)
            yield from map(self._own, chain(head, items))
            return
        if not self._pipes:
            self._start()
        yield from self._shared(chain(head, items))

    def _shared(self, items: Iterable[Item]) -> Iterator[Result]:
        waiting: deque[Connection] = deque()  # the pipes that owe a result, in the items' order
        for item in items:
            if len(waiting) < self._workers:
                pipe = self._pipes[len(waiting)]
                with self._naming_the_dead():
                    pipe.send(item)
            else:
                pipe = waiting.popleft()
                with self._naming_the_dead():
                    result = pipe.recv()
                    pipe.send(item)  # before the result is used: the process need not wait for that
                yield _checked(result)
            waiting.append(pipe)
        for pipe in waiting:
            with self._naming_the_dead():
                result = pipe.recv()
            yield _checked(result)

    @contextmanager
    def _naming_the_dead(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, ConnectionError) as error:
            raise UserError(
                f"one of the {self._workers} processes ended early (out of memory or killed); try "
                "--num_workers 1"
            ) from error


def _checked(result: Result | UserError) -> Result:
    if isinstance(result, UserError):
        raise result
    return result
