"""What a person sees of Snakemake's events."""

import io
import logging

import pytest

from clearice.job_progress import progress_path
from snakemake_logger_plugin_clearice.run_display import RunDisplay
from snakemake_logger_plugin_clearice.screen import Screen
from terminal_screen import Terminal


class Run:
    """A RunDisplay that is told what Snakemake tells; `said` is what stands in a log of it."""

    def __init__(self, stream=None, dry=False):
        self.log = stream or io.StringIO()
        self.display = RunDisplay(Screen(self.log), dry=dry)
        self.now = 0.0

    def tell(self, event, message="", level=logging.INFO, after=1.0, **fields):
        self.now += after
        record = logging.LogRecord("snakemake", level, "", 0, message, (), None)
        record.__dict__.update(fields, event=event)
        self.display.show(record, self.now)

    def begin(self, **rules):
        self.tell("workflow_started")
        self.tell("run_info", stats=rules | {"total": sum(rules.values())})

    def start(self, jobid, rule="shard_micrograph", name="m1", log=None, **fields):
        about = {
            "jobid": jobid,
            "rule_name": rule,
            "wildcards": {"micrograph": name} if name else {},
        }
        about |= {"log": [str(log)] if log else [], "output": ["x"], "local": True, "reason": ""}
        self.tell("job_info", **(about | fields))

    def finish(self, jobid, done, total):
        self.tell("job_finished", job_id=jobid)
        self.tell("progress", done=done, total=total, after=0.0)

    def fail(self, jobid, rule="shard_micrograph", logs=(), says=None):
        about = {"jobid": jobid, "rule_name": rule, "log": [str(log) for log in logs]}
        self.tell("job_error", level=logging.ERROR, rule_msg=says, indent=False, **about)

    def end(self):
        self.tell(None, "Complete log(s): .snakemake/log/x.log")
        self.display.end(self.now)
        return self.said

    @property
    def said(self):
        lines = self.log.getvalue().splitlines()
        return [line[10:] if line[2:3] == ":" and line[5:6] == ":" else line for line in lines]


@pytest.fixture
def run():
    return Run()


def test_a_run_that_goes_well(run):
    run.begin(shard_micrograph=2, all=1)
    run.start(1)
    run.start(2, name="m2")
    run.finish(1, 1, 3)
    run.finish(2, 2, 3)
    run.start(0, "all", name="", output=[])
    run.finish(0, 3, 3)
    assert run.end() == [
        "3 jobs: 2 shard_micrograph, 1 all",
        "done: shard_micrograph: 2 jobs in 3 s",
        "done: 3 jobs in 8 s",
    ]


def test_the_reason_is_the_last_line_and_the_first_failure_comes_first(run, tmp_path):
    log = tmp_path / "m1.log"
    log.write_text("error: m1.mrc: truncated; copy it again\n")
    run.begin(shard_micrograph=2)
    run.start(1, log=log)
    run.start(2, name="m2")
    run.fail(1, logs=[log])
    message = "Command 'python .snakemake/scripts/tmpx.shard_micrograph.py' {}."
    run.tell("error", message.format("died with <Signals.SIGKILL: 9>"), logging.ERROR)
    run.fail(2)
    final = "WorkflowError:\nAt least one job did not complete successfully."
    run.tell("error", final, logging.ERROR)
    *_, told, last = run.end()
    assert told.startswith("failed: shard_micrograph m2: it was killed (SIGKILL)")
    assert last == (
        f"error: shard_micrograph m1: m1.mrc: truncated; copy it again; log: {log}; "
        "1 more job failed: .snakemake/log/x.log"
    )


def test_a_failure_of_a_run_that_goes_on_is_told_at_once(run):
    run.begin(shard_micrograph=2)
    run.start(1)
    run.fail(1, says="SLURM status is: 'OUT_OF_MEMORY'", logs=["m1.log", "slurm/17.log"])
    run.start(2, name="m2")
    assert run.said[-1] == (
        "failed: shard_micrograph m1: SLURM status is: 'OUT_OF_MEMORY'; log: slurm/17.log"
    )


def test_a_job_that_is_tried_again_has_not_failed(run):
    run.begin(shard_micrograph=1)
    run.start(1)
    run.fail(1)
    run.tell(None, "Trying to restart job 1.")
    run.start(1)
    run.finish(1, 1, 1)
    assert run.end()[1:] == [
        "failed: shard_micrograph m1: it ended without saying why",
        "tried again: shard_micrograph m1",
        "done: shard_micrograph: 1 job in 4 s",
        "done: 1 job in 7 s",
    ]


def test_of_a_group_those_are_named_that_say_why(run, tmp_path):
    said, silent = tmp_path / "m1.log", tmp_path / "m2.log"
    said.write_text("error: m1.mrc: truncated\n")
    members = [
        {"jobid": number, "rule_name": "shard_micrograph", "log": [str(log)]}
        for number, log in enumerate([silent, said])
    ]
    run.begin(shard_micrograph=2)
    run.start(0, name="m2", local=False)
    run.start(1, name="m1", local=False)
    run.tell("group_error", level=logging.ERROR, job_error_info=members, aux_logs=["slurm/1.log"])
    assert run.end()[-1] == f"error: shard_micrograph m1: m1.mrc: truncated; log: {said}"


def test_of_a_group_that_says_nothing_the_log_of_the_cluster_is_named(run):
    members = [{"jobid": n, "rule_name": "shard_micrograph", "log": []} for n in range(2)]
    run.begin(shard_micrograph=2)
    run.tell("group_error", level=logging.ERROR, job_error_info=members, aux_logs=["slurm/1.log"])
    assert run.end()[-1] == (
        "error: a group of 2 jobs (shard_micrograph): it ended without saying why; log: slurm/1.log"
    )


def test_a_group_that_is_tried_again_has_not_failed(run, tmp_path):
    said = tmp_path / "m1.log"
    said.write_text("error: m1.mrc: truncated\n")
    run.begin(shard_micrograph=4)
    for jobids, log in (((1, 2), said), ((3, 4), None)):
        logs = [str(log)] if log else []
        members = [{"jobid": n, "rule_name": "shard_micrograph", "log": logs} for n in jobids]
        for n in jobids:
            run.start(n, name=f"m{n}", local=False)
        # Snakemake names a group by one number, and which of its jobs has it nobody knows.
        about = {"level": logging.ERROR, "job_error_info": members, "aux_logs": ["slurm/1.log"]}
        run.tell("group_error", **about)
        run.tell(None, f"Trying to restart job {jobids[1]}.")
    for n in (1, 2, 3, 4):
        run.start(n, name=f"m{n}", local=False)
    for n in (1, 2, 3, 4):
        run.finish(n, n, 4)
    said = run.end()
    assert [line for line in said if line.startswith("tried again")] == [
        "tried again: shard_micrograph m1",
        "tried again: shard_micrograph m2",
        "tried again: a group of 2 jobs (shard_micrograph)",
    ]
    assert not [line for line in said if line.startswith("error")]
    assert said[-1].startswith("done: 4 jobs in")


@pytest.mark.parametrize("rule", ["train_denoiser", "ice_train_denoiser"])
def test_the_end_of_a_script_is_told_of_its_rule_also_with_the_prefix_of_a_module(run, rule):
    run.begin(**{rule: 1})
    run.start(1, rule, "simple_cnn")
    script = ".snakemake/scripts/tmpab12.train_denoiser.py"
    died = f"Command 'python {script}' died with <Signals.SIGKILL: 9>."
    run.tell("error", died, logging.ERROR)
    run.fail(1, rule)
    assert run.end()[-1].startswith(f"error: {rule} simple_cnn: it was killed (SIGKILL)")


def test_the_end_of_one_script_is_not_told_of_another_rule(run):
    run.begin(train_denoiser=1, report=1)
    run.start(1, "report", "")
    script = ".snakemake/scripts/tmpab12.train_denoiser.py"
    run.tell("error", f"Command 'python {script}' died with <Signals.SIGKILL: 9>.", logging.ERROR)
    run.tell("error", "Command 'false' returned non-zero exit status 1.", logging.ERROR)
    run.fail(1, "report")
    said = run.end()
    assert "Command 'false' returned non-zero exit status 1." in said
    assert said[-1].startswith("error: report: it ended without saying why")


def test_an_error_of_snakemake_is_shown_and_repeated_in_one_line(run):
    run.begin(report=1)
    run.tell("error", "MissingOutputException in rule report:\nindex.html", logging.ERROR)
    assert run.end()[1:] == [
        "MissingOutputException in rule report:",
        "index.html",
        "error: MissingOutputException in rule report: index.html; log: .snakemake/log/x.log",
    ]


def test_an_error_before_the_first_job_is_shown_once(run):
    run.tell("workflow_started")
    run.tell("error", "MissingInputException in rule all", logging.ERROR)
    assert run.end() == ["MissingInputException in rule all"]


def test_an_interrupted_run(run):
    run.begin(train_denoiser=1)
    run.start(1, "train_denoiser", "simple_cnn")
    run.tell(None, "Terminating processes on user request, this might take some time.")
    run.fail(1, "train_denoiser")
    assert run.end()[1:] == [
        "stopping: the jobs write what they continue from",
        "interrupted; the same command goes on from here",
    ]


def test_what_snakemake_says_of_itself_is_not_shown_and_what_it_does_not_often_say_is(run):
    for message in ("Select jobs to execute...", "Execute 1 jobs...", "Using shell: /bin/sh", ""):
        run.tell(None, message)
    run.tell("resources_info", "Provided cores: 2")
    run.tell("shellcmd", "rm -rf /")
    run.tell(None, "Job 3 has been submitted with SLURM jobid 17 (log: x).")
    run.tell(None, "Creating conda environment envs/torch.yaml...")
    run.tell(None, "your disk smells", logging.WARNING)
    assert run.said == ["Creating conda environment envs/torch.yaml...", "your disk smells"]


def test_a_log_gets_a_line_a_minute(run, tmp_path):
    log = tmp_path / "train_denoiser.log"
    run.begin(train_denoiser=1, shard_micrograph=4)
    run.start(1, "train_denoiser", "simple_cnn", log=log)
    progress = '{"fraction": 0.5, "left_s": 100, "words": "epoch 2 of 3, loss 0.5, 7 batches/s"}'
    progress_path(log).write_text(progress)
    for _ in range(150):
        run.now += 1.0
        run.display.tick(run.now)
    assert run.said[1:] == [
        "0 of 5 jobs; train_denoiser simple_cnn: epoch 2 of 3, loss 0.5, 7 batches/s, 42 s left",
        "0 of 5 jobs; train_denoiser simple_cnn: epoch 2 of 3, loss 0.5, 7 batches/s, 0 s left",
    ]


@pytest.mark.parametrize("columns", [30, 60, 80, 120])
def test_no_line_of_the_block_is_wider_than_the_terminal(columns, tmp_path, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    log = tmp_path / "train_denoiser.log"
    with Terminal(columns) as terminal:
        run = Run(terminal.stream)
        run.tell("workflow_started")
        run.display.tick(run.now)
        terminal.read()
        assert "planning, 0 s" in terminal.lines
        run.begin(train_denoiser=2, denoise_micrograph=12345)
        run.start(1, "train_denoiser", "simple_cnn", log=log)
        run.start(2, "denoise_micrograph")
        progress = '{"fraction": 0.5, "left_s": 4000, "words": "%s"}' % ("loss 0.5, " * 15)
        progress_path(log).write_text(progress)
        run.display.tick(run.now)
        terminal.read()
        block = terminal.lines[terminal.lines.index("") + 1 :]
        assert [line.split()[0] for line in block] == [
            "all",
            "train_denoiser",
            "simple_cnn:",
            "denoise_micrograph",
        ]
        assert all(len(line) < columns for line in block)
        assert ("━" in block[1]) == (columns > 50)


def test_a_dry_run_ends_in_a_table():
    run = Run(dry=True)
    run.begin(simulate_micrograph=2, all=1)
    for name in ("m1", "m2"):
        reason = f"Missing output files: {name}.mrc; Code has changed since last execution"
        run.start(name, "simulate_micrograph", name, reason=reason)
    run.start(0, "all", "", reason="Input files updated by another job: m1.mrc", output=[])
    run.begin(simulate_micrograph=2, all=1)
    run.tell(None, "Reasons:\n    (check individual jobs above for details)")
    run.tell(None, "This was a dry-run (flag -n). The order of jobs does not ...")
    assert run.end() == [
        "rule                    jobs  because",
        "simulate_micrograph        2  results are missing",
        "all                        1  its inputs are made anew",
        "total                      3",
        "A dry run: nothing was made. Without -n, 3 jobs will run.",
    ]


def test_a_dry_run_without_anything_to_do():
    run = Run(dry=True)
    run.tell("workflow_started")
    run.tell(None, "Nothing to be done (all requested files are present and up to date).")
    assert run.end() == ["Nothing to be done (all requested files are present and up to date)."]
