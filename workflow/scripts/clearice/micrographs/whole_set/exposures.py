"""Which images are of one exposure, told by their names: X, X_DW and X_PS.

Programs add a word to the name of the micrograph when they write another image of it: a sum
without dose weighting, halves, a power spectrum. What is of one exposure shares its scene, and
mostly its noise: it belongs into one split.
"""

import re

_SEPARATORS = "_-. ~+"
MAX_DERIVED = 12  # images that programs make of one exposure; more share a prefix, not a scene

# Words of images that are no micrographs: spectra, background estimates, thumbnails, masks.
_NO_MICROGRAPH = re.compile(
    r"(ps|psd|pspec|pow|power|powspec|(power)?spectrum|(power)?spectra|(power)?spec|fft|ctf|"
    r"ctffind\d*|gctf|diag|diagnostics?|avrot|bg|bkg|bgd|background|thumbs?|thumbnails?|tn|"
    r"preview|icon|shr|shrunk|small|lowres|bin(ned)?\d*|\d+x|mask|rejected|residual)",
    re.IGNORECASE,
)
# Words of micrographs: of several of them one exposure may have one each.
_MICROGRAPH = re.compile(
    r"(dw|dws|no?dw|nondw|doseweighted|dose|weighted|unweighted|evn|odd|even|half[12]?|sum|avg|"
    r"ave|average|aligned|patch|rigid|mic|corrected|ali|denoised|raw|frames?|rest)",
    re.IGNORECASE,
)
_CRYOSPARC_ID = re.compile(r"\d{21}_")  # which it puts before a name, another one for each job


def bases(names):
    """Return name -> the shortest other name that it continues with a word; only such names.

    A word begins with one of "_-. ~+" and holds a letter: X_2 is the next image after X, and
    X_DW is the same one.
    """
    names = set(names)
    longer = {name: _shorter_names(name, names) for name in names}
    counts = {}
    for found in longer.values():
        for base in found:
            counts[base] = counts.get(base, 0) + 1
    return {
        name: base
        for name, found in longer.items()
        for base in [b for b in found if counts[b] <= MAX_DERIVED][:1]
    }


def _shorter_names(name, names):
    """Return which of `names` this one continues with a word, shortest first."""
    cuts = [i for i in range(1, len(name)) if name[i] in _SEPARATORS]
    ends = zip(cuts, [*cuts[1:], len(name)], strict=False)
    worded = [cut for cut, end in ends if any(map(str.isalpha, name[cut:end]))]
    return [name[:cut] for cut in worded if name[:cut] in names]


def is_no_micrograph(suffix):
    """Say whether a suffix such as _PS or _thumb_@1x means an image that is no micrograph."""
    return any(_NO_MICROGRAPH.fullmatch(word) for word in _words(suffix))


def _words(text):
    return [word for word in re.split(r"[^0-9A-Za-z]+", text) if word]


def exposures(names):
    """Return name -> exposure, equal for all images of one exposure, over `names`.

    The exposure of a name without relatives is the name itself, so that others never change it.
    """
    base = bases(names)
    roots = {name: base.get(name, name) for name in names}
    stems = {}
    for root in set(roots.values()):
        stems.setdefault(_stem(root), []).append(root)
    exposure = {
        root: stem if len(found) > 1 else root for stem, found in stems.items() for root in found
    }
    return {name: exposure[root] for name, root in roots.items()}


def _stem(name):
    """Return a name without its last words that only say which image of the exposure it is."""
    stem = name
    while True:
        cut = max(stem.rfind(separator) for separator in _SEPARATORS)
        if cut < 1 or not (_MICROGRAPH.fullmatch(stem[cut + 1 :]) or is_no_micrograph(stem[cut:])):
            return _CRYOSPARC_ID.sub("", stem, count=1) if _CRYOSPARC_ID.match(stem) else stem
        stem = stem[:cut]
