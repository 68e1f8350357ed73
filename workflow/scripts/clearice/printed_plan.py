"""The plan of a run in words: what it will write, against the free disk. Reads headers only."""

import functools
import textwrap

from clearice.config import require_weights, trained_architectures
from clearice.dataset.micrograph_table import allowed_fraction
from clearice.dataset.splits import read_test_micrographs, split_of
from clearice.disk import free_bytes
from clearice.errors import InputError
from clearice.interpreter import require_plain_python
from clearice.micrographs.finding.sources import find_micrographs
from clearice.micrographs.waiting import REASONS
from clearice.planning import (
    FOLDERS,
    bytes_missing,
    bytes_of_layouts,
    bytes_to_write,
    check_denoised_dtype,
    disk_shortages,
    examine_set,
    existing,
    gib,
    plan_micrographs,
)
from clearice.wording import LISTED

WIDTH = 80
# Patches written, fsynced, on a workstation's disk; shards and dataset are disk-bound.
WRITTEN_BYTES_PER_S = 0.4e9
# Architecture -> device -> pixels trained per second, in float32, batches of 4 x 1024 x 1024 px.
TRAINED_PX_PER_S = {
    "simple_cnn": {"one H100": 232 * 4 * 1024**2, "two CPU cores": 0.28 * 4 * 1024**2},
    "s2d_unet": {"one H100": 139 * 1024**2, "two CPU cores": 5.2 * 1024**2},
}


def plan(config, ask=True):
    """Print the plan of the checked configuration `config`, relative to the working directory.

    With `ask` false an archive that was asked before is not asked what it has today.
    Raises InputError, after printing, when the run would stop: too many micrographs rejected,
    too few to split, or a disk too small.
    """
    require_plain_python()
    require_weights(config)
    say = functools.partial(print_wrapped, "note")
    micrographs = find_micrographs(config, say=say, ask=ask)
    print_entry(config, say, ask)
    planned = plan_micrographs(config, micrographs)
    faults, splits = [], {}
    print_set(config, micrographs, planned, faults)
    print_micrographs(planned, faults, config["micrographs"])
    try:
        splits = planned_splits(config, planned)
    except InputError as error:
        faults.append(error)
    counts = print_patches(config, planned, splits)
    missing = bytes_missing(config, planned, micrographs)
    print_bytes(bytes_to_write(config, planned), missing)
    print_time(config, missing, counts.get("train", 0))
    faults += disk_shortages(missing)
    try:
        check_denoised_dtype(config, micrographs)
    except InputError as error:
        faults.append(error)
    for fault in faults:
        print_wrapped("stops", str(fault))
    if faults:
        raise InputError(f"this run would stop, see `stops` in the plan; reasons: {len(faults)}")


def print_entry(config, say, ask):
    """Print what the archive says of the entry that is used, if it is one and says anything."""
    if config["micrographs"]["source"] != "empiar":
        return
    from clearice.micrographs.empiar.description import describe_entry  # with ssl

    if described := describe_entry(config["empiar"], ".", say, ask):
        print_wrapped("entry", described.in_words())


def print_set(config, micrographs, planned, faults):
    """Print what the micrographs are, in one line, and what about them deserves a warning."""
    there, warnings, found = examine_set(config, micrographs, planned)
    if there:
        print_wrapped("set", there)
    for line in warnings:
        print_wrapped("  warning", line)
    faults += found


def print_micrographs(planned, faults, section):
    """Print how many micrographs are accepted, and the first rejected ones with their reasons."""
    waiting = [m for m in planned if m.reason in REASONS]
    rejected = [m for m in planned if m.reason is not None and m.reason not in REASONS]
    accepted = len(planned) - len(rejected) - len(waiting)
    wait = f", {len(waiting):,} waiting" if waiting else ""
    print_wrapped(
        "micrographs",
        f"{accepted:,} accepted, {len(rejected):,} rejected{wait}, by their headers alone",
    )
    for micrograph in waiting[:LISTED]:
        print_wrapped("  waiting", f"{micrograph.name}: {micrograph.reason}")
    if len(waiting) > LISTED:
        print_wrapped("  waiting", f"and {len(waiting) - LISTED:,} more")
    for micrograph in rejected[:LISTED]:
        print_wrapped("  rejected", f"{micrograph.name}: {micrograph.reason}")
    if len(rejected) > LISTED:
        print_wrapped("  rejected", f"and {len(rejected) - LISTED:,} more")
    unknown = sum(m.n_patches is None for m in planned)
    if unknown:
        print_wrapped("  unknown", f"{unknown:,} still to be downloaded: their size is not known")
    allowed = allowed_fraction(section["on_error"], section["max_rejected_fraction"])
    if not len(rejected) <= allowed * len(planned):
        faults.append(
            InputError(
                f"{len(rejected)} of {len(planned)} micrographs would be rejected",
                expected=f"at most {allowed:.0%} (micrographs.on_error, max_rejected_fraction)",
            )
        )


def planned_splits(config, planned):
    """Return name -> split of the accepted micrographs."""
    section, named = config["split"], None
    if section["test_micrographs"]:
        named = read_test_micrographs(section["test_micrographs"], {m.name for m in planned})
    accepted = [m.name for m in planned if m.reason is None]
    return split_of(accepted, section["test_fraction"], section["seed"], named)


def print_patches(config, planned, splits):
    """Print the patches of each split; return split -> their number."""
    section, dtype = config["patches"], config["dataset"]["dtype"]
    size, grid = section["size_px"], f"stride {section['stride_px']} px"
    if section["offsets"] == "random":
        grid += ", offsets random in each epoch"
    print_wrapped("patches", f"{size} x {size} px, {grid}, {dtype}")
    counts = {}
    for split in ("train", "test") if splits else ():
        members = [m.n_patches or 0 for m in planned if splits.get(m.name) == split]
        counts[split] = sum(members)
        print(f"  {split:<12}{counts[split]:>12,} of {len(members):,} micrographs")
    patches, planes = map(sum, bytes_of_layouts(config, planned))
    if planes:
        layout = config["dataset"]["layout"]
        print_wrapped("  layout", f"{layout}; as patches {gib(patches)}, as planes {gib(planes)}")
    return counts


def print_bytes(total, missing):
    """Print the bytes of each kind of file, what is still to be written, and the free disk."""
    row = "{:<14}{:>12}{:>14}{:>14}  {}".format
    print(row("bytes", "in all", "to write", "disk free", "").rstrip())
    for kind, counts in total.items():
        if sum(counts):
            free = gib(free_bytes(existing(FOLDERS[kind])))
            print(row(f"  {kind}", gib(sum(counts)), gib(missing[kind]), free, FOLDERS[kind]))
    together = sum(map(sum, total.values())), sum(missing.values())
    print(row("  together", *map(gib, together), "", "").rstrip())


def print_time(config, missing, n_train):
    """Print how long writing and training take at rates that were measured elsewhere."""
    seconds = (missing["shards"] + missing["dataset"]) / WRITTEN_BYTES_PER_S
    rate = f"{WRITTEN_BYTES_PER_S / 1e9:g} GB/s with fsync, one workstation's disk"
    print_wrapped("time", f"shards and dataset {in_words(seconds)}, at {rate}")
    for architecture in trained_architectures(config):
        epochs = config["model"][architecture]["epochs"]
        trained_px = n_train * epochs * config["patches"]["size_px"] ** 2
        rates = TRAINED_PX_PER_S.get(architecture, {})
        times = [f"{in_words(trained_px / rate)} on {d}" for d, rate in rates.items()]
        said = f"about {', '.join(times)} (measured in float32)" if times else "not measured"
        print_wrapped("  training", f"{epochs} epochs of {architecture} {said}")


def in_words(seconds):
    """Return a duration as text of two figures."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def print_wrapped(label, text):
    """Print a label and text in 80 columns."""
    print(
        textwrap.fill(
            text,
            WIDTH,
            initial_indent=f"{label:<14}",
            subsequent_indent=" " * 16,
            break_on_hyphens=False,
        )
    )
