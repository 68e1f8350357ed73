"""Whether the networks learned: losses against epochs, and how they were trained."""

from clearice.report import figures
from clearice.report.section import Section

_LABEL = "Training and test loss against the epoch, with the noise floor."


def section(results, config):
    """Return the Section of the training."""
    drawn = None
    if any(results.histories.values()):
        histories = {name: rows for name, rows in results.histories.items() if rows}
        drawn = figures.loss_svg(histories)
    facts = {
        "trainings": results.trainings,
        "histories": results.histories,
        "loss": drawn and figures.for_page(drawn, _LABEL, "loss"),
    }
    file = figures.for_file(drawn or figures.no_data("Nothing was trained.", "svg"))
    return Section(facts, {"loss.svg": file})
