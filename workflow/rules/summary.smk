"""What a run that succeeded prints at its end: the headline figures, and where the report is.

READS   results/report/summary.json
WRITES  nothing
"""

from snakemake.settings.enums import Quietness


def show_summary():
    """Print the figures of the report that this run made; of one that it left as it was, the path.

    Once, by the main process, and only if the report was among the targets or what they need. It is
    a result, so it goes to standard output; with --quiet all there is nothing.
    """
    reports = [job for job in workflow.dag.jobs if own_name(job.rule.name) == "report"]
    quiet = workflow.output_settings.quiet or ()
    if not reports or workflow.touch or Quietness.ALL in quiet:
        return
    page = os.path.join(workflow.overwrite_workdir or "", reports[0].output.page)  # as typed
    text = f"the report is as it was: {page}"
    if any(map(workflow.dag.finished, reports)):
        from clearice.files import read_result
        from clearice.report.headlines import summary_text  # with NumPy: jobs need neither

        text = summary_text(read_result(reports[0].output.summary), page)
    encoding = sys.stdout.encoding or "utf-8"  # a name may hold what a terminal can't show
    print(text.encode(encoding, "replace").decode(encoding), flush=True)


def show_summary_of_nothing():
    """Do that where Snakemake found nothing to do: it calls no hook then."""
    started = workflow.scheduler is not None and not workflow.dryrun
    if started and not len(workflow.dag):
        show_summary()


if workflow.is_main_process:
    atexit.register(show_summary_of_nothing)
