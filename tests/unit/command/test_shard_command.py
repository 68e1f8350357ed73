"""clearice shard: mistakes are one line, and every option is in the help."""

import subprocess
import sys

from conftest import REPOSITORY
from mrc_files import noise_image, write_mrc


def run_command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "clearice", "shard", *map(str, arguments)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )


def test_by_hand_mistakes_are_one_line_and_an_exit_status(tmp_path):
    first, second = (
        write_mrc(tmp_path / f"{name}.mrc", noise_image(70, 90, seed=seed))
        for seed, name in enumerate("ab")
    )
    for arguments, message in [
        ([tmp_path / "absent.mrc", "--target", "lowpass"], "no such file"),
        ([first, "--target", "lowpass"], "smaller than a patch: expected at least 1024 x 1024 px"),
    ]:
        process = run_command(*arguments, "--output", tmp_path / "x")
        assert process.returncode == 1
        assert process.stderr.startswith("error: ")
        assert message in process.stderr
        assert process.stderr.count("\n") == 1
    for arguments, message in [
        ([first], "--target halves needs --target-half FILE"),
        ([first, "--target-half", second, "--target", "lowpass"], "no other target takes one"),
        ([first, "--stride-px", "0"], "--stride-px must be above 0"),
        ([first, "--synthetic-noise-std", "inf"], "--synthetic-noise-std must be above 0, and fin"),
        ([first, "--hot-pixel-threshold", "-1"], "--hot-pixel-threshold: must be 3 or more"),
        ([first, "--target-half", second, "--output", tmp_path], "is a folder"),
    ]:
        process = run_command("--output", tmp_path / "x", *arguments)
        assert process.returncode == 2
        assert message in process.stderr.splitlines()[-1]
    options = ["--target", "lowpass", "--patch-size-px", "16"]
    process = run_command(first, *options, "--output", first / "x")
    assert process.returncode == 1
    assert process.stderr == f"error: {first}/x.json: Not a directory\n"


def test_help_names_every_option():
    text = run_command("--help").stdout
    for option in ("--target-half", "--patch-size-px", "--stride-px", "--dtype", "--on-error"):
        assert option in text
