"""clearice denoise on tiny MRC files, as a person runs it."""

import gzip
import json
import os

import mrcfile
import numpy as np
import pytest
import starfile

from clearice.denoised.tiles import denoise_bands
from clearice.errors import InputError
from clearice.micrographs.finding import tables
from clearice.micrographs.mrc import open_micrograph, read_micrograph
from clearice.micrographs.rows import MicrographRows
from clearice.model.weights import load_model
from denoise_files import denoise, results, write_image, write_model


def test_files_folders_and_globs_become_denoised_files(here, capsys):
    write_image(here / "a.mrc", 1)
    write_image(here / "folder" / "b.mrc", 2)
    (here / "folder" / "notes.txt").write_text("no micrograph")
    write_image(here / "deep" / "er" / "c [1].mrc", 3)
    packed = here / "folder" / "d.mrc.gz"
    packed.write_bytes(gzip.compress(write_image(here / "d.mrc", 4).read_bytes()))
    (here / "d.mrc").unlink()
    assert denoise("a.mrc", "folder", "deep/**/*.mrc", "deep/er/c [1].mrc") == 0
    said = capsys.readouterr()
    assert said.out.startswith("4 denoised into out, ")
    assert said.err == ""
    names = ["a", "b", "c [1]", "d"]
    assert results(here / "out") == sorted(f"{n}.{end}" for n in names for end in ("json", "mrc"))
    network, _ = load_model("m.safetensors")
    with open_micrograph("a.mrc") as reader:
        bands = list(denoise_bands(network, MicrographRows(reader), tile_px=256))
    with mrcfile.open("out/a.mrc") as file:
        assert file.data == pytest.approx(np.concatenate(bands), abs=1e-5)
        assert file.voxel_size.x == pytest.approx(1.25)
        assert file.header.origin.tolist() == (3.0, 4.0, 0.0)
        assert b"denoised, simple_cnn" in file.header.label[0]


def test_what_is_done_and_unchanged_is_skipped(here, capsys):
    for number, name in enumerate("ab"):
        write_image(here / f"{name}.mrc", number)
    model = write_model(here / "other.safetensors", 1)
    assert denoise("*.mrc") == 0

    def denoised_again(*words, **options):
        capsys.readouterr()
        before = {name: os.stat(f"out/{name}.mrc").st_ino for name in "ab"}
        assert denoise("*.mrc", *words, **options) == 0
        made = [name for name in "ab" if os.stat(f"out/{name}.mrc").st_ino != before[name]]
        said = capsys.readouterr().err
        assert ("already done" in said) == (len(made) < 2)
        return made

    assert denoised_again() == []
    assert denoised_again("--overwrite") == ["a", "b"]
    os.utime("a.mrc")
    assert denoised_again() == []  # its time is new, its content is not
    write_image(here / "a.mrc", 7)
    assert denoised_again() == ["a"]
    os.truncate("out/b.mrc", 1500)
    assert denoised_again() == ["b"]
    assert denoised_again("--dtype", "float16") == ["a", "b"]
    assert denoised_again("--dtype", "float16", "--tile-px", "64") == []
    assert denoised_again("--dtype", "float16", model=model) == ["a", "b"]


def test_a_glob_does_not_take_in_earlier_results(here):
    write_image(here / "data" / "a.mrc")
    assert denoise("data/**/*.mrc", output="data/clear") == 0
    assert denoise("data/**/*.mrc", output="data/clear") == 0
    assert results(here / "data" / "clear") == ["a.json", "a.mrc"]


def test_a_bad_file_stops_no_other_and_is_listed_again(here, capsys):
    write_image(here / "good.mrc")
    (here / "bad.mrc").write_bytes(b"<html>404</html>")
    write_image(here / "flat.mrc", std=0.0)
    assert denoise("absent.mrc", "bad.mrc", "flat.mrc", "good.mrc") == 1
    assert results(here / "out") == ["good.json", "good.mrc"]
    lines = capsys.readouterr().err.splitlines()
    end = lines.index("3 failed:")
    for words in ("absent.mrc: no such file", "bad.mrc: an HTML", "flat.mrc: a constant image"):
        assert any(line.startswith(f"error: {words}") for line in lines[:end])
        assert any(line.startswith(f"  {words}") for line in lines[end:])
    assert len(lines) == 7


STAR = """
# version 30001

data_optics

loop_
_rlnOpticsGroupName #1
_rlnOpticsGroup #2
_rlnMicrographOriginalPixelSize #3
_rlnVoltage #4
opticsGroup1            1     0.885000   300.000000


# version 30001

data_micrographs

loop_
_rlnMicrographName #1
_rlnMicrographMetadata #2
_rlnOpticsGroup #3
_rlnAccumMotionTotal #4
job/a.mrc job/a.star            1    16.420000
job/b.mrc None            1    0.1000
"""


def test_a_star_file_comes_out_again_with_the_denoised_micrographs(here, capsys):
    (here / "micrographs.star").write_text(STAR)
    for number, name in enumerate("ab"):
        write_image(here / "job" / f"{name}.mrc", number)
    assert denoise("micrographs.star") == 0
    assert "out/micrographs.star" in capsys.readouterr().out
    given, made = (tables.text_of_star(p) for p in ("micrographs.star", "out/micrographs.star"))
    assert made["optics"].equals(given["optics"])
    assert list(made["micrographs"]["rlnMicrographName"]) == ["out/a.mrc", "out/b.mrc"]
    others = given["micrographs"].columns.drop("rlnMicrographName")
    assert made["micrographs"][others].equals(given["micrographs"][others])
    assert starfile.read("out/micrographs.star")["optics"]["rlnVoltage"][0] == 300


def test_a_row_that_failed_is_left_out_of_the_table(here, capsys):
    (here / "micrographs.star").write_text(STAR)
    write_image(here / "job" / "b.mrc")
    assert denoise("micrographs.star") == 1
    said = capsys.readouterr()
    assert "error: job/a.mrc: cannot be read: No such file" in said.err
    assert "without 1 rows that failed" in said.out
    made = tables.text_of_star("out/micrographs.star")["micrographs"]
    assert list(made["rlnMicrographName"]) == ["out/b.mrc"]
    assert list(made["rlnAccumMotionTotal"]) == ["0.1000"]


def test_halves_of_a_table_are_averaged(here):
    text = STAR.replace("_rlnMicrographMetadata", "_rlnMicrographNameEven")
    text = text.replace("_rlnAccumMotionTotal", "_rlnMicrographNameOdd").replace("None", "job/b_e")
    text = text.replace("job/a.star", "job/a_e").replace("16.420000", "job/a_o")
    (here / "m.star").write_text(text.replace("0.1000", "job/b_o").replace("_e", "_e.mrc"))
    text = (here / "m.star").read_text().replace("_o\n", "_o.mrc\n")
    (here / "m.star").write_text(text)
    for number, name in enumerate(["a_e", "a_o", "b_e", "b_o"]):
        write_image(here / "job" / f"{name}.mrc", number)
    assert denoise("m.star", "--average-halves", "_e", "_o") == 0
    assert results(here / "out") == ["a.json", "a.mrc", "b.json", "b.mrc", "m.star"]
    made = tables.text_of_star("out/m.star")["micrographs"]
    assert list(made["rlnMicrographNameOdd"]) == ["job/a_o.mrc", "job/b_o.mrc"]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_averaged_halves_are_the_mean_of_both_results(here, dtype, capsys):
    for number, half in enumerate(("EVN", "ODD")):
        write_image(here / f"x_{half}.mrc", number, shape=(600, 90))
    write_image(here / "x.mrc", 9)
    assert denoise(".", "--average-halves", "_EVN", "_ODD", "--dtype", dtype) == 0
    assert "2 files are no half" not in capsys.readouterr().err
    assert denoise("x_EVN.mrc", "x_ODD.mrc", output="single") == 0
    mean = (read_micrograph("single/x_EVN.mrc") + read_micrograph("single/x_ODD.mrc")) / 2
    assert np.array_equal(read_micrograph("out/x.mrc"), mean.astype(dtype))
    record = json.loads((here / "out" / "x.json").read_text())
    assert record["averaged_halves"] is True
    assert record["half_noise_std"] == pytest.approx([1, 1], rel=0.02)
    with mrcfile.open("out/x.mrc") as file:
        assert b"mean of both halves" in file.header.label[0]


def test_halves_in_two_folders(here):
    for number, half in enumerate(("even", "odd")):
        write_image(here / half / "x.mrc", number)
    assert denoise("even", "odd", "--average-halves", "even/", "odd/") == 0
    assert results(here / "out") == ["x.json", "x.mrc"]


def test_halves_that_do_not_fit_are_refused_alone(here, capsys):
    write_image(here / "good_EVN.mrc", 0)
    write_image(here / "good_ODD.mrc", 1)
    write_image(here / "loud_EVN.mrc", 2)
    write_image(here / "loud_ODD.mrc", 3, std=1.2)
    write_image(here / "alone_EVN.mrc", 4)
    write_image(here / "size_EVN.mrc", 5)
    write_image(here / "size_ODD.mrc", 6, shape=(70, 80))
    assert denoise("*.mrc", "--average-halves", "_EVN", "_ODD") == 1
    assert results(here / "out") == ["good.json", "good.mrc"]
    said = capsys.readouterr().err
    assert "error: loud_ODD.mrc: the halves are not equally noisy: expected noise within" in said
    assert "error: alone_EVN.mrc: a half without the other" in said
    assert "error: size_ODD.mrc: the halves differ in shape" in said
    with pytest.raises(InputError, match=r"none of the files is a half"):
        denoise("*.mrc", "--average-halves", "_A", "_B")


def test_nothing_starts_where_a_result_would_replace_another_or_an_input(here):
    for folder in ("one", "two"):
        write_image(here / folder / "a.mrc")
    with pytest.raises(InputError, match=r"1 results .* \(one/a\.mrc and two/a\.mrc\)"):
        denoise("one", "two")
    with pytest.raises(InputError, match=r"would replace what they are made of \(one/a\.mrc\)"):
        denoise("one", output="one")
    (here / "link").symlink_to("one")
    with pytest.raises(InputError, match=r"would replace what they are made of"):
        denoise("one/a.mrc", output="link")
    assert results(here / "one") == ["a.mrc"]
    assert not (here / "out").exists()


def test_a_file_in_place_of_the_folder_is_one_line(here):
    write_image(here / "a.mrc")
    with pytest.raises(NotADirectoryError):
        denoise("a.mrc", output="a.mrc")


def test_the_pixel_size_of_a_table_is_the_results(here, capsys):
    text = STAR.replace("OriginalPixelSize", "PixelSize")
    for number, name in enumerate("ab"):
        write_image(here / "job" / f"{name}.mrc", number)
    (here / "m.star").write_text(text)
    with open_micrograph("job/a.mrc") as given:
        header = given.pixel_size_angstrom
    assert denoise("m.star") == 0
    words = f"warning: a.mrc: the STAR file says 0.885 angstrom per pixel, the header {header:.4g}"
    assert words in "".join(capsys.readouterr())
    with open_micrograph("out/a.mrc") as made:
        assert made.pixel_size_angstrom == pytest.approx(0.885)
    assert denoise("m.star") == 0
    assert "2 already done" in "".join(capsys.readouterr())
    (here / "m.star").write_text(text.replace("0.885000", "0.895000"))
    assert denoise("m.star") == 0
    with open_micrograph("out/a.mrc") as made:
        assert made.pixel_size_angstrom == pytest.approx(0.895)
