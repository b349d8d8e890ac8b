"""The one border where JSON comes in, whoever wrote it: `parse` bounds what a text may hold, `checked` holds
the value against a declared shape.

A shape is a `msgspec.Struct`, a dataclass or a type such as `Dict[str, int]`. msgspec does the checking: it
is small, needs nothing else, takes what Python's typing says literally (true is no number, "3" no 3) and
names the place of a fault. The texts themselves are read by Python's json: what this program wrote may hold
NaN and bytes of a path (lone surrogates), which msgspec's reader refuses.
"""

import json
import re
from collections.abc import Iterator
from itertools import accumulate
from typing import Annotated, Any, TypeVar, Union, overload

import msgspec

from src.errors import UserError, shown

T = TypeVar("T")

DEEPEST = 64
"""Lists and objects inside one another."""
LONGEST_NUMBER = 100
"""Characters. A number of 4,000 digits is one to Python, but no float and no integer of any library."""
MOST_BYTES = 64 << 20
"""Of a file that describes something; files of data have a limit of their own."""
MOST_DATA_BYTES = 4 << 30

Text = Annotated[str, msgspec.Meta(pattern=r"\A[^\ud800-\udfff]*\Z")]
"""Characters that UTF-8 can write; a path may have other bytes and is a plain str."""
Digits = Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{1,9}\Z")]
"""A number as a key."""
Digest = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
"""SHA-256."""
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Size = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
Scalar = Union[str, int, float, bool, None]

_LONG_NUMBER = re.compile(r"[0-9][0-9.eE+-]{%d}" % LONGEST_NUMBER)
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")
_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "array": "a list",
    "object": "an object of keys and values",
}


def parse(text: str | bytes) -> Any:
    """The value of a JSON text (str, or bytes in UTF-8).

    Raises:
        ValueError: it is none, or holds what no file of anybody's needs: deep nesting, numbers of hundreds of
            digits.
    """
    text = text.decode("utf-8-sig") if isinstance(text, bytes) else text
    # Counted before it is parsed: libraries raise Python's bound on recursion beyond what the stack holds.
    if text.count("[") + text.count("{") > DEEPEST and _depth(text) > DEEPEST:
        raise ValueError(f"lists and objects lie more than {DEEPEST} deep in one another")
    if _LONG_NUMBER.search(text):  # it may stand inside a text, where it is none
        return json.loads(text, parse_int=_whole, parse_float=_real)
    return json.loads(text)


def _whole(digits):
    return int(_short(digits))


def _real(digits):
    return float(_short(digits))


def _short(digits):
    if len(digits) > LONGEST_NUMBER:
        raise ValueError(f"a number has {len(digits):,} characters; at most {LONGEST_NUMBER} are read")
    return digits


def _depth(text):
    """How deep lists and objects lie in one another in a JSON text, or what begins as one."""
    steps = (1 if bracket in "[{" else -1 for bracket in _BRACKET.findall(_STRING.sub("", text)))
    return max(accumulate(steps), default=0)


def checked(value: object, shape: type[T], where: str) -> T:
    """A JSON value as a `shape` has it.

    Args:
        shape: a type, see above. where (str): the file, for the message.

    Raises:
        UserError: it has another shape; the message says which key, and what belongs there.
    """
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        raise UserError(f"{where}{_plain(str(error), value)}") from error
    except UnicodeEncodeError as error:  # in a key
        raise UserError(f"{where}: a key holds half a surrogate pair, which is no character") from error


def _plain(fault, value):
    """msgspec's message about a value as the end of a line that begins with the file."""
    fault, _, place = fault.partition(" - at `$")
    place = place.removeprefix(".").removesuffix("`")
    key = f": {shown(place, 200)[1:-1]}" if place else ""
    missing = re.fullmatch(r"Object missing required field `(.*)`", fault)
    if missing:
        return f"{key} lacks {missing[1]}"
    if "matching regex" in fault:
        kind = "digits" if "{1,9}" in fault else "a SHA-256" if "a-f" in fault else "UTF-8 text"
        return f"{key} must be {kind}"
    expected = re.fullmatch(r"Expected `(.*?)`(?: (>=|<=) (-?\d+)(?:\.0)?)?(?:, got `(.*)`)?", fault)
    if not expected:
        return f"{key}: {fault}"
    wanted = " or ".join(_WORDS.get(name, name) for name in expected[1].split(" | "))
    bound = {">=": " of at least ", "<=": " of at most "}.get(expected[2], "") + (expected[3] or "")
    found = _found(value, place, expected[4] and _WORDS.get(expected[4], expected[4]))
    return f"{key} must be {wanted}{bound}{found}"


def _found(value, place, kind):
    """What stands at a place, for the message: `, not 7`; its `kind` where that is long or hard to find."""
    for key, index in re.findall(r"([^.\[\]]+)|\[([^\]]*)\]", place):
        try:
            value = value[int(index)] if index else value[key]
        except (LookupError, TypeError, ValueError):  # some key of many, which msgspec does not name
            return f", not {kind}" if kind else ""
    return f", not {kind if kind and isinstance(value, (dict, list)) and len(value) > 3 else shown(value)}"


@overload
def read_json(path: str, what: str) -> dict[str, Any]: ...


@overload
def read_json(path: str, what: str, shape: type[T], most: int = MOST_BYTES) -> T: ...


def read_json(path: str, what: str, shape: Any = dict, most: int = MOST_BYTES) -> Any:
    """What the JSON file `path` holds, as a `shape` has it.

    Args:
        what (str): what messages call it. shape: as of `checked`; dict takes any object. most (int): bytes of
            the file.

    Raises:
        UserError: it is missing or too large, no JSON, or of another shape.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(most + 1)
        if len(content) > most:
            raise ValueError(f"it has more than {most:,} bytes")
        value = parse(content)
    except FileNotFoundError as error:
        raise UserError(f"{what} {path} does not exist") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{what} {path} cannot be read as JSON: {error}") from error
    return checked(value, shape, f"{what} {path}")


@overload
def read_lines(path: str, what: str) -> Iterator[dict[str, Any]]: ...


@overload
def read_lines(path: str, what: str, shape: type[T]) -> Iterator[T]: ...


def read_lines(path: str, what: str, shape: Any = dict) -> Iterator[Any]:
    """Yield what each line of a file of JSON lines holds, as a `shape` has it.

    Raises:
        UserError: the file is missing, or a line is no JSON or of another shape.
    """
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                where = f"{what} {path}, line {number}"
                try:
                    value = parse(line.rstrip(b"\r\n"))
                except ValueError as error:
                    raise UserError(f"{where} cannot be read as JSON: {error}") from error
                yield checked(value, shape, where)
    except FileNotFoundError as error:
        raise UserError(f"{what} {path} does not exist") from error
    except OSError as error:
        raise UserError(f"{what} {path} cannot be read: {error.strerror}") from error
