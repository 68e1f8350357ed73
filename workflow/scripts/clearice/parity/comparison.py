"""Parity: the results of an implementation against the reference bundle, rung by rung.

Comparisons let no NaN pass: a row passes only where `error <= tolerance` is true.
"""

import math

import numpy as np

from clearice.errors import InputError
from clearice.numbers import finite
from clearice.parity.diagnosis import diagnose
from clearice.parity.output import Results
from clearice.parity.result_json import one_line
from clearice.reference.names import (
    CASES,
    REPEAT,
    RUNGS,
    case_results,
    trained_weights,
)
from clearice.reference.tolerances import ORIGINAL_TOLERANCES, PRECISIONS, norm


def compare(bundle, output, name="implementation", precision=None):
    """Return the verdict (a dict, see docs/formats.md) on the results in the folder `output`.

    `precision`: the class whose tolerances apply; None: what result.json declares, or float32.
    """
    if precision not in (None, *PRECISIONS):
        raise InputError(
            "unknown precision class", expected=" | ".join(PRECISIONS), found=repr(precision)
        )
    results = Results(output, precision)
    precision = results.precision
    verdict = {
        "implementation": name,
        "precision": precision,
        "bundle_id": bundle.manifest["bundle_id"],
        "result": results.record,
    }
    if results.record.get("status") == "not run":
        message = results.record.get("message") or "the command cannot run here"
        return {**verdict, "verdict": "not run", **_summary([]), "diagnosis": [message]}
    rows = _rows(bundle, results, precision)
    summary = _summary(rows)
    passed = summary["lowest_failing_rung"] is None
    with np.errstate(all="ignore"):  # results may be so wrong that their squares overflow
        diagnosis = [] if passed else diagnose(bundle, results, rows, precision)
    return {
        **verdict,
        "verdict": "passed" if passed else "failed",
        **summary,
        "repeat_bit_equal": _repeat_bit_equal(bundle, results),
        "diagnosis": diagnosis,
        "rows": rows,
    }


def _rows(bundle, results, precision):
    """Return every row, in the order of the rungs, then of the cases."""
    rows = [_bundle_row(bundle, results)]
    repeat = bundle.manifest["repeat"]
    runs = [(case, case) for case in CASES] + [(REPEAT, repeat["case"])]
    for prefix, case in runs:
        rows.append(_case_loss_row(bundle, results, prefix, case, precision))
        for full in case_results(prefix):
            short = full.removeprefix(f"{prefix}_")
            rung = "repeatability" if prefix == REPEAT else _rung(short)
            rows.append(_tensor_row(bundle, results, full, f"{case}_{short}", rung, precision))
    rows.append(_curve_row(bundle, results, precision))
    rows += [
        _tensor_row(bundle, results, full, full, "weights", precision) for full in trained_weights()
    ]
    return sorted(rows, key=lambda row: RUNGS.index(row["rung"]))


def _rung(short):
    if short.startswith("grad_"):
        return "gradients"
    return "output" if short == "output" else "layer"


def _summary(rows):
    """Return the state of each rung, the lowest that fails and the largest share of a tolerance."""
    states = {}
    for row in rows:
        states[row["rung"]] = states.get(row["rung"], True) and row["passed"]
    failing = [rung for rung in RUNGS if states.get(rung) is False]
    shares = [row["percent"] for row in rows if row["percent"] is not None]
    errors = {rung: _largest_error(rows, rung) for rung in ORIGINAL_TOLERANCES}
    return {
        "rungs": {rung: "passed" if state else "failed" for rung, state in states.items()},
        "lowest_failing_rung": failing[0] if failing else None,
        "worst_percent": max(shares, default=None),
        "largest_errors": errors,
        "original_tolerances": all(
            errors[rung] is not None and errors[rung] <= tolerance
            for rung, tolerance in ORIGINAL_TOLERANCES.items()
        ),
        "rows_failed": sum(not row["passed"] for row in rows),
    }


def _largest_error(rows, rung):
    """Return the largest absolute error on a rung; None where a row has none."""
    errors = [row["max_error"] for row in rows if row["rung"] == rung]
    return max(errors) if errors and None not in errors else None


def _row(rung, name, fault=None, **facts):
    """Return a row; a number that is too large for float64 is null, as JSON has no infinity."""
    empty = dict.fromkeys(
        ("max_error", "at", "value", "reference", "relative_l2", "oracle_l2",
         "reference_oracle_l2", "percent")
    )  # fmt: skip
    facts = {key: finite(value) for key, value in facts.items()}
    return {"rung": rung, "name": name, "passed": False, "fault": fault, **empty, **facts}


def _bundle_row(bundle, results):
    """Check that the command ended well and that the results are of this bundle."""
    record = results.record
    if record.get("status") == "failed":
        fault = f"exit status {one_line(record.get('exit_status'))}: {record.get('message')}"
    elif results.fault:
        fault = results.fault
    elif "bundle_id" not in record:
        fault = "result.json does not say which bundle_id the results are of"
    elif record["bundle_id"] != bundle.manifest["bundle_id"]:
        fault = f"results of another bundle: {one_line(record['bundle_id'])[:40]}, stale?"
    else:
        return _row("bundle", "result.json", passed=True)
    return _row("bundle", "result.json", fault)


def _tensor_row(bundle, results, full, reference_name, rung, precision):
    """Compare one tensor with its reference, and both with the oracle."""
    tolerance = bundle.manifest["tensors"][reference_name]["tolerance"][precision]
    oracle = bundle.oracle(reference_name)
    reference = bundle.tensor(reference_name)
    found, fault = results.tensor(full, reference.shape)
    if fault:
        return _row(rung, full, fault)
    judged = oracle if precision == "float64" else reference
    row = _errors(found, judged, tolerance)
    row["reference_oracle_l2"] = _relative(reference - oracle, oracle)
    if "fault" not in row:
        row["oracle_l2"] = _relative(found - oracle, oracle)
    return _row(rung, full, **row)


def _errors(found, reference, tolerance):
    """Return the errors of one tensor and the share of the tolerance that they use."""
    finite = np.isfinite(found)
    if not finite.all():
        at = np.unravel_index(int(np.argmin(finite)), found.shape)
        count = int(found.size - finite.sum())
        return {
            "fault": f"{count} of {found.size} values are NaN or infinite",
            "at": [int(index) for index in at],
            "reference": float(reference[at]),
        }
    with np.errstate(over="ignore"):
        error = found.astype(np.float64) - reference
        at = np.unravel_index(int(np.argmax(np.abs(error))), error.shape)
        worst, l2 = abs(float(error[at])), norm(error)
        relative = _relative(error, reference)
    shares = [worst / tolerance["absolute"]]
    if tolerance["l2"] is not None:
        shares.append(l2 / tolerance["l2"])
    row = {
        "passed": all(share <= 1 for share in shares),
        "max_error": worst,
        "at": [int(index) for index in at],
        "value": float(found[at]),
        "reference": float(reference[at]),
        "relative_l2": relative,
        "percent": 100 * max(shares),
    }
    return row if math.isfinite(row["percent"]) else row | {"fault": _too_large(row)}


def _too_large(row):
    return f"{row['value']:.3g} where {row['reference']:.3g} was expected"


def _case_loss_row(bundle, results, prefix, case, precision):
    rung = "repeatability" if prefix == REPEAT else "loss"
    loss = bundle.manifest["cases"][case]["loss"]
    found = results.losses.get(prefix)
    if found is None:
        fault = results.losses_fault or f"loss.tsv has no row {prefix}"
        return _row(rung, f"{prefix}_loss", fault)
    judged = loss["float64" if precision == "float64" else "float32"]
    return _row(rung, f"{prefix}_loss", **_loss_errors(found, judged, loss, precision))


def _loss_errors(found, judged, loss, precision):
    if not math.isfinite(found):
        return {"fault": "the loss is NaN or infinite", "reference": judged}
    share = abs(found - judged) / loss["tolerance"][precision]
    exact = loss["float64"]
    row = {
        "passed": share <= 1,
        "max_error": abs(found - judged),
        "value": found,
        "reference": judged,
        "relative_l2": abs(found - judged) / abs(judged) if judged else None,
        "oracle_l2": abs(found - exact) / abs(exact) if exact else None,
        "reference_oracle_l2": abs(loss["float32"] - exact) / abs(exact) if exact else None,
        "percent": 100 * share,
    }
    return row if math.isfinite(row["percent"]) else row | {"fault": _too_large(row)}


def _curve_row(bundle, results, precision):
    """Compare the loss of every training step; the row shows the worst step."""
    curve = bundle.manifest["training"]["losses"]
    name = "training_loss"
    if results.curve_fault:
        return _row("loss curve", name, results.curve_fault)
    rows = []
    for step, (single, exact) in enumerate(
        zip(curve["float32"], curve["float64"], strict=True), start=1
    ):
        found = results.curve.get(str(step))
        if found is None:
            return _row("loss curve", name, f"training_loss.tsv has no step {step}")
        judged = exact if precision == "float64" else single
        loss = {"float32": single, "float64": exact, "tolerance": curve["tolerance"]}
        rows.append({"at": [step], **_loss_errors(found, judged, loss, precision)})
        if "fault" in rows[-1]:
            return _row("loss curve", name, **rows[-1])
    return _row("loss curve", name, **max(rows, key=lambda row: row["percent"]))


def _repeat_bit_equal(bundle, results):
    """Tell whether the repeated case gave the same bits as its first run; None: files missing."""
    case = bundle.manifest["repeat"]["case"]
    for full in case_results(REPEAT):
        first = results.folder / f"{case}_{full.removeprefix(f'{REPEAT}_')}.bin"
        again = results.folder / f"{full}.bin"
        if not (first.is_file() and again.is_file()):
            return None
        try:
            if first.read_bytes() != again.read_bytes():
                return False
        except OSError:
            return None
    return True


def _relative(error, reference):
    scale = norm(reference)
    return norm(error) / scale if scale else None
