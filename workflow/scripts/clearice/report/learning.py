"""What the losses of a training say, in words, and what they are compared with.

All losses are mean squared errors per pixel of the normalised target: variances of the input.
"""

from itertools import pairwise

from clearice.report.words import optional

POINTS = 400  # of a curve, at most: a figure of 4 inches shows no more
_SMALL = 0.001  # of a loss: what chance moves from epoch to epoch
_SETTLED = 0.1  # of what is left above the noise floor


def thinned(rows, limit=POINTS):
    """Return at most about `limit` of the rows of a history: evenly spaced ones, and the telling.

    First and last epoch of each stage and the epoch of the least test loss are always among them.
    """
    if len(rows) <= limit:
        return rows
    kept = {round(k * (len(rows) - 1) / (limit - 1)) for k in range(limit)}
    tested = [k for k, row in enumerate(rows) if row["test_loss"] is not None]
    kept |= {min(tested, key=lambda k: rows[k]["test_loss"])} if tested else set()
    for k in range(1, len(rows)):
        if rows[k]["stage"] != rows[k - 1]["stage"]:
            kept |= {k - 1, k}
    return [rows[k] for k in sorted(kept)]


def baselines(sample, linear):
    """Return {"raw", "constant", "linear"}: losses that need no network, None where unknown.

    raw        mean of (input - target)^2: the input taken for the result
    constant   variance of the target: its mean taken for the result
    linear     the best Gaussian's or Wiener filter's, whichever is less (docs/validation.md)

    `sample` is the `test` of a patch_sample.Sample (raw and constant are of sampled test patches),
    `linear` what linear_loss returned (of whole held-out micrographs).
    """
    sample = sample or {}
    return {"raw": sample.get("raw"), "constant": sample.get("constant"), "linear": linear}


def linear_loss(records):
    """Return the mean loss of the best linear filter over held-out micrographs, or None.

    `records` are the values of ValidationRecords.by_name. The squared errors of the two filters
    against the other half, divided by the variance that training divides by, weighted by patches.
    None unless it is known of every one: the test loss is that of all.
    """
    sums, patches = {"gaussian": 0.0, "wiener": 0.0}, 0
    for record in records:
        losses, target = record["losses"], record["target"]
        if not losses or not target:
            return None
        patches += losses["patches"]
        for name in sums:
            sums[name] += losses["patches"] * target["mse"][name] / losses["std"] ** 2
    return min(sums.values()) / patches if patches else None


def learned(rows, kept_pretrained=False):
    """Return a sentence on how the test loss went, and what that means.

    `rows` are those of a history; only the last stage counts, because each stage has other test
    micrographs.
    """
    tested = _tested(rows)
    if not tested:
        return "No test loss is known: nothing can be said of what was learned."
    first, last = tested[0], tested[-1]
    above = _above_floor(last)
    if kept_pretrained:
        return (
            "It was not trained: the pretrained weights were kept. Their test loss is "
            f"{_loss(last)}{above}."
        )
    if len(tested) == 1:
        return f"One epoch left a test loss of {_loss(last)}{above}; one point shows no trend."
    if rises(rows):
        return _rising(first, _best(tested), last, above)
    if last["test_loss"] > first["test_loss"] * (1 + _SMALL):
        return (
            f"The test loss rose from {_loss(first)} to {_loss(last)}{above}: nothing was learned. "
            "A smaller learning rate may help."
        )
    if last["test_loss"] > first["test_loss"] * (1 - _SMALL):
        return (
            f"The test loss stayed at {_loss(last)}{above} from the first epoch on: there was "
            "little left to learn."
        )
    fell = f"The test loss fell from {_loss(first)} to {_loss(last)}{above}"
    if _falls(tested):
        return f"{fell}, and was still falling: more epochs would help."
    return f"{fell}, and has settled: more epochs would change little."


def rises(rows):
    """Say whether the test loss of a history's last stage was least some epochs ago.

    Every epoch since is worse than that, by more than what chance moves from one to the next.
    """
    tested = _tested(rows)
    if not tested:
        return False
    best = _best(tested)
    since = tested[tested.index(best) + 1 :]
    if len(since) < 2:  # one worse epoch is no trend
        return False
    rise = tested[-1]["test_loss"] - best["test_loss"]
    steps = [abs(b["test_loss"] - a["test_loss"]) for a, b in pairwise(tested)]
    usual = sorted(steps)[len(steps) // 2]
    enough = max(_SMALL * best["test_loss"], _SETTLED * _left(best), usual)
    return rise > enough and min(row["test_loss"] for row in since[-2:]) > best["test_loss"]


def explained(last, constant):
    """Return a sentence on the share of the target's signal that is predicted, or "".

    (constant - loss) / (constant - floor): the variance of the target that the network explains,
    of that which is not noise. Only a denoiser that knows the truth reaches 100 %.
    """
    floor, loss = last["noise_floor_test"], last["test_loss"]
    if None in (floor, loss, constant) or constant - floor <= _SMALL * floor:
        return ""
    share = (constant - loss) / (constant - floor)
    if share < 0:
        return "It predicts the target worse than a constant would."
    return (
        f"It predicts {100 * share:.0f} % of the target's variance that is not noise; no network "
        "that sees noise reaches 100 %."
    )


def against_linear(last, linear):
    """Return a sentence that compares the test loss with that of the best linear filter, or ""."""
    loss = last["test_loss"]
    if None in (loss, linear):
        return ""
    if abs(loss - linear) <= _SMALL * linear:
        return f"The best linear filter has about the same loss ({optional(linear)})."
    side = "below" if loss < linear else "above"
    remark = "" if loss < linear else ": a blur does better"
    return f"Its loss is {side} that of the best linear filter ({optional(linear)}){remark}."


def _tested(rows):
    """Return the rows of the last stage that have a test loss."""
    return [r for r in rows if r["stage"] == rows[-1]["stage"] and r["test_loss"] is not None]


def _best(tested):
    return min(tested, key=lambda row: row["test_loss"])


def _loss(row):
    return optional(row["test_loss"])


def _above_floor(row):
    """Return how far a test loss lies above the noise floor, in words; "" where none is known."""
    floor = row["noise_floor_test"]
    if not floor:
        return ""
    return f" ({100 * (row['test_loss'] / floor - 1):.2g} % above the noise floor)"


def _left(row):
    """Return what is left to learn: the loss above the noise floor, or all of it."""
    return row["test_loss"] - (row["noise_floor_test"] or 0)


def _falls(tested):
    """Say whether the last fifth of the epochs (one at least) still brought something."""
    before, last = tested[-1 - max(1, len(tested) // 5)], tested[-1]
    fell = before["test_loss"] - last["test_loss"]
    return fell > max(_SETTLED * _left(last), _SMALL * last["test_loss"])


def _rising(first, best, last, above):
    text = (
        f"The test loss was least after epoch {best['epoch']} ({_loss(best)}) and has risen since "
        f"to {_loss(last)}{above}"
    )
    train = best["train_loss"], last["train_loss"]
    if None not in train and train[1] < train[0]:
        return (
            f"{text}, while the training loss fell: the network learns the noise of its training "
            "patches. Fewer epochs or more micrographs would help."
        )
    return f"{text}, as did the training loss: a smaller learning rate may help."
