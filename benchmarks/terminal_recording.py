"""Keep what a person sees of a run on a terminal, as text: the blocks of docs/terminal.md.

    python benchmarks/terminal_recording.py FOLDER [--config FILE] [--columns 80] [--write]

Runs the workflow in the new folder FOLDER under a pseudo-terminal, by default with the simulation
of config.yaml, and keeps the screen while it cuts, trains and denoises, and at its end. Then one
micrograph is cut short, and the end of the run that stops at it is kept, too. --write puts all into
the page.
"""

import argparse
import os
import re
import shutil
import sys
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests"))

from terminal_screen import run_on_terminal  # noqa: E402

PAGE = REPOSITORY / "docs" / "terminal.md"
PROFILE = "workflow/profiles/default"
MOMENTS = {  # name -> what is on the screen at that moment for the first time
    "cutting": re.compile(r"^shard_micrograph +[1-9]", re.M),
    "training": re.compile(r"^  \w+: epoch (\d) of \d.*left$", re.M),
    "denoising": re.compile(r"^denoise_micrograph +[1-9]", re.M),
}


def recorded(folder, columns, *arguments):
    """Return name of a moment -> lines on the screen, "end" for the last ones."""
    words = [sys.executable, "-m", "snakemake", "--workflow-profile", PROFILE, "--cores", "2"]
    found = {}

    def watch(terminal):
        text = "\n".join(terminal.lines)
        for name, sign in MOMENTS.items():
            if name not in found and sign.search(text):
                found[name] = terminal.lines

    _, lines = run_on_terminal(
        [*words, "--directory", str(folder), *arguments],
        watch,
        columns,
        timeout_s=7200,
        cwd=REPOSITORY,
        env=os.environ | {"TERM": "xterm"},
    )
    return found | {"end": lines}


def cut_short(folder):
    """Let one micrograph be half a file, as a broken copy is; return arguments of the run."""
    data = folder / "data"
    data.mkdir()
    for path in sorted((folder / "results" / "micrographs").glob("*_EVN.mrc"))[:3]:
        shutil.copy(path, data / path.name.replace("_EVN", ""))
    broken = sorted(data.iterdir())[1]
    os.truncate(broken, broken.stat().st_size // 2)
    for path in data.iterdir():
        os.utime(path, (1e9, 1e9))
    micrographs = {"source": "files", "files": "data/*.mrc", "on_error": "stop"}
    patches = {"size_px": 256, "stride_px": 128, "target": "lowpass"}
    settings = {"micrographs": micrographs, "patches": patches}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    shutil.rmtree(folder / "results")
    return ["dataset"]


def into_page(moments):
    """Replace the text blocks of the page that are named in a comment before them."""
    page = PAGE.read_text(encoding="utf-8")
    for name, lines in moments.items():
        block = "\n".join(lines)
        mark = rf"(<!-- recorded: {name} -->\n```text\n).*?(```)"
        page = re.sub(mark, lambda m, b=block: f"{m[1]}{b}\n{m[2]}", page, flags=re.S)
    PAGE.write_text(page, encoding="utf-8")


def main():
    """Record, print, and write if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--config", type=Path, default=REPOSITORY / "config.yaml")
    parser.add_argument("--columns", type=int, default=80)
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.name}")
    options = parser.parse_args()
    options.folder.mkdir(parents=True)
    shutil.copy(options.config, options.folder / "config.yaml")
    moments = recorded(options.folder, options.columns)
    moments["failure"] = recorded(options.folder, options.columns, *cut_short(options.folder))[
        "end"
    ]
    place = str(options.folder.resolve())
    moments = {
        name: [line.replace(place, "RUN") for line in lines] for name, lines in moments.items()
    }
    for name, lines in moments.items():
        print(f"---- {name}", *lines, sep="\n")
    if options.write:
        into_page(moments)


if __name__ == "__main__":
    main()
