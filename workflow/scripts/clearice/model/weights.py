"""The trained model's file."""

import json
import shlex

import safetensors
import safetensors.torch
import torch
import xxhash

from clearice.errors import InputError
from clearice.files import atomic_path, open_regular
from clearice.model.files import model_file
from clearice.model.networks import build_network
from clearice.wording import listed

FORMAT_VERSION = "1"
CHECKSUM = "content_xxh3"  # its key in the metadata


def save_model(path, network, metadata, dtype=torch.float32):
    """Write the weights of `network` and `metadata` (str to str) as safetensors, atomically.

    Keys are those of the network: conv1.weight (out, in, height, width), conv1.bias (out,) ...,
    of type `dtype`. `metadata` must name the `architecture`; `format_version` and a checksum are
    added.
    """
    tensors = {
        name: tensor.detach().to("cpu", dtype).contiguous()
        for name, tensor in network.state_dict().items()
    }
    with atomic_path(path) as temporary:
        content = safetensors.torch.save(tensors, {"format_version": FORMAT_VERSION, **metadata})
        temporary.write_bytes(_finished(content))  # save_file: only for the owner


def _finished(content):
    """Return the safetensors file `content`, its metadata in order and with its checksum.

    Equal trainings write equal files: safetensors writes the metadata in a random order.
    """
    header, tensors = _split(content)
    metadata = header["__metadata__"]
    metadata[CHECKSUM] = _checksum(header, tensors)
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + tensors


def _split(content):
    """Return the header (a dict) of a safetensors file and the bytes of its tensors.

    A file is the length of its header (8 bytes, little-endian), the header (JSON, filled up with
    spaces to a multiple of 8) and the tensors.
    """
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def _checksum(header, tensors):
    """Return the XXH3-64 of all of a model's file but the checksum itself, in 16 hex digits."""
    metadata = {k: v for k, v in header["__metadata__"].items() if k != CHECKSUM}
    text = json.dumps({**header, "__metadata__": metadata}, sort_keys=True)
    return xxhash.xxh3_64(text.encode() + tensors).hexdigest()


def load_model(path, device="cpu"):
    """Return (network, metadata): the network of that file on `device`, ready to evaluate.

    `path` may be `general`, the pretrained network that comes with clearice. Raises InputError for
    a file that is not a model of ours.
    """
    path = model_file(path)
    try:
        with open_regular(path) as file:
            content = file.read()
        tensors = safetensors.torch.load(content)
        header, data = _split(content)
    except FileNotFoundError:
        raise InputError("no such model", file=path, advice=_advice(path)) from None
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise InputError(
            f"not a readable safetensors file ({error})", file=path, advice=_advice(path)
        ) from None
    metadata = dict(header.get("__metadata__") or {})
    checksum = metadata.pop(CHECKSUM, None)  # those of earlier versions and `general` have none
    if metadata.get("format_version") != FORMAT_VERSION or "architecture" not in metadata:
        raise InputError(
            "not a model of clearice",
            file=path,
            expected=f"metadata architecture and format_version {FORMAT_VERSION}",
            found=listed(f"{k} {v}" for k, v in sorted(metadata.items())) or "no metadata",
        )
    if checksum is not None and (found := _checksum(header, data)) != checksum:
        raise InputError(
            "is damaged: its content does not have its checksum",
            file=path,
            expected=f"{CHECKSUM} {checksum}",
            found=found,
            advice=_advice(path),
        )
    network = build_network(metadata["architecture"])
    load_weights(network, tensors, path)
    return network.to(device).eval(), metadata


def _advice(path):
    """Say how to get a model that can be used."""
    return (
        f"copy it again, or delete it and run again: rm {shlex.quote(str(path))}"
        if path.exists()
        else "look for another name, or train one: snakemake model"
    )


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
