"""Export the reference bundle that other implementations are judged by.

READS   results/model/{architecture}/denoiser.safetensors, the test split of results/dataset
WRITES  results/reference/: manifest.json, manifest.nml, raw tensors (docs/formats.md)
"""


rule export_reference:
    """Write weights, four cases, their results, a training curve and a float64 oracle."""
    input:
        model=f"results/model/{config['reference']['architecture']}/denoiser.safetensors",
        dataset="results/dataset/manifest.json",
        data=dataset_binaries,
    output:
        manifest="results/reference/manifest.json",
        files=[f"results/reference/{name}" for name in bundle_files() if name != "manifest.json"],
    log:
        "results/export_reference.log",
    benchmark:
        "results/export_reference.benchmark.tsv"
    conda:
        "../../envs/torch.yaml"
    resources:
        **asks("export_reference"),
    params:
        code=code_of("export_reference"),
        settings=config["reference"],
    script:
        "../scripts/export_reference.py"
