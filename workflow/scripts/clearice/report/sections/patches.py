"""What the networks learned from: patches of the dataset."""

from clearice.report import figures
from clearice.report.examples import embedded, patch_examples
from clearice.report.section import Section

PATCHES_SHOWN = 4


def section(results, config):
    """Return the Section of the patches."""
    patches = patch_examples(results.manifest, PATCHES_SHOWN)
    rows = [
        (f"{p['micrograph']} y {p['y']} x {p['x']}", [(t, i, None) for t, i in p["images"]])
        for p in patches
    ]
    facts = {"patches": [{**patch, "pictures": embedded(patch)} for patch in patches]}
    return Section(facts, {"patches.png": figures.sheet_png(rows)})
