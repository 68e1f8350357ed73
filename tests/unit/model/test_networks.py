"""What every network offers to those who denoise with it."""

import pytest
import torch

from clearice.model.networks import NETWORKS, Network, build_network


@pytest.fixture(params=sorted(NETWORKS))
def network(request):
    torch.manual_seed(0)
    return build_network(request.param).double().eval()


def test_it_keeps_the_contract(network):
    assert isinstance(network, Network)
    assert network.alignment_px >= 1
    assert network.receptive_radius_px >= 0
    image = torch.randn(2, network.in_channels, 24, 40, dtype=torch.float64)
    assert network(image).shape == (2, network.out_channels, 24, 40)


def test_a_pixel_beyond_the_receptive_radius_has_no_influence(network):
    radius, side = network.receptive_radius_px, 2 * network.receptive_radius_px + 9
    image = torch.randn(1, 1, side, side, dtype=torch.float64)
    changed = image.clone()
    changed[0, 0, side // 2, side // 2] += 10
    moved = (network(changed) - network(image))[0, 0].detach().abs() > 0
    rows = moved.any(1).nonzero().flatten()
    assert side // 2 - int(rows.min()) == int(rows.max()) - side // 2 == radius


def test_a_shift_by_the_alignment_shifts_the_output(network):
    step, margin = network.alignment_px, network.receptive_radius_px
    image = torch.randn(1, 1, 64, 64, dtype=torch.float64)
    inner = slice(margin + step, 64 - margin - step)
    shifted = network(image.roll((step, step), (2, 3)))[..., inner, inner]
    expected = network(image).roll((step, step), (2, 3))[..., inner, inner]
    torch.testing.assert_close(shifted, expected, rtol=0, atol=1e-12)
