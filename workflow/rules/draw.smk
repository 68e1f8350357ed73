"""Draw the pages of single micrographs, of which the report shows a table.

READS   results/dataset/micrographs.tsv, the records of the shards, of denoising and of the
        validation, and all images of the micrographs
WRITES  results/report/drawn.tsv, results/report/micrographs/order.js, and beside it a page and a
        record per micrograph, {micrograph}.html and {micrograph}.json, which are no outputs of the
        rule: Snakemake would remove them before each run, and only what changed is drawn again
"""

# Of workflow/report: no inputs, as for the report.
PAGE_OF_ONE = [
    f"report/{name}" for name in ("micrograph.html", "micrograph.css", "micrograph.js", "page.css")
]
CODE_OF_PAGES = code_of("draw_micrographs", *PAGE_OF_ONE)


rule draw_micrographs:
    """Draw every micrograph whose page is not there yet, or shows what was another one."""
    input:
        unpack(draw_inputs),
    output:
        drawn="results/report/drawn.tsv",
        order="results/report/micrographs/order.js",
    log:
        "results/report/draw_micrographs.log",
    benchmark:
        "results/report/draw_micrographs.benchmark.tsv"
    conda:
        "../../envs/report.yaml"
    threads: 2  # processes; a node of a cluster may have no more
    resources:
        **asks("draw_micrographs"),
    params:
        code=CODE_OF_PAGES,
        drawn_with=CODE_OF_PAGES,  # the script does not see `code`
        truths=lambda wildcards: truths(),
    script:
        "../scripts/draw_micrographs.py"
