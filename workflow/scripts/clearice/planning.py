"""What a run will write, told from configuration and headers alone, against the free disk."""

import concurrent.futures
import dataclasses
import os
import sys
from pathlib import Path

from clearice.dataset.micrograph_table import FLOAT16_ADVICE
from clearice.dataset.segments import ITEM_BYTES, patch_bytes
from clearice.disk import disk_full, free_bytes
from clearice.errors import InputError
from clearice.micrographs.finding.distinct import require_told_apart
from clearice.micrographs.finding.links import links_in_words
from clearice.micrographs.halves.fit import check_headers
from clearice.micrographs.mrc import open_micrograph
from clearice.micrographs.pixels.float16 import require_float16_of_a_sample
from clearice.micrographs.whole_set.collection import Member, compare, entry_warnings, in_words
from clearice.micrographs.whole_set.copies import find_copies, several_names
from clearice.shards.patches import count_patches
from clearice.shards.record import FILES, concatenates

GIB = 2**30
FOLDERS = {
    kind: f"results/{kind}" for kind in ("micrographs", "shards", "dataset", "denoised")
}  # kind of file -> where it goes; each may be a link to another disk
_HEADER_THREADS = 16  # a network file system answers in milliseconds, whoever waits


@dataclasses.dataclass(frozen=True)
class PlannedMicrograph:
    """One micrograph as its headers describe it; `reason` says why it would be rejected.

    `height_px`, `width_px` and `n_patches` are None where there is no header to read yet.
    `member` is what it is in a set of micrographs, where its own header was read.
    """

    name: str
    height_px: int | None = None
    width_px: int | None = None
    n_patches: int | None = None
    reason: str | None = None
    member: Member | None = None


def plan_micrographs(config, micrographs):
    """Return a PlannedMicrograph for each of `micrographs` (name -> MicrographFiles).

    Reads 1,024 bytes per file, more only where a compressed one promises the improbable. What is
    still to be simulated has the size that the configuration says, what is still to be downloaded
    that of the first that is there (None before that).
    """
    with concurrent.futures.ThreadPoolExecutor(_HEADER_THREADS) as pool:
        planned = list(pool.map(lambda files: _planned(config, files), micrographs.values()))
    known = next((m for m in planned if m.n_patches), None)
    if known is None:
        return planned
    facts = {key: getattr(known, key) for key in ("height_px", "width_px", "n_patches")}
    return [
        dataclasses.replace(m, **facts) if m.n_patches is None and m.reason is None else m
        for m in planned
    ]


def _planned(config, files):
    source = config["micrographs"]["source"]
    is_there = all(os.path.exists(path) for path in (files.input, files.target) if path)
    if source == "simulation":
        section = config["simulation"]
        return _cut(config, files, section["height_px"], section["width_px"])
    if source == "empiar" and not is_there:
        return PlannedMicrograph(files.name)
    if files.reason:
        return PlannedMicrograph(files.name, n_patches=0, reason=files.reason)
    member = None
    try:
        with open_micrograph(files.input) as first:
            first.require_believable()
            shape = first.height_px, first.width_px
            stated = getattr(files, "pixel_size_angstrom", None)
            member = Member(files.name, *shape, first.pixel_size_angstrom, stated)
            if _has_halves(config, files):
                with open_micrograph(files.target) as second:
                    check_headers(first, second)
            return dataclasses.replace(_cut(config, files, *shape), member=member)
    except InputError as error:
        return PlannedMicrograph(files.name, n_patches=0, reason=str(error), member=member)


def _has_halves(config, files):
    return files.target is not None and config["patches"]["target"] in ("auto", "halves")


def _cut(config, files, height_px, width_px):
    section = config["patches"]
    if section["target"] == "pixel_halves" or (
        section["target"] == "auto" and not _has_halves(config, files)
    ):
        height_px, width_px = height_px // 2, width_px // 2
    cuts = [section[key] for key in ("size_px", "stride_px", "cover_border")]
    n_patches = count_patches(height_px, width_px, *cuts)
    size = section["size_px"]
    reason = None if n_patches else f"smaller than a patch of {size} x {size} px"
    return PlannedMicrograph(files.name, height_px, width_px, n_patches, reason)


def bytes_to_write(config, planned):
    """Return kind -> bytes that each of `planned` comes to, in that order, once all is written.

    The kinds are those of FOLDERS. A rejected micrograph has none.
    """
    section = config["dataset"]
    patches, planes = bytes_of_layouts(config, planned)
    shards = {"patches": patches, "planes": planes}.get(
        section["layout"], list(map(sum, zip(patches, planes, strict=True)))
    )
    pixels = [(m.height_px or 0) * (m.width_px or 0) if m.n_patches else 0 for m in planned]
    files = {"simulation": 3, "empiar": 1, "files": 0}[config["micrographs"]["source"]]
    denoised = ITEM_BYTES[config["denoised"]["dtype"]] if config["denoised"]["enabled"] else 0
    return {
        "micrographs": [4 * files * count for count in pixels],
        "shards": shards,
        "dataset": patches if concatenates(section) else [0] * len(shards),
        "denoised": [denoised * count for count in pixels],
    }


def bytes_of_layouts(config, planned):
    """Return the bytes of both sides of each of `planned`, stored as patches and as planes."""
    dtype, size_px = config["dataset"]["dtype"], config["patches"]["size_px"]
    return (
        [2 * (m.n_patches or 0) * patch_bytes(dtype, size_px) for m in planned],
        [2 * m.height_px * m.width_px * ITEM_BYTES[dtype] if m.n_patches else 0 for m in planned],
    )


def bytes_missing(config, planned, micrographs, wanted=None):
    """Return kind -> bytes that are still to be written.

    `wanted` is kind -> names of the micrographs whose files will be made (again); without it
    all of them. Files that are there are replaced, so only the difference counts.
    """
    missing = {}
    for kind, counts in bytes_to_write(config, planned).items():
        chosen = [
            (count, micrographs[m.name])
            for count, m in zip(counts, planned, strict=True)
            if count and (wanted is None or m.name in wanted[kind])
        ]
        there = sum(_bytes_there(kind, files) for _, files in chosen)
        if kind == "dataset" and chosen:  # the declared files are hard links into the store
            there = sum(p.stat().st_size for p in Path(FOLDERS[kind], ".store").glob("*.bin"))
        missing[kind] = max(0, sum(count for count, _ in chosen) - there)
    return missing


def _bytes_there(kind, files):
    """Return the bytes on disk of one micrograph's own files of a kind."""
    paths = {
        "micrographs": [path for path in (files.input, files.target, files.truth) if path],
        "shards": [f"{FOLDERS['shards']}/{files.key}.{end}" for end in FILES.values()],
        "dataset": [],
        "denoised": [f"{FOLDERS['denoised']}/{files.key}.mrc"],
    }[kind]
    return sum(os.path.getsize(path) for path in paths if os.path.exists(path))


def disk_shortages(missing):
    """Return an InputError for each disk that can't hold its share of `missing` (kind -> bytes)."""
    disks = {}
    for kind, count in missing.items():
        if count:
            disks.setdefault(os.stat(existing(FOLDERS[kind])).st_dev, []).append(kind)
    shortages = []
    for kinds in disks.values():
        needed, free = sum(missing[kind] for kind in kinds), free_bytes(existing(FOLDERS[kinds[0]]))
        if needed > free:
            parts = ", ".join(f"{kind} {gib(missing[kind])}" for kind in kinds)
            shortages.append(
                disk_full(
                    f"what is to be written ({parts})",
                    existing(FOLDERS[kinds[0]]).resolve(),
                    ", set dataset.layout: planes or dataset.dtype: float16, "
                    "or run anyway with --no-hooks",
                    expected=f"{gib(needed)} free",
                    found=gib(free),
                )
            )
    return shortages


def existing(folder):
    """Return `folder`, or the nearest folder above it that exists."""
    folder = Path(folder)
    return next(path for path in (folder, *folder.parents) if path.exists())


def gib(count):
    """Return bytes as text, in GiB, or in MiB if that is clearer."""
    return f"{count / GIB:,.1f} GiB" if count >= GIB / 10 else f"{count / 2**20:,.1f} MiB"


def examine_set(config, micrographs, planned):
    """Return (what the set is made of, lines of warning, faults) of what is on disk by now.

    The first is one line, None for a simulation, which is one set by construction. Reads a few
    rows of every file, to find copies.
    """
    members = [m.member for m in planned if m.member]
    if not members:
        return None, [], []
    usable = [m.name for m in planned if m.reason is None and m.member]
    compared = compare(members, config["micrographs"], usable)
    links = links_in_words(micrographs)
    files = [
        (name, path)
        for name in usable
        for path in (micrographs[name].input, micrographs[name].target)
        if path
    ]
    faults = [compared.fault, several_names(find_copies(files))]
    lines = ([links] if links else []) + compared.lines + _entry_lines(config, members)
    return in_words(members), lines, [fault for fault in faults if fault]


def _entry_lines(config, members):
    """Return what the description of an EMPIAR entry says otherwise than the headers."""
    if config["micrographs"]["source"] != "empiar":
        return []
    from clearice.micrographs.empiar.description import kept_description  # with ssl

    described = kept_description(config["empiar"], ".")
    sizes = [member.header_pixel_size_angstrom for member in members]
    stated = described and described.pixel_size_angstrom
    return entry_warnings(config["empiar"]["entry"], stated, sizes)


def check_start(config, micrographs, jobs):
    """Say what the set is made of; raise InputError if it is no set, or disk or dtype too small.

    `jobs` as for check_disk. Costs the reading of headers and of a few rows, and nothing if no
    micrograph is cut or listed.
    """
    require_told_apart([files.key for files in micrographs.values()], existing(FOLDERS["shards"]))
    planned, is_made = None, config["micrographs"]["source"] == "simulation"
    if not is_made and {rule for rule, _ in jobs} & {"shard_micrograph", "list_micrographs"}:
        check_denoised_dtype(config, micrographs)
        planned = plan_micrographs(config, micrographs)
        there, warnings, faults = examine_set(config, micrographs, planned)
        if there:
            print(f"micrographs: {there}", file=sys.stderr)
        for line in warnings:
            print(f"warning: {line}", file=sys.stderr)
        for fault in faults:
            raise fault
    check_disk(config, micrographs, jobs, planned)


def check_disk(config, micrographs, jobs, planned=None):
    """Raise InputError if the disk can't hold what `jobs` write.

    `jobs` are (name of the rule, name of the micrograph or None) of every job that will run;
    `micrographs` is name -> MicrographFiles; `planned` what plan_micrographs returned, if it was
    asked. Costs the reading of headers, and nothing if no job writes much. Denoised micrographs
    count as soon as something asks for them, though their jobs are known only after the micrographs
    have been listed.
    """
    rules = {}
    for rule, micrograph in jobs:
        rules.setdefault(rule, set()).add(micrograph)
    if "list_micrographs" in rules and rules.keys() & {"report", "denoised", "validation", "all"}:
        rules["denoise_micrograph"] = set(micrographs)
    wanted = {
        "micrographs": rules.get("simulate_micrograph", rules.get("fetch_micrograph", set())),
        "shards": rules.get("shard_micrograph", set()),
        "dataset": set(micrographs) if "concatenate_shards" in rules else set(),
        "denoised": rules.get("denoise_micrograph", set()),
    }
    if not any(wanted.values()):
        return
    planned = planned or plan_micrographs(config, micrographs)
    missing = bytes_missing(config, planned, micrographs, wanted)
    if shortages := disk_shortages(missing):
        raise shortages[0]


def check_denoised_dtype(config, micrographs):
    """Raise InputError if a few rows of the first micrograph tell that denoised.dtype loses them.

    Files that are still to be made are not known; list_micrographs looks at all of them later.
    """
    section = config["denoised"]
    if section["enabled"] and section["dtype"] == "float16" and micrographs:
        whole = [files for files in micrographs.values() if files.reason is None]
        for first in whole[:1]:
            require_float16_of_a_sample(first.input, FLOAT16_ADVICE)
