"""What is no MRC file is named, with what to do; never a number that is not there."""

import gzip
import io
import json
import lzma
import re
import struct
import tarfile
import zipfile

import numpy as np
import pytest

from clearice.errors import InputError
from clearice.micrographs.mrc import open_micrograph
from mrc_files import header_bytes, noise_image

IMAGE = noise_image(32, 32)


def tiff(order, big, pages, compression=1, loop=False):
    """Return the bytes of a TIFF of so many pages; `loop`: the last page is followed by itself."""
    mark = {"<": b"II", ">": b"MM"}[order]
    letter, count_letter = ("Q", "Q") if big else ("I", "H")
    head = mark + struct.pack(order + "H", 43 if big else 42)
    head += struct.pack(order + "2H", 8, 0) if big else b""
    offset = len(head) + struct.calcsize(order + letter)
    content = head + struct.pack(order + letter, offset)
    for page in range(pages):
        table = struct.pack(order + count_letter, 2)
        for tag, value in ((256, 32), (259, compression)):
            table += struct.pack(order + "2H" + letter, tag, 3, 1)
            table += struct.pack(order + "H", value).ljust(8 if big else 4, b"\0")
        following = len(content) + len(table) + struct.calcsize(order + letter)
        if page == pages - 1:
            following = len(content) if loop else 0
        content += table + struct.pack(order + letter, following)
    return content + IMAGE.tobytes()


def archive(kind):
    packed = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(packed, "w") as file:
            file.writestr("a.mrc", IMAGE.tobytes())
    else:
        with tarfile.open(fileobj=packed, mode="w") as file:
            file.addfile(tarfile.TarInfo("a.mrc"), io.BytesIO())
    return packed.getvalue()


def npy():
    packed = io.BytesIO()
    np.save(packed, IMAGE)
    return packed.getvalue()


def spider(order):
    words = np.zeros(64, order + "f4")  # 32 columns: 8 records of 128 bytes
    words[[0, 1, 4, 11, 12, 21, 22]] = 1, 32, 1, 32, 8, 1024, 128
    return words.tobytes().ljust(1024, b"\0") + IMAGE.tobytes()


def gatan(version):
    length = 5000
    head = struct.pack({3: ">3i", 4: ">iqi"}[version], version, length, 1)
    return head.ljust(length + 16, b"\x15")


IMAGIC = struct.pack("<14i", 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1024, 32, 32) + b"REAL" + bytes(964)
CASES = {  # content -> what the line must say
    "LFS": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 263168\n",
        "a Git LFS pointer, not the file.*git lfs pull",
    ),
    "annex": (b"/annex/objects/MD5E-s99--" + b"0" * 32 + b".mrc\n", "git-annex.*git annex get"),
    "xz": (lzma.compress(IMAGE.tobytes()), "an xz file.*unpack it: xz -d"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(50), "a zstd file.*zstd -d"),
    "lz4": (b"\x04\x22\x4d\x18" + bytes(50), "an lz4 file"),
    "compress": (b"\x1f\x9d\x90" + bytes(50), r"compress \(.Z\).*gunzip"),
    "zip": (archive("zip"), "a zip archive.*unpack it: unzip"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(50), "a 7z archive"),
    "rar": (b"Rar!\x1a\x07\x01\0" + bytes(50), "a rar archive"),
    "tar": (archive("tar"), "a tar archive.*tar -xf"),
    "one page": (tiff("<", False, 1), "a TIFF of one page, not MRC.*convert it.*tif2mrc"),
    "one page, big-endian": (tiff(">", False, 1), "a TIFF of one page"),
    "one page of a BigTIFF": (tiff("<", True, 1), "a TIFF of one page"),
    "movie": (tiff("<", False, 50), "a TIFF movie of 50 pages.*motion-correct"),
    "movie, BigTIFF": (tiff(">", True, 7), "a TIFF movie of 7 pages"),
    "pages in a circle": (tiff("<", False, 1, loop=True), "a TIFF, not MRC.*tif2mrc.*if it is a m"),
    "pages without end": (tiff("<", False, 3000), "2000 pages or more"),
    "TIFF cut short": (tiff("<", False, 3)[:40], "a TIFF, not MRC"),
    "EER": (tiff("<", True, 40, compression=65001), "an EER movie, not MRC.*motion-correct"),
    "DM3": (gatan(3), r"Digital Micrograph file \(DM3 or DM4\).*dm2mrc"),
    "DM4": (gatan(4), "Digital Micrograph file"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(2000), "an HDF5 file"),
    "NPY": (npy(), "a NumPy array or a cryoSPARC .cs table"),
    "PNG": (b"\x89PNG\r\n\x1a\n" + bytes(2000), "a PNG picture"),
    "JPEG": (b"\xff\xd8\xff\xe0" + bytes(2000), "a JPEG picture"),
    "PDF": (b"%PDF-1.4" + bytes(2000), "a PDF document"),
    "MRCZ": (header_bytes(32, 32, 2002) + bytes(4000), "an MRCZ file.*blosc.*mrcz"),
    "MRCZ, bytes": (header_bytes(32, 32, 1000, ">") + bytes(4000), "an MRCZ file"),
    "SPIDER": (spider("<"), "a SPIDER image"),
    "SPIDER, big-endian": (spider(">"), "a SPIDER image"),
    "IMAGIC": (IMAGIC, r"an IMAGIC header \(.hed\)"),
    "HTML": (b"\xef\xbb\xbf\n <!DOCTYPE html><html>404</html>", "an HTML or XML page"),
    "XML": (b'<?xml version="1.0"?><Error/>', "an HTML or XML page"),
    "JSON": (json.dumps({"error": "no such entry"}).encode(), "JSON text, not a micrograph"),
    "STAR": (b"\n# version 30001\n\ndata_micrographs\n\nloop_\n", "a STAR file.*ends in .star"),
    "text": (b"No such file or directory\n", "a text file, not a micrograph"),
    "long text": ("schön wär's\n".encode() * 500, "a text file, not a micrograph"),
    "blanks": (b" \n" * 900, "a file of blanks"),
    "empty": (b"", "empty file"),
    "zeros": (bytes(5000), "all zeros: an unfinished copy"),
    "anything": (np.random.default_rng(1).bytes(5000), "no sense in either byte order"),
    "an unknown mode": (header_bytes(32, 32, 9) + bytes(4000), "found mode 9;"),
}


@pytest.mark.parametrize("case", CASES)
def test_another_format_is_named_with_what_to_do(tmp_path, case):
    content, message = CASES[case]
    (tmp_path / "a.mrc").write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        open_micrograph(tmp_path / "a.mrc")
    text = str(error.value).removeprefix(f"{tmp_path}/a.mrc: ")
    assert "\n" not in text
    assert text.endswith(error.value.advice)
    numbers = [int(n) for n in re.findall(r"\d{4,}", text.replace(",", ""))]
    assert set(numbers) <= {len(content), 131072, 2000}  # no garbage


@pytest.mark.parametrize("case", ["one page", "movie", "EER", "HTML", "LFS", "NPY", "JSON"])
def test_inside_gzip_it_is_named_too(tmp_path, case):
    content, _ = CASES[case]
    (tmp_path / "a.mrc.gz").write_bytes(gzip.compress(content))
    with pytest.raises(InputError, match=r"TIFF|HTML|LFS|NumPy|JSON"):
        open_micrograph(tmp_path / "a.mrc.gz")


def test_the_pixels_of_an_imagic_file_are_told_by_their_name(tmp_path):
    (tmp_path / "a.img").write_bytes(IMAGE.tobytes())
    with pytest.raises(InputError, match=r"no MRC header: the pixels of an IMAGIC file\?"):
        open_micrograph(tmp_path / "a.img")


def test_a_link_of_git_annex_to_what_is_not_here(tmp_path):
    (tmp_path / "a.mrc").symlink_to(".git/annex/objects/x/y/MD5E-s99--0.mrc")
    with pytest.raises(InputError, match=r"no such file: a git-annex link.*git annex get"):
        open_micrograph(tmp_path / "a.mrc")
    (tmp_path / "b.mrc").symlink_to("gone.mrc")
    with pytest.raises(InputError, match="no such file: a link to nothing"):
        open_micrograph(tmp_path / "b.mrc")


def test_no_good_header_is_taken_for_another_format(tmp_path):
    """Every small shape in both orders, and widths whose bytes are the magic of a format."""
    widths = [*range(1, 9), 32, 256, 23106, 35615, 40223, 19789, 18761]
    for width in widths:
        for height in (1, 2, 3, 65, 256):
            for order in "<>":
                for mode, item_bytes in ((0, 1), (1, 2), (2, 4)):
                    raw = header_bytes(height, width, mode, order)
                    path = tmp_path / "a.mrc"
                    path.write_bytes(raw + bytes(height * width * item_bytes))
                    with open_micrograph(path) as micrograph:
                        assert (micrograph.height_px, micrograph.width_px) == (height, width)
                        assert micrograph.warnings == []
