"""What the set of micrographs is made of, and whether that is one set: from headers and names.

Thresholds, messages and their reasons: checks.py. Reads no file.
"""

import collections
import dataclasses

from clearice.errors import InputError
from clearice.micrographs import checks
from clearice.micrographs.check import STOPS
from clearice.micrographs.finding.narrowing import narrowed, one_of_each
from clearice.micrographs.whole_set import set_checks
from clearice.micrographs.whole_set.exposures import bases, exposures, is_no_micrograph
from clearice.wording import LISTED, listed

# Odd ones stop a run if they are two or more and at least this part of the set: a few wrong
# headers among thousands are a matter for a warning.
_PART_THAT_STOPS = 0.01


@dataclasses.dataclass(frozen=True)
class Member:
    """One micrograph as its header describes it, the input half of a pair.

    `pixel_size_angstrom` is the one that is used, None where nothing gives one; with
    `stated_pixel_size_angstrom` (a table's) that one, else the header's.
    """

    name: str
    height_px: int
    width_px: int
    header_pixel_size_angstrom: float | None = None
    stated_pixel_size_angstrom: float | None = None

    @property
    def pixel_size_angstrom(self):
        """The pixel size that is used."""
        return self.stated_pixel_size_angstrom or self.header_pixel_size_angstrom

    @property
    def sides_px(self):
        """The longer and the shorter side: a turned camera is the same camera."""
        return max(self.height_px, self.width_px), min(self.height_px, self.width_px)

    @property
    def kind(self):
        """Shape and pixel size in words."""
        size = self.pixel_size_angstrom
        at = "" if size is None else f" at {size:.4g} A"
        return f"{self.height_px} x {self.width_px} px{at}"


@dataclasses.dataclass
class Comparison:
    """What comparing the members found.

    `warnings` is name -> list of texts, for the table; `lines` says the same in a few lines, for
    a terminal; `fault` is the InputError of a set that is not one, or None.
    """

    warnings: dict
    lines: list
    fault: InputError | None = None


def in_words(members):
    """Return one line of what there is, the most frequent first."""
    counts = collections.Counter(member.kind for member in members)
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return listed([f"{kind} ({count:,})" for kind, count in ordered])


def pixel_size_warnings(header, stated):
    """Return (how far the header's pixel size is from a table's, warnings about that).

    Both in angstrom or None; the first is relative, and None without either.
    """
    if header is None or stated is None:
        return None, []
    off, check = header / stated - 1, checks.STATED_PIXEL_SIZE
    if abs(off) <= check.threshold:
        return off, []
    return off, [check.message.format(stated=f"{stated:.4g}", header=f"{header:.4g}")]


def entry_warnings(entry, stated, header_sizes):
    """Return the warnings about the pixel size that the description of an EMPIAR entry states.

    `stated` is in angstrom, or None; `header_sizes` are those of the headers, None where one has
    none. Headers count, the description is for people.
    """
    header, check = _mode(header_sizes), set_checks.ENTRY_PIXEL_SIZE
    if stated is None or header is None or abs(header / stated - 1) <= check.threshold:
        return []
    return [check.message.format(entry=entry, stated=f"{stated:.4g}", header=f"{header:.4g}")]


def compare(members, section, usable=None):
    """Compare the members of a set with each other; return a Comparison.

    `section` is `micrographs` of config.yaml; its key `mixed` says whether a mixture stops.
    `usable` are the names of those that would be trained on (None: all): the others, which are
    rejected, are no mixture. What a table states against a header is in `lines` alone: the record
    of the shard has it already.
    """
    if len(members) < 2:
        return Comparison({}, _lines(_stated(members)))
    derived = bases(member.name for member in members)
    relatives = _relatives([member.name for member in members])
    most = _most_frequent([m for m in members if m.name not in derived])
    odd = {}  # Check -> {name: (text, text for many)}
    for member in members:
        for check, words in _oddities(member, most, derived.get(member.name), relatives):
            text = check.message.format(**words)
            others = check.message.format(**words | {"base": "another"})
            odd.setdefault(check, {})[member.name] = text, others
    found = Comparison({}, _lines(odd | _stated(members)))
    for texts in odd.values():
        for name, (text, _) in texts.items():
            found.warnings.setdefault(name, []).append(text)
    if set_checks.SIBLING in odd and section["source"] == "files":
        found.lines.append(f"for one image of each exposure, {one_of_each(section, relatives)}")
    usable = {m.name for m in members} if usable is None else set(usable)
    mixed = {n for c, texts in odd.items() if c.outcome == STOPS for n in texts} & usable
    if section["mixed"] == "stop" and len(mixed) >= max(2, _PART_THAT_STOPS * len(usable)):
        found.fault = _mixture(members, mixed, section["files"], derived)
    return found


def _lines(odd):
    """Return what is odd in a few lines, each with the first names."""
    named = {}  # text -> names
    for texts in odd.values():
        for name, (_, text) in texts.items():
            named.setdefault(text, []).append(name)
    lines = [
        f"{len(names):,} micrograph{'s' if len(names) > 1 else ''}: {text} ({listed(names)})"
        for text, names in named.items()
    ]
    more = len(lines) - LISTED
    return lines[:LISTED] + ([f"and {more:,} more kinds of micrograph"] if more > 0 else [])


def _stated(members):
    """Return Check -> {name: (text, text)} of the members whose header contradicts a table."""
    found = {}
    for m in members:
        _, texts = pixel_size_warnings(m.header_pixel_size_angstrom, m.stated_pixel_size_angstrom)
        if texts:
            found[m.name] = texts[0], texts[0]
    return {checks.STATED_PIXEL_SIZE: found}


def _relatives(names):
    """Return name -> the first name of its exposure, where there are several."""
    families = {}
    for name, exposure in exposures(names).items():
        families.setdefault(exposure, []).append(name)
    return {
        name: min(family, key=lambda n: (len(n), n))
        for family in families.values()
        if len(family) > 1
        for name in family
    }


def _most_frequent(members):
    """Return ((height, width), pixel size, header's pixel size) of most, the larger of two."""
    counts = collections.Counter(m.sides_px for m in members)
    sides = max(counts, key=lambda sides: (counts[sides], sides))
    like = [m for m in members if m.sides_px == sides]
    shapes = collections.Counter((m.height_px, m.width_px) for m in like)
    return max(shapes, key=shapes.get), *(
        _mode([getattr(m, key) for m in like])
        for key in ("pixel_size_angstrom", "header_pixel_size_angstrom")
    )


def _mode(sizes):
    """Return the most frequent of some pixel sizes, equal ones to four digits; None of none."""
    counts = collections.Counter(float(f"{size:.4g}") for size in sizes if size is not None)
    return max(counts, key=lambda size: (counts[size], -size), default=None)


def _oddities(member, most, base, relatives):
    """Yield (Check, words of its message) of what sets a member apart."""
    shape, size, header_size = most
    suffix = member.name.removeprefix(base or "")
    if base is not None and is_no_micrograph(suffix):
        yield set_checks.NO_MICROGRAPH, {"base": base, "suffix": suffix}
    elif (first := relatives.get(member.name, member.name)) != member.name:
        yield set_checks.SIBLING, {"base": first}
    shapes = {
        "value": f"{member.height_px} x {member.width_px}",
        "most": f"{shape[0]} x {shape[1]}",
    }
    areas = member.height_px * member.width_px, shape[0] * shape[1]
    if _apart(*areas, set_checks.OTHER_SCALE, 1):
        yield set_checks.OTHER_SCALE, shapes
    elif any(
        _apart(mine, other, set_checks.OTHER_SHAPE)
        for mine, other in zip(member.sides_px, sorted(shape, reverse=True), strict=True)
    ):
        yield set_checks.OTHER_SHAPE, shapes
    mine, header = member.pixel_size_angstrom, member.header_pixel_size_angstrom
    sizes = {"value": f"{mine or 0:.4g}", "most": f"{size or 0:.4g}"}
    if _apart(mine, size, set_checks.MIXED_PIXEL_SIZES):
        yield set_checks.MIXED_PIXEL_SIZES, sizes
    elif _apart(mine, size, set_checks.PIXEL_SIZE):
        yield set_checks.PIXEL_SIZE, sizes
    elif mine != header and _apart(header, header_size, set_checks.HEADER_PIXEL_SIZE):
        words = {"value": f"{header:.4g}", "most": f"{header_size:.4g}"}
        yield set_checks.HEADER_PIXEL_SIZE, words


def _apart(mine, other, check, factor=0):
    """Say whether two numbers differ by more than a check's threshold; None differs from none.

    The threshold is a part of the smaller one, or with `factor` 1 larger over smaller.
    """
    if mine is None or other is None:
        return False
    return not max(mine / other, other / mine) <= check.threshold + 1 - factor


def _mixture(members, mixed, files, derived):
    """Return the InputError of a set that is a mixture; `mixed` are the names that don't fit."""
    suffixes = collections.Counter(
        name.removeprefix(derived[name])
        for name in sorted(mixed)
        if name in derived and is_no_micrograph(name.removeprefix(derived[name]))
    )
    kinds = in_words([m for m in members if m.name in mixed])
    added = [f"{suffix} ({count:,})" for suffix, count in suffixes.most_common()]
    because = f", names that are another's plus {listed(added)}" if added else ""
    others = [member for member in members if member.name not in mixed]
    globs = narrowed(files, [m.name for m in others], mixed)
    way_out = globs or "the ones that you want, or to a .star or .tsv that names them"
    return InputError(
        f"{len(mixed):,} of {len(members):,} micrographs are not like the others",
        file="config.yaml",
        expected=in_words(others),
        found=f"{kinds}{because}: {listed(sorted(mixed))}",
        advice=f"set micrographs.files to {way_out}; or micrographs.mixed: warn, to use all",
    )
