#!/usr/bin/env python3
"""simple_cnn in clearice's own CUDA kernels: those that train it on an NVIDIA GPU.

    cuda_cnn.py --bundle DIR --output DIR [--precision CLASS] [--time N,H,W]

What is run is the engine of the model step, its SGD included. Exit status 3: no GPU or no NVRTC
that it can use.
"""

import argparse
import json
import sys
from pathlib import Path

from torch_cnn import LAYERS, Bundle, batch_shape, cannot_run, timed, write_table

sys.path.append(str(Path(__file__).resolve().parents[1] / "scripts"))

try:
    import torch

    from clearice.model.engines.cuda_blocks import PRECISIONS
    from clearice.model.engines.cuda_cnn import CudaCNN, obstacle_to_cuda
    from clearice.model.engines.cuda_compiler import CudaError
    from clearice.model.networks import build_network
except ImportError as error:
    cannot_run(f"cuda_cnn: {error}")

TIMED_BATCH = 4
TYPES = {"float32": torch.float16, "float16": torch.float16, "bfloat16": torch.bfloat16}


class Program:
    """Compute everything that the bundle asks for, on one GPU."""

    def __init__(self, bundle, output, precision, device):
        self.bundle, self.output, self.precision, self.device = bundle, output, precision, device
        self.rate = bundle.manifest["training"]["learning_rate"]

    def engine(self):
        """Return an engine with the bundle's initial weights, and its SGD."""
        network = build_network("simple_cnn").to(self.device)
        weights = self.bundle.weights()
        network.load_state_dict({name.replace("_", "."): w for name, w in weights.items()})
        engine = CudaCNN(network, self.precision)
        return engine, engine.fused_optimizer("sgd", self.rate)

    def case(self, case, prefix):
        """Write the results of one case under that prefix; return its loss."""
        x, target = (self.bundle.tensor(f"{case}_{side}") for side in ("input", "target"))
        engine, _ = self.engine()
        error = engine.error_and_gradients(x, target, x.numel())
        for name, parameter in engine.network.named_parameters():
            self.write(f"{prefix}_grad_{name.replace('.', '_')}", parameter.grad)
        self.write(f"{prefix}_output", engine.output(x))
        if self.bundle.manifest["cases"][case]["activations"]:
            for name, values in zip(LAYERS, engine.layers(x), strict=False):
                self.write(f"{prefix}_{name}", values)
                activations = self.rounded(torch.relu(values))
                self.write(f"{prefix}_{name.replace('conv', 'relu')}", activations)
        return error.item() / x.numel()

    def rounded(self, values):
        """Return values as the next layer reads them: one 16-bit number, or the sum of two."""
        dtype = TYPES[self.precision]
        first = values.to(dtype).float()
        return first + (values - first).to(dtype).float() if self.precision == "float32" else first

    def training(self):
        """Write the weights after the SGD steps; return the losses."""
        engine, optimizer = self.engine()
        sides = [self.bundle.tensor(f"training_{side}") for side in ("input", "target")]
        losses = []
        for batch in self.bundle.manifest["training"]["batches"]:
            part = slice(batch["first_crop"], batch["first_crop"] + batch["crops"])
            x, target = (side[part] for side in sides)
            losses.append(engine.step(x, target, x.numel(), optimizer))
        for name, parameter in engine.network.named_parameters():
            self.write(f"training_{name.replace('.', '_')}", parameter.detach())
        return [loss.item() for loss in losses]

    def timing(self, shape):
        """Return the median time of a training step of that shape (N, H, W), by CUDA events."""
        count, height, width = shape
        x, target = torch.randn(2, count, 1, height, width, device=self.device)
        engine, optimizer = self.engine()
        return timed(lambda: engine.step(x, target, x.numel(), optimizer), x.shape)

    def write(self, name, values):
        """Write one tensor, little-endian."""
        values.cpu().numpy().astype("<f4").tofile(self.output / f"{name}.bin")


def run(arguments):
    """Compute everything that the bundle asks for and write it into the output folder."""
    device, precision = a_gpu(arguments.precision), arguments.precision
    output = Path(arguments.output)
    output.mkdir(parents=True, exist_ok=True)
    bundle = Bundle(arguments.bundle, device)
    program = Program(bundle, output, precision, device)
    losses = {case: program.case(case, case) for case in bundle.manifest["cases"]}
    curve = program.training()
    repeat = bundle.manifest["repeat"]
    losses[repeat["prefix"]] = program.case(repeat["case"], repeat["prefix"])
    write_table(output / "loss.tsv", "case\tloss", losses.items())
    write_table(output / "training_loss.tsv", "step\tloss", enumerate(curve, start=1))
    sides = bundle.manifest["cases"]["test"]["shape"][2:]
    timing = program.timing(arguments.time or (TIMED_BATCH, *sides))
    result = {
        "bundle_id": bundle.manifest["bundle_id"],
        "implementation": "cuda",
        "precision": precision,
        "device": torch.cuda.get_device_name(device),
        "torch": torch.__version__,
        "training_batches_per_s": timing["training_batches_per_s"],
        "timing": timing,
    }
    (output / "result.json").write_text(json.dumps(result, indent=1) + "\n")


def a_gpu(precision):
    """Return the GPU, or exit with status 3 if the engine cannot run on it."""
    if not torch.cuda.is_available():
        cannot_run("cuda_cnn: no NVIDIA GPU that this PyTorch can use")
    device, network = torch.device("cuda", 0), build_network("simple_cnn")
    if reason := obstacle_to_cuda(network, device, precision):
        cannot_run(f"cuda_cnn: {reason}")
    try:
        CudaCNN(network.to(device), precision)
    except CudaError as error:
        cannot_run(f"cuda_cnn: {str(error).splitlines()[0]}")
    return device


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", required=True, help="folder of the reference bundle")
    parser.add_argument("--output", required=True, help="folder to write the results into")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    parser.add_argument(
        "--time",
        type=batch_shape,
        metavar="N,H,W",
        help="batch to time (default: 4 of the test case)",
    )
    run(parser.parse_args())
