"""Patches worth a look: random ones, the quietest and the liveliest, and where the network fails.

Of each: input and target on one grey scale, and what the network made of it where it failed most.
"""

import contextlib

from clearice.dataset.reader import open_split
from clearice.errors import InputError
from clearice.micrographs.mrc import open_micrograph
from clearice.micrographs.normalisation import normalise
from clearice.report.examples import PatchRows, stretched
from clearice.report.patch_losses import SHOWN, overlap
from clearice.report.patch_sample import SPLITS, spread_indices
from clearice.report.pictures import common_limits, grey, whole_view

RANDOM = 6  # patches of the group; the others have SHOWN
_VIEW_PX = 256
COLUMNS = ("group", "split", "micrograph", "y", "x", "variance", "loss")
GROUPS = {
    "random": (
        "Random",
        "What the network mostly sees. Particles should be recognisable in some of them, and input "
        "and target should show the same place.",
    ),
    "lowest": (
        "Lowest variance",
        "Usually empty ice, or the inside of a thick carbon film. A patch of one grey is a blank "
        "area or a mask that no check caught.",
    ),
    "highest": (
        "Highest variance",
        "Usually ice crystals, the edge of a hole, aggregates, or hot pixels. If many look like "
        "this, remove those micrographs: a few such patches can lead the training.",
    ),
    "worst": (
        "Worst loss",
        "Where the network fails: what it did not expect, or what differs between input and "
        "target. A loss far above the mean of its micrograph deserves a look at that place.",
    ),
}


def choose(sample, readers):
    """Return group -> Looked patches of a patch_sample.Sample: random, lowest, highest variance.

    Extremes don't overlap one another, and none is both lowest and highest.
    """
    patches = sample.patches
    known = [k for k, patch in enumerate(patches) if patch.whole]
    by_variance = sorted(known, key=lambda k: patches[k].variance)
    most = min(SHOWN, len(known) // 2)
    lowest = _apart(by_variance, patches, readers, most)
    rest = [k for k in reversed(by_variance) if k not in lowest]
    highest = _apart(rest, patches, readers, most)
    chosen = {"random": spread_indices(len(patches), RANDOM, seed=1)}
    chosen |= {"lowest": lowest, "highest": highest}
    return {group: [patches[k] for k in found] for group, found in chosen.items()}


def _apart(order, patches, readers, count):
    """Return the first `count` of `order` of which none overlaps an earlier one."""
    kept, places = [], []
    for k in order:
        if len(kept) == count:
            break
        reader = readers[patches[k].split]
        place = reader.where(patches[k].index)
        if not any(overlap(place, other, reader.patch_size_px) for other in places):
            kept.append(k)
            places.append(place)
    return kept


def gallery(results, sample):
    """Return [{"group", "title", "words", "patches"}]; `patches` are rows with pictures.

    A row: group, split, micrograph, y, x, variance, loss and mean_loss (of its micrograph; None
    where unknown), binning, and `images` [(title, uint8 (h, w))].
    """
    with contextlib.ExitStack() as stack:
        readers = {s: stack.enter_context(open_split(results.manifest, s)) for s in SPLITS}
        rows = {
            group: [_row(group, readers[p.split], p.split, p.index) for p in patches]
            for group, patches in choose(sample, readers).items()
        }
        rows["worst"] = list(_worst(results, readers["test"]))
    return [
        {"group": group, "title": title, "words": words, "patches": rows[group]}
        for group, (title, words) in GROUPS.items()
    ]


def _worst(results, reader):
    """Yield rows of the patches with the largest losses of all held-out micrographs."""
    records = results.validation.by_name if results.validation else {}
    found = sorted(
        (
            (*entry, name, record["losses"]["mean"])
            for name, record in records.items()
            if record["losses"]
            for entry in record["losses"]["worst"]
        ),
        reverse=True,
    )
    shown = 0
    for loss, y, x, name, mean in found:
        index = reader.index_of(name, y, x)
        if index is None or shown == SHOWN:  # a patch that is mostly blank was not cut
            continue
        shown += 1
        row = _row("worst", reader, "test", index, _denoised(results, reader, index))
        yield row | {"loss": loss, "mean_loss": mean}


def _denoised(results, reader, index):
    """Return what the network made of the place of a patch, on the scale of patches, or None."""
    name, y, x = reader.where(index)
    files = results.denoised.get(name, {}).get("files", {})
    if "denoised" not in files:
        return None
    size, record = reader.patch_size_px, reader.shard(index)
    with contextlib.suppress(InputError, OSError), open_micrograph(files["denoised"]) as opened:
        rows = opened.read_rows(y, size)[:, x : x + size]
        return normalise(rows, record["mean"], record["std"])
    return None


def _row(group, reader, split, index, denoised=None):
    micrograph, y, x = reader.where(index)
    pair = reader.read(index)
    views = [whole_view(PatchRows(patch), _VIEW_PX) for patch in pair]
    limits = common_limits(*(view.image for view in views))
    images = [
        (title, grey(view.image, limits))
        for title, view in zip(("input", "target"), views, strict=True)
    ]
    if denoised is not None:
        view = whole_view(PatchRows(denoised), _VIEW_PX)
        images += stretched(view.image, limits) or [("denoised", grey(view.image, limits))]
    return {
        "group": group,
        "split": split,
        "micrograph": micrograph,
        "y": y,
        "x": x,
        "variance": float(pair[0].var(dtype="f8")),
        "loss": None,
        "mean_loss": None,
        "binning": views[0].binning,
        "images": images,
    }
