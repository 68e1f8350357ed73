"""clearice verify: a good dataset passes, and each way to spoil one is a fault of its own."""

import json
import shutil
import subprocess
import sys

import pytest

from clearice.dataset.manifest import data_xxh3
from clearice.dataset.segments import SIDES
from clearice.dataset.verification import dataset_faults
from clearice.files import read_json, write_json
from concatenate_shards import concatenate_shards
from list_micrographs import list_micrographs
from shard_files import make_shard
from write_manifest import write_manifest

SPLITS = {"train": "abc", "test": "de"}


@pytest.fixture(
    params=[(True, "patches"), (False, "patches"), (False, "planes"), (True, "both")],
    ids=["concatenated", "in place", "planes", "both"],
)
def dataset(tmp_path, request):
    """A dataset of five micrographs in any layout, and the table of a sixth, rejected."""
    concatenated, layout = request.param
    folder, records = tmp_path / "dataset", {}
    for name in "abcde":
        sources = {"input": {"path": f"{name}_EVN.mrc"}, "target": {"path": f"{name}_ODD.mrc"}}
        records[name] = make_shard(tmp_path / "shards", name, n=2, layout=layout, **sources)
    rejected = make_shard(tmp_path / "shards", "f", rejected="empty", layout=layout)
    for split, names in SPLITS.items():
        bins = {f"{side}_bin": folder / f"{split}_{side}.bin" for side in SIDES}
        arguments = bins if concatenated else {}
        paths = [records[name] for name in names]
        concatenate_shards(paths, [], [], folder / f"{split}.json", split, **arguments)
    names = ("train.json", "test.json", "manifest.json", "manifest.nml")
    write_manifest(*(folder / name for name in names))
    named = tmp_path / "named.txt"
    named.write_text("d\ne\n")
    shards, table = [*records.values(), rejected], folder / "micrographs.tsv"
    list_micrographs(shards, table, 0.1, 0, 0.5, test_micrographs=named)
    return folder


def binary(dataset, name):
    """Return the file that holds the input patches of micrograph `name`."""
    segments = [
        s for p in read_json(dataset / "manifest.json")["splits"].values() for s in p["segments"]
    ]
    return dataset / next(stored(s)["input_file"] for s in segments if s["micrograph"] == name)


def stored(segment):
    """Return the part of a segment that names files: its planes where it has nothing else."""
    return segment if "input_file" in segment else segment["planes"]


def edit_manifest(dataset, change, *, resign=True):
    manifest = read_json(dataset / "manifest.json")
    change(manifest)
    if resign:
        dtype, size = manifest["dtype"], manifest["patch_size_px"]
        manifest["data_xxh3"] = data_xxh3(manifest["splits"], dtype, size)
    write_json(dataset / "manifest.json", manifest)


def segment(manifest, split, index):
    return manifest["splits"][split]["segments"][index]


def test_a_good_dataset_has_no_fault(dataset):
    assert dataset_faults(dataset) == []


def test_a_dataset_that_was_copied_alone_has_no_fault(dataset):
    if (dataset / "train_input.bin").exists():
        shutil.rmtree(dataset.parent / "shards")
        assert dataset_faults(dataset) == []
    else:
        for path in (dataset.parent / "shards").glob("*.json"):
            path.unlink()
        assert dataset_faults(dataset) == []


def flip_a_bit(dataset):
    path = binary(dataset, "c")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def truncate(dataset):
    path = binary(dataset, "e")
    path.write_bytes(path.read_bytes()[:-4])


def lengthen(dataset):
    with open(binary(dataset, "e"), "ab") as file:
        file.write(bytes(4))


def leak(dataset):
    def change(manifest):
        segment(manifest, "test", 0)["micrograph"] = "a"

    edit_manifest(dataset, change)


def repeat(dataset):
    def change(manifest):
        segment(manifest, "train", 1)["micrograph"] = "a"

    edit_manifest(dataset, change)


def same_patches_in_both(dataset):
    def change(manifest):
        digest = stored(segment(manifest, "train", 0))["input_xxh3"]
        stored(segment(manifest, "test", 0))["input_xxh3"] = digest

    edit_manifest(dataset, change)


def input_is_target(dataset):
    def change(manifest):
        part = stored(segment(manifest, "test", 0))
        part["input_xxh3"] = part["target_xxh3"]

    edit_manifest(dataset, change)


def miscount(dataset):
    def change(manifest):
        manifest["splits"]["train"]["n_patches"] -= 1

    edit_manifest(dataset, change)


def unsigned(dataset):
    def change(manifest):
        stored(segment(manifest, "train", 0))["target_xxh3"] = "0" * 16

    edit_manifest(dataset, change, resign=False)


def overlap(dataset):
    def change(manifest):
        if manifest["layout"] == "planes":
            pytest.skip("planes have no offsets")
        segment(manifest, "test", 1)["target_offset_bytes"] = 4

    edit_manifest(dataset, change)


def drop_from_table(dataset):
    table = dataset / "micrographs.tsv"
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(line for line in lines if not line.startswith("c\t")))


def move_in_table(dataset):
    table = dataset / "micrographs.tsv"
    table.write_text(table.read_text().replace("\ttrain\t", "\ttest\t", 1))


def change_record(key, value):
    def spoil(dataset):
        path = dataset.parent / "shards" / "b.json"
        write_json(path, read_json(path) | {key: value})

    return spoil


def spoil_record(dataset):
    (dataset.parent / "shards" / "b.json").write_text("{}")


def one_image_for_two(dataset):
    for name, side in (("b", "input"), ("e", "target")):
        path = dataset.parent / "shards" / f"{name}.json"
        record = read_json(path)
        record[side]["pixels_xxh3"] = "0123456789abcdef"
        write_json(path, record)


def one_source_for_two(dataset):
    path = dataset.parent / "shards" / "b.json"
    write_json(path, read_json(path) | {"target": {"path": "b_EVN.mrc"}})


SPOILT = {
    flip_a_bit: "c: expected xxh3 ",
    truncate: "expected {size} bytes, found ",
    lengthen: "expected {size} bytes, found ",
    leak: "a: in both splits: train and test",
    repeat: "a: twice in train",
    same_patches_in_both: "), test: the same patches as a (input",
    input_is_target: "), test: the same patches as d (input",
    miscount: "train: n_patches: expected 6 (sum of its segments), found 5",
    unsigned: "data_xxh3 is not that of the segments",
    overlap: "e at byte 4 ",
    drop_from_table: "c: micrographs.tsv says nothing, manifest.json train, 2 patches",
    move_in_table: "a: micrographs.tsv says test, 2 patches, manifest.json train, 2 patches",
    change_record("n_patches", 3): "b.json: n_patches: manifest.json says 2, found 3",
    change_record("dtype", "float16"): "b.json: dtype: manifest.json says float32, found float16",
    change_record("x", [0]): "b.json: coordinates: manifest.json says 2, found {1, 2}",
    change_record("status", "rejected"): "b.json: status: manifest.json says ok, found rejected",
    one_image_for_two: "e (target): the same image as b (input): pixels_xxh3 0123456789abcdef",
    spoil_record: "b.json: unreadable shard record",
    one_source_for_two: "b (target): cut from b_EVN.mrc as is b (input)",
    lambda dataset: binary(dataset, "a").unlink(): "no such file",
    lambda dataset: (dataset / "manifest.json").unlink(): "no manifest",
    lambda dataset: (dataset / "manifest.json").write_text('{"format_version": 2}'): "required",
}


@pytest.mark.parametrize("spoil", SPOILT)
def test_each_fault_is_listed(dataset, spoil):
    size = binary(dataset, "e").stat().st_size
    spoil(dataset)
    faults = dataset_faults(dataset)
    wanted = SPOILT[spoil].replace("{size}", str(size))
    assert any(wanted in fault for fault in faults), faults


def test_every_fault_is_listed_not_only_the_first(dataset):
    for spoil in (flip_a_bit, truncate, move_in_table, one_source_for_two):
        spoil(dataset)
    faults = "\n".join(dataset_faults(dataset))
    for words in ("c: expected xxh3", "bytes, found", "micrographs.tsv says", "cut from b_EVN"):
        assert words in faults
    assert "e: expected xxh3" in faults  # the truncated one's hash differs as well


def verify(*arguments):
    """Run the command where NumPy cannot be imported."""
    code = "import sys; sys.modules['numpy'] = None; from clearice.command import main; main.main()"
    command = [sys.executable, "-c", code, "verify", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_command_says_good_or_lists_and_fails(dataset):
    good = verify(dataset)
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout.startswith("good: 6 train and 4 test patches of 5 micrographs")
    assert "every hash matches" in good.stdout
    flip_a_bit(dataset)
    bad = verify(dataset)
    assert (bad.returncode, bad.stderr) == (1, "")
    assert bad.stdout.splitlines()[-1] == f"{len(bad.stdout.splitlines()) - 1} faults"
    unread = verify(dataset, "--no-hashes")
    assert unread.returncode == 0
    assert "hashes not checked" in unread.stdout
    assert json.loads((dataset / "manifest.json").read_text())["format_version"] == 2
