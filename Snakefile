"""clearice: micrographs -> shards -> dataset -> model -> reference -> parity -> denoised -> validation ->
report.

`snakemake --cores all` makes everything; `snakemake --cores all dataset` (or micrographs, shards,
model, reference, parity, denoised, validation, report) stops there.
"""

from snakemake.utils import min_version

min_version("9.20")


include: "workflow/rules/common.smk"
include: "workflow/rules/resources.smk"
include: "workflow/rules/asked_once.smk"
include: "workflow/rules/results.smk"
include: "workflow/rules/sources.smk"
include: "workflow/rules/finished.smk"
include: "workflow/rules/inputs.smk"
include: "workflow/rules/runs.smk"
include: "workflow/rules/summary.smk"
include: "workflow/rules/networks.smk"
include: "workflow/rules/chunks.smk"
include: "workflow/rules/micrographs.smk"
include: "workflow/rules/plan.smk"
include: "workflow/rules/shards.smk"
include: "workflow/rules/dataset.smk"
include: "workflow/rules/model.smk"
include: "workflow/rules/reference.smk"
include: "workflow/rules/fortran.smk"
include: "workflow/rules/parity.smk"
include: "workflow/rules/denoised.smk"
include: "workflow/rules/validation.smk"
include: "workflow/rules/draw.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/targets.smk"


rule all:
    """Make the report and everything in it, and fail if a required verdict failed."""
    default_target: True
    input:
        results_of("micrographs", "shards", "dataset", "model", "reference", "parity"),
        results_of("denoised", "validation", "report"),
        "results/parity/summary.json",


onstart:
    stop_whole_run()
    begin_run()
    record_run()


onsuccess:
    end_run("finished")
    forget_kept("results", MICROGRAPHS)
    show_summary()


onerror:
    say_why_groups_failed()
    end_run("failed")
