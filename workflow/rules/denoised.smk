"""Denoise every micrograph that was not rejected.

READS   the micrographs, results/model/{architecture}/denoiser.safetensors, of which earlier states
        will do with continue_training (denoised.redo)
WRITES  results/denoised/{micrograph}.{mrc,json}
"""


rule denoise_micrograph:
    """Denoise one micrograph, or both halves of one."""
    input:
        unpack(denoise_inputs),
        model=denoising_network,
    output:
        denoised="results/denoised/{micrograph}.mrc",
        record="results/denoised/{micrograph}.json",
    log:
        "results/denoised/{micrograph}.log",
    benchmark:
        "results/denoised/{micrograph}.benchmark.tsv"
    group:
        one_job_for_many("denoise_micrograph")
    conda:
        "../../envs/torch.yaml"
    resources:
        **asks("denoise_micrograph"),
        in_turn=1,
        gpu=int(config["denoised"]["device"].startswith("cuda")),
    params:
        code=code_of("denoise_micrograph"),
        lineage=network_lineage,
        pixel_size_angstrom=lambda wildcards: MICROGRAPHS[wildcards.micrograph].pixel_size_angstrom,
        name=name_of_job,
        micrograph=file_of("input"),
        target=file_of("target"),
        settings={
            **{key: value for key, value in config["denoised"].items() if key != "redo"},
            "hot_pixel_threshold": config["patches"]["hot_pixel_threshold"],
        },
    script:
        "../scripts/denoise_micrograph.py"


in_one_process(rules.denoise_micrograph.rule, "denoise_micrograph")
