import bz2
import gzip

import numpy as np
import pytest

from clearice.errors import InputError
from clearice.micrographs.mrc import open_micrograph
from mrc_files import header_bytes, noise_image, pixels_for, write_mrc

IMAGE = noise_image(24, 30)
IMOD = 1146047817


def read(path):
    with open_micrograph(path) as micrograph:
        return micrograph.read_rows(0, micrograph.height_px), micrograph.warnings, micrograph


ACCEPTED = {
    "extended header": {"extended": bytes(786432)},
    "MAP with a zero byte": {"map": b"MAP\0"},
    "old little-endian stamp": {"stamp": b"\x44\x41\0\0"},
    "least above largest": {"dmin": 5.0, "dmax": 1.0},
    "statistics that are not true": {"dmin": -7.0, "dmax": 99.0, "dmean": 1e6},
    "volume space group": {"ispg": 1},
    "extended header type without a header, named by blanks": {"exttyp": b"    "},
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_accepted_without_a_word(tmp_path, case):
    rows, warnings, _ = read(write_mrc(tmp_path / "a.mrc", IMAGE, **ACCEPTED[case]))
    np.testing.assert_array_equal(rows, IMAGE)
    assert warnings == []


REPAIRED = {
    "zero stamp": ({"stamp": bytes(4)}, "machine stamp 00 00 00 00 is unknown"),
    "Leginon's stamp": ({"stamp": b"\0\0\x44\x44"}, "machine stamp 00 00 44 44 is unknown"),
    "no MAP": ({"map": bytes(4)}, "no MAP string"),
    "type without extended header": ({"exttyp": b"FEI1"}, "there is no extended header"),
    "axes all zero": ({"mapc": 0, "mapr": 0, "maps": 0}, "axis order (0, 0, 0)"),
    "axes swapped": ({"mapc": 2, "mapr": 1}, "axis order (2, 1, 3)"),
    "sampling zero": ({"mx": 0, "my": 0}, "sampling MX, MY is 0, 0"),
    "sampling of another size": ({"mx": 60, "my": 48}, "sampling 60 x 48 differs"),
    "no cell": ({"cell_x": 0.0}, "no pixel size: the cell is 0 x"),
    "negative cell": ({"cell_x": -45.0, "cell_y": -36.0}, "no pixel size: the cell is -45 x -36"),
    "cell of NaN": ({"cell_x": float("nan")}, "no pixel size"),
    "extended header absent": ({"nsymbt": 49920}, "of 49920 bytes is named but absent: pixels"),
    "negative extended header": ({"nsymbt": -4}, "makes no sense: pixels read from byte 1024"),
    "huge extended header": ({"nsymbt": 1 << 30}, "makes no sense: pixels read from byte 1024"),
    "pixels not square": ({"cell_y": 48.0}, "pixels are not square: 1.5 x 2"),
}


@pytest.mark.parametrize("case", REPAIRED)
def test_repaired_with_a_warning(tmp_path, case):
    words, message = REPAIRED[case]
    rows, warnings, _ = read(write_mrc(tmp_path / "a.mrc", IMAGE, **words))
    np.testing.assert_array_equal(rows, IMAGE)
    assert len(warnings) == 1
    assert message in warnings[0]


@pytest.mark.parametrize("order", "<>")
def test_a_stamp_that_lies_is_overruled(tmp_path, order):
    lie = {"<": b"\x11\x11\0\0", ">": b"\x44\x44\0\0"}[order]
    rows, warnings, _ = read(write_mrc(tmp_path / "a.mrc", IMAGE, order=order, stamp=lie))
    np.testing.assert_array_equal(rows, IMAGE)
    assert ["makes the header sane" in warning for warning in warnings] == [True]


@pytest.mark.parametrize("order", "<>")
def test_sides_that_are_sane_in_both_orders_are_told_by_the_length(tmp_path, order):
    image = pixels_for(0, 256, 512)  # 256 is 65536 and 512 is 131072 when swapped
    lie = {"<": b"\x11\x11\0\0", ">": b"\x44\x44\0\0"}[order]
    rows, warnings, _ = read(write_mrc(tmp_path / "a.mrc", image, 0, order, stamp=lie))
    np.testing.assert_array_equal(rows, image)
    assert len(warnings) == 1


@pytest.mark.parametrize("stamp", [b"\0\0\x44\x44", b"\x11\x11\0\0", b"\x44\x44\0\0"])
@pytest.mark.parametrize("order", "<>")
def test_one_section_is_not_16_million_where_no_length_can_tell(tmp_path, order, stamp):
    image = pixels_for(0, 256, 256)  # compressed: the length of the content is not known
    path = write_mrc(tmp_path / "plain.mrc", image, 0, order, stamp=stamp)
    (tmp_path / "a.mrc").write_bytes(bz2.compress(path.read_bytes()))
    rows, _, _ = read(tmp_path / "a.mrc")
    np.testing.assert_array_equal(rows, image)


def test_the_pixel_size_is_cell_over_sampling(tmp_path):
    path = write_mrc(tmp_path / "a.mrc", IMAGE, mx=60, my=48, cell_x=90.0, cell_y=72.0)
    assert read(path)[2].pixel_size_angstrom == pytest.approx(1.5)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("length", [80, 1024, 49920])
def test_the_length_of_the_extended_header_may_be_in_the_other_order(tmp_path, order, length):
    swapped = int.from_bytes(length.to_bytes(4, "little"), "big", signed=True)
    words = {"extended": bytes(length), "nsymbt": swapped}
    rows, warnings, _ = read(write_mrc(tmp_path / "a.mrc", IMAGE, order=order, **words))
    np.testing.assert_array_equal(rows, IMAGE)
    assert warnings == ["the length of the extended header is in the other byte order"]


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress])
def test_in_a_compressed_file_the_absent_extended_header_is_named(tmp_path, compress):
    path = write_mrc(tmp_path / "a.mrc", IMAGE, nsymbt=1024)
    path.write_bytes(compress(path.read_bytes()))
    with pytest.raises(InputError, match=r"extended header that it names is absent.*unpack the"):
        read_in_blocks(path)


BYTES = {  # words -> are the bytes unsigned?
    "MRC2014": ({"dmin": -100.0, "dmax": 100.0}, False),
    "no statistics": ({"dmin": 0.0, "dmax": -1.0}, False),
    "maximum above 127": ({"dmin": 0.0, "dmax": 255.0}, True),
    "IMOD signed": ({"imod_stamp": IMOD, "imod_flags": 1, "dmax": 255.0}, False),
    "IMOD unsigned": ({"imod_stamp": IMOD, "imod_flags": 0}, True),
    "maximum no byte can have": ({"dmin": 0.0, "dmax": 4000.0}, False),
}


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("case", BYTES)
def test_mode_0_is_signed_unless_the_header_says_otherwise(tmp_path, case, order):
    words, unsigned = BYTES[case]
    image = pixels_for(0, 24, 30)
    rows, warnings, _ = read(write_mrc(tmp_path / "a.mrc", image, 0, order, **words))
    np.testing.assert_array_equal(
        rows, np.where(image < 0, image + 256, image) if unsigned else image
    )
    assert ["unsigned bytes" in warning for warning in warnings] == [True] * unsigned


def test_a_compressed_file_is_known_by_its_content(tmp_path):
    plain = write_mrc(tmp_path / "plain.mrc.gz", IMAGE)
    np.testing.assert_array_equal(read(plain)[0], IMAGE)
    hidden = tmp_path / "hidden.mrc"
    hidden.write_bytes(gzip.compress(plain.read_bytes()))
    np.testing.assert_array_equal(read(hidden)[0], IMAGE)


GOOD = header_bytes(24, 30, 2)
REJECTED = {
    "empty": (b"", "empty file"),
    "short header": (GOOD[:500], "truncated in its header.*500 bytes"),
    "HTML": (b"<!DOCTYPE html><html>503</html>" + bytes(2000), "an HTML or XML page"),
    "HTML, indented": (b"\n\n  <html>Service unavailable</html>", "an HTML or XML page"),
    "XML": (b'<?xml version="1.0"?><Error/>', "an HTML or XML page"),
    "TIFF": (b"II*\0" + bytes(2000), "a TIFF, not MRC"),
    "garbage": (
        bytes(range(256)) * 8,
        "no sense in either byte order",
    ),
    "zeros": (bytes(4096), "header is all zeros: an unfinished copy"),
    "truncated": (GOOD + bytes(24 * 30 * 4 - 1), "truncated: expected 3904 bytes.*found 3903"),
    "header only": (GOOD, "truncated: expected 3904 bytes.*found 1024"),
    "too long": (GOOD + bytes(24 * 30 * 4 + 1), "longer than its header says.*found 3905"),
    "16 million px wide": (
        header_bytes(24, 1 << 24, 2) + bytes(99),
        "no sense in either byte order",
    ),
    "negative side": (header_bytes(-24, 30, 2) + bytes(99), "no sense in either byte order"),
    "negative extended header": (
        header_bytes(24, 30, 2, nsymbt=-4) + bytes(2881),
        "no sense in either byte order",
    ),
    "huge extended header": (
        header_bytes(24, 30, 2, nsymbt=1 << 30) + bytes(2881),
        "no sense in either byte order",
    ),
    "unknown mode": (
        header_bytes(24, 30, 7) + bytes(2880),
        "no sense in either byte order.*mode 7",
    ),
    "complex 16-bit": (header_bytes(24, 30, 3) + bytes(2880), "a complex image.*real-space"),
    "complex 32-bit": (header_bytes(24, 30, 4) + bytes(5760), "a complex image.*real-space"),
    "RGB": (header_bytes(24, 30, 16) + bytes(2160), "an RGB picture"),
    "stack": (header_bytes(24, 30, 2, nz=2) + bytes(5760), "2 sections; motion-correct"),
    "6 TB": (header_bytes(1 << 17, 1 << 17, 4, nz=50) + bytes(99), "a complex image"),
    "64 GiB": (header_bytes(1 << 17, 1 << 17, 2) + bytes(99), "truncated|says more than a compr"),
}


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("case", REJECTED)
def test_rejected_with_one_line(tmp_path, case, compressed):
    content, message = REJECTED[case]
    path = tmp_path / "a.mrc"
    path.write_bytes(gzip.compress(content) if compressed else content)
    if compressed:  # the length shows at the end; some messages then know less
        message = message.split("found")[0]
    with pytest.raises(InputError, match=message) as error:
        read_in_blocks(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def read_in_blocks(path):
    with open_micrograph(path) as micrograph:
        for _ in micrograph.blocks():
            pass


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress])
def test_a_damaged_compressed_file_is_rejected(tmp_path, compress):
    path = write_mrc(tmp_path / "a.mrc", noise_image(700, 700))  # three blocks of bzip2
    good = compress(path.read_bytes())
    damaged = bytearray(good)
    damaged[len(good) // 2] ^= 0xFF
    for content in (good[: len(good) // 2], bytes(damaged)):
        path.write_bytes(content)
        with pytest.raises(InputError, match="damaged or truncated"):
            read_in_blocks(path)


def test_what_is_not_there_or_not_a_file_is_rejected(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        open_micrograph(tmp_path / "absent.mrc")
    with pytest.raises(InputError, match=r"not a regular file: .*found a folder"):
        open_micrograph(tmp_path)
