"""The page: facts put into the template, and the rows of its tables."""

from datetime import datetime
from pathlib import Path

import yaml

from clearice.micrographs.checks import measured_names
from clearice.parity.verdict import passed_text, percent_text
from clearice.report import figures
from clearice.report.checked import check_rows
from clearice.report.examples import embedded
from clearice.report.facts import versions
from clearice.report.headlines import held_out, left_out_text, verdict_line
from clearice.report.words import duration, memory, optional

PARITY_COLUMNS = (
    *("implementation", "precision", "verdict", "rung", "name", "passed", "percent"),
    *("max_error", "relative_l2", "oracle_l2", "reference_oracle_l2", "fault"),
)
MICROGRAPH_COLUMNS = (
    *("micrograph", "status", "reason", "split", "patches", "height_px", "width_px"),
    *("pixel_size_angstrom", "gain_over_linear_db", "correlation_raw", "correlation_denoised"),
    "warnings",
    *measured_names(),
)
STEP_COLUMNS = ("step", "jobs", "seconds", "longest_s", "longest_job", "peak_rss_mib")

_FIGURE_LABELS = {
    "loss": "Training and test loss against the epoch, with the noise floor.",
    "frc_target": "Fourier ring correlation of raw and denoised with the raw other half.",
    "frc_truth": "Fourier ring correlation of raw and denoised with the truth.",
}


def page_facts(results, config, title, drawn, patches, examples):
    """Return what the template needs: `results`, and pictures that are made for the page.

    `drawn` is what attachments.draw_curves returned; `patches` and `examples` are those of
    report.examples.
    """
    facts = results.headlines
    state, text = verdict_line(facts["parity"])
    return {
        "title": title,
        "made": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        "verdict": {"state": state, "text": text},
        "facts": facts,
        "tiles": headline_tiles(facts),
        "micrographs": micrograph_rows(results.micrographs, results.validation),
        "checks": check_rows(results.micrographs),
        "patches": [{**patch, "pictures": embedded(patch)} for patch in patches],
        "trainings": results.trainings,
        "histories": results.histories,
        "earlier": results.earlier,
        "figures": {
            name: figures.for_page(svg, _FIGURE_LABELS[name], name)
            for name, svg in drawn.items()
            if name in _FIGURE_LABELS
        },
        "frc": results.frc,
        "validation": results.validation and results.validation.summary,
        "evidence": results.validation.evidence_rows() if results.validation else [],
        "examples": [
            {**e, "rows": [{**row, "pictures": embedded(row)} for row in e["rows"]]}
            for e in examples
        ],
        "verdicts": [{**verdict, "by_rung": rung_rows(verdict)} for verdict in results.verdicts],
        "steps": results.steps,
        "versions": versions(),
        "config": config,
        "config_text": config_text(config),
    }


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
        percent=lambda value: _dash(value) or percent_text(value),
    )
    environment.globals["figure"] = jinja2.utils.markupsafe.Markup
    return environment.get_template(template_path.name).render(**facts)


def _dash(value):
    return "–" if value is None else ""


def micrograph_rows(micrographs, validation):
    """Return the rows of the table: what list_micrographs wrote, and what denoising gained."""
    rows = []
    for row in micrographs:
        record = validation.by_name.get(row["micrograph"], {}) if validation else {}
        target, truth = record.get("target") or {}, record.get("truth") or {}
        correlation = target.get("correlation", {})
        gain = truth.get("gain_over_linear_db") if truth else target.get("gain_over_linear_db")
        rows.append(
            {
                **row,
                "gain_over_linear_db": gain,
                "correlation_raw": correlation.get("raw"),
                "correlation_denoised": correlation.get("denoised"),
            }
        )
    return rows


def parity_rows(verdicts):
    """Yield one row per check of every verdict, for the table beside the page."""
    for verdict in verdicts:
        about = {key: verdict[key] for key in ("implementation", "precision", "verdict")}
        for row in verdict.get("rows", ()):
            yield {**row, **about}


def rung_rows(verdict):
    """Return one row per rung: its state, checks, the worst share of a tolerance and where."""
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


def curve_rows(curves):
    """Yield one row per ring of mean Fourier ring correlations."""
    pairs = [key for key, value in curves.items() if isinstance(value, list)]
    for values in zip(*(curves[key] for key in pairs), strict=True):
        yield dict(zip(pairs, values, strict=True))


def headline_tiles(facts):
    """Return the tiles on top of the page: label, value, detail and state (or None)."""
    used, rejected = facts["micrographs"]["used"], facts["micrographs"]["rejected"]
    tiles = [
        ("Micrographs", f"{used:,}", f"used; {left_out_text(facts)}", "warn" if rejected else None),
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
    if facts["null_tests"]:
        tiles.append(_null_test_tile(facts["null_tests"]))
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
        return state, passed_text(worst)
    if state == "failed":
        return state, ", ".join(
            f"{e['implementation']}: {e['lowest_failing_rung']}" for e in failed
        )
    if state == "none":
        return state, "not asked for"
    waiting = ", ".join(entry["implementation"] for entry in not_run)
    return f"{len(passed)} of {len(parity)}", f"passed; not run: {waiting}"


def _gain_tile(gain):
    where = held_out(gain["micrographs"])
    if gain["gain_over_linear_db"] is None:
        detail = f"with the raw other half; best linear filter {gain['linear']:.3f}; {where}"
        return "Correlation", f"{gain['denoised']:.3f}", detail
    value = f"{gain['gain_over_linear_db']:+.1f} dB".replace("-", "−")
    if gain["measure"] == "snr_db":
        detail = f"{gain['denoised']:.1f} dB against the truth; {where}"
    else:
        detail = f"in error above the noise floor of the other half; {where}"
    return "Gain over the best linear filter", value, detail


def _null_test_tile(tests):
    passed, failed = tests["judged"] - len(tests["failed"]), tests["failed"]
    detail = f"failed: {', '.join(failed)}" if failed else "passed"
    return "Null tests", f"{passed} of {tests['judged']}", detail, "bad" if failed else "good"


def config_text(config):
    """Return the configuration, defaults filled in, as YAML."""
    return yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
