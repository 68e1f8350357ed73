"""Sum up what was measured on all held-out micrographs, in numbers and in words."""

from clearice.bridge import run_job
from clearice.files import read_result, write_json
from clearice.validation.summary import summarise


def sum_up_validation(records, summary):
    """Write the summary (JSON) of the `records` that validate_micrograph wrote.

    A null test that failed does not stop the run: the report shows it.
    """
    result = summarise(map(read_result, records))
    write_json(summary, result)
    print("\n".join(result["words"]))


if "snakemake" in globals():
    run_job(sum_up_validation, snakemake)
