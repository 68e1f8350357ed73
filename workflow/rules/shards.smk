"""Cut micrographs into shards.

READS   the micrographs named in config.yaml
WRITES  results/shards/{micrograph}.{input.bin,target.bin,json}, of patches; with dataset.layout
        planes .input.plane and .target.plane instead, with both all of them
"""


rule shard_micrograph:
    """Stream one micrograph (or one pair of halves) into a shard, normalised."""
    input:
        unpack(shard_inputs),
    output:
        **stored_sides("results/shards/{micrograph}"),
        record="results/shards/{micrograph}.json",
    log:
        "results/shards/{micrograph}.log",
    benchmark:
        "results/shards/{micrograph}.benchmark.tsv"
    group:
        one_job_for_many("shard_micrograph")
    conda:
        "../../envs/data.yaml"
    threads: 2  # one per side
    resources:
        **asks("shard_micrograph"),
        in_turn=1,
    # The script also takes micrographs.on_error and patches.scratch from the configuration: as
    # params, a change would cut every shard again, to the same bytes.
    params:
        code=code_of("shard_micrograph"),
        micrograph=name_of_job,
        input=lambda wildcards: shard_sources(wildcards)["input"],
        target=lambda wildcards: shard_sources(wildcards).get("target"),
        pixel_size_angstrom=lambda wildcards: MICROGRAPHS[wildcards.micrograph].pixel_size_angstrom,
        set_aside=lambda wildcards: MICROGRAPHS[wildcards.micrograph].reason,
        was_there=lambda wildcards: MICROGRAPHS[wildcards.micrograph].is_there
        and config["micrographs"]["source"] == "files",
        states=source_states,
        patches={k: v for k, v in config["patches"].items() if k not in ("scratch", "offsets")},
        dtype=config["dataset"]["dtype"],
        layout=config["dataset"]["layout"],  # fewer outputs alone trigger no rerun
    script:
        "../scripts/shard_micrograph.py"


in_one_process(rules.shard_micrograph.rule, "shard_micrograph")
