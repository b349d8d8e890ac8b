"""Runs the processes of a job: shows one's log, notices the first that fails, and then ends them all.

Each process leads a session of its own. So a signal to its process group also reaches what it has started,
and Ctrl-C at the terminal reaches only this launcher, which then ends the job in order.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time

from .commands import SCHEDULER

POLL_SECONDS = 0.1
# From the request to end to force. On ModelArts a rank copies its results in between, and on CPU it hears the
# request only when MindSpore has given up waiting for a dead rank, after 30 s.
TERM_SECONDS = 120
SCHEDULER_SECONDS = 5  # the ranks' own failure, which says more, may come after the scheduler's


def prepare(commands):
    """Make the log folders and empty logs, where the published launchers have them too."""
    for command in commands:
        os.makedirs(os.path.dirname(command.log), exist_ok=True)
        open(command.log, "wb").close()
        if command.is_rank:
            link_log(command)
        if command.environment_log:
            write_environment(command.environment_log, {**os.environ, **command.environment})


def link_log(command):
    """LOGN/log.txt, where the published launchers have the log of rank N, as a link to it. A file there, as
    of a published launcher, becomes log.txt.old.
    """
    folder = f"LOG{command.environment['RANK_ID']}"
    link = os.path.join(folder, "log.txt")
    os.makedirs(folder, exist_ok=True)
    if os.path.islink(link):
        os.remove(link)
    elif os.path.exists(link):
        os.replace(link, f"{link}.old")
    try:
        os.symlink(os.path.relpath(command.log, folder), link)
    except OSError as error:  # a file system without links
        print(f"warning: no {link}: {error.strerror}; the log is {command.log}", file=sys.stderr)


def write_environment(path, environment):
    """Write KEY=value lines that only this user can read: a shell may hold passwords."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.writelines(f"{key}={value}\n" for key, value in environment.items())


def show_new(log):
    """Copy to standard output what an open log file has got since the last call."""
    try:
        sys.stdout.buffer.write(log.read())
        sys.stdout.buffer.flush()
    except OSError:  # the reader has gone (`| head`); the job goes on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def how_it_ended(status):
    """Words for a `Popen.returncode`."""
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name} (signal {-status})"
    except ValueError:
        return f"was killed by signal {-status}"


def last_error(path):
    """The last line of a log that starts with "error:", or "". MindSpore may have the last word after it."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.path.getsize(path) - 4096))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line for line in reversed(lines) if line.startswith("error:")), "")


def write_fault(path):
    """Why a log takes no more, as a full disk: then its process could not say why it failed. "" where it
    does.
    """
    try:
        with open(path, "ab", buffering=0) as file:
            file.write(b"\n")
    except OSError as error:
        return error.strerror
    return ""


class Job:
    """The processes of one job.

    Args:
        commands (list): what to start; `prepare` has made its logs.
    """

    def __init__(self, commands):
        self.commands = {command.name: command for command in commands}
        self.ranks = [command.name for command in commands if command.is_rank]
        self.processes = {}  # name -> Popen
        self.ended = {}  # name -> returncode
        self.stopped_by = None  # a signal

    def run(self):
        """Start the job, wait for it and say what went wrong; returns the exit status."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup
                signal.signal(number, self.stop)
        with open(self.commands[self.ranks[0]].log, "rb") as log:
            try:
                self.start()
                failed = self.wait(log)
            finally:
                self.end()
                show_new(log)
        if self.stopped_by:
            name = signal.Signals(self.stopped_by).name
            print(f"error: stopped by {name}; all processes of the job have been ended", file=sys.stderr)
            return 128 + self.stopped_by
        if failed:
            print(f"error: {self.describe(failed)}", file=sys.stderr)
            status = self.ended[failed]
            return status if status > 0 else 128 - status
        return 0

    def stop(self, number, _):
        """Signal handler."""
        self.stopped_by = number

    def start(self):
        """Start every command."""
        for command in self.commands.values():
            with open(command.log, "ab") as log:
                self.processes[command.name] = subprocess.Popen(
                    command.arguments,
                    env={**os.environ, **command.environment},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )

    def wait(self, log):
        """Wait until all ranks have succeeded, one process has failed or a signal has come; shows the log.

        Returns:
            the name of the process that failed, or None.
        """
        while not self.stopped_by and not self.has_succeeded():
            failed = self.failed()
            if failed == SCHEDULER:
                self.wait_for_ends(SCHEDULER_SECONDS)
            if failed:
                break
            time.sleep(POLL_SECONDS)
            self.note_ends()
            show_new(log)
        return None if self.has_succeeded() else self.failed()

    def has_succeeded(self):
        """Whether every rank has; the scheduler is only their helper."""
        return all(self.ended.get(name) == 0 for name in self.ranks)

    def note_ends(self):
        """Note who has ended, and kill what it has left running."""
        for name, process in self.processes.items():
            if name not in self.ended and process.poll() is not None:
                self.ended[name] = process.returncode
                self.signal_group(name, signal.SIGKILL)  # now: later the number may be another group's

    def signal_group(self, name, number):
        """Send a signal to a process and all that it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.processes[name].pid, number)

    def wait_for_ends(self, seconds):
        """Wait for every process, but not longer than this; returns the names of those that run on."""
        limit = time.monotonic() + seconds
        while len(self.ended) < len(self.processes) and time.monotonic() < limit:
            time.sleep(POLL_SECONDS)
            self.note_ends()
        return [name for name in self.processes if name not in self.ended]

    def failed(self):
        """The process to blame, or None: a rank before the scheduler, and a killed one before those that then
        failed to reach it.
        """
        ranks = [name for name in self.ranks if self.ended.get(name)]
        killed = [name for name in ranks if self.ended[name] < 0]
        others = [name for name in self.ended if self.ended[name]]
        return next(iter(killed + ranks + others), None)

    def describe(self, name):
        """Who failed, how, where its log is, and its own error line."""
        path = os.path.abspath(self.commands[name].log)
        error = last_error(path)
        fault = "" if error else write_fault(path)
        said = f", which says '{error}'" if error else f", which takes no more: {fault}" if fault else ""
        return f"{name} {how_it_ended(self.ended[name])}, so the job has been ended; its log is {path}{said}"

    def end(self):
        """End what still runs: a request first, force after TERM_SECONDS."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for name in self.processes:
                if name not in self.ended:
                    self.signal_group(name, number)
            left = self.wait_for_ends(TERM_SECONDS)
        if left:
            print(f"warning: {', '.join(left)} cannot be killed and are left behind", file=sys.stderr)
