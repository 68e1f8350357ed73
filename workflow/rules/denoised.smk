"""Denoise every micrograph that was not rejected.

READS   the micrographs, results/model/{architecture}/denoiser.safetensors
WRITES  results/denoised/{micrograph}.{mrc,json}
"""


rule denoise_micrograph:
    """Denoise one micrograph, or both halves of one."""
    input:
        unpack(denoise_inputs),
        model=f"results/model/{config['denoised']['architecture']}/denoiser.safetensors",
    output:
        denoised="results/denoised/{micrograph}.mrc",
        record="results/denoised/{micrograph}.json",
    log:
        "results/denoised/{micrograph}.log",
    benchmark:
        "results/denoised/{micrograph}.benchmark.tsv"
    conda:
        "../../envs/torch.yaml"
    resources:
        **asks("denoise_micrograph"),
        gpu=int(config["denoised"]["device"].startswith("cuda")),
    params:
        code=code_of("denoise_micrograph"),
        pixel_size_angstrom=lambda wildcards: MICROGRAPHS[wildcards.micrograph].pixel_size_angstrom,
        name=name_of_job,
        micrograph=file_of("input"),
        target=file_of("target"),
        settings={
            **config["denoised"],
            "hot_pixel_threshold": config["patches"]["hot_pixel_threshold"],
        },
    script:
        "../scripts/denoise_micrograph.py"
