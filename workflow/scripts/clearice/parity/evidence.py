"""What an implementation found beside what is right, for trying out mistakes."""

import numpy as np

from clearice.parity import mistakes
from clearice.parity.numpy_network import input_gradient
from clearice.reference.names import ACTIVATIONS, PARAMETERS
from clearice.reference.tolerances import norm

EXPLAINED = 0.05  # a mistake explains a difference if no more than this part of it remains
CASE = "structured"  # the case without symmetries


class Evidence:
    """A bundle, results, the names of the rows that fail by the tolerances of a precision class.

    All values are float64.
    """

    def __init__(self, bundle, results, failing, precision):
        self.bundle, self.results, self.failing = bundle, results, failing
        self.precision = precision
        self.weights = {name: self.given(name) for name in PARAMETERS}

    def given(self, name):
        """Return a tensor of the bundle."""
        return self.bundle.tensor(name).astype(np.float64)

    def right(self, name):
        """Return what a tensor should be: the oracle's."""
        return self.bundle.oracle(name)

    def tolerance(self, name):
        """Return the absolute tolerance of a tensor."""
        return self.bundle.manifest["tensors"][name]["tolerance"][self.precision]["absolute"]

    def found(self, name, like=None):
        """Return what the implementation wrote, or None where that cannot be used."""
        values, fault = self.results.tensor(name, self.right(like or name).shape)
        usable = fault is None and np.isfinite(values).all()
        return values.astype(np.float64) if usable else None

    def state(self):
        """Return activations, deltas and sources (inputs) of the layers in the structured case."""
        layers = {name: self.right(f"{CASE}_{name}") for name in (*ACTIVATIONS, "output")}
        output = layers["output"]
        deltas = {"conv3": 2 * (output - self.given(f"{CASE}_target")) / output.size}
        for upper, lower in (("conv3", "conv2"), ("conv2", "conv1")):
            passed = input_gradient(self.weights[f"{upper}_weight"], deltas[upper])
            deltas[lower] = passed * (layers[lower] > 0)
        sources = {"conv1": self.given(f"{CASE}_input")}
        sources |= {"conv2": layers["relu1"], "conv3": layers["relu2"]}
        return layers, deltas, sources


def agrees(found, values, right, part=EXPLAINED):
    """Tell whether no more than a part of what is wrong remains if `values` were right.

    What overflows agrees with nothing: infinity is no more than a part of infinity.
    """
    return bool(norm(found - values) <= part * norm(found - right) < np.inf)


def explain(found, right, candidates):
    """Return the words of the candidate (words, values) that agrees best, or None."""
    pairs = [(norm(found - values), words, values) for words, values in candidates]
    if not pairs:
        return None
    _, words, values = min(pairs, key=lambda pair: pair[0])
    return words if agrees(found, values, right) else None


def factor_of(found, right, shape):
    """Say so if arrays `found` are arrays `right` times one number; `shape` is the case's."""
    f, r = (np.concatenate([t.ravel() for t in tensors]) for tensors in (found, right))
    factor = float(f @ r / (r @ r))
    if f.size < 2 or not agrees(f, factor * r, r):
        return None
    return mistakes.factor_words(factor, shape) or f"{factor:.4g} times what they should be"


def storage(found, right):
    """Say so if the values are right but stored in another way."""
    memory = np.ascontiguousarray(found).ravel()
    with np.errstate(all="ignore"):
        swapped = memory.view(memory.dtype.newbyteorder("S")).astype(np.float64)
        swapped = swapped.reshape(right.shape)
    others = [("the bytes are in big-endian order: write little-endian", swapped)]
    if right.ndim == 4:
        reversed_order = memory.reshape(right.shape[::-1]).transpose(3, 2, 1, 0)
        others.append(("the indices run in the reverse order in the file", reversed_order))
        n, c, height, width = right.shape
        columns = memory.reshape(n, c, width, height).transpose(0, 1, 3, 2)
        others.append(("height and width are exchanged in the file", columns))
    scale = norm(right)
    for words, values in others:
        if np.isfinite(values).all() and norm(values - right) <= 1e-4 * scale:
            return words
    return None


def extent(found, right, tolerance):
    """Say how many elements are wrong, and whether they lie at the border or in few channels."""
    wrong = np.abs(found - right) > tolerance
    bound = f"{tolerance:.1g}".replace("e-0", "e-")
    text = f"{int(wrong.sum())} of {wrong.size} elements are wrong by more than {bound}"
    if wrong.any() and not wrong[..., 1:-1, 1:-1].any():
        return f"{text}, all in the outermost pixels: look at the padding"
    channels = wrong.any(axis=(0, 2, 3))
    if not channels.all():
        return f"{text}, in channels {[int(c) for c in np.flatnonzero(channels)]} only"
    return f"{text}; none of the usual mistakes explains it"
