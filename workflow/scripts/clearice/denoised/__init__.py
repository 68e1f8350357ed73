"""Whole micrographs through a network."""
