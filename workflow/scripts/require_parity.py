"""Sum up the verdicts and, where parity is required, fail for those that failed."""

from clearice.bridge import run_job
from clearice.errors import InputError
from clearice.files import read_result, write_json


def require_parity(verdicts, summary, required, **_only_for_the_workflow):
    """Write the table of verdicts; raise InputError if one failed and `required` is true."""
    keys = ("implementation", "precision", "verdict", "lowest_failing_rung", "worst_percent")
    table = [{key: verdict.get(key) for key in keys} for verdict in map(read_result, verdicts)]
    for row in table:
        print("\t".join(str(row[key]) for key in keys))
    write_json(summary, {"required": required, "implementations": table})
    failed = [row["implementation"] for row in table if row["verdict"] == "failed"]
    if required and failed:
        raise InputError(
            f"parity failed for {', '.join(failed)}",
            file=", ".join(f"results/parity/{name}/verdict.txt" for name in failed),
            advice="read what explains it there, or set parity.required: false",
        )


if "snakemake" in globals():
    run_job(require_parity, snakemake)
