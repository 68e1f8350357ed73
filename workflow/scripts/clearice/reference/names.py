"""Names in the reference bundle: cases, tensors, files and the rungs of the comparison.

No imports, so that the Snakefile can name the bundle's files without loading anything.
"""

FORMAT = "clearice-reference"
FORMAT_VERSION = 1

CONVOLUTIONS = ("conv1", "conv2", "conv3")
PARAMETERS = tuple(f"{name}_{kind}" for name in CONVOLUTIONS for kind in ("weight", "bias"))
ACTIVATIONS = ("conv1", "relu1", "conv2", "relu2")  # conv3 is the output

CASES = ("test", "impulse", "structured", "noise")
SMALL_CASES = CASES[1:]  # with activations; `test` may be 1024 x 1024 and 16 channels of it large
REPEAT, REPEATED_CASE = "repeat", "structured"  # this case is run again, last

# From the first that can be wrong to the last: a fault shows on its own rung and those after it.
RUNGS = ("bundle", "layer", "output", "loss", "gradients", "loss curve", "weights", "repeatability")

LOSS, TRAINING_LOSS, RESULT = "loss.tsv", "training_loss.tsv", "result.json"
MANIFEST, NAMELIST, TWIN = "manifest.json", "manifest.nml", "weights.safetensors"
BATCHES, TENSORS = "training_batches.tsv", "tensors.tsv"
ORACLE = "float64"  # the subfolder of the oracle's results


def case_results(case):
    """Return the tensors that an implementation computes for a case, in the order of the rungs."""
    activations = ACTIVATIONS if case in (*SMALL_CASES, REPEAT) else ()
    gradients = tuple(f"grad_{parameter}" for parameter in PARAMETERS)
    return tuple(f"{case}_{name}" for name in (*activations, "output", *gradients))


def trained_weights():
    """Return the names of the weights after the training steps."""
    return tuple(f"training_{parameter}" for parameter in PARAMETERS)


def reference_results():
    """Return every tensor that the bundle holds a reference and an oracle of."""
    return tuple(name for case in CASES for name in case_results(case)) + trained_weights()


def given_tensors():
    """Return every tensor that the bundle gives to an implementation."""
    inputs = tuple(
        f"{case}_{side}" for case in (*CASES, "training") for side in ("input", "target")
    )
    return PARAMETERS + inputs


def bundle_files():
    """Return the files of a bundle, relative to its folder."""
    results = [*(f"{name}.bin" for name in reference_results()), LOSS, TRAINING_LOSS]
    given = [f"{name}.bin" for name in given_tensors()]
    oracle = [f"{ORACLE}/{name}" for name in results]
    return [MANIFEST, NAMELIST, TWIN, BATCHES, TENSORS, *given, *results, *oracle]
