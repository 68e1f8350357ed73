"""Run every mutant and write which rung rejected it into docs/parity.md.

    python tests/parity/kill_matrix.py [--json]

With --json the document stays as it is, and what was seen goes to standard output.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
DOCUMENT = REPOSITORY / "docs" / "parity.md"
BEGIN, END = "<!-- kill matrix: begin -->", "<!-- kill matrix: end -->"

# Mutants as the class that they could declare: the arithmetic passes, a mistake does not.
DECLARED = {
    "TF32": "tf32",
    "bfloat16": "bfloat16",
    "float16": "float16",
    "conv2: kernel flipped": "bfloat16",
}


def row(name, verdict):
    """Return a mutant's row: a cross a rung that fails, and the diagnosis."""
    crosses = ["x" if state == "failed" else "" for state in verdict["rungs"].values()]
    words = "; ".join(verdict["diagnosis"]) or "passed"
    return "| " + " | ".join([name, *crosses, words.replace("|", "/")]) + " |"


def table(verdicts):
    """Return the kill matrix of {mutant: verdict}."""
    rungs = list(next(iter(verdicts.values()))["rungs"])
    head = "| " + " | ".join(["mutant", *rungs, "what the checker says"]) + " |"
    rule = "|---" * (len(rungs) + 2) + "|"
    return "\n".join([head, rule, *(row(name, verdict) for name, verdict in verdicts.items())])


def run_all(scratch):
    """Return (verdicts on mutants, on honest variants, on DECLARED mutants), each by name."""
    import numpy as np
    from clearice.bundle import Bundle
    from clearice.parity import compare
    from mutants import HONEST, MUTANTS
    from parity_bundle import write_small_bundle

    write_small_bundle(scratch / "bundle")
    np.seterr(all="ignore")  # some mutants diverge
    bundle, mutants, honest, declared = Bundle(scratch / "bundle"), {}, {}, {}
    for names, verdicts in ((MUTANTS, mutants), (HONEST, honest)):
        for number, (name, write) in enumerate(names.items()):
            output = scratch / f"{len(names)}-{number}"
            write(scratch / "bundle", output)
            verdicts[name] = compare(bundle, output, name, "float32")
            if name in DECLARED:
                declared[name] = compare(bundle, output, name, DECLARED[name])
    return mutants, honest, declared


def main():
    """Run everything; replace the table, or print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print, and leave the document alone")
    options = parser.parse_args()
    sys.path[:0] = [str(REPOSITORY / "workflow" / "scripts"), str(REPOSITORY / "tests")]
    with tempfile.TemporaryDirectory() as scratch:
        groups = run_all(Path(scratch))
    states = [{name: verdict["verdict"] for name, verdict in group.items()} for group in groups]
    if options.json:
        seen = dict(zip(("mutants", "honest", "declared"), states, strict=True))
        print(json.dumps({**seen, "table": table(groups[0])}))
    else:
        text = DOCUMENT.read_text(encoding="utf-8")
        before, after = text[: text.index(BEGIN)], text[text.index(END) :]
        DOCUMENT.write_text(f"{before}{BEGIN}\n{table(groups[0])}\n{after}", encoding="utf-8")
    alive = [name for name, state in states[0].items() if state != "failed"]
    print(f"{len(states[0])} mutants, alive: {', '.join(alive) or 'none'}", file=sys.stderr)
    return int(bool(alive))


if __name__ == "__main__":
    sys.exit(main())
