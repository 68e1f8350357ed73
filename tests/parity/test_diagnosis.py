"""What the checker says about a wrong result when a wrong explanation would be easy."""

import shutil
from itertools import accumulate

import numpy as np
import pytest

from clearice.parity.comparison import compare
from clearice.parity.evidence import agrees, explain, factor_of, storage
from clearice.reference.bundle import Bundle
from parity_bundle import write_honest_results


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    return write_honest_results(tmp_path_factory.mktemp("diagnosis"))


def diagnosis(honest, tmp_path, change):
    """Return the diagnosis after changing the losses (a list) in loss.tsv."""
    output = shutil.copytree(honest / "output", tmp_path / "output")
    lines = (output / "loss.tsv").read_text().splitlines()
    names, losses = zip(*(line.split("\t") for line in lines[1:]), strict=True)
    rows = [f"{n}\t{v!r}" for n, v in zip(names, change([*map(float, losses)]), strict=True)]
    (output / "loss.tsv").write_text("\n".join([lines[0], *rows, ""]))
    return compare(Bundle(honest / "bundle"), output)["diagnosis"]


def test_a_running_sum_of_the_losses_is_named(honest, tmp_path):
    words = diagnosis(honest, tmp_path, lambda losses: [*accumulate(losses)])
    assert words == ["loss: the losses of the cases before are still in it: set the sum to zero"]


@pytest.mark.parametrize(("factor", "advice"), [(1 + 5e-5, True), (1.01, False), (1e6, False)])
def test_only_a_small_error_of_a_loss_may_be_rounding(honest, tmp_path, factor, advice):
    words = diagnosis(honest, tmp_path, lambda losses: [factor * loss for loss in losses])
    assert ("in float64 or pairwise" in words[0]) == advice


def test_a_wrong_repeated_loss_says_nothing_about_gradients(honest, tmp_path):
    (words,) = diagnosis(honest, tmp_path, lambda losses: [*losses[:-1], 1.5])
    assert "now its loss is not" in words
    assert "gradients" not in words


def test_an_overflow_gets_no_explanation():
    right = np.ones((2, 3))
    found = np.full((2, 3), 1e200)
    with np.errstate(over="ignore"):
        assert not agrees(found, 1e190 * right, right)
        assert explain(found, right, [("anything", 1e190 * right)]) is None
        assert factor_of([found], [right], (1, 1, 2, 3)) is None


def test_big_endian_doubles_that_look_like_nan_are_recognised():
    right = np.linspace(0.1, 1.9, 24).reshape(1, 2, 3, 4)
    found = right.astype(">f8").view("<f8")
    assert "big-endian" in storage(found, right)
