"""What there is to know and to see of each micrograph, and a digest that changes when that does."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from clearice.files import read_result
from clearice.micrographs.names import key_of
from clearice.report.facts import read_micrographs
from clearice.shards.record import file_states, read_shard_record
from clearice.validation.summary import without_doubted

ROLES = ("raw", "denoised", "target", "truth")


@dataclass(frozen=True)
class Subject:
    """One micrograph.

    `row` is that of micrographs.tsv (facts.read_micrographs), `shard`, `denoised` and `validation`
    are the records of these steps, the last two None where there are none. `files` maps what can be
    seen (raw, denoised, target, truth) to paths, `states` to (bytes, time of change) or None.
    """

    name: str
    key: str
    row: dict
    shard: dict
    denoised: dict | None
    validation: dict | None
    files: dict
    states: dict = field(default_factory=dict)

    @property
    def pixel_size_angstrom(self):
        """The pixel size that the run uses, in pixels of the file; None where it knows none."""
        size = self.row["pixel_size_angstrom"]
        return size and size / (2 if self.shard["target_kind"] == "pixel_halves" else 1)

    def digest(self, drawn_with):
        """Return 16 hex digits over all of it and over `drawn_with`, a text that names the code."""
        import xxhash

        facts = json.dumps([drawn_with, asdict(self)], sort_keys=True)
        return xxhash.xxh3_64_hexdigest(facts.encode())


class Subjects:
    """The micrographs of a run that may have a page, in the order of the report's table.

    `micrographs` is micrographs.tsv; `records`, `denoised` and `validation` are paths of records,
    named by the micrographs' keys; `truths` maps keys to images without noise. Iterating reads the
    records of one micrograph after the other.
    """

    def __init__(self, micrographs, records, denoised=(), validation=(), truths=None):
        rows = [row for row in read_micrographs(micrographs) if not row["waiting"]]
        self._rows = {key_of(row["micrograph"]): row for row in rows}
        self._records, self._denoised, self._validation = (
            {Path(path).name.removesuffix(".json"): path for path in paths}
            for paths in (records, denoised, validation)
        )
        self._truths = truths or {}

    def __iter__(self):
        for key, row in self._rows.items():
            if key in self._records:
                yield self._subject(key, row)

    def _subject(self, key, row):
        denoised, validation = (
            read_result(paths[key]) if row["used"] and key in paths else None
            for paths in (self._denoised, self._validation)
        )
        files = {"raw": row["input"], "target": row["target"], "truth": self._truths.get(key)}
        if denoised:
            files["denoised"] = denoised["files"]["denoised"]
        files = {role: files[role] for role in ROLES if files.get(role)}
        return Subject(
            name=row["micrograph"],
            key=key,
            row=row,
            shard=read_shard_record(self._records[key]),
            denoised=denoised,
            validation=validation and without_doubted(validation),
            files=files,
            states=dict(zip(files, file_states(files.values()), strict=True)),
        )
