"""What jobs ask of a machine: memory, minutes and disk, from the size of the micrographs.

READS   the header of a micrograph, once a run
WRITES  nothing
"""

from clearice.job_resources import largest_size, resources_of


@functools.cache
def size_of_micrographs():
    """Return (height_px, width_px) of this run's micrographs, as far as they are there."""
    return largest_size(config, [files.input for files in MICROGRAPHS.values()])


@functools.cache
def asked(name, count, attempt, threads, architecture):
    """Return the Resources of a job; most jobs of a rule ask for the same."""
    return resources_of(
        name,
        config,
        [size_of_micrographs()] * count,
        attempt=attempt,
        threads=threads,
        n_micrographs=len(MICROGRAPHS),
        architecture=architecture,
    )


def asks(name, count=lambda wildcards: 1):
    """Return mem_mb (MiB), runtime (minutes) and disk_mb of a rule: more with each attempt.

    `count` is a function of wildcards: how many micrographs a job works on, one after the other.
    """

    def value_of(resource):
        return lambda wildcards, attempt, threads: getattr(
            asked(name, count(wildcards), attempt, threads, wildcards.get("architecture")), resource
        )

    return {key: value_of(key) for key in ("mem_mb", "runtime", "disk_mb")}
