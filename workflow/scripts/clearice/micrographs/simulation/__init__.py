"""Micrographs with a known truth (micrographs.source: simulation)."""
