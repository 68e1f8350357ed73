"""Simulate one micrograph: two counted halves, the truth that they share, and its particles."""

from clearice.bridge import run_job
from clearice.files import write_text
from clearice.micrographs.centres import centres_text
from clearice.micrographs.mrc_writer import write_micrograph
from clearice.micrographs.simulation.exposure import simulate
from clearice.micrographs.simulation.particles import DIAMETER_ANGSTROM


def simulate_micrograph(input, target, truth, centres, name, settings):
    """Write the halves `input` and `target` and their noise-free expectation `truth` (MRC).

    All three are in electrons per pixel of one half. `centres` is the table of the particles
    (clearice.micrographs.centres). `name` and `settings` (the `simulation`
    section of config.yaml) fix every byte.
    """
    simulated = simulate(settings, name)
    print(f"{name}: underfocus {simulated.defocus_um:.3f} um, seed {settings['seed']}")
    for path, image, role in (
        (input, simulated.even, "even half"),
        (target, simulated.odd, "odd half"),
        (truth, simulated.truth, "noise-free"),
    ):
        write_micrograph(
            path,
            [image],
            *image.shape,
            pixel_size_angstrom=settings["pixel_size_angstrom"],
            label=f"clearice simulation, {role}, underfocus {simulated.defocus_um:.3f} um",
        )
    diameter_px = DIAMETER_ANGSTROM / settings["pixel_size_angstrom"]
    write_text(centres, centres_text(simulated.centres_px, diameter_px))


if "snakemake" in globals():
    run_job(simulate_micrograph, snakemake)
