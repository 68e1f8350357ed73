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


def test_a_part_is_made_as_it_is_in_the_whole(network):
    """Tiles in a corner, at a border and inside: halos on the sides that are not the image's."""
    step = network.alignment_px
    halo = -(-network.receptive_radius_px // step) * step
    side = 2 * halo + 3 * step
    image = torch.randn(1, 1, side + 5, side + 3, dtype=torch.float64)  # no multiples
    with torch.inference_mode():
        whole = network(image)
        for above, below, left, right in [(0, halo, 0, halo), (halo, 0, 0, 0), (halo,) * 4]:
            first = step if above else 0, step if left else 0
            last = [
                length if not m else start + above_or_left + 2 * step + m
                for length, start, above_or_left, m in zip(
                    image.shape[2:], first, (above, left), (below, right), strict=True
                )
            ]
            tile = slice(first[0], last[0]), slice(first[1], last[1])
            part = network.inside(image[..., *tile], (above, below, left, right))
            seen = (
                slice(first[0] + above, last[0] - below),
                slice(first[1] + left, last[1] - right),
            )
            torch.testing.assert_close(part, whole[..., *seen], rtol=0, atol=1e-12)
