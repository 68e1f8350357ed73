"""The facts of the bundle as Fortran namelists, for programs that read no JSON."""

from clearice.namelist import namelist
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
