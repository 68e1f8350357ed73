"""Simulate or download micrographs; with source `files` there is nothing to make.

READS   config.yaml; for source `empiar` the archive at empiar.base_url
WRITES  results/micrographs/{micrograph}_EVN.mrc, _ODD.mrc, _truth.mrc, _centres.tsv
        (simulation)
        results/micrographs/{micrograph}.mrc, .download.json (empiar)
"""

if config["micrographs"]["source"] == "simulation":

    rule simulate_micrograph:
        """Simulate one micrograph: two counted halves, their expectation, its particles."""
        output:
            input="results/micrographs/{micrograph}_EVN.mrc",
            target="results/micrographs/{micrograph}_ODD.mrc",
            truth="results/micrographs/{micrograph}_truth.mrc",
            centres="results/micrographs/{micrograph}_centres.tsv",
        log:
            "results/micrographs/{micrograph}.log",
        benchmark:
            "results/micrographs/{micrograph}.benchmark.tsv"
        group:
            one_job_for_many("simulate_micrograph")
        conda:
            "../../envs/data.yaml"
        resources:
            **asks("simulate_micrograph"),
            in_turn=1,
        params:
            code=code_of("simulate_micrograph"),
            name=name_of_job,
            # A larger count adds micrographs and changes none.
            settings={k: v for k, v in config["simulation"].items() if k != "count"},
        script:
            "../scripts/simulate_micrograph.py"

    in_one_process(rules.simulate_micrograph.rule, "simulate_micrograph")


if config["micrographs"]["source"] == "empiar":

    rule fetch_micrograph:
        """Download one micrograph of an EMPIAR entry, in parallel ranges that can be resumed."""
        # No code among the inputs, and the output is updated: a new version of clearice asks the
        # archive whether the file is the same instead of downloading hundreds of gigabytes again.
        input:
            unpack(nothing_but_a_look),
        output:
            micrograph=update("results/micrographs/{micrograph}.mrc"),
            record=update("results/micrographs/{micrograph}.download.json"),
        log:
            "results/micrographs/{micrograph}.log",
        benchmark:
            "results/micrographs/{micrograph}.benchmark.tsv"
        # Compute nodes of a cluster often have no way out to the internet.
        localrule: True
        conda:
            "../../envs/data.yaml"
        # As many cores as connections: few files at once, so that the archive is not flooded.
        threads: config["empiar"]["connections"]
        resources:
            **asks("fetch_micrograph"),
            downloads=1,  # `--resources downloads=1` allows one file at a time
        # The script also takes empiar.base_url, empiar.connections and micrographs.on_error from
        # the configuration: as params, a change would download every file again.
        params:
            file=lambda wildcards: "{entry}/{directory}/".format_map(config["empiar"])
            + f"{name_of(wildcards.micrograph)}.mrc",
            revision=revision_of,  # one more where the archive has another file of that name
        script:
            "../scripts/fetch_micrograph.py"
