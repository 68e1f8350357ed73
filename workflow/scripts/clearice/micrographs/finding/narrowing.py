"""How to write micrographs.files so that it finds some of the files that it finds now."""

import collections
import fnmatch
import glob
import re
from pathlib import PurePath

from clearice.micrographs.whole_set.exposures import is_no_micrograph

_ENDING = re.compile(r"\.\w+(\.gz|\.bz2)?")
_HALVES = (("evn", "odd"), ("even", "odd"), ("half1", "half2"))


def narrowed(files, keep, drop):
    """Return globs like `files` that find the stems `keep` and none of `drop`, as YAML, or None.

    `files` is micrographs.files: a glob or a list of globs.
    """
    for end in _ends(keep):
        fits = re.compile(fnmatch.translate(f"*{end}")).match
        if all(map(fits, keep)) and not any(map(fits, drop)):
            return _with_end(files, end)
    return None


def one_of_each(section, relatives):
    """Return what to set so that one image of each exposure is used, or its halves as a pair.

    `section` is `micrographs` of config.yaml; `relatives` is name -> first name of its exposure.
    """
    ends = collections.Counter(_last_word(name) for name in relatives)
    ends = [end for end, _ in ends.most_common() if end and not is_no_micrograph(end)]
    by_word = {end.strip("_-. ~+").lower(): end for end in ends}
    for first, second in _HALVES:
        if first in by_word and second in by_word and section["halves"] is None:
            halves = by_word[first], by_word[second]
            globs = _with_end(section["files"], *map(glob.escape, halves))
            if globs:
                pair = f'{{input: "{halves[0]}", target: "{halves[1]}"}}'
                return f"set micrographs.files to {globs} and micrographs.halves to {pair}"
    for end in ends:
        firsts = [first for name, first in relatives.items() if name.endswith(end)]
        globs = _with_end(section["files"], glob.escape(end))
        if globs and len(set(firsts)) == len(firsts):
            return f"set micrographs.files to {globs}"
    return "name its files in a .star or a .tsv"


def _last_word(name):
    """Return the end of a name from its last separator on, if it holds a letter."""
    found = re.search(r"[_\-. ~+][^_\-. ~+]*[^\W\d_][^_\-. ~+]*$", name)
    return found.group() if found else ""


def _ends(keep):
    """Yield ends, as globs, that all the stems in `keep` might have and few others."""
    common = min(keep, key=len, default="")
    while not all(name.endswith(common) for name in keep):
        common = common[1:]
    words = re.search(r"[_\-. ~+]?[^\W\d_].*$", common)
    if words:
        yield glob.escape(words.group())
    if common:
        yield glob.escape(common)
    yield from ("[0-9]", "[0-9][0-9]", "[A-Za-z]")


def _with_end(files, *ends):
    """Return the globs of `files` for names with these ends, as YAML; None if they are no globs."""
    globs = []
    for pattern in [files] if isinstance(files, str) else list(files or ()):
        path = PurePath(pattern)
        before, star, after = path.name.rpartition("*")
        if not star or not _ENDING.fullmatch(after):
            return None
        globs += [str(path.with_name(f"{before}*{end}{after}")) for end in ends]
    texts = [f'"{text}"' for text in globs]
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]" if texts else None
