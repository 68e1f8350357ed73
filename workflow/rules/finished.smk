"""Micrographs whose first steps are finished: Snakemake plans no jobs for them.

READS   results/**/.seals/, .snakemake/incomplete/
WRITES  nothing

Planning a job takes five milliseconds: a minute for ten thousand micrographs of which one is new.
What is left out here is what Snakemake would find to be done; in doubt it is asked.
"""

import types

from snakemake.io import strip_wildcard_constraints
from snakemake.settings.types import RerunTrigger

from clearice.seals import made_with

MAKERS = {  # step -> the rule that makes a micrograph's files, None where the user has them
    "micrographs": {"simulation": "simulate_micrograph"}.get(config["micrographs"]["source"]),
    "shards": "shard_micrograph",
}


def without_finished(step, paths):
    """Return the paths of (key, path) pairs; Snakemake takes those of finished ones as they are.

    `step` is `micrographs` or `shards`. The flag is Snakemake's own: no job is sought that makes
    the file.
    """
    keys = finished(step)
    return [before_update(path) if key in keys else path for key, path in paths]


@functools.cache
def finished(step):
    """Return the keys of the micrographs for which Snakemake would find nothing to do in a step."""
    look_at_results()
    forget_stale_shards()
    made_by = MAKERS[step] and getattr(rules, MAKERS[step], None)
    if made_by is None or not _may_be_left_out():
        return frozenset()
    keys = finished("micrographs") if step == "shards" and MAKERS["micrographs"] else MICROGRAPHS
    return frozenset(key for key in keys if _is_finished(made_by.rule, step, key))


def _may_be_left_out():
    """Say whether this process plans a run in which seals tell all that Snakemake would ask."""
    settings = workflow.dag_settings
    return (
        workflow.is_main_process
        and config["micrographs"]["source"] != "empiar"  # the archive may have another file
        and workflow.executor_plugin is not None
        and not workflow.touch
        and not (settings.forceall or settings.forcerun)
        and not workflow.deployment_settings.deployment_method  # environments are not sealed
        and not any(map(os.path.isfile, Path(".snakemake/incomplete").rglob("*")))
    )


def _is_finished(maker, step, key):
    """Say whether the seal of the last result names today's params and inputs, all older than it.

    The seals are those that look_at_results found; it has compared sizes and times.
    """
    *outputs, benchmark = [
        strip_wildcard_constraints(path).replace("{micrograph}", key)
        for path in (*maker.output, maker.benchmark)
    ]
    sealed = SEALED.get(outputs[-1])
    if sealed is None or not all(map(os.path.exists, outputs)):
        return False
    wildcards = types.SimpleNamespace(micrograph=key)
    params = {n: v(wildcards) if callable(v) else v for n, v in maker.params.items()}
    inputs = list(made_here(shard_sources(wildcards)).values()) if step == "shards" else []
    if sealed != digest_of(made_with(params, inputs)):
        return False
    if RerunTrigger.CODE in workflow.rerun_triggers:
        inputs.append(SCRIPTS / f"{maker.name}.py")
    if not inputs:
        return True
    results = [*outputs, benchmark]
    oldest = min(os.stat(path).st_mtime for path in results if os.path.exists(path))
    return all(os.path.exists(path) and os.stat(path).st_mtime <= oldest for path in inputs)
