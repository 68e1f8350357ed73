"""Downloads with the patience of a test."""

import dataclasses

import pytest

from clearice.errors import InputError
from clearice.micrographs.empiar.connection import Patience
from clearice.micrographs.empiar.download import fetch_file
from faults.archive_server import FILE

CALM = Patience(stall_s=20, attempts=4, first_pause_s=0.01, longest_pause_s=0.02)
HURRY = dataclasses.replace(CALM, stall_s=0.3)  # where the archive stalls on purpose
RANGE_BYTES = 1 << 15


def entry_settings(base_url, **changes):
    """Return the `empiar` section for the folder d of an entry of a local archive."""
    settings = {
        "entry": "10025",
        "directory": "d",
        "pattern": "*.mrc",
        "limit": None,
        "list_again": True,
        "base_url": base_url,
        "api_url": None,
        "connections": 2,
    }
    return settings | changes


def fetch(archive, path, connections=3, fault=None, **options):
    patience = HURRY if fault in ("stall", "trickle") else CALM
    fetch_file(archive.url + FILE, path, connections, patience, RANGE_BYTES, **options)


def refused(archive, path, connections=3, fault=None, **options):
    """Return the one line from a download that must fail and leave no micrograph."""
    with pytest.raises(InputError) as caught:
        fetch(archive, path, connections, fault, **options)
    assert not path.exists()
    line = str(caught.value)
    assert "\n" not in line
    return line
