"""Beside the original's targets: scaled by pixels, and honest about what can't be compared."""

import pytest

from clearice.report.original import ORIGINAL, beside_original

TRAINING = {
    "device": "CPU",
    "settings": {"batch_size": 4},
    "patch_size_px": 1024,
    "target_kind": "halves",
    "n_patches": {"train": 100, "test": 10},
}


def history(rate, *, gpu_mib=None):
    row = {"epoch": 1, "train_loss": 0.9, "seconds": 120.0, "batches_per_s": rate}
    row |= {"peak_device_mib": gpu_mib}
    return [row, {**row, "epoch": 2, "seconds": 300.0}]


def by_target(training, rows):
    return {row["target"]: row for row in beside_original(training, rows)}


def test_batches_of_the_original_size_are_compared_as_they_are():
    found = by_target(TRAINING, history(12.7))
    rate, minutes = found["batches per second"], found["minutes per epoch"]
    assert rate["here"] == rate["in_its_batches"] == "12.7"
    assert rate["remark"].startswith("met: ")
    assert minutes["here"] == "2.5"
    assert float(minutes["in_its_batches"]) == pytest.approx(10)
    assert minutes["remark"].startswith("met: ")


def test_smaller_patches_are_scaled_by_their_pixels():
    found = by_target(TRAINING | {"patch_size_px": 256}, history(32.0))
    assert found["batches per second"]["in_its_batches"] == "2"
    assert found["batches per second"]["remark"].startswith("not met: ")
    assert "4 x 256 x 256 px" in found["batches per second"]["remark"]
    assert found["minutes per epoch"]["remark"].startswith("not met: ")


def test_no_verdict_is_given_on_a_loss_or_on_what_is_unknown():
    found = by_target(TRAINING, history(None))
    assert found["loss after an epoch"]["remark"].startswith("not comparable")
    assert found["batches per second"]["here"] == ""
    assert "met" not in found["batches per second"]["remark"]
    assert found["GPU memory"]["remark"] == "no GPU was used"
    assert found["GPU memory"]["wanted"] == f"under {ORIGINAL['gpu_memory_gb']} GB"


def test_memory_of_a_gpu_is_in_the_unit_of_the_target():
    found = by_target(TRAINING | {"device": "GPU"}, history(12.7, gpu_mib=2048.0))
    assert found["GPU memory"]["here"] == "2.15 GB"
