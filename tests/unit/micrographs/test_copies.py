"""One image under two names is found, whatever its header says; images that differ are not."""

import bz2
import gzip

import numpy as np
import pytest

from clearice.micrographs.mrc import open_micrograph
from clearice.micrographs.whole_set.copies import find_copies, several_names
from mrc_files import noise_image, write_mrc


def pixels_xxh3(path):
    """Return the hash that a pass over the pixels leaves."""
    with open_micrograph(path) as micrograph:
        assert micrograph.pixels_xxh3 is None
        for _ in micrograph.blocks(7):
            pass
        return micrograph.pixels_xxh3


def counts(seed):
    return np.random.default_rng(seed).integers(0, 100, (40, 30)).astype(np.float32)


def compressed(module, suffix):
    def write(path, image):
        write_mrc(path, image)
        packed = path.with_name(path.name + suffix)
        packed.write_bytes(module.compress(path.read_bytes()))
        path.unlink()
        return packed

    return write


WRITERS = {
    "another label and pixel size": lambda p, i: write_mrc(p, i, cell_x=99.0, cell_y=132.0),
    "an extended header": lambda p, i: write_mrc(p, i, extended=bytes(160)),
    "another mode": lambda p, i: write_mrc(p, i, mode=1),
    "half precision": lambda p, i: write_mrc(p, i, mode=12),
    "the other byte order": lambda p, i: write_mrc(p, i, order=">"),
    "gzip": compressed(gzip, ".gz"),
    "bzip2": compressed(bz2, ".bz2"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_copy_is_found_whatever_its_header_says(tmp_path, name):
    a = write_mrc(tmp_path / "a.mrc", counts(0))
    other = write_mrc(tmp_path / "b.mrc", counts(1))
    copy = WRITERS[name](tmp_path / "c.mrc", counts(0))
    assert pixels_xxh3(a) == pixels_xxh3(copy) != pixels_xxh3(other)
    files = [("a", str(a)), ("b", str(other)), ("c", str(copy))]
    assert find_copies(files) == [["a", "c"]]
    assert find_copies(files[:2]) == []


def test_the_rows_that_are_compared_do_not_change_the_hash(tmp_path):
    path = write_mrc(tmp_path / "a.mrc", counts(0))
    with open_micrograph(path) as micrograph:
        for rows in (1, 11, 40):
            list(micrograph.blocks(rows))
            assert micrograph.pixels_xxh3 == pixels_xxh3(path)


def test_one_row_in_common_is_no_copy(tmp_path):
    images = [noise_image(64, 64, seed) for seed in (0, 1)]
    images[1][32] = images[0][32]
    paths = [write_mrc(tmp_path / f"{i}.mrc", image) for i, image in enumerate(images)]
    assert find_copies([(path.stem, str(path)) for path in paths]) == []


@pytest.mark.parametrize("border", [0, 20])
def test_blank_rows_are_no_evidence(tmp_path, border):
    files = []
    for seed in range(4):
        image = noise_image(64, 64, seed)
        image[border : border + 24] = 7  # the middle row of all, or the first of all
        path = write_mrc(tmp_path / f"{seed}.mrc", image)
        files.append((path.stem, str(path)))
    assert find_copies(files) == []
    packed = compressed(gzip, ".gz")(tmp_path / "x.mrc", noise_image(64, 64, 9))
    assert find_copies([*files, ("x", str(packed))]) == []


def test_a_half_that_is_another_ones_is_found_and_its_own_is_not(tmp_path):
    paths = {name: str(write_mrc(tmp_path / name, counts(ord(name)))) for name in "pqr"}
    files = [("m", paths["p"]), ("m", paths["p"]), ("n", paths["q"]), ("n", paths["r"])]
    assert find_copies(files) == []
    assert find_copies([*files, ("o", paths["q"])]) == [["n", "o"]]


def test_what_cannot_be_read_is_passed_over(tmp_path):
    (tmp_path / "a.mrc").write_bytes(b"short")
    absent = [("a", str(tmp_path / "a.mrc")), ("b", str(tmp_path / "b.mrc"))]
    assert find_copies(absent) == find_copies([]) == []


def test_all_are_counted_and_ten_are_named():
    assert several_names([]) is None
    text = str(several_names([f"a{i}", f"b{i}"] for i in range(40)))
    assert text.startswith("40 images with several names: copies could end up in both splits: ")
    assert "a0 and b0, a1 and b1" in text
    assert "and 30 more" in text
