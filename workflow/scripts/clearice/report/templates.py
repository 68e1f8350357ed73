"""How templates become pages: every value escaped, also those that a script reads."""

import json

from clearice.report.words import on_page


def environment(folder):
    """Return the Jinja2 environment of the templates in `folder`; a missing value is an error.

    `figure` takes SVG of ours, and the filter `script_json` any value, as they are; `optional`
    formats a number (words.on_page).
    """
    import jinja2

    markup = jinja2.utils.markupsafe.Markup
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["figure"] = markup
    made.filters["optional"] = on_page
    made.filters["script_json"] = lambda value: markup(script_json(value))
    return made


def script_json(value):
    """Return a value as JSON that can stand inside a <script>, whatever its texts hold."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text
