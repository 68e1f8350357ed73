"""Judge the results of an implementation against the reference bundle. Needs NumPy alone.

    compare_implementation.py BUNDLE OUTPUT [--precision CLASS] [--write FOLDER]

Exit status: 0 passed, 1 failed or not run, 2 the bundle cannot be used or the verdict not written.
"""

import argparse
import sys
from pathlib import Path

from clearice.bridge import run_job
from clearice.errors import InputError
from clearice.parity.comparison import compare
from clearice.parity.verdict import verdict_text, write_verdict
from clearice.reference.bundle import Bundle, BundleError
from clearice.reference.tolerances import PRECISIONS


def compare_implementation(
    manifest, output, verdict, text, junit, name, precision, **_only_for_the_workflow
):
    """Write the verdict on `output` as JSON, text and JUnit XML; a failed one is no error here.

    `manifest`: the bundle's manifest.json.
    """
    result = compare(Bundle(Path(manifest).parent), output, name, precision)
    write_verdict(result, verdict, text, junit)
    _say(verdict_text(result))


def _say(text):
    """Print what has words of others in it: no terminal or log has all of Unicode."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding), end="")


def main(arguments=None):
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog="exit status: 0 passed, 1 failed or not run, 2 the bundle cannot be used or the "
        "verdict not written",
    )
    parser.add_argument("bundle", help="folder of the reference bundle")
    parser.add_argument("output", help="folder that the implementation wrote")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="class whose tolerances apply (default: what result.json declares, or float32)",
    )
    parser.add_argument("--name", help="name of the implementation (default: the folder's)")
    parser.add_argument("--write", metavar="FOLDER", help="put verdict.json, .txt, junit.xml here")
    options = parser.parse_args(arguments)
    try:
        name = options.name or Path(options.output).resolve().name
        result = compare(Bundle(options.bundle), options.output, name, options.precision)
    except BundleError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    _say(verdict_text(result))
    if options.write:
        folder = Path(options.write)
        paths = [folder / name for name in ("verdict.json", "verdict.txt", "junit.xml")]
        try:
            write_verdict(result, *paths)
        except OSError as error:
            print(f"error: cannot write into {folder}: {error.strerror}", file=sys.stderr)
            return 2
    return 0 if result["verdict"] == "passed" else 1


if "snakemake" in globals():
    run_job(compare_implementation, snakemake)
elif __name__ == "__main__":
    sys.exit(main())
