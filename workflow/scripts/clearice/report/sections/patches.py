"""The patches: where they lie on a micrograph, and which of them are worth a look."""

from clearice.errors import InputError, one_line
from clearice.files import read_result
from clearice.micrographs.mrc import open_micrograph
from clearice.report import patch_gallery, patch_grid
from clearice.report.examples import embedded
from clearice.report.figures import no_data, sheet_png
from clearice.report.patch_gallery import gallery
from clearice.report.pictures import whole_view
from clearice.report.section import Section
from clearice.tsv import table_text

GRID_PX = 640  # of the picture below the grid


def section(results, config):
    """Return the Section: facts for patches.html; gallery and grid with their numbers."""
    sample = results.patch_sample
    groups = gallery(results, sample)
    record = _shown_record(results)
    grid, why = _grid(results, record)
    rows = [row for group in groups for row in group["patches"]]
    facts = {
        "groups": [
            {
                **group,
                "none": _no_losses(results) if group["group"] == "worst" else "There is none.",
                "patches": [{**row, "pictures": embedded(row)} for row in group["patches"]],
            }
            for group in groups
        ],
        "looked": _looked(sample, results),
        "binning": rows[0]["binning"],
        "grid": grid,
        "no_grid": why,
    }
    sheet = [
        (f"{row['group']}: {row['micrograph']} y {row['y']} x {row['x']}",
         [(title, image, None) for title, image in row["images"]])
        for row in rows
    ]  # fmt: skip
    files = {
        "patches.png": sheet_png(sheet),
        "patches.tsv": table_text(patch_gallery.COLUMNS, rows),
        "grid.svg": grid["svg"] if grid else no_data(f"No grid is drawn: {why}.", "svg"),
        "grid.tsv": table_text(patch_grid.COLUMNS, patch_grid.grid_rows(record)),
    }
    return Section(facts, files)


def _shown_record(results):
    """Return the record of the shard that the grid is drawn for: the first held-out one's."""
    segment = read_result(results.manifest)["splits"]["test"]["segments"][0]
    return read_result(results.manifest.parent / segment["shard"])


def _grid(results, record):
    """Return (what the page shows of the grid, why there is none)."""
    path = record["input"]["path"]
    try:
        with open_micrograph(path) as reader:
            view = whole_view(reader, GRID_PX)
    except InputError as error:
        return None, str(error)
    except OSError as error:
        return None, one_line(f"{path}: {error.strerror or error}")
    words = patch_grid.grid_words(record)
    origins = list(zip(record["y"], record["x"], strict=True))
    shape = record["height_px"], record["width_px"]
    _, outside = patch_grid.coverage(origins, record["patch_size_px"], shape)
    label = f"The patches drawn on {record['micrograph']}. {' '.join(words)}"
    return {
        "micrograph": record["micrograph"],
        "svg": patch_grid.grid_svg(view, record, label),
        "words": words,
        "outside": bool(outside),
        "line_step": patch_grid.line_step(origins),
    }, None


def _looked(sample, results):
    """Say how many patches were looked at, and how thoroughly."""
    looked = len(sample.patches)
    if looked == sample.total:
        text = f"All {looked:,} patches were looked at"
    else:
        text = (
            f"{looked:,} of {sample.total:,} patches were looked at, spread over all micrographs; "
            "a rarer one may have been missed"
        )
    if sample.rows < sample.patch_size_px:
        text += (
            f". Of each {sample.rows} of {sample.patch_size_px} rows were read; the extremes were "
            "then read whole"
        )
    return text + "."


def _no_losses(results):
    """Say why no loss of a patch is known."""
    kind = read_result(results.manifest)["target_kind"]
    if kind != "halves":
        return (
            "The loss of single patches is not known: it is measured while validating, against the "
            "other half of a held-out micrograph, and these micrographs have no halves."
        )
    if results.validation is None:
        return "The loss of single patches is not known: nothing was validated."
    return "The loss of single patches is not known: no held-out micrograph has them measured."
