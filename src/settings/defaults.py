"""Which settings of a run differ from the defaults."""

import yaml

from src.settings.keys import flat
from src.settings.parsing import parse, to_yaml


def differing(config_class, settings):
    """{dotted key: (value, default)} of the settings that are not as the command has them by itself, with the
    presets that the run chose.

    Args:
        config_class: the command's dataclass. settings (dict): of the run, nested, as config.yaml has them.

    Raises:
        UserError: a preset is none of this command's.
    """
    chosen = [name for name in getattr(config_class, "PRESETS", {}) if name in settings]
    defaults, _ = parse(config_class, [f"--{name}={settings[name]}" for name in chosen])
    usual, given = (flat(values, "settings") for values in (yaml.safe_load(to_yaml(defaults)), settings))
    usual |= {name: getattr(config_class(), name) for name in chosen}
    return {key: (value, usual.get(key)) for key, value in given.items() if value != usual.get(key)}
