"""The configuration as it was used, and where it differs from the defaults."""

import yaml

from clearice.config import complete_config
from clearice.report.last_report import settings

SETTING_COLUMNS = ("key", "default", "here")
_ABSENT = "not set"


def config_text(config):
    """Return the configuration, defaults filled in, as YAML."""
    return yaml.safe_dump(config, sort_keys=False, allow_unicode=True)


def differences(config):
    """Return rows of SETTING_COLUMNS, values as text, where `config` is not the default."""
    default, here = map(settings, (complete_config({}), config))
    keys = [*here, *(key for key in default if key not in here)]
    rows = [(key, default.get(key, _ABSENT), here.get(key, _ABSENT)) for key in keys]
    return [dict(zip(SETTING_COLUMNS, row, strict=True)) for row in rows if row[1] != row[2]]
