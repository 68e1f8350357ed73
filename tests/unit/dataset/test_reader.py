"""Reading: every patch of the manifest is the patch of its shard, whoever reads it and how."""

import concurrent.futures
import functools

import numpy as np
import pytest

from affine import affine_of
from clearice.config import complete_config
from clearice.dataset.manifest import build_manifest, read_manifest, split_part
from clearice.dataset.reader import open_split
from clearice.errors import InputError
from clearice.files import read_json, write_json
from clearice.micrographs.mrc_writer import write_micrograph
from clearice.shards.record import LAYOUTS, PLANES
from clearice.shards.sharding import shard_micrograph
from shard_files import make_shard

COUNTS = {"train": {"a": 3, "c": 1, "e": 4}, "test": {"b": 2}}


@pytest.fixture(params=["float32", "float16"])
def dtype(request):
    return request.param


@pytest.fixture(params=LAYOUTS)
def layout(request):
    return request.param


@pytest.fixture
def manifest(tmp_path, dtype, layout):
    """A dataset that points at its shards (concatenate: false)."""
    folder, parts = tmp_path / "dataset", {}
    make = functools.partial(make_shard, tmp_path / "shards", dtype=dtype, layout=layout)
    for split, counts in COUNTS.items():
        paths = [make(m, n=n) for m, n in counts.items()]
        parts[split] = split_part([(path, read_json(path)) for path in paths], folder)
    write_json(folder / "manifest.json", build_manifest(parts))
    return folder / "manifest.json"


def shard_patches(manifest, micrograph, side, dtype):
    path = manifest.parent.parent / "shards" / f"{micrograph}.{side}.bin"
    if path.exists():
        return np.fromfile(path, dtype).reshape(-1, 16, 16)
    return np.fromfile(path.with_suffix(".plane"), dtype).reshape(16, -1, 16).swapaxes(0, 1)


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_patch_is_read_where_it_lies(manifest, dtype, split):
    with open_split(manifest, split) as reader:
        assert len(reader) == reader.n_patches == sum(COUNTS[split].values())
        assert (reader.patch_size_px, reader.dtype) == (16, np.dtype(dtype))
        i = 0
        for micrograph, count in COUNTS[split].items():
            expected = [shard_patches(manifest, micrograph, s, dtype) for s in ("input", "target")]
            for k in range(count):
                for patch, stack in zip(reader.read(i), expected, strict=True):
                    np.testing.assert_array_equal(patch, stack[k])
                assert reader.where(i) == (micrograph, 0, 16 * k)
                i += 1
        assert i == reader.n_patches


def test_rows_of_one_side_are_those_of_the_patch(manifest):
    with open_split(manifest, "train") as reader:
        for i in range(len(reader)):
            for side, patch in zip(("input", "target"), reader.read(i), strict=True):
                for first, count in ((0, 16), (5, 3), (15, 1)):
                    rows = reader.read_rows(i, side, first, count)
                    np.testing.assert_array_equal(rows, patch[first : first + count])
        for first, count in ((-1, 2), (15, 2)):
            with pytest.raises(IndexError, match="of 16"):
                reader.read_rows(0, "input", first, count)


def test_a_patch_is_found_by_its_place(manifest):
    with open_split(manifest, "train") as reader:
        for i in range(len(reader)):
            assert reader.index_of(*reader.where(i)) == i
        assert reader.index_of("a", 0, 7) is None
        assert reader.index_of("nobody", 0, 0) is None


def test_patches_of_real_shards_lie_where_the_reader_says(tmp_path, layout):
    patches = {"size_px": 32, "stride_px": 24, "cover_border": True, "target": "halves"}
    parts, images = {}, {}
    for seed, (split, name) in enumerate([("train", "a"), ("test", "b")]):
        generator = np.random.default_rng(seed)
        signal = generator.normal(size=(70, 90))
        halves = [(signal + generator.normal(size=(70, 90))).astype(np.float32) for _ in "io"]
        paths = [tmp_path / f"{name}_{half}.mrc" for half in ("EVN", "ODD")]
        for path, half in zip(paths, halves, strict=True):
            write_micrograph(path, [half], 70, 90, pixel_size_angstrom=1.0, label="test")
        record = tmp_path / f"{name}.json"
        bins = {
            file if file in PLANES else f"{file}_bin": tmp_path / f"{name}.{end}"
            for file, end in LAYOUTS[layout].items()
        }
        settings = complete_config({"patches": patches})["patches"]
        arguments = {"micrograph": name, "patches": settings, "target": paths[1]}
        shard_micrograph(paths[0], record=record, **bins, **arguments)
        parts[split] = split_part([(record, read_json(record))], tmp_path)
        location, scale = affine_of(halves[0])
        images[name] = [(half - location) / scale for half in halves]
    write_json(tmp_path / "manifest.json", build_manifest(parts))
    for split in parts:
        with open_split(tmp_path / "manifest.json", split) as reader:
            covered = np.zeros((70, 90), bool)
            for i in range(reader.n_patches):
                name, y, x = reader.where(i)
                window = np.s_[y : y + 32, x : x + 32]
                for patch, image in zip(reader.read(i), images[name], strict=True):
                    np.testing.assert_allclose(patch, image[window], atol=1e-5)
                covered[window] = True
            assert covered.all()


def test_threads_read_what_one_thread_reads(manifest, monkeypatch):
    monkeypatch.setattr("clearice.dataset.open_files._MOST", 3)  # of six
    order = np.random.default_rng(0).integers(0, 8, 400)
    with open_split(manifest, "train") as reader:
        alone = [reader.read(i) for i in range(reader.n_patches)]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            together = list(pool.map(reader.read, order))
        assert len(reader._files) == 3
    for i, pair in zip(order, together, strict=True):
        np.testing.assert_array_equal(pair, alone[i])


def test_arrays_that_do_not_fit_are_refused(manifest, dtype):
    with open_split(manifest, "train") as reader:
        good = np.empty((16, 16), dtype)
        for bad in (np.empty((16, 16), "float64"), np.empty((15, 16), dtype)):
            with pytest.raises(ValueError, match="patch"):
                reader.read_into(0, good, bad)
        with pytest.raises(TypeError):
            reader.read_into(0, np.empty((16, 32), dtype)[:, ::2], good)
        for i in (-1, reader.n_patches):
            with pytest.raises(IndexError):
                reader.read(i)


def test_a_short_or_missing_file_is_named(manifest, layout):
    end = "target.plane" if layout == "planes" else "target.bin"
    shard = manifest.parent.parent / "shards" / f"c.{end}"
    content = shard.read_bytes()
    shard.write_bytes(content[:-1])
    with pytest.raises(InputError, match=rf"c\.{end}: shorter than the manifest says"):
        open_split(manifest, "train")
    shard.unlink()
    with pytest.raises(InputError, match=rf"c\.{end}: no such file"):
        open_split(manifest, "train")
    with pytest.raises(InputError, match=r"no such split: expected train \| test"):
        open_split(manifest, "validation")


def test_a_file_cut_while_it_is_read_is_an_error_not_old_memory(manifest, layout):
    end = "input.plane" if layout == "planes" else "input.bin"
    with open_split(manifest, "test") as reader:
        (manifest.parent.parent / "shards" / f"b.{end}").write_bytes(b"")
        with pytest.raises(InputError, match=rf"b\.{end}: was cut short"):
            reader.read(1)


def _set(path, value):
    def change(manifest):
        *parents, last = path
        for key in parents:
            manifest = manifest[key]
        manifest[last] = value

    return change


SEGMENT = ("splits", "train", "segments", 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set(["format_version"], 1), "unknown format_version: expected 2, found 1"),
        (_set(["layout"], "tiles"), "layout: 'tiles' is not one of"),
        (_set(["layout"], "planes"), "train a: names patches, or names none, unlike layout planes"),
        (_set(["offsets"], "random"), "train a: names no planes"),
        (_set(["dtype"], "float64"), "dtype: 'float64' is not one of"),
        (_set([*SEGMENT, "first_patch"], 2), "train c: first_patch: expected 3, found 2"),
        (_set([*SEGMENT, "n_patches"], 0), "0 is less than the minimum"),
        (_set(["splits", "train", "n_patches"], 7), "n_patches: expected 8"),
        (_set(["splits", "test", "shape"], [2, 16, 8]), r"test: shape \[2, 16, 8\]"),
        (_set([*SEGMENT, "input_xxh3"], "0" * 16), "data_xxh3"),
        (_set([*SEGMENT, "target_offset_bytes"], 512), "train c: target_offset_bytes: expected"),
        (_set(["noise_floor", "train"], 0.4), "content_xxh3 is not that of the content"),
        (_set(["half_correlation", "test"], None), "it was edited or damaged"),
        (_set([*SEGMENT, "shard"], "other.json"), "it was edited or damaged"),
        (_set(["remark"], "by hand"), "remark"),
    ],
)
@pytest.mark.parametrize("layout", ["patches"])
def test_a_manifest_that_contradicts_itself_is_refused(manifest, change, message):
    content = read_manifest(manifest)
    change(content)
    write_json(manifest, content)
    with pytest.raises(InputError, match=message) as caught:
        read_manifest(manifest)
    assert str(caught.value).startswith(str(manifest))
    assert "\n" not in str(caught.value)


PLANES_OF_C = (*SEGMENT, "planes")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set(["layout"], "patches"), "unlike layout patches"),
        (_set([*PLANES_OF_C, "height_px"], 15), "train c: planes smaller than a patch"),
        (_set([*PLANES_OF_C, "input_file"], "../shards/a.input.plane"), "another segment's, too"),
        (_set([*PLANES_OF_C, "places_xxh3"], "0" * 16), "data_xxh3"),
        (_set([*PLANES_OF_C, "input_xxh3"], "0" * 16), "data_xxh3"),
        (_set([*PLANES_OF_C], None), "planes: None is not of type"),
        (_set(["offsets"], "random"), "data_xxh3"),
    ],
)
@pytest.mark.parametrize("layout", ["planes"])
def test_a_manifest_of_planes_that_contradicts_itself_is_refused(manifest, change, message):
    content = read_manifest(manifest)
    change(content)
    write_json(manifest, content)
    with pytest.raises(InputError, match=message):
        read_manifest(manifest)


@pytest.mark.parametrize("layout", ["planes"])
def test_places_that_the_manifest_does_not_name_are_refused(manifest):
    shard = manifest.parent.parent / "shards" / "b.json"
    write_json(shard, read_json(shard) | {"x": [0, 15]})
    words = r"b\.json: names other places of patches than"
    with open_split(manifest, "test") as reader, pytest.raises(InputError, match=words):
        reader.read(0)


@pytest.mark.parametrize("layout", ["planes"])
def test_a_patch_is_cut_anywhere_in_its_micrograph(manifest, dtype):
    cut = np.empty((16, 16), dtype)
    with open_split(manifest, "train") as reader:
        whole = np.hstack(shard_patches(manifest, "a", "target", dtype))
        reader.read_into(1, None, cut, at=(0, 29))
        np.testing.assert_array_equal(cut, whole[:, 29:45])
        for place in ((1, 0), (0, 33), (-1, 0)):
            with pytest.raises(IndexError, match="no patch at"):
                reader.read_into(1, None, cut, at=place)


def test_planes_beside_patches_change_no_name_of_the_data(tmp_path):
    hashes = {}
    for layout in LAYOUTS:
        folder = tmp_path / layout
        paths = {s: [make_shard(folder, s, layout=layout)] for s in ("train", "test")}
        parts = {
            s: split_part([(p, read_json(p)) for p in found], folder) for s, found in paths.items()
        }
        hashes[layout] = build_manifest(parts)["data_xxh3"]
    assert hashes["patches"] == hashes["both"] != hashes["planes"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_random_offsets_need_planes_and_name_other_data(tmp_path, layout):
    paths = {s: make_shard(tmp_path, s, layout=layout) for s in ("train", "test")}
    parts = {s: split_part([(path, read_json(path))], tmp_path) for s, path in paths.items()}
    if layout == "patches":
        with pytest.raises(InputError, match=r"patches\.offsets"):
            build_manifest(parts, "random")
        return
    manifest = build_manifest(parts, "random")
    assert manifest["offsets"] == "random"
    assert manifest["data_xxh3"] != build_manifest(parts)["data_xxh3"]


@pytest.mark.parametrize("content", [None, "", "[]", "<html>"])
def test_what_is_no_manifest_is_refused(tmp_path, content):
    path = tmp_path / "manifest.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match="manifest"):
        read_manifest(path)


def test_shards_of_two_kinds_make_no_dataset(tmp_path):
    paths = [make_shard(tmp_path, "a"), make_shard(tmp_path, "b", stride_px=8)]
    with pytest.raises(InputError, match=r"b\.json: stride_px differs .*expected 16, found 8"):
        split_part([(path, read_json(path)) for path in paths], tmp_path)


def test_noise_floor_is_the_mean_over_patches(tmp_path):
    paths = [make_shard(tmp_path, "a", n=1), make_shard(tmp_path, "b", n=3, noise_floor=0.1)]
    records = [(path, read_json(path)) for path in paths]
    assert split_part(records, tmp_path)["noise_floor"] == pytest.approx(0.2)
    records[0][1]["noise_floor"] = None
    assert split_part(records, tmp_path)["noise_floor"] is None
