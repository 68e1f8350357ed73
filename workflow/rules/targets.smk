"""Names for stopping after a step; `report` is a rule of its own.

READS   the results of each step
WRITES  nothing
"""


rule micrographs:
    """Stop after the micrographs: simulate or download them; the user's own files are there."""
    input:
        results_of("micrographs"),


rule shards:
    """Stop after the shards."""
    input:
        results_of("micrographs", "shards"),


rule dataset:
    """Stop after the dataset."""
    input:
        results_of("micrographs", "shards", "dataset"),


rule model:
    """Stop after training."""
    input:
        results_of("micrographs", "shards", "dataset", "model"),


rule reference:
    """Stop after the reference bundle."""
    input:
        results_of("micrographs", "shards", "dataset", "model", "reference"),


rule parity:
    """Stop after the verdicts."""
    input:
        results_of("micrographs", "shards", "dataset", "model", "reference", "parity"),


rule denoised:
    """Stop after the denoised micrographs."""
    input:
        results_of("micrographs", "shards", "dataset", "model", "denoised"),


rule validation:
    """Stop after the validation."""
    input:
        results_of("micrographs", "shards", "dataset", "model", "denoised", "validation"),
