"""CUDA, cuBLAS and cuDNN through ctypes: find them, load them, type and check every call.

The search order is the given folder, if any, the nvidia-* wheels of this Python
(site-packages/nvidia/*/lib), then the places where the system's loader looks. Signatures follow
NVIDIA's API references: CUDA Runtime, cuBLAS (the _v2 symbols), cuDNN's ops and cnn libraries.
"""

import ctypes
import functools
import glob
import os
import sys


class Unavailable(Exception):
    """No GPU, driver or library can be used here; the text is one line."""


class CudaError(Exception):
    """A call returned an error status."""


_TYPES = {
    "p": ctypes.c_void_p,
    "i": ctypes.c_int,
    "z": ctypes.c_size_t,
    "d": ctypes.c_double,
    "f": ctypes.c_float,
}

# One letter per argument. Enumerations are ints; handles, descriptors and addresses are pointers.
_CUDART = {
    "cudaMalloc": "pz",
    "cudaFree": "p",
    "cudaMemcpy": "ppzi",
    "cudaMemGetInfo": "pp",
    "cudaDeviceSynchronize": "",
    "cudaEventCreate": "p",
    "cudaEventRecord": "pp",
    "cudaEventSynchronize": "p",
    "cudaEventElapsedTime": "ppp",
}
_CUBLAS = {
    "cublasCreate_v2": "p",
    "cublasSetPointerMode_v2": "pi",
    "cublasSetMathMode": "pi",
    "cublasSgemv_v2": "piiippipippi",  # handle trans m n alpha A lda x incx beta y incy
    "cublasSdot_v2": "pipipip",  # handle n x incx y incy result
    "cublasSscal_v2": "pippi",  # handle n alpha x incx
    "cublasSaxpy_v2": "pippipi",  # handle n alpha x incx y incy
}
_CUDNN = {
    "cudnnCreate": "p",
    "cudnnCreateTensorDescriptor": "p",
    "cudnnSetTensor4dDescriptor": "piiiiii",  # desc format type n c h w
    "cudnnCreateFilterDescriptor": "p",
    "cudnnSetFilter4dDescriptor": "piiiiii",  # desc type format k c h w
    "cudnnCreateConvolutionDescriptor": "p",
    "cudnnSetConvolution2dDescriptor": "piiiiiiii",  # pad h w, stride h w, dilation h w, mode, type
    "cudnnSetConvolutionMathType": "pi",
    "cudnnCreateActivationDescriptor": "p",
    "cudnnSetActivationDescriptor": "piid",  # desc mode NaN option coefficient
    "cudnnFindConvolutionForwardAlgorithmEx": "ppppppppipppz",
    "cudnnFindConvolutionBackwardDataAlgorithmEx": "ppppppppipppz",
    "cudnnFindConvolutionBackwardFilterAlgorithmEx": "ppppppppipppz",
    "cudnnGetConvolutionForwardAlgorithm_v7": "pppppipp",
    "cudnnGetConvolutionBackwardDataAlgorithm_v7": "pppppipp",
    "cudnnGetConvolutionBackwardFilterAlgorithm_v7": "pppppipp",
    "cudnnConvolutionForward": "pppppppipzppp",
    "cudnnConvolutionBackwardData": "pppppppipzppp",
    "cudnnConvolutionBackwardFilter": "pppppppipzppp",
    "cudnnAddTensor": "ppppppp",
    "cudnnActivationForward": "pppppppp",
    "cudnnActivationBackward": "pppppppppppp",
}


class Performance(ctypes.Structure):
    """cudnnConvolution{Fwd,BwdData,BwdFilter}AlgoPerf_t: 48 bytes, the same for all three."""

    _fields_ = (
        ("algorithm", ctypes.c_int),
        ("status", ctypes.c_int),
        ("time_ms", ctypes.c_float),
        ("memory_bytes", ctypes.c_size_t),
        ("deterministic", ctypes.c_int),
        ("math_type", ctypes.c_int),
        ("reserved", ctypes.c_int * 3),
    )


class Library:
    """The functions of one shared library; each raises CudaError unless it returns 0."""

    def __init__(self, handle, signatures, explain):
        self._explain = explain
        for name, letters in signatures.items():
            function = getattr(handle, name, None)
            if function is None:
                raise Unavailable(f"{handle._name} has no {name}")
            function.argtypes = [_TYPES[letter] for letter in letters]
            function.restype = ctypes.c_int
            setattr(self, name, functools.partial(self._call, function, name))

    def _call(self, function, name, *arguments):
        status = function(*arguments)
        if status:
            raise CudaError(f"{name} returned {status}: {self._explain(status)}")


def load_libraries(folder=None):
    """Return (cudart, cublas, cudnn, facts); facts are the GPU's name and the versions.

    `folder` is searched first. Raises Unavailable and says what is missing.
    """
    device = _first_gpu(folder)
    runtime, cublas, cudnn = _open_libraries(folder)
    version = cudnn.cudnnGetVersion
    version.restype = ctypes.c_size_t
    facts = {"device": device, "cudnn": version()}
    return (
        Library(runtime, _CUDART, _texts(runtime, "cudaGetErrorString")),
        Library(cublas, _CUBLAS, _texts(cublas, "cublasGetStatusString")),
        Library(cudnn, _CUDNN, _cudnn_texts(cudnn)),
        facts,
    )


def _first_gpu(folder):
    """Return the name of GPU 0, from the driver."""
    driver = _open("libcuda.so.1", folder)
    if driver is None:
        raise Unavailable("no NVIDIA driver (libcuda.so.1)")
    count, name = ctypes.c_int(0), ctypes.create_string_buffer(256)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        raise Unavailable("no NVIDIA GPU that the driver can use")
    driver.cuDeviceGetName(name, ctypes.c_int(256), ctypes.c_int(0))
    return name.value.decode()


def _open_libraries(folder):
    """Return handles of matching versions of libcudart, libcublas and libcudnn."""
    for major in (13, 12):
        runtime = _open(f"libcudart.so.{major}", folder)
        if runtime is None:
            continue
        _open(f"libcublasLt.so.{major}", folder)  # the next libraries load these by name
        _open(f"libnvrtc.so.{major}", folder)
        cublas = _open(f"libcublas.so.{major}", folder)
        if cublas is None:
            continue
        cudnn = _open("libcudnn.so.9", folder) or _open("libcudnn.so.8", folder)
        if cudnn is None:
            raise Unavailable("no libcudnn.so.9 (wheel nvidia-cudnn-cu13 or the system)")
        return runtime, cublas, cudnn
    raise Unavailable("no libcudart and libcublas of CUDA 12 or 13 (wheels or the system)")


def _open(name, folder):
    """Return a handle of the first library with that name that loads, or None."""
    places = [os.path.join(entry, "nvidia", "*", "lib", name) for entry in sys.path if entry]
    files = [path for place in places for path in sorted(glob.glob(place))]
    named = [os.path.join(folder, name)] if folder else []
    usual = [f"/usr/local/{place}/lib64/{name}" for place in ("cuda", "nvidia")]
    for path in [*named, *files, name, *usual]:
        try:
            return ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
        except OSError:
            continue
    return None


def _texts(handle, name):
    """Return a function from status to text that calls the library's function `name`."""
    function = getattr(handle, name)
    function.argtypes, function.restype = [ctypes.c_int], ctypes.c_char_p
    return lambda status: (function(status) or b"?").decode()


def _cudnn_texts(cudnn):
    """Return a function from status to text, with cuDNN 9's details on the last error."""
    short = _texts(cudnn, "cudnnGetErrorString")
    detail = getattr(cudnn, "cudnnGetLastErrorString", None)

    def explain(status):
        text = short(status)
        if detail is not None:
            buffer = ctypes.create_string_buffer(512)
            detail.argtypes, detail.restype = [ctypes.c_char_p, ctypes.c_size_t], None
            detail(buffer, 512)
            text += f" ({buffer.value.decode(errors='replace').strip()})"
        return text

    return explain
