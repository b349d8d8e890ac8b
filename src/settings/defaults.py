"""Which settings of a run differ from the defaults."""

from typing import Any

import yaml

from src.settings.keys import flat
from src.settings.parsing import parse, to_yaml
from src.settings.types import Settings


def differing(config_class: type[Settings], settings: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """{dotted key: (value, default)} of the settings that are not as the command has them by itself, with the
    presets that the run chose.

    Args:
        config_class: the command's dataclass. settings: of the run, nested, as config.yaml has them.

    Raises:
        UserError: a preset is none of this command's.
    """
    presets = [name for name in getattr(config_class, "PRESETS", {}) if name in settings]
    defaults, _ = parse(config_class, [f"--{name}={settings[name]}" for name in presets])
    usual, given = (flat(values, "settings") for values in (yaml.safe_load(to_yaml(defaults)), settings))
    usual.update({name: getattr(config_class, name) for name in presets})  # the choice itself may differ
    return {key: (value, usual.get(key)) for key, value in given.items() if value != usual.get(key)}


def chosen(settings: Settings) -> list[str]:
    """Lines that name what of a run's settings is not the default."""
    differ = differing(type(settings), yaml.safe_load(to_yaml(settings)))
    head = "settings that differ from the defaults; config.yaml in the run folder has all of them:"
    return [head, *(f"  {key}: {_plain(value)}" for key, (value, _) in differ.items())]


def _plain(value):
    """As one writes it on a command line."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
