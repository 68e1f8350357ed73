"""Which patches the micrographs of a dataset have, so that two states of it can be compared.

Light on purpose (no NumPy, no PyTorch): the workflow's planning compares them, too.
"""

import dataclasses

import xxhash

from clearice.dataset.segments import SPLITS, facts_of_segment
from clearice.micrographs.checks import DEPENDENT_PIXELS

KIND = ("dtype", "patch_size_px", "target_kind", "normalisation", "offsets")  # of a manifest


@dataclasses.dataclass(frozen=True)
class Contents:
    """The micrographs of a dataset: split -> name -> a hash of its patches.

    `pixel_correlation` is that of the pixel halves of the training split, None where the target is
    another one. `kind` holds what all patches have in common, where that is known.
    """

    splits: dict[str, dict[str, str]]
    pixel_correlation: float | None = None
    kind: dict | None = None

    @property
    def xxh3(self):
        """16 hex digits that name the contents, in whatever order the dataset holds them."""
        lines = [
            f"{split}\t{name}\t{patches}\n"
            for split in SPLITS
            for name, patches in sorted(self.splits[split].items())
        ]
        return xxhash.xxh3_64("".join(lines).encode("utf-8", "surrogatepass")).hexdigest()


def patches_xxh3(facts):
    """Return 16 hex digits that name the patches of one micrograph, by segments.facts_of_*."""
    return xxhash.xxh3_64("\t".join(map(str, facts)).encode()).hexdigest()


def contents_of_manifest(manifest):
    """Return the Contents of a dataset by its manifest."""
    splits = {
        split: {
            s["micrograph"]: patches_xxh3(facts_of_segment(s))
            for s in manifest["splits"][split]["segments"]
        }
        for split in SPLITS
    }
    pixels = manifest["target_kind"] == "pixel_halves"
    correlation = manifest["half_correlation"]["train"] if pixels else None
    return Contents(splits, correlation, {key: manifest.get(key) for key in KIND})


def contents_of_table(rows):
    """Return the Contents of the dataset that is made of the rows of micrographs.tsv.

    Rows are dicts of text. The correlation has the digits of the table.
    """
    used = [row for row in rows if row["status"] == "ok"]
    splits = {
        split: {row["micrograph"]: row["patches_xxh3"] for row in used if row["split"] == split}
        for split in SPLITS
    }
    measured = [
        (row[DEPENDENT_PIXELS.name], int(row["patches"])) for row in used if row["split"] == "train"
    ]
    if not measured or not all(text for text, _ in measured):
        return Contents(splits)
    total = sum(float(text) * patches for text, patches in measured)
    return Contents(splits, total / sum(patches for _, patches in measured))
