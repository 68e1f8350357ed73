"""simple_cnn's training step as six Triton kernels, for NVIDIA GPUs.

General convolution libraries are built for many channels; with 16 of them a step is spent on
moving activations through memory. Here activations lie as (N, H, W, 16), every kernel reads
each of them once and does all that can be done with it there:

    first     input          -> h1 = relu(conv1)
    second    h1             -> h2 = relu(conv2)
    third     h2, target     -> d = conv3 - target, and the sum of d^2
    back3     d, h2          -> g2, the gradient at conv2's output, and the gradients of conv3
    back2     g2, h1, input  -> gradients of conv1 and of conv2's bias (h1's is never stored)
    weights2  h1, g2         -> gradient of conv2's weights

Convolutions are cross-correlations with zero padding, as in torch. Gradients are linear in d, so
they are summed for d itself and scaled by 2 / pixels at the end, in float32: float16 needs no
loss scaling. Sums over pixels are made per program and then in a fixed order, without atomics:
repeats are equal to the last bit.

float32 means float32 products and sums (no TF32); 16-bit types sum in float32.
"""

import torch
import triton

from clearice.model.engines import triton_kernels as kernels
from clearice.model.engines.contract import Engine

# Elements of storage and the products' precision, by the name that config.yaml gives them.
FORMATS = {
    "float32": (torch.float32, "ieee"),
    "tf32": (torch.float32, "tf32"),
    "bfloat16": (torch.bfloat16, "ieee"),
    "float16": (torch.float16, "ieee"),
}
_CHANNELS = 16
_PROGRAMS = 1056  # that sum over pixels: 8 for each of an H100's 132 multiprocessors
BLOCKS = {  # pixels of a tile, warps, stages of a loop: no precision spills registers
    "first": (128, 4, 1),
    "second": (128, 4, 1),
    "third": (128, 4, 1),
    "back3": (64, 4, 2),
    "back2": (64, 4, 2),
    "weights2": (64, 4, 2),
}


class TritonCNN(Engine):
    """Loss, gradients and output of a SimpleCNN on the GPU, in one of the precisions.

    `blocks` are the (pixels of a tile, warps, stages of a loop) of the kernels, by their names.
    """

    def __init__(self, network, precision, blocks=None):
        self.network, self._blocks = network, blocks or BLOCKS
        self._dtype, self._dot = FORMATS[precision]
        self._parameters = list(network.parameters())
        device = self._parameters[0].device
        self.scaler = torch.amp.GradScaler(enabled=False)
        self._zero = torch.zeros(1, device=device)
        self._arranged, self._gradients = (table.to(device) for table in _tables(network))

    def squared_error(self, input_patches, target_patches, *, full=True):
        return self._forward(input_patches, target_patches, self._weights())[-1]

    @torch.no_grad()
    def output(self, input_patches):
        target = torch.zeros_like(input_patches)
        return self._forward(input_patches, target, self._weights())[2]

    @torch.no_grad()
    def error_and_gradients(self, input_patches, target_patches, pixels, *, full=True):
        weights = self._weights()
        h1, h2, d, error = self._forward(input_patches, target_patches, weights)
        backward = self._backward(input_patches, h1, h2, d, torch.empty_like(h2), weights)
        sums = [launch() for launch in backward.values()]
        flat = torch.cat(sums)[self._gradients] * (2 / pixels)
        parts = flat.split([parameter.numel() for parameter in self._parameters])
        for parameter, part in zip(self._parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter)
        return error

    def _weights(self):
        """Return the weights as the kernels read them: 16 x 16 matrices in their dtype."""
        flat = torch.cat([*(p.detach().reshape(-1) for p in self._parameters), self._zero])
        parts = flat[self._arranged].to(self._dtype).split([256, 2304, 2304, 256])
        return dict(zip(("conv1", "conv2", "conv2 backwards", "conv3"), parts, strict=True))

    def launches(self, image, target):
        """Return a function for each kernel, by its name, that launches it alone (to time it)."""
        weights = self._weights()
        h1, h2, d, _ = self._forward(image, target, weights)
        forward = self._forward_launches(image, target, h1, h2, d, weights)
        return forward | self._backward(image, h1, h2, d, torch.empty_like(h2), weights)

    def _forward(self, image, target, weights):
        """Return h1, h2 (N, H, W, 16), d (N, 1, H, W) and the sum of d^2."""
        shape = (image.shape[0], *image.shape[2:], _CHANNELS)
        h1, h2 = (torch.empty(shape, dtype=self._dtype, device=image.device) for _ in range(2))
        d = torch.empty_like(target)
        launches = self._forward_launches(image, target, h1, h2, d, weights)
        *_, error = [launch() for launch in launches.values()]
        return h1, h2, d, error

    def _forward_launches(self, image, target, h1, h2, d, weights):
        network, size = self.network, image.shape

        def third():
            sums = torch.empty(self._tiles(kernels.third, size), device=image.device)
            bias = network.conv3.bias
            self._launch(kernels.third, size, h2, weights["conv3"], bias, target, d, sums)
            return sums.sum()

        first = (kernels.first, size, image, weights["conv1"], network.conv1.bias, h1)
        second = (kernels.second, size, h1, weights["conv2"], network.conv2.bias, h2)
        return {
            "first": lambda: self._launch(*first),
            "second": lambda: self._launch(*second),
            "third": third,
        }

    def _backward(self, image, h1, h2, d, g2, weights):
        """Return the launches of the gradients' kernels, in the order of _tables' sums."""
        size, backwards = image.shape, weights["conv2 backwards"]
        return {
            "back3": lambda: self._sum(kernels.back3, 272, size, d, h2, weights["conv3"], g2),
            "back2": lambda: self._sum(kernels.back2, 288, size, image, h1, g2, backwards),
            "weights2": lambda: self._sum(kernels.weights2, 3072, size, h1, g2),
        }

    def _tiles(self, kernel, size):
        return size[0] * size[2] * triton.cdiv(size[3], self._blocks[kernel.__name__][0])

    def _launch(self, kernel, size, *arguments):
        """Run a kernel with a program for every tile."""
        self._run(kernel, self._tiles(kernel, size), *arguments, *size[2:])

    def _sum(self, kernel, values, size, *arguments):
        """Run a kernel whose programs take a share of the tiles; return the sum of their values."""
        tiles = self._tiles(kernel, size)
        programs = min(_PROGRAMS, tiles)
        sums = torch.empty(programs, values, device=self._zero.device)
        self._run(kernel, programs, *arguments, sums, tiles, *size[2:])
        return sums.sum(0)

    def _run(self, kernel, programs, *arguments):
        block, warps, stages = self._blocks[kernel.__name__]
        options = {} if kernel is kernels.third else {"DOT": self._dot}
        options |= {"num_warps": warps, "num_stages": stages}
        kernel[(programs,)](*arguments, BLOCK=block, **options)


def _tables(network):
    """Return two index tables: parameters -> matrices, and the kernels' sums -> gradients.

    Both are made by arranging indices just as the values are to be arranged.
    """
    parameters, first = {}, 0
    for name, parameter in network.named_parameters():
        count = parameter.numel()
        parameters[name] = torch.arange(first, first + count).view(parameter.shape)
        first += count

    def taps(weight):  # (16, 9): 9 rows of 16, and rows of zeros below
        return torch.cat((weight.t(), torch.full((7, 16), first)))

    second = parameters["conv2.weight"]  # (out, in, 3, 3)
    matrices = [
        taps(parameters["conv1.weight"].flatten(1)),
        second.permute(2, 3, 1, 0),  # (in, out) for each tap
        second.permute(2, 3, 0, 1),
        taps(parameters["conv3.weight"][0].flatten(1)),
    ]
    sums3, sums1, sums2 = torch.arange(272 + 288 + 3072).split([272, 288, 3072])
    gradients = [
        sums1[:256].view(16, 16)[:9].t(),  # conv1.weight
        sums1[256:272],
        # from (dy, dx, out, in) of the places in g2, which are minus those of the taps
        sums2.view(3, 4, 16, 16)[:, :3].flip(0, 1).permute(2, 3, 0, 1),
        sums1[272:],
        sums3[:256].view(16, 16)[:9].t(),  # conv3.weight
        sums3[260:261],  # that of the middle tap
    ]
    return (torch.cat([part.reshape(-1) for part in table]) for table in (matrices, gradients))
