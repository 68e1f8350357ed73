"""Files that a glob of micrographs.files stands for, or the true reason why there are none."""

import glob
import os
import re
from pathlib import Path, PurePath

from clearice.errors import InputError

# What a path may be that is no micrograph: read as one, each would be rejected without a hint.
_KINDS = {
    ".cs": ("a cryoSPARC dataset", "export it as a .star, or give a glob of its micrographs"),
    ".csg": ("a cryoSPARC group", "export it as a .star, or give a glob of its micrographs"),
    ".tomostar": ("a Warp table of a tilt series", "give a glob of the averages that it names"),
    ".mdoc": ("the metadata of a tilt series", "give a glob of the micrographs"),
    ".csv": ("a table with commas", "save it tab-separated, as .tsv (micrograph, input, target)"),
    ".txt": ("a text file", "make it a .tsv (micrograph, input, target), or give a glob"),
    ".xlsx": ("a spreadsheet", "save it tab-separated, as .tsv (micrograph, input, target)"),
    ".json": ("a JSON file", "give a glob, a .star or a .tsv"),
    ".xml": ("an XML file", "give a glob, a .star or a .tsv"),
}


def matching_files(pattern, directory):
    """Return the paths of what `pattern`, a glob, stands for, relative to `directory` as it is.

    ** stands for any folders, hidden ones left out, each visited once, however many links lead to
    it. Folders are left out. Raises InputError, with the reason and the way out, for no file.
    """
    paths = _expanded(pattern, directory)
    if not paths and (directory / pattern).is_file():  # a name may hold brackets
        paths = [pattern]
    if not paths:
        raise _no_match(pattern, directory)
    kind = _KINDS.get(PurePath(pattern).suffix.lower())
    if kind and not glob.has_magic(pattern):
        raise InputError(f"{kind[0]}, not a micrograph", file=pattern, advice=kind[1])
    return paths


def _expanded(pattern, directory):
    try:
        paths = list(_globbed(pattern, directory))
    except (ValueError, re.error):  # a null character
        return []
    return [path for path in paths if not (directory / path).is_dir()]


def _globbed(pattern, directory):
    parts = pattern.split("/")
    if "**" not in parts:
        return glob.glob(pattern, root_dir=directory)
    deep = parts.index("**")
    rest = parts[deep + 1 :]
    while rest[:1] == ["**"]:
        rest = rest[1:]
    tail = "/".join(rest) or "*"
    bases = glob.glob("/".join([*parts[:deep], ""]), root_dir=directory) if deep else [""]
    found = {}  # not a set: in the order of the visit
    for folder in _folders([str(directory / base) for base in bases], bases):
        inside = _globbed(tail, directory / folder)
        found |= dict.fromkeys(folder + path for path in inside)
    return list(found)


def _folders(paths, names):
    """Yield the folders at `paths` and below, as `names` and below, each file system node once.

    Real folders come first: a file has the path that no link leads along, if it has one.
    """
    waiting, links, seen = list(zip(paths, names, strict=True)), [], set()
    while waiting or links:
        path, name = waiting.pop() if waiting else links.pop(0)
        try:
            status = os.stat(path)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(path) as entries:
                inside = sorted(entries, key=lambda entry: entry.name, reverse=True)
        except OSError:  # gone, not a folder, or not ours to read: as glob does
            continue
        yield name
        for entry in inside:
            if not entry.name.startswith(".") and _is_folder(entry):
                found = os.path.join(path, entry.name), f"{name}{entry.name}/"
                (links if entry.is_symlink() else waiting).append(found)


def _is_folder(entry):
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _no_match(pattern, directory):
    """Return the InputError for a pattern that stands for nothing."""
    for what, advice in _reasons(pattern, directory):
        return InputError(
            f"micrographs.files: {what}", file="config.yaml", found=f"{pattern!r}", advice=advice
        )
    return InputError(
        "no file matches micrographs.files",
        file="config.yaml",
        expected="at least one file",
        found=f"none for {pattern} in {directory.resolve()}" + _last_folder(pattern, directory),
        advice="check the path; ** stands for any folders",
    )


def _reasons(pattern, directory):
    """Yield (what is wrong, what to write) for every known mistake that explains `pattern`."""

    def has(other):
        return len(_expanded(other, directory)) if other != pattern else 0

    full = os.path.expandvars(os.path.expanduser(pattern))
    if re.match("~|.*[$]", pattern):
        yield (
            "~ and variables such as $HOME are not expanded here",
            f"write the whole path, {full}" if full != pattern else "write the whole path",
        )
    if re.match(r"\w+://", pattern):
        yield "an address, not a path", "download the files, and give their path"
    if (directory / pattern).is_dir():
        inside = glob.escape(pattern.rstrip("/"))
        ending = next((e for e in ("mrc", "MRC", "mrc.gz", "mrc.bz2") if has(f"{inside}/*.{e}")), 0)
        deep = not ending and has(f"{inside}/**/*.mrc")
        advice = f"write {inside}/" + ("**/*.mrc" if deep else f"*.{ending or 'mrc'}")
        yield f"{pattern} is a folder", advice
    trimmed = pattern.strip()
    if has(trimmed):
        yield "a blank before or after the path", f"write {trimmed}"
    several = [part for part in re.split(r"[,;\s]+", pattern) if part]
    if len(several) > 1 and any(map(has, several)):
        yield "several globs in one text", f"write a list: [{', '.join(map(_quoted, several))}]"
    if "[" in pattern and (count := has(literal := pattern.replace("[", "[[]"))):
        text = "brackets in a glob are a set of characters"
        yield text, f"write {literal} ({count:,} files)"
    if re.search(r"\{[^{}]*,[^{}]*\}", pattern):
        yield "braces with commas are not expanded", "write a list of globs"
    if count := has(slashes := pattern.replace("\\", "/")):
        yield "a path with backslashes", f"write {slashes} ({count:,} files)"
    stem, dot, ending = pattern.rpartition(".")
    for other in (f"{stem}{dot}{ending.upper()}", f"{stem}{dot}{ending.lower()}"):
        if dot and (count := has(other)):
            yield f"upper and lower case differ: {other} has {count:,}", f"write {other}"
    anycase = "".join(f"[{c.lower()}{c.upper()}]" if c.isalpha() else c for c in ending)
    if dot and "[" not in pattern and (found := _expanded(f"{stem}{dot}{anycase}", directory)):
        other = PurePath(sorted(found)[0]).suffix
        yield f"upper and lower case differ: {len(found):,} end in {other}", f"write {stem}{other}"
    if dot:
        for packed in (".gz", ".bz2"):
            if count := has(pattern + packed):
                yield f"{count:,} files end in {ending}{packed}", f"write {pattern}{packed}"


def _quoted(text):
    return f'"{text}"'


def _last_folder(pattern, directory):
    """Say up to which folder the path of a pattern exists, where it ends before its name."""
    parts = PurePath(pattern).parts[:-1]
    folder = Path(directory)
    for part in parts:
        if glob.has_magic(part):
            return ""
        if not (folder / part).exists():
            return f", where {part} does not exist in {folder.resolve()}"
        folder = folder / part
    return ""
