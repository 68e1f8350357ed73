"""What the archive has today against what a run folder knows: new, changed and gone files.

A page that lists a folder is a hint, not a proof: it gives minutes and rounded sizes, and of the
servers that share EMPIAR's name one may leave a file out. So a file that looks changed or gone is
asked for its first kilobyte; files that look the same cost nothing.
"""

import concurrent.futures
import dataclasses
from pathlib import Path

from clearice.errors import InputError
from clearice.micrographs.empiar.addresses import file_url, fits, folder_of
from clearice.micrographs.empiar.connection import Missing, Patience
from clearice.micrographs.empiar.download import has_changed
from clearice.micrographs.empiar.kept_listing import (
    FOLDER,
    Listed,
    download_path,
    read_record,
    record_path,
)
from clearice.wording import listed as some_of

_PATIENCE = Patience(stall_s=10.0, attempts=2)
_SAME, _CHANGED, _GONE = "same", "changed", "gone"


@dataclasses.dataclass(frozen=True)
class Release:
    """The files (name -> Listed) that count from now on, and the names of those in use that differ.

    `left_over` are new files that empiar.limit leaves out; `doubtful` is name -> why it could not
    be told what became of a file, which then stays what it was.
    """

    files: dict
    new: list
    left_over: list
    changed: list
    gone: list
    doubtful: dict


def chosen(files, settings):
    """Return the names that pattern and limit choose: by name, those of an earlier release first.

    So a later release never pushes out what was taken before.
    """
    names = [name for name in files if fits(name, settings)]
    return sorted(names, key=lambda name: (files[name].release, name))[: settings["limit"]]


def compare_releases(settings, directory, kept, found, patience=None):
    """Return the Release that the listing `found` (name -> (modified, size)) makes.

    `kept` is the KeptListing so far, or None.
    """
    entry = _Entry(settings, Path(directory), kept, patience or _PATIENCE)
    files = {name: entry.listed(name, facts) for name, facts in found.items()}
    used = chosen(entry.known, settings)
    suspects = {name: True for name in found if entry.looks_changed(name, found[name])}
    suspects |= {name: False for name in used if name not in found}
    with concurrent.futures.ThreadPoolExecutor(settings["connections"]) as pool:
        answers = pool.map(entry.verdict, suspects, suspects.values())
        verdicts = dict(zip(suspects, answers, strict=True))
    for name, verdict in verdicts.items():
        if verdict == _CHANGED:
            changed = files.get(name) or entry.known[name]
            files[name] = dataclasses.replace(changed, revision=changed.revision + 1)
        elif verdict == _SAME:
            files.setdefault(name, entry.known.get(name))
        elif verdict != _GONE:  # as it was: asked again the next time
            files[name] = entry.known.get(name, files.get(name))
    used_now = chosen(files, settings)
    new = [name for name in files if name not in entry.known and fits(name, settings)]
    return Release(
        files,
        sorted(set(new) & set(used_now)),
        sorted(set(new) - set(used_now)),
        sorted(name for name, verdict in verdicts.items() if verdict == _CHANGED),
        sorted(name for name, verdict in verdicts.items() if verdict == _GONE),
        {n: v for n, v in verdicts.items() if v not in (_SAME, _CHANGED, _GONE)},
    )


class _Entry:
    """The files of an entry as a run folder knows them: `known` is name -> Listed."""

    def __init__(self, settings, directory, kept, patience):
        self.settings, self.directory, self.patience = settings, directory, patience
        self.known = kept.files if kept else {}
        self.release = 1 + max((listed.release for listed in self.known.values()), default=0)
        self.folder = folder_of(settings)
        # Times and sizes of two servers can't be compared.
        self.is_moved = kept is not None and kept.url != file_url(settings["base_url"], self.folder)

    def url(self, name):
        return file_url(self.settings["base_url"], self.folder + name)

    def record(self, name):
        return read_record(record_path(self.directory / download_path(name)))

    def listed(self, name, facts):
        """Return what the page says of a file, with the revision and age that are known."""
        if old := self.known.get(name):
            return dataclasses.replace(old, modified=facts[0], size=facts[1])
        record = self.record(name) if fits(name, self.settings) else None
        return Listed(*facts, record["revision"] if record else 1, self.release)

    def looks_changed(self, name, facts):
        """Whether a file that was downloaded from here may be another one by now."""
        old = self.known.get(name)
        if self.is_moved or not fits(name, self.settings):
            return False
        if old is not None and (old.modified, old.size) == facts:
            return False
        record = self.record(name)
        return record is not None and record["url"] == self.url(name)

    def verdict(self, name, is_listed):
        """Ask the archive about one file: _SAME, _CHANGED, _GONE, or why that is not known."""
        path, record = self.directory / download_path(name), self.record(name)
        try:
            changed = has_changed(self.url(name), path, record, self.patience)
        except InputError as error:
            return _GONE if isinstance(error, Missing) and not is_listed else error.what
        return _CHANGED if changed and record else _SAME  # without one nothing was downloaded


def release_in_words(settings, kept, release):
    """Yield the lines that a person should read about a Release."""
    parts = []
    if kept is not None:
        if release.new:
            parts.append(f"{len(release.new):,} new ({some_of(release.new)})")
        if release.left_over:
            parts.append(f"{len(release.left_over):,} new not used (empiar.limit)")
    if release.changed:
        parts.append(f"{len(release.changed):,} changed ({some_of(release.changed)})")
    if release.gone:
        names = f"{len(release.gone):,} gone ({some_of(release.gone)})"
        parts.append(f"{names}: left out, and what was downloaded stays in {FOLDER}")
    since = f" since {kept.asked}" if kept is not None else ""
    if parts:
        yield f"EMPIAR-{settings['entry']}{since}: files of the archive: {', '.join(parts)}"
    for name, why in release.doubtful.items():
        yield f"{name}: the archive lists it otherwise than before, but {why}; it stays as it was"
