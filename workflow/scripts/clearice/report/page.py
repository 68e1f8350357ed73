"""The page: its sections, and what they leave beside it."""

from pathlib import Path

from clearice.parity.verdict import percent_text
from clearice.report.sections import (
    costs,
    denoised,
    documents,
    head,
    micrographs,
    parity,
    patches,
    training,
    validation,
)
from clearice.report.templates import environment
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
    "documents": documents,
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
    template_path = Path(template_path)
    templates = environment(template_path.parent)
    templates.filters.update(
        duration=duration,
        memory=memory,
        count=lambda value: _dash(value) or f"{value:,}",
        percent=lambda value: _dash(value) or percent_text(value),
    )
    templates.globals["sections"] = list(SECTIONS)
    return templates.get_template(template_path.name).render(**facts)


def _dash(value):
    return "–" if value is None else ""
