"""simple_cnn on device buffers: every step is one call of cuDNN or cuBLAS, nothing else.

A Fortran or C program would do the same. Float32 throughout: CUDNN_FMA_MATH keeps TF32 off.
"""

import ctypes
import math

import numpy as np
from cuda_libraries import CudaError, Performance, load_libraries

LAYERS = {"conv1": (1, 16), "conv2": (16, 16), "conv3": (16, 1)}  # channels in, out
NCHW, FLOAT, CROSS_CORRELATION, RELU, PROPAGATE_NAN = 0, 0, 1, 1, 1
DEFAULT_MATH, FMA_MATH = 0, 3
TO_DEVICE, TO_HOST = 1, 2
CUBLAS_DEVICE_POINTERS, CUBLAS_DEFAULT_MATH, TRANSPOSED = 1, 0, 1
DOT_CHUNK = 1 << 20  # elements of one float32 dot product; the chunks are added in float64
WORKSPACE_BYTES = 4 << 30
ALGORITHMS = 8  # cuDNN has no more of any kind
ONE, ZERO = ctypes.c_float(1), ctypes.c_float(0)  # cuDNN reads alpha and beta from the host


class Gpu:
    """The libraries, their handles, and memory on the device."""

    def __init__(self, folder=None):
        self.cuda, self.cublas, self.cudnn, self.facts = load_libraries(folder)
        self.dnn = self.create("cudnnCreate", self.cudnn)
        self.blas = self.create("cublasCreate_v2", self.cublas)
        # With results and factors on the device, no call waits for the GPU.
        self.cublas.cublasSetPointerMode_v2(self.blas, CUBLAS_DEVICE_POINTERS)
        self.cublas.cublasSetMathMode(self.blas, CUBLAS_DEFAULT_MATH)
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self.cuda.cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total))
        self.workspace_bytes = min(WORKSPACE_BYTES, free.value // 3)
        self.workspace = self.allocate(self.workspace_bytes // 4)
        self.relu = self.create("cudnnCreateActivationDescriptor", self.cudnn)
        self.cudnn.cudnnSetActivationDescriptor(self.relu, RELU, PROPAGATE_NAN, 0.0)
        self.convolution = self.create("cudnnCreateConvolutionDescriptor", self.cudnn)
        self.cudnn.cudnnSetConvolution2dDescriptor(
            self.convolution, 1, 1, 1, 1, 1, 1, CROSS_CORRELATION, FLOAT
        )
        self.cudnn.cudnnSetConvolutionMathType(self.convolution, FMA_MATH)
        self.algorithms = {}  # (kind, layer, batch shape) -> what was chosen, for every plan

    @staticmethod
    def create(name, library):
        """Return the handle or descriptor that a create function makes."""
        made = ctypes.c_void_p()
        getattr(library, name)(ctypes.byref(made))
        return made.value

    def allocate(self, count):
        """Return the address of `count` floats on the device."""
        address = ctypes.c_void_p()
        self.cuda.cudaMalloc(ctypes.byref(address), max(1, count) * 4)
        return address.value

    def upload(self, values, address=None):
        """Copy a float32 array to the device; return its address."""
        values = np.ascontiguousarray(values, np.float32)
        address = address or self.allocate(values.size)
        self.cuda.cudaMemcpy(address, values.ctypes.data, values.nbytes, TO_DEVICE)
        return address

    def download(self, address, shape):
        """Return float32 values of that shape from the device."""
        values = np.empty(shape, np.float32)
        self.cuda.cudaMemcpy(values.ctypes.data, address, values.nbytes, TO_HOST)
        return values

    def tensor(self, *shape):
        """Return a descriptor of a float32 tensor (n, c, h, w)."""
        made = self.create("cudnnCreateTensorDescriptor", self.cudnn)
        self.cudnn.cudnnSetTensor4dDescriptor(made, NCHW, FLOAT, *shape)
        return made


class Plan:
    """Buffers, descriptors and algorithms for batches of one shape (N, 1, H, W)."""

    def __init__(self, gpu, parameters, shape, deterministic=False):
        self.gpu, self.parameters, self.deterministic = gpu, parameters, deterministic
        self.n, _, self.h, self.w = self.shape = tuple(shape)
        self.pixels, self.count = self.h * self.w, self.n * self.h * self.w
        image, features = gpu.tensor(*shape), gpu.tensor(self.n, 16, self.h, self.w)
        sizes = {"x": 1, "target": 1, "output": 1, "relu1": 16, "relu2": 16}
        sizes |= {"delta1": 16, "delta2": 16}
        self.at = {name: gpu.allocate(c * self.count) for name, c in sizes.items()}
        self.at["ones"] = gpu.upload(np.ones(self.count, np.float32))
        self.at["dots"] = gpu.allocate(math.ceil(self.count / DOT_CHUNK))
        self.at["factors"] = gpu.upload(np.float32([0, 1, -1, 2 / self.count]))
        self.descriptors = {"x": image, "output": image} | dict.fromkeys(
            ("relu1", "relu2", "delta1", "delta2"), features
        )
        self.filters, self.biases = {}, {}
        for name, (channels_in, channels_out) in LAYERS.items():
            self.filters[name] = gpu.create("cudnnCreateFilterDescriptor", gpu.cudnn)
            gpu.cudnn.cudnnSetFilter4dDescriptor(
                self.filters[name], FLOAT, NCHW, channels_out, channels_in, 3, 3
            )
            self.biases[name] = gpu.tensor(1, channels_out, 1, 1)

    def load(self, x, target):
        """Copy a batch to the device."""
        self.gpu.upload(x, self.at["x"])
        self.gpu.upload(target, self.at["target"])

    def convolve(self, name, source, result):
        """Set result to the cross-correlation of source with the layer's kernels, plus its bias."""
        dnn, cudnn, at = self.gpu.dnn, self.gpu.cudnn, self.at
        x, y = self.descriptors[source], self.descriptors[result]
        weight = self.parameters.weight(f"{name}_weight")
        operands = (x, at[source], self.filters[name], weight)
        algorithm = self.algorithm("Forward", name, operands, (y, at[result]))
        cudnn.cudnnConvolutionForward(
            dnn, ctypes.byref(ONE), *operands, self.gpu.convolution, algorithm,
            self.gpu.workspace, self.gpu.workspace_bytes, ctypes.byref(ZERO), y, at[result],
        )  # fmt: skip
        bias = self.parameters.weight(f"{name}_bias")
        cudnn.cudnnAddTensor(
            dnn, ctypes.byref(ONE), self.biases[name], bias, ctypes.byref(ONE), y, at[result]
        )

    def rectify(self, name):
        """Set a tensor to max(0, itself), in place."""
        y, address = self.descriptors[name], self.at[name]
        self.gpu.cudnn.cudnnActivationForward(
            self.gpu.dnn,
            self.gpu.relu,
            ctypes.byref(ONE),
            y,
            address,
            ctypes.byref(ZERO),
            y,
            address,
        )

    def forward(self, keep=None):
        """Compute the output; `keep(name, tensor)` is called with every activation."""
        keep = keep or (lambda name, tensor: None)
        for name, source, result in (("conv1", "x", "relu1"), ("conv2", "relu1", "relu2")):
            self.convolve(name, source, result)
            keep(name, result)
            self.rectify(result)
            keep(result, result)
        self.convolve("conv3", "relu2", "output")
        keep("output", "output")

    def loss(self):
        """Write the sums of squared differences to dots and d loss / d output to output."""
        cublas, blas, at = self.gpu.cublas, self.gpu.blas, self.at
        minus_one, scale = at["factors"] + 8, at["factors"] + 12
        cublas.cublasSaxpy_v2(blas, self.count, minus_one, at["target"], 1, at["output"], 1)
        for index, first in enumerate(range(0, self.count, DOT_CHUNK)):
            part, size = at["output"] + 4 * first, min(DOT_CHUNK, self.count - first)
            cublas.cublasSdot_v2(blas, size, part, 1, part, 1, at["dots"] + 4 * index)
        cublas.cublasSscal_v2(blas, self.count, scale, at["output"], 1)

    def loss_value(self):
        """Return the loss of the last batch; waits for the GPU."""
        dots = self.gpu.download(self.at["dots"], math.ceil(self.count / DOT_CHUNK))
        return float(dots.sum(dtype=np.float64) / self.count)

    def backward(self):
        """Compute every gradient from d loss / d output."""
        steps = (
            ("conv3", "relu2", "output"),
            ("conv2", "relu1", "delta2"),
            ("conv1", "x", "delta1"),
        )
        for name, source, delta in steps:
            self.weight_gradient(name, source, delta)
            self.bias_gradient(name, delta)
            if name != "conv1":
                self.input_gradient(name, delta, source.replace("relu", "delta"))
                self.rectify_backward(source, source.replace("relu", "delta"))

    def weight_gradient(self, name, source, delta):
        """Compute the gradient of the kernels from the layer's input and delta."""
        gradient = self.parameters.gradient(f"{name}_weight")
        operands = (
            self.descriptors[source],
            self.at[source],
            self.descriptors[delta],
            self.at[delta],
        )
        result = (self.filters[name], gradient)
        algorithm = self.algorithm("BackwardFilter", name, operands, result)
        self.gpu.cudnn.cudnnConvolutionBackwardFilter(
            self.gpu.dnn, ctypes.byref(ONE), *operands, self.gpu.convolution, algorithm,
            self.gpu.workspace, self.gpu.workspace_bytes, ctypes.byref(ZERO), *result,
        )  # fmt: skip

    def input_gradient(self, name, delta, result):
        """Compute delta of the layer below, before its ReLU."""
        weight = self.parameters.weight(f"{name}_weight")
        operands = (self.filters[name], weight, self.descriptors[delta], self.at[delta])
        result = (self.descriptors[result], self.at[result])
        algorithm = self.algorithm("BackwardData", name, operands, result)
        self.gpu.cudnn.cudnnConvolutionBackwardData(
            self.gpu.dnn, ctypes.byref(ONE), *operands, self.gpu.convolution, algorithm,
            self.gpu.workspace, self.gpu.workspace_bytes, ctypes.byref(ZERO), *result,
        )  # fmt: skip

    def bias_gradient(self, name, delta):
        """Sum delta over samples and pixels.

        cudnnConvolutionBackwardBias takes 3.3 ms. A matrix-vector product of (pixels, channels)
        with ones, one per sample, takes 0.04 ms (16 channels of 1024 x 1024, H100).
        """
        channels, at = LAYERS[name][1], self.at
        cublas, blas, result = (
            self.gpu.cublas,
            self.gpu.blas,
            self.parameters.gradient(f"{name}_bias"),
        )
        if channels == 1:
            cublas.cublasSdot_v2(blas, self.count, at[delta], 1, at["ones"], 1, result)
            return
        zero, one = at["factors"], at["factors"] + 4
        for sample in range(self.n):
            matrix = at[delta] + 4 * sample * channels * self.pixels
            cublas.cublasSgemv_v2(
                blas, TRANSPOSED, self.pixels, channels, one, matrix, self.pixels,
                at["ones"], 1, one if sample else zero, result, 1,
            )  # fmt: skip

    def rectify_backward(self, activation, delta):
        """Set delta to 0 where the activation is 0, in place."""
        y, address, d = self.descriptors[activation], self.at[activation], self.at[delta]
        self.gpu.cudnn.cudnnActivationBackward(
            self.gpu.dnn, self.gpu.relu, ctypes.byref(ONE), y, address, y, d, y, address,
            ctypes.byref(ZERO), y, d,
        )  # fmt: skip

    def algorithm(self, kind, name, operands, result):
        """Return the float32 algorithm for a layer: one for all plans of that shape.

        Algorithms add in other orders, and two that are as fast win in turn: chosen by each plan
        anew, they would give the repeated case other bits, each of them deterministic or not.
        """
        key = kind, name, self.shape
        if key not in self.gpu.algorithms:
            candidates = self.candidates(kind, operands, result)
            self.gpu.algorithms[key] = self.best(kind, name, candidates)
        return self.gpu.algorithms[key]

    def candidates(self, kind, operands, result):
        """Return what cuDNN offers, the best first: as measured, or as estimated.

        An estimate is the same in every process, a measurement is not.
        """
        gpu, found, count = self.gpu, (Performance * ALGORITHMS)(), ctypes.c_int()
        returned = ALGORITHMS, ctypes.byref(count), found
        if self.deterministic:
            estimate = getattr(gpu.cudnn, f"cudnnGetConvolution{kind}Algorithm_v7")
            described = operands[0], operands[2], gpu.convolution, result[0]
            estimate(gpu.dnn, *described, *returned)
        else:
            measure = getattr(gpu.cudnn, f"cudnnFindConvolution{kind}AlgorithmEx")
            space = gpu.workspace, gpu.workspace_bytes
            measure(gpu.dnn, *operands, gpu.convolution, *result, *returned, *space)
        return found[: count.value]

    def best(self, kind, name, candidates):
        """Return the first algorithm that is float32, has room and, if asked for, repeats."""
        for candidate in candidates:
            fits = candidate.memory_bytes <= self.gpu.workspace_bytes
            exact = candidate.math_type in (DEFAULT_MATH, FMA_MATH)
            steady = candidate.deterministic or not self.deterministic
            if candidate.status == 0 and fits and exact and steady:
                return candidate.algorithm
        raise CudaError(f"cuDNN has no {kind} algorithm for {name} at {self.n}x{self.h}x{self.w}")

    def close(self):
        """Free the buffers."""
        for address in self.at.values():
            self.gpu.cuda.cudaFree(address)
        self.at = {}
