"""A run folder whose micrographs can be drawn: small images, and the records of all steps."""

import re

import numpy as np

from clearice.dataset.micrograph_table import micrograph_table
from clearice.files import read_json, write_json
from clearice.micrographs.mrc_writer import write_micrograph
from clearice.micrographs.names import key_of
from clearice.tsv import read_table
from draw_micrographs import draw_micrographs
from shard_files import make_shard

HOSTILE = """<b>&"'.mrc"""
SIDE_PX = 96
ROLES = ("raw", "target", "denoised", "truth")


class DrawnRun:
    """Micrographs `names` in `folder`, of which `tested` were held out and validated.

    `rejected` maps names to reasons; `roles` are the images that there are of each.
    """

    def __init__(self, folder, names, tested=(), rejected=(), roles=ROLES):
        self.results, self.roles = folder / "results", roles
        self.table = self.results / "dataset" / "micrographs.tsv"
        self.table.parent.mkdir(parents=True)
        self._records, self._tested, self._rejected = {}, set(tested), dict(rejected)
        self.add(*names)

    def add(self, *names):
        """Add micrographs, and write the table again."""
        for name in names:
            for role in self.roles:
                self.write_image(name, role)
            self._records[name] = self._shard(name)
            if name not in self._rejected:
                self._write_records(name)
        self.write_table()

    def remove(self, name):
        """Take a micrograph out of the table; its files stay."""
        del self._records[name]
        self.write_table()

    def write_table(self, **warnings):
        """Write micrographs.tsv; `warnings` are a text per name."""
        records = [read_json(path) for path in self._records.values()]
        accepted = [r["micrograph"] for r in records if r["status"] == "ok"]
        splits = {name: "test" if name in self._tested else "train" for name in accepted}
        texts = {name: [text] for name, text in warnings.items()}
        self.table.write_text(micrograph_table(records, splits, texts))

    def image(self, name, role):
        """Return the path of an image."""
        return self.results / "images" / f"{key_of(name)}_{role}.mrc"

    def write_image(self, name, role, side_px=SIDE_PX):
        """Write an image: a wave, and noise unless it is the truth."""
        path = self.image(name, role)
        path.parent.mkdir(exist_ok=True)
        seed = [ROLES.index(role), *name.encode()]
        noise = np.random.default_rng(seed).normal(size=(side_px, side_px + 32))
        y, x = np.mgrid[:side_px, : side_px + 32]
        share = {"denoised": 0.1, "truth": 0.0}.get(role, 1.0)
        image = (np.sin(x / 3) * np.cos(y / 5) + share * noise).astype(np.float32)
        write_micrograph(path, [image], *image.shape, pixel_size_angstrom=1.5, label=f"a {role}")

    def _shard(self, name):
        files = {"input": self.image(name, "raw"), "target": self.image(name, "target")}
        facts = {side: {"path": str(path), "bytes": 1} for side, path in files.items()}
        if "target" not in self.roles:
            facts["target"] = None
        key = key_of(name)
        record = make_shard(
            self.results / "shards", key, size_px=32, rejected=self._rejected.get(name)
        )
        facts |= {"micrograph": name, "height_px": SIDE_PX, "width_px": SIDE_PX + 32}
        facts["checks"] = {"shared_noise": 0.05, "stripes": 0.2}
        write_json(record, read_json(record) | facts)
        return record

    def _write_records(self, name):
        files = {role: str(self.image(name, role)) for role in self.roles}
        model = {"architecture": "simple_cnn", "xxh3": "0" * 16}
        if "denoised" in self.roles:
            record = {"micrograph": name, "model": model, "files": files, "warnings": []}
            write_json(self.record("denoised", name), record | {"averaged_halves": True})
        if name in self._tested:
            write_json(self.record("validation", name), validation_record(name, files))

    def record(self, step, name):
        """Return the path of the record of a step."""
        return self.results / step / f"{key_of(name)}.json"

    @property
    def folder(self):
        """The folder of the pages."""
        return self.results / "report" / "micrographs"

    def page(self, name):
        """Return the path of a page."""
        return self.folder / f"{key_of(name)}.html"

    def draw(self, drawn_with="this code", **changes):
        """Draw what changed; return micrograph -> drawn or kept."""
        paths = {
            step: [p for name in self._records if (p := self.record(step, name)).exists()]
            for step in ("denoised", "validation")
        }
        drawn = self.results / "report" / "drawn.tsv"
        truths = {key_of(name): str(self.image(name, "truth")) for name in self._records}
        draw_micrographs(
            micrographs=self.table,
            records=list(self._records.values()),
            order=self.folder / "order.js",
            drawn=drawn,
            drawn_with=drawn_with,
            truths=truths if "truth" in self.roles else {},
            **{**paths, "processes": 2, **changes},
        )
        return {row["micrograph"]: row["state"] for row in read_table(drawn)}

    def kept(self, name):
        """Return the record that the table of the report is made of."""
        return read_json(self.folder / f"{key_of(name)}.json")


def validation_record(name, files):
    """Return what validate_micrograph writes, of a network better than any filter."""
    four = {"raw": 0.1, "gaussian": 0.5, "wiener": 0.6, "denoised": 0.75}
    excess = {"raw": 9.0, "gaussian": 2.0, "wiener": 1.5, "denoised": 0.25}
    frequency = [k / 32 for k in range(17)]
    falling = [1 - 2 * f for f in frequency]
    return {
        "micrograph": name,
        "files": files,
        "frequency_per_px": frequency,
        "window_px": 32,
        "frc": {"raw_target": falling, "denoised_target": falling, "raw_truth": [None] * 17},
        "target": {"correlation": four, "excess": excess, "gain_over_linear_db": 7.5},
        "truth": None,
        "picking": None,
        "null_tests": [{"name": "seams", "passed": False, "verdict": "seams show"}],
        "not_measured": ["picking: no centres are known"],
        "doubts": [],
    }


def text_of(page):
    """Return the words of a page, without tags."""
    return " ".join(re.sub(r"<(style|script)>.*?</\1>|<[^>]+>", " ", page, flags=re.DOTALL).split())
