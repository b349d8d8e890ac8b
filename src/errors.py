"""What a user can mend is a `UserError`: one clear line on standard error and exit status 2, never a traceback."""
import functools
import sys


class UserError(Exception):
    """Something the user gave us is wrong: the message names the file or key, the fault, and what would be right."""


def one_line(message):
    """`message` with every run of white space, line breaks included, as one space."""
    return " ".join(str(message).split())


def command(main):
    """Decorator of every entry script's `main`: a `UserError` ends the program with one line and exit status 2."""
    @functools.wraps(main)
    def run(*args, **kwargs):
        try:
            return main(*args, **kwargs)
        except UserError as error:
            print(f"error: {one_line(error)}", file=sys.stderr, flush=True)
            sys.exit(2)
        except KeyboardInterrupt:
            print("stopped by the user", file=sys.stderr, flush=True)
            sys.exit(130)
    return run
