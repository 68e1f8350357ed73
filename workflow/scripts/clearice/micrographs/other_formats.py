"""What people take for an MRC micrograph, by its name and with the way out.

Told by the first bytes, before they are read as a header. Nothing of a file's content is repeated.
"""

import struct
from pathlib import PurePath

from clearice.errors import InputError, UnfinishedError

_AGAIN = "download or copy it again"
_FAILED = "the download failed: fetch the file again"
_CONVERT = "write the micrograph as MRC with the program that made it"
_MOVIE = "motion-correct the movie and give the average as MRC"

# What a file is called whose writer has only begun.
TRUNCATED_HEADER = "truncated in its header"
_EMPTY, _ZEROS = "empty file", "its header is all zeros: an unfinished copy?"

_MAGICS = (  # first bytes -> what it is, what to do
    (b"version https://git-lfs", "a Git LFS pointer, not the file", "fetch it: git lfs pull"),
    (b"version https://hawser", "a Git LFS pointer, not the file", "fetch it: git lfs pull"),
    (b"\xfd7zXZ\0", "an xz file", "unpack it: xz -d"),
    (b"\x28\xb5\x2f\xfd", "a zstd file", "unpack it: zstd -d"),
    (b"\x04\x22\x4d\x18", "an lz4 file", "unpack it: lz4 -d"),
    (b"LZIP", "an lzip file", "unpack it: lzip -d"),
    (b"\x1f\x9d\x90", "a file of compress (.Z)", "unpack it: gunzip"),
    (b"PK\x03\x04", "a zip archive", "unpack it: unzip"),
    (b"PK\x05\x06", "an empty zip archive", _AGAIN),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it: 7z x"),
    (b"Rar!\x1a\x07", "a rar archive", "unpack it: unrar x"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", f"{_CONVERT} (EMAN2: e2proc2d.py IN OUT.mrc)"),
    (b"\x93NUMPY", "a NumPy array or a cryoSPARC .cs table", "give the MRC files themselves"),
    (b"\x89PNG\r\n", "a PNG picture", "give the MRC file that it was made from"),
    (b"\xff\xd8\xff", "a JPEG picture", "give the MRC file that it was made from"),
    (b"GIF8", "a GIF picture", "give the MRC file that it was made from"),
    (b"%PDF", "a PDF document", "give the MRC file"),
)
_TIFF = {  # first bytes -> byte order, bytes of an offset, struct letters of offset and count
    b"II*\0": ("<", 4, "I", "H"),
    b"MM\0*": (">", 4, "I", "H"),
    b"II+\0": ("<", 8, "Q", "Q"),
    b"MM\0+": (">", 8, "Q", "Q"),
}
_COMPRESSION_TAG, _EER_COMPRESSIONS = 259, range(65000, 65003)
_MOST_PAGES = 2000
_TEXT_BYTES = frozenset(range(32, 256)) - {127} | set(b"\t\n\r\f")
_BLOSC = 1000  # MRCZ: mode + 1000 times the number of the compressor
_MRC_MODES = (0, 1, 2, 3, 4, 6, 12, 101)


def refuse_other_formats(raw, path, size_bytes, read):
    """Raise InputError if `raw`, the first 1,024 bytes of a file, are no header of MRC for sure.

    `size_bytes` is None for a compressed file; `read(offset, count)` returns bytes of the file and
    is used where it is plain. `path` is for messages.
    """
    found = _by_magic(raw) or _tiff(raw, size_bytes, read) or _text(raw)
    if found:
        raise other_format(*found, path, raw, size_bytes)


def other_format(what, advice, path, raw, size_bytes):
    """Return the InputError for a file of another format."""
    facts = f"{len(raw) if size_bytes is None else size_bytes} bytes"
    kind = UnfinishedError if what in (TRUNCATED_HEADER, _EMPTY, _ZEROS) else InputError
    return kind(what, file=path, expected="an MRC file", found=facts, advice=advice)


def _by_magic(raw):
    if not raw:
        return _EMPTY, _AGAIN
    for magic, what, advice in _MAGICS:
        if raw.startswith(magic):
            return what, advice
    return None


def _tiff(raw, size_bytes, read):
    """Name a TIFF by the number of its pages: one is an average, more are a movie."""
    if raw[:4] not in _TIFF:
        return None
    pages, compression = (None, None)
    if size_bytes is not None:
        pages, compression = _pages(raw, size_bytes, read)
    if compression in _EER_COMPRESSIONS:
        return "an EER movie, not MRC", _MOVIE
    convert = "convert it to MRC (IMOD: tif2mrc IN.tif OUT.mrc)"
    if pages == 1:
        return "a TIFF of one page, not MRC", convert
    if pages:
        several = f"{pages} pages" if pages < _MOST_PAGES else f"{_MOST_PAGES} pages or more"
        return f"a TIFF movie of {several}, not MRC", _MOVIE
    return "a TIFF, not MRC", f"{convert}, or motion-correct it if it is a movie"


def _pages(raw, size_bytes, read):
    """Return (number of pages, compression of the first), None for what can't be told."""
    order, width, offset_letter, count_letter = _TIFF[raw[:4]]
    entry_bytes = 12 if width == 4 else 20
    (offset,) = struct.unpack_from(order + offset_letter, raw.ljust(16, b"\0"), width)
    seen, compression = set(), None
    while offset and len(seen) < _MOST_PAGES:
        count_bytes = struct.calcsize(count_letter)
        head = read(offset, count_bytes) if offset < size_bytes else b""
        if offset in seen or len(head) < count_bytes:
            return None, compression
        (entries,) = struct.unpack(order + count_letter, head)
        if entries > 1 << 16:
            return None, compression
        table = read(offset + count_bytes, entries * entry_bytes + width)
        if len(table) < entries * entry_bytes + width:
            return None, compression
        if not seen:
            for at in range(0, entries * entry_bytes, entry_bytes):
                (tag,) = struct.unpack_from(order + "H", table, at)
                if tag == _COMPRESSION_TAG:
                    (compression,) = struct.unpack_from(
                        order + "H", table, at + entry_bytes - width
                    )
        seen.add(offset)
        (offset,) = struct.unpack_from(order + offset_letter, table, entries * entry_bytes)
    return len(seen) or None, compression


def _text(raw):
    """Name what is text from its first byte on."""
    text = raw.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    start = text[:64].lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<!--", b"<error")):
        return "an HTML or XML page, not a micrograph", _FAILED
    if not set(raw) <= _TEXT_BYTES:
        return None
    if b"annex/objects/" in text[:512]:
        return "a git-annex pointer, not the file", "fetch it: git annex get (or datalad get)"
    if start.startswith((b"{", b"[")):
        return "JSON text, not a micrograph", _FAILED
    if start.startswith((b"data_", b"#")) and b"data_" in text:
        return "a STAR file, not a micrograph", "name it as a table: a name that ends in .star"
    if not text.strip():
        return "a file of blanks, not a micrograph", _AGAIN
    return "a text file, not a micrograph", _AGAIN


def by_fields(raw, path, size_bytes):
    """Return what a file is whose first 1,024 bytes are no sane header, and what to do.

    These formats begin with numbers, as MRC does: a sane header of MRC is none of them.
    """
    if not raw.strip(b"\0"):
        return _ZEROS, _AGAIN
    if raw[257:262] == b"ustar":
        return "a tar archive", "unpack it: tar -xf"
    for order in "<>":
        nx, ny, nz, mode = struct.unpack_from(order + "4i", raw)
        plain = mode % _BLOSC
        if mode >= _BLOSC and mode < 10 * _BLOSC and plain in _MRC_MODES and min(nx, ny, nz) > 0:
            unpack = "unpack it with the Python package mrcz and write it as MRC"
            return "an MRCZ file: its pixels are compressed by blosc", unpack
        if _is_spider(struct.unpack_from(f"{order}{min(len(raw), 92) // 4}f", raw)):
            return "a SPIDER image, not MRC", f"{_CONVERT} (EMAN2: e2proc2d.py IN OUT.mrc)"
    if _is_gatan(raw, size_bytes):
        return "a Digital Micrograph file (DM3 or DM4)", "convert it to MRC (IMOD: dm2mrc IN OUT)"
    if raw[56:60] in (b"REAL", b"INTG", b"PACK", b"COMP"):
        return "an IMAGIC header (.hed), not MRC", f"{_CONVERT} (EMAN2: e2proc2d.py IN OUT.mrc)"
    if PurePath(path).suffix == ".img":
        return "no MRC header: the pixels of an IMAGIC file?", f"{_CONVERT} (EMAN2: e2proc2d.py)"
    return None


def _is_spider(words):
    """Sections, rows, ..., the kind of image (1 or 3), ..., columns, records and their bytes."""
    if len(words) < 23:
        return False
    nslice, nrow, kind, nsam, labrec, labbyt, lenbyt = (words[i] for i in (0, 1, 4, 11, 12, 21, 22))
    return (
        kind in (1, 3)
        and abs(nslice) >= 1
        and nrow >= 1
        and nsam >= 1
        and lenbyt == 4 * nsam
        and labbyt == labrec * lenbyt
    )


def _is_gatan(raw, size_bytes):
    """Version 3 or 4, the length of the rest, and 1 for little-endian, all big-endian."""
    layout = {3: ">3i", 4: ">iqi"}.get(int.from_bytes(raw[:4], "big"))
    if layout is None:
        return False
    _, length, little = struct.unpack_from(layout, raw)
    return little in (0, 1) and (size_bytes is None or 0 <= size_bytes - length <= 64)
