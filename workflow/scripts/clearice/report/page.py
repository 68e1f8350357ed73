"""The report: facts put into the template, and the tables beside the page."""

import csv
import io
from pathlib import Path

import yaml

from clearice.report.headlines import duration, memory, optional, verdict_line

PARITY_COLUMNS = (
    *("implementation", "precision", "verdict", "rung", "name", "passed", "percent"),
    *("max_error", "relative_l2", "oracle_l2", "reference_oracle_l2", "fault"),
)
MICROGRAPH_COLUMNS = (
    *("micrograph", "status", "reason", "split", "patches", "height_px", "width_px"),
    *("pixel_size_angstrom", "psnr_gain_db", "correlation_raw", "correlation_denoised"),
    *("warnings",),
)
STEP_COLUMNS = ("step", "jobs", "seconds", "longest_s", "longest_job", "peak_rss_mib")


def render_page(template_path, facts):
    """Return the page as HTML text; every value of `facts` is escaped but the figures' SVG."""
    import jinja2

    template_path = Path(template_path)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template_path.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        duration=duration,
        memory=memory,
        optional=lambda value, form=".4g": _dash(value) or f"{value:{form}}".replace("-", "−"),
        count=lambda value: _dash(value) or f"{value:,}",
        percent=percent,
    )
    environment.globals["figure"] = jinja2.utils.markupsafe.Markup
    return environment.get_template(template_path.name).render(**facts)


def percent(value):
    """Say a share of a tolerance: 3.2 %, 7e+05 %."""
    return _dash(value) or (f"{value:.1f} %" if value < 1e4 else f"{value:.0e} %")


def _dash(value):
    return "–" if value is None else ""


def micrograph_rows(micrographs, denoised):
    """Return the rows of the table: what list_micrographs wrote, and what denoising gained."""
    rows = []
    for row in micrographs:
        pairs = denoised.by_name.get(row["micrograph"], {}).get("pairs", {}) if denoised else {}
        psnr = [pairs.get(f"{side}_truth", {}).get("psnr_db") for side in ("raw", "denoised")]
        correlation = [
            pairs.get(f"{side}_target", {}).get("correlation") for side in ("raw", "denoised")
        ]
        rows.append(
            {
                **row,
                "psnr_gain_db": None if None in psnr else psnr[1] - psnr[0],
                "correlation_raw": correlation[0],
                "correlation_denoised": correlation[1],
            }
        )
    return rows


def parity_rows(verdicts):
    """Yield one row a check of every verdict, for the table beside the page."""
    for verdict in verdicts:
        about = {key: verdict[key] for key in ("implementation", "precision", "verdict")}
        for row in verdict.get("rows", ()):
            yield {**row, **about}


def rung_rows(verdict):
    """Return one row a rung: its state, checks, the worst share of a tolerance and where."""
    rows = []
    for rung, state in verdict["rungs"].items():
        checks = [row for row in verdict["rows"] if row["rung"] == rung]
        measured = [row for row in checks if row["percent"] is not None]
        worst = max(measured, key=lambda row: row["percent"], default=None)
        rows.append(
            {
                "rung": rung,
                "state": state,
                "checks": len(checks),
                "worst_percent": worst and worst["percent"],
                "worst": worst and worst["name"],
                "max_error": max((row["max_error"] for row in measured), default=None),
            }
        )
    return rows


def table_text(columns, rows):
    """Return rows (dicts) as tab-separated text with a header; None is an empty field."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        values = (row.get(column) for column in columns)
        writer.writerow(
            "" if v is None else f"{v:.9g}" if isinstance(v, float) else " ".join(str(v).split())
            for v in values
        )
    return text.getvalue()


def curve_rows(curves):
    """Yield one row a ring of mean Fourier ring correlations."""
    pairs = [key for key, value in curves.items() if isinstance(value, list)]
    for values in zip(*(curves[key] for key in pairs), strict=True):
        yield dict(zip(pairs, values, strict=True))


def headline_tiles(facts):
    """Return the tiles on top of the page: label, value, detail and state (or None)."""
    used, rejected = facts["micrographs"]["used"], facts["micrographs"]["rejected"]
    tiles = [
        ("Micrographs", f"{used:,}", f"used; {rejected:,} rejected", "warn" if rejected else None),
        (
            "Patches",
            f"{sum(facts['patches'].values()):,}",
            ", ".join(f"{n:,} {split}" for split, n in facts["patches"].items())
            + f"; {facts['patch_size_px']} px",
            None,
        ),
    ]
    for name, loss in facts["loss"].items():
        floor = loss["noise_floor_test"]
        detail = f"noise floor {floor:.4g}" if floor is not None else "no noise floor known"
        tiles.append(("Test loss", optional(loss["test_loss"]), f"{detail}; {name}", None))
    if facts["gain"]:
        tiles.append((*_gain_tile(facts["gain"]), None))
    state, _ = verdict_line(facts["parity"])
    value, detail = _parity_in_words(state, facts["parity"])
    tiles.append(("Parity", value, detail, {"passed": "good", "failed": "bad"}.get(state, "warn")))
    tiles.append(
        ("Time", duration(facts["busy_s"]), f"peak memory {memory(facts['peak_rss_mib'])}", None)
    )
    keys = ("label", "value", "detail", "state")
    return [dict(zip(keys, tile, strict=True)) for tile in tiles]


def _parity_in_words(state, parity):
    passed, failed, not_run = (
        [entry for entry in parity if entry["verdict"] == verdict]
        for verdict in ("passed", "failed", "not run")
    )
    if state == "passed":
        worst = max(entry["worst_percent"] for entry in passed)
        return state, f"at most {percent(worst)} of a tolerance used"
    if state == "failed":
        return state, ", ".join(
            f"{e['implementation']}: {e['lowest_failing_rung']}" for e in failed
        )
    if state == "none":
        return state, "not asked for"
    waiting = ", ".join(entry["implementation"] for entry in not_run)
    return f"{len(passed)} of {len(parity)}", f"passed; not run: {waiting}"


def _gain_tile(gain):
    count = f"mean of {gain['micrographs']:,}{' held-out' if gain['held_out'] else ''}"
    if gain["measure"] == "psnr_db":
        value = f"{gain['denoised'] - gain['raw']:+.1f} dB".replace("-", "−")
        return "Denoising gain", value, f"against the truth; {count}"
    detail = f"with the raw other half; raw {gain['raw']:.3f}; {count}"
    return "Correlation", f"{gain['denoised']:.3f}", detail


def config_text(config):
    """Return the configuration, defaults filled in, as YAML."""
    return yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
