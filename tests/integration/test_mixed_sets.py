"""A set that is not one stops Snakemake before any job, and what it advises works."""

import csv
import os

import pytest
import yaml

from clearice.dataset.verification import dataset_faults
from conftest import run_snakemake, write_config
from mrc_files import noise_image, write_mrc

pytestmark = pytest.mark.slow

RUN = ("--cores", "2", "--scheduler", "greedy", "dataset")
PATCHES = {"size_px": 32, "stride_px": 32, "target": "lowpass"}


def configure(run, **micrographs):
    write_config(run, {"micrographs": {"source": "files", **micrographs}, "patches": PATCHES})


def write(path, seed=0, height=96, width=64, size=1.5, image=None):
    """Write noise, or `image`, of that pixel size in angstrom."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = noise_image(height, width, seed) if image is None else image
    height, width = image.shape
    return write_mrc(path, image, cell_x=size * width, cell_y=size * height)


def refused(run):
    """Return the one line of error of a run that stops before its first job."""
    process = run_snakemake(run, *RUN, check=False)
    assert process.returncode == 1
    (line,) = [line for line in process.stdout.splitlines() if line.startswith("error: ")]
    assert not (run / "results").exists()
    assert "Traceback" not in process.stdout
    return line


def table(run):
    with open(run / "results" / "dataset" / "micrographs.tsv", newline="") as file:
        return {row["micrograph"]: row for row in csv.DictReader(file, delimiter="\t")}


def test_spectra_and_thumbnails_stop_and_the_advice_leaves_them_out(tmp_path):
    for number in range(4):
        write(tmp_path / "Movies" / f"s_{number}.mrc", number)
        write(tmp_path / "Movies" / f"s_{number}_PS.mrc", 10 + number, 64, 64)
        write(tmp_path / "Movies" / f"s_{number}_DW_shr.mrc", 20 + number, 48, 32, 3.0)
    configure(tmp_path, files="Movies/*.mrc")
    line = refused(tmp_path)
    assert "expected 96 x 64 px at 1.5 A (4), found 48 x 32 px at 3 A (4), 64 x 64 px at" in line
    assert "another's plus _DW_shr (4), _PS (4)" in line
    configure(tmp_path, files=yaml.safe_load(line.split("micrographs.files to ")[1].split(";")[0]))
    said = run_snakemake(tmp_path, *RUN).stdout
    assert "micrographs: 96 x 64 px at 1.5 A (4)" in said
    assert "warning: " not in said
    assert [row["warnings"] for row in table(tmp_path).values()] == [""] * 4

    configure(tmp_path, files="Movies/*.mrc", mixed="warn")
    said = run_snakemake(tmp_path, *RUN).stdout
    assert "warning: 4 micrographs: 48 x 32 px, where most are 96 x 64 (s_0_DW_shr, " in said
    rows = table(tmp_path)
    assert rows["s_1_PS"]["warnings"].startswith("named as s_1 plus _PS, which")
    assert "pixel size 3 angstrom, where most have 1.5" in rows["s_1_DW_shr"]["warnings"]
    for number in range(4):  # of one exposure: in one split
        assert len({rows[f"s_{number}{end}"]["split"] for end in ("", "_PS", "_DW_shr")}) == 1
    assert dataset_faults(tmp_path / "results" / "dataset") == []


def test_one_image_under_two_names_stops_before_and_after_sharding(tmp_path):
    for number in range(3):
        image = noise_image(96, 64, number)
        write(tmp_path / "J1" / f"{number}a.mrc", image=image)
        write(tmp_path / "J2" / f"{number}b.mrc", image=image, size=1.501)
    configure(tmp_path, files="J*/*.mrc", mixed="warn")
    words = "3 images with several names: copies could end up in both splits: "
    line = refused(tmp_path)
    assert words in line
    assert "0a and 0b, 1a and 1b, 2a and 2b; remove the duplicates" in line
    process = run_snakemake(tmp_path, *RUN, "--no-hooks", check=False)
    assert process.returncode == 1
    assert words in process.stdout
    assert not (tmp_path / "results" / "dataset" / "micrographs.tsv").exists()
    for path in (tmp_path / "J2").iterdir():  # as advised
        path.unlink()
    run_snakemake(tmp_path, *RUN)
    assert list(table(tmp_path)) == ["0a", "1a", "2a"]


def test_a_star_file_whose_pixel_size_is_not_the_headers(tmp_path):
    for number in range(3):
        write(
            tmp_path / "job2" / "Movies" / f"x{number}.mrc", number, size=[1.0, 1.0, 10.6][number]
        )
    os.symlink("job2", tmp_path / "alias")
    paths = [f"{job}/Movies/x{number}.mrc 1" for number in range(3) for job in ("job2", "alias")]
    lines = ["data_optics", "", "loop_", "_rlnOpticsGroup #1", "_rlnMicrographPixelSize #2"]
    lines += ["1 0.885", "", "data_micrographs", "", "loop_", "_rlnMicrographName #1"]
    (tmp_path / "m.star").write_text("\n".join([*lines, "_rlnOpticsGroup #2", *paths, ""]))
    configure(tmp_path, files="m.star")
    said = run_snakemake(tmp_path, *RUN).stdout
    assert "micrographs: 96 x 64 px at 0.885 A (3)" in said
    assert "warning: 3 links to files that are listed once: alias/Movies/x0.mrc is job2/" in said
    assert (
        "warning: 2 micrographs: the STAR file says 0.885 angstrom per pixel, the header 1" in said
    )
    assert "warning: 1 micrograph: pixel size 10.6 angstrom in its header, where most" in said
    rows = table(tmp_path)
    assert {row["pixel_size_angstrom"] for row in rows.values()} == {"0.885"}
    for name, header in (("x0", "1"), ("x2", "10.6")):
        assert f"says 0.885 angstrom per pixel, the header {header}: " in rows[name]["warnings"]
    assert "where most headers say 1" in rows["x2"]["warnings"]
