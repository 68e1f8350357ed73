"""Correct results in damaged files."""

import json

import numpy as np
from registry import tampered


def edit(output, name, change):
    """Change one array in place."""
    path = output / name
    values = np.fromfile(path, "<f4")
    change(values)
    values.tofile(path)


@tampered("NaN in one element")
def nan_element(output):
    edit(output, "structured_relu1.bin", lambda values: values.__setitem__(77, np.nan))


@tampered("infinity in one gradient")
def infinite_element(output):
    edit(output, "noise_grad_conv2_bias.bin", lambda values: values.__setitem__(3, np.inf))


@tampered("NaN in the loss curve")
def nan_loss(output):
    path = output / "training_loss.tsv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:4], "4\tnan", *lines[5:], ""]))


@tampered("one element off by 3e-5")
def one_element(output):
    edit(output, "test_output.bin", lambda values: values.__setitem__(1234, values[1234] + 3e-5))


@tampered("one file truncated")
def truncated(output):
    path = output / "noise_conv2.bin"
    path.write_bytes(path.read_bytes()[:-4])


@tampered("one file missing")
def missing(output):
    (output / "training_conv2_weight.bin").unlink()


@tampered("one file of the wrong shape")
def wrong_shape(output):
    np.fromfile(output / "structured_output.bin", "<f4")[: 3 * 26 * 36].tofile(
        output / "structured_output.bin"
    )


@tampered("big-endian")
def big_endian(output):
    for path in output.glob("*.bin"):
        np.fromfile(path, "<f4").astype(">f4").tofile(path)


@tampered("Fortran record markers")
def record_markers(output):
    for path in output.glob("*_output.bin"):
        data = path.read_bytes()
        marker = len(data).to_bytes(4, "little")
        path.write_bytes(marker + data + marker)


@tampered("float64 files")
def doubles(output):
    for path in output.glob("*.bin"):
        np.fromfile(path, "<f4").astype("<f8").tofile(path)


@tampered("one loss missing")
def missing_loss(output):
    path = output / "loss.tsv"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("impulse")]
    path.write_text("\n".join([*lines, ""]))


@tampered("loss of the repeated case wrong")
def repeated_loss(output):
    path = output / "loss.tsv"
    lines = path.read_text().splitlines()
    lines[-1] = f"repeat\t{2 * float(lines[-1].split()[1])}"
    path.write_text("\n".join([*lines, ""]))


@tampered("stale results of another bundle")
def stale(output):
    record = json.loads((output / "result.json").read_text())
    (output / "result.json").write_text(json.dumps(record | {"bundle_id": "0123456789abcdef"}))


@tampered("no result.json")
def no_record(output):
    (output / "result.json").unlink()
