"""What is shown while something goes on: bars, and the name of what takes its time; and results that scripts
read.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any, TextIO, TypeVar, overload

from tqdm import tqdm

T = TypeVar("T")

LINE_SECONDS = 30.0
"""Between two lines of a bar that is no bar, in a file or a pipe."""
TICK_SECONDS = 1.0
"""After which something is named, and between two looks at the clock."""
_LINE = "{desc}: {n_fmt}/{total_fmt} {unit}, {percentage:.0f} %, {remaining} left{postfix}"


def say(line: str) -> None:
    """Print a line at once, past any bar."""
    tqdm.write(line, file=sys.stdout)
    sys.stdout.flush()


class _Talk:
    """Standard output of a command whose results are JSON: what is said goes to standard error.

    Args:
        results: takes the results.
    """

    def __init__(self, results: TextIO) -> None:
        self.results = results

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)


def only_results() -> None:
    """Keep standard output for results (`--json true`), until it is set back: `errors.command` does that as a
    command ends.
    """
    if hasattr(sys.stdout, "reconfigure"):
        # As JSON is. A byte of a path that is no character is escaped, which JSON reads.
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    sys.stdout = _Talk(sys.stdout)  # type: ignore[assignment]  # a stream: it passes on what one has


def result(facts: dict[str, Any], text: str = "") -> None:
    """Print one result of a command: `facts` as a line of JSON where scripts read it (`only_results`),
    elsewhere `text`, "" for nothing.
    """
    if isinstance(sys.stdout, _Talk):
        print(json.dumps(facts, ensure_ascii=False, allow_nan=False), file=sys.stdout.results)
    elif text:
        say(text)


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


class _Bar(tqdm):
    """The one bar on a terminal; what goes on meanwhile is told at its end, not on a line below."""

    shown: _Bar | None = None

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        _Bar.shown = self

    def close(self) -> None:
        if _Bar.shown is self:
            _Bar.shown = None
        super().close()


@overload
def bar(title: str, total: int, unit: str, rows: Iterable[T]) -> Iterable[T]: ...


@overload
def bar(
    title: str,
    total: int,
    unit: str,
    rows: None = None,
    leave: bool = False,
    initial: int = 0,
    bar_format: str | None = None,
) -> tqdm: ...


def bar(
    title: str,
    total: int,
    unit: str,
    rows: Iterable[Any] | None = None,
    leave: bool = False,
    initial: int = 0,
    bar_format: str | None = None,
) -> Any:
    """A bar on a terminal, as tqdm draws it; elsewhere a line every `LINE_SECONDS` in its place. While there
    is one, another one is a few words at its end.

    Args:
        title (str): what is done. total (int): of it, in `unit`s (str). rows (iterable): passed through, or
            None where the caller counts. leave (bool): the bar stays at its end. initial (int): done before.
        bar_format (str): tqdm's, of a terminal; None for the usual one.
    """
    options = {"desc": title, "total": total, "unit": unit, "leave": leave, "initial": initial}
    options["unit_scale"] = unit == "byte"  # 1.2M of them, where rows and steps are counted to the last
    if not sys.stderr.isatty():
        options["unit"] = unit + ("es" if unit.endswith("ch") else "s")
        # In its first place: for a bar below another one tqdm moves the cursor, which a file has not.
        shape = {"file": _Lines(sys.stderr), "bar_format": _LINE, "delay": LINE_SECONDS, "position": 0}
        return tqdm(rows, **options, **shape, mininterval=LINE_SECONDS, maxinterval=2 * LINE_SECONDS)
    if _Bar.shown and rows is not None:
        return _within(_Bar.shown, title, total, rows)
    shape = {"file": sys.stderr, "dynamic_ncols": True, "mininterval": 0.5, "bar_format": bar_format}
    return _Bar(rows, **options, **shape)


def _within(outer, title, total, rows):
    """Pass the rows through and say in another bar how far it is."""
    before, told = outer.postfix or "", 0.0
    try:
        for number, row in enumerate(rows, 1):
            if time.monotonic() - told >= 0.5:
                outer.set_postfix_str(f"{title} {number}/{total}")
                told = time.monotonic()
            yield row
    finally:
        outer.set_postfix_str(before)


@contextlib.contextmanager
def busy(title: str) -> Iterator[None]:
    """Name on a terminal what takes more than a moment, with its time: at the end of the bar, if there is
    one."""
    if not sys.stderr.isatty():
        yield
        return
    done = threading.Event()
    clock = threading.Thread(target=_tell, args=(title, done), daemon=True)
    clock.start()
    try:
        yield
    finally:
        done.set()
        clock.join()


def _tell(title, done):
    """Show a title and its time every `TICK_SECONDS` until `done` (Event) is set."""
    started = time.monotonic()
    if done.wait(TICK_SECONDS):
        return
    outer = _Bar.shown
    line = outer or tqdm(bar_format="{desc}", leave=False, file=sys.stderr, dynamic_ncols=True)
    show = outer.set_postfix_str if outer else line.set_description_str
    before = (outer and outer.postfix) or ""
    while True:
        show(f"{title} {tqdm.format_interval(time.monotonic() - started)}")
        if done.wait(TICK_SECONDS):
            break
    show(before)
    if not outer:
        line.close()
