"""A command line in the form the parser takes: `--flag` alone means true, `--names a,b` and `--numbers 1,2`
are lists, a section's JSON is its keys, and nothing that is given twice is lost in silence.
"""

import json
from dataclasses import is_dataclass
from typing import get_origin

import yaml

from src.errors import UserError, one_line, shown
from src.settings.help import FLAGS
from src.settings.keys import Keys, Sorter, flat, is_boolean, tidy_value
from src.settings.published import left_aside, without_place
from src.settings.published_flags import with_quantizers
from src.settings.yaml_file import UniqueKeys

_WHERE = "command line"


class CommandLine:
    """Takes settings one by one.

    Args:
        keys: the command's. notices: takes lines for the user.
    """

    def __init__(self, keys: Keys, notices: list[str]):
        self.keys, self.notices = keys, notices
        self._given: dict[str, tuple[str, str]] = {}  # {today's key: (the key it was given as, its text)}

    def tidy(self, arguments: list[str]) -> list[str]:
        """`arguments`, as the user gave them, for the parser, each setting once.

        Raises:
            UserError: two spellings of one setting, a list or a settings file given twice, or a section that
                is none.
        """
        rest, bare, waiting = [], [], list(arguments)
        while waiting:
            argument = waiting.pop(0)
            name, equals, value = argument.removeprefix("--").partition("=")
            alone = not equals and (not waiting or waiting[0].startswith("--"))
            kind = self.keys.types.get(self.keys.today(name))
            if self.keys.positional and not argument.startswith("-"):
                bare.append(argument)
            elif not argument.startswith("--") or argument in FLAGS or (alone and not is_boolean(kind)):
                rest.append(argument)  # for the parser to serve, or to refuse as it is
            else:
                self._take(name, value if equals else "true" if alone else waiting.pop(0))
        if bare:
            self._add(self.keys.positional, self.keys.positional, json.dumps(bare))
        return [f"--{key}={text}" for key, (_, text) in self._given.items()] + rest

    def _take(self, name, value):
        key = self.keys.today(name, self.notices)
        kind = self.keys.types.get(key)
        if is_dataclass(kind):
            for inner, chosen in self._section(name, value).items():
                self._add(inner, inner, chosen if isinstance(chosen, str) else json.dumps(chosen))
        elif kind is None and without_place(name):
            left = left_aside(name, value, _WHERE)
            if left:
                self.notices.append(f"{_WHERE}: left aside: {left[0]} ({left[1]})")
        elif get_origin(kind) is tuple and not value.lstrip().startswith("["):
            # Quoted: a bare no would be YAML's false.
            self._add(key, name, json.dumps([item.strip() for item in value.split(",")]))
        else:
            self._add(key, name, tidy_value(value, kind))

    def _section(self, name, text):
        """{today's key: value} of a section's JSON."""
        try:
            section = yaml.load(text, UniqueKeys)
        except yaml.YAMLError as error:
            raise UserError(f"{_WHERE}: {name} is not valid JSON: {one_line(error)}") from error
        settings = with_quantizers(flat({name: section}, _WHERE), self.keys, _WHERE)
        return Sorter(self.keys, _WHERE, self.notices).own(settings)

    def _add(self, key, name, text):
        before, old = self._given.get(key, (name, text))
        if old != text:
            self._given_twice(key, before, name, old, text)
        self._given[key] = name, text

    def _given_twice(self, key, before, name, old, text):
        if before != name:
            raise UserError(
                f"{_WHERE}: {before} and {name} are two spellings of one setting; give only {key}"
            )
        if get_origin(self.keys.types.get(key)) is tuple:
            raise UserError(
                f"{_WHERE}: {key} is given twice; it is one list, so give it once, as --{key} a,b"
            )
        if key == "config_path":
            raise UserError(f"{_WHERE}: config_path is given twice, {old} and {text}; give one file")
        self.notices.append(
            f"{_WHERE}: {key} is given twice, {shown(old)} and {shown(text)}; the last one counts"
        )
