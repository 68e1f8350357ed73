"""The comparison of denoisers: linear filters at their best, costs, and what is kept."""

import sys

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from conftest import REPOSITORY

SIZE_PX = 512


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))


@pytest.fixture
def case(tmp_path):
    import cases

    cases.make("proteasome", 1, SIZE_PX, tmp_path)
    return tmp_path


def test_the_radial_filter_that_knows_the_truth_is_the_best_linear_one(case):
    import denoisers
    from specimens import snr_db, specimen

    made = specimen("proteasome", 1, SIZE_PX)
    blurred, filtered = denoisers.gaussian(case), denoisers.wiener(case)
    raw, best_blur, best = (snr_db(made, image) for image in (made.even, blurred, filtered))
    assert raw + 3 < best_blur < best


def test_scores_of_the_truth_are_those_of_a_perfect_denoiser(case):
    import cases
    from denoisers import read_image

    with np.load(case / "fields.npz") as fields:
        cases._write(case / "perfect.mrc", fields["truth"], 1.3)
    perfect = cases.score(case, case / "perfect.mrc")
    raw = cases.score(case, case / "even.mrc")
    assert perfect["snr_db"] > 60
    assert perfect["snr_middle_db"] > 60
    assert perfect["picking_average_precision"] > 0.9
    assert raw["snr_db"] < 1
    assert np.isfinite(read_image(case / "even.mrc")).all()


def test_a_case_is_the_same_bytes_when_made_again(case, tmp_path):
    import cases
    from cached_runs import content_hash

    again = tmp_path / "again"
    again.mkdir()
    cases.make("proteasome", 1, SIZE_PX, again)
    for name in ("even.mrc", "odd.mrc", "fields.npz"):
        assert content_hash(case / name) == content_hash(again / name)


def test_a_failed_command_is_told_by_its_last_line(tmp_path):
    from cached_runs import run

    with pytest.raises(RuntimeError, match="exit status 3: out of luck"):
        run([sys.executable, "-c", "print('out of luck'); raise SystemExit(3)"], tmp_path / "log")


def test_a_real_pair_is_scored_by_its_independent_half(tmp_path):
    import cases

    generator = np.random.default_rng(0)
    signal = 200 * gaussian_filter(generator.normal(size=(256, 256)), 20)
    frame, rest = (signal + generator.normal(size=signal.shape) for _ in range(2))
    for name, image in (("a_frame", frame), ("a_rest", rest)):
        cases._write(tmp_path / f"{name}.mrc", image.astype(np.float32), 1.5)
    cases.pair(tmp_path / "a_frame.mrc", tmp_path / "a_rest.mrc", tmp_path)
    own = cases.score(tmp_path, tmp_path / "even.mrc")
    assert own["correlation"] == pytest.approx(np.corrcoef(frame.ravel(), rest.ravel())[0, 1], 1e-4)
    assert own["frc"][0] > 0.9 > 0.3 > own["frc"][2]


def test_cost_is_that_of_the_process_and_its_children(tmp_path):
    from cached_runs import run

    child = "b = bytearray(120 << 20)\nfor i in range(3_000_000): pass"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    cost = run([sys.executable, "-c", parent], tmp_path / "log")
    assert 120 < cost["peak_mib"] < 200
    assert 0 < cost["cpu_seconds"] <= 2.5 * cost["wall_seconds"]


def test_what_finished_is_kept_and_what_failed_is_done_again(tmp_path):
    from cached_runs import cached

    calls = []

    def work(folder):
        calls.append(folder)
        if len(calls) == 1:
            raise RuntimeError("the first time")
        return {"answer": len(calls)}

    with pytest.raises(RuntimeError):
        cached(tmp_path / "x", work)
    assert [cached(tmp_path / "x", work) for _ in range(2)] == [{"answer": 2}] * 2
