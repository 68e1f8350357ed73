"""The page of one micrograph, and the record that the table of the report is made of."""

import base64
import functools
from pathlib import Path

from clearice.report.checked import check_rows
from clearice.report.drawing import numbers
from clearice.report.drawing.looked import look_at_files, picture_rows, thumbnail
from clearice.report.drawing.overlay import patch_overlay
from clearice.report.drawing.views import power_spectra
from clearice.report.templates import environment
from clearice.report.validated import gain_of
from clearice.report.words import on_page

FORMAT_VERSION = 1
TEMPLATE = Path(__file__).resolve().parents[4] / "report" / "micrograph.html"
_IN_SPECTRA = ("raw", "denoised", "truth")  # that of the other half is that of raw
TITLES = {
    "raw": "raw",
    "denoised": "denoised",
    "residual": "raw − denoised",
    "target": "other half",
    "truth": "truth",
}


def draw(subject, digest):
    """Return (page as HTML, record) of a subjects.Subject whose digest that is.

    Files that cannot be read leave a page without pictures that says why; a rejected micrograph
    that cannot be read has no page: (None, None).
    """
    looked = look_at_files(subject)
    if not looked.seen and not subject.row["used"]:
        return None, None
    page = _template().render(**page_facts(subject, looked))
    return page, _record(subject, looked, digest) | {"page_bytes": len(page.encode())}


@functools.cache
def _template():
    return environment(TEMPLATE.parent).get_template(TEMPLATE.name)


def _record(subject, looked, digest):
    data, shape = thumbnail(looked.seen) if looked.seen else (None, None)
    return {
        "format_version": FORMAT_VERSION,
        "micrograph": subject.name,
        "digest": digest,
        "thumbnail": data and base64.b64encode(data).decode("ascii"),
        "thumbnail_kind": data and "webp",
        "thumbnail_px": shape,
        **{key: subject.shard[key] for key in ("mean", "std", "hot_pixels", "half_correlation")},
        "faults": looked.faults,
    }


def page_facts(subject, looked):
    """Return what the template sees."""
    size = subject.pixel_size_angstrom
    seen, row = looked.seen, subject.row
    compared = {role: seen[role] for role in _IN_SPECTRA if role in seen}
    spectra = numbers.spectra_figure(*power_spectra(compared), size) if seen else None
    rows = picture_rows(seen) if seen else []
    overlay = None
    if looked.header and rows:
        overlay = patch_overlay(subject.shard, *rows[0]["field_px"])
    return {
        "name": subject.name,
        "key": subject.key,
        "titles": TITLES,
        "tags": tags_of(subject),
        "reason": row["reason"],
        "faults": looked.faults,
        "warnings": _warnings(subject, looked),
        "rows": rows,
        "overlay": overlay,
        "spectra": spectra,
        "frc": numbers.frc_figures(subject.validation, size),
        "quality": numbers.quality_rows(subject.validation),
        "gain_db": gain_of(subject.validation or {}),
        "null_tests": (subject.validation or {}).get("null_tests", []),
        "validation": subject.validation,
        "denoised": subject.denoised,
        "split": row["split"],
        "checks": check_rows(row),
        "facts": fact_rows(subject),
        "header": looked.header and looked.header.rows,
    }


def tags_of(subject):
    """Return (words, kind) of what the head of the page says; kinds are good, bad, warn or none."""
    row, tags = subject.row, []
    tags.append(("rejected", "bad") if row["rejected"] else ("accepted", "good"))
    if row["split"]:
        held_out = row["split"] == "test"
        tags.append(("held out from training" if held_out else "trained on", ""))
    if row["warnings"]:
        tags.append(("warnings", "warn"))
    failed = [
        t["name"] for t in (subject.validation or {}).get("null_tests", ()) if t["passed"] is False
    ]
    if failed:
        tags.append((f"null tests failed: {', '.join(failed)}", "bad"))
    return tags


def _warnings(subject, looked):
    """Return all that is to be said against a micrograph, each once."""
    found = [text for text in subject.row["warnings"].split("; ") if text]
    found += [f"header: {text}" for text in (looked.header.warnings if looked.header else ())]
    found += (subject.denoised or {}).get("warnings", ())
    found += [f"the pair: {text}" for text in (subject.validation or {}).get("doubts", ())]
    found += [
        f"{role}: {seen.not_finite:,} pixels of its pictures are no numbers"
        for role, seen in looked.seen.items()
        if seen.not_finite
    ]
    return list(dict.fromkeys(found))


def fact_rows(subject):
    """Return (label, text) of what the run knows of the micrograph."""
    row, shard, denoised = subject.row, subject.shard, subject.denoised
    size = subject.pixel_size_angstrom
    scale = 2 if shard["target_kind"] == "pixel_halves" else 1
    rows = []
    if shard["height_px"]:
        rows.append(("size", f"{shard['height_px'] * scale} x {shard['width_px'] * scale} px"))
    rows.append(("pixel size used", f"{size:.5g} Å" if size else "unknown: none is stated"))
    for label, key in (
        ("location (median of pieces)", "mean"),
        ("scale (median of pieces)", "std"),
        ("least pixel", "minimum"),
        ("greatest pixel", "maximum"),
        ("correlation of the halves", "half_correlation"),
    ):
        if shard[key] is not None:
            rows.append((label, on_page(shard[key], ".5g")))
    rows.append(("hot pixels replaced", f"{shard['hot_pixels']:,}"))
    rows.append(("trained against", str(shard["target_kind"]).replace("_", " ")))
    rows.append(("patches", f"{row['patches'] or 0:,} of {shard['patch_size_px']} px"))
    if denoised:
        model = denoised["model"]
        stage = f", stage {model['stage']}" if "stage" in model else ""
        rows.append(("denoised by", f"{model['architecture']}{stage}, {model['xxh3']}"))
        both = denoised.get("averaged_halves")
        because = denoised.get("not_averaged_because")
        rows.append(("denoised is", _averaged(both, because)))
    return rows


def _averaged(both, because):
    if both:
        return "the mean of both halves, each denoised"
    return "the denoised input" + (f" ({because})" if because else "")
