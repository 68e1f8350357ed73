"""Whole micrographs through a network, and what was gained."""
