"""Where the patches of a micrograph lie, to be drawn over its picture."""

MOST = 2000  # patches that are drawn one by one


def patch_overlay(shard, height_px, width_px):
    """Return {"width", "height", "path", "count", "size_px", "covered_percent"}, None without any.

    `path` is the data of an SVG path in pixels of the file (pixel halves have half as many): the
    outline of each patch, or, of more than MOST, of all of them together.
    """
    count = shard["n_patches"]
    if not count:
        return None
    scale = 2 if shard["target_kind"] == "pixel_halves" else 1
    size = shard["patch_size_px"] * scale
    places = [(y * scale, x * scale) for y, x in zip(shard["y"], shard["x"], strict=True)]
    bottom = max(y for y, _ in places) + size
    right = max(x for _, x in places) + size
    top, left = min(y for y, _ in places), min(x for _, x in places)
    if count <= MOST:
        path = "".join(f"M{x} {y}h{size}v{size}h{-size}z" for y, x in places)
    else:
        path = f"M{left} {top}H{right}V{bottom}H{left}z"
    return {
        "width": width_px,
        "height": height_px,
        "path": path,
        "count": count,
        "size_px": size,
        "stride_px": shard["stride_px"] * scale,
        "frame_percent": 100 * (bottom - top) * (right - left) / (height_px * width_px),
    }
