"""The report: what it says of a run, whatever was left out of it; steps; the terminal's summary."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from clearice.config import complete_config
from clearice.files import read_json, write_json
from clearice.micrographs.mrc_writer import write_micrograph
from clearice.report.facts import entry_lines, read_history, read_micrographs
from clearice.report.headlines import summary_text
from clearice.report.sections.micrographs import TABLE_COLUMNS
from known_denoisers import Constant
from report_run import Run, add_everything, text_of


@pytest.fixture
def run(tmp_path):
    """An empty run."""
    return Run(tmp_path)


@pytest.fixture
def full_run(run):
    """A run with everything, its report not yet written."""
    return add_everything(run)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run with everything and its page, for tests that only read."""
    run = add_everything(Run(tmp_path_factory.mktemp("finished")))
    return run, run.write({"title": "<b>T</b>", "examples": 2})


def test_the_page_says_what_went_in_and_what_came_out(finished):
    _, page = finished
    words = text_of(page)
    assert "3 used; 1 rejected" in words
    assert "truncated &amp; &lt;odd&gt;" in words
    assert "6 train, 3 test; 48 px" in words
    assert "3.2 % of a tolerance used" in words
    assert re.search(
        r"Gain over linear filters \+\d+\.\d dB against the truth, 1 held-out micrograph",
        words,
    )
    assert "null test" in words
    # m2 is held out: with its truth; of m1, which was trained on, raw and denoised alone
    examples = page[page.index('id="denoised"') : page.index('id="validation"')]
    assert examples.count("data:image/jpeg;base64,") == 2 * (3 + 2)


def test_what_the_archive_says_of_an_entry_is_shown(full_run, tmp_path):
    entry = {"entry": "10025", "words": "EMPIAR-10025: <b>T20S</b>", "pixel_size_angstrom": 7.5}
    assert "EMPIAR-10025: &lt;b&gt;T20S&lt;/b&gt;" in text_of(full_run.write(entry=entry))
    path = tmp_path / "m.mrc"
    write_micrograph(path, [np.ones((8, 8), "f4")], 8, 8, pixel_size_angstrom=1.5, label="test")
    rows = [{"rejected": i == 0, "input": p} for i, p in enumerate(["gone.mrc", "lost.mrc", path])]
    (warning,) = entry_lines(entry, rows)["warnings"]
    assert "says 7.5 angstrom per pixel, the headers 1.5: 1.5 is used" in warning


def test_names_with_odd_characters_are_text_and_not_markup(finished):
    _, page = finished
    assert page.count("&lt;b&gt;a&amp;b $x_1$") > 1
    assert "<h1>&lt;b&gt;T&lt;/b&gt;</h1>" in page


def test_rejected_micrographs_come_first(finished):
    run, page = finished
    table = page[page.index('aria-label="Table of micrographs"') :]
    assert table.index("broken") < table.index("truncated") < table.index("m1")
    assert run.table("micrographs.tsv")[0]["reason"] == "truncated & <odd>"
    assert list(run.table("micrographs.tsv")[0]) == list(TABLE_COLUMNS)


def test_held_out_micrographs_are_shown_first_and_judged_alone(full_run):
    page = full_run.write({"examples": 1})
    assert re.search(r"<h3>m2\s*<span class=\"tag\">held out", page)
    assert "1 of 3 are shown" in text_of(page)
    gain = read_json(full_run.outputs()["summary"])["gain"]
    assert (gain["against"], gain["micrographs"]) == ("truth", 1)
    assert gain["gain_over_linear_db"] == gain["denoised"] - gain["linear"]
    rows = {row["micrograph"]: row for row in full_run.table("micrographs.tsv")}
    assert float(rows["m2"]["gain_over_linear_db"]) > 5
    assert rows["m1"]["gain_over_linear_db"] == rows["m1"]["correlation_raw"] == ""
    frequencies = [float(row["frequency_per_px"]) for row in full_run.table("frc.tsv")]
    assert frequencies[-1] == 0.5


def test_without_truth_the_other_half_is_the_judge(run):
    run.add_dataset(["a", "b"], tested=["b"]).add_model()
    words = text_of(run.add_denoised(["a", "b"], ("target",), tested=["b"]).write())
    gain = read_json(run.outputs()["summary"])["gain"]
    assert gain["measure"] == "correlation"  # of so few pixels chance hides the excess error
    assert f"Correlation with the other half {gain['denoised']:.3f}" in words
    assert "dB against the truth" not in words
    assert "Not measured: signal-to-noise ratio and similarity" in words
    assert "its noise is independent" in words


def test_without_truth_or_other_half_nothing_is_claimed(run):
    config = complete_config({"patches": {"target": "synthetic_noise"}})
    run.add_dataset(["a", "b"], tested=["b"], target_kind="synthetic_noise")
    run.add_model(noise_floor=None).add_denoised(["a", "b"], (), tested=["b"])
    words = text_of(run.write(config=config))
    assert "Gain over linear filters not measured there is no other half" in words
    assert "There is no Fourier ring correlation" in words
    assert "Not measured: Fourier ring correlation" in words
    assert "The null tests" not in words
    assert re.search(r"null tests: [0-3] of 3 ", words)  # those that need no other half
    assert "noise added to the input" in words
    assert run.table("frc.tsv") == []


def test_with_everything_optional_left_out_the_page_says_so(run):
    config = complete_config({"denoised": {"enabled": False}})
    words = text_of(run.add_dataset(["a", "b"], tested=["b"]).write(config=config))
    assert "no implementation was asked for" in words
    assert "denoised.enabled is false" in words
    assert "No gain is claimed" in words
    assert "No network was trained" in words
    assert "There are no benchmark files" in words
    assert "Time and memory unknown there are no benchmark files" in words


def test_a_noise_floor_above_the_loss_is_not_believed(run):
    run.add_dataset(["a", "b"], tested=["b"]).add_model(
        noise_floor=1.03
    )  # test losses 1.1 to 1.033
    rows = read_history(run.arguments["histories"][0])
    assert rows[-1]["noise_floor_test"] == 1.03
    text = run.arguments["histories"][0].read_text().replace("1.03333333", "1.01")
    run.arguments["histories"][0].write_text(text)
    rows = read_history(run.arguments["histories"][0])
    assert [row["noise_floor_test"] for row in rows] == [None] * 3
    assert rows[-1]["noise_floor_train"] == 1.03
    assert "No noise floor is drawn" in text_of(run.write())


def test_a_failed_verdict_is_seen_at_once_and_explained(full_run):
    page = full_run.add_verdict("fortran", "failed").write()
    words = text_of(page)
    assert "Look at this first:" in words
    assert "parity failed (fortran, lowest rung loss)" in words
    assert "lowest rung that fails: loss" in words
    assert "the kernels are flipped" in words
    assert "7e+05 %" in words
    assert {row["implementation"] for row in full_run.table("parity.tsv")} == {"numpy", "fortran"}


def test_an_implementation_that_did_not_run_has_not_passed(full_run):
    facts = {"rungs": {}, "worst_percent": None, "diagnosis": ["no GPU here"]}
    full_run.add_verdict("cudnn", "not run", **facts)
    path = full_run.arguments["verdicts"][-1]
    verdict = read_json(path)
    del verdict["rows"], verdict["repeat_bit_equal"]
    write_json(path, verdict)
    page = full_run.write()
    words = text_of(page)
    assert "abacus, 0.25 batches/s in training" in words
    assert re.search(r"Parity\s+1 of 2 passed\s+at most 3\.2 % .*; not run: cudnn", words)
    assert "no GPU here" in words


def test_a_failed_null_test_is_seen_at_once_and_explained(run):
    run.add_dataset(["a", "b"], tested=["b"]).add_model()
    page = run.add_denoised(["a", "b"], tested=["b"], network=Constant()).write()
    words = text_of(page)
    assert re.search(r"Look at this first: \d of 6 null tests failed \(.*noise response", words)
    assert "noise response: it draws nothing (1 of 1 micrographs)" in words
    section = page[page.index('<section id="validation">') :]
    assert section.index('class="card bad"') < section.index("Table of evidence")
    assert "noise response" in read_json(run.outputs()["summary"])["null_tests"]["failed"]


def test_without_validation_no_gain_is_claimed(run):
    config = complete_config({"validation": {"enabled": False}})
    run.add_dataset(["a", "b"], tested=["b"]).add_model().add_denoised(["a", "b"])
    words = text_of(run.write(config=config))
    assert "validation.enabled is false" in words
    assert "No gain is claimed" in words
    assert read_json(run.outputs()["summary"])["gain"] is None


def test_the_page_stays_small_with_thousands_of_micrographs(run):
    run.add_dataset(["a", "b"], tested=["b"]).add_model()
    run.add_denoised(["a", "b"], tested=["b"])
    small = len(run.write())
    table = run.arguments["micrographs"]
    header, *rows = table.read_text().splitlines()
    more = [rows[0].replace("a\t", f"a{i:04d}\t", 1) for i in range(5000)]
    table.write_text("\n".join([header, *rows, *more]) + "\n")
    assert len(run.write()) < small + 5000 * 600


def test_the_summary_fits_a_terminal(full_run, capsys):
    path = str(full_run.results / "report" / "index.html")
    full_run.add_verdict("a-long-name-of-an-implementation", "failed").write()
    said = capsys.readouterr().out
    assert summary_text(read_json(full_run.outputs()["summary"]), path) == said.rstrip("\n")
    lines = said.splitlines()
    assert lines[0].startswith("Look at this first: ")
    assert any(line.endswith(path) for line in lines)
    assert all(len(line) <= 80 or path in line for line in lines)
    assert any("FAILED" in line and "loss" in line for line in lines)
    assert any(re.search(r"denoising +1\d\.\d dB against the truth", line) for line in lines)
    assert any(line.startswith("null tests") for line in lines)


def test_the_summary_is_json_that_text_can_be_made_of_again(finished):
    run, _ = finished
    facts = json.loads(Path(run.outputs()["summary"]).read_text())
    assert "PASSED" in summary_text(facts, "index.html")


def test_numbers_of_the_table_are_numbers(run):
    run.add_dataset(["a", "b"], tested=["b"], rejected=["c"])
    first, *_, last = read_micrographs(run.arguments["micrographs"])
    assert (first["micrograph"], first["rejected"], first["split"]) == ("c", True, "")
    assert (last["patches"], last["pixel_size_angstrom"]) == (3, 1.5)
