"""Micrographs from the EMPIAR archive (micrographs.source: empiar)."""
