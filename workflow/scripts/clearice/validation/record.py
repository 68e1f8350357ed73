"""All that is measured on one micrograph, as plain values."""

from clearice.micrographs.normalisation import normalise
from clearice.validation import evidence, null_tests, planes
from clearice.validation.images import central_window, network_output, window_size_px

NULL_WINDOW_PX = 1024  # the centre of the micrograph, where a network sees noise


def measure(network, images, particles, device):
    """Return what the record of a micrograph holds of evidence, picking and null tests.

    `images` maps raw, denoised, and where they exist target, denoised_target and truth to images
    with blocks(); raw is a MicrographRows. `particles` is (centres (m, 2), diameter_px) or None.
    Holds a band of 1,200 rows of each image, and about 60 MiB for the filters of a tile.
    """
    raw = images["raw"]
    size = window_size_px(raw.height_px, raw.width_px, evidence.WINDOW_PX)
    grid = planes.GridPlane((size, size), network.grid_px)
    judges = [judge for judge in ("target", "truth") if judge in images]
    crosses = {judge: planes.CrossPlane((size, size), judge) for judge in judges}
    rings = evidence.ring_sums(images, [grid, *crosses.values()])
    filters = {judge: evidence.Filters(rings, judge) for judge in judges}
    centres, diameter_px = particles if particles and "truth" in images else (None, None)
    target, truth, picking = None, None, None
    if judges:
        target, truth, picking = evidence.compare_tiles(images, filters, centres, diameter_px)
    if target:
        target["transfer"] = evidence.transfer(rings)
    return {
        "frequency_per_px": [round(float(f), 6) for f in rings.frequency_per_px],
        "window_px": size,
        "windows": rings.windows,
        "frc": evidence.curves(rings),
        "target": target,
        "truth": truth,
        "picking": picking,
        "null_window_px": [min(NULL_WINDOW_PX, n) for n in (raw.height_px, raw.width_px)],
        "null_tests": _null_tests(network, raw, rings, filters, crosses, grid, device),
        "not_measured": _not_measured(images, particles),
    }


def _null_tests(network, raw, rings, filters, crosses, grid, device):
    """Return the results of all null tests, in the order in which they are shown."""
    statistics = raw.survey.input
    window = central_window(raw, NULL_WINDOW_PX)
    window = normalise(window, statistics.location, statistics.scale)
    drawn = network_output(network, window, device)
    if "target" in filters:
        frequency = rings.frequencies_per_px(corners=True)
        power = rings.power("raw", corners=True)
        power = power - rings.cross_power("raw", "target", corners=True)
        power = power / statistics.scale**2
        noise = null_tests.gaussian_noise(window.shape, frequency, power, seed=0)
        in_noise = network_output(network, noise, device)
        ratio, spectrum = null_tests.response_ratio(drawn, in_noise), "noise"
        filter_ = filters["target"].wiener
        tests = [null_tests.flatness_test(drawn, in_noise, frequency, power, filter_)]
    else:
        reason = "it needs the spectrum of the noise, and so another half"
        tests = [null_tests.not_measured("flatness", reason)]
        ratio, spectrum = null_tests.noise_response(network, window, device), "floor"
    tests.append(null_tests.noise_response_test(ratio, spectrum))
    if crosses:
        cross = crosses.get("target") or crosses["truth"]
        tests += [cross.shuffled_test(), cross.calibration_test()]
    else:
        reason = "it needs another half or a truth"
        tests += [null_tests.not_measured(n, reason) for n in ("shuffled pairs", "calibration")]
    tests += [null_tests.seam_test(network, window, device), grid.grid_test()]
    return tests


def _not_measured(images, particles):
    """Say what could not be measured, and why."""
    said = []
    if "target" not in images:
        said.append(
            "Fourier ring correlation with independent data, transfer and error above the noise "
            "floor: the micrograph has no other half"
        )
    if "truth" not in images:
        said.append("signal-to-noise ratio and similarity: only a simulation has a truth")
    if particles is None or "truth" not in images:
        said.append("particle picking: no centres of particles are known")
    return said
