"""What every network offers to those who denoise with it."""

import pytest
import torch

from clearice.model import s2d_unet
from clearice.model.half_resolution import OnPixelHalves
from clearice.model.networks import NETWORKS, Network, build_network


@pytest.fixture(params=[*sorted(NETWORKS), "pixel_halves"])
def network(request):
    torch.manual_seed(0)
    if request.param == "pixel_halves":
        return OnPixelHalves(build_network("simple_cnn")).double().eval()
    return build_network(request.param).double().eval()


def test_it_keeps_the_contract(network):
    assert isinstance(network, Network)
    assert network.alignment_px >= 1
    assert network.receptive_radius_px >= 0
    image = torch.randn(2, network.in_channels, 24, 40, dtype=torch.float64)
    assert network(image).shape == (2, network.out_channels, 24, 40)


def test_a_pixel_beyond_the_receptive_radius_has_no_influence(network, monkeypatch):
    """One at either end of an alignment cell, because those reach furthest."""
    monkeypatch.setattr(s2d_unet, "max_pool2d", torch.nn.functional.avg_pool2d)  # all pixels count
    radius, step = network.receptive_radius_px, network.alignment_px
    first = -(-radius // step) * step
    image = torch.randn(1, 1, *2 * [2 * first + step], dtype=torch.float64)
    reaches = []
    for position in {first, first + step - 1}:
        changed = image.clone()
        changed[0, 0, position, position] += 1
        with torch.inference_mode():
            moved = (network(changed) - network(image))[0, 0].abs() > 0
        for axis in (0, 1):
            where = moved.any(axis).nonzero().flatten()
            reaches += [position - int(where.min()), int(where.max()) - position]
    assert max(reaches) == radius


def test_a_shift_by_the_alignment_shifts_the_output(network):
    step = network.alignment_px
    margin = -(-network.receptive_radius_px // step) * step + step
    side = 2 * margin + 64
    image = torch.randn(1, 1, side, side, dtype=torch.float64)
    inner = slice(margin, side - margin)
    with torch.inference_mode():
        shifted = network(image.roll((step, step), (2, 3)))[..., inner, inner]
        expected = network(image).roll((step, step), (2, 3))[..., inner, inner]
    torch.testing.assert_close(shifted, expected, rtol=0, atol=1e-12)
