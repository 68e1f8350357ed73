"""The Python of a run: Snakemake writes its path into shell commands, without quotes."""

import re
import sys

from clearice.errors import InputError

_SPECIAL = re.compile(r"[\s|&;<>()$`\"'\\*?\[\]{}]")


def require_plain_python():
    """Raise InputError if a shell would take the path of this Python for something else."""
    if found := _SPECIAL.search(sys.executable):
        letter = "a blank" if found[0].isspace() else found[0]
        raise InputError(
            f"the path of clearice holds {letter}, which Snakemake cannot run from",
            file=sys.executable,
            advice="move clearice to a path without one, and run make setup there",
        )
