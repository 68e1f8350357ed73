"""The general network: trained on nothing but random simulated micrographs."""
