"""An entry of a local archive: its first release, and the files of later ones."""

import contextlib
import datetime

from faults.archive_server import micrograph_bytes, running_archive

FOLDER = "/10025/d/"
DAY = datetime.datetime(2024, 5, 17, 10, 30, tzinfo=datetime.UTC)
LATER = DAY + datetime.timedelta(days=7)


def release_contents(folder):
    """Return name -> bytes of six micrographs, which are made in `folder`."""
    return {name: micrograph_bytes(folder, seed) for seed, name in enumerate("abcdef")}


@contextlib.contextmanager
def first_release(contents):
    """Yield an archive that has a.mrc, b.mrc and c.mrc since DAY."""
    with running_archive() as archive:
        for name in "abc":
            archive.publish(f"{FOLDER}{name}.mrc", contents[name], DAY)
        yield archive
