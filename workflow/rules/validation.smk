"""Measure what denoising does to the micrographs that the network was not trained on.

READS   the held-out micrographs with their other halves, truths and particle centres, if any;
        results/model/{architecture}/denoiser.safetensors
WRITES  results/validation/{micrograph}.json, summary.json
"""

GRID = ("size_px", "stride_px", "cover_border")


rule validate_micrograph:
    """Judge the network by the raw other half and the truth of one micrograph, and by null tests."""
    input:
        unpack(validate_inputs),
        model=f"results/model/{config['denoised']['architecture']}/denoiser.safetensors",
    output:
        output="results/validation/{micrograph}.json",
    log:
        "results/validation/{micrograph}.log",
    benchmark:
        "results/validation/{micrograph}.benchmark.tsv"
    # A micrograph that is called summary has another key: the summary has its name.
    wildcard_constraints:
        micrograph=r"(?!summary\.)[^/]+",
    group:
        one_job_for_many("validate_micrograph")
    conda:
        "../../envs/torch.yaml"
    resources:
        **asks("validate_micrograph"),
        in_turn=1,
        gpu=int(config["denoised"]["device"].startswith("cuda")),
    params:
        code=code_of("validate_micrograph"),
        name=name_of_job,
        micrograph=file_of("input"),
        target=file_of("target"),
        truth=file_of("truth"),
        centres=file_of("centres"),
        # Whose losses are written, where the network learned to predict the other half.
        patches=(
            {key: config["patches"][key] for key in GRID}
            if config["patches"]["target"] in ("auto", "halves")
            else None
        ),
        settings={
            "tile_px": config["denoised"]["tile_px"],
            "device": config["denoised"]["device"],
            "hot_pixel_threshold": config["patches"]["hot_pixel_threshold"],
        },
    script:
        "../scripts/validate_micrograph.py"


in_one_process(rules.validate_micrograph.rule, "validate_micrograph")


rule sum_up_validation:
    """Say in words and numbers what all held-out micrographs show together."""
    input:
        records=validation_files,
    output:
        summary="results/validation/summary.json",
    log:
        "results/sum_up_validation.log",
    benchmark:
        "results/sum_up_validation.benchmark.tsv"
    conda:
        "../../envs/data.yaml"
    resources:
        **asks("sum_up_validation"),
    params:
        code=code_of("sum_up_validation"),
    script:
        "../scripts/sum_up_validation.py"
