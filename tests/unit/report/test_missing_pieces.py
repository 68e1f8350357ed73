"""What a run lacks is said where it would be: never a blank, a None, a nan or a blank figure."""

import re

import pytest

from clearice.config import complete_config
from clearice.files import read_json, write_json
from clearice.model.history import read_history, write_history
from report_run import Run, add_everything, text_of

HALVES = ["a", "b"]
NOT_RUN = {"rungs": {}, "worst_percent": None, "rows": [], "diagnosis": ["needs an NVIDIA GPU"]}


def halves(run):
    """Give a run two micrographs of halves, and a training."""
    return run.add_dataset(HALVES, tested=["b"]).add_model()


def change_training(run, epochs, **facts):
    """Leave only some epochs of the history, and change the record."""
    (path,) = run.arguments["histories"]
    rows = [{**read_history(path)[0], "epoch": epoch, "step": epoch} for epoch in epochs]
    rows = [{**row, **facts.pop("row", {})} for row in rows]
    write_history(path, rows)
    (record,) = run.arguments["trainings"]
    write_json(record, {**read_json(record), "last_epoch": rows[-1], **facts})


def configured(run, **sections):
    """Change sections of the configuration of a run."""
    run.arguments["config"] = complete_config(sections)
    return run


def without_truth(run):
    halves(run).add_denoised(HALVES, ("target",), tested=["b"]).add_verdict("numpy", "passed")


def without_halves(run):
    configured(run, patches={"target": "synthetic_noise"})
    run.add_dataset(HALVES, tested=["b"], target_kind="synthetic_noise")
    run.add_model(noise_floor=None).add_denoised(HALVES, (), tested=["b"])
    change_training(run, [1, 2], target_kind="synthetic_noise")


def without_gpu(run):
    halves(run).add_denoised(HALVES, tested=["b"]).add_verdict("numpy", "passed")
    run.add_verdict("cudnn", "not run", **NOT_RUN)


def without_any_implementation_that_runs(run):
    halves(run).add_denoised(HALVES, tested=["b"]).add_verdict("cudnn", "not run", **NOT_RUN)


def without_parity(run):
    configured(run, parity={"implementations": {}})
    halves(run).add_denoised(HALVES, tested=["b"])


def of_one_epoch(run):
    halves(run).add_denoised(HALVES, tested=["b"]).add_verdict("numpy", "passed")
    change_training(run, [1])


def all_rejected_but_two(run):
    rejected = [f"broken_{i}" for i in range(8)]
    run.add_dataset(HALVES, tested=["b"], rejected=rejected).add_model()
    run.add_denoised(HALVES, tested=["b"]).add_verdict("numpy", "passed")


def without_denoising(run):
    configured(halves(run), denoised={"enabled": False}).add_verdict("numpy", "passed")


def without_validation(run):
    configured(halves(run).add_denoised(HALVES), validation={"enabled": False})


def with_weights_kept(run):
    halves(run).add_denoised(HALVES, tested=["b"])
    unknown = dict.fromkeys(("batch_loss", "batches_per_s", "device_wait_fraction"))
    change_training(run, [0], kept_pretrained=True, row=unknown)


def without_training(run):
    run.add_dataset(HALVES, tested=["b"])
    configured(run, denoised={"enabled": False})


def without_benchmarks(run):
    add_everything(run)


CASES = [  # what is missing, and what is said of it: section -> words; "head" is the head
    (without_truth, {"validation": r"Not measured: signal-to-noise ratio"}),
    (
        without_halves,
        {
            "head": r"no gain was measured: no held-out micrograph has a sound other half",
            "validation": r"no Fourier ring correlation: it needs an independent other half",
        },
    ),
    (
        without_gpu,
        {
            "head": r"1 of 2 passed at most 3\.2 % of a tolerance used; not run: cudnn",
            "parity": r"not run: needs an NVIDIA GPU",
        },
    ),
    (
        without_any_implementation_that_runs,
        {
            "head": r"no implementation could be compared here",
            "parity": r"not run: needs an NVIDIA GPU",
        },
    ),
    (
        without_parity,
        {
            "head": r"Parity none no implementation was asked for",
            "parity": r"No implementation was compared: parity\.implementations is empty",
        },
    ),
    (of_one_epoch, {"training": r"test loss"}),
    (
        all_rejected_but_two,
        {
            "head": r"Look at this first: .*8 of 10 micrographs were rejected",
            "micrographs": r"8 rejected",
        },
    ),
    (
        without_denoising,
        {
            "head": r"denoising is off",
            "denoised": r"No micrograph was denoised: denoised\.enabled is false",
            "validation": r"No gain is claimed",
        },
    ),
    (
        without_validation,
        {
            "head": r"no gain was measured: validation is off",
            "validation": r"validation\.enabled is false.*No gain is claimed",
        },
    ),
    (
        with_weights_kept,
        {
            "head": r"simple_cnn kept its pretrained weights",
            "training": r"pretrained, kept",
        },
    ),
    (
        without_training,
        {"head": r"nothing was trained", "training": r"No network was trained"},
    ),
    (
        without_benchmarks,
        {
            "head": r"Time and memory unknown there are no benchmark files",
            "costs": r"no benchmark files",
        },
    ),
]


@pytest.mark.parametrize(("case", "said"), CASES, ids=[case.__name__ for case, _ in CASES])
def test_what_is_missing_is_said_in_its_place(tmp_path, case, said):
    run = Run(tmp_path)
    case(run)
    page = run.write()
    sections = sections_of(page)
    for section, words in said.items():
        assert re.search(words, sections[section]), sections[section]
    for name, text in sections.items():
        assert len(text) > 30, f"{name} is empty: {text}"
    for path in (run.results / "report").glob("*.*"):
        if path.suffix in (".html", ".tsv", ".md", ".svg"):
            content = re.sub(r"<script.*?</script>", "", path.read_text(), flags=re.DOTALL)
            content = text_of(content).split("Configuration as used")[0]
            assert not re.search(r"\b(?:None|nan|NaN|[Uu]ndefined)\b", content), path
        if path.suffix == ".svg":  # a figure has something in it, or says why it has nothing
            assert "<text" in path.read_text(), path
    assert "None" not in read_json(run.outputs()["summary"])["assessment"]


def sections_of(page):
    """Return the words of each section of the page by its id, those of its head as "head"."""
    body = re.sub(r"<(script|style).*?</\1>", " ", page, flags=re.DOTALL)
    head, rest = body.split("</header>", 1)
    found = {"head": text_of(head)}
    for part in re.split(r'(?=<section id=")', rest)[1:]:
        found[re.match(r'<section id="([^"]*)"', part).group(1)] = text_of(part)
    return found
