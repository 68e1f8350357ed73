"""The network sees the same pixels when it is trained and when it denoises."""

import json

import numpy as np

from clearice.config import complete_config
from clearice.denoised.tiles import denoise_bands
from clearice.micrographs.mrc import open_micrograph
from clearice.micrographs.mrc_writer import write_micrograph
from clearice.micrographs.rows import MicrographRows, hot_pixel_limit
from clearice.model.networks import Network
from clearice.shards.sharding import shard_micrograph


class Recorder(Network):
    """Keeps what it is given."""

    receptive_radius_px = 0

    def forward(self, x):
        self.seen = x[0, 0].numpy().copy()
        return x


def test_a_patch_is_what_a_tile_is(tmp_path):
    image = np.random.default_rng(0).normal(900, 30, (64, 64)).astype(np.float32)
    image[20, 30] = 9e4  # hot
    path = tmp_path / "a.mrc"
    write_micrograph(path, [image], 64, 64, pixel_size_angstrom=1.0, label="a")
    patches = {"size_px": 64, "target": "lowpass", "hot_pixel_threshold": 12}
    patches = complete_config({"patches": patches})["patches"]
    bins = {f"{side}_bin": tmp_path / f"a.{side}.bin" for side in ("input", "target")}
    shard_micrograph(str(path), record=tmp_path / "a.json", micrograph="a", patches=patches, **bins)
    assert json.loads((tmp_path / "a.json").read_text())["hot_pixels"] == 1
    trained_on = np.fromfile(bins["input_bin"], "<f4").reshape(64, 64)
    network = Recorder()
    with open_micrograph(path) as reader:
        rows = MicrographRows(reader, hot_pixel_limit(reader, patches["hot_pixel_threshold"]))
        list(denoise_bands(network, rows, tile_px=64))
    assert np.array_equal(network.seen, trained_on)
    assert trained_on.max() < 6
