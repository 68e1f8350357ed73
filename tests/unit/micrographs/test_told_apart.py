"""Keys of micrographs that a file system without case would take for one."""

import pytest

from clearice.errors import InputError
from clearice.micrographs.finding import distinct


def test_where_case_counts_names_may_differ_in_it(tmp_path):
    distinct.require_told_apart(["Mic_1", "mic_1"], tmp_path)
    assert list(tmp_path.iterdir()) == []  # what was tried is gone


def test_where_it_does_not_they_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(distinct, "_ignores_case", lambda folder: True)
    with pytest.raises(InputError, match=r"upper case from lower.*Mic_1 and mic_1.*rename"):
        distinct.require_told_apart(["a", "mic_1", "Mic_1"], tmp_path)
    distinct.require_told_apart(["a", "b"], tmp_path)
