"""What the keys that a user gives a command mean: its own settings, old names of them, settings of other
commands, published ones that have no place here, or nothing.
"""

import difflib
import functools
import re
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from src.errors import UserError, shown
from src.settings.commands import COMMANDS
from src.settings.published import OLD_NAMES, either_gelu, left_aside, without_place
from src.settings.types import Settings

if TYPE_CHECKING:
    from src.settings.published_flags import Flag

_SURE = 0.85  # likeness of a misspelt key
_MOST = 3  # settings that a hint names
_BOOLEANS = {"true": "true", "false": "false"}


def types_of(config_class: type[Settings], prefix: str = "") -> dict[str, object]:
    """{dotted key: type} of every key of `config_class`, sections included."""
    hints: dict[str, Any] = get_type_hints(config_class)
    types: dict[str, object] = {}
    for item in fields(config_class):
        types[prefix + item.name] = hints[item.name]
        if is_dataclass(hints[item.name]):
            types.update(types_of(hints[item.name], prefix + item.name + "."))
    return types


def is_boolean(kind: object) -> bool:
    """Whether a setting's type takes true and false."""
    return kind is bool or bool in get_args(kind)


def tidy_value(value: Any, kind: object) -> Any:
    """A setting's value as its type reads it: booleans in any case, `mstype.float16` as `float16`; texts stay
    as they are.
    """
    if isinstance(value, str) and is_boolean(kind):
        return _BOOLEANS.get(value.lower(), value)
    if isinstance(value, str) and get_origin(kind) is Literal:
        return re.sub(r"^mstype\.", "", value)
    return value


class Keys:
    """The settings of a command and the names they are given by.

    Args:
        config_class: its dataclass. renames: whether old names count too.
    """

    def __init__(self, config_class: type[Settings], renames: bool = True):
        self.types = types_of(config_class)
        self.published: dict[str, Flag] = getattr(config_class, "PUBLISHED", {})
        self.positional = getattr(config_class, "POSITIONAL", "")  # the list of what stands without a key
        self.old = {**OLD_NAMES, **getattr(config_class, "OLD_NAMES", {})} if renames else {}

    @property
    def needed(self) -> list[str]:
        """Keys that cannot be null, those in sections left out."""
        kinds = self.types.items()
        return [key for key, kind in kinds if "." not in key and type(None) not in get_args(kind)]

    def today(self, key: str, notices: list[str] | None = None) -> str:
        """A dotted key as it is called today; other names in it are added to `notices`."""
        while True:
            old = next((old for old in self.old if key == old or key.startswith(old + ".")), None)
            if old is None:
                return key
            if notices is not None:
                notices.append(f"{old} is read as {self.old[old]}")
            key = self.old[old] + key[len(old) :]

    def unknown(self, key: str, where: str, others: Iterable[str] = ()) -> UserError:
        """The `UserError` for a key that means nothing.

        Args:
            others: keys to suggest beside this command's own.
        """
        known, last = list(self.types), key.rpartition(".")[2]
        # A checkpoint says its own network: of two networks the student's is meant.
        known.sort(key=lambda name: "teacher" in name)
        parts = {name.rpartition(".")[2]: name for name in reversed(known)}
        close = (
            difflib.get_close_matches(key, known, 1, _SURE)
            or self._in_sections(known, key)
            or [parts[part] for part in difflib.get_close_matches(key, parts, 1, _SURE)]
            or difflib.get_close_matches(key, others, 1, _SURE)
            or [name for name in known if name.endswith(f"_{key}")][:_MOST]
            or difflib.get_close_matches(key, known, 1)
            or [parts[part] for part in difflib.get_close_matches(last, parts, 1)]
        )
        hint = f"; did you mean {' or '.join(close)}?" if close else "; --help_all lists the known ones"
        return UserError(f"{where}: unknown setting {shown(key)}{hint}")

    @staticmethod
    def _in_sections(known, key):
        """The settings that sections have under a key; a teacher's only where no other section has it."""
        found = [name for name in known if name.endswith(f".{key}")]
        return [name for name in found if "teacher" not in name][:_MOST] or found


@functools.cache
def _of_commands():
    """The `Keys` of every command."""
    return tuple(Keys(command) for command in COMMANDS)


def _elsewhere(name):
    """Whether a key is a setting of any command."""
    top = name.partition(".")[0]
    return any(
        keys.today(name) in keys.types or (keys.today(top) in keys.types and without_place(name))
        for keys in _of_commands()
    )


def flat(settings: dict[Any, Any], where: str, prefix: str = "") -> dict[str, Any]:
    """{dotted key: value} of a file's nested ones; an empty section is a key without a value.

    Raises:
        UserError: a key stands there dotted and inside its section.
    """
    keys: dict[str, Any] = {}
    for name, value in settings.items():
        key = f"{prefix}{name}"
        found = flat(value, where, f"{key}.") if isinstance(value, dict) and value else {key: value}
        for twice in found.keys() & keys.keys():
            section = twice.rpartition(".")[0]
            raise UserError(f"{where}: {twice} stands there twice, inside the section {section} too")
        keys.update(found)
    return keys


def nested(settings: dict[str, Any]) -> dict[str, Any]:
    """What `flat` was made from."""
    whole: dict[str, Any] = {}
    for key, value in settings.items():
        *sections, name = key.split(".")
        place = whole
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    return whole


class Sorter:
    """Sorts a file's keys into those of one command and those that it leaves aside.

    Args:
        keys: the command's. where: the file or "command line", for messages. notices: takes lines for the
            user. shared: whether the file may hold what is of other commands or has no place here.
    """

    def __init__(self, keys: Keys, where: str, notices: list[str], shared: bool = True):
        self.keys, self.where, self.notices, self.shared = keys, where, notices, shared
        self._given: dict[str, str] = {}  # {today's key: as it is given}
        self._others: dict[str, list[str]] = {}  # {the first part of a key: keys} of other commands
        self._without: dict[str, str] = {}  # {key: why it has no place}

    def own(self, settings: dict[str, Any]) -> dict[str, Any]:
        """{today's key: tidy value} of `settings` ({dotted key: value}); what is left aside is said in one
        line.

        Raises:
            UserError: a key that no command knows, two values for one setting, a value where a section is
                meant, or the other way round, or a key without a value.
        """
        unclear = either_gelu(settings) if self.shared else ()
        own: dict[str, Any] = {}
        for name, value in settings.items():
            key = self.keys.today(name)
            if key not in self.keys.types:
                self._leave(name, value)
            elif name in unclear:
                self._without[name] = "gelu is either form in published code; the checkpoint's own counts"
            elif value not in (None, {}) or not (is_dataclass(self.keys.types[key]) or name != key):
                self._add(own, key, name, value)  # else: the defaults
        self._say()
        return own

    def _add(self, own, key, name, value):
        kind = self.keys.types[key]
        if is_dataclass(kind):
            raise UserError(
                f"{self.where}: {key} is a section: it must hold keys and values, not {shown(value)}"
            )
        if isinstance(value, dict):
            raise self._no_section(key)
        if value is None and type(None) not in get_args(kind):
            raise UserError(
                f"{self.where}: {key} has no value; give it one, or remove the key to use its default"
            )
        value = tidy_value(value, kind)
        if key in own and own[key] != value:
            both = f"{self._given[key]} and {name}"
            raise UserError(f"{self.where}: {both} are two spellings of one setting; give only {key}")
        self.keys.today(name, self.notices)
        own[key], self._given[key] = value, name

    def _leave(self, name, value):
        """Take note of a key that is none of the command's own."""
        top = name.partition(".")[0]
        if self.shared and self.keys.today(top) not in self.keys.types and _elsewhere(name):
            self._others.setdefault(top, []).append(name)
        elif self.shared and without_place(name):
            left = left_aside(name, value, self.where)
            if left:
                self._without[left[0]] = left[1]
        else:
            raise self._unknown(name)

    def _unknown(self, name):
        parts = name.split(".")
        for end in range(1, len(parts)):
            above = self.keys.today(".".join(parts[:end]))
            if above in self.keys.types and not is_dataclass(self.keys.types[above]):
                return self._no_section(above)
        others = {key for keys in _of_commands() for key in keys.types} if self.shared else ()
        return self.keys.unknown(name, self.where, others)

    def _no_section(self, key):
        return UserError(
            f"{self.where}: {key} is one setting, not a section: it must hold a value, not keys and values"
        )

    def _say(self):
        """One line that names what is left aside: a section as a whole where nothing of it was read."""
        read = {name.partition(".")[0] for name in self._given.values()}
        others = [name for top, names in self._others.items() for name in (names if top in read else [top])]
        reasons = {"of other commands": others} if others else {}
        for name, why in self._without.items():
            reasons.setdefault(why, []).append(name)
        if reasons:
            parts = [f"{', '.join(names)} ({why})" for why, names in reasons.items()]
            self.notices.append(f"{self.where}: left aside: {'; '.join(parts + self._hints(others))}")

    def _hints(self, others):
        """Of settings left aside by themselves that this command has in a section of its own."""
        inside = {name: [key for key in self.keys.types if key.endswith("." + name)] for name in others}
        return [f"for {name}, did you mean {' or '.join(keys)}?" for name, keys in inside.items() if keys]
