"""The dataset and the trainings as markdown: the page's own values, stable, and safe to read."""

import pytest

from clearice.config import complete_config
from clearice.files import read_json, write_json
from clearice.report.baseline import baseline, model_size
from clearice.report.data_specs import data_specs
from clearice.report.documents import Document, Part, markdown
from clearice.report.results import read_results
from report_run import ODD_NAME, Run, add_everything, text_of


def results_of(run):
    """Return the Results of a run."""
    others = ("page", "summary", "files", "config")
    arguments = {key: value for key, value in run.arguments.items() if key not in others}
    return read_results(run.results, **arguments)


def documents_of(run, settings=None):
    """Return the documents of a run."""
    results = results_of(run)
    return [data_specs(results, complete_config(settings or {})), baseline(results)]


def cells(document):
    """Return all texts of a document."""
    return [
        text
        for part in document.parts
        for text in (part.heading, *part.sentences, *(cell for row in part.rows for cell in row))
    ]


@pytest.fixture
def full(tmp_path):
    """A run with everything."""
    return add_everything(Run(tmp_path))


def test_the_page_and_the_files_hold_the_same_values(full):
    page = full.write()
    shown = text_of(page[page.index('<section id="documents">') :])
    for document in documents_of(full):
        text = (full.results / "report" / document.file).read_text()
        assert text == markdown(document)
        for cell in cells(document):
            assert cell.replace("<", r"\<").replace("`", r"\`") in text
            escaped = cell.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
            assert " ".join(escaped.replace("'", "&#39;").split()) in shown


def test_they_say_how_to_read_the_arrays(full):
    specs = markdown(documents_of(full)[0])
    assert "| train_input.bin  | (6, 48, 48) | (48, 48, 6)   | float32 | 55,296 |" in specs
    assert "begins at byte i x 9,216." in specs
    assert "| broken     | rejected | truncated & \\<odd> |" in specs
    assert ODD_NAME.replace("<", "\\<") in specs


def test_a_dataset_that_was_not_concatenated_is_described_as_it_is(full):
    specs = markdown(documents_of(full, {"dataset": {"concatenate": False}})[0])
    assert "not concatenated: the patches lie in the shards" in specs
    assert ".bin" not in specs


def test_a_dataset_of_planes_is_described_as_it_is(tmp_path):
    run = add_everything(Run(tmp_path))
    path = results_of(run).manifest
    manifest = read_json(path)
    for split in manifest["splits"].values():
        for segment in split["segments"]:
            segment["planes"] = {"height_px": 100, "width_px": 60}
    write_json(path, manifest | {"layout": "planes", "offsets": "random"})
    specs = markdown(documents_of(run, {"dataset": {"layout": "planes"}})[0])
    assert "Whole normalised micrographs (planes)" in specs
    assert "at other places in each epoch" in specs
    assert ".bin" not in specs
    assert f"{2 * 100 * 60 * 4 * len(manifest['splits']['test']['segments']):,}" in specs


def test_they_are_the_same_whenever_and_wherever_they_are_written(tmp_path):
    texts = []
    for place in ("here", "there"):
        run = add_everything(Run(tmp_path / place))
        texts.append([markdown(document) for document in documents_of(run)])
    assert texts[0] == texts[1]
    assert str(tmp_path) not in "".join(texts[0])


def test_a_long_history_is_thinned_and_keeps_its_ends(full):
    results = results_of(full)
    (rows,) = results.histories.values()
    rows[:] = [{**rows[0], "epoch": epoch} for epoch in range(1, 5001)]
    losses = baseline(results).parts[-1]
    assert (losses.rows[0][0], losses.rows[-1][0]) == ("1", "5000")
    assert len(losses.rows) <= 62
    assert "Every 84th of 5,000 epochs" in losses.sentences[-1]


def test_thousands_of_micrographs_make_a_short_text(full):
    results = results_of(full)
    results.micrographs *= 3000
    assert len(markdown(data_specs(results, complete_config({})))) < 10_000


def test_without_a_training_it_says_so(tmp_path):
    run = Run(tmp_path).add_dataset(["a", "b"], tested=["b"])
    assert "Nothing was trained" in markdown(documents_of(run)[1])


def test_a_training_by_one_epoch_on_two_gpus(full):
    path = full.arguments["trainings"][0]
    facts = {"device": "NVIDIA H200", "devices": 2, "cudnn": 91200, "kept_pretrained": True}
    write_json(path, {**read_json(path), **facts})
    text = markdown(documents_of(full)[1])
    assert "NVIDIA H200 x 2" in text
    assert "cuDNN 91200" in text
    assert "pretrained, kept" in text


@pytest.mark.parametrize("content", [None, b"", b"\xff" * 8, b"\x02" + b"\0" * 7 + b"[]"])
def test_a_model_file_that_cannot_be_read_has_no_size(tmp_path, content):
    path = tmp_path / "m.safetensors"
    if content is not None:
        path.write_bytes(content)
    assert model_size(path) == (None, None)


def test_markup_in_names_is_text():
    part = Part("[a](b)", (), ("name",), (("`x` | *y* <b> a_b_c",),))
    text = markdown(Document("T", "t.md", [part]))
    assert r"## \[a](b)" in text
    assert r"| \`x\` \| \*y\* \<b> a_b_c |" in text
