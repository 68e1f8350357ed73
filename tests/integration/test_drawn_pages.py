"""Pages of micrographs in a real run without denoising: drawn once, and again where lost."""

import pytest

from conftest import TINY_CONFIG, planned_jobs, run_snakemake, write_config

pytestmark = pytest.mark.slow

RUN = ("--cores", "2", "draw_micrographs")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder whose micrographs are drawn, and nothing else is made after the shards."""
    folder = tmp_path_factory.mktemp("drawn") / "run"
    write_config(folder, TINY_CONFIG | {"denoised": {"enabled": False}})
    run_snakemake(folder, *RUN)
    return folder


def said(run):
    """Return what the last job said."""
    return (run / "results/report/draw_micrographs.log").read_text()


def test_every_micrograph_has_a_page_beside_the_order_of_all(run):
    names = {path.name for path in (run / "results/report/micrographs").glob("[!.]*")}
    pages = {f"sim_000{n}.{end}" for n in (1, 2, 3) for end in ("html", "json")}
    assert names == {"order.js", *pages}
    assert said(run) == "3 drawn, 0 unchanged\n"
    assert planned_jobs(run, "draw_micrographs") == {}


@pytest.mark.parametrize("ending", ["html", "json"])
def test_a_lost_page_is_drawn_again_and_no_other(run, ending):
    lost = run / f"results/report/micrographs/sim_0002.{ending}"
    lost.unlink()
    run_snakemake(run, *RUN)
    assert said(run) == "1 drawn, 2 unchanged\n"
    assert lost.is_file()
    assert planned_jobs(run, "draw_micrographs") == {}
