"""The pool of processes: order, memory, and what happens where a process or its parent dies.

The workers stand here, at the top of a module: spawned processes import it.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from src.data.pool import WorkerPool
from src.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def make_worker(name):
    return {"identify": identify, "refuse": refuse, "die": die}[name]


def identify(item):
    return item, os.getpid()


def refuse(item):
    if item == 3:
        raise UserError(f"{item} is too much")
    return item


def die(item):
    if item == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def test_items_are_dealt_out_in_turn_and_read_no_further_than_needed():
    read = []

    def items():
        for number in range(40):
            read.append(number)
            yield number

    with WorkerPool(make_worker, ("identify",), 2) as pool:
        results = pool.map(items())
        found = [next(results)]
        assert len(read) <= 3
        found += results
    assert [item for item, _ in found] == list(range(40))
    assert len({process for _, process in found}) == 2 and os.getpid() not in {p for _, p in found}


def test_one_item_or_one_worker_needs_no_process():
    for items, workers in (([7], 2), ([7, 8, 9], 1)):
        with WorkerPool(make_worker, ("identify",), workers) as pool:
            assert list(pool.map(items)) == [(item, os.getpid()) for item in items]
            assert list(pool.map([])) == []


@pytest.mark.parametrize(
    "name, message", [("refuse", "^3 is too much$"), ("die", "one of the 2 processes ended early")]
)
def test_a_refusal_or_a_death_is_told(name, message):
    with WorkerPool(make_worker, (name,), 2) as pool, pytest.raises(UserError, match=message):
        list(pool.map(range(9)))


PARENT = """
import os, sys, time
from src.data.pool import WorkerPool
from tests.data.test_pool import make_worker

if __name__ == "__main__":
    with WorkerPool(make_worker, ("identify",), 2) as pool:
        print(*{process for _, process in pool.map(range(4))}, flush=True)
        time.sleep(60)
"""


def is_alive(process):
    try:
        return " Z " not in Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False


def test_no_process_outlives_a_killed_parent(tmp_path):
    (tmp_path / "parent.py").write_text(PARENT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(tmp_path / "parent.py")]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        workers = list(map(int, parent.stdout.readline().split()))
        assert len(workers) == 2 and all(map(is_alive, workers))
        parent.kill()
    end = time.monotonic() + 5
    while any(map(is_alive, workers)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(is_alive, workers))
