"""The configurations of the training benchmark: each measures itself in its own process."""

import itertools
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from measuring import SCRIPTS, Stopwatch, summary

from clearice.config import complete_config
from clearice.dataset.reader import open_split
from clearice.model.device import set_precision
from clearice.model.distributed import Processes
from clearice.model.epochs import batches_of, epoch_order
from clearice.model.feed import Feed
from clearice.model.late_losses import LateLosses
from clearice.model.loader import Loader
from clearice.model.memory import peak_device_mib, peak_host_mib
from clearice.model.networks import build_network
from clearice.model.optimization import Optimization

BATCH, BATCHES = 4, 4  # patches, and batches of them in memory


def timed(step, batches, device, plan):
    """Call step(batch) on the endless iterator `batches`; return a summary of the steps/s."""
    for _ in range(plan["warm_up"]):
        step(next(batches))
    watch = Stopwatch(device)
    watch.mark()
    for _ in range(plan["blocks"]):
        for _ in range(plan["steps"]):
            step(next(batches))
        watch.mark()
    return summary(watch.rates(plan["steps"]))


def batches_in_memory(device, size_px):
    """Return BATCHES pairs of noisy waves on the device, the same for every configuration.

    They are used in turn: one alone would stay in the cache of the GPU.
    """
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(*[torch.arange(size_px) / size_px] * 2, indexing="ij")
    pairs = []
    for number in range(BATCHES):
        wave = torch.sin(5 * (number + 1) * x + 3 * y)
        noise = torch.randn(2, BATCH, 1, size_px, size_px, generator=generator)
        pairs.append(tuple((wave + half).to(device) for half in noise))
    return pairs


def measure_baseline(manifests, device, plan, _options):
    """Plain PyTorch: eager float32, torch's DataLoader, one loss read per block."""
    manifest = manifests["float32"]
    set_precision("float32")
    torch.manual_seed(0)
    network = build_network("simple_cnn").to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)

    def step(pair):
        image, target = (side.to(device, non_blocking=True) for side in pair)
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(network(image), target).backward()
        optimizer.step()

    dataset = PlainDataset(manifest)
    on_gpu = device.type == "cuda"
    loader = torch.utils.data.DataLoader(
        dataset,
        batch_size=BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=plan["workers"],
        pin_memory=on_gpu,
        persistent_workers=True,
    )

    def endless():
        while True:
            yield from loader

    pairs = batches_in_memory(device, plan["size_px"])
    found = errors(network, None, pairs[0])
    forget_peak(device)  # float64 took more than a training does
    return {
        "from_memory": timed(step, itertools.cycle(pairs), device, plan),
        "from_page_cache": timed(step, endless(), device, plan),
        **memory(device),
        **found,
    }


class PlainDataset(torch.utils.data.Dataset):
    """The same files, as a PyTorch user would read them."""

    def __init__(self, manifest):
        content = json.loads(Path(manifest).read_text())
        shape = content["splits"]["train"]["shape"]
        self._sides = [
            np.memmap(Path(manifest).with_name(f"train_{side}.bin"), "<f4", "r", shape=tuple(shape))
            for side in ("input", "target")
        ]

    def __len__(self):
        return len(self._sides[0])

    def __getitem__(self, i):
        return [torch.from_numpy(np.array(side[i]))[None] for side in self._sides]


def measure_loader(manifests, device, plan, options):
    """Batches onto the device and nothing else."""
    manifest = manifests[options.get("dtype", "float32")]
    with (
        open_split(manifest, "train") as reader,
        Loader(
            BATCH, reader.patch_size_px, reader.dtype, device, threads=options["threads"]
        ) as loader,
    ):

        def endless():
            epoch = 0
            while True:
                order = epoch_order(len(reader), 0, epoch)
                batches = [ours for ours, _ in batches_of(order, BATCH) if len(ours) == BATCH]
                yield from loader.batches(reader, batches)
                epoch += 1

        rates = timed(lambda batch: None, endless(), device, plan | {"steps": 4 * plan["steps"]})
    return {"from_page_cache": rates, **memory(device)}


def measure_ours(manifests, device, plan, options):
    """Feed, optimization and late losses, as in a training; from float32 and float16 patches."""
    started = time.perf_counter()
    deterministic = options.get("deterministic", False)
    set_precision(options["precision"], deterministic)
    optimization = our_optimization(device, options["precision"], options["engine"])
    late, pixels = LateLosses(device), BATCH * plan["size_px"] ** 2

    def step(pair):
        late.push(optimization.step(*pair, pixels), None)

    def step_on(batch):
        late.push(optimization.step_on(batch, pixels), None)

    pairs = batches_in_memory(device, plan["size_px"])
    step_started = time.perf_counter()
    found = errors(optimization.network, optimization, pairs[0])
    errors_s = time.perf_counter() - step_started
    forget_peak(device)  # float64 took more than a training does
    step(pairs[0])
    late.drain()
    ready_s = time.perf_counter() - started - errors_s
    rates = {"from_memory": timed(step, itertools.cycle(pairs), device, plan)}
    late.drain()
    for dtype, manifest in manifests.items():
        settings = model_settings(precision=options["precision"], reader_threads=plan["threads"])
        with Feed(manifest, settings, device, Processes()) as feed:
            waited_s, before_s = feed.waited_s, time.perf_counter()
            name = "from_page_cache" + ("_float16" if dtype == "float16" else "")
            rates[name] = timed(step_on, endless_batches(feed), device, plan)
            late.drain()
            waited_s, seconds = feed.waited_s - waited_s, time.perf_counter() - before_s
            rates[f"device_wait_fraction_{dtype}"] = waited_s / seconds
    return {
        **rates,
        "engine": optimization.engine.name,
        "seconds_to_first_step": ready_s,
        **memory(device),
        **found,
    }


def our_optimization(device, precision, engine, images=torch.float32):
    """Return the Optimization of a training, with the same initial weights every time."""
    torch.manual_seed(0)
    return Optimization(
        build_network("simple_cnn"),
        device,
        optimizer="adam",
        learning_rate=1e-3,
        precision=precision,
        engine=engine,
        images=images,
    )


def endless_batches(feed):
    """Yield the full batches of a Feed, epoch after epoch."""
    for epoch in itertools.count():
        for batch in feed.training_batches(epoch):
            if batch.full:
                yield batch


def measure_script(manifests, device, plan, options):
    """One epoch of the rule's own script; the figures are those of its history."""
    manifest = manifests[options.get("dtype", "float32")]
    with tempfile.TemporaryDirectory() as folder:
        script = SCRIPTS / "train_denoiser.py"
        sets = [f"precision={options['precision']}", f"device={device.type}"]
        sets += ["epochs=2", f"reader_threads={plan['threads']}"]
        command = [sys.executable, str(script), str(manifest), folder]
        started = time.perf_counter()
        subprocess.run([*command, *(f"--set={text}" for text in sets)], check=True)
        seconds = time.perf_counter() - started
        record = json.loads((Path(folder) / "training.json").read_text())
    last = record["last_epoch"]
    rate = last["batches_per_s"]
    return {
        "from_page_cache": {"median": rate, "least": rate, "most": rate, "blocks": 1},
        "device_wait_fraction_float32": last["device_wait_fraction"],
        "peak_host_mib": last["peak_host_mib"],
        "peak_device_mib": last["peak_device_mib"],
        "seconds_in_all": seconds,
    }


MEASURES = {
    "baseline": measure_baseline,
    "loader": measure_loader,
    "ours": measure_ours,
    "script": measure_script,
}


def model_settings(**changes):
    """Return a complete section of config.yaml's model."""
    config = complete_config({"model": {"simple_cnn": changes}})
    return config["model"]["simple_cnn"]


def memory(device):
    """Return the peaks of memory of this process, and what the device has in use in all."""
    found = {"peak_host_mib": peak_host_mib(), "peak_device_mib": peak_device_mib(device)}
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        found["device_used_mib"] = (total - free) / 2**20
    return found


def forget_peak(device):
    """Let the peak of device memory start anew."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def errors(network, optimization, pair):
    """Return the errors of output and gradients against float64, on one batch, before any step."""
    exact = build_network("simple_cnn").to(pair[0].device).double()
    exact.load_state_dict(network.state_dict())
    output = exact(pair[0].double())
    (output - pair[1]).square().mean().backward()
    network.zero_grad()
    if optimization is None:
        ours = network(pair[0])
        torch.nn.functional.mse_loss(ours, pair[1]).backward()
    else:
        engine = optimization.engine
        ours = engine.output(pair[0])
        engine.error_and_gradients(*pair, pair[1].numel())
        for parameter in network.parameters():
            parameter.grad /= engine.scaler.get_scale()
    gradients = {}
    for name, parameter in network.named_parameters():
        reference = exact.get_parameter(name).grad
        gradients[name] = float((parameter.grad - reference).norm() / reference.norm())
    network.zero_grad()
    difference = ours.detach().double() - output.detach()
    return {
        "output_error_max": float(difference.abs().max()),
        "output_error_l2": float(difference.norm() / output.detach().norm()),
        "gradient_error_l2": max(gradients.values()),
    }
