"""A network and its training: patches in, weights out."""
