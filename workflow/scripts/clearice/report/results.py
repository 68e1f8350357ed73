"""All results that the report speaks of, read once."""

import dataclasses
from functools import cached_property
from pathlib import Path

from clearice.files import read_result
from clearice.micrographs.names import key_of
from clearice.report.costs.jobs import Job, read_jobs, step_table
from clearice.report.costs.timeline import busy_seconds
from clearice.report.facts import (
    earlier_states,
    example_names,
    read_denoised,
    read_drawn,
    read_history,
    read_micrographs,
)
from clearice.report.headlines import headlines
from clearice.report.patch_sample import look_at
from clearice.report.validated import ValidationRecords

_STATES = ("failed", "not run", "passed")  # of a verdict, in the order of the page


@dataclasses.dataclass
class Results:
    """What the steps of one run left, as plain values.

    folder: the results. micrographs: rows of micrographs.tsv. manifest: path of the dataset's.
    trainings and histories: architecture -> record, and rows of history.tsv. verdicts: those of the
    parity, failed ones first. denoised: micrograph -> its files. validation: ValidationRecords, or
    None. jobs: costs.jobs.Job of every job. entry: what the EMPIAR entry says of itself, or None.
    drawn: micrograph -> what draw_micrographs recorded of it: its thumbnail, mean, standard
    deviation.
    """

    folder: Path
    micrographs: list[dict]
    manifest: Path
    trainings: dict[str, dict]
    histories: dict[str, list[dict]]
    verdicts: list[dict]
    denoised: dict[str, dict]
    validation: ValidationRecords | None
    jobs: list[Job]
    entry: dict | None = None
    drawn: dict[str, dict] = dataclasses.field(default_factory=dict)

    @property
    def splits(self):
        """Micrograph -> train, test or nothing."""
        return {row["micrograph"]: row["split"] for row in self.micrographs}

    @cached_property
    def steps(self):
        """Rows of the table of costs."""
        return step_table(self.jobs)

    @cached_property
    def earlier(self):
        """Micrographs that earlier states of the network denoised (facts.earlier_states), or None.

        The network is that of the records; what was denoised by one without a record is not told.
        """
        names = {facts["model"]["architecture"] for facts in self.denoised.values()}
        trained = [self.trainings[name] for name in names if name in self.trainings]
        return earlier_states(self.denoised, trained[0]) if len(trained) == 1 else None

    @cached_property
    def frc(self):
        """Mean Fourier ring correlations, or None."""
        return self.validation.curves() if self.validation else None

    @cached_property
    def headlines(self):
        """The headline figures."""
        return headlines(
            self.micrographs,
            read_result(self.manifest),
            self.histories,
            self.verdicts,
            self.validation.summary if self.validation else None,
            self.steps,
            busy_seconds(self.jobs) if self.jobs else None,
        )

    @cached_property
    def patch_sample(self):
        """What a look at some patches found: a patch_sample.Sample."""
        return look_at(self.manifest)

    @property
    def pixel_size_angstrom(self):
        """The pixel size that all used micrographs share, or None."""
        sizes = {r["pixel_size_angstrom"] for r in self.micrographs if r["used"]}
        return sizes.pop() if len(sizes) == 1 else None

    def examples(self, count):
        """Return the names of up to `count` denoised micrographs to show, held-out ones first."""
        return example_names(self.micrographs, self.denoised, count)


def read_results(
    folder,
    micrographs,
    manifest,
    histories,
    trainings,
    verdicts,
    denoised,
    validation,
    validation_summary,
    entry=None,
    drawn=None,
):
    """Return the Results of the run whose results are in `folder`.

    The others are the files that the steps left; lists of them may be empty. `entry` is what
    Description.facts returned, or None. Files of micrographs, architectures and implementations
    that are gone stay on disk and are left out.
    """
    rows = read_micrographs(micrographs)
    splits = {row["micrograph"]: row["split"] for row in rows}
    validated = ValidationRecords(validation, *validation_summary) if validation else None
    trained = {record["architecture"]: record for record in map(read_result, trainings)}
    curves = dict(zip(trained, map(read_history, histories), strict=True))
    judged = sorted(map(read_result, verdicts), key=lambda v: _STATES.index(v["verdict"]))
    names = {name: name for name in (*trained, *(v["implementation"] for v in judged))}
    names |= {key_of(name): name for name in splits}
    jobs = read_jobs(folder, names)
    made = read_denoised(denoised)
    pictures = {} if drawn is None else read_drawn(drawn)
    return Results(
        Path(folder),
        rows,
        Path(manifest),
        trained,
        curves,
        judged,
        made,
        validated,
        jobs,
        entry,
        pictures,
    )
