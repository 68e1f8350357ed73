"""The raw files of shards: checked against their records, and copied while hashed."""

import contextlib
import os
from pathlib import Path

import xxhash

from clearice.errors import InputError
from clearice.files import open_regular, xxh3_of_file
from clearice.wording import made_again

BLOCK_BYTES = 8 << 20


def check_shard(record_path, record):
    """Raise InputError unless a shard's binaries are as its record says.

    A binary that is not newer than the record (which is written last) is only measured.
    """
    for file in record["files"].values():
        binary = Path(record_path).parent / file["path"]
        if not binary.is_file():
            raise _changed(binary, record_path, "no such file")
        found = binary.stat()
        if found.st_size != file["bytes"]:
            raise _changed(binary, record_path, f"{found.st_size} bytes", f"{file['bytes']} bytes")
        if found.st_mtime_ns > Path(record_path).stat().st_mtime_ns:
            digest = xxh3_of_file(binary)
            if digest != file["xxh3"]:
                raise _changed(binary, record_path, f"xxh3 {digest}", f"xxh3 {file['xxh3']}")


def append_binary(record_path, record, side, target, offset):
    """Copy one binary of a shard to `offset` of the open file `target`, hashing what it copies.

    Raises InputError when the bytes are not those of the record; what was copied then is to be
    cut off.
    """
    facts = record["files"][side]
    binary = Path(record_path).parent / facts["path"]
    digest, buffer, count = xxhash.xxh3_64(), memoryview(bytearray(BLOCK_BYTES)), 0
    try:
        with open_regular(binary) as source:
            while block := buffer[: source.readinto(buffer)]:
                digest.update(block)
                _copy_block(source.fileno(), count, target.fileno(), offset + count, block)
                count += len(block)
    except FileNotFoundError:
        raise _changed(binary, record_path, "no such file") from None
    if (count, digest.hexdigest()) != (facts["bytes"], facts["xxh3"]):
        raise _changed(
            binary,
            record_path,
            f"{count} bytes, xxh3 {digest.hexdigest()}",
            f"{facts['bytes']} bytes, xxh3 {facts['xxh3']}",
        )


def _changed(binary, record_path, found, expected="what its record says"):
    return InputError(
        "was modified outside the workflow",
        file=binary,
        expected=expected,
        found=found,
        advice=made_again(record_path),
    )


def _copy_block(source, source_offset, target, target_offset, block):
    """Copy the bytes that `block` holds from file to file, or write them where that fails.

    copy_file_range shares the blocks on file systems that can (XFS, Btrfs), so that the
    dataset takes no room of its own there.
    """
    done = 0
    # File systems refuse it in many ways; what is a fault of the disk, writing runs into, too.
    with contextlib.suppress(OSError):
        while done < len(block) and hasattr(os, "copy_file_range"):  # Linux
            copied = os.copy_file_range(
                source, target, len(block) - done, source_offset + done, target_offset + done
            )
            if copied == 0:
                break
            done += copied
    while done < len(block):
        done += os.pwrite(target, block[done:], target_offset + done)


def hash_next(file, count):
    """Return the XXH3-64 of the next `count` bytes (fewer at its end) of an open file."""
    digest = xxhash.xxh3_64()
    while count and (block := file.read(min(count, BLOCK_BYTES))):
        digest.update(block)
        count -= len(block)
    return digest.hexdigest()
