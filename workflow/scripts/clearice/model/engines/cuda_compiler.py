"""CUDA C++ compiled when it is needed, for the GPU that is there, and launched on torch's tensors.

NVRTC and the driver are called through cuda.bindings, which PyTorch's CUDA wheels require: there
is no compiler, header or package to install. A first compilation takes a second or two; NVRTC
itself keeps what it made (in ~/.nv/ComputeCache), so that the next process waits 0.04 s.
"""

import ctypes
import re
from pathlib import Path

from clearice.model.engines.cuda_blocks import Gpu

SOURCES = Path(__file__).with_name("cuda")
LEAST_CAPABILITY = (8, 0)  # bfloat16 and max.NaN
_TYPES = {
    "p": ctypes.c_void_p,
    "i": ctypes.c_int,
    "l": ctypes.c_longlong,
    "f": ctypes.c_float,
    "d": ctypes.c_double,
}


class CudaError(RuntimeError):
    """The driver or NVRTC refused something; the text is what it said."""


def obstacle(capability):
    """Return in words why no kernel can be compiled for a GPU of `capability`, None if it can.

    `capability` is the compute capability, (major, minor).
    """
    if tuple(capability) < LEAST_CAPABILITY:
        return f"the GPU has compute capability {_dotted(capability)}, 8.0 is needed"
    try:
        from cuda.bindings import nvrtc

        architectures = _checked(nvrtc.nvrtcGetSupportedArchs())
    except ImportError:
        return "the package cuda-bindings is missing: PyTorch's CUDA wheels bring it, or install it"
    except (RuntimeError, OSError) as error:  # what cuda.bindings raises without the library
        return f"NVRTC cannot be loaded ({_first_line(error)})"
    if capability[0] * 10 + capability[1] not in architectures:
        return f"NVRTC is too old for compute capability {_dotted(capability)}"
    return None


def gpu_of(device):
    """Return the cuda_blocks.Gpu that a torch.device with an index is."""
    from cuda.bindings import driver

    number = _checked(driver.cuDeviceGet(device.index))
    names = (
        "MAX_SHARED_MEMORY_PER_BLOCK_OPTIN",
        "MAX_SHARED_MEMORY_PER_MULTIPROCESSOR",
        "MULTIPROCESSOR_COUNT",
    )
    attributes = (getattr(driver.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{n}") for n in names)
    return Gpu(*(_checked(driver.cuDeviceGetAttribute(a, number)) for a in attributes))


def compile_cubin(name, macros, capability, *, cached=True):
    """Return (machine code as bytes, the compiler's log) of the source file `name`.

    `macros` are set as with -D; headers are the .cuh files beside it. The log says how many
    registers each kernel takes and how many bytes it spills. NVRTC keeps what it compiled, on a
    machine with a driver, and has no such log for it: `cached` False compiles in any case.
    """
    from cuda.bindings import nvrtc

    headers = {path.name: path.read_bytes() for path in sorted(SOURCES.glob("*.cuh"))}
    program = _checked(
        nvrtc.nvrtcCreateProgram(
            (SOURCES / name).read_bytes(),
            name.encode(),
            len(headers),
            list(headers.values()),
            [header.encode() for header in headers],
        )
    )
    options = ["--gpu-architecture=sm_{}{}".format(*capability), "--std=c++17"]
    options += ["--ptxas-options=-v", *(f"-D{macro}={value}" for macro, value in macros.items())]
    options += [] if cached else ["--no-cache"]
    words = [option.encode() for option in options]
    try:
        status = nvrtc.nvrtcCompileProgram(program, len(words), words)[0]
        log = _buffer(_checked(nvrtc.nvrtcGetProgramLogSize(program)))
        _checked(nvrtc.nvrtcGetProgramLog(program, log))
        log = log.rstrip(b"\0").decode(errors="replace")
        if int(status):
            raise CudaError(f"{name} does not compile with {' '.join(options)}:\n{log}")
        size = _checked(nvrtc.nvrtcGetCUBINSize(program))
        cubin = _buffer(size)
        _checked(nvrtc.nvrtcGetCUBIN(program, cubin))
    finally:
        nvrtc.nvrtcDestroyProgram(program)
    return cubin[:size], log


def _buffer(size):
    """Return bytes for NVRTC to write `size` of them into.

    Never one byte: of those Python has one object each, which is everybody's. An empty log is the
    byte 0, and written into b" " it would turn the blanks of the whole process into zeros.
    """
    return bytes(size + 1)


def resources_of(log):
    """Return kernel -> (registers per thread, bytes of spill stores) from a compiler's log."""
    found = {}
    for part in log.split("Compiling entry function '")[1:]:
        registers = int(re.search(r"Used (\d+) registers", part)[1])
        spilled = int(re.search(r"(\d+) bytes spill stores", part)[1])
        found[part.split("'")[0]] = registers, spilled
    return found


class Module:
    """Machine code on one GPU. `device` is a torch.device with an index."""

    def __init__(self, cubin, device):
        import torch
        from cuda.bindings import driver

        self.device = device
        with torch.cuda.device(device):
            torch.cuda.current_stream()  # makes torch's context the current one
            self._module = _checked(driver.cuModuleLoadData(cubin))

    def kernel(self, name, types, shared_bytes=0):
        """Return the Kernel of that name with `shared_bytes` of dynamic shared memory per block.

        `types` has a letter per argument: p address, i int, l long long, f float, d double.
        """
        from cuda.bindings import driver

        function = _checked(driver.cuModuleGetFunction(self._module, name.encode()))
        if shared_bytes > 48 * 1024:
            attribute = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            _checked(driver.cuFuncSetAttribute(function, attribute, shared_bytes))
        return Kernel(self, function, types, shared_bytes)


class Kernel:
    """A function on the GPU; its arguments lie in one place, so that a launch is one call."""

    def __init__(self, module, function, types, shared_bytes):
        from torch.cuda import current_stream, device

        self._module, self._function, self._shared_bytes = module, function, shared_bytes
        self._values = [_TYPES[letter]() for letter in types]
        places = (ctypes.addressof(value) for value in self._values)
        self._places = (ctypes.c_void_p * len(self._values))(*places)
        self._current_stream, self._on_device = current_stream, device

    def __call__(self, blocks, threads, *arguments):
        """Launch in torch's current stream; an address is an int, 0 or None for none."""
        from cuda.bindings import driver

        for value, argument in zip(self._values, arguments, strict=True):
            value.value = argument
        with self._on_device(self._module.device):
            stream = self._current_stream().cuda_stream
            grid = (blocks, 1, 1, threads, 1, 1)
            places = ctypes.addressof(self._places)
            _checked(
                driver.cuLaunchKernel(self._function, *grid, self._shared_bytes, stream, places, 0)
            )


def _checked(answer):
    """Return what a call of cuda.bindings answered, without its status."""
    status, *values = answer
    if int(status):
        raise CudaError(f"{status!r}")
    return values[0] if len(values) == 1 else values


def _dotted(capability):
    return "{}.{}".format(*capability)


def _first_line(error):
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
