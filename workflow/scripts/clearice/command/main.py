"""The command `clearice`: picks the subcommand and imports nothing else."""

import argparse
import functools
import importlib
import sys

from clearice import __version__
from clearice.bridge import run_command

COMMANDS = {  # name of the module in this room -> what it does
    "denoise": "denoise micrographs with the pretrained network or one of yours",
    "plan": "print what a run of the workflow will write, against the free disk",
    "verify": "check results: counts, sizes, hashes, pairing, leaks between the splits, sources",
    "compare": "judge an implementation against the reference bundle",
    "shard": "cut one micrograph, or one pair of halves, into patches",
    "cancel": "end the Slurm jobs of a run that was killed",
}


def main(arguments=None):
    """Run `clearice SUBCOMMAND ...`; exits with the subcommand's status."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words and words[0] in COMMANDS:
        command = importlib.import_module(f"clearice.command.{words[0]}")
        run_command(functools.partial(command.main, words[1:]))
    lines = [f"  {name:<9}{about}" for name, about in COMMANDS.items()]
    parser = argparse.ArgumentParser(
        prog="clearice",
        usage="clearice [--help] [--version] COMMAND ...",
        description="Cryo-EM micrographs without their noise.",
        epilog="\n".join(["commands:", *lines, "", "clearice COMMAND --help lists its options."]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"clearice {__version__}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help=argparse.SUPPRESS)
    parser.parse_args(words)
