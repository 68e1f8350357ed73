import bz2
import gzip
import struct
import tracemalloc

import mrcfile
import numpy as np
import pytest

from clearice.errors import InputError
from clearice.micrographs.mrc import open_micrograph, read_micrograph
from clearice.micrographs.mrc_writer import write_micrograph
from mrc_files import noise_image, pixels_for, write_mrc

ALL_MODES = (0, 1, 2, 6, 12, 101)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("mode", ALL_MODES)
def test_every_mode_and_byte_order_gives_back_its_pixels(tmp_path, mode, order):
    image = pixels_for(mode, 37, 53)
    path = write_mrc(tmp_path / "a.mrc", image, mode, order)
    with open_micrograph(path) as micrograph:
        assert (micrograph.height_px, micrograph.width_px) == (37, 53)
        assert micrograph.mode == mode
        assert micrograph.pixel_size_angstrom == pytest.approx(1.5)
        assert micrograph.warnings == []
        assert len(micrograph.header_bytes) == 1024
        rows = micrograph.read_rows(0, 37)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, image)


@pytest.mark.parametrize("mode", [0, 1, 2, 6, 12])
def test_reads_what_mrcfile_writes(tmp_path, mode):
    dtype = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}[mode]
    image = pixels_for(mode, 20, 31).astype(dtype)
    with mrcfile.new(tmp_path / "a.mrc") as mrc:
        mrc.set_data(image)
        mrc.voxel_size = 0.75
        mrc.set_extended_header(np.zeros(768, "V1"))
    with open_micrograph(tmp_path / "a.mrc") as micrograph:
        assert micrograph.mode == mode
        assert micrograph.pixel_size_angstrom == pytest.approx(0.75)
        np.testing.assert_array_equal(micrograph.read_rows(0, 20), image.astype(np.float32))


@pytest.mark.parametrize("compress", [None, gzip.compress, bz2.compress])
@pytest.mark.parametrize("mode", [2, 6, 101])
def test_rows_in_any_order_equal_the_whole_image(tmp_path, mode, compress):
    image = pixels_for(mode, 64, 41)
    path = write_mrc(tmp_path / "a.mrc", image, mode, extended=bytes(300))
    if compress:
        path.write_bytes(compress(path.read_bytes()))
    with open_micrograph(path) as micrograph:
        for first, count in [(0, 3), (60, 4), (10, 1), (11, 30), (5, 0), (0, 64)]:
            rows = micrograph.read_rows(first, count)
            np.testing.assert_array_equal(rows, image[first : first + count])
        blocks = [rows.copy() for _, rows in micrograph.blocks(7)]
    np.testing.assert_array_equal(np.concatenate(blocks), image)


def test_rows_outside_the_image_are_refused(tmp_path):
    path = write_mrc(tmp_path / "a.mrc", noise_image(8, 8))
    with open_micrograph(path) as micrograph:
        for first, count in [(-1, 2), (7, 2), (9, 0)]:
            with pytest.raises(IndexError):
                micrograph.read_rows(first, count)


@pytest.mark.parametrize(("mode", "suffix"), [(2, ".mrc"), (6, ".mrc"), (101, ".mrc"), (2, ".gz")])
def test_reading_holds_a_block_and_not_the_image(tmp_path, mode, suffix):
    image = pixels_for(mode, 2048, 1024)
    path = write_mrc(tmp_path / f"a{suffix}", image, mode)
    if suffix == ".gz":
        path.write_bytes(gzip.compress(path.read_bytes(), 1))
    with open_micrograph(path) as micrograph:
        tracemalloc.start()
        total = sum(float(rows.sum(dtype=np.float64)) for _, rows in micrograph.blocks())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert total == pytest.approx(image.sum(dtype=np.float64), rel=1e-9)
    assert peak < image.nbytes / 2


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_mrcfile_finds_what_we_write_valid(tmp_path, dtype, capsys):
    image = noise_image(33, 47).astype(dtype)
    path = tmp_path / "out" / "a.mrc"
    blocks = (image[first : first + 5] for first in range(0, 33, 5))
    write_micrograph(
        path,
        blocks,
        33,
        47,
        dtype=dtype,
        pixel_size_angstrom=0.66,
        origin=(1.0, 2.0, 3.0),
        label="denoised by clearice",
    )
    assert mrcfile.validate(path), capsys.readouterr().out
    with mrcfile.open(path) as mrc:
        assert mrc.header.mode == {"float32": 2, "float16": 12}[dtype]
        np.testing.assert_array_equal(mrc.data, image)
        assert mrc.voxel_size.x == pytest.approx(0.66)
        assert mrc.header.origin.y == 2.0
        assert [label.rstrip() for label in mrc.get_labels()] == ["denoised by clearice"]
    np.testing.assert_array_equal(read_micrograph(path), image.astype(np.float32))
    with open_micrograph(path) as micrograph:
        assert micrograph.warnings == []
        assert micrograph.origin == (1.0, 2.0, 3.0)
        assert micrograph.pixel_size_angstrom == pytest.approx(0.66)


@pytest.mark.parametrize("size", [0.66, None])
@pytest.mark.parametrize(("dtype", "mode"), [("float32", 2), ("float16", 12)])
def test_the_bytes_of_a_file_are_fixed(tmp_path, dtype, mode, size):
    """Shard records hold hashes of files: a header with a date or an odd default would rerun."""
    image = noise_image(33, 47).astype(dtype)
    path = tmp_path / "a.mrc"
    origin = (1.0, 2.0, 3.0)
    write_micrograph(
        path, image, 33, 47, dtype=dtype, pixel_size_angstrom=size, origin=origin, label="a label"
    )
    raw = path.read_bytes()
    cell = size or 0.0
    pixels = image.astype(np.float64)
    expected = struct.pack(
        "<10i6f3i3f2i8s4si84s3f4s4sfi80s720x",
        *(47, 33, 1, mode, 0, 0, 0, 47, 33, 1),
        *(cell * 47, cell * 33, cell, 90.0, 90.0, 90.0, 1, 2, 3),
        *(pixels.min(), pixels.max(), pixels.mean(), 0, 0),
        *(b"", b"", 20141, b"", *origin),
        *(b"MAP ", b"\x44\x44\0\0", pixels.std(), 1, b"a label".ljust(80)),
    )
    assert raw[:1024] == expected
    assert raw[1024:] == image.tobytes()


def test_a_pixel_size_that_is_not_known_stays_unknown(tmp_path):
    write_micrograph(
        tmp_path / "a.mrc", [noise_image(4, 4)], 4, 4, pixel_size_angstrom=None, label=""
    )
    with open_micrograph(tmp_path / "a.mrc") as micrograph:
        assert micrograph.pixel_size_angstrom is None


def write_small(path, rows, dtype="float32", height=4):
    write_micrograph(path, rows, height, 4, dtype=dtype, pixel_size_angstrom=1.0, label="")


def test_writing_refuses_what_a_file_cannot_hold_and_keeps_the_old_one(tmp_path):
    path = tmp_path / "a.mrc"
    write_small(path, [np.ones((4, 4))])
    before = path.read_bytes()
    with pytest.raises(InputError, match="does not fit float16"):
        write_small(path, [np.full((4, 4), 1e5)], "float16")
    with pytest.raises(InputError, match="not finite"):
        write_small(path, [np.full((4, 4), np.nan)])
    with pytest.raises(ValueError, match="3 rows, not 4"):
        write_small(path, [np.ones((3, 4))])
    with pytest.raises(ValueError, match="rows of 5 px, not 4"):
        write_small(path, [np.ones((4, 5))])
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.mrc"]


@pytest.mark.filterwarnings("ignore:Map ID string not found", "ignore:Unrecognised machine stamp")
@pytest.mark.parametrize(
    ("name", "height", "width", "mode", "pixel_size_angstrom"),
    [
        ("leginon_pyami_test1.mrc", 512, 512, 1, None),
        ("leginon_08mar13e_00010gr_00004sq_v02_00005hl.mrc", 512, 512, 2, 1.0),
        ("leginon_mymrc.mrc", 256, 256, 2, 1.0),
        ("mrcfile_relion_float16.mrc", 64, 64, 12, 3.5953123569488525),
    ],
)
def test_real_odd_headers_are_read(real_data, name, height, width, mode, pixel_size_angstrom):
    path = real_data / "mrc-headers" / name
    with open_micrograph(path) as micrograph:
        assert (micrograph.height_px, micrograph.width_px) == (height, width)
        assert micrograph.mode == mode
        assert micrograph.pixel_size_angstrom == pixel_size_angstrom
        rows = micrograph.read_rows(0, height)
    assert rows.std() > 0
    with mrcfile.open(path, permissive=True) as mrc:
        if mrc.data is not None:  # it gives no data where the stamp is zero
            np.testing.assert_array_equal(rows, mrc.data.astype(np.float32))


def test_real_volumes_are_rejected_with_advice(real_data):
    volumes = ["EMD-3001.map.bz2", "emd_3001_f16.mrc", "emd_3197.map.gz", "tardis_mrc3D.mrc"]
    for name in volumes:
        with pytest.raises(InputError, match=r"a stack or a volume.*average a movie first"):
            open_micrograph(real_data / "mrc-headers" / name)
