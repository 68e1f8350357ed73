"""Which patches, in which order, how turned: a function of the seed and the epoch alone."""

import numpy as np
import pytest
import torch

from clearice.model.epochs import batches_of, epoch_codes, epoch_order, epoch_shifts, turn


def test_an_order_is_a_permutation_that_the_seed_and_the_epoch_choose():
    orders = [epoch_order(1000, seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    for order in orders:
        assert np.array_equal(np.sort(order), np.arange(1000))
    assert len({order.tobytes() for order in orders}) == 4
    assert np.array_equal(orders[1], epoch_order(1000, 0, 1))


def test_orders_are_fair():
    # The mean position of every patch over many epochs is the middle: the standard error of the
    # mean of 400 uniform positions is 1 / sqrt(12 * 400).
    positions = np.array([np.argsort(epoch_order(50, 3, epoch)) for epoch in range(400)]) / 49
    assert np.abs(positions.mean(0) - 0.5).max() < 5 / np.sqrt(12 * 400)


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_processes_share_every_batch_and_no_patch_twice(world_size):
    order = epoch_order(10, 0, 0)
    shares = [batches_of(order, 4, rank=r, world_size=world_size) for r in range(world_size)]
    for b, together in enumerate(zip(*shares, strict=True)):
        assert np.array_equal(np.concatenate([s for s, _ in together]), order[4 * b : 4 * b + 4])
        assert {count for _, count in together} == {len(order[4 * b : 4 * b + 4])}
    assert [count for _, count in shares[0]] == [4, 4, 2]


def test_codes_swap_only_where_they_may():
    assert set(epoch_codes(500, 0, 0, swap=True)) == set(range(16))
    assert set(epoch_codes(500, 0, 0, swap=False)) == set(range(8))
    assert not np.array_equal(epoch_codes(500, 0, 0, swap=True), epoch_codes(500, 0, 1, swap=True))


def test_the_eight_turns_are_the_symmetries_of_the_square():
    patch = torch.arange(9.0).reshape(1, 3, 3)
    results = [turn(patch, code) for code in range(8)]
    seen = set()
    for image in results:
        assert image[0, 1, 1] == 4  # the centre stays
        corners = [image[0, y, x].item() for y, x in ((0, 0), (0, 2), (2, 2), (2, 0))]
        steps = np.diff([[0, 2, 8, 6].index(corner) for corner in corners]) % 4
        assert len(set(steps)) == 1  # neighbours stay neighbours
        assert steps[0] in (1, 3)
        seen.add(tuple(image.flatten().tolist()))
    assert len(seen) == 8
    assert torch.equal(results[0], patch)


def test_a_turn_transposes_first_and_then_flips_rows_and_columns():
    patch = torch.randn(1, 5, 5)
    assert torch.equal(turn(patch, 1)[0], patch[0].T)
    assert torch.equal(turn(patch, 6)[0], patch[0].flip(0, 1))
    assert torch.equal(turn(patch, 3)[0], patch[0].T.flip(0))
    assert torch.equal(turn(patch, 8 | 5)[0], patch[0].T.flip(1))


def test_shifts_are_a_function_of_seed_and_epoch_and_reach_every_place():
    shifts = epoch_shifts(500, 1, 2, 32)
    assert shifts.shape == (500, 2)
    assert np.array_equal(shifts, epoch_shifts(500, 1, 2, 32))
    assert not np.array_equal(shifts, epoch_shifts(500, 1, 3, 32))
    for axis in (0, 1):
        assert sorted(set(shifts[:, axis].tolist())) == list(range(32))
