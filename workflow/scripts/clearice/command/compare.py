"""clearice compare: judge an implementation against the reference bundle. Needs NumPy alone."""

import argparse
import sys
from pathlib import Path

from clearice.errors import InputError
from clearice.parity.comparison import compare
from clearice.parity.verdict import print_verdict, write_verdict
from clearice.reference.bundle import Bundle, BundleError
from clearice.reference.tolerances import PRECISIONS


def main(arguments=None):
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="clearice compare",
        description="Judge the results of an implementation against the reference bundle.",
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
    print_verdict(result)
    if options.write:
        folder = Path(options.write)
        paths = [folder / name for name in ("verdict.json", "verdict.txt", "junit.xml")]
        try:
            write_verdict(result, *paths)
        except OSError as error:
            print(f"error: cannot write into {folder}: {error.strerror}", file=sys.stderr)
            return 2
    return 0 if result["verdict"] == "passed" else 1
