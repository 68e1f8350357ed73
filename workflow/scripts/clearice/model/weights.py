"""The trained model's file."""

import json
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from clearice.errors import InputError
from clearice.files import atomic_path, open_regular
from clearice.model.networks import build_network

FORMAT_VERSION = "1"
GENERAL = Path(__file__).parent / "general" / "weights.safetensors"


def model_file(name):
    """Return the file of a model: that of the pretrained network for `general`, else `name`."""
    return GENERAL if str(name) == "general" else Path(name)


def save_model(path, network, metadata, dtype=torch.float32):
    """Write the weights of `network` and `metadata` (str to str) as safetensors, atomically.

    Keys are those of the network: conv1.weight (out, in, height, width), conv1.bias (out,) ...,
    of type `dtype`. `metadata` must name the `architecture`; `format_version` is added.
    """
    tensors = {
        name: tensor.detach().to("cpu", dtype).contiguous()
        for name, tensor in network.state_dict().items()
    }
    with atomic_path(path) as temporary:
        content = safetensors.torch.save(tensors, {"format_version": FORMAT_VERSION, **metadata})
        temporary.write_bytes(_with_sorted_metadata(content))  # save_file: only for the owner


def _with_sorted_metadata(content):
    """Return the safetensors file `content`, its metadata in order: they come in a random one.

    So equal trainings write equal files. A file is the length of its header (8 bytes, little-
    endian), the header (JSON, filled up with spaces to a multiple of 8) and the tensors.
    """
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[end:]


def load_model(path, device="cpu"):
    """Return (network, metadata): the network of that file on `device`, ready to evaluate.

    `path` may be `general`, the pretrained network that comes with clearice. Raises InputError for
    a file that is not a model of ours.
    """
    path = model_file(path)
    try:
        open_regular(path).close()  # the library would wait for a FIFO
        with safetensors.safe_open(path, framework="pt", device="cpu") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise InputError("no such model", file=path) from None
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(
            f"not a readable safetensors file ({error})", file=path, advice="train the model again"
        ) from None
    if metadata.get("format_version") != FORMAT_VERSION or "architecture" not in metadata:
        raise InputError(
            "not a model of clearice",
            file=path,
            expected=f"metadata architecture and format_version {FORMAT_VERSION}",
            found=", ".join(f"{k} {v}" for k, v in sorted(metadata.items())) or "no metadata",
        )
    network = build_network(metadata["architecture"])
    load_weights(network, tensors, path)
    return network.to(device).eval(), metadata


def load_weights(network, tensors, path):
    """Copy `tensors` (a dict by name, read from `path`) into `network`.

    Raises InputError for a missing, an additional or a differently shaped tensor, and for one
    with values that are not finite.
    """
    wanted = network.state_dict()
    for name in sorted(wanted.keys() | tensors.keys()):
        shape = {
            side: "none" if tensor is None else str(tuple(tensor.shape))
            for side, tensor in (("expected", wanted.get(name)), ("found", tensors.get(name)))
        }
        if shape["expected"] != shape["found"]:
            raise InputError(f"tensor {name} does not fit the network", file=path, **shape)
        if not torch.isfinite(tensors[name]).all():
            raise InputError(f"tensor {name} has values that are not finite", file=path)
    network.load_state_dict(tensors)
