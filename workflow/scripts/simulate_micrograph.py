"""Simulate one micrograph: two counted halves and the truth that they have in common."""

from clearice.bridge import run_job
from clearice.micrographs.mrc_writer import write_micrograph
from clearice.micrographs.simulation.exposure import simulate


def simulate_micrograph(input, target, truth, name, settings):
    """Write the halves `input` and `target` and their noise-free expectation `truth` (MRC).

    All three are in electrons per pixel of one half. `name` and `settings` (the `simulation`
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


if "snakemake" in globals():
    run_job(simulate_micrograph, snakemake)
