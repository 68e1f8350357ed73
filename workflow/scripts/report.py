"""Write the report: one HTML page that needs no network, its figures and tables beside it.

By hand: python workflow/scripts/report.py --summary results   prints the headline figures.
"""

import argparse
import sys
from pathlib import Path

from clearice.bridge import run_command, run_job
from clearice.errors import InputError
from clearice.files import read_result, write_json, write_text
from clearice.report.attachments import draw_curves, write_pictures, write_tables
from clearice.report.examples import micrograph_examples, patch_examples
from clearice.report.facts import entry_lines
from clearice.report.headlines import summary_text
from clearice.report.page import page_facts, render_page
from clearice.report.results import read_results

TEMPLATE = Path(__file__).resolve().parents[1] / "report" / "page.html"
PATCHES_SHOWN = 4


def report(page, summary, pictures, tables, config, title, examples, entry=None, **inputs):
    """Write the page, its summary, and the `pictures` and `tables` beside it.

    `inputs` are the files that the steps left, by the names of the rule; lists of them may be
    empty. `examples` is how many micrographs to show, `entry` what the EMPIAR entry says of itself
    (Description.facts), or None.
    """
    inputs.pop("denoised_micrographs", None)  # which the records of `denoised` name
    results = read_results(Path(page).parents[1], **inputs)
    shown = list(micrograph_examples(results.examples(examples), results))
    patches = patch_examples(results.manifest, PATCHES_SHOWN)
    drawn = draw_curves(results)
    write_pictures(pictures, drawn, patches, shown)
    write_tables(tables, results)
    facts = page_facts(results, config, title, drawn, patches, shown)
    facts["entry"] = entry and entry_lines(entry, results.micrographs)
    write_text(page, render_page(TEMPLATE, facts))
    write_json(summary, results.headlines)
    print(summary_text(results.headlines, page))


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
