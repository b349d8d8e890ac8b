"""Settings from a YAML file and the command line.

A YAML file lists only what differs from the defaults; the command line overrides any key, nested ones with
dots (`--phase1_cfg.batch_size 16`). Precedence: command line, then the YAML of `--config_path`, then a
preset's values, then the defaults. Keys of other commands in a YAML file are left aside, which is said;
unknown keys raise.
"""

import contextlib
import functools
import os
import re
import sys
from dataclasses import asdict, fields, replace
from typing import Any

import yaml
from jsonargparse import ArgumentParser, Namespace, set_parsing_settings

from src.errors import UserError, command, one_line, shown
from src.json_file import LONGEST_NUMBER
from src.settings.command_line import CommandLine
from src.settings.commands import SCRIPTS
from src.settings.help import FLAGS, help_text
from src.settings.keys import Keys, Sorter, flat, nested
from src.settings.published_flags import translated
from src.settings.types import AnySettings, Settings
from src.settings.yaml_file import found_config, read_yaml
from src.terminal import only_results

set_parsing_settings(docstring_parse_attribute_docstrings=True)


@functools.cache  # it takes long to make, and is not changed by what it reads
def _parser(config_class):
    """(parser, defaults). It reads what is given alone: with defaults it checks all of them each time."""
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False, add_help=False)
    parser.add_class_arguments(config_class, nested_key=None, instantiate=False)
    return parser, parser.parse_args([])


def _instantiated(config_class, *layers):
    """{field: value} of the defaults and what the parser read; the last layer counts."""
    parser, defaults = _parser(config_class)
    values = defaults.clone()
    for layer in layers:
        values.update(layer)
    return vars(parser.instantiate(values))


_LONG_NUMBER = re.compile(
    rf"(--\w[\w.]*=)?(?=.{{{LONGEST_NUMBER + 1}}})[-+]?(0b[01_]+|0x[0-9a-f_]+|[0-9_.eE+-]+)"
)
_NOT = r"(?:\. Got value:|, not) ?"
_UNION = r"Does not validate against any of the Union subtypes .*? Errors: - "
_TYPES = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "tuple": "a list, as [a, b]",
}
# What jsonargparse says, in plain words; in order. The first two are its messages for an Optional type and
# for a word beside true and false. The last ones show an empty text, and cut a long one.
_PLAIN_WORDS = tuple(
    (re.compile(pattern), plain)
    for pattern, plain in (
        (_UNION + r"(.*?)(?:: '[^']*')? - Expected a <class 'NoneType'>.* Given value: ?(.*)", r"\1, not \2"),
        (
            _UNION
            + r"Expected a <class 'bool'>.*? - Expected a typing\.Literal\[(.*?)\].* Given value: ?(.*)",
            r"must be true, false or \1, not \2",
        ),
        (r"Not of type \w+: (\S+) does not conform to restriction ([^;:]*)", r"must be \2, not \1"),
        (r"Not of type \w+: does not conform to restriction ", "must be "),
        (
            r"Not of type \w+: (?:invalid literal for int\(\) with base 10|not an integer|"
            r"int\(\) argument .*?)(?:: |, not )",
            "must be a whole number, not ",
        ),
        (
            r"Not of type \w+: (?:could not convert string to float|float\(\) argument .*?)(?:: |, not )",
            "must be a number, not ",
        ),
        (r"\bv([<>]=?)", r"\1 "),
        (r"\bv==", ""),
        (rf"Expected a typing\.Literal\[(.*?)\]{_NOT}", r"must be one of \1, not "),
        *(
            (rf"Expected a <class '{name}'>{_NOT}", f"must be {words}, not ")
            for name, words in _TYPES.items()
        ),
        (r", not $", ", not ''"),
        (r"(, not .{80}).+", r"\1..."),
    )
)


def _readable(error, keys):
    """jsonargparse's message as one line that starts with the key."""
    text = one_line(error)
    for pattern, plain in _PLAIN_WORDS:
        text = pattern.sub(plain, text)
    unknown = re.search(r"(?:Unrecognized arguments:|unrecognized arguments:)\s*--([\w.]+)", text)
    if unknown:
        return keys.unknown(unknown.group(1), "command line", keys.published)
    key = re.search(r"""[Pp]arser key ["']([\w.]+)["']:?\s*(.*)""", text)
    if key:
        return UserError(f"{key.group(1)}: {key.group(2)}")
    return UserError(text)


def _parse_file(parser, settings, path, keys):
    try:
        return parser.parse_object(settings, defaults=False)
    except Exception as error:
        raise UserError(f"{path}: {_readable(error, keys)}") from error


def from_json(
    config_class: type[AnySettings], values: object, where: str, complete: bool = False
) -> AnySettings:
    """A `config_class` from the keys and values of a JSON file.

    Args:
        values: a dict, checked as a YAML file's. where: the file, for messages. complete: whether every key
            must be there that cannot be null.

    Raises:
        UserError: no dict, an unknown or missing key, a value of the wrong type or outside its range.
    """
    if not isinstance(values, dict):
        raise UserError(f"{where} must hold keys and values, not {shown(values)}")
    keys = Keys(config_class, renames=False)
    absent = [name for name in keys.needed if name not in values]
    if complete and absent:
        raise UserError(f"{where} lacks {', '.join(absent)}")
    parser, _ = _parser(config_class)
    own = nested(Sorter(keys, where, [], shared=False).own(flat(values, where)))
    try:
        return config_class(**_instantiated(config_class, _parse_file(parser, own, where, keys)))
    except UserError as error:
        raise UserError(str(error) if str(error).startswith(where) else f"{where}: {error}") from error


def parse(
    config_class: type[AnySettings], arguments: list[str] | None = None, script: str | None = None
) -> tuple[AnySettings, list[str]]:
    """The settings of one run.

    Args:
        config_class: a command's dataclass. arguments: the command line without the program's name.
            Default: `sys.argv[1:]`. script: the program's name for `--help`.

    Returns:
        (settings, notices): a frozen instance of `config_class`, and lines that the program should print.

    Raises:
        UserError: an unknown key, a value of the wrong type or outside its range, or an unreadable YAML file.
    """
    keys = Keys(config_class)
    notices: list[str] = []
    arguments = sys.argv[1:] if arguments is None else arguments
    _check_numbers(arguments)
    arguments = CommandLine(keys, notices).tidy(translated(arguments, keys, notices))
    script = script or os.path.basename(sys.argv[0])
    if asked := set(FLAGS).intersection(arguments):
        print(help_text(parse(config_class, [])[0], script, everything="--help_all" in asked))
        sys.exit(0)
    parser, defaults = _parser(config_class)
    try:
        given = parser.parse_args(arguments, defaults=False)
        file, layers = Namespace(), []
        if path := given.get("config_path"):
            path = found_config(path, notices)
            file = _parse_file(parser, read_yaml(path, keys, notices), path, keys)
        # A preset's values count less than the file's own.
        for key, presets in getattr(config_class, "PRESETS", {}).items():
            chosen = given.get(key, file.get(key, defaults[key]))
            if file.get(key, chosen) != chosen:  # what the file adds was meant for its own preset
                left_out = [name for name in presets[file[key]] if file.pop(name, None)]
                notices.extend(
                    f"{name} of {path} is left out: it is for {key} {file[key]}, not {chosen}"
                    for name in left_out
                )
            layers.append(parser.parse_object(presets[chosen], defaults=False))
        settings = _instantiated(config_class, *layers, file, given)
    except UserError:
        raise
    except Exception as error:  # jsonargparse raises several kinds, all about the user's input
        raise _readable(error, keys) from error
    return _with_task_version(config_class(**settings)), list(dict.fromkeys(notices))


def _check_numbers(arguments):
    """Python itself takes seconds for numbers that long."""
    for word in arguments:
        if _LONG_NUMBER.fullmatch(word):
            raise UserError(f"a number of {len(word):,} characters is given: {shown(word)}")


@command
def answer_help(command_line: list[str]) -> None:
    """Print the help that an entry script is asked for, and exit; of any other program do nothing.

    Args:
        command_line: as `sys.argv`.
    """
    path, *arguments = command_line
    config_class = SCRIPTS.get(os.path.basename(path).removesuffix(".py"))
    if config_class:
        with contextlib.suppress(UserError):  # which the program itself will tell
            parse(config_class, arguments)


def _with_task_version(settings):
    """`settings` with the task that version_2_with_negative, the official scripts' word, means."""
    if not getattr(settings, "version_2_with_negative", False):
        return settings
    if settings.task_name.strip().lower() not in ("", "squad", "squad2"):
        raise UserError(f"version_2_with_negative: it is for task_name squad, not {settings.task_name}")
    return replace(settings, task_name="SQuAD2")


def read_settings(config_class: type[AnySettings]) -> AnySettings:
    """The settings of a program's run, from its command line; prints what there is to note about them, and
    keeps standard output for results where `json` is true. Raises as `parse` does.
    """
    settings, notices = parse(config_class)
    if getattr(settings, "json", False):
        only_results()
    for notice in notices:
        print(notice, flush=True)
    return settings


def required(settings: Settings, *names: str) -> None:
    """A `UserError` naming the first of `names` that is empty."""
    for name in names:
        if not getattr(settings, name):
            raise UserError(
                f"{name} is needed: give --{name} or set it in the YAML file; --help_all explains it"
            )


def to_yaml(settings: Settings) -> str:
    """The settings as YAML that `parse` reads back."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(item) for item in value]
        # Jsonargparse's range-checked numbers are subclasses that YAML does not know.
        for kind in (bool, int, float):
            if isinstance(value, kind):
                return kind(value)
        return value

    return yaml.safe_dump(plain(asdict(settings)), sort_keys=False, allow_unicode=True)


def part(settings: Settings, config_class: type[AnySettings]) -> AnySettings:
    """The fields of `config_class`, one of the dataclasses that `settings` inherits from, and no others."""
    return config_class(**{item.name: getattr(settings, item.name) for item in fields(config_class)})
