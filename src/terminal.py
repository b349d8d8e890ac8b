"""What is shown while something goes on: bars, and the name of what takes its time."""

import contextlib
import sys
import threading

from tqdm import tqdm

LINE_SECONDS = 30.0
"""Between two lines of a bar that is no bar, in a file or a pipe."""
_LINE = "{desc}: {n_fmt}/{total_fmt} {unit}s, {percentage:.0f} %, {remaining} left{postfix}"


class _Lines:
    """A stream in which every redraw of a bar is a line of its own: for files and pipes, where the next line
    would follow the bar.
    """

    def __init__(self, stream):
        self._stream = stream

    def write(self, text):
        self._stream.write("".join(f"{part.rstrip()}\n" for part in text.split("\r") if part.strip()))

    def flush(self):
        self._stream.flush()


def bar(title, total, unit, rows=None, leave=False, initial=0, bar_format=None):
    """A bar on a terminal, as tqdm draws it; elsewhere a line every `LINE_SECONDS` in its place.

    Args:
        title (str): what is done. total (int): of it, in `unit`s (str). rows (iterable): passed through, or
            None where the caller counts. leave (bool): the bar stays at its end. initial (int): done before.
        bar_format (str): tqdm's, of a terminal; None for the usual one.
    """
    options = {"desc": title, "total": total, "unit": unit, "leave": leave, "initial": initial}
    if sys.stderr.isatty():
        shape = {"file": sys.stderr, "dynamic_ncols": True, "mininterval": 0.5, "bar_format": bar_format}
    else:
        shape = {"file": _Lines(sys.stderr), "bar_format": _LINE, "delay": LINE_SECONDS}
        shape |= {"mininterval": LINE_SECONDS, "maxinterval": 2 * LINE_SECONDS}
    return tqdm(rows, **options, **shape)


@contextlib.contextmanager
def busy(title):
    """Name on the terminal what takes more than a second, with the seconds; below a bar if there is one."""
    if not sys.stderr.isatty():
        yield
        return
    done = threading.Event()

    def tick():
        if done.wait(1.0):
            return
        shape = {"bar_format": "{desc} ... {elapsed}", "leave": False, "dynamic_ncols": True}
        with tqdm(desc=title, file=sys.stderr, **shape) as line:
            line.start_t -= 1.0
            while not done.wait(1.0):
                line.refresh()

    clock = threading.Thread(target=tick, daemon=True)
    clock.start()
    try:
        yield
    finally:
        done.set()
        clock.join()
