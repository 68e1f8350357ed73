"""The quality of one micrograph in words."""

from clearice.report.drawing.numbers import quality_rows


def row_of(**snr_db):
    (row,) = quality_rows({"truth": {"snr_db": snr_db}})
    return row


def test_denoised_is_compared_with_the_best_linear_filter():
    row = row_of(raw=0.5, gaussian=6.0, wiener=6.6, denoised=9.25)
    assert (row["linear"], row["filter"], row["denoised"]) == ("6.60", "Wiener", "9.25")
    assert row["better"] is True
    assert row_of(raw=0.5, gaussian=6.0, wiener=6.6, denoised=4.2)["better"] is False


def test_what_looks_equal_is_called_neither_better_nor_worse():
    assert row_of(raw=0.5, gaussian=6.0, wiener=6.601, denoised=6.6)["better"] is None


def test_without_a_filter_nothing_is_compared():
    assert row_of(raw=0.5, denoised=6.6)["better"] is None
    assert quality_rows(None) == []
