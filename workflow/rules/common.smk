"""The checked configuration, the names made of it, and library().

READS   config.yaml, workflow/schemas/config.schema.yaml, the list of micrographs
WRITES  nothing
"""

import os
import sys
from pathlib import Path

SCRIPTS = Path(workflow.basedir) / "workflow" / "scripts"
sys.path.insert(0, str(SCRIPTS))

from clearice.config import complete_config, read_config
from clearice.errors import InputError
from clearice.pairs import find_micrographs
from clearice.splits import read_test_micrographs

try:
    # Read before Snakemake does, which does not say what is wrong with it, and in which line.
    given = read_config("config.yaml") if os.path.exists("config.yaml") or not config else {}
except InputError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(1)

if given:

    configfile: "config.yaml"


try:
    config.update(complete_config(config, SCRIPTS.parent / "schemas" / "config.schema.yaml"))
    MICROGRAPHS = find_micrographs(config)  # name -> MicrographFiles(name, input, target, truth)
    if config["split"]["test_micrographs"]:
        read_test_micrographs(config["split"]["test_micrographs"], MICROGRAPHS)
except InputError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(1)

ARCHITECTURES = sorted(
    {config["reference"]["architecture"]}
    | ({config["denoised"]["architecture"]} if config["denoised"]["enabled"] else set())
)
IMPLEMENTATIONS = sorted(config["parity"]["implementations"])


wildcard_constraints:
    micrograph="[^/]+",
    split="train|test",
    architecture="[^/]+",
    implementation="[^/]+",


def library(*modules):
    """Return the paths of library modules, so that an edit reruns what depends on them."""
    return [os.path.relpath(SCRIPTS / "clearice" / f"{module}.py") for module in modules]
