"""What `--help` and `--help_all` print, from the dataclass of a command alone."""

import functools
import re
import shutil
import textwrap
from dataclasses import dataclass, fields, is_dataclass
from typing import Literal, get_args, get_origin, get_type_hints

import docstring_parser

from src.settings import paths
from src.settings.groups import GROUPS, NEEDED, ORDER
from src.settings.types import Settings

FLAGS = ("-h", "--help", "--help_all")
_COLUMN = 36  # where explanations begin; a longer key pushes its own to the right
_PATHS = (*paths.DATA, *paths.CHECKPOINTS, *paths.OUTPUTS)
_LIKE_PATHS = (
    "_dir",
    "_path",
    "_file",
    "input",
    "output",
    "model",
    "config",
    "file",
    "augment",
    "_vectors",
)  # of other commands
_CHOICES = 60  # characters of the choices that a line names


@dataclass(frozen=True)
class Shown:
    """One setting as the help has it."""

    key: str
    """Dotted."""
    kind: object
    """Its type."""
    default: object
    says: str
    """What its docstring says, on one line."""
    group: str
    order: int
    """Its place among what one needs; the last for all other settings."""
    rare: bool


@functools.cache
def _docs(owner):
    """{field: docstring on one line} of a dataclass's own fields."""
    found = docstring_parser.parse_from_object(owner).params
    return {item.arg_name: " ".join(item.description.split()) for item in found if item.description}


def _owner(config_class, name):
    """The class that a field was declared in."""
    return next(owner for owner in config_class.__mro__ if name in vars(owner).get("__annotations__", {}))


def shown_of(
    config_class: type[Settings], default: object, prefix: str = "", group: str = "", rare: bool = False
) -> list[Shown]:
    """The `Shown` of every setting of `config_class`: a command's own before those it inherits.

    Args:
        default: an instance with the defaults. prefix: of the keys. group, rare: of the section that this is.
    """
    hints, places, found = get_type_hints(config_class), list(config_class.__mro__), []
    items = list(fields(config_class))
    if not prefix:
        items.sort(key=lambda item: places.index(_owner(config_class, item.name)))
    for item in items:
        owner, kind, marks = _owner(config_class, item.name), hints[item.name], item.metadata
        value, hidden = getattr(default, item.name), rare or marks.get("rare", False)
        title = group or marks.get("group", getattr(owner, "GROUP", NEEDED))
        if is_dataclass(kind):
            found += shown_of(hints[item.name], value, f"{prefix}{item.name}.", title, hidden)
        else:
            says, order = _docs(owner).get(item.name, ""), len(ORDER)
            if "needed" in marks and not hidden:
                title, order = NEEDED, marks["needed"]
            found.append(Shown(prefix + item.name, kind, value, says, title, order, hidden))
    return found


def _value(item):
    """The default as one would give it on a command line, or what is to be given."""
    if item.default in ("", None, ()) or (item.default is False and str in get_args(item.kind)):
        return _stands_for(item)
    if isinstance(item.default, tuple):
        return ",".join(map(str, item.default))
    return str(item.default).lower() if isinstance(item.default, bool) else f"{item.default}"


def _stands_for(item):
    """What the help writes for the value of a setting that has no default."""
    if get_origin(item.kind) is tuple:
        return "A,B"
    if _choices(item.kind) or item.kind is str or str in get_args(item.kind):
        return "PATH" if item.key in _PATHS or item.key.endswith(_LIKE_PATHS) else "TEXT"
    return "N"


def _choices(kind):
    """The words a setting takes, where it takes nothing else."""
    kinds = (
        [one for one in get_args(kind) if one is not type(None)] if type(None) in get_args(kind) else [kind]
    )
    return [str(choice) for one in kinds if get_origin(one) is Literal for choice in get_args(one)]


def _first_sentence(text):
    return re.split(r"(?<=[.])\s+(?=[A-Z0-9(])", text, maxsplit=1)[0]


def _line(item, width):
    """A setting in one line: key, default, what it is, and its choices where that does not name them."""
    start = f"  --{item.key} {_value(item)}".ljust(_COLUMN) + "  "
    room, sentence, choices = max(width - len(start), 30), _first_sentence(item.says), _choices(item.kind)
    words, listed = _fitted(sentence, room), "|".join(choices)
    if set(choices) <= set(re.findall(r"[\w.]+\b", words)) or len(listed) > _CHOICES:
        return start + words
    return start + _fitted(f"{listed}: {sentence}", room)


def _fitted(text, room):
    """As much of a sentence as fits into `room` characters: to a semicolon, else to a word."""
    end = text.rfind(";", 0, room)
    if len(text) > room and end > 0 and text.count("(", 0, end) == text.count(")", 0, end):
        return f"{text[:end].rstrip('.')}."
    return textwrap.shorten(text, room, placeholder=" ...")


def _paragraph(item, width):
    """A setting with all that there is to say of it."""
    head, choices = f"  --{item.key} {_value(item)}", _choices(item.kind)
    lines = textwrap.wrap(item.says, width - 6)
    if choices:
        lines += textwrap.wrap(f"One of {', '.join(choices)}.", width - 6)
    return "\n".join([head, *(" " * 6 + line for line in lines)])


def help_text(usual: Settings, script: str, everything: bool = False) -> str:
    """The help of a command.

    Args:
        usual: its settings by default, an instance of its dataclass. script: its file.
        everything: every setting with its whole explanation; else one line for each that is not rare.
    """
    width = max(80, min(shutil.get_terminal_size((118, 24)).columns, 118))
    items = shown_of(type(usual), usual)
    about = textwrap.fill(" ".join(str(usual.__doc__).split()), width)
    first = getattr(usual, "POSITIONAL", "").upper().removesuffix("S")
    parts = [
        f"usage: python {script} {f'{first} ...' if first else '--config_path FILE'} --KEY VALUE ...",
        about,
    ]
    for title in GROUPS:
        chosen = [item for item in items if item.group == title and (everything or not item.rare)]
        chosen.sort(key=lambda item: item.order)
        write = _paragraph if everything else _line
        if chosen:
            parts.append("\n".join([f"{title}:", *(write(item, width) for item in chosen)]))
    parts.append(textwrap.fill(_end(items, everything), width))
    return "\n\n".join(parts)


def _end(items, everything):
    left = sum(item.rare for item in items)
    more = f" --help_all explains every key at length{f', and {left} more' if left else ''}."
    return (
        "A value after a key is its default; PATH, TEXT, N and A,B (a list) stand where there is none."
        f"{'' if everything else more} Exit status: 0 done, 2 something that you can mend (the last line of "
        "standard error says what), 130 and 143 stopped, 1 a fault of ours."
    )
