"""Write the report: one page that needs no network, its figures and tables beside it.

READS   micrographs.tsv, manifest.json, histories, verdicts, records and images of all steps, and
        the benchmark files that Snakemake wrote
WRITES  results/report/index.html, summary.json, and the figures and tables of its sections
"""

# Of workflow/report: no inputs, so that a new checkout does not make the page anew. Those of the
# page of a single micrograph are draw_micrographs'.
TEMPLATES = sorted(
    f"report/{path.name}"
    for path in (REPOSITORY / "workflow" / "report").iterdir()
    if path.suffix in (".html", ".css", ".js") and path.stem != "micrograph"
)

# Section of the page -> what it draws and lists beside it (clearice/report/sections).
BESIDE = {
    "Micrographs": ("micrographs.tsv",),
    "Denoised": ("examples.png",),
    "Validation": ("evidence.tsv", "null_tests.tsv", "frc.svg", "frc.tsv"),
    "Training": ("loss.svg", "loss.tsv", "speed.svg", "speed.tsv"),
    "Patches": ("patches.png", "patches.tsv", "grid.svg", "grid.tsv"),
    "Parity": ("parity.svg", "parity.tsv"),
    "Costs": (
        *("steps.tsv", "jobs.tsv", "timeline.svg", "timeline.tsv", "disk.tsv"),
        *("settings.tsv", "runs.tsv"),
    ),
    "To keep": ("data_specs.md", "baseline.md"),
}


report: "../report/captions/workflow.rst"


rule report:
    """Write the page; what was not asked for (denoising, parity, halves) it says, and goes on."""
    input:
        unpack(report_inputs),
    output:
        page=in_report("index.html", "Report"),
        summary="results/report/summary.json",
        files=[in_report(name, category) for category, names in BESIDE.items() for name in names],
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
        entry=lambda wildcards: described_entry(),
    script:
        "../scripts/report.py"
