"""Run every mutant and write which rung rejected it into docs/parity.md.

python tests/parity/kill_matrix.py
"""

import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
DOCUMENT = REPOSITORY / "docs" / "parity.md"
BEGIN, END = "<!-- kill matrix: begin -->", "<!-- kill matrix: end -->"


def judge(write, bundle, output):
    """Let a mutant write its results; return the verdict on them, always as float32."""
    from clearice.bundle import Bundle
    from clearice.parity import compare

    write(bundle, output)
    return compare(Bundle(bundle), output, "mutant", "float32")


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


def documented():
    """Return the kill matrix in docs/parity.md."""
    text = DOCUMENT.read_text(encoding="utf-8")
    return text[text.index(BEGIN) + len(BEGIN) : text.index(END)].strip()


def main():
    """Make the bundle, run all mutants, and replace the table."""
    sys.path[:0] = [str(REPOSITORY / "workflow" / "scripts"), str(REPOSITORY / "tests")]
    from mutants import MUTANTS
    from parity_bundle import write_small_bundle

    with tempfile.TemporaryDirectory() as scratch:
        bundle = Path(scratch) / "bundle"
        write_small_bundle(bundle)
        verdicts = {
            name: judge(write, bundle, Path(scratch) / str(number))
            for number, (name, write) in enumerate(MUTANTS.items())
        }
    text = DOCUMENT.read_text(encoding="utf-8")
    before, after = text[: text.index(BEGIN)], text[text.index(END) :]
    DOCUMENT.write_text(f"{before}{BEGIN}\n{table(verdicts)}\n{after}", encoding="utf-8")
    alive = [name for name, verdict in verdicts.items() if verdict["verdict"] != "failed"]
    print(f"{len(verdicts)} mutants, alive: {', '.join(alive) or 'none'}")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
