"""Do the micrographs belong together: sizes, exposures, copies."""
