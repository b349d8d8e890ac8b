"""Workers over a stream of items in several processes, with the results in the items' order.

A pipe to each process is all that connects them. concurrent.futures has one queue for all, whose ends every
process holds, so that its processes wait for ever where their parent was killed; here they see the pipe end.
"""

import os
import signal
from collections import deque
from contextlib import contextmanager
from itertools import chain, islice
from multiprocessing import get_context

from src.errors import UserError


def available_cores():
    """Cores that this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0))


def _serve(pipe, make, arguments):
    """Answer each item that comes through `pipe`, until its other end is closed or gone with the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the main one ends the others
    worker = make(*arguments)
    try:
        while True:
            item = pipe.recv()
            try:
                result = worker(item)
            except UserError as error:  # any other fault is the program's: it is printed and ends the process
                result = error
            pipe.send(result)
    except (EOFError, ConnectionError):
        pass


class WorkerPool:
    """One worker a process. A context manager: leaving it ends the processes.

    The processes start when there is a second item to share out; a single item, and everything with one
    process, is done by a worker in the calling process. They are spawned, so the calling script must keep its
    work under `if __name__ == "__main__"`.

    Args:
        make (callable), arguments (tuple): make(*arguments) is a worker: a callable of one argument, an item.
        num_workers (int): processes, 1 or more.
    """

    def __init__(self, make, arguments, num_workers):
        self._make, self._arguments, self._workers = make, arguments, num_workers
        self._own, self._pipes, self._processes = None, [], []

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join()

    def _start(self):
        context = get_context("spawn")
        for _ in range(self._workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, self._make, self._arguments), daemon=True)
            process.start()
            theirs.close()  # the process alone holds it, so that its death is seen here
            self._pipes.append(ours)
            self._processes.append(process)

    def map(self, items):
        """Results in the items' order. Each process has one item at a time, so memory does not grow with the
        stream. After a stream that was left before its end, the pool is of no more use.

        Args:
            items (iterable): what the workers take, one at a time.

        Yields:
            what a worker returns

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

    def _shared(self, items):
        waiting = deque()  # the pipes that owe a result, in the items' order
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
    def _naming_the_dead(self):
        try:
            yield
        except (EOFError, ConnectionError) as error:
            raise UserError(
                f"one of the {self._workers} processes ended early (out of memory or killed); try "
                "--num_workers 1"
            ) from error


def _checked(result):
    if isinstance(result, UserError):
        raise result
    return result
