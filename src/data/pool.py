"""A worker over a stream of items in several processes, with the results in the items' order."""

import os
import signal
import threading
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from multiprocessing import connection, get_context, parent_process

from src.errors import UserError

_worker = None  # a process's own


def _start(make, arguments):
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the main one ends the others
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker = make(*arguments)


def _end_with_parent():
    connection.wait([parent_process().sentinel])
    os._exit(1)  # a killed parent ends no worker otherwise


def _call(method, arguments):
    return getattr(_worker, method)(*arguments)


def available_cores():
    """Cores that this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0))


class OrderedPool:
    """One worker object a process. A context manager: leaving it ends the processes.

    The processes start when there is a second item to share out; a single item, and everything with one
    process, is done by a worker in the calling process. They are spawned, so the calling script must keep its
    work under `if __name__ == "__main__"`.

    Args:
        make (callable), arguments (tuple): make(*arguments) is a worker. method (str): of it, called for each
            item.
        num_workers (int): processes, 1 or more.
    """

    def __init__(self, make, arguments, method, num_workers):
        self._make, self._arguments, self._method, self._workers = make, arguments, method, num_workers
        self._own = self._pool = None

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def map(self, items):
        """Results in the items' order. At most two more items than processes are in flight, so memory does
        not grow with the stream.

        Args:
            items (iterable of (arguments, extra)): the method's arguments as a tuple; `extra` is anything, it
                comes back with the result.

        Yields:
            (result, extra)

        Raises:
            UserError: a process died (out of memory, killed).
        """
        items = iter(items)
        head = list(islice(items, 2))
        if self._workers == 1 or len(head) < 2:
            self._own = self._own or self._make(*self._arguments)
            for arguments, extra in chain(head, items):
                yield getattr(self._own, self._method)(*arguments), extra
            return
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self._workers, get_context("spawn"), _start, (self._make, self._arguments)
            )
        waiting = deque()
        try:
            for arguments, extra in chain(head, items):
                waiting.append((self._pool.submit(_call, self._method, arguments), extra))
                if len(waiting) == self._workers + 2:
                    future, first = waiting.popleft()
                    yield future.result(), first
            while waiting:
                future, first = waiting.popleft()
                yield future.result(), first
        except BrokenProcessPool as error:
            raise UserError(
                f"one of the {self._workers} processes ended early (out of memory or killed); try "
                "--num_workers 1"
            ) from error
