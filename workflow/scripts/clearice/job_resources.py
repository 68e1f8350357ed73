"""What a job asks of a machine, from the size of what it reads: memory, time, room on the disk.

The figures are peaks and times that were measured (docs/cluster.md has the table), with room to
spare. A job that they were too small for is tried again with twice, then three times as much.
"""

import dataclasses
import functools
import gzip
import math
import os
import zlib

from clearice.errors import InputError
from clearice.files import open_regular
from clearice.micrographs.mrc_header import HEADER_BYTES, parse_header
from clearice.shards.record import concatenates

UNKNOWN_PX = (8184, 11520)  # height, width before the first micrograph is there: a K3's, doubled
LONGEST_MIN = 1440  # most partitions allow a day; a training continues from its checkpoint
_MIB = 2**20
_ITEM_BYTES = {"float32": 4, "float16": 2}

# Two Snakemake processes (one that Slurm starts, one in the job step) of 176 MiB parse the
# workflow around each script, and a little more for each micrograph in the list.
_AROUND_MIB, _AROUND_MIB_PER_MICROGRAPH = 380, 0.02
_START_MIN = 10  # imports from a slow file system, a full node

_TORCH_MIB, _CUDA_MIB = 450, 1800
_STAGED_MIB = 16  # of planes on their way to the device, per reader thread
# Of a training step, per pixel of a batch, on a CPU.
_BYTES_PER_BATCH_PX = {"simple_cnn": 480, "s2d_unet": 260}
# Of training on a megapixel of patches and evaluating it, on a core and on a GPU: four times what
# a server's core and ten times what an H100 took.
_CORE_S_PER_MPX = {"simple_cnn": 6, "s2d_unet": 10}
_GPU_S_PER_MPX = {"simple_cnn": 0.1, "s2d_unet": 0.1}


@dataclasses.dataclass(frozen=True)
class Resources:
    """What a job may take: memory (MiB), time (minutes), what it writes (MB)."""

    mem_mb: int
    runtime: int
    disk_mb: int


def resources_of(rule, config, sizes, *, attempt=1, threads=1, n_micrographs=1, architecture=None):
    """Return the Resources of a job of `rule`.

    `sizes` are the (height_px, width_px) of the micrographs that it works on, one after the
    other: one for most, many for a chunk, none where it works on all of them (`n_micrographs`
    of UNKNOWN_PX or of what largest_size() found). `threads` and `architecture` are those of a
    training. KeyError for a rule that isn't known here.
    """
    job = _Job(config, sizes or [UNKNOWN_PX], threads, n_micrographs, architecture)
    mib, minutes, written_mb = _RULES[rule](job)
    around = _AROUND_MIB + _AROUND_MIB_PER_MICROGRAPH * n_micrographs
    return Resources(
        mem_mb=math.ceil((around + mib) * attempt),
        runtime=min(LONGEST_MIN, math.ceil((_START_MIN + minutes) * attempt)),
        disk_mb=math.ceil(1 + written_mb),
    )


def largest_size(config, paths, most=3):
    """Return (height_px, width_px) of the micrographs of a run, UNKNOWN_PX before one is there.

    A simulation's are in its configuration. Else the headers of a few files tell: a run has
    micrographs of one size (micrographs.mixed), and a larger one is tried again with more.
    """
    if config["micrographs"]["source"] == "simulation":
        return config["simulation"]["height_px"], config["simulation"]["width_px"]
    found = []
    for path in paths:
        try:
            with open_regular(path) as file:
                is_gzip = str(path).endswith(".gz")
                raw = (gzip.GzipFile(fileobj=file) if is_gzip else file).read(HEADER_BYTES)
                size = None if is_gzip else os.fstat(file.fileno()).st_size
            header = parse_header(raw, str(path), size)
        except (OSError, EOFError, zlib.error, InputError):
            continue  # not there yet, or bad: its shard says so
        found.append((header.height_px, header.width_px))
        if len(found) == most:
            break
    return max(found, key=math.prod, default=UNKNOWN_PX)


@dataclasses.dataclass(frozen=True)
class _Job:
    config: dict
    sizes: list
    threads: int
    n_micrographs: int
    architecture: str | None

    @functools.cached_property
    def px(self):
        """Pixels of the largest micrograph: one is in memory at a time."""
        return max(map(math.prod, self.sizes))

    @functools.cached_property
    def all_mpx(self):
        """Megapixels of all of them."""
        return sum(map(math.prod, self.sizes)) / 1e6

    @property
    def patch_px(self):
        """Side of a patch."""
        return self.config["patches"]["size_px"]

    def patch_mpx(self, sizes):
        """Megapixels of the patches, of one side, that are cut from micrographs of these sizes."""
        overlap = (self.patch_px / self.config["patches"]["stride_px"]) ** 2
        return max(1, overlap) * sum(map(math.prod, sizes)) / 1e6

    def patches_mb(self, sizes):
        """Megabytes of both sides of those patches."""
        return 2 * self.patch_mpx(sizes) * _ITEM_BYTES[self.config["dataset"]["dtype"]]

    def shard_mb(self, sizes):
        """Megabytes of what is stored of them: patches, planes or both."""
        planes = 2 * sum(map(math.prod, sizes)) / 1e6 * _ITEM_BYTES[self.config["dataset"]["dtype"]]
        patches, layout = self.patches_mb(sizes), self.config["dataset"]["layout"]
        return {"patches": patches, "planes": planes, "both": patches + planes}[layout]

    def run_sizes(self):
        """Sizes with as many pixels as all micrographs of the run."""
        return [(self.n_micrographs, self.px)]


def _simulated(job):
    return 110 + 24 * job.px / _MIB, 0.5 * job.all_mpx, 12 * job.all_mpx


def _fetched(job):
    return 128, 60 + job.all_mpx, 4 * job.all_mpx  # 8 bytes a microsecond would be fast


def _sharded(job):
    rows = 0  # of patches, in memory until they are cut
    if job.config["dataset"]["layout"] != "planes":
        rows = max(min(job.patch_px, height) * width for height, width in job.sizes)
    mb = job.shard_mb(job.sizes)
    return 64 + 2 * 4 * rows / _MIB, mb / 600, mb  # written at 10 MB a second at least


def _listed(job):
    return 128 + 0.05 * job.n_micrographs, 0.01 * job.n_micrographs, 0


def _concatenated(job):
    mb = job.patches_mb(job.run_sizes()) if concatenates(job.config["dataset"]) else 0
    return 160 + 0.02 * job.n_micrographs, mb / 600, mb


def _small(job):
    return 128 + 0.05 * job.n_micrographs, 0.01 * job.n_micrographs, 1


def _trained(job):
    settings = job.config["model"][job.architecture]
    on_gpu = settings["device"].startswith("cuda")
    batch_px = settings["batch_size"] * job.patch_px**2
    if on_gpu:
        staged = 0 if job.config["dataset"]["layout"] == "patches" else _STAGED_MIB
        buffers = 2 * settings["buffer_mib"] + staged * settings["reader_threads"]
        mib = settings["devices"] * (_CUDA_MIB + buffers)
        per_mpx = _GPU_S_PER_MPX[job.architecture] / settings["devices"]
    else:
        step = _BYTES_PER_BATCH_PX[job.architecture] * batch_px / _MIB
        mib = settings["devices"] * _TORCH_MIB + step + 2 * settings["buffer_mib"]
        per_mpx = _CORE_S_PER_MPX[job.architecture] / job.threads
    minutes = settings["epochs"] * job.patch_mpx(job.run_sizes()) * per_mpx / 60
    return mib, minutes, 100


def _exported(job):
    batch_px = job.config["reference"]["batch_size"] * job.patch_px**2
    crop_px = 4 * job.config["reference"]["crop_px"] ** 2
    return _TORCH_MIB + 1000 * max(batch_px, crop_px) / _MIB, 10, 200 * batch_px / 1e6


def _implemented(job):
    batch_px = job.config["reference"]["batch_size"] * job.patch_px**2
    timeout = max(i["timeout_minutes"] for i in job.config["parity"]["implementations"].values())
    return _TORCH_MIB + 1000 * batch_px / _MIB, timeout, 200 * batch_px / 1e6


def _compared(job):
    batch_px = job.config["reference"]["batch_size"] * job.patch_px**2
    return 128 + 100 * batch_px / _MIB, 10, 1


def _denoised(job):
    on_gpu = job.config["denoised"]["device"].startswith("cuda")
    mib = _CUDA_MIB + 10 * job.px / _MIB if on_gpu else 400  # it holds the image, and the result
    return mib, 0.1 * job.all_mpx, _ITEM_BYTES[job.config["denoised"]["dtype"]] * job.all_mpx


def _validated(job):
    mib, minutes, _ = _denoised(job)
    return mib + 8 * job.px / _MIB, 4 * minutes, 1


def _drawn(job):
    n = job.n_micrographs
    minutes = n * (0.002 + 0.0005 * job.px / 1e6)
    return 128 + 100 * job.threads + 0.1 * n, minutes, 2 * n


def _reported(job):
    return 400 + 0.2 * job.n_micrographs, 5 + 0.05 * job.n_micrographs, 10


def _built(job):
    return 256, 5, 10


_RULES = {
    "simulate_micrograph": _simulated,
    "fetch_micrograph": _fetched,
    "shard_micrograph": _sharded,
    "list_micrographs": _listed,
    "concatenate_shards": _concatenated,
    "write_manifest": _small,
    "plan": _listed,
    "train_denoiser": _trained,
    "export_reference": _exported,
    "build_fortran": _built,
    "run_implementation": _implemented,
    "compare_implementation": _compared,
    "require_parity": _small,
    "denoise_micrograph": _denoised,
    "validate_micrograph": _validated,
    "sum_up_validation": _small,
    "draw_micrographs": _drawn,
    "report": _reported,
}
