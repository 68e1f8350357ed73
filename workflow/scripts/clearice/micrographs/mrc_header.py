"""The 1,024-byte MRC header: parsed in either byte order, repaired where real programs err.

Source: Cheng et al., MRC2014: extensions to the MRC format header for electron cryo-microscopy
and tomography, J. Struct. Biol. 192 (2015) 146-150. Modes 101 and 16, the unsigned bytes of
mode 0 and `imodStamp`: IMOD's description of the MRC format.
"""

import dataclasses
import math
import struct

from clearice.errors import InputError, UnfinishedError
from clearice.micrographs.other_formats import (
    TRUNCATED_HEADER,
    by_fields,
    other_format,
    refuse_other_formats,
)

HEADER_BYTES = 1024
MAX_SIDE_PX = 1 << 17  # the widest camera has under 2^14 pixels: more is garbage, not an image
MAX_EXTENDED_BYTES = 1 << 28

# mode -> bits of a pixel (3 and 4 are complex, 16 is RGB)
_MODE_BITS = {0: 8, 1: 16, 2: 32, 3: 32, 4: 64, 6: 16, 12: 16, 16: 24, 101: 4}
_SOME_MODE = 1 << 16  # a mode that somebody may have meant
_REAL_MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2", 101: "u1"}
_LAYOUT = "10i6f3i3f2i8s4si84s3f4s4sfi"  # words 1-56; the labels follow
# fmt: off
_NAMES = [
    "nx", "ny", "nz", "mode", "nxstart", "nystart", "nzstart", "mx", "my", "mz",
    "cell_x", "cell_y", "cell_z", "alpha", "beta", "gamma", "mapc", "mapr", "maps",
    "dmin", "dmax", "dmean", "ispg", "nsymbt", "extra1", "exttyp", "nversion", "extra2",
    "origin_x", "origin_y", "origin_z", "map", "stamp", "rms", "nlabl",
]
# fmt: on
_STAMPS = {b"\x44\x44": "<", b"\x44\x41": "<", b"\x11\x11": ">"}
_ORDER_NAMES = {"<": "little-endian", ">": "big-endian"}
_AGAIN = "download or copy it again"
_IMOD_STAMP = 1146047817  # "IMOD" as a little-endian integer, in extra2 at byte 152 of the file
_IMOD_SIGNED_BYTES = 1


@dataclasses.dataclass
class Header:
    """What a reader needs of an MRC header, after repairs.

    `dtype` is the NumPy type string of a stored pixel with its byte order (packed bytes in mode
    101). `pixel_size_angstrom` is None where the header gives none. `warnings` names the repairs.
    """

    width_px: int
    height_px: int
    mode: int
    dtype: str
    data_offset_bytes: int
    pixel_size_angstrom: float | None
    origin: tuple
    warnings: list

    @property
    def row_bytes(self):
        """Bytes of one stored row; mode 101 pads a row to whole bytes."""
        return (self.width_px * _MODE_BITS[self.mode] + 7) // 8

    @property
    def file_bytes(self):
        """Bytes of the whole uncompressed file."""
        return self.data_offset_bytes + self.height_px * self.row_bytes


def parse_header(raw, path, size_bytes, read=None):
    """Return the Header in `raw` (the file's first 1,024 bytes), or raise InputError.

    `size_bytes` is the length of the file, None where it is not known (compressed). `path` is
    for messages. `read(offset, count)` returns bytes of the file: other formats have more to say.
    """
    refuse_other_formats(raw, path, size_bytes, read)
    if len(raw) < HEADER_BYTES:
        raise other_format(TRUNCATED_HEADER, _AGAIN, path, raw, size_bytes)
    fields = _sane_fields(raw, path, size_bytes)
    warnings = _stamp_warnings(fields)
    _refuse_unusable(fields, path)
    warnings += fields["extended_warnings"]
    header = Header(
        width_px=fields["nx"],
        height_px=fields["ny"],
        mode=fields["mode"],
        dtype=fields["order"] + _REAL_MODES[fields["mode"]],
        data_offset_bytes=HEADER_BYTES + fields["extended_bytes"],
        pixel_size_angstrom=_pixel_size(fields, warnings),
        origin=_origin(fields),
        warnings=warnings,
    )
    if header.mode == 0 and _holds_unsigned_bytes(fields, warnings):
        header.dtype = "u1"
    if size_bytes is not None:
        check_length(header, path, size_bytes)
    return header


def check_length(header, path, size_bytes):
    """Raise InputError unless the file is as long as its header says."""
    if size_bytes == header.file_bytes:
        return
    extended_bytes, kind = header.data_offset_bytes - HEADER_BYTES, InputError
    if extended_bytes and size_bytes == header.file_bytes - extended_bytes:
        # Of a plain file this is known when the header is read, and repaired.
        what = "the extended header that it names is absent"
        advice = "unpack the file: uncompressed, it is read all the same"
    elif size_bytes < header.file_bytes:
        what, advice, kind = "truncated", _AGAIN, UnfinishedError
    else:
        what = "longer than its header says"
        advice = "write it again with the program that made it: its header is not to be trusted"
    raise kind(
        what,
        file=path,
        expected=f"{header.file_bytes} bytes ({header.width_px} x {header.height_px} px, "
        f"mode {header.mode}, data at byte {header.data_offset_bytes})",
        found=f"{size_bytes} bytes",
        advice=advice,
    )


def _sane_fields(raw, path, size_bytes):
    """Parse in the byte order that makes the header sane, whatever the stamp says.

    Where both orders are sane (mode 0 and sides of whole 64 KiB) the file's length decides, then
    the stamp.
    """
    stamped = _STAMPS.get(raw[212:214])
    candidates, modes = [], []
    for order in "<>":
        fields = dict(zip(_NAMES, struct.unpack_from(order + _LAYOUT, raw), strict=True))
        fields["order"], fields["stamped"] = order, stamped
        if not _has_sane_sides(fields):
            continue
        modes.append(fields["mode"])
        if fields["mode"] in _MODE_BITS and _resolve_extended_header(fields, size_bytes):
            fits = size_bytes is not None and _image_bytes(fields) == size_bytes
            candidates.append((fits, order == stamped, order == "<", fields))
    if candidates:
        return max(candidates, key=lambda candidate: candidate[:3])[3]
    if found := by_fields(raw, path, size_bytes):
        raise other_format(*found, path, raw, size_bytes)
    unknown = [mode for mode in modes if mode not in _MODE_BITS and 0 <= mode < _SOME_MODE]
    raise InputError(
        "not an MRC file: its header makes no sense in either byte order",
        file=path,
        expected=f"a known mode, sides of 1 to {MAX_SIDE_PX} px, at most "
        f"{MAX_EXTENDED_BYTES >> 20} MiB of extended header",
        found=f"mode {unknown[0]}" if unknown else None,  # other numbers would be garbage
        advice="fetch the file again, or convert it to MRC",
    )


def _has_sane_sides(fields):
    return (
        0 < fields["nx"] <= MAX_SIDE_PX
        and 0 < fields["ny"] <= MAX_SIDE_PX
        and 0 < fields["nz"] < 1 << 24  # which is 1 in the other byte order
    )


def _resolve_extended_header(fields, size_bytes):
    """Set `extended_bytes` and `extended_warnings`; return whether the header is sane with them.

    The length of the file tells whether the extended header is there (cryoCARE copied headers
    without it), and in which byte order its length was written.
    """
    given = fields["nsymbt"]
    (swapped,) = struct.unpack("<i", struct.pack(">i", given))
    absent = f"an extended header of {given} bytes is named but absent: pixels read from byte 1024"
    if not 0 <= given <= MAX_EXTENDED_BYTES:
        absent = "the length of the extended header makes no sense: pixels read from byte 1024"
    choices = [(given, []), (0, [absent])]
    choices.append((swapped, ["the length of the extended header is in the other byte order"]))
    choices = [choice for choice in choices if 0 <= choice[0] <= MAX_EXTENDED_BYTES]
    fitting = [
        choice
        for choice in choices
        if size_bytes == _image_bytes(fields | {"extended_bytes": choice[0]})
    ]
    if not fitting and choices[0][0] != given:
        return False
    fields["extended_bytes"], fields["extended_warnings"] = (fitting or choices)[0]
    return True


def _image_bytes(fields):
    row_bytes = (fields["nx"] * _MODE_BITS[fields["mode"]] + 7) // 8
    return HEADER_BYTES + fields["extended_bytes"] + row_bytes * fields["ny"] * fields["nz"]


def _refuse_unusable(fields, path):
    mode, sections = fields["mode"], fields["nz"]
    if mode not in _REAL_MODES:
        kind = "an RGB picture" if mode == 16 else "a complex image (a Fourier transform)"
        raise InputError(
            kind,
            file=path,
            expected="MRC mode 0, 1, 2, 6, 12 or 101",
            found=f"mode {mode}",
            advice="give the real-space micrograph",
        )
    if sections > 1:
        raise InputError(
            "a stack or a volume, not one micrograph",
            file=path,
            expected="1 section",
            found=f"{sections} sections",
            advice="motion-correct and average a movie first; give one file per micrograph",
        )


def _stamp_warnings(fields):
    warnings = []
    order, stamped, stamp = fields["order"], fields["stamped"], fields["stamp"]
    if stamped is None:
        warnings.append(
            f"machine stamp {stamp.hex(' ')} is unknown: read as {_ORDER_NAMES[order]}, "
            "which makes the header sane"
        )
    elif stamped != order:
        warnings.append(
            f"stamped {_ORDER_NAMES[stamped]} but only {_ORDER_NAMES[order]} makes the header sane"
        )
    if fields["map"][:3] != b"MAP":
        warnings.append("no MAP string in the header")
    if fields["exttyp"].strip(b"\0 ") and fields["nsymbt"] == 0:
        warnings.append("an extended header type is named but there is no extended header")
    axes = fields["mapc"], fields["mapr"], fields["maps"]
    if axes != (1, 2, 3):
        warnings.append(f"axis order {axes} in the header: read as columns, rows, sections")
    return warnings


def _pixel_size(fields, warnings):
    """Return angstrom per pixel (cell over sampling), None where the header gives none."""
    cell_x, cell_y = fields["cell_x"], fields["cell_y"]
    mx, my = fields["mx"], fields["my"]
    if not (0 < cell_x < math.inf and 0 < cell_y < math.inf):
        warnings.append(f"no pixel size: the cell is {cell_x:g} x {cell_y:g} angstrom")
        return None
    if mx <= 0 or my <= 0:
        warnings.append(f"sampling MX, MY is {mx}, {my}: NX, NY used for the pixel size")
        mx, my = fields["nx"], fields["ny"]
    elif (mx, my) != (fields["nx"], fields["ny"]):
        warnings.append(
            f"sampling {mx} x {my} differs from the image {fields['nx']} x {fields['ny']}: "
            "pixel size taken as cell over sampling"
        )
    if abs(cell_x / mx - cell_y / my) > 1e-3 * (cell_x / mx):
        warnings.append(f"pixels are not square: {cell_x / mx:g} x {cell_y / my:g} angstrom")
    return cell_x / mx


def _origin(fields):
    origin = tuple(fields[name] for name in ("origin_x", "origin_y", "origin_z"))
    return origin if all(map(math.isfinite, origin)) else (0.0, 0.0, 0.0)


def _holds_unsigned_bytes(fields, warnings):
    """Mode 0 is signed since MRC2014; IMOD and older programs wrote unsigned bytes."""
    stamp, flags = struct.unpack_from(fields["order"] + "2i", fields["extra2"], 152 - 112)
    if stamp == _IMOD_STAMP:
        unsigned = not flags & _IMOD_SIGNED_BYTES
        evidence = "its IMOD flags"
    else:
        unsigned = fields["dmax"] > 127 and 0 <= fields["dmin"] <= fields["dmax"] <= 255
        evidence = f"a header maximum of {fields['dmax']:g}"
    if unsigned:
        warnings.append(f"mode 0 read as unsigned bytes because of {evidence}")
    return unsigned
