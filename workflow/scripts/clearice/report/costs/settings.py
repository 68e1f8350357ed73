"""The configuration as it was used, and where it differs from the defaults."""

import yaml

from clearice.config import complete_config

SETTING_COLUMNS = ("key", "default", "here")
_ABSENT = "not set"


def config_text(config):
    """Return the configuration, defaults filled in, as YAML."""
    return yaml.safe_dump(config, sort_keys=False, allow_unicode=True)


def differences(config):
    """Return rows of SETTING_COLUMNS, values as YAML text, where `config` is not the default."""
    default, here = map(_flat, (complete_config({}), config))
    keys = [*here, *(key for key in default if key not in here)]
    rows = [(key, default.get(key, _ABSENT), here.get(key, _ABSENT)) for key in keys]
    return [dict(zip(SETTING_COLUMNS, row, strict=True)) for row in rows if row[1] != row[2]]


def _flat(config, above=""):
    """Return dotted key -> value as YAML text on one line; a list is one value."""
    found = {}
    for key, value in config.items():
        if isinstance(value, dict) and value:
            found |= _flat(value, f"{above}{key}.")
        else:
            found[f"{above}{key}"] = _text(value)
    return found


def _text(value):
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=float("inf"))
    return text.removesuffix("...\n").strip()
