"""MRC micrographs: rows of any single-section file on demand.

Reading never holds more than the rows that were asked for. Every repair of a header is in
`MicrographReader.warnings`. Not by mrcfile, which repairs no header, does not read mode 101 and
holds a compressed file whole; it writes what clearice makes (mrc_writer).
"""

import os

import numpy as np
import xxhash

from clearice.errors import InputError, UnfinishedError
from clearice.files import open_regular
from clearice.micrographs.compressed import (
    MAGIC_BYTES,
    MAGICS,
    MAX_EXPANSION,
    DamagedError,
    Decompressed,
)
from clearice.micrographs.mrc_header import HEADER_BYTES, check_length, parse_header

BLOCK_BYTES = 1 << 20  # of float32: a block and its float64 scratch stay in the cache
# Counts of a low dose, stored as float32, compress 40 times. Above this a header is doubted.
_ORDINARY_EXPANSION = 64
_PROOF_BYTES = 1 << 29  # of content that a doubted header must show


def open_micrograph(path, hashed=True):
    """Return a MicrographReader of `path` (plain, gzip or bzip2), or raise InputError."""
    return MicrographReader(path, hashed)


def read_micrograph(path):
    """Return the whole image in `path` as float32 (H, W)."""
    with open_micrograph(path) as micrograph:
        return micrograph.read_rows(0, micrograph.height_px)


class MicrographReader:
    """Rows of one MRC image. A context manager.

    path, height_px, width_px, mode, dtype (of a stored pixel), pixel_size_angstrom (or None),
    origin (x, y, z; angstrom), warnings (list of str), header_bytes (the 1,024 raw bytes);
    pixels_xxh3: 16 hex digits of XXH3-64 over the pixels as little-endian float32, None until
    blocks() has come to its end, and unless `hashed`. Equal for one image in two modes or byte
    orders, or compressed.
    """

    def __init__(self, path, hashed=True):
        self.path = os.fspath(path)
        self._file = _open_bytes(self.path)
        try:
            self.header_bytes = self._read_bytes(0, HEADER_BYTES)
            size = self._plain_size()
            header = parse_header(self.header_bytes, self.path, size, self._read_bytes)
            if size is None and header.file_bytes > self._file.most_bytes:
                raise _promises_too_much(header, self.path, self._file.size_bytes)
        except BaseException:
            self._file.close()
            raise
        self._header = header
        self._hashed = hashed
        self._reached_end, self.pixels_xxh3 = False, None
        self.height_px, self.width_px = header.height_px, header.width_px
        self.mode, self.dtype = header.mode, np.dtype(header.dtype)
        self.pixel_size_angstrom = header.pixel_size_angstrom
        self.origin, self.warnings = header.origin, list(header.warnings)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Close the file."""
        self._file.close()

    def read_rows(self, first, count, out=None):
        """Return rows `first` to `first + count` as float32 (count, W), in `out` if given.

        Raises InputError where the file ends early, is damaged, or cannot be read. Rows of a
        compressed file are cheap in ascending order only.
        """
        if not 0 <= first <= first + count <= self.height_px:
            raise IndexError(f"rows {first} to {first + count} of {self.height_px}")
        if out is None:
            out = np.empty((count, self.width_px), np.float32)
        offset = self._header.data_offset_bytes + first * self._header.row_bytes
        if self.dtype == np.dtype("<f4") == out.dtype and out.flags.c_contiguous:
            self._read_into(offset, out.reshape(-1).view(np.uint8))
        else:
            self._read_converted(offset, out)
        if first + count == self.height_px and not self._reached_end:
            self._check_end()
        return out

    def blocks(self, rows=None):
        """Yield (first, float32 (b, W)) over the image, in order; the buffer is used again."""
        rows = rows or max(2, BLOCK_BYTES // (4 * self.width_px))
        buffer = np.empty((min(rows, self.height_px), self.width_px), np.float32)
        digest = xxhash.xxh3_64()
        for first in range(0, self.height_px, rows):
            count = min(rows, self.height_px - first)
            block = self.read_rows(first, count, buffer[:count])
            if self._hashed:
                digest.update(block)  # while it is in the cache
            yield first, block
        self.pixels_xxh3 = digest.hexdigest() if self._hashed else None

    def _read_converted(self, offset, out):
        """Convert a few rows at a time: the stored pixels never need much memory."""
        row_bytes = self._header.row_bytes
        step = max(1, BLOCK_BYTES // row_bytes)
        raw = np.empty(min(step, len(out)) * row_bytes, np.uint8)
        for first in range(0, len(out), step):
            rows = out[first : first + step]
            part = raw[: len(rows) * row_bytes]
            self._read_into(offset + first * row_bytes, part)
            if self.mode == 101:  # the first pixel is the low half of a byte
                packed = part.reshape(len(rows), row_bytes)
                rows[:, 0::2] = packed & 15
                rows[:, 1::2] = packed[:, : self.width_px // 2] >> 4
            else:
                rows[:] = part.view(self.dtype).reshape(rows.shape)

    def _read_bytes(self, offset, count):
        buffer = bytearray(count)
        return bytes(buffer[: self._fill(offset, memoryview(buffer))])

    def _read_into(self, offset, array):
        filled = self._fill(offset, memoryview(array))
        if filled < array.nbytes:
            check_length(self._header, self.path, offset + filled)

    def _fill(self, offset, view):
        """Read into `view` until it is full or the file ends; return the bytes read."""
        filled = 0
        try:
            self._file.seek(offset)
            while filled < len(view):
                count = self._file.readinto(view[filled:])
                if not count:
                    break
                filled += count
        except DamagedError as error:
            raise UnfinishedError(
                f"the compressed file is damaged or truncated ({error})",
                file=self.path,
                advice="download or copy it again",
            ) from None
        except OSError as error:
            raise _unreadable(self.path, error) from None
        return filled

    def _plain_size(self):
        if isinstance(self._file, Decompressed):
            return None
        return os.fstat(self._file.fileno()).st_size

    def require_believable(self):
        """Raise InputError where a compressed file turns out not to hold what its header says.

        For those who count with a size before anything was read. Costs nothing unless the header
        says that the file expands more than images do; then at most the reading of 512 MiB.
        """
        if self._plain_size() is not None:
            return
        if self._header.file_bytes <= _ORDINARY_EXPANSION * self._file.size_bytes:
            return
        for first, _ in self.blocks():
            if first * self._header.row_bytes > _PROOF_BYTES:
                break

    def _check_end(self):
        """The length of a compressed file is known once its end was reached."""
        if self._plain_size() is None and self._read_bytes(self._header.file_bytes, 1):
            check_length(self._header, self.path, self._header.file_bytes + 1)
        self._reached_end = True


def _open_bytes(path):
    """Open unbuffered; a compressed file is known by its first bytes, not by its name."""
    try:
        file = open_regular(path)
        try:
            magic = file.read(MAGIC_BYTES)
            file.seek(0)
            return Decompressed(file, magic) if magic in MAGICS else file
        except BaseException:
            file.close()
            raise
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path, error):
    if not isinstance(error, FileNotFoundError):
        return InputError(f"cannot be read: {error.strerror or error}", file=path)
    if not os.path.islink(path):
        return InputError("no such file", file=path, advice="check micrographs.files")
    if "annex/objects/" in os.readlink(path):
        return InputError(
            "no such file: a git-annex link, whose content is not here",
            file=path,
            advice="fetch it: git annex get (or datalad get)",
        )
    return InputError("no such file: a link to nothing", file=path, advice="make the link again")


def _promises_too_much(header, path, size_bytes):
    return UnfinishedError(
        "its header says more than a compressed file of this length holds",
        file=path,
        expected=f"at most {MAX_EXPANSION} times its {size_bytes:,} bytes",
        found=f"{header.height_px} x {header.width_px} px, mode {header.mode}",
        advice="download or copy it again",
    )
