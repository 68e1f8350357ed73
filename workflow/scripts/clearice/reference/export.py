"""The reference bundle: what another implementation is judged by, readable with no Python."""

import functools
import hashlib
from pathlib import Path

import numpy as np

from clearice.errors import InputError
from clearice.files import atomic_path, write_json, write_text
from clearice.reference import tolerances
from clearice.reference.manifest import PARAMETER_SHAPES, describe
from clearice.reference.namelists import namelists
from clearice.reference.names import (
    BATCHES,
    LOSS,
    MANIFEST,
    NAMELIST,
    ORACLE,
    PARAMETERS,
    TENSORS,
    TRAINING_LOSS,
    TWIN,
    case_results,
)
from clearice.reference.passes import (
    deterministic_cpu,
    oracle_pass,
    plain_pass,
    reference_pass,
    train,
)
from clearice.reference.rounding import rounded_convolution
from clearice.tsv import table_text


def write_bundle(folder, weights, cases, training, provenance):
    """Write the bundle of simple_cnn with these weights into `folder`; return its manifest.

    `weights`: {conv1_weight: (16, 1, 3, 3) float32, ...}. `cases`: {name: {"input", "target":
    (N, 1, H, W) float32, "source": text}}. `training`: {"input", "target": crops (M, 1, C, C),
    "batches": [(first, count)], "learning_rate"}. The manifest is written last: where it is,
    the bundle is whole. Raises InputError for weights of another network or not finite.
    """
    folder = Path(folder)
    _check_weights(weights)
    (folder / ORACLE).mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    writer = _Writer(folder)
    for name in PARAMETERS:
        writer.tensor(name, weights[name], role="weight")
    _write_twin(folder / TWIN, weights)
    with deterministic_cpu() as flags:
        losses = {name: _write_case(writer, name, weights, case) for name, case in cases.items()}
        curve = _write_training(writer, weights, training)
    _write_losses(folder, losses, curve)
    _write_batches(folder, training["batches"])
    _write_tensors(folder, writer.tensors)
    facts = {**provenance, **flags}
    manifest = describe(writer.tensors, losses, curve, cases, training, facts)
    write_text(folder / NAMELIST, namelists(manifest))
    write_json(folder / MANIFEST, manifest)
    return manifest


class _Writer:
    """Writes raw little-endian tensors and keeps what the manifest says of each."""

    def __init__(self, folder):
        self.folder, self.tensors = folder, {}

    def tensor(self, name, values, role, case=None, tolerance=None):
        dtype = "float64" if name.startswith(f"{ORACLE}/") else "float32"
        values = np.ascontiguousarray(values, dtype=np.dtype(dtype).newbyteorder("<"))
        if not np.isfinite(values).all():
            raise InputError(f"the network gives values in {name} that are not finite")
        data = values.tobytes()
        with atomic_path(self.folder / f"{name}.bin") as path:
            path.write_bytes(data)
        self.tensors[name] = {
            "file": f"{name}.bin",
            "dtype": dtype,
            "shape": list(values.shape),
            "fortran_shape": list(values.shape[::-1]),
            "sha256": hashlib.sha256(data).hexdigest(),
            "first_values": [float(value) for value in values.ravel()[:8]],
            "role": role,
        }
        if case is not None:
            self.tensors[name]["case"] = case
        if tolerance is not None:
            self.tensors[name]["tolerance"] = tolerance


def _write_case(writer, name, weights, case):
    """Write one case's tensors; return its losses, their tolerances and the number of ties."""
    x, target = case["input"], case["target"]
    writer.tensor(f"{name}_input", x, role="input", case=name)
    writer.tensor(f"{name}_target", target, role="target", case=name)
    reference, loss = reference_pass(weights, x, target)
    oracle, exact, scales = oracle_pass(weights, x, target, tolerances.is_small(x.shape))
    plain, plain_loss = plain_pass(weights, x, target)
    honest = {short: plain[short] - oracle[short] for short in oracle}
    emulated, _ = plain_pass(weights, x, target, rounded_convolution(tolerances.EMULATED))
    errors = {short: emulated[short] - oracle[short] for short in oracle}
    layers = _layer_errors(errors, oracle, scales)
    float32 = tolerances.case_tolerances(x.shape, reference, honest, scales)
    for full in case_results(name):
        short = full.removeprefix(f"{name}_")
        scale = scales.get(short, {}).get("scale_l2", 0.0)
        tolerance = tolerances.tensor_tolerances(
            float32[short], errors[short], oracle[short], layers.get(short), scale
        )
        role = "gradient" if short.startswith("grad_") else "activation"
        role = "output" if short == "output" else role
        writer.tensor(full, reference[short], role, name, tolerance)
        writer.tensor(f"{ORACLE}/{full}", oracle[short], role, name)
    residual = oracle["output"] - target
    reach = tolerances.loss_reach(residual, errors["output"])
    # A single loss may be right by chance.
    lost = max(abs(plain_loss - exact), tolerances.loss_walk(residual, honest["output"]))
    return {
        "float32": loss,
        "float64": exact,
        "tolerance": tolerances.loss_tolerances(x.shape, loss, lost, reach, exact),
        "relu_ties": scales.get("ties"),
    }


def _layer_errors(errors, oracle, scales):
    """Return {grad_conv1_weight: norm, ...} of the emulation's gradient errors."""
    gradients = {name: error for name, error in errors.items() if name.startswith("grad_")}
    sizes = {
        name: scales[name]["scale_l2"] if scales else tolerances.norm(oracle[name])
        for name in gradients
    }
    short = {name.removeprefix("grad_"): name for name in gradients}
    layers = tolerances.layer_errors(
        {name: gradients[full] for name, full in short.items()},
        {name: sizes[full] for name, full in short.items()},
    )
    return {full: layers[name] for name, full in short.items()}


def _write_training(writer, weights, training):
    """Write the crops and the weights after the steps; return the losses and tolerances."""
    x, target = training["input"], training["target"]
    batches, rate = training["batches"], training["learning_rate"]
    writer.tensor("training_input", x, role="input", case="training")
    writer.tensor("training_target", target, role="target", case="training")
    run = functools.partial(train, weights, x, target, batches, rate)
    reference, losses = run(reference_pass)
    oracle, exact = run(oracle_pass)
    rounded = rounded_convolution(tolerances.EMULATED)
    emulated, emulated_losses = run(functools.partial(plain_pass, convolution=rounded))
    scales = _first_scales(weights, x, target, batches)
    steps = [((count, *x.shape[1:]), scales) for _, count in batches]
    honest = {name: reference[name] - oracle[name] for name in PARAMETERS}
    float32 = tolerances.weight_tolerances(reference, honest, steps, rate)
    errors = {name: emulated[name] - oracle[name] for name in PARAMETERS}
    updates = {name: tolerances.norm(oracle[name] - weights[name]) for name in PARAMETERS}
    layers = tolerances.layer_errors(errors, updates)
    for name in PARAMETERS:
        tolerance = tolerances.tensor_tolerances(
            float32[name], errors[name], oracle[name], layers[name]
        )
        writer.tensor(f"training_{name}", reference[name], "trained weight", "training", tolerance)
        writer.tensor(f"{ORACLE}/training_{name}", oracle[name], "trained weight", "training")
    facts = []
    for step, loss in enumerate(losses):
        honest = loss - exact[step]
        reach = tolerances.CLASS_FACTOR * abs(emulated_losses[step] - exact[step])
        facts.append(tolerances.loss_tolerances(steps[step][0], loss, honest, reach, exact[step]))
    # One number per class: a step whose emulated error is 0 by chance must not be the judge.
    widest = {precision: max(fact[precision] for fact in facts) for precision in facts[0]}
    return {"float32": losses, "float64": exact, "tolerance": widest}


def _first_scales(weights, x, target, batches):
    """Return the gradient scales of the first step, which stand for all: weights move little."""
    first, count = batches[0]
    batch = slice(first, first + count)
    _, _, scales = oracle_pass(weights, x[batch], target[batch], with_scales=True)
    return scales


def _write_losses(folder, losses, curve):
    """Write the losses as text of 17 digits, which give a double back exactly."""
    for place, kind in ((folder, "float32"), (folder / ORACLE, "float64")):
        rows = [{"case": name, "loss": f"{loss[kind]:.16e}"} for name, loss in losses.items()]
        write_text(place / LOSS, table_text(("case", "loss"), rows))
        rows = [{"step": s, "loss": f"{loss:.16e}"} for s, loss in enumerate(curve[kind], start=1)]
        write_text(place / TRAINING_LOSS, table_text(("step", "loss"), rows))


def _write_batches(folder, batches):
    columns = ("step", "first_crop", "crops")
    rows = [dict(zip(columns, (s, *batch), strict=True)) for s, batch in enumerate(batches, 1)]
    write_text(folder / BATCHES, table_text(columns, rows))


def _write_tensors(folder, tensors):
    """Write the shapes in C order as a table for programs that read no JSON; short ones get 1s."""
    columns, rows = ("tensor", "dtype", "n", "c", "h", "w"), []
    for name, entry in tensors.items():
        shape = entry["shape"] + [1] * (4 - len(entry["shape"]))
        rows.append(dict(zip(columns, (name, entry["dtype"], *shape), strict=True)))
    write_text(folder / TENSORS, table_text(columns, rows))


def _write_twin(path, weights):
    """Write the weights as safetensors, too; keys as in the model file."""
    from safetensors.numpy import save

    with atomic_path(path) as temporary:
        temporary.write_bytes(save({k.replace("_", "."): v for k, v in weights.items()}))


def _check_weights(weights):
    for name, shape in PARAMETER_SHAPES.items():
        found = np.shape(weights.get(name))
        if name not in weights or found != shape:
            raise InputError(
                f"{name} is not simple_cnn's",
                expected=shape,
                found=found if name in weights else "nothing",
                advice="export a model whose architecture is simple_cnn",
            )
