"""Whatever an implementation writes, the checker gives a verdict and does not crash."""

import json
import os
import shutil
from xml.etree import ElementTree

import numpy as np
import pytest

from clearice.command import compare as compare_command
from clearice.parity.comparison import compare
from clearice.parity.verdict import verdict_text, write_verdict
from clearice.reference.bundle import Bundle
from parity_bundle import load_implementation, write_small_bundle

DEEP = 100_000


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """A folder with a bundle and the results of the NumPy implementation in both precisions."""
    folder = tmp_path_factory.mktemp("hostile")
    write_small_bundle(folder / "bundle")
    program = load_implementation("numpy_cnn")
    program.run(folder / "bundle", folder / "float32", np.float32)
    program.run(folder / "bundle", folder / "float64", np.float64)
    return folder


@pytest.fixture
def output(honest, tmp_path):
    return shutil.copytree(honest / "float32", tmp_path / "output")


@pytest.fixture
def doubles(honest, tmp_path):
    return shutil.copytree(honest / "float64", tmp_path / "doubles")


def judge(honest, output, tmp_path):
    """Return the verdict after writing it in all three forms and reading it back."""
    verdict = compare(Bundle(honest / "bundle"), output)
    paths = [tmp_path / name for name in ("verdict.json", "verdict.txt", "junit.xml")]
    write_verdict(verdict, *paths)
    assert json.loads(paths[0].read_text()) == verdict
    suite = ElementTree.parse(paths[2]).getroot()
    assert int(suite.get("failures")) == verdict.get("rows_failed", 0)
    return verdict


def set_line(path, number, value):
    lines = path.read_text().splitlines()
    lines[number] = lines[number].split("\t")[0] + "\t" + value
    path.write_text("\n".join(lines))


def set_record(output, text):
    """Add members, as JSON text, to result.json."""
    path = output / "result.json"
    path.write_text(path.read_text().replace("{", "{" + text + ",", 1))


def test_big_endian_doubles_are_recognised(honest, doubles, tmp_path):
    for path in doubles.glob("*.bin"):
        np.fromfile(path, "<f8").astype(">f8").tofile(path)
    verdict = judge(honest, doubles, tmp_path)
    assert verdict["verdict"] == "failed"
    assert "big-endian" in verdict["diagnosis"][0]


@pytest.mark.parametrize("value", [1e300, -1.7e308, 1e160])
@pytest.mark.parametrize("name", ["impulse_conv1", "test_output", "structured_grad_conv2_weight",
                                  "training_conv1_bias", "repeat_conv2"])  # fmt: skip
def test_a_huge_element_fails_by_name(honest, doubles, tmp_path, name, value):
    values = np.fromfile(doubles / f"{name}.bin", "<f8")
    values[3] = value
    values.tofile(doubles / f"{name}.bin")
    verdict = judge(honest, doubles, tmp_path)
    assert [row["name"] for row in verdict["rows"] if not row["passed"]] == [name]
    assert name.split("_", 1)[1] in verdict["diagnosis"][0] or "test_output" in name


def test_huge_elements_everywhere_are_judged(honest, doubles, tmp_path):
    random = np.random.default_rng(0)
    for path in doubles.glob("*.bin"):
        (1.7e308 * random.uniform(-1, 1, path.stat().st_size // 8)).tofile(path)
    assert judge(honest, doubles, tmp_path)["verdict"] == "failed"


@pytest.mark.parametrize("value", ["1e305", "-1.7e308", "1e400"])
@pytest.mark.parametrize("table", ["loss.tsv", "training_loss.tsv"])
def test_a_huge_loss_fails_and_is_judged(honest, output, tmp_path, table, value):
    set_line(output / table, 2, value)
    verdict = judge(honest, output, tmp_path)
    assert verdict["lowest_failing_rung"] == ("loss" if table == "loss.tsv" else "loss curve")


@pytest.mark.parametrize("table", ["loss.tsv", "training_loss.tsv"])
def test_rows_that_contradict_one_another_fail(honest, output, tmp_path, table):
    first = (output / table).read_text().splitlines()[1]
    with open(output / table, "a") as file:
        file.write(first + "\n")  # an identical row is harmless
    assert judge(honest, output, tmp_path)["verdict"] == "passed"
    with open(output / table, "a") as file:
        file.write(first.split("\t")[0] + "\t0.5\n")
    verdict = judge(honest, output, tmp_path)
    assert verdict["verdict"] == "failed"
    assert f"contradicts another of {first.split()[0]!r}" in verdict["diagnosis"][0]


@pytest.mark.parametrize(
    "text",
    ['"x": 1e999', '"x": [-1e999, NaN]', f'"x": 1{"0" * 400}', '"x": "\\ud800"',
     '"\\udfff": {"y": "\\u001b[31m"}'],
)  # fmt: skip
def test_odd_members_of_the_record_change_nothing(honest, output, tmp_path, text):
    set_record(output, text)
    assert judge(honest, output, tmp_path)["verdict"] == "passed"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * DEEP, "nested too deeply"),
        ('{"x": ' + "[" * 500 + "]" * 500 + "}", "nested too deeply"),
        ("[]", "is not an object"),
        ('{"bundle_id": "\\ud800"}', "results of another bundle: ?"),
        ('{"bundle_id": ["a"]}', "results of another bundle"),
        ('{"bundle_id": 1' + "0" * 5000 + "}", "result.json"),
    ],
)
def test_a_record_that_cannot_be_used_fails_by_name(honest, output, tmp_path, text, words):
    (output / "result.json").write_text(text)
    verdict = judge(honest, output, tmp_path)
    assert verdict["lowest_failing_rung"] == "bundle"
    assert words in verdict["diagnosis"][0]


@pytest.mark.parametrize("message", ["7", "[1]", "null", '{"a": "\\u0000"}', '"a\\nb"'])
@pytest.mark.parametrize("status", ["not run", "failed"])
def test_a_message_of_any_kind_is_shown(honest, output, tmp_path, status, message):
    (output / "result.json").write_text(f'{{"status": "{status}", "message": {message}}}')
    verdict = judge(honest, output, tmp_path)
    assert verdict["verdict"] == {"not run": "not run", "failed": "failed"}[status]
    assert all(isinstance(line, str) and "\n" not in line for line in verdict["diagnosis"])


@pytest.mark.parametrize("status", ["not run", "failed"])
def test_no_escape_codes_reach_the_terminal_or_the_xml(honest, output, tmp_path, status):
    message = "\x1b[31mred\x00\x9b\ufffe\x1b[0m"
    record = {"status": status, "exit_status": 3, "message": message}
    (output / "result.json").write_text(json.dumps(record))
    verdict = judge(honest, output, tmp_path)
    text = verdict_text(verdict)
    assert "?[31mred???" in text
    assert "\x1b" not in text


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_that_may_not_be_read_fails_by_name(honest, output, tmp_path):
    (output / "repeat_output.bin").chmod(0)
    verdict = judge(honest, output, tmp_path)
    assert "repeat_output.bin cannot be read" in verdict["diagnosis"][0]


def test_a_folder_in_place_of_a_file_fails_by_name(honest, output, tmp_path):
    for name in ("result.json", "loss.tsv", "repeat_output.bin"):
        (output / name).unlink()
        (output / name).mkdir()
    verdict = judge(honest, output, tmp_path)
    assert "result.json cannot be read: Is a directory" in verdict["diagnosis"][0]


SECRET = "correct horse battery staple"


@pytest.mark.parametrize(
    "name", ["result.json", "loss.tsv", "training_loss.tsv", "test_output.bin"]
)
@pytest.mark.parametrize("kind", ["link", "hard link", "fifo", "device", "large", "loop"])
def test_what_is_no_file_of_its_own_fails_by_name(honest, output, tmp_path, name, kind):
    path, secret = output / name, tmp_path / "secret"
    secret.write_text(SECRET)
    path.unlink()
    make = {
        "link": lambda: path.symlink_to(secret),
        "hard link": lambda: path.hardlink_to(secret),
        "fifo": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/zero"),
        "large": lambda: (path.touch(), os.truncate(path, 1 << 40)),
        "loop": lambda: path.symlink_to(path.name),
    }
    make[kind]()
    verdict = judge(honest, output, tmp_path)
    assert verdict["verdict"] == "failed"
    assert name in verdict["diagnosis"][0]
    assert SECRET not in (tmp_path / "verdict.json").read_text()
    assert SECRET[:10] not in verdict_text(verdict)


def test_a_verdict_that_cannot_be_written_is_one_line_and_exit_status_2(
    honest, output, tmp_path, capsys
):
    (tmp_path / "file").write_text("")
    words = [str(honest / "bundle"), str(output), "--write", str(tmp_path / "file" / "folder")]
    assert compare_command.main(words) == 2
    said = capsys.readouterr()
    assert "PASSED" in said.out
    assert said.err.splitlines() == [
        f"error: cannot write into {tmp_path}/file/folder: Not a directory"
    ]
