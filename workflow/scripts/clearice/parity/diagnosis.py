"""What explains a difference: the usual mistakes are made on purpose, and one may agree."""

import numpy as np

from clearice.parity import mistakes
from clearice.parity.evidence import CASE, Evidence, agrees, explain, extent, factor_of, storage
from clearice.parity.numpy_network import forward, weight_gradient
from clearice.parity.training_diagnosis import explain_curve, explain_repeat, explain_weights
from clearice.reference.names import ACTIVATIONS, CONVOLUTIONS, PARAMETERS, RUNGS

ROUNDED = 1e-4  # of a loss: more than a float32 sum of two million squares loses


def diagnose(bundle, results, rows, precision):
    """Return sentences on the lowest rung that fails: where, and which mistake explains it."""
    failing = [row for row in rows if not row["passed"]]
    lowest = next(rung for rung in RUNGS if any(row["rung"] == rung for row in failing))
    first = [row for row in failing if row["rung"] == lowest]
    stored = _stored(bundle, results, first[0])
    if stored:
        return [f"{lowest}: {first[0]['name']}: {stored}"]
    faults = [row for row in first if row["fault"]]
    if faults:
        others = f"; {len(faults) - 1} more like it" if len(faults) > 1 else ""
        name, fault = faults[0]["name"], faults[0]["fault"]
        return [f"{lowest}: {fault if name in fault else f'{name}: {fault}'}{others}"]
    evidence = Evidence(bundle, results, {row["name"] for row in failing}, precision)
    return _EXPLANATIONS[lowest](evidence) or [_where(first)]


def _stored(bundle, results, row):
    """Explain a tensor whose values are right and stored in another way."""
    if row["name"] not in bundle.manifest["tensors"]:
        return None
    right = bundle.oracle(row["name"])
    found, fault = results.tensor(row["name"], right.shape)
    return None if fault else storage(found, right)


def _forward(evidence):
    """Explain the first activation that is wrong: on the structured case, else on another."""
    names = [*ACTIVATIONS, "output"]
    for case in (CASE, "noise", "impulse"):
        for name in names:
            if f"{case}_{name}" in evidence.failing:
                return _layer(evidence, case, name)
    found, right = evidence.found("test_output"), evidence.right("test_output")
    if found is None:
        return []
    wrong = extent(found, right, evidence.tolerance("test_output"))
    return [f"test_output: {wrong}; small cases agree"]


def _layer(evidence, case, name):
    layer = "conv3" if name == "output" else name
    found, right = evidence.found(f"{case}_{name}"), evidence.right(f"{case}_{name}")
    if found is None:
        return []
    index = int(layer[-1])
    source = evidence.given(f"{case}_input") if index == 1 else None
    if layer.startswith("relu"):
        candidates = mistakes.activation_mistakes(evidence.right(f"{case}_conv{index}"))
    else:
        source = evidence.right(f"{case}_relu{index - 1}") if source is None else source
        weight, bias = evidence.weights[f"{layer}_weight"], evidence.weights[f"{layer}_bias"]
        candidates = list(mistakes.convolution_mistakes(source, weight, bias, right))
        if index == 1:
            swapped = forward(evidence.given(f"{case}_target"), evidence.weights)["conv1"]
            candidates.append(("input and target are exchanged", swapped))
            candidates += mistakes.clipped_inputs(source, weight, bias)
    words = explain(found, right, candidates) or _channel_order(found, right)
    return [f"{layer}: {words or extent(found, right, evidence.tolerance(f'{case}_{name}'))}"]


def _channel_order(found, right):
    """Say so if the channels are right but in another order."""
    if found.shape[1] == 1:
        return None
    flat = [np.moveaxis(t, 1, 0).reshape(t.shape[1], -1) for t in (found, right)]
    distance = ((flat[0][:, None] - flat[1][None]) ** 2).sum(2)
    order = distance.argmin(1)
    if sorted(order) != list(range(len(order))) or (order == np.arange(len(order))).all():
        return None
    reordered = agrees(found, right[:, order], right)
    return "the channels are in another order" if reordered else None


def _loss(evidence):
    """Explain the losses: one mistake must give all of them."""
    cases = evidence.bundle.manifest["cases"]
    options, sums, worst = {}, {}, 0.0
    for case, facts in cases.items():
        found, exact = evidence.results.losses.get(case, np.nan), facts["loss"]["float64"]
        residual = evidence.right(f"{case}_output") - evidence.given(f"{case}_target")
        candidates = [*mistakes.loss_mistakes(facts["shape"], exact, residual)]
        candidates += mistakes.running_losses(sums, exact, residual.size)
        for words, value in candidates:
            near = abs(found - value) <= 1e-3 * abs(value)
            options[words] = options.get(words, True) and near
        worst = max(worst, abs(found - exact) / exact if exact else np.inf)
    words = [name for name, near in options.items() if near]
    if words:
        return [f"loss: {words[0]}"]
    advice = "sum squares in float64 or pairwise" if worst < ROUNDED else "it is not rounding"
    return [f"loss: the outputs agree, the loss does not; {advice}"]


def _gradients(evidence):
    """Explain gradients, in the order in which they are computed: conv3 first."""
    if not any(name.startswith(f"{CASE}_grad_") for name in evidence.failing):
        return []
    layers, deltas, sources = evidence.state()
    shape = evidence.bundle.manifest["cases"][CASE]["shape"]
    found = {name: evidence.found(f"{CASE}_grad_{name}") for name in PARAMETERS}
    right = {name: evidence.right(f"{CASE}_grad_{name}") for name in PARAMETERS}
    if any(value is None for value in found.values()):
        return []
    words = factor_of(list(found.values()), list(right.values()), shape)
    if words:
        return [f"gradients: all of them: {words}"]
    failing = [name for name in PARAMETERS if f"{CASE}_grad_{name}" in evidence.failing]
    for kind in ("bias", "weight"):
        same = [name for name in failing if name.endswith(kind)]
        if len(same) > 1 and same == failing:
            words = factor_of([found[n] for n in same], [right[n] for n in same], shape)
            if words:
                return [f"gradients: all of the {kind}: {words}"]
    for layer in reversed(CONVOLUTIONS):
        wrong = [
            name for name in (f"{layer}_bias", f"{layer}_weight")
            if f"{CASE}_grad_{name}" in evidence.failing
        ]  # fmt: skip
        if len(wrong) == 2 and layer != "conv3":
            words = _passed_down(evidence, layer, layers, deltas, sources, found, right)
            if words:
                return [f"gradients: {layer}: {words}"]
        for name in wrong:
            words = factor_of([found[name]], [right[name]], shape)
            output = layers.get(layer.replace("conv", "relu"), layers["output"])
            candidates = mistakes.gradient_mistakes(
                name, sources[layer], output, deltas[layer], right[name]
            )
            words = words or explain(found[name], right[name], candidates)
            words = words or _older_sum(evidence, name, found[name], right[name])
            if words:
                return [f"gradients: {name}: {words}"]
        if wrong:
            return [f"gradients: {wrong[0]} is the first that is wrong, from the output downwards"]
    return []


def _passed_down(evidence, layer, layers, deltas, sources, found, right):
    """Explain both gradients of a layer by the derivative that it was given."""
    upper = f"conv{int(layer[-1]) + 1}"
    masks = {name: layers[name] for name in ("conv1", "conv2")}
    weight, bias = f"{layer}_weight", f"{layer}_bias"
    candidates = []
    above = evidence.weights[f"{upper}_weight"], deltas[upper]
    for words, delta in mistakes.delta_mistakes(*above, masks, layer):
        gradient = weight_gradient(sources[layer], delta)
        candidates.append((words, np.concatenate([gradient.ravel(), delta.sum((0, 2, 3))])))
    both = [np.concatenate([t[weight].ravel(), t[bias]]) for t in (found, right)]
    return explain(*both, candidates)


def _older_sum(evidence, name, found, right):
    """Say so if the gradients of the cases before are in it."""
    total = right.copy()
    for case in ("impulse", "test"):
        total = total + evidence.right(f"{case}_grad_{name}")
        if agrees(found, total, right):
            return "the gradients of earlier batches are still in it: set them to zero"
    return None


def _where(rows):
    """Say what fails where nothing more is known."""
    worst = max(rows, key=lambda row: row["percent"])
    others = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
    return f"{worst['rung']}: {worst['name']}{others}: none of the usual mistakes explains it"


_EXPLANATIONS = {
    "layer": _forward,
    "output": _forward,
    "loss": _loss,
    "gradients": _gradients,
    "loss curve": explain_curve,
    "weights": explain_weights,
    "repeatability": explain_repeat,
}
