"""Runs a command, shows what it prints and keeps it in a log file; exits with the command's own status.

    python run_with_log.py LOG_FILE COMMAND [ARGUMENT ...]

On a terminal the command writes to a pseudo-terminal, so that its progress bars move as if it had been
started directly; in the log a bar is a line every half minute. Ctrl-C reaches the command, SIGTERM is
passed on to it.

A log that cannot be opened is an error of one line and exit status 2, before the command starts. If its disk
fills up later, one line says so and the command goes on: hours of training are worth more than their log. It
goes on too, with its log, when whoever reads the output has gone (`| head`).
"""

import fcntl
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time


def open_channel(terminal):
    """(end to read from, end the command writes to)."""
    if not terminal:
        return os.pipe()
    reading, writing = pty.openpty()
    size = fcntl.ioctl(sys.stdout, termios.TIOCGWINSZ, bytes(8))
    fcntl.ioctl(writing, termios.TIOCSWINSZ, size)
    return reading, writing


def chunks(reading):
    """What arrives, until every writer has closed its end; a pseudo-terminal says so with an error."""
    while True:
        try:
            data = os.read(reading, 65536)
        except OSError:
            return
        if not data:
            return
        yield data


class Log:
    """The log file; unbuffered, so that a write that failed is not tried again at the end.

    Args:
        path (str): file to replace.
    """

    BAR_SECONDS = 30.0

    def __init__(self, path):
        self._path = path
        self._file = open(path, "wb", buffering=0)
        self._rest, self._redrawn = b"", -self.BAR_SECONDS

    def write(self, data):
        """Append what the command printed, but for the line that has not ended; after the first failure
        nothing more.
        """
        whole = self._rest + data
        end = 1 + max(whole.rfind(b"\n"), whole.rfind(b"\r", 0, -1))  # a last \r may be half of \r\n
        self._rest = whole[end:]
        lines = re.findall(rb"[^\r\n]*(?:\r\n|\r|\n)", whole[:end])
        self._append(b"".join(map(self._kept, lines)))

    def close(self):
        """Append what is left."""
        self._append(self._rest)

    def _kept(self, line):
        """What the log has of a line: a bar that is drawn again ends with a carriage return alone."""
        text = line.rstrip(b"\r\n")
        if line.endswith(b"\n"):
            return text + b"\n"
        if not text.strip() or time.monotonic() - self._redrawn < self.BAR_SECONDS:
            return b""
        self._redrawn = time.monotonic()
        return text.rstrip() + b"\n"

    def _append(self, data):
        if self._file is None:
            return
        try:
            self._file.write(data)
        except OSError as error:
            self._file = None
            print(
                f"warning: {self._path}: {error.strerror}; the log ends here, the command goes on",
                file=sys.stderr,
                flush=True,
            )


def run(log_path, command):
    """The exit status of `command`; death by a signal is 128 + its number, as shells count."""
    try:
        log = Log(log_path)
    except OSError as error:
        print(
            f"error: cannot write {log_path}: {error.strerror}; start it in a folder you can write to",
            file=sys.stderr,
        )
        return 2
    reading, writing = open_channel(sys.stdout.isatty())
    child = subprocess.Popen(command, stdout=writing, stderr=writing)
    os.close(writing)
    # The terminal sends it to the command too, which then ends as it likes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    for data in chunks(reading):
        try:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        log.write(data)
    log.close()
    status = child.wait()
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], sys.argv[2:]))
