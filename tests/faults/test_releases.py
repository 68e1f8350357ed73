"""A later release of an entry adds, changes and removes files: what a run folder makes of it."""

import dataclasses
import datetime

import pytest

from clearice.micrographs.empiar.kept_listing import kept_path, read_kept, revisions
from clearice.micrographs.empiar.listing import list_entry
from faults.archive_server import running_archive
from faults.downloads import CALM, entry_settings
from faults.releases import DAY, FOLDER, LATER, first_release, release_contents
from fetch_micrograph import fetch_micrograph

CALM = dataclasses.replace(CALM, attempts=2)


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    return release_contents(tmp_path_factory.mktemp("contents"))


@pytest.fixture
def archive(contents, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with first_release(contents) as archive:
        yield archive


class Folder:
    """A run folder: `look` lists the entry and downloads what is missing, as a run does."""

    def __init__(self, path, archive):
        self.path, self.archive = path, archive
        self.settings = entry_settings(archive.url)
        self.said = []

    def list(self, **changes):
        self.settings |= changes
        self.said = []
        return list_entry(self.settings, self.path, CALM, say=self.said.append)

    def look(self, **changes):
        """Return the names, and the requests for each path that the listing cost."""
        since = len(self.archive.requests)
        names = self.list(**changes)
        asked = {path: n for path, (n, _) in self.archive.traffic(since).items()}
        for name in names:
            fetch(self, name)
        return names, asked

    def file(self, name):
        return self.path / "results" / "micrographs" / name

    def revision(self, name):
        return revisions(self.path, "10025")[name]


def fetch(run, name):
    record = run.file(name).with_suffix(".download.json")
    where = {"file": f"10025/d/{name}", "base_url": run.settings["base_url"]}
    fetch_micrograph(run.file(name), record, revision=run.revision(name), connections=2, **where)


@pytest.fixture
def run(tmp_path, archive):
    folder = Folder(tmp_path, archive)
    names, asked = folder.look()
    assert names == ["a.mrc", "b.mrc", "c.mrc"]
    assert asked == {FOLDER: 1}
    assert folder.said == []
    return folder


def page(name):
    return f"{FOLDER}{name}"


def test_what_is_as_it_was_costs_one_listing(run):
    assert run.look() == (["a.mrc", "b.mrc", "c.mrc"], {FOLDER: 1})
    assert run.said == []
    assert run.look(list_again=False)[1] == {}


def test_new_files_and_a_changed_one_are_told_from_the_others(run, archive, contents):
    for name in "de":
        archive.publish(page(f"{name}.mrc"), contents[name], LATER)
    archive.publish(page("b.mrc"), contents["f"], LATER)
    names, asked = run.look()
    assert names == ["a.mrc", "b.mrc", "c.mrc", "d.mrc", "e.mrc"]
    assert asked == {FOLDER: 1, page("b.mrc"): 1}
    (line,) = run.said
    assert "2 new (d.mrc, e.mrc), 1 changed (b.mrc)" in line
    assert run.file("b.mrc").read_bytes() == contents["f"]
    assert [run.revision(name) for name in names] == [1, 2, 1, 1, 1]
    assert run.look()[1] == {FOLDER: 1}
    assert run.said == []


def test_a_change_that_no_header_shows_is_one(run, archive, contents):
    other = contents["b"][:1024] + contents["f"][1024:]
    archive.publish(page("b.mrc"), other, LATER)
    run.look()
    assert run.file("b.mrc").read_bytes() == other


def test_another_time_on_the_page_alone_is_no_change(run, archive, contents):
    archive.publish(page("b.mrc"), contents["b"], LATER)
    archive.headers = lambda request: {"Last-Modified": "Fri, 17 May 2024 10:30:00 GMT"}
    assert run.look()[1] == {FOLDER: 1, page("b.mrc"): 1}
    assert run.revision("b.mrc") == 1
    assert run.look()[1] == {FOLDER: 1}  # and is not asked for again


def test_a_file_that_is_gone_leaves_the_set_and_stays_on_disk(run, archive, contents):
    archive.withdraw(page("c.mrc"))
    assert run.look() == (["a.mrc", "b.mrc"], {FOLDER: 1, page("c.mrc"): 1})
    assert "1 gone (c.mrc)" in run.said[0]
    assert run.file("c.mrc").read_bytes() == contents["c"]
    archive.publish(page("c.mrc"), contents["c"], DAY)  # back again
    assert run.look()[0] == ["a.mrc", "b.mrc", "c.mrc"]
    assert run.revision("c.mrc") == 1


def test_a_page_that_leaves_a_file_out_takes_nothing_away(run, archive):
    archive.list_folder(FOLDER, without=["b.mrc"])
    assert run.look() == (["a.mrc", "b.mrc", "c.mrc"], {FOLDER: 1, page("b.mrc"): 1})
    assert run.said == []


@pytest.mark.parametrize("status", ["503", "page"])
def test_a_server_that_does_not_say_takes_nothing_away(run, archive, status):
    archive.list_folder(FOLDER, without=["b.mrc"])
    archive.misbehave = lambda request: status if request["path"] == page("b.mrc") else None
    assert run.list() == ["a.mrc", "b.mrc", "c.mrc"]
    assert "b.mrc: the archive lists it otherwise than before, but gave up" in run.said[0]
    archive.misbehave = lambda request: None
    archive.list_folder(FOLDER)
    assert run.look()[1] == {FOLDER: 1}


def test_a_damaged_release_does_not_replace_a_good_file(run, archive, contents):
    archive.publish(page("b.mrc"), contents["f"][:-4], LATER)
    assert run.list() == ["a.mrc", "b.mrc", "c.mrc"]
    assert run.revision("b.mrc") == 1
    assert "b.mrc: the archive lists it otherwise than before, but truncated" in run.said[0]
    assert run.file("b.mrc").read_bytes() == contents["b"]
    archive.publish(page("b.mrc"), contents["f"], LATER)
    run.look()
    assert run.file("b.mrc").read_bytes() == contents["f"]


def test_a_listing_that_does_not_come_leaves_the_kept_one(run, archive):
    archive.misbehave = lambda request: "503"
    assert run.list() == ["a.mrc", "b.mrc", "c.mrc"]
    assert "not asked for new files (gave up after 2 failed attempts" in run.said[0]
    assert "its list of 20" in run.said[0]


def test_a_limit_keeps_what_it_took_before(run, archive, contents):
    assert run.list(limit=2) == ["a.mrc", "b.mrc"]
    archive.publish(page("0.mrc"), contents["d"], LATER)
    assert run.list() == ["a.mrc", "b.mrc"]
    assert "1 new not used (empiar.limit)" in run.said[0]
    assert run.list(limit=4) == ["0.mrc", "a.mrc", "b.mrc", "c.mrc"]


def test_new_names_that_do_not_fit_the_pattern_are_nothing_new(run, archive, contents):
    archive.publish(page("gain.tif"), b"x", LATER)
    run.list(pattern="*.mrc")
    assert run.said == []


def test_a_list_that_was_lost_is_made_again_from_the_records(run, archive, contents):
    archive.publish(page("b.mrc"), contents["f"], LATER)
    run.look()
    kept_path(run.path, "10025").unlink()
    names, asked = run.look()
    assert asked == {FOLDER: 1, **{page(name): 1 for name in names}}
    assert [run.revision(name) for name in names] == [1, 2, 1]


def test_another_mirror_is_no_release(run, archive, contents):
    with running_archive() as mirror:
        for name in "abcd":
            mirror.publish(page(f"{name}.mrc"), contents[name], LATER)
        run.archive = mirror
        names, asked = run.look(base_url=mirror.url, list_again=False)
        assert names == ["a.mrc", "b.mrc", "c.mrc", "d.mrc"]
        assert asked == {FOLDER: 1}
        assert [run.revision(name) for name in names] == [1] * 4
        fetched = {path for path, (_, sent) in mirror.traffic().items() if sent > 1 << 16}
        assert fetched == {page("d.mrc")}
        mirror.publish(page("a.mrc"), contents["e"], LATER + datetime.timedelta(days=1))
        run.look()
        assert run.file("a.mrc").read_bytes() == contents["e"]


def test_a_file_without_a_record_is_kept_unless_the_archive_has_a_later_one(run, archive, contents):
    for name in "ab":
        run.file(f"{name}.mrc").with_suffix(".download.json").unlink()
    other = contents["b"][:1024] + contents["f"][1024:]
    future = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    archive.publish(page("b.mrc"), other, future)
    since = len(archive.requests)
    for name in ("a.mrc", "b.mrc"):
        fetch(run, name)
    assert run.file("b.mrc").read_bytes() == other
    assert archive.traffic(since)[page("a.mrc")] == (1, 1024)


def test_the_page_of_apache_gives_times_and_sizes(run):
    kept = read_kept(kept_path(run.path, "10025"))
    assert {(f.modified, f.size) for f in kept.files.values()} == {("2024-05-17 10:30", "329K")}
