"""The checked configuration, the names made of it, and code_of().

READS   config.yaml, workflow/scripts/clearice/schema_files/config.schema.yaml, the list of micrographs
WRITES  .snakemake/clearice_runs/: a record of this run while it lives
"""

import atexit
import contextlib
import functools
import os
import shutil
import sys
from pathlib import Path

# Not workflow.basedir: as a module of another workflow that is the other one's.
RULES = workflow.current_basedir.get_path_or_uri(secret_free=True)
if not os.path.isdir(RULES):  # its library could not be imported
    sys.exit(f"error: {RULES}: clearice is used from a folder; clone it (docs/reuse.md)")
if workflow.modifier.path_modifier.replace_prefix("results/") != "results/":
    # The paths of params, and of files that are read here, are not Snakemake's to change.
    sys.exit("error: clearice is no module with a prefix; give it a --directory (docs/reuse.md)")
REPOSITORY = Path(RULES).parents[1]
SCRIPTS = REPOSITORY / "workflow" / "scripts"
sys.path.insert(0, str(SCRIPTS))

from clearice.config import complete_config, read_config, require_weights, trained_architectures
from clearice.errors import InputError
from clearice.fingerprint import fingerprint
from clearice.limits import require_writable
from clearice.interpreter import require_plain_python
from clearice.micrographs.names import key_of, name_of
from clearice.micrographs.finding.run_list import kept_list, keep_list
from clearice.micrographs.finding.sources import find_micrographs
from clearice.runs import take_over
from clearice.micrographs.waiting import STILL_WRITTEN, VANISHED
from clearice.dataset.splits import read_test_micrographs
from clearice.stopped_runs import let_sigterm_end_snakemake, stop_whole_run


def say(line):
    """Tell the person who runs this: one line, and not again from every job."""
    if workflow.is_main_process:
        print(f"note: {line}", file=sys.stderr)


def asks_archive():
    """Whether an archive is asked what it has today: by a run and its dry run, and by no job."""
    others = {"--unlock", "--lint", "--list-rules", "--summary", "--report", "--touch"}
    return workflow.is_main_process and not others & set(sys.argv)


def show_entry():
    """Tell what the archive says of the entry: title, date, pixel size, dose."""
    from clearice.micrographs.empiar.description import describe_entry

    if described := describe_entry(config["empiar"], ".", say, asks_archive()):
        say(described.in_words())


let_sigterm_end_snakemake()
given = {}
try:
    # Read before Snakemake does, which does not say what is wrong with it, and in which line.
    # A module's `config:` comes from the workflow that uses it, whose config.yaml is its own.
    if not workflow.modifier.skip_configfile and (os.path.exists("config.yaml") or not config):
        given = read_config("config.yaml")
except InputError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(1)

if given:

    configfile: "config.yaml"


try:
    require_plain_python()
    config.update(complete_config(config))
    require_weights(config)
    by_name = None if workflow.is_main_process else kept_list()  # name -> MicrographFiles
    if by_name is None:
        by_name = find_micrographs(config, say=say, ask=asks_archive())
        if config["micrographs"]["source"] == "empiar":
            show_entry()
    MICROGRAPHS = {files.key: files for files in by_name.values()}
    if config["split"]["test_micrographs"]:
        read_test_micrographs(config["split"]["test_micrographs"], by_name)
except InputError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(1)

if workflow.is_main_process:
    try:
        require_writable(".")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    with contextlib.suppress(OSError):  # no locks on this file system, or another user's records
        if line := take_over(".snakemake", unlock="--unlock" in sys.argv):
            print(line, file=sys.stderr)

ARCHITECTURES = trained_architectures(config)
IMPLEMENTATIONS = sorted(config["parity"]["implementations"])


wildcard_constraints:
    micrograph="[^/]+",
    split="train|test",
    architecture="[^/]+",
    implementation="[^/]+",


def code_of(script, *files):
    """Return a param: a fingerprint of the code that the script's results depend on.

    It covers the script, the library modules that it imports, and `files` (relative to workflow/).
    Made when a job is planned, once per script: an edit reruns what depends on it, and nothing else.
    """
    return lambda wildcards: code_fingerprint(script, *files)


@functools.cache
def code_fingerprint(script, *files):
    """Return the fingerprints of a script and of other files as one text."""
    paths = [SCRIPTS / f"{script}.py", *(SCRIPTS.parent / file for file in files)]
    return " ".join(map(fingerprint, paths))


@functools.cache
def own_name(rule):
    """Return what a rule of that name is called here, None if it is not ours.

    As a module of another workflow our rules may have other names, and not all jobs are ours.
    """
    return next((own for own, proxy in rules._rules.items() if proxy.rule.name == rule), None)


def in_report(name, category):
    """Return the path of a file of results/report; `snakemake --report` shows it, too."""
    caption = f"../report/captions/{Path(name).stem}.rst"
    return report(f"results/report/{name}", caption=caption, category=category)
