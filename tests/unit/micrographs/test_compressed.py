"""What comes out of a compressed file is bounded, and ends at the first impossible byte."""

import bz2
import gzip
import io
import zlib

import numpy as np
import pytest

from clearice.errors import InputError
from clearice.micrographs.compressed import MAGIC_BYTES, DamagedError, Decompressed
from clearice.micrographs.mrc import open_micrograph
from mrc_files import header_bytes, noise_image, write_mrc

COMPRESS = {"gzip": gzip.compress, "bzip2": bz2.compress}
CONTENT = np.random.default_rng(0).bytes(200_000) + bytes(300_000)


def opened(path, content):
    path.write_bytes(content)
    file = open(path, "rb", buffering=0)  # noqa: SIM115 - Decompressed closes it
    return Decompressed(file, content[:MAGIC_BYTES])


def all_of(file, step):
    """Return the content from where `file` stands, read in steps of so many bytes."""
    found, view = [], memoryview(bytearray(step))
    while count := file.readinto(view):
        found.append(bytes(view[:count]))
    return b"".join(found)


@pytest.mark.parametrize("step", [997, 1 << 20])
@pytest.mark.parametrize("kind", COMPRESS)
def test_the_content_comes_out_from_any_place(tmp_path, kind, step):
    file = opened(tmp_path / "a", COMPRESS[kind](CONTENT))
    for offset in (0, 400_000, 17, 199_990, 500_000, 500_001, 3):
        file.seek(offset)
        assert all_of(file, step) == CONTENT[offset:]
    file.close()


@pytest.mark.parametrize("kind", COMPRESS)
def test_streams_follow_each_other(tmp_path, kind):
    parts = [CONTENT[:70_000], b"", CONTENT[70_000:]]
    content = b"".join(map(COMPRESS[kind], parts))
    assert all_of(opened(tmp_path / "a", content), 1 << 16) == CONTENT
    padded = content + bytes(100_000)  # as on a tape
    assert all_of(opened(tmp_path / "b", padded), 1 << 16) == CONTENT


def test_what_follows_gzip_data_is_damage(tmp_path):
    file = opened(tmp_path / "a", gzip.compress(CONTENT) + b"something else")
    with pytest.raises(DamagedError, match="something else follows"):
        all_of(file, 1 << 16)


@pytest.mark.parametrize("kind", COMPRESS)
@pytest.mark.parametrize("cut", [4, 30, 100_000, -1])
def test_a_file_that_ends_early_is_damaged(tmp_path, kind, cut):
    file = opened(tmp_path / "a", COMPRESS[kind](CONTENT)[:cut])
    with pytest.raises(DamagedError):
        all_of(file, 1 << 16)


def test_a_wrong_checksum_is_damage(tmp_path):
    content = bytearray(gzip.compress(CONTENT))
    content[-8] ^= 1
    with pytest.raises(DamagedError, match="incorrect data check"):
        all_of(opened(tmp_path / "a", bytes(content)), 1 << 16)


def test_what_is_appended_while_it_is_read_is_not_read(tmp_path):
    file = opened(tmp_path / "a", gzip.compress(CONTENT))
    with open(tmp_path / "a", "ab") as grown:
        grown.write(gzip.compress(bytes(1 << 20)))
    assert all_of(file, 1 << 16) == CONTENT


class CountedReads(io.FileIO):
    """A file that counts how often it is read."""

    reads = 0

    def read(self, count):
        self.reads += 1
        return super().read(count)


def test_a_file_name_without_end_in_a_gzip_header_is_read_in_blocks(tmp_path):
    header = b"\x1f\x8b\x08\x08" + bytes(6)  # with a name, which ends at the first zero
    (tmp_path / "a").write_bytes(header + b"x" * (1 << 22))
    file = CountedReads(tmp_path / "a")
    with pytest.raises(DamagedError, match="middle of its data"):
        all_of(Decompressed(file, header[:MAGIC_BYTES]), 1 << 16)
    assert file.reads < 100  # not one per byte


@pytest.mark.parametrize("kind", COMPRESS)
def test_a_header_that_promises_the_impossible_is_refused_at_once(tmp_path, kind):
    path = tmp_path / "a.mrc"
    path.write_bytes(COMPRESS[kind](header_bytes(1 << 17, 1 << 17, 2) + bytes(1 << 22)))
    with pytest.raises(InputError, match=r"says more than a compressed file.* at most 1032 times"):
        open_micrograph(path)


@pytest.mark.parametrize("kind", COMPRESS)
def test_no_more_than_the_image_is_unpacked(tmp_path, kind):
    path = write_mrc(tmp_path / "a.mrc", noise_image(64, 64))
    path.write_bytes(COMPRESS[kind](path.read_bytes() + bytes(1 << 28)))
    with open_micrograph(path) as micrograph:
        with pytest.raises(InputError, match="longer than its header says"):
            micrograph.read_rows(0, 64)
        assert micrograph._file._position < 1 << 20


def test_the_bound_holds_for_the_best_that_deflate_can_do(tmp_path):
    content = bytes(1 << 24)
    packed = zlib.compress(content, 9, wbits=31)
    file = opened(tmp_path / "a", packed)
    assert file.most_bytes >= len(content)
    assert len(all_of(file, 1 << 20)) == len(content)


def sparse_gzip(path, height, width, rows):
    """Write a gzip file whose header promises more rows than follow; they are all zeros."""
    path.write_bytes(gzip.compress(header_bytes(height, width, 2) + bytes(4 * width * rows)))


def test_an_improbable_promise_must_be_shown_to_be_believed(tmp_path):
    path = tmp_path / "a.mrc"
    sparse_gzip(path, 4096, 1024, 4080)  # within 1032 times its bytes, and false
    with open_micrograph(path) as micrograph, pytest.raises(InputError, match="truncated"):
        micrograph.require_believable()
    sparse_gzip(path, 4096, 1024, 4096)
    with open_micrograph(path) as micrograph:
        micrograph.require_believable()


def test_an_ordinary_promise_is_believed_without_reading(tmp_path):
    path = write_mrc(tmp_path / "a.mrc", noise_image(512, 512))
    path.write_bytes(gzip.compress(path.read_bytes())[:-9000])
    with open_micrograph(path) as micrograph:
        micrograph.require_believable()
        with pytest.raises(InputError, match="damaged or truncated"):
            micrograph.read_rows(0, 512)
