"""Examples of what denoising makes of micrographs."""

from clearice.report import figures
from clearice.report.examples import embedded, micrograph_examples
from clearice.report.section import Section

_SHEET_EXAMPLES = 6  # in examples.png, whose memory grows with them; the page shows all


def section(results, config):
    """Return the Section of the denoised micrographs."""
    names = results.examples(config["report"]["examples"])
    examples = list(micrograph_examples(names, results))
    rows = [
        (example["name"], [(title, image, row["bar"]) for title, image in row["images"]])
        for example in examples[:_SHEET_EXAMPLES]
        for row in example["rows"]
    ]
    sheet = figures.sheet_png(rows) if rows else None
    facts = {
        "examples": [
            {**e, "rows": [{**row, "pictures": embedded(row)} for row in e["rows"]]}
            for e in examples
        ],
        "earlier": results.earlier,
    }
    nothing = "No micrograph was denoised."
    return Section(facts, {"examples.png": sheet or figures.no_data(nothing, "png")})
