"""Run other implementations of the network on the reference bundle and judge their numbers.

READS   results/reference/
WRITES  results/parity/{implementation}/output/, verdict.json, verdict.txt, junit.xml;
        results/parity/summary.json, after the report
"""


rule run_implementation:
    """Run one implementation; a crash is recorded and judged, it does not stop the workflow."""
    input:
        manifest="results/reference/manifest.json",
        files=rules.export_reference.output.files,
        program=program_files,
    output:
        output=directory("results/parity/{implementation}/output"),
    log:
        "results/parity/{implementation}/run_implementation.log",
    benchmark:
        "results/parity/{implementation}/run_implementation.benchmark.tsv"
    conda:
        "../../envs/torch.yaml"
    resources:
        **asks("run_implementation"),
    params:
        code=code_of("run_implementation"),
        program_code=program_code,
        command=implementation("command"),
        timeout_minutes=implementation("timeout_minutes"),
        name="{implementation}",
    script:
        "../scripts/run_implementation.py"


rule compare_implementation:
    """Compare every number with the reference; write the verdict, whatever it is."""
    input:
        manifest="results/reference/manifest.json",
        output="results/parity/{implementation}/output",
    output:
        verdict="results/parity/{implementation}/verdict.json",
        text=report(
            "results/parity/{implementation}/verdict.txt",
            caption="../report/captions/verdict.rst",
            category="Parity",
            labels={"implementation": "{implementation}"},
        ),
        junit="results/parity/{implementation}/junit.xml",
    log:
        "results/parity/{implementation}/compare_implementation.log",
    benchmark:
        "results/parity/{implementation}/compare_implementation.benchmark.tsv"
    conda:
        "../../envs/data.yaml"
    resources:
        **asks("compare_implementation"),
    params:
        code=code_of("compare_implementation"),
        name="{implementation}",
        precision=implementation("precision"),
    script:
        "../scripts/compare_implementation.py"


rule require_parity:
    """Sum up the verdicts; with parity.required, a failed one fails the run, after the report."""
    input:
        verdicts=expand(
            "results/parity/{implementation}/verdict.json", implementation=IMPLEMENTATIONS
        ),
        report="results/report/index.html",
    output:
        summary="results/parity/summary.json",
    log:
        "results/parity/require_parity.log",
    benchmark:
        "results/parity/require_parity.benchmark.tsv"
    conda:
        "../../envs/data.yaml"
    resources:
        **asks("require_parity"),
    params:
        code=code_of("require_parity"),
        required=config["parity"]["required"],
    script:
        "../scripts/require_parity.py"
