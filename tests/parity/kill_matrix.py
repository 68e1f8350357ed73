"""Run every mutant and write which rung rejected it into docs/parity.md.

    python tests/parity/kill_matrix.py [--json]

With --json the document stays unchanged and the results go to standard output.
"""

import argparse
import functools
import json
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
DOCUMENT = REPOSITORY / "docs" / "parity.md"
BEGIN, END = "<!-- kill matrix: begin -->", "<!-- kill matrix: end -->"

CLASSES_BEGIN, CLASSES_END = "<!-- lower classes: begin -->", "<!-- lower classes: end -->"
CLASSES = ("tf32", "float16", "bfloat16")


def row(name, verdict):
    """Return a mutant's row: a cross per failing rung, and the diagnosis."""
    crosses = ["x" if state == "failed" else "" for state in verdict["rungs"].values()]
    words = "; ".join(verdict["diagnosis"]) or "passed"
    return "| " + " | ".join([name, *crosses, words.replace("|", "/")]) + " |"


def table(verdicts):
    """Return the kill matrix of {mutant: verdict}."""
    rungs = list(next(iter(verdicts.values()))["rungs"])
    head = "| " + " | ".join(["mutant", *rungs, "what the checker says"]) + " |"
    rule = "|---" * (len(rungs) + 2) + "|"
    return "\n".join([head, rule, *(row(name, verdict) for name, verdict in verdicts.items())])


def passing(judge, name):
    """Return {name: lower classes in which it passes}, or {} if it passes in none."""
    if judge("bfloat16")["verdict"] != "passed":  # the widest
        return {}
    return {name: [c for c in CLASSES if judge(c)["verdict"] == "passed"]}


def classes_table(declared):
    """Return the table of {mutant: classes in which it passes}."""
    rows = [f"| {name} | {', '.join(classes)} |" for name, classes in declared.items()]
    return "\n".join(["| mutant | passes as |", "|---|---|", *rows])


def run_all(scratch):
    """Return, by name, verdicts on mutants and honest variants and the classes mutants pass in."""
    import numpy as np
    from mutants import HONEST, MUTANTS

    from clearice.parity.comparison import compare
    from clearice.reference.bundle import Bundle
    from parity_bundle import write_small_bundle

    write_small_bundle(scratch / "bundle")
    np.seterr(all="ignore")  # some mutants diverge
    bundle, mutants, honest, declared = Bundle(scratch / "bundle"), {}, {}, {}
    for names, verdicts in ((MUTANTS, mutants), (HONEST, honest)):
        for number, (name, write) in enumerate(names.items()):
            output = scratch / f"{len(names)}-{number}"
            write(scratch / "bundle", output)
            verdicts[name] = compare(bundle, output, name, "float32")
            if names is MUTANTS:
                declared |= passing(functools.partial(compare, bundle, output, name), name)
    return mutants, honest, declared


def replaced(text, begin, end, content):
    """Return the text with the content between two marks replaced."""
    before, after = text[: text.index(begin)], text[text.index(end) :]
    return f"{before}{begin}\n{content}\n{after}"


def main():
    """Run everything; replace the tables, or print the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print, and leave the document alone")
    options = parser.parse_args()
    sys.path[:0] = [str(REPOSITORY / "workflow" / "scripts"), str(REPOSITORY / "tests")]
    with tempfile.TemporaryDirectory() as scratch:
        groups = run_all(Path(scratch))
    *groups, declared = groups
    states = [{name: verdict["verdict"] for name, verdict in group.items()} for group in groups]
    tables = {"table": table(groups[0]), "classes_table": classes_table(declared)}
    if options.json:
        seen = dict(zip(("mutants", "honest"), states, strict=True))
        print(json.dumps({**seen, "declared": declared, **tables}))
    else:
        text = DOCUMENT.read_text(encoding="utf-8")
        text = replaced(text, BEGIN, END, tables["table"])
        text = replaced(text, CLASSES_BEGIN, CLASSES_END, tables["classes_table"])
        DOCUMENT.write_text(text, encoding="utf-8")
    alive = [name for name, state in states[0].items() if state != "failed"]
    print(f"{len(states[0])} mutants, alive: {', '.join(alive) or 'none'}", file=sys.stderr)
    return int(bool(alive))


if __name__ == "__main__":
    sys.exit(main())
