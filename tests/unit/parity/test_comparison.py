"""The checker: verdicts, precision classes, exit statuses, and what it needs to run."""

import json
import shutil
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest

from clearice.errors import InputError
from clearice.parity.comparison import compare
from clearice.parity.evidence import storage
from clearice.parity.verdict import junit_xml, verdict_text, write_verdict
from clearice.reference.bundle import Bundle, BundleError, bundle_identity
from parity_bundle import load_implementation, write_honest_results

# What the checker must not need.
ABSENT = ("torch", "snakemake", "jsonschema", "xxhash", "yaml", "safetensors", "pandas", "scipy")


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """A folder with a bundle and the honest results of the NumPy implementation."""
    return write_honest_results(tmp_path_factory.mktemp("parity"))


@pytest.fixture
def output(honest, tmp_path):
    """A copy of the honest results, to spoil."""
    return shutil.copytree(honest / "output", tmp_path / "output")


@pytest.fixture
def bundle(honest):
    return Bundle(honest / "bundle")


def command_line(repository, *arguments):
    """Run `clearice compare` in a Python that has NumPy alone, from a checkout."""
    program = (
        "import sys\n"
        f"for name in {ABSENT}: sys.modules[name] = None\n"
        "from clearice.command.main import main\n"
        f"main({['compare', *map(str, arguments)]!r})\n"
    )
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=repository / "workflow" / "scripts",
        capture_output=True,
        text=True,
        check=False,
    )


def test_honest_results_pass_and_use_a_part_of_the_tolerance(bundle, output):
    verdict = compare(bundle, output)
    assert verdict["verdict"] == "passed"
    assert verdict["precision"] == "float32"
    assert verdict["lowest_failing_rung"] is None
    assert 0 < verdict["worst_percent"] < 50
    assert verdict["original_tolerances"]
    assert verdict["repeat_bit_equal"]
    assert set(verdict["rungs"].values()) == {"passed"}
    assert verdict["diagnosis"] == []


def test_the_command_needs_numpy_alone_and_exits_with_0(repository, honest, output, tmp_path):
    process = command_line(repository, honest / "bundle", output, "--write", tmp_path / "verdict")
    assert process.returncode == 0, process.stderr
    assert "PASSED" in process.stdout.splitlines()[-1]
    assert json.loads((tmp_path / "verdict" / "verdict.json").read_text())["verdict"] == "passed"
    assert "PASSED" in (tmp_path / "verdict" / "verdict.txt").read_text()
    suite = ElementTree.parse(tmp_path / "verdict" / "junit.xml").getroot()
    assert suite.get("failures") == "0"
    assert int(suite.get("tests")) == len(suite.findall("testcase")) > 50


def test_the_command_exits_with_1_and_names_the_rung(repository, honest, output):
    (output / "noise_relu1.bin").unlink()
    process = command_line(repository, honest / "bundle", output)
    assert process.returncode == 1
    assert "lowest rung layer" in process.stdout.splitlines()[-1]
    assert "noise_relu1.bin is missing" in process.stdout


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda b: (b / "manifest.json").unlink(), "no reference bundle here"),
        (lambda b: (b / "manifest.json").write_text("{"), "cannot be read"),
        (lambda b: (b / "manifest.json").write_text("[1]"), "is not the manifest"),
        (lambda b: rewrite(b, format_version=2), "another format version: expected 1, found 2"),
        (lambda b: rewrite(b, tensors={}), "tensor conv1_weight is missing"),
        (lambda b: rewrite(b, cases=None), "key cases is missing"),
        (lambda b: (b / "manifest.json").write_text("[" * 100_000), "cannot be read"),
        (lambda b: edit(b, lambda m: m.update(tensors=None)), "is malformed"),
        (lambda b: edit(b, lambda m: m["cases"].pop("noise")), "is malformed (KeyError: 'noise')"),
        (lambda b: edit(b, lambda m: m["training"].pop("losses")), "is malformed"),
        (lambda b: edit(b, lambda m: m.update(repeat={"case": "other"})), "do not fit together"),
        (lambda b: edit(b, lambda m: m["training"]["losses"]["float64"].pop()), "do not fit"),
        (lambda b: change(b, lambda e: e.pop("tolerance")), "is malformed (KeyError: 'tolerance')"),
        (lambda b: change(b, lambda e: e.pop("sha256")), "is malformed (KeyError: 'sha256')"),
        (lambda b: change(b, lambda e: e.update(dtype="float16")), "has another file, dtype"),
        (lambda b: change(b, lambda e: e.update(file="../x")), "has another file, dtype"),
        (lambda b: change(b, lambda e: e.update(shape=[7])), "is not of its shape"),
        (lambda b: change(b, lambda e: e.update(shape="7")), "has an invalid shape"),
        (lambda b: change(b, lambda e: limits(e).update(l2=float("inf"))), "not positive"),
        (lambda b: change(b, lambda e: limits(e).update(l2="1")), "is malformed"),
        (lambda b: rewrite(b, tolerance_reasons={}), "found the content of"),
        (
            lambda b: (b / "noise_output.bin").write_bytes(b"0" * 100),
            "differs from what was exported",
        ),
        (lambda b: (b / "float64" / "test_output.bin").unlink(), "cannot be read"),
    ],
)
def test_a_bundle_that_cannot_be_used_is_exit_status_2(
    repository, honest, output, tmp_path, spoil, words
):
    broken = shutil.copytree(honest / "bundle", tmp_path / "bundle")
    spoil(broken)
    process = command_line(repository, broken, output)
    assert process.returncode == 2, process.stdout
    assert words in process.stderr
    assert len(process.stderr.splitlines()) == 1
    with pytest.raises(BundleError):
        compare(Bundle(broken), output)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_tolerances_that_were_widened_are_not_a_bundle(repository, honest, tmp_path, precision):
    broken = shutil.copytree(honest / "bundle", tmp_path / "bundle")
    manifest = json.loads((broken / "manifest.json").read_text())
    for entry in manifest["tensors"].values():
        if "tolerance" in entry:
            entry["tolerance"][precision] = {"absolute": 1e9, "l2": 1e9}
    (broken / "manifest.json").write_text(json.dumps(manifest))
    process = command_line(repository, broken, honest / "output")
    assert process.returncode == 2
    assert "manifest.json: differs from what was exported" in process.stderr


def test_another_spelling_of_the_same_manifest_is_the_same_bundle(honest, output, tmp_path):
    again = shutil.copytree(honest / "bundle", tmp_path / "bundle")
    rewrite(again, provenance={"elsewhere": True})
    assert compare(Bundle(again), output)["verdict"] == "passed"


def edit(folder, change):
    """Change a manifest and give it the identity of what it says now."""
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    manifest["bundle_id"] = bundle_identity(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def change(folder, spoil):
    edit(folder, lambda manifest: spoil(manifest["tensors"]["noise_output"]))


def limits(entry):
    return entry["tolerance"]["float32"]


def rewrite(folder, **changes):
    """Change keys of a manifest; None removes one."""
    manifest = json.loads((folder / "manifest.json").read_text()) | changes
    manifest = {key: value for key, value in manifest.items() if value is not None}
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["structured_conv1", "test_output", "noise_grad_conv1_weight"])
def test_no_nan_passes(bundle, output, name, value):
    values = np.fromfile(output / f"{name}.bin", "<f4")
    values[5] = value
    values.tofile(output / f"{name}.bin")
    verdict = compare(bundle, output)
    assert verdict["verdict"] == "failed"
    assert "1 of" in verdict["diagnosis"][0]
    json.dumps(verdict, allow_nan=False)


@pytest.mark.parametrize("table", ["loss.tsv", "training_loss.tsv"])
@pytest.mark.parametrize("word", ["nan", "inf", "many", ""])
def test_no_nan_and_no_text_passes_as_a_loss(bundle, output, table, word):
    lines = (output / table).read_text().splitlines()
    lines[2] = lines[2].split("\t")[0] + "\t" + word
    (output / table).write_text("\n".join(lines))
    verdict = compare(bundle, output)
    assert verdict["lowest_failing_rung"] == ("loss" if table == "loss.tsv" else "loss curve")


def test_fortrans_exponents_are_read(bundle, output):
    text = (output / "loss.tsv").read_text().replace("e-", "D-").replace("e+", "d+")
    (output / "loss.tsv").write_text(text)
    assert compare(bundle, output)["verdict"] == "passed"


def test_what_did_not_run_is_not_passed(bundle, tmp_path):
    record = {"status": "not run", "exit_status": 3, "message": "no GPU here"}
    (tmp_path / "result.json").write_text(json.dumps(record))
    verdict = compare(bundle, tmp_path)
    assert verdict["verdict"] == "not run"
    assert verdict["diagnosis"] == ["no GPU here"]
    assert "NOT RUN" in verdict_text(verdict)
    suite = ElementTree.fromstring(junit_xml(verdict).encode())
    assert suite.get("skipped") == "1"
    write_verdict(verdict, *(tmp_path / name for name in ("v.json", "v.txt", "v.xml")))


def test_a_crash_fails_even_with_right_numbers(bundle, output):
    record = json.loads((output / "result.json").read_text())
    record |= {"status": "failed", "exit_status": 139, "message": "Segmentation fault"}
    (output / "result.json").write_text(json.dumps(record))
    verdict = compare(bundle, output)
    assert verdict["verdict"] == "failed"
    assert verdict["lowest_failing_rung"] == "bundle"
    assert "exit status 139: Segmentation fault" in verdict["diagnosis"][0]


def test_a_record_with_nan_gives_a_verdict_that_is_json(bundle, output):
    text = (output / "result.json").read_text().replace("{", '{"training_loss": NaN,', 1)
    (output / "result.json").write_text(text)
    verdict = compare(bundle, output)
    assert verdict["verdict"] == "passed"
    json.dumps(verdict, allow_nan=False)


def test_an_empty_folder_fails_at_the_lowest_rung(bundle, tmp_path):
    verdict = compare(bundle, tmp_path)
    assert verdict["lowest_failing_rung"] == "bundle"
    assert verdict["rows_failed"] == len(verdict["rows"])


def test_float64_results_are_judged_by_the_oracle_to_many_digits(bundle, honest, tmp_path):
    program = load_implementation("numpy_cnn")
    program.run(honest / "bundle", tmp_path, np.float64)
    verdict = compare(bundle, tmp_path)
    assert verdict["precision"] == "float64"  # as result.json declares
    assert verdict["verdict"] == "passed"
    assert verdict["worst_percent"] < 10
    values = np.fromfile(tmp_path / "structured_output.bin", "<f8")
    values[100] += 1e-8
    values.tofile(tmp_path / "structured_output.bin")
    assert compare(bundle, tmp_path)["verdict"] == "failed"


def test_float32_results_do_not_pass_as_float64(bundle, output):
    assert compare(bundle, output, precision="float64")["verdict"] == "failed"


@pytest.mark.parametrize("declared", ["float8", ["float32"], {"a": 1}])
def test_an_unknown_precision_class_fails_and_is_no_error(bundle, output, declared):
    record = json.loads((output / "result.json").read_text()) | {"precision": declared}
    (output / "result.json").write_text(json.dumps(record))
    verdict = compare(bundle, output)
    assert verdict["lowest_failing_rung"] == "bundle"
    assert "unknown precision class: expected float32 | tf32" in verdict["diagnosis"][0]
    with pytest.raises(InputError, match="unknown precision class"):
        compare(bundle, output, precision="float8")


def test_the_configured_class_counts_not_the_declared_one(bundle, output):
    record = json.loads((output / "result.json").read_text()) | {"precision": "bfloat16"}
    (output / "result.json").write_text(json.dumps(record))
    assert compare(bundle, output)["precision"] == "bfloat16"
    assert compare(bundle, output, precision="float32")["precision"] == "float32"


@pytest.mark.parametrize(
    ("store", "words"),
    [
        (lambda a: a.astype(">f4").tobytes(), "big-endian"),
        (lambda a: a.transpose(3, 2, 1, 0).tobytes(), "reverse order"),
        (lambda a: a.transpose(0, 1, 3, 2).tobytes(), "height and width"),
    ],
)
def test_right_values_that_are_stored_otherwise_are_recognised(store, words):
    right = np.random.default_rng(0).standard_normal((2, 3, 5, 7)).astype(np.float32)
    found = np.frombuffer(store(right), "<f4").reshape(right.shape)
    assert words in storage(found, right.astype(np.float64))
    assert storage(right, right.astype(np.float64) + 1) is None
