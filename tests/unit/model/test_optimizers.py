"""Our optimizers are PyTorch's, whatever the device of a checkpoint, and need no compiler."""

import copy

import pytest
import torch

from clearice.errors import InputError
from clearice.model.networks import build_network
from clearice.model.optimizers import build_optimizer

THEIRS = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}


def with_gradients(network, step):
    """Give the parameters gradients that differ from step to step, 0 among them."""
    torch.manual_seed(step)
    for parameter in network.parameters():
        parameter.grad = torch.randn_like(parameter) * (torch.rand_like(parameter) > 0.2)


@pytest.mark.parametrize("name", THEIRS)
def test_twenty_steps_are_those_of_torch_optim(name):
    torch.manual_seed(0)
    ours = build_network("simple_cnn").double()
    theirs = copy.deepcopy(ours)
    optimizer = build_optimizer(name, ours, 0.01)
    reference = THEIRS[name](theirs.parameters(), lr=0.01)
    for step in range(20):
        with_gradients(ours, step)
        with_gradients(theirs, step)
        optimizer.step()
        reference.step()
    for parameter, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(parameter, expected, rtol=1e-12, atol=1e-14)


def test_the_state_of_a_torch_optimizer_is_taken_over():
    """Checkpoints of earlier versions hold one."""
    torch.manual_seed(0)
    theirs = build_network("simple_cnn")
    reference = torch.optim.Adam(theirs.parameters(), lr=0.01)
    with_gradients(theirs, 0)
    reference.step()
    ours = copy.deepcopy(theirs)
    optimizer = build_optimizer("adam", ours, 0.01)
    optimizer.load_state_dict(reference.state_dict())
    again = copy.deepcopy(theirs)
    repeated = build_optimizer("adam", again, 0.01)
    repeated.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for network, taken in ((theirs, reference), (ours, optimizer), (again, repeated)):
        with_gradients(network, 1)
        taken.step()
    for parameter, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(parameter, expected, rtol=1e-6, atol=1e-7)
    for parameter, same in zip(again.parameters(), ours.parameters(), strict=True):
        assert torch.equal(parameter, same)


def test_the_scale_of_gradients_is_taken_off_and_infinite_ones_are_left_out():
    network = torch.nn.Linear(1, 1, bias=False)
    network.weight.data.fill_(1.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimizer = build_optimizer("sgd", network, 0.5)
    for error, expected in ((network.weight.sum(), 0.5), (network.weight.sum() * torch.inf, 0.5)):
        optimizer.zero_grad()
        scaler.scale(error).backward()
        scaler.step(optimizer)
        scaler.update()
        assert network.weight.item() == expected
    assert scaler.get_scale() == 512.0


def test_another_optimizer_is_refused():
    with pytest.raises(InputError, match=r"expected adam \| sgd, found lion"):
        build_optimizer("lion", build_network("simple_cnn"), 0.01)
