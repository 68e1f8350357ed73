"""A Python that Snakemake cannot start by its path is refused before any job."""

import sys

import pytest

from clearice.errors import InputError
from clearice.interpreter import require_plain_python


@pytest.mark.parametrize("folder", ["/my tools", "/a(b)", "/it's", "/x&y", "/$HOME", "/tab\there"])
def test_a_path_that_a_shell_would_split_is_refused_in_one_line(monkeypatch, folder):
    monkeypatch.setattr(sys, "executable", f"{folder}/clearice/.venv/bin/python")
    with pytest.raises(InputError, match=r"the path of clearice holds .*; move clearice"):
        require_plain_python()


@pytest.mark.parametrize("folder", ["/usr", "/home/j\u00e9/a-b_c+d=e,f@g%h:i~j#k"])
def test_other_paths_are_fine(monkeypatch, folder):
    monkeypatch.setattr(sys, "executable", f"{folder}/bin/python")
    require_plain_python()
