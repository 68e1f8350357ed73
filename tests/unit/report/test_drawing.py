"""The pages of single micrographs: what they say, and which of them are drawn again."""

import importlib
import json
import os
import re
import subprocess
import sys

import pytest

from clearice.child_process import FarMistake
from clearice.files import read_json, write_json
from clearice.report.drawing import pool
from clearice.report.drawing.kept import Pages, order_script
from clearice.report.drawing.reading import read_once
from clearice.report.drawing.views import spectrum_windows
from conftest import REPOSITORY
from drawn_run import HOSTILE, DrawnRun, text_of


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run whose micrographs are drawn, for tests that only read."""
    run = DrawnRun(
        tmp_path_factory.mktemp("finished"),
        ["a", "held out", HOSTILE, "striped", "lost"],
        tested=["held out"],
        rejected={"striped": "stripes all over", "lost": "no such file"},
    )
    for role in run.roles:
        run.image("lost", role).unlink()
    states = run.draw()
    return run, states


@pytest.fixture
def run(tmp_path):
    """Two micrographs that are drawn."""
    made = DrawnRun(tmp_path, ["a", "b"], tested=["b"])
    assert made.draw() == {"a": "drawn", "b": "drawn"}
    return made


def test_each_micrograph_that_can_be_read_has_a_page_and_a_record(finished):
    run, states = finished
    assert set(states.values()) == {"drawn"}
    assert set(states) == {"a", "held out", HOSTILE, "striped"}
    names = {path.name for path in run.folder.iterdir()}
    assert len(names) == 2 * 4 + 1
    record = run.kept("a")
    assert record["micrograph"] == "a"
    assert record["faults"] == []
    assert record["thumbnail_px"] == [48, 128]  # 96 x 128 px twice, side by side, halved
    assert (record["mean"], record["std"], record["hot_pixels"]) == (0.0, 1.0, 0)


def test_a_page_shows_every_image_in_two_fields(finished):
    run, _ = finished
    page = run.page("a").read_text()
    roles = re.findall(r'class="layer" data-role="(\w+)"', page)
    assert roles == 2 * ["raw", "denoised", "residual", "target", "truth"]
    assert page.count('src="data:image/jpeg;base64,') == 10
    assert "trained on this micrograph, so no quality is measured" in text_of(page)


def test_quality_is_compared_with_raw_and_the_best_linear_filter(finished):
    words = text_of(finished[0].page("held out").read_text())
    assert "correlation with the raw other half 0.100 0.600 Wiener 0.750 better" in words
    assert "above the noise floor, against the raw other half 9 1.5 Wiener 0.25 better" in words
    assert "+7.5 dB over the best linear filter" in words
    assert "null tests failed: seams" in words
    assert "Fourier ring correlation against the raw other half" in words
    assert "Fourier ring correlation against the truth" not in words  # no ring has power


def test_checks_stand_with_their_thresholds(finished):
    words = text_of(finished[0].page("a").read_text())
    assert "1 of 2 checks reached their thresholds: stripes" in words
    assert re.search(r"shared_noise .*? 0\.05 0\.1 50 below", words)


def test_a_hostile_name_is_text_and_not_markup(finished):
    run, _ = finished
    page = run.page(HOSTILE).read_text()
    assert "<b>" not in page
    assert "<h1>&lt;b&gt;&amp;&#34;&#39;.mrc</h1>" in page
    order = (run.folder / "order.js").read_text()
    assert "<" not in order


def test_a_rejected_micrograph_that_can_be_read_is_shown_and_says_why(finished):
    words = text_of(finished[0].page("striped").read_text())
    assert "Rejected: stripes all over" in words
    assert "nothing was trained on it" in words


def test_only_what_changed_is_drawn_again(run):
    before = run.page("a").stat().st_mtime_ns
    assert run.draw() == {"a": "kept", "b": "kept"}
    os.utime(run.image("b", "denoised"), ns=(1, 1))
    assert run.draw() == {"a": "kept", "b": "drawn"}
    run.write_table(b="another pixel size")
    assert run.draw() == {"a": "kept", "b": "drawn"}
    assert "another pixel size" in text_of(run.page("b").read_text())
    record = read_json(run.record("validation", "b"))
    write_json(run.record("validation", "b"), record | {"not_measured": []})
    assert run.draw() == {"a": "kept", "b": "drawn"}
    run.write_table()
    run.draw()
    run.add("c")
    assert run.draw() == {"a": "kept", "b": "kept", "c": "drawn"}
    assert run.page("a").stat().st_mtime_ns == before
    assert run.draw(drawn_with="other code") == dict.fromkeys("abc", "drawn")


def test_a_page_that_is_lost_or_torn_is_drawn_again(run):
    run.page("a").unlink()
    with open(run.page("b"), "r+b") as file:
        file.truncate(100)
    assert run.draw() == {"a": "drawn", "b": "drawn"}
    (run.folder / "a.json").write_text("{")
    assert run.draw() == {"a": "drawn", "b": "kept"}


def test_pages_of_removed_micrographs_and_leftovers_vanish(run):
    (run.folder / ".a.html.part").write_text("of a killed job")
    run.remove("b")
    assert run.draw() == {"a": "kept"}
    assert {path.name for path in run.folder.iterdir()} == {"a.html", "a.json", "order.js"}


def test_a_job_that_was_killed_goes_on_where_it_was(run, monkeypatch):
    run.add("c", "d")

    def dies(self, key, page, record, write=Pages.write):
        write(self, key, page, record)
        raise KeyboardInterrupt

    monkeypatch.setattr(Pages, "write", dies)
    with pytest.raises(KeyboardInterrupt):
        run.draw(processes=1)
    monkeypatch.undo()
    assert run.draw() == {"a": "kept", "b": "kept", "c": "kept", "d": "drawn"}


@pytest.mark.parametrize("damage", ["gone", "short", "not an image"])
def test_a_micrograph_that_is_gone_or_damaged_has_a_page_that_says_why(run, damage):
    path = run.image("a", "raw")
    content = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes(content[:2000] if damage == "short" else b"x" * 3000)
    assert run.draw() == {"a": "drawn", "b": "kept"}
    record, page = run.kept("a"), run.page("a").read_text()
    assert record["thumbnail"] is None
    assert path.name in record["faults"][0]
    assert "data:image" not in page
    assert f"No picture: {path}" in text_of(page)


def test_a_page_with_a_fault_is_tried_again(run):
    """A file system that was away for a moment changes nothing by which it could be noticed."""
    path = run.image("a", "target")
    content = path.read_bytes()
    path.write_bytes(b"x")
    for _ in range(2):
        assert run.draw() == {"a": "drawn", "b": "kept"}
    path.write_bytes(content)
    assert run.draw() == {"a": "drawn", "b": "kept"}
    assert run.draw() == {"a": "kept", "b": "kept"}


def test_a_damaged_other_half_leaves_the_other_pictures(run):
    run.image("a", "target").write_bytes(b"x")
    run.write_image("a", "truth", side_px=50)
    run.draw()
    page = run.page("a").read_text()
    assert re.findall(r'class="layer" data-role="(\w+)"', page) == 2 * [
        "raw",
        "denoised",
        "residual",
    ]
    assert len(run.kept("a")["faults"]) == 2
    assert "has another size than the micrograph" in text_of(page)


def test_raw_alone_is_shown_where_nothing_else_exists(tmp_path):
    run = DrawnRun(tmp_path, ["a"], tested=["a"], roles=["raw"])
    run.record("validation", "a").unlink()
    run.draw()
    page = run.page("a").read_text()
    assert 'class="stage single"' in page
    assert 'id="split"' not in page
    assert "held out, but not validated" in text_of(page)
    assert run.kept("a")["thumbnail_px"] == [48, 64]


def test_no_mistake_of_ours_is_hidden_and_no_process_is_left(run, monkeypatch):
    run.image("a", "raw").touch()
    record = read_json(run.record("denoised", "a"))
    del record["model"]
    write_json(run.record("denoised", "a"), record)
    with pytest.raises(FarMistake, match="KeyError: 'model'"):
        run.draw()


def test_the_order_is_a_script_without_markup():
    text = order_script({"a": "a", "%3Cb%3E": "</script>\u2028"})
    assert "<" not in text
    assert "\u2028" not in text
    detail = json.loads(re.search(r"{detail: (.*)}\)\);", text)[1])
    assert detail == {"keys": ["a", "%3Cb%3E"], "names": {"%3Cb%3E": "</script>\u2028"}}


@pytest.mark.parametrize("shape", [(7420, 7676), (256, 256), (100, 3000), (300, 600)])
def test_windows_of_spectra_are_equal_squares_inside_the_field(shape):
    boxes = spectrum_windows(*shape)
    assert 1 <= len(boxes) <= 9
    assert len({(height, width) for _, height, _, width in boxes}) == 1
    for top, height, left, width in boxes:
        assert height == width == min(256, *shape)
        assert 0 <= top <= shape[0] - height
        assert 0 <= left <= shape[1] - width


def test_a_large_micrograph_needs_little_memory(tmp_path):
    run = DrawnRun(tmp_path, ["a"])
    for role in run.roles:
        with open(run.image("a", role), "r+b") as file:
            header = bytearray(file.read(1024))
            for at, side in ((0, 7676), (4, 7420), (28, 7676), (32, 7420)):
                header[at : at + 4] = side.to_bytes(4, "little")
            file.seek(0)
            file.write(header)
            file.truncate(1024 + 4 * 7676 * 7420)  # sparse
    code = """
import pathlib, sys
from clearice.report.drawing.detail import draw
from clearice.report.drawing.subjects import Subjects
table, record, denoised, truth = sys.argv[1:]
(subject,) = Subjects(table, [record], [denoised], truths={"a": truth})
page, _ = draw(subject, "0")
assert page.count("data:image/jpeg") == 10
status = pathlib.Path("/proc/self/status").read_text()
print(int(status.split("VmHWM:")[1].split()[0]) / 1024)
"""
    paths = run.table, run.results / "shards/a.json", run.record("denoised", "a")
    process = subprocess.run(
        [sys.executable, "-c", code, *map(str, paths), str(run.image("a", "truth"))],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "workflow" / "scripts")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    # Not ru_maxrss, which remembers the process before exec. One image alone has 217 MiB.
    assert float(process.stdout) < 180


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="this system has no posix_fadvise")
def test_what_was_read_of_a_large_file_is_given_back_once(tmp_path, monkeypatch):
    given, path = [], tmp_path / "large"
    monkeypatch.setattr(os, "posix_fadvise", lambda fd, *span: given.append(span[:2]))
    for size, expected in ((1 << 20, []), (64 << 20, [(0, 9 << 20), (9 << 20, 8 << 20)])):
        with open(path, "wb") as file:
            file.truncate(size)
        with read_once(path) as have_read:
            for mib in (1, 9, 10, 17):
                have_read(mib << 20)
        assert given == expected
    with read_once(tmp_path / "gone") as have_read:
        have_read(1)


def test_what_a_worker_prints_is_no_result(tmp_path, monkeypatch):
    """`work` may print: the pipe of results is another."""
    (tmp_path / "loud.py").write_text(
        "from clearice.child_process import serve\n"
        "def work(item):\n    print('noise')\n    return 2 * item\n"
        "if __name__ == '__main__':\n    serve(work)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    found = dict(pool.results_of(importlib.import_module("loud"), range(5), 2))
    assert found == {n: 2 * n for n in range(5)}
