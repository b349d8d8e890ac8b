"""What a user can mend is a `UserError`: one clear line on standard error and exit status 2, never a
traceback.
"""

import errno
import functools
import io
import os
import re
import sys
import traceback


class UserError(Exception):
    """Something the user gave us is wrong: the message names the file or key, the fault, and what would be
    right.
    """


def one_line(message):
    """`message` with every run of white space, line breaks included, as one space."""
    return " ".join(str(message).split())


# How writing to a file that is already open fails; the system then gives no path.
_WRITE_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


def refused_path(error):
    """What an `OSError` of the user's machine was about, for the message; None for any other, which is a
    fault in the program.
    """
    if not error.strerror:
        return None
    if isinstance(error.filename, (str, bytes)):
        return os.fsdecode(
            error.filename2 or error.filename
        )  # of a renaming the target: the source is a temporary name
    if error.errno in (errno.EPIPE, *_WRITE_FAULTS) and stdout_is_gone():
        return "standard output"
    if error.errno not in _WRITE_FAULTS:
        return None
    for frame, _ in reversed(
        list(traceback.walk_tb(error.__traceback__))
    ):  # whoever wrote holds the open file, or its object does
        own = getattr(frame.f_locals.get("self"), "__dict__", {})
        for value in (*frame.f_locals.values(), *own.values()):
            if isinstance(value, io.IOBase) and isinstance(getattr(value, "name", None), str):
                if set(str(getattr(value, "mode", ""))) & set("wax+"):
                    return value.name
    return "cannot write"


def stdout_is_gone():
    """Whether standard output takes no more: its reader has ended (`| head`), or the disk it goes to is full.

    Python would try again as it ends, print a traceback and change the exit status, so what is left to write
    is let go.
    """
    try:
        sys.stdout.write(
            "\n"
        )  # without a buffer (python -u) nothing is left to flush, so that only a write can tell
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def command(main):
    """Decorator of every entry script's `main`: what the user can mend ends the program with one line and
    exit status 2.

    That is a `UserError`, and an `OSError` about a path or about writing: no permission, a full disk, a
    read-only file system.
    """

    @functools.wraps(main)
    def run(*args, **kwargs):
        try:
            result = main(*args, **kwargs)
            sys.stdout.flush()  # a failure here is still told in one line
            return result
        except UserError as error:
            message = one_line(error)
        except OSError as error:
            path = refused_path(error)
            if path is None:
                raise
            message = one_line(f"{path}: {error.strerror}")
        except KeyboardInterrupt:
            print("stopped by the user", file=sys.stderr, flush=True)
            sys.exit(130)
        message = re.sub(
            r"\.writing-\w{8}-", "", message
        )  # of a temporary name: it is gone, and means the file it would become
        print(f"error: {message}", file=sys.stderr, flush=True)
        sys.exit(2)

    return run
