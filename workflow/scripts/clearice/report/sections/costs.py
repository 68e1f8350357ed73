"""What the run cost, what it ran with, and how it was configured."""

import yaml

from clearice.report.facts import versions
from clearice.report.section import Section
from clearice.tsv import table_text

STEP_COLUMNS = ("step", "jobs", "seconds", "longest_s", "longest_job", "peak_rss_mib")


def section(results, config):
    """Return the Section of time, memory, versions and configuration."""
    facts = {
        "steps": results.steps,
        "versions": versions(),
        "trainings": results.trainings,
        "config_text": config_text(config),
    }
    return Section(facts, {"steps.tsv": table_text(STEP_COLUMNS, results.steps)})


def config_text(config):
    """Return the configuration, defaults filled in, as YAML."""
    return yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
