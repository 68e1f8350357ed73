"""File systems that lack what a workstation's have: a real one (exFAT), and one that refuses."""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import REPOSITORY


@contextlib.contextmanager
def exfat(folder, mib=512):
    """Mount a new exFAT: no links of any kind, seconds as times, one name whatever its case."""
    if missing := [name for name in ("mkfs.exfat", "mount.exfat-fuse") if not shutil.which(name)]:
        pytest.skip(f"needs {' and '.join(missing)} (Debian: exfat-fuse, exfatprogs)")
    image = folder.with_suffix(".image")
    with open(image, "wb") as file:
        file.truncate(mib << 20)
    subprocess.run(["mkfs.exfat", image], check=True, capture_output=True)
    loop = subprocess.run(["losetup", "--show", "-f", image], capture_output=True, text=True)
    if loop.returncode:
        pytest.skip(f"needs root to make a loop device: {loop.stderr.strip()}")
    device = loop.stdout.strip()
    try:
        folder.mkdir()
        mount = subprocess.run(["mount.exfat-fuse", device, folder], capture_output=True, text=True)
        if mount.returncode:
            pytest.skip(f"needs to mount with FUSE: {mount.stderr.strip()}")
        try:
            yield folder
        finally:
            subprocess.run(["umount", folder], check=True)
    finally:
        subprocess.run(["losetup", "-d", device], check=True)
        image.unlink()


def refusing(folder, place):
    """Return the environment in which `folder` refuses (refusing.c), and the file of letters.

    `place` is an empty folder for the compiled library.
    """
    if not shutil.which("gcc"):
        pytest.skip("needs gcc")
    library, refused = place / "refusing.so", place / "refused"
    source = REPOSITORY / "tests" / "refusing.c"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    variables = {"LD_PRELOAD": library, "REFUSING": folder.resolve(), "REFUSED": refused}
    return {name: os.fspath(value) for name, value in variables.items()}, Path(refused)
