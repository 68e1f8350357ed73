"""Split the micrographs and concatenate their shards into the dataset.

READS   results/shards/{micrograph}.{input.bin,target.bin,json}, and .input.plane and .target.plane
WRITES  results/dataset/micrographs.tsv, {train,test}_{input,target}.bin, {train,test}.json and
        manifest.json, manifest.nml; with dataset.concatenate false, and with dataset.layout planes,
        no binaries: the manifest points at the shards

The binaries are hard links into results/dataset/.store, where they grow (docs/formats.md).
"""


checkpoint list_micrographs:
    """List accepted and rejected micrographs and hold some out for testing."""
    input:
        records=shard_records,
        test_micrographs=test_names,
    output:
        table="results/dataset/micrographs.tsv",
    log:
        "results/dataset/list_micrographs.log",
    benchmark:
        "results/dataset/list_micrographs.benchmark.tsv"
    conda:
        "../../envs/data.yaml"
    resources:
        **asks("list_micrographs"),
    params:
        code=code_of("list_micrographs"),
        test_micrographs=lambda wildcards: config["split"]["test_micrographs"],
        test_fraction=config["split"]["test_fraction"],
        seed=config["split"]["seed"],
        on_error=config["micrographs"]["on_error"],
        max_rejected_fraction=config["micrographs"]["max_rejected_fraction"],
        mixed=config["micrographs"]["mixed"],
        denoised_dtype=config["denoised"]["dtype"] if config["denoised"]["enabled"] else None,
    script:
        "../scripts/list_micrographs.py"


rule concatenate_shards:
    """Grow the binaries of one split by its new shards; only list them if not concatenated."""
    input:
        unpack(split_shards),
    output:
        **(
            {
                f"{side}_bin": f"results/dataset/{{split}}_{side}.bin"
                for side in ("input", "target")
            }
            if CONCATENATED
            else {}
        ),
        segments="results/dataset/{split}.json",
    log:
        "results/dataset/concatenate_shards.{split}.log",
    benchmark:
        "results/dataset/concatenate_shards.{split}.benchmark.tsv"
    conda:
        "../../envs/data.yaml"
    resources:
        **asks("concatenate_shards"),
    params:
        code=code_of("concatenate_shards"),
        split="{split}",
        concatenate=CONCATENATED,  # outputs alone trigger no rerun
    script:
        "../scripts/concatenate_shards.py"


rule write_manifest:
    """Write the one file that says where every patch lies."""
    input:
        train="results/dataset/train.json",
        test="results/dataset/test.json",
    output:
        manifest="results/dataset/manifest.json",
        namelists="results/dataset/manifest.nml",
    log:
        "results/dataset/write_manifest.log",
    benchmark:
        "results/dataset/write_manifest.benchmark.tsv"
    conda:
        "../../envs/data.yaml"
    resources:
        **asks("write_manifest"),
    params:
        code=code_of("write_manifest"),
        offsets=config["patches"]["offsets"],
    script:
        "../scripts/write_manifest.py"
