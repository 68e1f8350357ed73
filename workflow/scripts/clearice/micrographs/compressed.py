"""The content of a gzip or bzip2 file, bounded by what the file holds when it is opened.

Not by the modules gzip and bz2: the former reads a file name in the header byte by byte, however
long it is, and both hide how much was read.
"""

import bz2
import os
import zlib

# Deflate expands at most 1032 times (258 bytes from 2 bits). bzip2 can do more, of equal bytes:
# an image with a bit of noise in one pixel of 32 does not.
MAX_EXPANSION = 1032
_MARGIN_BYTES = 1 << 16  # an almost empty file
_BLOCK_BYTES = 1 << 16
_GZIP_WINDOW = 31  # zlib: a gzip header and trailer around the largest window
# Three bytes: two of them could be the width of an MRC image.
_GZIP, _BZIP2 = MAGICS = b"\x1f\x8b\x08", b"BZh"
MAGIC_BYTES = 3


class DamagedError(Exception):
    """The compressed file is damaged or ends early; the text says how."""


class Decompressed:
    """The content of an open compressed `file` (raw, of bytes); reading forwards is cheap.

    `size_bytes` is what the file held when it was opened, `most_bytes` the most that can come out
    of it. close() closes the file.
    """

    def __init__(self, file, magic):
        self._file, self._magic = file, magic
        self.size_bytes = os.fstat(file.fileno()).st_size
        self.most_bytes = self.size_bytes * MAX_EXPANSION + _MARGIN_BYTES
        self._restart()

    def _restart(self):
        self._file.seek(0)
        self._unread, self._position = self.size_bytes, 0
        self._held, self._decompressor, self._streams = b"", None, 0

    def close(self):
        """Close the file."""
        self._file.close()

    def seek(self, offset):
        """Go to byte `offset` of the content, or to its end if that comes first."""
        if offset < self._position:
            self._restart()
        if offset == self._position:
            return
        scratch = memoryview(bytearray(_BLOCK_BYTES))
        while self._position < offset and self.readinto(scratch[: offset - self._position]):
            pass

    def readinto(self, view):
        """Read the next bytes into `view`, at least one; return their number, 0 at the end.

        Raises DamagedError at the first impossible byte.
        """
        while len(view):
            if self._decompressor is None and not self._next_stream():
                break
            content = self._decompress(len(view))
            if self._decompressor.eof:
                self._held, self._decompressor = self._decompressor.unused_data, None
            if content:
                view[: len(content)] = content
                self._position += len(content)
                return len(content)
        return 0

    def _next_stream(self):
        """Begin the first or a further stream; return whether there is one."""
        self._held = self._held.lstrip(b"\0") if self._streams else self._held
        while len(self._held) < MAGIC_BYTES and (block := self._read()):
            self._held += block
            if self._streams:  # zeros fill up tapes and blocks
                self._held = self._held.lstrip(b"\0")
        if self._streams and self._held[:MAGIC_BYTES] != self._magic:
            if self._held and self._magic == _GZIP:
                raise DamagedError("something else follows the compressed data")
            return False
        self._decompressor = (
            zlib.decompressobj(_GZIP_WINDOW) if self._magic == _GZIP else bz2.BZ2Decompressor()
        )
        self._streams += 1
        return True

    def _decompress(self, most_bytes):
        """Return the next bytes of this stream, b"" where more input or its end comes first."""
        needs_input = not self._held
        if self._magic == _BZIP2:
            needs_input = needs_input and self._decompressor.needs_input
        if needs_input:
            self._held = self._read()
            if not self._held:
                raise DamagedError("it ends in the middle of its data")
        try:
            content = self._decompressor.decompress(self._held, most_bytes)
        except (zlib.error, OSError, ValueError, EOFError) as error:
            raise DamagedError(str(error)) from None
        self._held = self._decompressor.unconsumed_tail if self._magic == _GZIP else b""
        return content

    def _read(self):
        block = self._file.read(min(self._unread, _BLOCK_BYTES)) if self._unread else b""
        self._unread -= len(block)
        return block
