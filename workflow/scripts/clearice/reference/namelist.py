"""Fortran namelists: the facts of the bundle for programs that read no JSON."""

from clearice.reference.names import FORMAT_VERSION, REPEATED_CASE


def namelists(manifest):
    """Return the facts that a program needs, as Fortran namelists."""
    training, cases = manifest["training"], manifest["cases"]
    side = manifest["tensors"]["training_input"]["shape"]
    groups = [
        namelist(
            "bundle",
            {
                "format_version": FORMAT_VERSION,
                "bundle_id": manifest["bundle_id"],
                "cases": len(cases),
                "repeat_case": REPEATED_CASE,
            },
        ),
        namelist(
            "training",
            {
                "steps": training["steps"],
                "learning_rate": training["learning_rate"],
                "crops": side[0],
                "crop_px": side[2],
                "batch_first": [batch["first_crop"] for batch in training["batches"]],
                "batch_crops": [batch["crops"] for batch in training["batches"]],
                "training_loss": training["losses"]["float32"],
            },
        ),
    ]
    for name, case in cases.items():
        n, c, h, w = case["shape"]
        facts = {"name": name, "n": n, "c": c, "h": h, "w": w}
        facts |= {"activations": case["activations"], "loss": case["loss"]["float32"]}
        groups.append(namelist("case", facts))
    return "\n".join(groups)


def namelist(group, values):
    """Return one namelist group (Fortran 2003, 10.11) of a dict of scalars and flat lists."""
    lines = [f"&{group}"]
    for name, value in values.items():
        items = value if isinstance(value, list | tuple) else [value]
        lines += _wrap(f"  {name} = ", [_literal(item) for item in items])
    return "\n".join([*lines, "/", ""])


def _wrap(head, items):
    """Keep lines short: some compilers read at most 132 characters of one."""
    lines, line = [], head
    for index, item in enumerate(items):
        piece = item + (", " if index + 1 < len(items) else "")
        if len(line) + len(piece) > 100 and line != head:
            lines.append(line.rstrip())
            line = " " * len(head)
        line += piece
    return [*lines, line.rstrip()]


def _literal(value):
    if isinstance(value, bool):
        return ".true." if value else ".false."
    if isinstance(value, float):
        return f"{value:.16e}".replace("e", "d")
    if isinstance(value, int):
        return str(value)
    return "'" + value.replace("'", "''") + "'"
