"""What the archive says of an entry, whatever it sends."""

import json

import pytest

from clearice.micrographs.empiar.connection import Patience
from clearice.micrographs.empiar.description import (
    describe_entry,
    description_path,
    parse_description,
)
from clearice.micrographs.whole_set.collection import entry_warnings
from faults.archive_server import running_archive
from faults.downloads import entry_settings

HURRY = Patience(stall_s=0.5, attempts=1)
MOVIES = {
    "name": "T20S movies",
    "directory": "data/movies",
    "category": "micrographs - multiframe",
    "num_images_or_tilt_series": 196,
    "frames_per_image": 38,
    "voxel_type": "32 BIT FLOAT",
    "pixel_width": 0.6575,
    "pixel_height": 0.6575,
    "image_width": "7420",
    "image_height": "7676",
    "details": "Total dose of 53 e-/Å2 over 38 frames (1.4 e-/Å2 per frame).",
}
AVERAGES = MOVIES | {
    "directory": "/data/averages/",
    "category": "micrographs - single frame",
    "details": None,
}
ENTRY = {
    "title": "T20S proteasome",
    "status": "REL",
    "release_date": "2015-06-10",
    "update_date": "2017-04-05T00:00:00Z",
    "imagesets": [MOVIES, AVERAGES],
}


def parsed(directory="data/averages", **changes):
    reply = json.dumps({"EMPIAR-10025": ENTRY | changes}).encode()
    return parse_description(reply, "10025", directory)


def test_the_image_set_in_the_folder_counts():
    found = parsed()
    assert (found.category, found.doses) == ("micrographs - single frame", ())
    assert (found.images, found.width_px, found.height_px) == (196, 7420, 7676)
    assert found.in_words() == (
        "EMPIAR-10025: T20S proteasome; released 2015-06-10; updated 2017-04-05; "
        "in /data/averages/ 196 micrographs - single frame of 7420 x 7676 px "
        "at 0.6575 angstrom per pixel"
    )
    found = parsed("data/movies/part1")
    assert found.doses == ("53 e-/Å2", "1.4 e-/Å2 per frame")
    assert "; dose 53 e-/Å2, 1.4 e-/Å2 per frame" in found.in_words()


@pytest.mark.parametrize("directory", ["data/other", "data", "", "data/averages2"])
def test_no_image_set_is_guessed(directory):
    found = parsed(directory)
    assert found.images is None
    assert found.in_words().endswith("updated 2017-04-05")


@pytest.mark.parametrize(
    ("text", "doses"),
    [
        ("40 electrons per square angstrom", ("40 electrons per square angstrom",)),
        ("50.5e\u2212/\u212b\u00b2", ("50.5e\u2212/\u212b\u00b2",)),
        ("30 e- A^-2 in all", ("30 e- A^-2",)),
        ("8 e-/pixel/s at 300 kV, 20 A resolution, 2 ea 3", ()),
        ("1 e" * 5000, ()),
        ("9" * 9999, ()),
    ],
)
def test_a_dose_is_shown_as_it_was_written(text, doses):
    assert parsed("data/movies", imagesets=[MOVIES | {"details": text}]).doses == doses


ODD = [None, True, -1, 0, 1e400, float("nan"), "x" * 10**6, "\x1b[2J\u202e\ud800", [], {}, [[]]]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: repr(odd)[:20])
def test_values_of_another_kind_are_left_out(odd):
    for key in ENTRY:
        for found in (parsed(**{key: odd}), parsed(imagesets=[odd, {"directory": odd}, AVERAGES])):
            assert found.in_words().isprintable()
            assert len(found.in_words()) < 800
    for key in MOVIES:
        found = parsed(imagesets=[AVERAGES | {key: odd}])
        assert found.in_words().isprintable()
        assert len(found.in_words()) < 800
        assert found.pixel_size_angstrom in (None, 0.6575)


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"<html><body>later</body></html>",
        b"[" * 100_000,
        b'{"EMPIAR-10025": ' * 50_000,
        b"[]",
        b"{}",
        b"null",
        b'{"EMPIAR-10025": []}',
        b'{"EMPIAR-10026": {"title": "another"}}',
        b"\xff\xfe",
        b"9" * 10_000,
    ],
    ids=lambda reply: repr(reply[:20]),
)
def test_a_reply_that_describes_nothing_is_refused(reply):
    with pytest.raises(ValueError, match="reply"):
        parse_description(reply, "10025", "data")


@pytest.fixture
def archive(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with running_archive() as archive:
        archive.files["/api/EMPIAR-10025/"] = json.dumps({"EMPIAR-10025": ENTRY}).encode()
        yield archive


@pytest.fixture
def describe(archive, tmp_path):
    settings = entry_settings(archive.url, directory="data/averages", api_url=f"{archive.url}/api/")
    said = []

    def describe(ask=True, **changes):
        said.clear()
        return describe_entry(settings | changes, tmp_path, said.append, ask, HURRY), said

    return describe


def test_an_entry_is_asked_about_once(archive, describe, tmp_path):
    assert describe(ask=False) == (None, [])
    first, said = describe()
    assert first == parsed()
    assert said == []
    assert describe() == (first, [])
    assert describe(ask=False) == (first, [])
    assert [r["path"] for r in archive.requests] == ["/api/EMPIAR-10025/"]
    describe(directory="data/movies")
    description_path(tmp_path, "10025").write_text('{"description": {"entry": 1}}')
    describe()
    assert len(archive.requests) == 3
    assert describe(api_url=None) == (None, [])


@pytest.mark.parametrize("fault", ["503", "page", "hang up", "stall", "404", "huge"])
def test_an_archive_that_does_not_answer_is_one_line_a_day(archive, describe, fault):
    if fault == "huge":
        archive.files["/api/EMPIAR-10025/"] = b" " * (5 << 20)
    archive.misbehave = lambda request: fault
    found, said = describe()
    assert found is None
    assert len(said) == 1
    assert said[0].startswith("EMPIAR-10025: no description (http://127.0.0.1")
    assert said[0].isprintable()
    assert describe() == (None, [])
    assert len(archive.requests) == 1


@pytest.mark.parametrize(
    ("stated", "headers", "words"),
    [
        (0.6575, [0.6575, 0.66], None),
        (0.66, [0.6575, 0.6575], None),
        (
            0.6575,
            [1.315, 1.315, 0.6575],
            "says 0.6575 angstrom per pixel, the headers 1.315: 1.315",
        ),
        (1.5, [1.52, None], "1.5 angstrom per pixel, the headers 1.52"),
        (None, [1.0], None),
        (1.0, [None], None),
        (1.0, [], None),
    ],
)
def test_a_difference_to_the_headers_is_a_warning_with_both_numbers(stated, headers, words):
    warnings = entry_warnings("10025", stated, headers)
    assert len(warnings) == (words is not None)
    assert words is None or words in warnings[0]
