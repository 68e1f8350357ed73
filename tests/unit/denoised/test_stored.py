"""What a file holds is the same, whoever converts and measures it."""

import numpy as np
import pytest
import torch

from clearice.denoised.stored import StoredRows
from clearice.errors import InputError
from clearice.micrographs.mrc_writer import write_micrograph

FACTS = {"pixel_size_angstrom": 1.25, "label": "test"}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("offset", [0.0, 3000.0])
def test_the_file_is_that_of_the_writer_alone(tmp_path, monkeypatch, dtype, offset):
    image = np.random.default_rng(0).normal(offset, 30, (301, 217)).astype(np.float32)
    write_micrograph(tmp_path / "a.mrc", [image], *image.shape, dtype=dtype, **FACTS)
    monkeypatch.setattr("clearice.denoised.stored._PIECE_PX", {"cpu": 5000})
    stored = StoredRows(tmp_path / "b.mrc", dtype)
    blocks = map(stored.take, map(torch.from_numpy, np.array_split(image, 4)))
    write_micrograph(
        tmp_path / "b.mrc",
        blocks,
        *image.shape,
        dtype=dtype,
        **FACTS,
        statistics=stored.statistics,
    )
    assert (tmp_path / "b.mrc").read_bytes() == (tmp_path / "a.mrc").read_bytes()


def test_the_numbers_are_those_of_float64():
    image = np.random.default_rng(1).normal(1e4, 2, (100, 333)).astype(np.float32)
    stored = StoredRows("a.mrc", "float32")
    assert np.array_equal(stored.take(torch.from_numpy(image)), image)
    found, exact = stored.statistics.result(), image.astype(np.float64)
    assert (found.minimum, found.maximum) == (image.min(), image.max())
    assert [found.mean, found.std] == pytest.approx([exact.mean(), exact.std()], rel=1e-12)


@pytest.mark.parametrize(("dtype", "value"), [("float16", 7e4), ("float32", np.nan)])
def test_a_value_that_the_type_cannot_hold_is_refused(dtype, value):
    rows = torch.zeros(3, 4)
    rows[1, 2] = value
    words = rf"a\.mrc: a pixel is not finite or does not fit {dtype}: expected at most"
    with pytest.raises(InputError, match=words):
        StoredRows("a.mrc", dtype).take(rows)


def test_rows_of_another_type_or_width_are_a_mistake(tmp_path):
    stored = StoredRows(tmp_path / "a.mrc", "float32")
    for rows in (np.zeros((2, 4), np.float16), np.zeros((2, 5), np.float32)):
        with pytest.raises(ValueError, match="rows of"):
            write_micrograph(
                tmp_path / "a.mrc", [rows], 2, 4, **FACTS, statistics=stored.statistics
            )
    assert not (tmp_path / "a.mrc").exists()
