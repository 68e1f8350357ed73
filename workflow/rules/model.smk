"""Train the denoisers.

READS   results/dataset/manifest.json and the binaries that it names
WRITES  results/model/{architecture}/denoiser.safetensors, history.tsv, training.json, and beside
        them checkpoint.pt, which outlives an interrupted job and is continued from, and stages/:
        what each stage of a training left, which is trained further with continue_training
"""


rule train_denoiser:
    """Train one architecture on the training split; evaluate it on both after every epoch."""
    input:
        manifest="results/dataset/manifest.json",
        data=dataset_binaries,
        initial_weights=initial_weights,
    output:
        model="results/model/{architecture}/denoiser.safetensors",
        history="results/model/{architecture}/history.tsv",
        training="results/model/{architecture}/training.json",
    log:
        "results/model/{architecture}/train_denoiser.log",
    benchmark:
        "results/model/{architecture}/train_denoiser.benchmark.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: training_threads
    resources:
        **asks("train_denoiser"),
        gpu=lambda w: (
            config["model"][w.architecture]["devices"]
            if config["model"][w.architecture]["device"].startswith("cuda")
            else 0
        ),
    params:
        code=code_of("train_denoiser", "scripts/clearice/model/general/weights.safetensors"),
        architecture=lambda w: w.architecture,
        settings=settings_of_network,
    script:
        "../scripts/train_denoiser.py"
