"""clearice plan: what a run will write, before anything is written."""

import argparse
import os
from pathlib import Path

from clearice.config import complete_config, read_config
from clearice.printed_plan import plan


def main(arguments=None):
    """Plan the run of a folder; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="clearice plan",
        description="Print what a run will write, against the free disk, from headers alone. "
        "Exit status 1 if the run would stop.",
    )
    parser.add_argument("--directory", type=Path, default=Path(), help="of the run (default: here)")
    parser.add_argument("--config", type=Path, help="default: config.yaml of that folder")
    options = parser.parse_args(arguments)
    path = (options.config or options.directory / "config.yaml").resolve()
    os.chdir(options.directory)
    plan(complete_config(read_config(path)))
    return 0
