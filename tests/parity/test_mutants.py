"""Every wrong implementation is rejected, every honest one accepted, as docs/parity.md says."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
TABLE = HERE.parent.parent / "docs" / "parity.md"


@pytest.fixture(scope="module")
def kill_matrix():
    """The result of kill_matrix.py, in a separate process with one BLAS thread: it is faster."""
    process = subprocess.run(
        [sys.executable, HERE / "kill_matrix.py", "--json"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
    )
    assert process.returncode in (0, 1), process.stderr
    return json.loads(process.stdout)


def test_every_mutant_is_rejected(kill_matrix):
    mutants = kill_matrix["mutants"]
    assert len(mutants) >= 20
    assert [name for name, verdict in mutants.items() if verdict != "failed"] == []


def test_every_honest_variant_is_accepted(kill_matrix):
    honest = kill_matrix["honest"]
    assert len(honest) >= 4
    assert [name for name, verdict in honest.items() if verdict != "passed"] == []


def test_lower_precisions_pass_as_what_they_declare(kill_matrix):
    declared = kill_matrix["declared"]
    assert declared["TF32"] == declared["float16"] == ["tf32", "float16", "bfloat16"]
    assert declared["bfloat16"] == ["bfloat16"]


def test_only_small_errors_pass_in_a_lower_class(kill_matrix):
    """A mistake in the network, the loss or the gradients is rejected in every class."""
    small = ("TF32", "bfloat16", "float16", "one element off", "learning rate", "weight decay")
    large = [name for name in kill_matrix["declared"] if not name.startswith((*small, "momentum"))]
    assert large == []


def test_the_documented_kill_matrix_is_what_the_checker_does(kill_matrix):
    text = TABLE.read_text(encoding="utf-8")
    for title, key in (("kill matrix", "table"), ("lower classes", "classes_table")):
        inside = text.split(f"<!-- {title}: begin -->")[1].split(f"<!-- {title}: end -->")[0]
        assert inside.strip().splitlines() == kill_matrix[key].splitlines()
