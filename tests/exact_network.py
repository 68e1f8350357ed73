"""simple_cnn in float64 on the GPU, and how far another computation is from it."""

import torch
from torch.nn.functional import conv2d

from clearice.model.networks import build_network

GPU = torch.device("cuda", 0)


def a_network(seed=0):
    """Return a simple_cnn on the GPU with PyTorch's initial weights of that seed."""
    torch.manual_seed(seed)
    return build_network("simple_cnn").to(GPU)


def a_batch(size, seed=0, dtype=torch.float32):
    """Return noisy images of something smooth, and another noisy image of each, (N, 1, H, W)."""
    count, height, width = size
    generator = torch.Generator(GPU).manual_seed(seed)
    small = (count, 1, height // 16 + 1, width // 16 + 1)
    coarse = torch.randn(small, device=GPU, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    noise = torch.randn(2, count, 1, height, width, device=GPU, generator=generator)
    return tuple((0.6 * (smooth + part)).to(dtype).float().contiguous() for part in noise)


def exact_pass(network, image, target, masks=None):
    """Return (output, mean squared error, {name: gradient}), all float64.

    `masks`, of relu1 and relu2 (True where a value passes), stand in for those of float64.
    """
    leaves = {n: p.detach().double().requires_grad_() for n, p in network.named_parameters()}
    h = image.double()
    for number in (1, 2, 3):
        h = conv2d(h, leaves[f"conv{number}.weight"], leaves[f"conv{number}.bias"], padding=1)
        if number < 3:
            h = torch.relu(h) if masks is None else h * masks[number - 1]
    loss = (h - target.double()).square().mean()
    gradients = torch.autograd.grad(loss, list(leaves.values()))
    return h.detach(), float(loss), dict(zip(leaves, gradients, strict=True))


def relative(found, expected):
    """Return the relative L2 difference."""
    return float((found.double() - expected).norm() / expected.norm().clamp_min(1e-300))


def gradient_errors(network, expected):
    """Return (worst relative L2 error of a tensor, greatest absolute error) of the gradients."""
    pairs = [(p.grad, expected[name]) for name, p in network.named_parameters()]
    worst = max(relative(found, exact) for found, exact in pairs)
    return worst, max(float((found.double() - exact).abs().max()) for found, exact in pairs)


def all_gradients_error(network, expected):
    """Return the relative L2 error of all gradients together, and the worst tensor's L2 error.

    The latter is a part of the largest tensor's norm: a tensor whose gradient cancels, as that of
    a bias may, has no digits of its own in 16 bits.
    """
    pairs = [(p.grad, expected[name]) for name, p in network.named_parameters()]
    differences = torch.stack([(found.double() - exact).norm() for found, exact in pairs])
    norms = torch.stack([exact.norm() for _, exact in pairs])
    return float(differences.norm() / norms.norm()), float(differences.max() / norms.max())


def poison_memory(mib=600):
    """Fill what PyTorch's allocator hands out next with NaN."""
    blocks = [torch.full((1 << 18,), float("nan"), device=GPU) for _ in range(mib)]
    blocks.append(torch.full((mib << 18,), float("nan"), device=GPU))
    del blocks
