"""The list of an EMPIAR entry's files, and the rule that fetches them, against a local archive."""

import json

import pytest

from clearice.command.plan import main
from clearice.errors import InputError
from clearice.micrographs.empiar.addresses import file_url
from clearice.micrographs.empiar.connection import Patience
from clearice.micrographs.empiar.listing import list_entry
from clearice.shards.record import read_shard_record
from conftest import planned_jobs, run_snakemake, write_config
from faults.archive_server import FILE, micrograph_bytes, running_archive
from faults.downloads import entry_settings

HURRY = Patience(stall_s=0.3, attempts=4, first_pause_s=0.01, longest_pause_s=0.02)
FOLDER = "/10025/data/averaged/"
NAMES = ["b.mrc", "a.mrc", "c d+1.mrc", "notes.txt", "frames/"]


def listing(names):
    links = "".join(f'<li><a href="{name.replace(" ", "%20")}">{name[:3]}..</a>' for name in names)
    foreign = (
        '<a href="?C=N;O=D">Name</a><a href="/10025/data/">Parent</a><a href="../up.mrc">up</a>'
        '<a href="/elsewhere/x.mrc">x</a><a href="http://other.example/10025/data/averaged/y.mrc">y'
        '</a><a href="a%2Fb.mrc">z</a><a href=".hidden.mrc">h</a><a name="n.mrc">n</a>'
    )
    return f"<html><body>{foreign}{links}</body></html>".encode()


@pytest.fixture
def archive(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with running_archive() as archive:
        archive.files[FOLDER] = listing(NAMES)
        yield archive


@pytest.fixture
def settings(archive):
    return entry_settings(archive.url, directory="data/averaged")


def unlisted(settings, directory):
    with pytest.raises(InputError) as caught:
        list_entry(settings, directory, HURRY)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_entry_is_listed_once_if_wanted(archive, settings, tmp_path):
    settings["list_again"] = False
    for _ in range(3):
        assert list_entry(settings, tmp_path, HURRY) == ["a.mrc", "b.mrc", "c d+1.mrc"]
    assert list_entry({**settings, "pattern": "[ab].mrc"}, tmp_path, HURRY) == ["a.mrc", "b.mrc"]
    assert list_entry({**settings, "limit": 1}, tmp_path, HURRY) == ["a.mrc"]
    assert len(archive.requests) == 1
    cache = tmp_path / "results" / "micrographs" / "empiar_10025.tsv"
    first, asked, columns, row = cache.read_text().splitlines()[:4]
    assert first == f"# {archive.url}{FOLDER}"
    assert asked.startswith("# listed 20")
    assert columns.split("\t") == ["name", "modified", "size", "revision", "release"]
    assert row.split("\t") == ["a.mrc", "", "", "1", "1"]


def test_an_entry_is_listed_again_by_each_run_and_by_no_job(archive, settings, tmp_path):
    for _ in range(3):
        list_entry(settings, tmp_path, HURRY)
    assert len(archive.requests) == 3
    list_entry(settings, tmp_path, HURRY, ask=False)
    assert len(archive.requests) == 3


def test_another_folder_is_listed_again(archive, settings, tmp_path):
    list_entry(settings, tmp_path, HURRY)
    archive.files["/10025/data/"] = listing(["z.mrc"])
    assert list_entry({**settings, "directory": "data"}, tmp_path, HURRY) == ["z.mrc"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pattern": "*.tif"}, "no file fits empiar.pattern"),
        ({"pattern": "*"}, "lets other files in"),
        ({"pattern": "frames*"}, "frames/"),
        ({"entry": "99999"}, "HTTP 404"),
    ],
)
def test_a_wrong_entry_or_pattern_is_one_line(settings, tmp_path, change, words):
    assert words in unlisted({**settings, **change}, tmp_path)


@pytest.mark.parametrize("fault", ["503", "hang up", "cut short"])
def test_a_bad_listing_is_requested_again_and_never_kept(archive, settings, tmp_path, fault):
    archive.misbehave = lambda request: fault
    assert "gave up after 4 failed attempts" in unlisted(settings, tmp_path)
    assert not (tmp_path / "results").exists()
    archive.misbehave = lambda request: fault if request["number"] == 4 else None
    assert len(list_entry(settings, tmp_path, HURRY)) == 3


def test_addresses_are_quoted_and_have_no_double_slash():
    assert file_url("http://x/y/", "10025//data/c d+1.mrc") == "http://x/y/10025/data/c%20d%2B1.mrc"


@pytest.fixture
def empiar_config(settings):
    return {
        "micrographs": {"source": "empiar"},
        "empiar": {**settings, "pattern": "a.mrc"},
        "patches": {"target": "synthetic_noise"},
    }


def test_the_rule_downloads_and_another_mirror_downloads_nothing_again(
    archive, empiar_config, tmp_path
):
    content = archive.files[FILE] = micrograph_bytes(tmp_path)
    write_config(tmp_path, empiar_config)
    micrograph = "results/micrographs/a.mrc"
    run_snakemake(tmp_path, "--cores", "2", micrograph)
    assert (tmp_path / micrograph).read_bytes() == content
    empiar_config["empiar"]["connections"] = 1
    write_config(tmp_path, empiar_config)
    assert planned_jobs(tmp_path, micrograph) == {}
    asked_before = len(archive.requests)
    run_snakemake(tmp_path, "--cores", "2", "--forcerun", "fetch_micrograph", "--", micrograph)
    # The listing and the header: the file is kept.
    assert [r["stop"] for r in archive.requests[asked_before:]] == [None, 1024]
    assert (tmp_path / micrograph).read_bytes() == content


def test_the_plan_asks_once_and_shows_the_entry(
    archive, empiar_config, tmp_path, monkeypatch, capsys
):
    described = {"title": "T20S", "imagesets": [{"directory": "data", "pixel_width": 0.66}]}
    archive.files["/api/EMPIAR-10025/"] = json.dumps({"EMPIAR-10025": described}).encode()
    empiar_config["empiar"]["api_url"] = f"{archive.url}/api"
    write_config(tmp_path, empiar_config)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="would stop"):  # one micrograph can't be split
        main([])
    printed = " ".join(capsys.readouterr().out.split())
    assert "entry EMPIAR-10025: T20S; in data images at 0.66 angstrom per pixel" in printed
    assert [r["path"] for r in archive.requests] == [FOLDER, "/api/EMPIAR-10025/"]
    (tmp_path / "results/micrographs/a.mrc").write_bytes(micrograph_bytes(tmp_path))
    with pytest.raises(InputError, match="would stop"):
        main([])
    printed = " ".join(capsys.readouterr().out.split())
    assert "says 0.66 angstrom per pixel, the headers 1.5: 1.5 is used" in printed
    assert [r["path"] for r in archive.requests[2:]] == [FOLDER]


def test_a_file_that_is_truncated_in_the_archive_is_a_rejected_shard(
    archive, empiar_config, tmp_path
):
    archive.files[FILE] = micrograph_bytes(tmp_path)[:-4]
    empiar_config["patches"] |= {"size_px": 64, "stride_px": 32}
    write_config(tmp_path, empiar_config)
    run_snakemake(tmp_path, "--cores", "2", "results/shards/a.json")
    record = read_shard_record(tmp_path / "results" / "shards" / "a.json")
    assert record["status"] == "rejected"
    assert "truncated: expected 337024 bytes" in record["reason"]


def test_offline_stops_before_any_job_with_one_line(archive, empiar_config, tmp_path):
    archive.server.server_close()
    write_config(tmp_path, empiar_config)
    process = run_snakemake(tmp_path, "--cores", "1", check=False)
    assert process.returncode == 1
    (line,) = [line for line in process.stdout.splitlines() if line.startswith("error: ")]
    assert f"{archive.url}{FOLDER}: gave up after 3 failed attempts" in line
    assert "Traceback" not in process.stdout
    assert not (tmp_path / "results").exists()
