"""The command `clearice` by itself: its subcommands, what they import, and an installed copy."""

import os
import shutil
import subprocess
import sys

import pytest

from clearice.command.main import COMMANDS
from conftest import REPOSITORY
from denoise_files import write_model
from mrc_files import noise_image, write_mrc


def clearice(*arguments, code=None, **options):
    """Run `python -m clearice ARGUMENTS`, or a program with `main` and those arguments."""
    words = ["-m", "clearice"] if code is None else ["-c", code]
    command = [sys.executable, *words, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **options)


def test_help_names_every_command_and_every_command_has_help():
    text = clearice("--help").stdout
    for name, about in COMMANDS.items():
        assert f"{name:<9}{about}" in text
        process = clearice(name, "--help")
        assert process.returncode == 0, process.stderr
        assert process.stdout.startswith(f"usage: clearice {name} ")


def test_an_unknown_command_names_those_that_exist():
    process = clearice("denois")
    assert process.returncode == 2
    assert "choose from " in process.stderr
    assert "Traceback" not in process.stderr


def test_a_users_mistake_is_one_line_and_exit_status_1(tmp_path):
    process = clearice("plan", "--directory", tmp_path)
    assert process.returncode == 1
    assert process.stderr.startswith(f"error: {tmp_path}/config.yaml: cannot be read")
    assert process.stderr.count("\n") == 1


LIGHT = """
import sys
from clearice.command.main import main
try:
    main()
finally:
    print("imported:", *sorted({name.split(".")[0] for name in sys.modules}))
"""


@pytest.mark.parametrize("name", ["--version", *COMMANDS])
def test_no_command_imports_torch_to_show_its_help(name):
    words = [name] if name.startswith("-") else [name, "--help"]
    process = clearice(*words, code=LIGHT)
    imported = process.stdout.rsplit("imported:")[-1].split()
    assert "clearice" in imported, process.stderr
    assert not {"torch", "pandas", "snakemake", "matplotlib"} & set(imported)


@pytest.mark.slow
def test_an_installed_copy_works_without_the_checkout(tmp_path):
    """pip install . (not --editable): the schemas lie in the package, the scripts do not."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    checkout = tmp_path / "checkout"
    leftovers = shutil.ignore_patterns("*.egg-info", "__pycache__")
    shutil.copytree(
        REPOSITORY / "workflow/scripts", checkout / "workflow/scripts", ignore=leftovers
    )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, checkout)
    process = subprocess.run(
        [*pip, "--target", tmp_path / "installed", checkout], capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("simulation: {count: 5}")
    write_mrc(run / "a.mrc", noise_image(64, 64))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}
    options = {"cwd": run, "env": environment}
    where = clearice(code="import clearice; print(clearice.__file__)", **options)
    assert where.stdout.startswith(str(tmp_path / "installed"))
    assert "5 accepted" in clearice("plan", **options).stdout
    words = ["--target", "lowpass", "--patch-size-px", "32", "--output", "a"]
    assert clearice("shard", "a.mrc", *words, **options).returncode == 0
    assert (run / "a.json").exists()
    write_model(run / "m.safetensors")
    words = ["--model", "m.safetensors", "--output", "out", "--device", "cpu"]
    process = clearice("denoise", "a.mrc", *words, **options)
    assert process.returncode == 0, process.stderr
    assert sorted(path.name for path in (run / "out").iterdir()) == ["a.json", "a.mrc"]
