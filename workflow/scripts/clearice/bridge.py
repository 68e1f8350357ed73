"""The bridge between a Snakemake job and a plain function of keywords.

A script ends in `run_job(function, snakemake)` when Snakemake runs it and in
`run_command(main)` when a person does; nothing touches `snakemake` at import time.
"""

import contextlib
import errno
import os
import signal
import sys
import traceback

from clearice.disk import is_full
from clearice.errors import InputError, one_line
from clearice.job_progress import progress_beside
from clearice.kept_results import KeptResults
from clearice.limits import limit_line, why_full
from clearice.seals import aside_of, break_seal, made_with, remove, require_unchanged, seal
from clearice.stopping import ends_orderly

_ERASE_TO_END = "\x1b[K"  # of the line, on any terminal of the last forty years
_PATH_ERRORS = {
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG),
    *(errno.EACCES, errno.EPERM, errno.EROFS),
}


def job_arguments(snakemake):
    """Return the keywords of a job: its named inputs, outputs and params, as plain values.

    `code` (the library modules that only trigger reruns) is left out; a list of one rule's
    files stays a list of str.
    """
    arguments = {}
    for group in (snakemake.input, snakemake.output, snakemake.params):
        for name, value in group.items():
            if name != "code":
                arguments[name] = value if isinstance(value, dict | bool) else _plain(value)
    return arguments


def _plain(value):
    if isinstance(value, str):
        return str(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def run_job(function, snakemake):
    """Call `function` with the job's keywords; its output and errors go to the job's log.

    What the user can fix (an InputError, a full disk, a path that cannot be used) ends the job
    with one line in the log and on standard error and exit status 1; of any other exception, which
    is our mistake, the log has the traceback. The first SIGTERM (Slurm), SIGINT (Ctrl-C) or SIGHUP
    (a closed terminal) unwinds the function as SystemExit(128 + its number).
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(ends_orderly())
        try:
            if snakemake.log:
                log = stack.enter_context(open(snakemake.log[0], "w", buffering=1))
                stack.enter_context(contextlib.redirect_stdout(log))
                stack.enter_context(contextlib.redirect_stderr(log))
                stack.enter_context(progress_beside(snakemake.log[0]))
            _run_sealed(function, snakemake)
        except Exception as error:
            line = users_line(error)
            if line is None:
                traceback.print_exc()
                line = one_line(traceback.format_exception_only(error)[-1])
                line += " (the log has the traceback)" if snakemake.log else ""
            else:
                print(f"error: {line}", file=sys.stderr)
            say_on_terminal(f"{snakemake.rule}: {line}")
            sys.exit(1)


def say_on_terminal(line):
    """Print one line where the person who started the run looks: past the log of the job.

    Bars may be drawn there (snakemake_logger_plugin_clearice), so it wipes what follows it.
    """
    terminal = sys.__stderr__.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    print(f"{line}{_ERASE_TO_END * terminal}", file=sys.__stderr__, flush=True)


def _run_sealed(function, snakemake):
    """Check the results that the job reads, call the function, and seal the results it wrote.

    It may return path -> list of (bytes, XXH3-64[, name]) of parts of outputs that it hashed. What
    an earlier job finished, whose group failed, is taken instead.
    """
    outputs, arguments = list(map(str, snakemake.output)), job_arguments(snakemake)
    require_unchanged(map(str, snakemake.input))
    for path in outputs:
        break_seal(path)
    made = made_with(snakemake.params.items(), snakemake.input)
    kept = KeptResults(outputs, made, _files(arguments, snakemake.input)) if outputs else None
    if kept and kept.take():
        return
    hashes = function(**arguments) or {}
    log = snakemake.log[0] if snakemake.log else None
    stamp = log and log.removesuffix(".log") + ".benchmark.tsv"
    for path in outputs:
        seal(path, snakemake.rule, made, stamp, hashes.get(path))
        remove(aside_of(path))
    if kept:
        kept.keep(log)


def _files(arguments, inputs):
    """Return the files that a job reads: its inputs, and what is named by its other arguments."""
    words = [value for value in arguments.values() if isinstance(value, str)]
    return [*map(str, inputs), *filter(os.path.isfile, words)]


def run_command(main):
    """Call the command line `main`; what the user can fix becomes one line and exit status 1."""
    with ends_orderly():
        try:
            status = main()
            sys.stdout.flush()
        except BrokenPipeError:  # of `clearice plan | head`: the reader has read enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(128 + signal.SIGPIPE)
        except Exception as error:
            line = users_line(error)
            if line is None:
                raise
            sys.exit(f"error: {line}")
    sys.exit(status)


def users_line(error):
    """Return the line for an error that the user can fix, None for a mistake of ours."""
    if isinstance(error, InputError):
        return str(error)
    if (line := limit_line(error)) or not isinstance(error, OSError):
        return line
    where = f"{error.filename}: " if error.filename else ""
    if is_full(error):
        return f"{where}{why_full(error)}; make room and run again"
    return f"{where}{error.strerror}" if where and error.errno in _PATH_ERRORS else None
