"""Names for stopping after a step; `report` is a rule of its own.

READS   the results of each step
WRITES  nothing
"""


rule shards:
    """Stop after the shards."""
    input:
        shard_records,


rule dataset:
    """Stop after the dataset."""
    input:
        "results/dataset/manifest.json",


rule model:
    """Stop after training."""
    input:
        expand("results/model/{architecture}/denoiser.safetensors", architecture=ARCHITECTURES),


rule reference:
    """Stop after the reference bundle."""
    input:
        rules.export_reference.output,


rule parity:
    """Stop after the verdicts."""
    input:
        expand("results/parity/{implementation}/verdict.json", implementation=IMPLEMENTATIONS),


rule denoised:
    """Stop after the denoised micrographs."""
    input:
        lambda wildcards: denoised_files("mrc"),
