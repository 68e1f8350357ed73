"""What a member of a failed group had finished is taken by its next job, if it is the same."""

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from clearice.bridge import run_job
from clearice.inspection import is_made_otherwise
from clearice.kept_results import FOLDER, IN_A_GROUP, forget_kept
from clearice.seals import read_seal

CONTENT = "patches"


class Member:
    """One job of a group: it writes two files, and counts how often it did."""

    def __init__(self, folder):
        self.folder, self.runs, self.params = folder, 0, {"settings": {"size_px": 64}}
        self.source = folder / "a.mrc"
        self.source.write_text("a micrograph")
        self.outputs = [folder / "results" / "shards" / f"a.{end}" for end in ("bin", "json")]
        self.outputs[0].parent.mkdir(parents=True)

    def run(self):
        def cut(data, record, **_):
            self.runs += 1
            print("rejected: too dark")
            for path in (data, record):
                Path(path).write_text(CONTENT)

        log = self.folder / "results" / "shards" / "a.log"
        job = {"data": str(self.outputs[0]), "record": str(self.outputs[1])}
        run_job(
            cut,
            SimpleNamespace(
                rule="cut",
                input=Names(micrograph=str(self.source)),
                output=Names(**job),
                params=self.params,
                log=[str(log)],
            ),
        )
        return log.read_text()

    def fail_its_group(self):
        """Remove the results, as Snakemake does."""
        for path in self.outputs:
            path.unlink()


class Names(list):
    """Files with names, as Snakemake hands them over."""

    def __init__(self, **files):
        super().__init__(files.values())
        self.items = files.items


@pytest.fixture
def member(tmp_path, monkeypatch):
    monkeypatch.setenv(IN_A_GROUP, "1")
    return Member(tmp_path)


def test_what_is_finished_is_not_done_again(member):
    first = member.run()
    seals = [read_seal(path) for path in member.outputs]
    for _ in range(2):
        member.fail_its_group()
        again = member.run()
    assert member.runs == 1
    assert [path.read_text() for path in member.outputs] == [CONTENT, CONTENT]
    assert [read_seal(path) for path in member.outputs] == seals
    assert not is_made_otherwise(member.outputs, member.params.items(), [str(member.source)])
    assert again.startswith(first)
    assert again.endswith("kept from an earlier job, whose group failed\n")


def test_a_job_that_is_alone_keeps_nothing(member, monkeypatch):
    monkeypatch.delenv(IN_A_GROUP)
    member.run()
    assert not (member.outputs[0].parent / FOLDER).exists()


def changed_settings(member):
    member.params = {"settings": {"size_px": 128}}


def changed_source(member):
    member.source.write_text("another micrograph")


def touched_source(member):
    os.utime(member.source, ns=(1, 1))


def damaged(member):
    (kept,) = member.outputs[0].parent.glob(f"{FOLDER}/a.bin")
    kept.write_text(CONTENT.upper())


def truncated_entry(member):
    (entry,) = member.outputs[0].parent.glob(f"{FOLDER}/*.kept.json")
    entry.write_text(entry.read_text()[:-9])


def lost(member):
    (kept,) = member.outputs[0].parent.glob(f"{FOLDER}/a.json")
    kept.unlink()


@pytest.mark.parametrize(
    "change", [changed_settings, changed_source, touched_source, damaged, truncated_entry, lost]
)
def test_what_was_made_of_anything_else_or_is_damaged_is_done_again(member, change):
    member.run()
    member.fail_its_group()
    change(member)
    member.run()
    assert member.runs == 2
    assert [path.read_text() for path in member.outputs] == [CONTENT, CONTENT]


def test_a_file_system_without_hard_links_only_costs_the_work(member, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    assert "not kept" in member.run()
    member.fail_its_group()
    member.run()
    assert member.runs == 2


@pytest.mark.parametrize(
    ("keys", "removed", "left"),
    [
        ({"a"}, False, []),  # all went well
        ({"a"}, True, ["a.bin", "a.bin.kept.json", "a.json"]),  # another target was asked for
        ({"b"}, True, []),  # the micrograph is gone
    ],
)
def test_names_that_nothing_needs_are_removed(member, keys, removed, left):
    member.run()
    if removed:
        member.fail_its_group()
    forget_kept(member.folder / "results", keys)
    folder = member.outputs[0].parent / FOLDER
    assert sorted(path.name for path in folder.glob("*")) == left
    assert folder.exists() == bool(left)
