"""Which patches are shown: the extreme ones, no two of one place, the worst of all micrographs."""

import numpy as np
import pytest

from clearice.dataset.reader import open_split
from clearice.files import read_json, write_json
from clearice.report.patch_gallery import choose, gallery
from clearice.report.patch_losses import SHOWN, worst_losses
from clearice.report.results import read_results
from report_run import SIDE_PX, Run


@pytest.fixture
def run(tmp_path):
    """A run of three micrographs of three patches each, one held out and validated."""
    names = ["m1", "m2", "m3"]
    run = Run(tmp_path).add_dataset(names, tested=["m2"]).add_model()
    return run.add_denoised(names, tested=["m2"])


def results_of(run):
    left_out = ("config", "title", "examples", "entry", *run.outputs())
    inputs = {key: value for key, value in run.arguments.items() if key not in left_out}
    return read_results(run.results, **inputs)


def groups_of(run):
    results = results_of(run)
    return {g["group"]: g["patches"] for g in gallery(results, results.patch_sample)}


def place(row):
    return row["micrograph"], row["y"], row["x"]


def set_variance(run, name, k, factor):
    """Multiply the input of patch k of a micrograph."""
    path = run.results / "shards" / f"{name}.input.bin"
    patches = np.fromfile(path, "<f4").reshape(-1, SIDE_PX, SIDE_PX)
    patches[k] *= factor
    path.write_bytes(patches.tobytes())


def test_the_extremes_of_variance_are_found(run):
    set_variance(run, "m3", 1, 0.1)
    set_variance(run, "m2", 2, 7.0)
    groups = groups_of(run)
    assert place(groups["lowest"][0]) == ("m3", 0, SIDE_PX)
    assert groups["lowest"][0]["variance"] == pytest.approx(0.01, rel=0.1)
    assert place(groups["highest"][0]) == ("m2", 0, 2 * SIDE_PX)
    assert groups["highest"][0]["split"] == "test"
    assert groups["highest"][0]["variance"] == pytest.approx(49, rel=0.1)
    assert not {*map(place, groups["lowest"])} & {*map(place, groups["highest"])}
    assert [row["loss"] for row in groups["lowest"]] == [None] * SHOWN


def test_extremes_do_not_overlap(run):
    for name in ("m1", "m3"):
        path = run.results / "shards" / f"{name}.json"
        write_json(path, read_json(path) | {"x": [0, SIDE_PX // 2, SIDE_PX]})
    set_variance(run, "m3", 0, 9.0)
    set_variance(run, "m3", 1, 8.0)
    results = results_of(run)
    readers = {split: open_split(results.manifest, split) for split in ("train", "test")}
    highest = choose(results.patch_sample, readers)["highest"]
    places = [readers[patch.split].where(patch.index) for patch in highest]
    assert places[0] == ("m3", 0, 0)
    assert ("m3", 0, SIDE_PX // 2) not in places


def test_the_worst_patches_come_with_what_the_network_made_of_them(run):
    worst = groups_of(run)["worst"]
    record = read_json(run.arguments["validation"][0])["patches"]
    losses = sorted((loss for row in record["mse"] for loss in row), reverse=True)
    assert [row["loss"] for row in worst] == losses[: len(worst)]
    assert worst[0]["mean_loss"] == pytest.approx(np.mean(losses))
    titles = [title for title, _ in worst[0]["images"]]
    assert titles[:2] == ["input", "target"]
    assert titles[2].startswith("denoised")


def test_pictures_of_input_and_target_share_a_grey_scale(run):
    set_variance(run, "m1", 0, 0.0)
    first = next(row for row in groups_of(run)["lowest"] if place(row) == ("m1", 0, 0))
    (_, flat), (_, target) = first["images"][:2]
    assert flat.std() == 0
    assert 60 < flat.mean() < 200
    assert target.std() > 30


def test_the_gallery_is_the_same_each_time(run):
    first, second = groups_of(run), groups_of(run)
    assert {g: [*map(place, rows)] for g, rows in first.items()} == {
        g: [*map(place, rows)] for g, rows in second.items()
    }


def test_without_halves_no_loss_of_a_patch_is_known(tmp_path):
    names = ["m1", "m2"]
    run = Run(tmp_path).add_dataset(names, tested=["m2"]).add_model()
    run.add_denoised(names, judges=(), tested=["m2"])
    assert groups_of(run)["worst"] == []


def test_the_worst_losses_of_a_micrograph_lie_apart():
    y, x = [0, 8, 16, 24], [0, 8, 16, 24]
    mse = np.ones((4, 4))
    mse[1, 1], mse[1, 2], mse[3, 3], mse[0, 3] = 9, 8, 7, 6
    losses = {"size_px": 16, "std": 2.0, "y": y, "x": x, "mse": mse.tolist()}
    found = worst_losses(losses)
    assert found["worst"][:2] == [(9, 8, 8), (7, 24, 24)]
    assert (6, 0, 24) in found["worst"]
    assert (8, 8, 16) not in found["worst"]
    assert found["mean"] == pytest.approx(mse.mean())
    assert worst_losses(None) is None
