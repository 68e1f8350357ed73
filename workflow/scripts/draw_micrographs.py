"""Draw a page for each micrograph: its pictures, its curves and all that is known of it."""

import functools
from pathlib import Path

from clearice.bridge import run_job
from clearice.files import write_text
from clearice.report.drawing import worker
from clearice.report.drawing.kept import Pages, order_script
from clearice.report.drawing.pool import results_of
from clearice.report.drawing.subjects import Subjects
from clearice.tsv import table_text

COLUMNS = ("micrograph", "key", "state", "pictures", "faults")


def draw_micrographs(
    micrographs,
    records,
    order,
    drawn,
    drawn_with,
    denoised=(),
    validation=(),
    truths=None,
    processes=1,
    **_only_for_the_workflow,
):
    """Write a page and a record per micrograph beside `order`, and `drawn`, which lists them.

    `micrographs` is micrographs.tsv; `records`, `denoised` and `validation` are paths of the
    records of these steps. Only what changed is drawn again, in so many `processes`: what it is
    made of, or `drawn_with`, a text that names the code. Pages of micrographs that are gone are
    removed. `order` is the script that tells each page its neighbours.
    """
    subjects = Subjects(micrographs, records, denoised, validation, truths)
    pages, rows = Pages(Path(order).parent), {}

    def changed():
        for subject in subjects:
            digest = subject.digest(drawn_with)
            if pages.is_drawn(subject.key, digest):
                rows[subject.key] = _row(subject, "kept")
            else:
                rows[subject.key] = _row(subject, "drawn")
                yield subject, digest

    for (subject, _), (page, record) in results_of(worker, changed(), processes):
        if page is None:
            pages.remove(subject.key)
            del rows[subject.key]
        else:
            pages.write(subject.key, page, record)
            rows[subject.key]["faults"] = "; ".join(record["faults"])
    pages.remove_others(rows)
    write_text(order, order_script({key: row["micrograph"] for key, row in rows.items()}))
    write_text(drawn, table_text(COLUMNS, rows.values()))
    states = [row["state"] for row in rows.values()]
    print(f"{states.count('drawn'):,} drawn, {states.count('kept'):,} unchanged")


def _row(subject, state):
    return {
        "micrograph": subject.name,
        "key": subject.key,
        "state": state,
        "pictures": ", ".join(subject.files),
        "faults": "",
    }


if "snakemake" in globals():
    run_job(functools.partial(draw_micrographs, processes=snakemake.threads), snakemake)
