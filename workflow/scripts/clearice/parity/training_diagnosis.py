"""What explains training steps, trained weights and a repeated case that are wrong."""

import numpy as np

from clearice.parity.evidence import CASE, agrees
from clearice.parity.numpy_network import forward
from clearice.reference.names import ACTIVATIONS, PARAMETERS, REPEAT


def explain_curve(evidence):
    """Explain the loss curve by its first wrong step, then by weights and the repeated case."""
    training = evidence.bundle.manifest["training"]
    exact = training["losses"]["float64"]
    tolerance = training["losses"]["tolerance"][evidence.precision]
    found = [evidence.results.curve.get(str(step)) for step in range(1, len(exact) + 1)]
    wrong = [abs(a - b) > tolerance for a, b in zip(found, exact, strict=True)]
    if not any(wrong):
        return explain_weights(evidence)
    step = wrong.index(True) + 1
    counts = [batch["crops"] for batch in training["batches"]]
    count, full = counts[step - 1], max(counts)
    text = f"loss curve: step {step} (a batch of {count}) is the first that is wrong"
    averaged = exact[step - 1] * count / full
    if count < full and abs(found[step - 1] - averaged) < 1e-3 * averaged:
        return [f"{text}: the smaller batch is averaged over the full batch size {full}"]
    if any(name.startswith(f"{REPEAT}_") for name in evidence.failing):
        return [text, *explain_repeat(evidence)]
    if step == 1:
        return [f"{text}: the crops, the first batch or the initial weights are wrong"]
    weights = explain_weights(evidence, one_step_right=step > 2)
    weights = [words for words in weights if "no factor" not in words]
    if step == 2:
        text += f": the update after step 1, or a second call{_first_update(evidence, found[1])}"
    elif not weights:
        text += f": {_later_step(step, counts)}"
    return [text, *weights]


def _later_step(step, counts):
    """Say what may be wrong if a step after the second is the first that is."""
    full = max(counts)
    before = counts[step - 2]
    if before < full:
        smaller = f"the update after step {step - 1}, a smaller batch ({before} of {full})"
        return f"{smaller}: is it done, with the mean over that batch?"
    if counts[step - 1] < full and step > 3:
        return "look at how a smaller batch is read and averaged"
    return "something is carried over from step to step, like momentum"


def _first_update(evidence, found):
    """Say how far the first update seems to have gone, from the second step's loss."""
    training = evidence.bundle.manifest["training"]
    first, count = (training["batches"][1][key] for key in ("first_crop", "crops"))
    batch = slice(first, first + count)
    crops, targets = (evidence.given(f"training_{side}")[batch] for side in ("input", "target"))
    output = forward(crops, evidence.weights)["output"]
    start = float(np.square(output - targets).mean())  # the loss if nothing had been updated
    wanted = training["losses"]["float64"][1] - start
    factor = (found - start) / wanted if wanted else 1.0
    if abs(factor - 1) < 0.003:
        return ""
    return f", as if it were {factor:.3g} times what it should be (learning rate, gradients?)"


def explain_weights(evidence, one_step_right=False):
    """Explain the weights after training, by what was added to them.

    `one_step_right`: the first update seems right, so that the learning rate can hardly be wrong.
    """
    if any(name.startswith(f"{REPEAT}_") for name in evidence.failing):
        return explain_repeat(evidence)
    found = [evidence.found(f"training_{name}") for name in PARAMETERS]
    if any(value is None for value in found):
        return []
    start = np.concatenate([evidence.weights[name].ravel() for name in PARAMETERS])
    right = np.concatenate([evidence.right(f"training_{name}").ravel() for name in PARAMETERS])
    update = np.concatenate([value.ravel() for value in found]) - start
    wanted = right - start
    still = [n for n, v in zip(PARAMETERS, found, strict=True) if (v == evidence.weights[n]).all()]
    if still:
        return [f"weights: {', '.join(still)} did not move"]
    factor = float(update @ wanted / (wanted @ wanted))
    possible = abs(factor - 1) < 0.05 or not one_step_right
    if possible and agrees(update, factor * wanted, wanted, 0.2):
        return [f"weights: they moved {factor:.3g} times as far as they should: learning rate?"]
    decay = float((update - wanted) @ start / (start @ start))
    if agrees(update, wanted + decay * start, wanted, 0.2):
        return [f"weights: they shrank by a fraction of {-decay:.1g}: weight decay?"]
    return ["weights: no factor on the update explains them: momentum, another optimizer?"]


def explain_repeat(evidence):
    """Explain a second run of the structured case that is not like the first."""
    text = "repeatability: the case was right the first time"
    names = [n for n in (*ACTIVATIONS, "output") if f"{REPEAT}_{n}" in evidence.failing]
    if not names:
        for parameter in PARAMETERS:
            like = f"{CASE}_grad_{parameter}"
            again = evidence.found(f"{REPEAT}_grad_{parameter}", like)
            if again is not None and _is_double(again, evidence.right(like)):
                return [f"{text}, its gradients are doubled now: they are added to the old ones"]
        if not any(name.startswith(f"{REPEAT}_grad_") for name in evidence.failing):
            return [f"{text}, now its loss is not: is a sum kept from call to call?"]
        return [f"{text}, now its gradients are not: what is kept from call to call?"]
    name, like = names[0], f"{CASE}_{names[0]}"
    again, right = evidence.found(f"{REPEAT}_{name}", like), evidence.right(like)
    if again is None:
        return []
    trained = {n: evidence.right(f"training_{n}") for n in PARAMETERS}
    used = forward(evidence.given(f"{CASE}_input"), trained)[name]
    if agrees(again, used, right):
        return [f"{text}, now it is run with the trained weights: use the initial ones"]
    if _is_double(again, right):
        return [f"{text}, {name} is doubled now: a result is added to an old one (beta is not 0)"]
    return [f"{text}, {name} is another now: what is kept from call to call?"]


def _is_double(again, right):
    return agrees(again, 2 * right, right)
