"""One input, and many of them."""

import contextlib
import io
import os
import signal
import tempfile
import time

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from src.errors import one_line, refused_path
from tests.fuzz.mutations import mutated
from tests.fuzz.target import ALLOWED

SECONDS, CHARACTERS = 10, 1_500
"""Of the processor: the machine may be busy with something else. What waits for something has ten times as
long."""
_CLOCKS = (signal.ITIMER_PROF, signal.SIGPROF, SECONDS), (signal.ITIMER_REAL, signal.SIGALRM, 10 * SECONDS)


class Fault(Exception):
    """An outcome that no input may have."""


@contextlib.contextmanager
def time_limit():
    """Raise a `Fault` where it takes longer; in the main thread only."""

    def stop(*_):
        raise Fault(f"no end after {SECONDS} s")

    before = [signal.signal(number, stop) for _, number, _ in _CLOCKS]
    for clock, _, seconds in _CLOCKS:
        signal.setitimer(clock, seconds)
    try:
        yield
    finally:
        for (clock, number, _), handler in zip(_CLOCKS, before):
            signal.setitimer(clock, 0)
            signal.signal(number, handler)


def outcome(target, folder):
    """What a `Target` makes of its file: "" or its one line.

    Raises:
        Fault: the user would see anything else.
    """
    try:
        with (
            time_limit(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            target.read(folder)
        return ""
    except ALLOWED as error:
        line = one_line(error)
    except OSError as error:
        if refused_path(error) is None:
            raise Fault(repr(error)) from error
        line = one_line(error)
    except Exception as error:
        raise Fault(f"{type(error).__name__}: {str(error)[:200]}") from error
    if len(line) > CHARACTERS:
        raise Fault(f"a message of {len(line):,} characters: {line[:200]}")
    return line


def place(target, folder):
    """Write what lies beside a target's file."""
    for name, content in target.beside.items():
        with open(os.path.join(folder, name), "wb") as file:
            file.write(content)


def attempt(target, data, folder):
    """`outcome` of some bytes."""
    with open(os.path.join(folder, target.file), "wb") as file:
        file.write(data)
    return outcome(target, folder)


def check(target, examples, number=None):
    """Try so many inputs; a failing one is raised, made as small as Hypothesis can.

    Args:
        target (Target): what reads them. examples (int): how many. number (int): seed; None: always the same
            inputs.

    Returns:
        (inputs tried, inputs that were refused with a line)
    """
    counts = [0, 0]
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        place(target, folder)

        @settings(
            max_examples=examples,
            derandomize=number is None,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        )
        @given(st.data())
        def run(data):
            counts[0] += 1
            counts[1] += bool(attempt(target, data.draw(mutated(target.seeds)), folder))

        (run if number is None else seed(number)(run))()
    return tuple(counts)


def run_for(targets, minutes, number=0, batch=200, say=print):
    """Try inputs of all targets in turn for so many minutes; returns (inputs, refused, {target: fault})."""
    end, tried, refused, faults = time.monotonic() + 60 * minutes, 0, 0, {}
    while time.monotonic() < end:
        number += 1
        for target in targets:
            if target.name in faults or time.monotonic() > end:
                continue
            try:
                counts = check(target, batch, number)
            except Fault as error:
                faults[target.name] = f"{error}"
                notes = " ".join(getattr(error, "__notes__", ()))
                say(f"FAULT {target.name}: {error} {notes}")
                continue
            tried, refused = tried + counts[0], refused + counts[1]
    return tried, refused, faults
