"""Settings in a YAML file."""

import os
import re
from typing import Any

import yaml

from src.errors import UserError, one_line
from src.files import ROOT
from src.json_file import DEEPEST, LONGEST_NUMBER
from src.settings.keys import Keys, Sorter, flat, nested
from src.settings.published_flags import with_quantizers

_MOST = 100_000
"""Values in a file, those that an alias stands for counted each time."""


class UniqueKeys(yaml.SafeLoader):
    """Safe YAML in which a key stands once, where PyYAML itself lets the last one win, and nothing is nested
    or long without end, written out or by aliases.
    """

    depth = 0

    def __init__(self, stream: str):
        super().__init__(stream)
        self._sizes: dict[yaml.Node, int] = {}
        """Values in a node that is whole."""

    def compose_node(self, parent: yaml.Node | None, index: yaml.Node | int | None) -> yaml.Node:
        self.depth += 1
        if self.depth > DEEPEST:
            raise yaml.composer.ComposerError(
                None, None, f"lists and sections lie more than {DEEPEST} deep in one another"
            )
        alias = self.check_event(yaml.AliasEvent)
        node = super().compose_node(parent, index)
        if alias and node not in self._sizes:
            raise yaml.composer.ComposerError(None, None, "a section holds itself", node.start_mark)
        if not alias:
            self._sizes[node] = 1 + sum(self._sizes[part] for part in _parts(node))
        if self._sizes[node] > _MOST:
            raise yaml.composer.ComposerError(
                None, None, f"a section holds more than {_MOST:,} values", node.start_mark
            )
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value} stands there twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_scalar(self, node: yaml.ScalarNode) -> str:
        if node.tag.endswith((":int", ":float")) and len(node.value) > LONGEST_NUMBER:
            raise yaml.constructor.ConstructorError(
                None, None, f"a number has {len(node.value):,} characters", node.start_mark
            )
        return super().construct_scalar(node)


def _parts(node):
    """The nodes right below one."""
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else ()


def found_config(path: str, notices: list[str]) -> str:
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


def load_yaml(path: str, key: str = "") -> tuple[dict[str, Any], int]:
    """(keys and values of the first document in a YAML file, the number of documents).

    Args:
        key (str): the setting that names it, and ": ", for messages.

    Raises:
        UserError: it cannot be read, or is no YAML of keys and values.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
        documents = sum(1 for _ in yaml.compose_all(text, UniqueKeys))
        settings = next(yaml.load_all(text, UniqueKeys), None)
    except OSError as error:
        raise UserError(f"{key}cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{key}{path} is not UTF-8 text") from error
    except yaml.YAMLError as error:
        raise UserError(f"{key}{path} is not valid YAML: {one_line(error)}") from error
    except (ValueError, OverflowError) as error:  # as 2001-99-99, which looks like a date
        raise UserError(f"{key}{path}: {one_line(error)}") from error
    settings = {} if settings is None else settings
    if not isinstance(settings, dict):
        raise UserError(f"{key}{path} must hold keys and values, not {type(settings).__name__}")
    return settings, documents


def read_yaml(path: str, keys: Keys, notices: list[str]) -> dict[str, Any]:
    """A command's settings in a YAML file, nested; `keys` are the command's.

    The published files hold three documents (settings, help, choices): the first one counts, and `notices`
    says so; what else it says of them is in `Sorter`.
    """
    settings, documents = load_yaml(path, "config_path: ")
    if documents > 1:
        notices.append(f"{path} holds {documents} YAML documents; only the first one counts")
    settings = with_quantizers(flat(settings, path), keys, path)
    return nested(Sorter(keys, path, notices).own(settings))
