"""Links to one file, such as those of RELION's job aliases: one micrograph, listed once."""

import dataclasses
import itertools
import os

from clearice.wording import listed


def without_links(found, directory):
    """Return the MicrographFiles in `found`, each file once; `links` names its other paths.

    Two are one where their inputs and their targets are the same files on disk (links and hard
    links). The path that leads there by the file's own names stays, or else the first. Costs a
    stat per input.
    """
    by_file = {}
    for files in found:
        by_file.setdefault(_identity(directory, files.input), []).append(files)
    kept = []
    for same in by_file.values():
        for one in _by_target(same, directory) if len(same) > 1 else [same]:
            first, *others = sorted(one, key=lambda f: (-_own_parts(directory, f.input), f.input))
            links = tuple(sorted({files.input for files in others} - {first.input}))
            kept.append(dataclasses.replace(first, links=links) if links else first)
            kept += [files for files in others if files.input == first.input]
    return kept


def _by_target(same, directory):
    by_target = {}
    for files in same:
        target = files.target and _identity(directory, files.target)
        by_target.setdefault(target, []).append(files)
    return by_target.values()


def _identity(directory, path):
    """Return what two paths of one file share; the path itself where there is none."""
    try:
        status = os.stat(os.path.join(directory, path))
    except OSError:
        return path
    # Inode numbers alone may be hashes (SMB, sshfs, object stores), which can be equal by chance.
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _own_parts(directory, path):
    """Return how many of the last parts of a path are those of the file that it leads to."""
    path = os.path.join(directory, path)
    parts = (os.path.normpath(p).split(os.sep) for p in (path, os.path.realpath(path)))
    equal = (mine == real for mine, real in zip(*map(reversed, parts), strict=False))
    return sum(1 for _ in itertools.takewhile(bool, equal))


def links_in_words(micrographs):
    """Return one line about links among `micrographs` (name -> MicrographFiles), or None."""
    pairs = [f"{link} is {m.input}" for m in micrographs.values() for link in m.links]
    if not pairs:
        return None
    return f"{len(pairs):,} links to files that are listed once: {listed(pairs)}"
