"""The patches of a held-out micrograph that the network predicts worst, out of all its losses."""

SHOWN = 3  # of each kind


def overlap(place, other, size_px):
    """Say whether two patches, (micrograph, y, x) each, share a pixel."""
    near = all(abs(a - b) < size_px for a, b in zip(place[1:], other[1:], strict=True))
    return place[0] == other[0] and near


def worst_losses(losses, count=SHOWN):
    """Return {"mean", "patches", "std", "worst": [(loss, y, x)]} of what validation found, or None.

    `losses` are patch_errors.patch_errors of one micrograph; the worst don't overlap.
    """
    if not losses:
        return None
    found = sorted(
        (
            (loss, y, x)
            for y, row in zip(losses["y"], losses["mse"], strict=True)
            for x, loss in zip(losses["x"], row, strict=True)
        ),
        reverse=True,
    )
    worst = []
    for entry in found:
        place = ("", *entry[1:])
        if not any(overlap(place, ("", *other[1:]), losses["size_px"]) for other in worst):
            worst.append(entry)
        if len(worst) == count:
            break
    mean = sum(loss for loss, _, _ in found) / len(found)
    return {"mean": mean, "patches": len(found), "std": losses["std"], "worst": worst}
