"""Write the report: one HTML page that needs no network, its figures and tables beside it.

By hand: python workflow/scripts/report.py --summary results   prints the headline figures.
"""

import argparse
import sys
from pathlib import Path

from clearice.bridge import run_command, run_job
from clearice.errors import InputError
from clearice.files import atomic_path, read_result, write_json, write_text
from clearice.report.headlines import summary_text
from clearice.report.page import make_page
from clearice.report.results import read_results

TEMPLATE = Path(__file__).resolve().parents[1] / "report" / "page.html"


def report(page, summary, files, config, entry=None, **inputs):
    """Write the page, its summary, and its figures and tables, the `files` beside it.

    `inputs` are the files that the steps left, by the names of the rule; lists of them may be
    empty. `config` is complete. `entry` is what the EMPIAR entry says of itself
    (Description.facts), or None.
    """
    inputs.pop("denoised_micrographs", None)  # which the records of `denoised` name
    results = read_results(Path(page).parents[1], **inputs, entry=entry)
    text, made = make_page(TEMPLATE, results, config)
    for path in files:
        write_file(path, made[Path(path).name])
    write_text(page, text)
    write_json(summary, results.headlines)
    print(summary_text(results.headlines, page))


def write_file(path, data):
    """Write text or bytes to a temporary name, then rename it."""
    if isinstance(data, str):
        write_text(path, data)
        return
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def main(arguments=None):
    """Print the headline figures of a finished report; return the exit status."""
    parser = argparse.ArgumentParser(description="Print the headline figures of a report.")
    parser.add_argument("--summary", required=True, metavar="RESULTS", help="folder of the results")
    folder = Path(parser.parse_args(arguments).summary) / "report"
    if not (folder / "summary.json").is_file():
        raise InputError(
            "no report yet", file=folder / "summary.json", advice="run snakemake report"
        )
    print(summary_text(read_result(folder / "summary.json"), folder / "index.html"))
    return 0


if "snakemake" in globals():
    run_job(report, snakemake)
elif __name__ == "__main__":
    sys.stdout.reconfigure(errors="replace")
    run_command(main)
