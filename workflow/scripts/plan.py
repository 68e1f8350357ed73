"""Print what a run will write, against the free disk, before anything is written.

By hand it is `clearice plan`.
"""

import functools
from pathlib import Path

from clearice.bridge import run_command, run_job
from clearice.command.plan import main
from clearice.printed_plan import plan

if "snakemake" in globals():
    try:
        run_job(functools.partial(plan, ask=False), snakemake)  # the run has asked
    finally:  # the log has what a person asked to see
        print(Path(snakemake.log[0]).read_text(), end="", flush=True)
elif __name__ == "__main__":
    run_command(main)
