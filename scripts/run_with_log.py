"""Runs a command, shows what it prints and keeps it in a log file; exits with the command's own status.

    python run_with_log.py LOG_FILE COMMAND [ARGUMENT ...]

On a terminal the command writes to a pseudo-terminal, so that its progress bars move as if it had been started directly; in
the log every redraw of a bar is a line. Ctrl-C reaches the command, SIGTERM is passed on to it.
"""
import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios


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


def run(log_path, command):
    """The exit status of `command`; death by a signal is 128 + its number, as shells count."""
    reading, writing = open_channel(sys.stdout.isatty())
    with open(log_path, "wb") as log:
        child = subprocess.Popen(command, stdout=writing, stderr=writing)
        os.close(writing)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to the command too, which then ends as it likes
        signal.signal(signal.SIGTERM, lambda *_: child.terminate())
        for data in chunks(reading):
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            log.write(data.replace(b"\r\n", b"\n").replace(b"\r", b"\n"))
            log.flush()
    status = child.wait()
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], sys.argv[2:]))
