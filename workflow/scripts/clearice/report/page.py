"""The page: its sections, and what they leave beside it."""

import json
from pathlib import Path

from clearice.parity.verdict import percent_text
from clearice.report.sections import (
    costs,
    denoised,
    head,
    micrographs,
    parity,
    patches,
    training,
    validation,
)
from clearice.report.words import duration, memory

SECTIONS = {  # in the order of the page
    "head": head,
    "micrographs": micrographs,
    "denoised": denoised,
    "validation": validation,
    "training": training,
    "patches": patches,
    "parity": parity,
    "costs": costs,
}


def make_page(template_path, results, config):
    """Return (page, files): the HTML text, and name -> text or bytes of what lies beside it."""
    sections = {name: module.section(results, config) for name, module in SECTIONS.items()}
    facts = {name: section.facts for name, section in sections.items()}
    files = {name: data for section in sections.values() for name, data in section.files.items()}
    page = render_page(template_path, {**facts, "facts": results.headlines, "config": config})
    return page, files


def render_page(template_path, facts):
    """Return the page as HTML text; every value of `facts` is escaped but figures and scripts."""
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
        script_json=lambda value: jinja2.utils.markupsafe.Markup(script_json(value)),
    )
    environment.globals["figure"] = jinja2.utils.markupsafe.Markup
    environment.globals["sections"] = list(SECTIONS)
    return environment.get_template(template_path.name).render(**facts)


def script_json(value):
    """Return a value as JSON that can stand inside a <script>, whatever its texts hold."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _dash(value):
    return "–" if value is None else ""
