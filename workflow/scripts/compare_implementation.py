"""Judge the results of an implementation against the reference bundle. Needs NumPy alone."""

from pathlib import Path

from clearice.bridge import run_job
from clearice.parity.comparison import compare
from clearice.parity.verdict import print_verdict, write_verdict
from clearice.reference.bundle import Bundle


def compare_implementation(
    manifest, output, verdict, text, junit, name, precision, **_only_for_the_workflow
):
    """Write the verdict on `output` as JSON, text and JUnit XML; a failed one is no error here.

    `manifest`: the bundle's manifest.json.
    """
    result = compare(Bundle(Path(manifest).parent), output, name, precision)
    write_verdict(result, verdict, text, junit)
    print_verdict(result)


if "snakemake" in globals():
    run_job(compare_implementation, snakemake)
