"""Write the report: one page that needs no network, its figures and tables beside it.

READS   micrographs.tsv, manifest.json, histories, verdicts, records and images of all steps, and
        the benchmark files that Snakemake wrote
WRITES  results/report/index.html, summary.json, loss.svg, frc.svg, patches.png, examples.png,
        micrographs.tsv, steps.tsv, parity.tsv, frc.tsv
"""

# Of workflow/report: no inputs, so that a new checkout does not make the page anew.
TEMPLATES = [
    f"report/{name}"
    for name in (
        "page.html",
        "page.css",
        "denoised.html",
        "micrographs.html",
        "parity.html",
        "steps.html",
        "training.html",
        "validation.html",
    )
]


report: "../report/captions/workflow.rst"


rule report:
    """Write the page; what was not asked for (denoising, parity, halves) it says, and goes on."""
    input:
        unpack(report_inputs),
    output:
        page=in_report("index.html", "Report"),
        summary="results/report/summary.json",
        pictures=[
            in_report(name, "Figures")
            for name in ("loss.svg", "frc.svg", "patches.png", "examples.png")
        ],
        tables=[
            in_report(name, "Tables")
            for name in ("micrographs.tsv", "steps.tsv", "parity.tsv", "frc.tsv")
        ],
    log:
        "results/report/report.log",
    benchmark:
        "results/report/report.benchmark.tsv"
    conda:
        "../../envs/report.yaml"
    resources:
        **asks("report"),
    params:
        code=code_of("report", *TEMPLATES),
        config=config,
        title=lambda wildcards: config["report"]["title"],  # braces in it are no wildcards
        examples=config["report"]["examples"],
        entry=lambda wildcards: described_entry(),
    script:
        "../scripts/report.py"
