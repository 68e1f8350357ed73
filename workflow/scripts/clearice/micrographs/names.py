"""The name of a micrograph, and its key: the same name as paths and Snakemake's wildcards hold it.

A key is reversible and readable. Ordinary names are their own key. Elsewhere a byte is written as
% and two hex digits: what a shell, Snakemake's command lines or its wildcards would take for
something else.
"""

import hashlib
import os
import re
import unicodedata

# With .benchmark.tsv, or a dot, .input.bin and .part: below the 255 bytes of a name.
MAX_KEY_BYTES = 220
_SEVERAL = 20  # repetitions at its end from which Snakemake suspects an endless loop
_ODD = re.compile(r"""[%\\/{}*?"'<>|,]|(?<= ) | (?=$)|^[ .-]""")
_END = "%_"  # no byte: what keeps a key apart from a name that means something else
_ORDINARY = re.compile(
    r"\w[\w.+ -]*(?<! )", re.ASCII
)  # so are most: no need to look at each letter
_RESERVED = {"summary"}  # results/validation/summary.json is the summary of all
_PERIODIC = re.compile(rf"(.+?)\1{{{_SEVERAL - 1},}}$", re.DOTALL)
_UNUSABLE = {"Cc", "Cs", "Zl", "Zp"}  # control characters, no UTF-8, line and paragraph separators


def is_usable(name):
    """Say whether a name is text on one line: tables, logs and lists of names must hold it."""
    return bool(name) and not any(unicodedata.category(letter) in _UNUSABLE for letter in name)


def key_of(name):
    """Return the key of a name: what stands for it in paths and wildcards.

    Two names never have one key. A name that is too long for our suffixes is cut, and a hash of
    all of it follows: such a key alone is not reversible.

    >>> key_of("Position_99_035[-61_00]"), key_of("two  blanks {x}")
    ('Position_99_035[-61_00]', 'two %20blanks %7Bx%7D')
    """
    key = name
    if "  " in name or not _ORDINARY.fullmatch(name):
        odd = {match.start() for match in _ODD.finditer(name)}
        key = "".join(_bytes(c) if i in odd or not _plain(c) else c for i, c in enumerate(name))
    if key in _RESERVED or _is_periodic(key):
        key += _END
    if len(os.fsencode(key)) > MAX_KEY_BYTES:
        digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
        room = MAX_KEY_BYTES - len(digest) - 3
        start = os.fsencode(key)[:room].decode("utf-8", "ignore")
        key = re.sub(r"%.?$", "", start) + "%~" + digest
    return key


def name_of(key):
    """Return the name of a key; a key that was cut stays as it is."""
    if re.search(r"%~[0-9a-f]{16}$", key):
        return key
    key = key.removesuffix(_END)
    codes = re.compile(rb"%([0-9A-F]{2})")
    return os.fsdecode(codes.sub(lambda code: bytes.fromhex(code[1].decode()), os.fsencode(key)))


def natural(name):
    """Return what a name is sorted by: text without case, and the numbers in it as numbers."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return [(int(part), "") if i % 2 else (0, part) for i, part in enumerate(parts)], name


def _plain(letter):
    return letter == " " or (letter.isprintable() and not letter.isspace())


def _bytes(letter):
    return "".join(f"%{byte:02X}" for byte in os.fsencode(letter))


def _is_periodic(key):
    # As Snakemake counts: the last letter must be there often before the pattern is worth a search.
    return len(key) >= _SEVERAL <= key.count(key[-1]) and _PERIODIC.search(key) is not None
