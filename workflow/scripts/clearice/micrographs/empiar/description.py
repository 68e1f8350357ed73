"""What the archive says of an entry: title, dates, and the image set in the folder that is used.

Asked at {empiar.api_url}/EMPIAR-{entry}/ and shown; nothing is computed from it. The reply is
{"EMPIAR-10025": {"title": ..., "release_date": ..., "imagesets": [{"directory": ..., "category":
..., "num_images_or_tilt_series": ..., "image_width": ..., "image_height": ..., "pixel_width": ...,
"details": ...}, ...]}}; sizes are text in some entries, pixel_width is in angstrom. The dose has
no field of its own: depositors write it into the details.
"""

import dataclasses
import datetime
import hashlib
import json
import math
import re
from pathlib import Path

from clearice.errors import InputError
from clearice.files import read_json, write_json
from clearice.micrographs.empiar.connection import Patience, opened, persist, whole_body
from clearice.micrographs.empiar.kept_listing import FOLDER, revisions
from clearice.micrographs.empiar.transport import printable

_REPLY_BYTES, _REPLY_S = 4 << 20, 20.0
_PATIENCE = Patience(stall_s=5.0, attempts=1)  # nothing waits for it
_ASK_AGAIN_S = 86400  # after a failure
_MOST_SETS = 1000
_LETTERS = 10_000  # of details that are looked through
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_NUMBER = r"(?<![\d.])\d{1,6}(?:\.\d{1,6})?\s{0,2}"
_ELECTRONS = r"(?:e|electrons?)\s?[-\u2212\u207b\u2013]?\s{0,2}"
_PER = r"(?:/|per|\*|\u00b7|\.)?\s{0,2}"
_ANGSTROM = "(?:\u00c5|\u212b|angstroms?|\u00e5ngstr\u00f6ms?|A(?![a-z]))"
_TO_THE_TWO = r"(?:\s?(?:\^|\*\*)?\{?-?2\b\}?|[-\u2212\u207b]?\u00b2|\s?squared)"
_DOSE = re.compile(
    rf"{_NUMBER}{_ELECTRONS}{_PER}(?:sq(?:uare)?\.?\s{_ANGSTROM}|{_ANGSTROM}{_TO_THE_TWO})"
    r"(?:\s?(?:/|per)\s?(?:frame|s(?:ec(?:ond)?)?)\b)?",
    re.I,
)


@dataclasses.dataclass(frozen=True)
class Description:
    """What an entry says of itself; what it does not say, or says in another form, is None.

    `directory`, `category`, `images`, `width_px`, `height_px`, `pixel_size_angstrom` and `doses`
    (phrases of the details) are those of the image set that the run uses.
    """

    entry: str
    title: str | None = None
    released: str | None = None
    updated: str | None = None
    directory: str | None = None
    category: str | None = None
    images: int | None = None
    width_px: int | None = None
    height_px: int | None = None
    pixel_size_angstrom: float | None = None
    doses: tuple = ()

    def in_words(self):
        """Return the description in one line."""
        dates = [f"released {self.released}"] if self.released else []
        if self.updated and self.updated != self.released:
            dates.append(f"updated {self.updated}")
        parts = [self.title, *dates]
        if self.directory:
            images = None if self.images is None else f"{self.images:,}"
            what = " ".join(filter(None, [images, self.category or "images"]))
            size = f" of {self.width_px} x {self.height_px} px" if self.width_px else ""
            at = self.pixel_size_angstrom
            at = f" at {at:.4g} angstrom per pixel" if at else ""
            parts.append(f"in {self.directory} {what}{size}{at}")
        if self.doses:
            parts.append(f"dose {', '.join(self.doses)}")
        return f"EMPIAR-{self.entry}: {'; '.join(filter(None, parts)) or 'no description'}"

    def facts(self):
        """Return what the report shows, as plain values."""
        return {
            "entry": self.entry,
            "words": self.in_words(),
            "pixel_size_angstrom": self.pixel_size_angstrom,
        }


def describe_entry(settings, directory, say=lambda line: None, ask=True, patience=_PATIENCE):
    """Return the Description of the entry of the `empiar` section, None where there is none.

    It is asked for once, again after a release, and after a failure again the next day; what was
    answered is kept under the run folder `directory`. `say` is called with a line if the archive
    does not answer; that is no error.
    """
    if settings["api_url"] is None:
        return None
    entry, path = settings["entry"], description_path(directory, settings["entry"])
    kept = _read_kept(path)
    asked_for = [f"{settings['api_url'].rstrip('/')}/EMPIAR-{entry}/", settings["directory"]]
    release = _digest(revisions(directory, entry))
    if kept and kept["asked_for"] == asked_for and kept["release"] == release:
        age_s = _now().timestamp() - kept["asked_at"]
        if kept["description"] is not None or 0 <= age_s < _ASK_AGAIN_S or not ask:
            return kept["description"]
    if not ask:
        return None
    found = _asked(asked_for, entry, patience, say)
    facts = {"asked_for": asked_for, "release": release, "asked_at": _now().timestamp()}
    facts["description"] = None if found is None else dataclasses.asdict(found)
    write_json(path, facts)
    return found


def kept_description(settings, directory):
    """Return the Description that was kept, None where there is none."""
    return describe_entry(settings, directory, ask=False)


def description_path(directory, entry):
    """Return where the description of an entry is kept."""
    return Path(directory, FOLDER, f"empiar_{entry}.json")


def _now():
    return datetime.datetime.now(datetime.UTC)


def _digest(files):
    """Return a few digits that change with the names and revisions of an entry's files."""
    return hashlib.sha256(json.dumps(sorted(files.items())).encode()).hexdigest()[:16]


def _asked(asked_for, entry, patience, say):
    """Return the Description that the archive gives; None, and a line said, if it gives none."""
    url, directory = asked_for
    try:
        reply = persist(lambda: _reply(url, patience), url, patience, advice="")
        return parse_description(reply, entry, directory)
    except InputError as error:
        say(f"EMPIAR-{entry}: no description ({url}: {printable(error.what)})")
    except ValueError as error:
        say(f"EMPIAR-{entry}: no description ({url}: {printable(str(error))})")
    return None


def _reply(url, patience):
    with opened(url, patience) as response:
        return whole_body(response, _REPLY_BYTES, _REPLY_S, patience)


def parse_description(reply, entry, directory):
    """Return the Description in the bytes `reply`; ValueError where they are none of the entry.

    Whatever a reply holds, the text in it is short, and printable on one line.
    """
    try:
        found = json.loads(reply)
    except (ValueError, RecursionError):
        raise ValueError("the reply is no JSON that can be read") from None
    found = found.get(f"EMPIAR-{entry}") if isinstance(found, dict) else None
    if not isinstance(found, dict):
        raise ValueError(f"the reply does not describe EMPIAR-{entry}")
    facts = {"title": _text(found.get("title"), 200)}
    facts |= {key: _date(found.get(f"{name}_date")) for key, name in _DATES.items()}
    return Description(entry, **facts, **_image_set(found.get("imagesets"), directory))


_DATES = {"released": "release", "updated": "update"}


def _image_set(sets, directory):
    """Return what the image set in `directory`, or the nearest one above or below it, says."""
    found = [s for s in sets[:_MOST_SETS] if isinstance(s, dict)] if isinstance(sets, list) else []
    by_folder = {}
    for each in found:
        folder = each.get("directory")
        if isinstance(folder, str):
            by_folder.setdefault(_parts(folder), each)
    wanted = _parts(directory)
    near = [f for f in by_folder if f == wanted[: len(f)]]
    below = [f for f in by_folder if f[: len(wanted)] == wanted]
    if not near and len(below) != 1:
        return {}
    each = by_folder[max(near, key=len) if near else below[0]]
    width, height = (_count(each.get(f"image_{side}")) for side in ("width", "height"))
    details = each.get("details")
    return {
        "directory": _text(each["directory"], 100),
        "category": _text(each.get("category"), 60),
        "images": _count(each.get("num_images_or_tilt_series")),
        "width_px": width if height else None,
        "height_px": height if width else None,
        "pixel_size_angstrom": _pixel_size(each.get("pixel_width")),
        "doses": _doses(details) if isinstance(details, str) else (),
    }


def _parts(folder):
    return tuple(part for part in folder[:1000].split("/") if part)


def _doses(details):
    """Return the first phrases of a text that give electrons per square angstrom, as written."""
    text = " ".join(printable(details[:_LETTERS], _LETTERS).split())
    found = dict.fromkeys(match[0].strip() for match in _DOSE.finditer(text))
    return tuple(list(found)[:3])


def _text(value, limit):
    return (printable(value, limit) or None) if isinstance(value, str) else None


def _date(value):
    match = _DATE.match(value) if isinstance(value, str) else None
    return match[0] if match else None


def _count(value):
    """Return a whole number from 1 on, given as such or as digits; None for anything else."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value):
        value = int(value)
    return value if type(value) is int and 0 < value < 10**9 else None


def _pixel_size(value):
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,9})?", value):
        value = float(value)
    fine = type(value) in (int, float) and math.isfinite(value) and 0 < value < 1e5
    return float(value) if fine else None


def _read_kept(path):
    """Return what is kept in `path` with a Description (or None) in it; None where nothing is."""
    try:
        kept = read_json(path)
        facts = kept["description"]
        if facts is not None:
            kept["description"] = Description(**facts | {"doses": tuple(facts["doses"])})
            kept["description"].in_words()
        kept["asked_for"], kept["release"], float(kept["asked_at"])
        return kept
    except (OSError, InputError, ValueError, LookupError, TypeError, AttributeError):
        return None
