"""A run folder as the report finds it, made of small files; and what a sound page looks like."""

import base64
import csv
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from clearice.config import complete_config
from clearice.dataset.manifest import build_manifest, split_part
from clearice.dataset.micrograph_table import micrograph_table
from clearice.files import read_json, write_json, write_text
from clearice.micrographs.mrc_writer import write_micrograph
from clearice.micrographs.names import key_of
from clearice.micrographs.waiting import STILL_WRITTEN
from clearice.model.history import COLUMNS, write_history
from clearice.report.pictures import picture_bytes
from clearice.tsv import table_text
from clearice.validation.patch_errors import patch_errors
from clearice.validation.record import measure
from clearice.validation.summary import summarise
from known_denoisers import Convolution
from memory_images import MemoryRows
from report import report
from shard_files import make_shard

ODD_NAME = "<b>a&b $x_1$"
SIDE_PX = 48
GRID = {"size_px": SIDE_PX, "stride_px": SIDE_PX, "cover_border": False}
BLUR = np.outer([1, 2, 1], [1, 2, 1]) / 16
FILES = (
    *("micrographs.tsv", "examples.png", "frc.svg", "frc.tsv", "loss.svg", "loss.tsv"),
    *("speed.svg", "speed.tsv", "patches.png", "patches.tsv", "grid.svg", "grid.tsv"),
    *("evidence.tsv", "null_tests.tsv", "parity.svg", "parity.tsv"),
    *("steps.tsv", "jobs.tsv", "timeline.svg", "timeline.tsv", "disk.tsv", "settings.tsv"),
    *("runs.tsv", "data_specs.md", "baseline.md"),
)
LISTS = (
    *("histories", "trainings", "verdicts", "denoised"),
    *("validation", "validation_summary"),
)


class Run:
    """A folder of results as the steps leave it, small enough for a unit test."""

    def __init__(self, folder):
        self.results = folder / "results"
        self.arguments = {
            "micrographs": self.results / "dataset" / "micrographs.tsv",
            "manifest": self.results / "dataset" / "manifest.json",
            **dict.fromkeys(LISTS, ()),
            "config": complete_config({"report": {"title": "A run", "examples": 1}}),
            **self.outputs(),
        }

    def outputs(self):
        """Return the outputs of the rule."""
        folder = self.results / "report"
        return {
            "page": folder / "index.html",
            "summary": folder / "summary.json",
            "files": [folder / name for name in FILES],
        }

    def add_dataset(self, names, tested, rejected=(), waiting=(), **facts):
        """Write shards, the table of micrographs and the manifest; `facts` go into the records."""
        folder = self.results / "shards"
        paths = [make_shard(folder, name, size_px=SIDE_PX, **facts) for name in names]
        paths += [
            make_shard(self.results / "shards", name, rejected="truncated & <odd>")
            for name in rejected
        ]
        paths += [make_shard(folder, name, rejected=STILL_WRITTEN) for name in waiting]
        records = [(path, read_json(path)) for path in paths]
        splits = {name: "test" if name in tested else "train" for name in names}
        table = self.arguments["micrographs"]
        table.parent.mkdir(parents=True)
        table.write_text(micrograph_table([record for _, record in records], splits, {}))
        parts = {}
        for split in ("train", "test"):
            mine = [
                (path, record)
                for path, record in records
                if splits.get(record["micrograph"]) == split
            ]
            parts[split] = split_part(mine, table.parent)
        write_json(self.arguments["manifest"], build_manifest(parts))
        return self

    def add_model(self, noise_floor=0.9):
        """Write a history of three epochs and its record."""
        folder = self.results / "model" / "simple_cnn"
        folder.mkdir(parents=True)
        rows = [
            {
                **dict.fromkeys(COLUMNS, 1.5),
                "epoch": epoch,
                "test_loss": 1 + 0.1 / epoch,
                "noise_floor_train": noise_floor,
                "noise_floor_test": noise_floor,
            }
            for epoch in (1, 2, 3)
        ]
        write_history(folder / "history.tsv", rows)
        settings = {
            "optimizer": "adam",
            "learning_rate": 1e-3,
            "batch_size": 4,
            "precision": "float32",
        }
        about = {"architecture": "simple_cnn", "device": "CPU", "devices": 1, "seconds": 12.0}
        about |= {"torch": "2", "python": "3", "patch_size_px": SIDE_PX, "settings": settings}
        about |= {"target_kind": "halves", "kept_pretrained": False}
        about |= {"n_patches": {"train": 6, "test": 3}}
        about |= {"model_xxh3": "0" * 16, "stages": [], "anew_because": None}
        write_json(folder / "training.json", {**about, "last_epoch": rows[-1]})
        self.arguments["histories"] = [folder / "history.tsv"]
        self.arguments["trainings"] = [folder / "training.json"]
        return self

    def add_denoised(self, names, judges=("target", "truth"), tested=(), network=None, doubts=()):
        """Write raw and denoised of each, and, where it is `tested`, what was measured of it.

        `judges` are the images that there are besides; null tests are made of `network`; `doubts`
        are those about every pair.
        """
        folder = self.results / "denoised"
        y, x = np.mgrid[:SIDE_PX, :SIDE_PX]
        truth = (np.sin(x / 3) * np.cos(y / 5)).astype(np.float32)
        for seed, name in enumerate(names):
            noise = np.random.default_rng(seed).normal(size=(2, *truth.shape)).astype(np.float32)
            images = {"raw": truth + noise[0], "denoised": truth + noise[0] / 10}
            images |= {"target": truth + noise[1], "truth": truth}
            images = {r: images[r] for r in ("raw", "denoised", *judges)}
            files = {role: folder / f"{seed}_{role}.mrc" for role in images}
            for role, image in images.items():
                write_micrograph(
                    files[role], [image], *image.shape, pixel_size_angstrom=1.5, label="test"
                )
            files = {role: str(path) for role, path in files.items()}
            made = {role: files.pop(role) for role in ("raw", "denoised")}
            about = {"micrograph": name, "device": "cpu"}
            model = {"path": "m", "architecture": "simple_cnn", "xxh3": "0" * 16}
            record = {**about, "model": model, "files": made, "seconds": {"denoise": 1.0}}
            write_json(folder / f"{seed}.json", record)
            self.arguments["denoised"] = [*self.arguments["denoised"], folder / f"{seed}.json"]
            if name in tested:
                rows = {role: MemoryRows(image) for role, image in images.items()}
                measured = measure(network or Convolution(BLUR), rows, None, "cpu")
                files["raw"] = made["raw"]
                record = {**about, "files": files, **measured, "doubts": list(doubts)}
                record["patches"] = patch_errors(rows, 1.0, GRID) if "target" in judges else None
                self._add_validation(seed, record)
        return self

    def _add_validation(self, seed, record):
        path = self.results / "validation" / f"{seed}.json"
        write_json(path, record)
        self.arguments["validation"] = [*self.arguments["validation"], path]
        summary = path.with_name("summary.json")
        write_json(summary, summarise(map(read_json, self.arguments["validation"])))
        self.arguments["validation_summary"] = [summary]

    def add_drawn(self, names, **facts):
        """Write what is recorded of the drawing of each, with a thumbnail; `facts` go into it."""
        folder = self.results / "report"
        rows = [{"micrograph": name, "key": key_of(name)} for name in names]
        for seed, name in enumerate(names):
            noise = np.random.default_rng(seed).integers(0, 255, (64, 128), np.uint8)
            record = {"format_version": 1, "micrograph": name, "digest": "0" * 16}
            record["thumbnail"] = base64.b64encode(picture_bytes(noise)).decode()
            record |= {"thumbnail_kind": "png", "thumbnail_px": [64, 128]}
            record |= {"mean": 10.0 + seed, "std": 2.0, "hot_pixels": seed}
            path = folder / "micrographs" / f"{key_of(name)}.json"
            write_json(path, {**record, "half_correlation": 0.1, **facts})
        self.arguments["drawn"] = folder / "drawn.tsv"
        write_text(self.arguments["drawn"], table_text(("micrograph", "key"), rows))
        return self

    def add_verdict(self, name, state, **facts):
        """Write a verdict of two rungs."""
        row = {"rung": "layer", "name": "noise_conv1", "passed": True, "fault": None, "at": [0]}
        row |= dict.fromkeys(("max_error", "relative_l2", "oracle_l2"), 1e-7)
        row |= {"reference_oracle_l2": None, "percent": 3.25, "value": 1.0, "reference": 1.0}
        failed = {**row, "rung": "loss", "name": "test_loss", "passed": False, "percent": 7e5}
        path = self.results / "parity" / name / "verdict.json"
        path.parent.mkdir(parents=True)
        verdict = {
            "implementation": name,
            "precision": "float32",
            "result": {"device": "abacus", "training_batches_per_s": 0.25},
            "verdict": state,
            "rungs": {"layer": "passed", "loss": state},
            "lowest_failing_rung": "loss" if state == "failed" else None,
            "worst_percent": 7e5 if state == "failed" else 3.25,
            "rows_failed": int(state == "failed"),
            "repeat_bit_equal": True,
            "diagnosis": ["the kernels are flipped"] if state == "failed" else [],
            "rows": [row, failed] if state == "failed" else [row, {**row, "rung": "loss"}],
            **facts,
        }
        write_json(path, verdict)
        self.arguments["verdicts"] = [*self.arguments["verdicts"], path]
        return self

    def write(self, settings=None, **changes):
        """Write the report; return its page as text, checked to be well-formed and complete.

        `settings` are those that differ in the section `report` of the configuration.
        """
        outputs = self.outputs()
        arguments = {**self.arguments, **changes}
        section = {**arguments["config"]["report"], **(settings or {})}
        arguments["config"] = {**arguments["config"], "report": section}
        report(**{name: _as_of_a_job(value) for name, value in arguments.items()})
        for path in (outputs["summary"], *outputs["files"]):
            assert path.stat().st_size > 0, path
        page = outputs["page"].read_text(encoding="utf-8")
        checker = PageChecker()
        checker.feed(page)
        checker.close()
        assert checker.faults == []
        assert checker.open == []
        return page

    def table(self, name):
        """Return a table beside the page as dicts."""
        with open(self.results / "report" / name, newline="") as file:
            return list(csv.DictReader(file, delimiter="\t"))


def _as_of_a_job(value):
    """Return paths as text, as Snakemake gives them to a script."""
    if isinstance(value, list | tuple):
        return [_as_of_a_job(item) for item in value]
    return str(value) if isinstance(value, Path) else value


class PageChecker(HTMLParser):
    """Finds tags left open, things fetched from elsewhere, ids used twice, images without words."""

    VOID = ("meta", "img", "br", "link", "input", "hr")

    def __init__(self):
        super().__init__()
        self.open, self.faults, self.ids, self.links = [], [], set(), set()

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag in ("link", "iframe", "b"):  # b: of a name that was not escaped
            self.faults.append(f"<{tag}>")
        if not values.get("src", "data:").startswith("data:"):
            self.faults.append(f"fetches {values['src']}")
        if tag == "a" and re.match(r"/|\.\.|[^/#]*:", values.get("href", "#")):
            self.faults.append(f"links to {values['href']}, which is not beside the page")
        if tag == "img" and not values.get("alt"):
            self.faults.append("an image without words")
        if tag == "svg" and not values.get("aria-label"):
            self.faults.append("a figure without words")
        if values.get("id") in self.ids:
            self.faults.append(f"id {values['id']} twice")
        self.ids |= {values["id"]} if "id" in values else set()

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}>")


def add_everything(run):
    """Give a run pairs, truth, parity, a rejected micrograph and a hostile name."""
    names = ["m1", "m2", ODD_NAME]
    run.add_dataset(names, tested=["m2"], rejected=["broken"]).add_model()
    return run.add_denoised(names, tested=["m2"]).add_verdict("numpy", "passed")


def text_of(page):
    """Return the words of a page, without tags."""
    unseen = r"<(style|script)\b.*?</\1>|<[^>]+>"
    return " ".join(re.sub(unseen, " ", page, flags=re.DOTALL).split())
