"""The split: stable, whole micrographs, never empty; and the table of micrographs."""

import csv

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearice.dataset.micrograph_table import check_rejected, require_distinct
from clearice.dataset.splits import hash_fraction, read_test_micrographs, split_of
from clearice.errors import InputError
from clearice.files import read_json
from list_micrographs import list_micrographs
from shard_files import make_shard

# What follows a separator holds no letter: names that are of different exposures.
STEMS = st.from_regex(r"[a-h0-9]{1,4}(_[0-9]{1,3}){0,2}", fullmatch=True)
NAMES = st.sets(STEMS, min_size=2, max_size=30)


@settings(deadline=None)
@given(NAMES, st.floats(0.01, 0.99), st.integers(0, 5))
def test_no_split_is_empty_and_order_does_not_matter(names, fraction, seed):
    names = sorted(names)
    splits = split_of(names, fraction, seed)
    assert set(splits) == set(names)
    assert set(splits.values()) == {"train", "test"}
    assert split_of(names[::-1], fraction, seed) == splits


@settings(deadline=None)
@given(NAMES, NAMES, st.integers(0, 5))
def test_new_micrographs_never_move_old_ones(old, new, seed):
    tested = {name for name in old if hash_fraction(name, seed) < 0.5}
    if tested and tested != old:  # not the fallback for few micrographs
        before, after = (split_of(sorted(s), 0.5, seed) for s in (old, old | new))
        assert before.items() <= after.items()


def test_the_fraction_is_that_of_many_names_and_the_seed_draws_another():
    names = [f"mic_{i:05d}" for i in range(20000)]
    tested = [{n for n, s in split_of(names, 0.1, seed).items() if s == "test"} for seed in (0, 1)]
    for one in tested:
        assert abs(len(one) / 20000 - 0.1) < 5 * (0.09 / 20000) ** 0.5  # five standard errors
    assert abs(len(tested[0] & tested[1]) / 20000 - 0.01) < 5 * (0.0099 / 20000) ** 0.5


def test_where_hashes_leave_a_split_empty_the_extreme_one_moves():
    names = ["a", "b", "c", "d"]
    ordered = sorted(names, key=lambda name: hash_fraction(name, 0))
    few, many = split_of(names, 1e-9, 0), split_of(names, 1 - 1e-9, 0)
    assert [n for n in ordered if few[n] == "test"] == ordered[:1]
    assert [n for n in ordered if many[n] == "train"] == ordered[-1:]


@pytest.mark.parametrize("names", [[], ["a"]])
def test_one_micrograph_cannot_be_split(names):
    with pytest.raises(InputError, match="need two micrographs"):
        split_of(names, 0.5, 0)


def test_named_micrographs_replace_the_hash(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("# held out\nb\n\n  d  \n")
    known = {"a", "b", "c", "d"}
    names = read_test_micrographs(path, known)
    splits = split_of(sorted(known), 0.1, 0, names)
    assert splits == {"a": "train", "b": "test", "c": "train", "d": "test"}
    for named in ([], sorted(known)):
        with pytest.raises(InputError, match="leaves a split empty"):
            split_of(sorted(known), 0.1, 0, named)


def test_unknown_names_are_all_listed(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("a\nx\ny.mrc\n")
    with pytest.raises(InputError, match=r"names\.txt: 2 unknown micrographs: x, y\.mrc: expected"):
        read_test_micrographs(path, {"a", "b"})
    with pytest.raises(InputError, match=r"absent\.txt: unreadable"):
        read_test_micrographs(tmp_path / "absent.txt", {"a"})


def test_names_survive_a_byte_order_mark_and_indented_remarks(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("\ufeffa\n  # remark\n\n b \n", encoding="utf-8")
    assert read_test_micrographs(path, {"a", "b"}) == ["a", "b"]


def test_one_image_under_two_names_is_refused():
    def record(name, digest, other=None, status="ok"):
        sides = {"input": {"pixels_xxh3": digest}, "target": other and {"pixels_xxh3": other}}
        return {"micrograph": name, "status": status, **sides}

    require_distinct([record("a", "1", "2"), record("b", "3"), record("c", "3", status="rejected")])
    with pytest.raises(InputError, match=r"1 image with several names.* found a and c"):
        require_distinct([record("a", "1", "2"), record("b", "3"), record("c", "2", "4")])


def test_more_rejected_than_allowed_stops_and_lists_them(capsys):
    records = [{"micrograph": f"m{i}", "status": "ok", "reason": None} for i in range(8)]
    records += [{"micrograph": f"x{i}", "status": "rejected", "reason": "empty"} for i in range(2)]
    check_rejected(records, 0.2)
    assert capsys.readouterr().out.splitlines() == ["rejected x0: empty", "rejected x1: empty"]
    with pytest.raises(InputError, match=r"2 of 10 .* at most 19% .* x0 \(empty\), x1 \(empty\)"):
        check_rejected(records, 0.19)
    check_rejected(records[:8], 0)
    many = [{"micrograph": f"x{i}", "status": "rejected", "reason": "empty"} for i in range(40)]
    with pytest.raises(InputError, match=r"x9 \(empty\) and 30 more"):
        check_rejected(many, 0.5)


def make_table(folder, **arguments):
    """A good pair, a warned one and a rejected one, listed."""
    shards = folder / "shards"
    records = [
        make_shard(shards, "b", n=2, target=None, warnings=["odd\tstamp", 'says "hello"']),
        make_shard(shards, "a", n=3),
        make_shard(shards, "c", rejected="empty file\nreally", height_px=None, width_px=None),
    ]
    table = folder / "micrographs.tsv"
    settings = {"test_fraction": 0.5, "seed": 0, "max_rejected_fraction": 0.5} | arguments
    list_micrographs(records=[str(r) for r in records], table=table, **settings)
    return table, {r.stem: read_json(r) for r in records}


def test_the_table_has_a_row_a_micrograph_rejected_ones_too(tmp_path):
    table, _ = make_table(tmp_path)
    with open(table, newline="") as file:
        rows = {row["micrograph"]: row for row in csv.DictReader(file, delimiter="\t")}
    assert list(rows) == ["a", "b", "c"]
    assert {rows["a"]["split"], rows["b"]["split"]} == {"train", "test"}
    assert rows["c"]["status"] == "rejected"
    assert rows["c"]["reason"] == "empty file really"
    assert (rows["c"]["split"], rows["c"]["height_px"], rows["c"]["patches"]) == ("", "", "0")
    assert (rows["a"]["input"], rows["a"]["target"]) == ("a_EVN.mrc", "a_ODD.mrc")
    assert rows["b"]["target"] == ""
    assert rows["b"]["warnings"] == '16 x 32 px, where most are 16 x 48; odd stamp; says "hello"'
    assert (rows["a"]["patches"], rows["a"]["pixel_size_angstrom"]) == ("3", "1.5")


def test_a_file_of_names_decides_and_may_name_a_rejected_one(tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("b\nc\n")
    table, _ = make_table(tmp_path, test_micrographs=str(names))
    with open(table, newline="") as file:
        splits = {r["micrograph"]: r["split"] for r in csv.DictReader(file, delimiter="\t")}
    assert splits == {"a": "train", "b": "test", "c": ""}


def test_a_refused_list_leaves_no_table(tmp_path):
    with pytest.raises(InputError, match=r"1 of 3 micrographs are rejected"):
        make_table(tmp_path, max_rejected_fraction=0.1)
    assert not (tmp_path / "micrographs.tsv").exists()


def rows_of(table):
    with open(table, newline="") as file:
        return {row["micrograph"]: row for row in csv.DictReader(file, delimiter="\t")}


def test_what_sets_a_micrograph_apart_is_in_the_table_or_stops(tmp_path):
    records = [make_shard(tmp_path, f"m{i}") for i in range(4)]
    records.append(make_shard(tmp_path, "m0_DW"))
    # Pixel halves are half as large: the micrographs are compared, not what was cut from them.
    whole = {"height_px": 8, "width_px": 24, "pixel_size_angstrom": 3.0}
    records.append(make_shard(tmp_path, "p", **whole, target_kind="pixel_halves"))
    checked = {"pixel_size_angstrom": 1.5, "checks": {"stated_pixel_size": 2.0}}
    records.append(make_shard(tmp_path, "q", **checked))
    records.append(make_shard(tmp_path, "x", pixel_size_angstrom=4.0))
    table = tmp_path / "micrographs.tsv"
    list_micrographs(records, table, 0.2, 0, 0.1)
    warnings = {name: row["warnings"] for name, row in rows_of(table).items() if row["warnings"]}
    assert warnings == {
        "m0_DW": "of one exposure with m0: both are kept in one split",
        "q": "pixel size 4.5 angstrom in its header, where most headers say 1.5",
        "x": "pixel size 4 angstrom, where most have 1.5",
    }
    splits = {name: row["split"] for name, row in rows_of(table).items()}
    assert splits["m0"] == splits["m0_DW"]
    table.unlink()
    records.append(make_shard(tmp_path, "y", pixel_size_angstrom=4.0))
    with pytest.raises(InputError, match="2 of 9 micrographs are not like the others"):
        list_micrographs(records, table, 0.2, 0, 0.1)
    assert not table.exists()
    list_micrographs(records, table, 0.2, 0, 0.1, mixed="warn")
    assert rows_of(table)["y"]["warnings"] == "pixel size 4 angstrom, where most have 1.5"


def test_numbers_of_checks_have_columns_in_the_table(tmp_path):
    record = make_shard(tmp_path / "shards", "m", checks={"shared_noise": 0.012})
    other = make_shard(tmp_path / "shards", "n")
    table = tmp_path / "micrographs.tsv"
    list_micrographs([record, other], table, test_fraction=0.5, seed=0, max_rejected_fraction=0)
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert (rows[0]["shared_noise"], rows[0]["foreign_half"]) == ("0.012", "")
    assert rows[1]["shared_noise"] == ""


@pytest.mark.parametrize(
    ("counts", "refused"),
    [
        ({"mean": 32000.0, "std": 60.0, "minimum": 31000.0, "maximum": 33000.0}, "round away"),
        ({"mean": 40.0, "std": 6.0, "minimum": 0.0, "maximum": 70000.0}, "cannot hold"),
        ({"mean": 40.0, "std": 6.0, "minimum": 0.0, "maximum": 90.0}, None),
    ],
)
@pytest.mark.parametrize("dtype", ["float16", "float32", None])
def test_results_that_float16_would_spoil_stop_before_training(tmp_path, counts, refused, dtype):
    arguments = {"denoised_dtype": dtype}
    shards = tmp_path / "shards"
    records = [make_shard(shards, "a"), make_shard(shards, "b", **counts)]
    settings = {"test_fraction": 0.5, "seed": 0, "max_rejected_fraction": 0} | arguments
    table = tmp_path / "micrographs.tsv"
    if refused and dtype == "float16":
        found = rf"b_EVN.mrc: .*{refused}.* \(1 of 2 micrographs\).*set denoised.dtype: float32"
        with pytest.raises(InputError, match=found):
            list_micrographs(records, table, **settings)
        assert not table.exists()
    else:
        list_micrographs(records, table, **settings)
