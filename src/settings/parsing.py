"""Settings from a YAML file and the command line.

A YAML file lists only what differs from the defaults; the command line overrides any key, nested ones with
dots (`--phase1_cfg.batch_size 16`). Precedence: command line, then the YAML of `--config_path`, then the
defaults. Unknown keys raise.
"""

import difflib
import json
import os
import re
import sys
from dataclasses import asdict, fields, is_dataclass, replace
from typing import Literal, get_args, get_origin, get_type_hints

import yaml
from jsonargparse import ArgumentParser, Namespace, set_parsing_settings

from src.errors import UserError, one_line
from src.files import ROOT
from src.settings.published_flags import translated

set_parsing_settings(docstring_parse_attribute_docstrings=True)


_OLD_NAMES = {
    "save_checkpoint_step": "save_ckpt_step",
    "save_checkpoint_steps": "save_ckpt_step",
    "save_ckpt_steps": "save_ckpt_step",
    "load_student_ckpt_path": "load_gd_ckpt_path",
    "max_checkpoint_num": "max_ckpt_num",
    "td_phase1_epoch": "td_phase1_epoch_size",
    "td_phase2_epoch": "td_phase2_epoch_size",
    "common_cfg": "gd_cfg",
    "bert_teacher_net_cfg": "gd_teacher_net_cfg",
    "bert_student_net_cfg": "gd_student_net_cfg",
    "input_bits": "quant_cfg.activation_bits",
    "activation_init": "quant_cfg.activation_clip_value",
}
_BOOLEANS = {"true": "true", "false": "false"}


def _new_name(key, notices, given, where):
    """`key` with an old spelling of its first or only part replaced, which is added to `notices`.

    Args:
        given (dict): {present name: the key it was given as} of the keys before this one; this one is added.
        where (str): the file or "command line", for the error.

    Raises:
        UserError: the setting was given before under another spelling; which one is meant cannot be known.
    """
    head, dot, rest = key.partition(".")
    name = _OLD_NAMES.get(head, head) + dot + rest
    if given.setdefault(name, key) != key:
        raise UserError(
            f"{where}: {given[name]} and {key} are two spellings of one setting; give only {name}"
        )
    if head in _OLD_NAMES:
        notices.append(f"{head} is an old spelling of {_OLD_NAMES[head]}")
    return name


def _tidy_value(value, kind):
    """A setting's value as its type reads it: booleans in any case, `mstype.float16` as `float16`; texts stay
    as they are.
    """
    if isinstance(value, str) and (kind is bool or bool in get_args(kind)):
        return _BOOLEANS.get(value.lower(), value)
    if isinstance(value, str) and get_origin(kind) is Literal:
        return re.sub(r"^mstype\.", "", value)
    return value


def _tidy_arguments(arguments, notices, config_class):
    """The command line in the form the parser takes: `--flag` alone means true, `--names a,b` and `--numbers
    1,2` are lists.
    """
    types, given, tidy, key = _types(config_class), {}, [], ""
    for position, argument in enumerate(arguments):
        if argument.startswith("--"):
            key, equals, value = argument[2:].partition("=")
            key = _new_name(key, notices, given, "command line")
            kind = types.get(key)
            alone = not equals and (
                position + 1 == len(arguments) or arguments[position + 1].startswith("--")
            )
            if alone and (kind is bool or bool in get_args(kind)):
                equals, value = "=", "true"
            tidy.append(
                "--" + key + equals + (_tidy_argument(value, key, kind, config_class) if equals else "")
            )
        else:
            tidy.append(_tidy_argument(argument, key, types.get(key), config_class))
            key = ""  # it has its value; what follows without a key is for the parser to refuse as it is
    return tidy


def _tidy_argument(value, key, kind, config_class):
    if is_dataclass(kind):  # a whole section, as JSON
        try:
            _checked({key: yaml.load(value, _UniqueKeys)}, config_class, "command line")
        except yaml.YAMLError as error:
            raise UserError(f"command line: {key} is not valid JSON: {one_line(error)}") from error
        return value
    if get_origin(kind) is tuple and not value.lstrip().startswith("["):
        # Quoted: a bare no would be YAML's false.
        return json.dumps([item.strip() for item in value.split(",")])
    return _tidy_value(value, kind)


def _types(config_class, prefix=""):
    """{dotted key: type} of every key of `config_class`, sections included."""
    hints, types = get_type_hints(config_class), {}
    for item in fields(config_class):
        types[prefix + item.name] = hints[item.name]
        if is_dataclass(hints[item.name]):
            types.update(_types(hints[item.name], prefix + item.name + "."))
    return types


def _unknown_key(key, config_class, where):
    known = [*_types(config_class), *getattr(config_class, "PUBLISHED", ())]
    last_parts = {name.rpartition(".")[2]: name for name in reversed(known)}
    close = (
        difflib.get_close_matches(key, known, n=1)
        or [name for name in known if name.endswith("." + key)][:1]
        or [last_parts[part] for part in difflib.get_close_matches(key.rpartition(".")[2], last_parts, n=1)]
    )
    hint = f"; did you mean {close[0]}?" if close else "; --help lists the known ones"
    return UserError(f"{where}: unknown setting '{key}'{hint}")


def _nested(settings, types, where, prefix):
    """`settings` with its dotted keys inside their sections; the parser would drop either where a file has
    both.
    """
    nested = dict(settings)
    for name in settings:
        section, dot, rest = str(name).partition(".")
        inside = {} if nested.get(section) is None else nested[section]
        if not dot or not is_dataclass(types.get(f"{prefix}{section}")) or not isinstance(inside, dict):
            continue  # what is wrong with these is told later
        if rest in inside:
            raise UserError(
                f"{where}: {prefix}{name} stands there twice, inside the section {prefix}{section} too"
            )
        nested[section] = {**inside, rest: nested.pop(name)}
    return nested


def _checked(settings, config_class, where, prefix=""):
    """A YAML file's `settings`, their values tidy, without its empty sections, whose defaults count.

    The parser lets a section that is no section and an empty value pass, so both are refused here.
    """
    types, checked = _types(config_class), {}
    for name, value in _nested(settings, types, where, prefix).items():
        key = f"{prefix}{name}"
        if key not in types:
            raise _unknown_key(key, config_class, where)
        if is_dataclass(types[key]):
            if value is None:
                continue
            if not isinstance(value, dict):
                raise UserError(f"{where}: {key} is a section: it must hold keys and values, not {value!r}")
            value = _checked(value, config_class, where, key + ".")
        elif isinstance(value, dict):
            raise UserError(
                f"{where}: {key} is one setting, not a section: it must hold a value, not keys and values"
            )
        elif value is None and type(None) not in get_args(types[key]):
            raise UserError(f"{where}: {key} has no value; give it one, or remove the key to use its default")
        checked[name] = _tidy_value(value, types[key])
    return checked


def _found_config(path, notices):
    """The file that `config_path` names: `path` itself or, where that does not exist, the one below this
    repository's root.

    A job on ModelArts starts in another folder, and the published job pages count from src/model_utils
    (`../../gd_config.yaml`), so leading `..` are dropped: whatever folder of the repository a path counted
    from, that leads to its root.
    """
    below = re.sub(r"^(\.\./)+", "", os.path.normpath(path))
    found = os.path.join(ROOT, below)  # of an absolute path: the path itself
    if os.path.exists(path) or not os.path.isfile(found):
        return path
    notices.append(f"config_path: {path} is read from {found}")
    return found


class _UniqueKeys(yaml.SafeLoader):
    """Safe YAML in which a key stands once; PyYAML itself lets the last one win."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value} stands there twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path, config_class, notices):
    """The settings in a YAML file, keys checked against `config_class`.

    The published files hold three documents (settings, help, choices): the first one counts, and `notices`
    says so.
    """
    try:
        with open(path, encoding="utf-8") as file:
            documents = list(yaml.load_all(file, _UniqueKeys))
    except OSError as error:
        raise UserError(f"config_path: cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"config_path: {path} is not UTF-8 text") from error
    except yaml.YAMLError as error:
        raise UserError(f"config_path: {path} is not valid YAML: {one_line(error)}") from error
    if len(documents) > 1:
        notices.append(f"{path} holds {len(documents)} YAML documents; only the first one counts")
    settings = documents[0] if documents and documents[0] is not None else {}
    if not isinstance(settings, dict):
        raise UserError(f"config_path: {path} must hold keys and values, not {type(settings).__name__}")
    given = {}
    settings = {_new_name(str(key), notices, given, path): value for key, value in settings.items()}
    return _checked(settings, config_class, path)


def _parser(config_class, script):
    parser = ArgumentParser(
        prog=script, exit_on_error=False, allow_abbrev=False, description=config_class.__doc__.strip()
    )
    parser.add_class_arguments(config_class, nested_key=None, instantiate=False)
    return parser


# What jsonargparse says, in plain words; in order. The first is its message for an Optional type.
_PLAIN_WORDS = tuple(
    (re.compile(pattern), plain)
    for pattern, plain in (
        (
            r"Does not validate against any of the Union subtypes .*? Errors: - (.*?)(?:: '[^']*')? - "
            r"Expected a <class 'NoneType'>.* Given value: (.*)",
            r"\1, not \2",
        ),
        (r"Not of type \w+: (\S+) does not conform to restriction ([^;:]*)", r"must be \2, not \1"),
        (r"Not of type \w+: does not conform to restriction ", "must be "),
        (
            r"Not of type \w+: (?:invalid literal for int\(\) with base 10|not an integer)(?:: |, not )",
            "must be a whole number, not ",
        ),
        (r"Not of type \w+: could not convert string to float(?:: |, not )", "must be a number, not "),
        (r"\bv([<>]=?)", r"\1 "),
        (r"\bv==", ""),
        (r"Expected a <class 'tuple'>\. Got value: ", "must be a list, as [a, b], not "),
    )
)


def _readable(error, config_class):
    """jsonargparse's message as one line that starts with the key."""
    text = one_line(error)
    for pattern, plain in _PLAIN_WORDS:
        text = pattern.sub(plain, text)
    unknown = re.search(r"(?:Unrecognized arguments:|unrecognized arguments:)\s*--([\w.]+)", text)
    if unknown:
        return _unknown_key(unknown.group(1), config_class, "command line")
    key = re.search(r"""[Pp]arser key ["']([\w.]+)["']:?\s*(.*)""", text)
    if key:
        return UserError(f"{key.group(1)}: {key.group(2)}")
    return UserError(text)


def _parse_file(parser, settings, path, config_class):
    try:
        return parser.parse_object(settings)
    except Exception as error:
        raise UserError(f"{path}: {_readable(error, config_class)}") from error


def from_json(config_class, values, where, complete=False):
    """A `config_class` from the keys and values of a JSON file.

    Args:
        values (dict): checked as a YAML file's. where (str): the file, for messages. complete (bool): whether
            every key must be there.

    Raises:
        UserError: no dict, an unknown or missing key, a value of the wrong type or outside its range.
    """
    if not isinstance(values, dict):
        raise UserError(f"{where} must hold keys and values, not {values!r}")
    absent = [item.name for item in fields(config_class) if item.name not in values]
    if complete and absent:
        raise UserError(f"{where} lacks {', '.join(absent)}")
    parser = _parser(config_class, "")
    try:
        return config_class(
            **vars(
                parser.instantiate(
                    _parse_file(parser, _checked(values, config_class, where), where, config_class)
                )
            )
        )
    except UserError as error:
        raise UserError(str(error) if str(error).startswith(where) else f"{where}: {error}") from error


def _merged(below, above):
    """Two nested dicts as one; `above` wins."""
    both = {**below, **above}
    return {
        key: _merged(below[key], value)
        if isinstance(value, dict) and isinstance(below.get(key), dict)
        else value
        for key, value in both.items()
    }


def parse(config_class, arguments=None, script=None):
    """The settings of one run.

    Args:
        config_class: one of the dataclasses of `src/settings`.
        arguments (list of str): the command line without the program's name. Default: `sys.argv[1:]`.
        script (str): the program's name for `--help`.

    Returns:
        (settings, notices): a frozen instance of `config_class`, and lines that the program should print.

    Raises:
        UserError: an unknown key, a value of the wrong type or outside its range, or an unreadable YAML file.
    """
    notices = []
    arguments = sys.argv[1:] if arguments is None else arguments
    flags = getattr(config_class, "PUBLISHED", {})
    arguments = translated(arguments, flags, set(_types(config_class)), _OLD_NAMES, notices)
    arguments = _tidy_arguments(arguments, notices, config_class)
    parser = _parser(config_class, script or os.path.basename(sys.argv[0]))
    try:
        chosen = parser.parse_args(arguments)  # also serves --help
        file, path = {}, chosen.config_path
        if path:
            path = _found_config(path, notices)
            file = read_yaml(path, config_class, notices)
            chosen = parser.parse_args(arguments, namespace=_parse_file(parser, file, path, config_class))
        # A preset's values count less than the file's own.
        for key, presets in getattr(config_class, "PRESETS", {}).items():
            if chosen[key] != file.get(key, chosen[key]):  # what the file adds was meant for its own preset
                left_out = [name for name in presets[file[key]] if file.pop(name, None)]
                notices.extend(
                    f"{name} of {path} is left out: it is for {key} {file[key]}, not {chosen[key]}"
                    for name in left_out
                )
                chosen = parser.parse_args(arguments, namespace=_parse_file(parser, file, path, config_class))
            file = _merged(presets[chosen[key]], file)
            chosen = parser.parse_args(arguments, namespace=_parse_file(parser, file, path, config_class))
        settings = parser.instantiate(chosen)
    except UserError:
        raise
    except Exception as error:  # jsonargparse raises several kinds, all about the user's input
        raise _readable(error, config_class) from error
    settings = config_class(**vars(settings) if isinstance(settings, Namespace) else settings)
    return _with_task_version(settings), list(dict.fromkeys(notices))


def _with_task_version(settings):
    """`settings` with the task that version_2_with_negative, the official scripts' word, means."""
    if not getattr(settings, "version_2_with_negative", False):
        return settings
    if settings.task_name.strip().lower() not in ("", "squad", "squad2"):
        raise UserError(f"version_2_with_negative: it is for task_name squad, not {settings.task_name}")
    return replace(settings, task_name="SQuAD2")


def read_settings(config_class):
    """The settings of a program's run, from its command line; prints what there is to note about them. Raises
    as `parse` does.
    """
    settings, notices = parse(config_class)
    for notice in notices:
        print(notice, flush=True)
    return settings


def required(settings, *names):
    """A `UserError` naming the first of `names` that is empty."""
    for name in names:
        if not getattr(settings, name):
            raise UserError(f"{name} is needed: give --{name} or set it in the YAML file; --help explains it")


def to_yaml(settings):
    """The settings as YAML that `parse` reads back."""

    def plain(value):
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


def part(settings, config_class):
    """The fields of `config_class`, one of the dataclasses that `settings` inherits from, and no others."""
    return config_class(**{item.name: getattr(settings, item.name) for item in fields(config_class)})
