"""What the header of a micrograph says of it, in words."""

from dataclasses import dataclass

_MODES = {
    0: "8-bit integers",
    1: "16-bit integers",
    2: "32-bit floats",
    6: "16-bit integers without sign",
    12: "16-bit floats",
    101: "4-bit integers",
}
_LABELS, _LABEL_BYTES = slice(224, 1024), 80


@dataclass(frozen=True)
class Header:
    """(height_px, width_px), rows of (label, text), and what the reader repaired."""

    size_px: tuple
    rows: list
    warnings: list


def header_of(micrograph, state):
    """Return the Header of an open micrograph; `state` is (bytes, time of change) or None."""
    size, mode = micrograph.pixel_size_angstrom, micrograph.mode
    rows = [
        ("file", str(micrograph.path)),
        ("bytes", f"{state[0]:,}" if state else "unknown"),
        ("mode", f"{mode}, {_MODES.get(mode, 'numbers')}"),
        ("pixel size in the header", f"{size:.5g} Å" if size else "none"),
        ("origin", ", ".join(f"{value:g}" for value in micrograph.origin) + " Å"),
        *(("label", text) for text in labels_of(micrograph.header_bytes)),
    ]
    size_px = micrograph.height_px, micrograph.width_px
    return Header(size_px, rows, list(micrograph.warnings))


def labels_of(header_bytes):
    """Return the texts of an MRC header of 1,024 bytes that hold more than blanks."""
    fields = header_bytes[_LABELS]
    texts = []
    for first in range(0, len(fields), _LABEL_BYTES):
        text = fields[first : first + _LABEL_BYTES].decode("ascii", "replace")
        text = "".join(c if c.isprintable() else " " for c in text).strip()
        texts += [text] if text.strip("\ufffd ") else []
    return texts
