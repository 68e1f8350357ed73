"""Say what a run will write, before it does.

READS   config.yaml and the headers of the micrographs
WRITES  nothing but its log, results/plan.log
"""


rule plan:
    """Print what a run will write, against the free disk, from headers alone."""

    # No benchmark: Snakemake counts it as an output, and would have nothing to do the next time.
    log:
        "results/plan.log",
    localrule: True
    conda:
        "../../envs/data.yaml"
    resources:
        **asks("plan"),
    params:
        config=config,
    script:
        "../scripts/plan.py"
