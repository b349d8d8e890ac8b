"""What a user can mend is a `UserError`: one clear line on standard error and exit status 2, never a
traceback.
"""

import contextlib
import errno
import functools
import lzma
import os
import re
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class UserError(Exception):
    """Something the user gave us is wrong: the message names the file or key, the fault, and what would be
    right.
    """


LONGEST_MESSAGE, LONGEST_WORD = 2000, 300
"""Characters of the one line, and of a word of it; of a longer path the end, its file, stays."""


def one_line(message: object) -> str:
    """`message` with every run of white space, line breaks included, as one space, and no word longer than
    `LONGEST_WORD`: it may quote what the user gave through a library, which does not cut it.
    """
    return " ".join(shortened(word, LONGEST_WORD) for word in str(message).split())


def shown(value: object, most: int = 80) -> str:
    """What a user gave, as Python writes it, for a message: cut where it is long."""
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}..."


def listed(items: Iterable[object], most: int = 160) -> str:
    """Some texts with commas between them, for a message: cut where they are long."""
    text = ", ".join(map(str, items))
    return text if len(text) <= most else f"{text[:most]}..."


STANDS_FOR: dict[str, str] = {}
"""{path that this program made: the user's own that it leads to}, for messages."""


MADE_AHEAD: list[str] = []
"""Folders, outer ones first, that a command has made before it knew that it would write there; those that are
still empty at its end are removed."""


def shortened(text: str, most: int = LONGEST_MESSAGE) -> str:
    """`text` without its middle where it is longer than `most` characters."""
    if len(text) <= most:
        return text
    end = most // 4
    return f"{text[: most - end - 3]}...{text[-end:]}"


ZIP_FAULTS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OSError,
)
"""What Python and NumPy raise of a damaged zip, .npz files among them."""
# How writing to a file that is already open fails; the system then gives no path.
WRITE_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


def refused_path(error: OSError) -> str | None:
    """What an `OSError` of the user's machine was about, for the message; None for any other, which is a
    fault in the program.
    """
    if not error.strerror:
        return None
    if isinstance(error.filename, (str, bytes)):
        # Of a renaming the target: the source is a temporary name.
        return os.fsdecode(error.filename2 or error.filename)
    if error.errno in (errno.EPIPE, *WRITE_FAULTS) and stdout_is_gone():
        return "standard output"
    return "cannot write" if error.errno in WRITE_FAULTS else None


def stdout_is_gone() -> bool:
    """Whether standard output takes no more: its reader has ended (`| head`), or the disk it goes to is full.

    Python would try again as it ends, print a traceback and change the exit status, so what is left to write
    is let go.
    """
    try:
        sys.stdout.write("\n")  # with python -u nothing is left to flush, so only a write can tell
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def show_everything() -> None:
    """Let standard output and error show any path and text: what their encoding lacks is escaped.

    A batch system may set ASCII, and file names on old disks are bytes that no encoding has. What goes to a
    closed stream (`>&-`) is dropped.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def tell(line: str) -> None:
    """Print a line on standard error, if that takes one: on a full disk a log does not, and the exit status
    must say it.
    """
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def command(main: Callable[P, T]) -> Callable[P, T]:
    """Decorator of every entry script's `main`: what the user can mend ends the program with one line and
    exit status 2.

    That is a `UserError`, and an `OSError` about a path or about writing: no permission, a full disk, a
    read-only file system.
    """

    @functools.wraps(main)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        show_everything()
        try:
            with contextlib.redirect_stdout(sys.stdout):  # set back where main sends its talk elsewhere
                result = main(*args, **kwargs)
            sys.stdout.flush()  # a failure here is still told in one line
            return result
        except UserError as error:
            message = str(error)
        except OSError as error:
            path = refused_path(error)
            if path is None:
                raise
            message = f"{path}: {error.strerror}"
        except MemoryError as error:
            message = f"there is not enough memory: {error}" if str(error) else "out of memory"
        except KeyboardInterrupt:
            tell("stopped by the user")
            sys.exit(130)
        finally:
            while MADE_AHEAD:
                with contextlib.suppress(OSError):  # what was written there stays
                    os.rmdir(MADE_AHEAD.pop())
        for name, meant in STANDS_FOR.items():
            message = message.replace(name, meant)
        # A temporary name is gone, and means the file it would become.
        message = re.sub(r"\.writing-[a-z0-9_]{8}-\w*/", "", message)
        tell(f"error: {shortened(one_line(message))}")
        sys.exit(2)

    return run
