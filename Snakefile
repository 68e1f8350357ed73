"""clearice: micrographs -> shards -> dataset -> model -> reference -> parity -> denoised -> report."""

from snakemake.utils import min_version

min_version("9.20")


configfile: "config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/micrographs.smk"
include: "workflow/rules/shards.smk"
include: "workflow/rules/dataset.smk"
include: "workflow/rules/model.smk"
include: "workflow/rules/reference.smk"
include: "workflow/rules/parity.smk"
include: "workflow/rules/denoised.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/targets.smk"
