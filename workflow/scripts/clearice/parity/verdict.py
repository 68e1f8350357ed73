"""A verdict as a table for the eye, as JSON and as JUnit XML."""

import sys
from xml.etree import ElementTree

from clearice.files import write_json, write_text
from clearice.parity.result_json import printable
from clearice.reference.tolerances import ORIGINAL_TOLERANCES

_HEAD = (
    f"{'tensor':<30} {'max error':>9} {'at':<15} {'value':>13} {'reference':>13} "
    f"{'rel. L2':>8} {'vs f64':>8} {'(ref)':>8} {'used':>8}"
)


def verdict_text(verdict):
    """Return the table, the diagnosis and the verdict in the last line."""
    lines, rung = [], None
    for row in verdict.get("rows", ()):
        if row["rung"] != rung:
            rung = row["rung"]
            lines += ["", f"{rung}: {verdict['rungs'][rung]}", _HEAD]
        lines.append(_line(row))
    if verdict["diagnosis"]:
        lines += ["", *verdict["diagnosis"]]
    lines += ["", *_extremes(verdict), _last_line(verdict), ""]
    return printable("\n".join(lines).lstrip("\n"))


def print_verdict(verdict):
    """Print verdict_text. It holds words of others, and no terminal or log has all of Unicode."""
    encoding = sys.stdout.encoding or "utf-8"
    print(verdict_text(verdict).encode(encoding, "replace").decode(encoding), end="")


def _extremes(verdict):
    """Say how large the errors are, and whether they keep the original's absolute tolerances."""
    errors = verdict["largest_errors"]
    if None in errors.values():
        return []
    text = ", ".join(f"{rung} {error:.1e}" for rung, error in errors.items())
    kept = "within" if verdict["original_tolerances"] else "not within"
    names = {"output": "output", "loss": "losses", "gradients": "gradients"}
    limits = [f"{names[rung]} {ORIGINAL_TOLERANCES[rung]:.0e}" for rung in names]
    limits = ", ".join(limits).replace("e-0", "e-")
    return [f"largest errors: {text}; {kept} the original's ({limits})"]


def _line(row):
    if row["fault"]:
        return f"{row['name']:<30} FAILED  {row['fault']}"
    if row["percent"] is None:
        return f"{row['name']:<30} ok"
    at = ",".join(map(str, row["at"])) if row["at"] else ""
    numbers = (
        f"{row['max_error']:9.2e} {at:<15} {row['value']:13.6e} {row['reference']:13.6e} "
        f"{_short(row['relative_l2'])} {_short(row['oracle_l2'])} "
        f"{_short(row['reference_oracle_l2'])} {percent_text(row['percent']):>8}"
    )
    return f"{row['name']:<30} {numbers}" + ("" if row["passed"] else "  FAILED")


def _short(value):
    return f"{'-':>8}" if value is None else f"{value:8.1e}"


def percent_text(value):
    """Format a share of a tolerance as text: 3.2 %, 7e+05 %."""
    return f"{value:.1f} %" if value < 1e4 else f"{value:.0e} %"


def passed_text(worst_percent):
    """Say how near to its tolerance a passed implementation came."""
    return f"at most {percent_text(worst_percent)} of a tolerance used"


def _last_line(verdict):
    name = f"{verdict['implementation']} ({verdict['precision']})"
    if verdict["verdict"] == "not run":
        return f"{name}: NOT RUN"
    if verdict["verdict"] == "passed":
        return f"{name}: PASSED, {passed_text(verdict['worst_percent'])}"
    failed = f"{verdict['rows_failed']} of {len(verdict['rows'])} checks"
    return f"{name}: FAILED, lowest rung {verdict['lowest_failing_rung']}, {failed}"


def write_verdict(verdict, json_path, text_path, junit_path):
    """Write the three forms, each whole or not at all."""
    write_json(json_path, verdict)
    write_text(text_path, verdict_text(verdict))
    write_text(junit_path, junit_xml(verdict))


def junit_xml(verdict):
    """Return JUnit XML: a test case per row, with its rung as class name."""
    rows = verdict.get("rows", [])
    skipped = verdict["verdict"] == "not run"
    suite = ElementTree.Element(
        "testsuite",
        name=printable(f"parity {verdict['implementation']}"),
        tests=str(len(rows) or 1),
        failures=str(sum(not row["passed"] for row in rows)),
        skipped=str(int(skipped)),
    )
    if skipped:
        case = ElementTree.SubElement(suite, "testcase", classname="parity", name="run")
        ElementTree.SubElement(case, "skipped", message=printable(verdict["diagnosis"][0]))
    for row in rows:
        case = ElementTree.SubElement(suite, "testcase", classname=row["rung"], name=row["name"])
        if not row["passed"]:
            message = printable(row["fault"] or _line(row))
            ElementTree.SubElement(case, "failure", message=message)
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"
