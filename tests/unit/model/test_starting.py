"""A training starts without what it does not need: the compiler of PyTorch, sympy, pandas."""

import subprocess
import sys

import pytest

from training_data import SCRIPTS, write_dataset

TRAIN = """
import sys
import torch
import train_denoiser
train_denoiser.main(sys.argv[1:])
assert torch.are_deterministic_algorithms_enabled() is ("--set=deterministic=true" in sys.argv)
assert not torch.is_deterministic_algorithms_warn_only_enabled()
print(*sorted(sys.modules))
"""
HEAVY = ("torch._dynamo", "torch._inductor", "sympy", "pandas", "matplotlib", "scipy")


@pytest.mark.parametrize("deterministic", ["true", "false"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_training_imports_no_compiler(tmp_path, optimizer, deterministic):
    manifest = write_dataset(tmp_path / "dataset")
    words = ["device=cpu", "epochs=1", f"optimizer={optimizer}", f"deterministic={deterministic}"]
    process = subprocess.run(
        [sys.executable, "-c", TRAIN, manifest, tmp_path, *(f"--set={word}" for word in words)],
        cwd=SCRIPTS,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    modules = process.stdout.splitlines()[-1].split()
    assert [name for name in modules if name.startswith(HEAVY)] == []
    assert "torch.optim" in modules


DETERMINISTIC = """
import torch
from clearice.model.device import set_precision
def fails():
    try:
        torch.kthvalue(torch.zeros(4), 2)  # deterministic
        torch.zeros(4).put_(torch.tensor([0, 0]), torch.ones(2), accumulate=False)
    except RuntimeError as error:
        return "deterministic" in str(error)
    return False
import sys
if sys.argv[1] == "compiler":
    import torch._inductor.config as compiler
for on in (True, False, True):
    set_precision("float32", deterministic=on)
    assert torch.are_deterministic_algorithms_enabled() is on
    assert fails() is on
    if sys.argv[1] == "compiler":
        assert compiler.deterministic is on
"""


@pytest.mark.parametrize("compiler", ["compiler", "none"])
def test_what_does_not_repeat_fails_where_repeats_are_asked_for(compiler):
    process = subprocess.run(
        [sys.executable, "-c", DETERMINISTIC, compiler], cwd=SCRIPTS, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
