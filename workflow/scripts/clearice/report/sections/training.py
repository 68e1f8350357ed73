"""How each network was trained: whether it learned, how fast, and with how much memory."""

from clearice.report import original
from clearice.report.figures import for_file, for_page, no_data, svg_of
from clearice.report.learning import (
    against_linear,
    baselines,
    explained,
    learned,
    linear_loss,
    thinned,
)
from clearice.report.section import Section
from clearice.report.training_figures import (
    LOSS_COLUMNS,
    LOSS_IN,
    SPEED_COLUMNS,
    SPEED_IN,
    loss_panel,
    loss_rows,
    speed_panels,
    speed_rows,
)
from clearice.tsv import table_text

_NOTHING = "Nothing was trained."
_SPEED_LABELS = ("Batches per second", "Time waiting for data", "Peak memory")


def section(results, config):
    """Return the Section: facts for training.html; loss and speed as SVG with their numbers."""
    histories = {name: rows for name, rows in results.histories.items() if rows}
    lines = baselines(results.patch_sample.test, _linear(results))
    drawn = {name: thinned(rows) for name, rows in histories.items()}
    networks = [
        _network(number, results.trainings[name], rows, drawn[name], lines)
        for number, (name, rows) in enumerate(histories.items())
    ]
    facts = {
        "networks": networks,
        "baselines": lines,
        "sampled": results.patch_sample.test,
        "original": _original(results),
        "original_network": original.ARCHITECTURE,
    }
    return Section(facts, _files(drawn, lines))


def _linear(results):
    return linear_loss(results.validation.by_name.values()) if results.validation else None


def _network(number, training, rows, shown, lines):
    """Return what the page shows of one network."""
    name, last = training["architecture"], rows[-1]
    words = [
        learned(rows, training["kept_pretrained"]),
        explained(last, lines["constant"]),
        against_linear(last, lines["linear"]),
    ]
    loss = svg_of([loss_panel(name, shown, lines)], "loss", size_in=LOSS_IN)
    label = f"Training and test loss of {name} against the epoch. {words[0]}"
    speeds = [svg_of([panel], "speed", size_in=SPEED_IN) for panel in speed_panels(name, shown)]
    return {
        "name": name,
        "training": training,
        "last": last,
        "words": [line for line in words if line],
        "loss": for_page(loss, label, f"loss-{number}"),
        "speed": [
            for_page(svg, f"{what} of {name} in each epoch.", f"speed-{number}-{k}")
            for k, (svg, what) in enumerate(zip(speeds, _SPEED_LABELS, strict=True))
        ]
        if last["epoch"]
        else [],
        "thinned_from": len(rows) if len(shown) < len(rows) else None,
        "floor_known": last["noise_floor_test"] is not None,
    }


def _original(results):
    """Return the table of the original's targets, None where its network was not trained."""
    rows = results.histories.get(original.ARCHITECTURE)
    if not rows or not rows[-1]["epoch"]:
        return None
    return original.beside_original(results.trainings[original.ARCHITECTURE], rows)


def _files(drawn, lines):
    """Return name -> text of loss.svg, loss.tsv, speed.svg and speed.tsv."""
    losses = [row for name, rows in drawn.items() for row in loss_rows(name, rows, lines)]
    speeds = [row for name, rows in drawn.items() for row in speed_rows(name, rows)]
    loss = [loss_panel(name, rows, lines) for name, rows in drawn.items()]
    speed = [panel for name, rows in drawn.items() for panel in speed_panels(name, rows)]
    return {
        "loss.svg": _figure(loss, "loss", min(len(loss), 2), LOSS_IN),
        "loss.tsv": table_text(LOSS_COLUMNS, losses),
        "speed.svg": _figure(speed, "speed", 3, SPEED_IN),
        "speed.tsv": table_text(SPEED_COLUMNS, speeds),
    }


def _figure(panels, salt, columns, size_in):
    svg = svg_of(panels, salt, columns, size_in) if panels else no_data(_NOTHING, "svg")
    return for_file(svg)
