"""Write the report: one HTML page that needs no network, its figures and tables beside it."""

from pathlib import Path

from clearice.bridge import run_job
from clearice.files import atomic_path, write_json, write_text
from clearice.report import last_report
from clearice.report.assessment import assess, sentence
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
    headlines = {"assessment": sentence(assess(results, config)), **results.headlines}
    write_json(summary, headlines)
    last_report.keep(Path(page).parent, made[last_report.FILE])  # last: see there
    print(summary_text(headlines, page))


def write_file(path, data):
    """Write text or bytes to a temporary name, then rename it."""
    if isinstance(data, str):
        write_text(path, data)
        return
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


if "snakemake" in globals():
    run_job(report, snakemake)
