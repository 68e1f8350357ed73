"""The table that a dry run ends with: which rules have how many jobs, and why."""

from snakemake_logger_plugin_clearice.words import counted

# The beginning of a reason of Snakemake -> ours, in the order of how much they say.
_REASONS = {
    "Forced execution": "asked for",
    "Missing output files": "results are missing",
    "Incomplete output files": "results are incomplete",
    "Updated input files": "inputs are newer",
    "Params have changed": "settings changed",
    "Code has changed": "the code changed",
    "Set of input files has changed": "other inputs than before",
    "Software environment": "the software environment changed",
    "Input files updated by another job": "its inputs are made anew",
}


class DryRun:
    """Collects the jobs of a dry run and prints them as one table at its end."""

    def __init__(self, screen):
        self._screen, self._counts, self._reasons = screen, {}, {}

    def plan(self, counts):
        """Take in rule -> number of jobs, with "total"."""
        self._counts = counts

    def add(self, rule, reason):
        """Take in why one job would run, in Snakemake's words."""
        found = self._reasons.setdefault(rule, {})
        known = [ours for theirs, ours in _REASONS.items() if theirs in reason]
        for ours in known[:1] or ["it always runs"]:
            found[ours] = found.get(ours, 0) + 1

    def end(self):
        """Print the table, if there is something to do."""
        if not self._counts:
            return
        rules = [rule for rule in self._counts if rule != "total"]
        width = max(len(rule) for rule in [*rules, "total"])
        style, print_line = self._screen.style, self._screen.print
        print_line(style(f"{'rule':{width}}  {'jobs':>7}  because", "bold"))
        for rule in rules:
            why = sorted(self._reasons.get(rule, {}).items(), key=lambda pair: -pair[1])
            said = ", ".join(r if len(why) == 1 else f"{r} ({n:,})" for r, n in why)
            print_line(f"{rule:{width}}  {self._counts[rule]:>7,}  {said}".rstrip())
        total = self._counts.get("total", 0)
        print_line(style(f"{'total':{width}}  {total:>7,}", "bold"))
        print_line(f"A dry run: nothing was made. Without -n, {counted(total, 'job')} will run.")
        self._counts = {}
