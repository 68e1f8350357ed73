"""Which network denoises, and whether what an earlier state of it denoised may stay.

READS   results/dataset/micrographs.tsv, once it is there; results/model/{architecture}/stages/
WRITES  nothing
"""

from clearice.dataset.contents import contents_of_table
from clearice.model.stages import CONTINUING, next_stage, recipe_of


def settings_of_network(wildcards):
    """Return the settings that a network depends on.

    Other threads train to the same model, and whether and how long it is trained further counts
    when micrographs come in: a change of them trains nothing again.
    """
    section = config["model"][wildcards.architecture]
    return {key: section[key] for key in section if key not in ("threads", *CONTINUING)}


def denoising_network(wildcards):
    """Return the model that denoises; one that is only trained further makes nothing old.

    One that will be trained anew does: Snakemake compares no params of jobs behind one that runs.
    """
    checkpoints.list_micrographs.get()  # what is listed tells which network there will be
    architecture, section = config["denoised"]["architecture"], config["denoised"]
    path, stage = f"results/model/{architecture}/denoiser.safetensors", _network_stage()
    goes_on = stage is not None and (stage.is_done or stage.number > 1)
    return ancient(path) if goes_on and not section["redo"] else path


def network_lineage(wildcards):
    """Return the name of the training that the network is a stage of, or will be.

    As a param: what a network of another training denoised is made again. None before the
    micrographs are listed.
    """
    stage = _network_stage()
    return stage and stage.lineage


def _network_stage():
    table = Path("results/dataset/micrographs.tsv")
    return _stage_at(os.stat(table).st_mtime_ns, table) if table.exists() else None


@functools.cache
def _stage_at(listed_ns, table):
    architecture = config["denoised"]["architecture"]
    settings = config["model"][architecture]
    contents = contents_of_table(read_table(table))
    recipe = recipe_of(architecture, settings, code_fingerprint("train_denoiser"), contents)
    folder, continues = f"results/model/{architecture}", settings["continue_training"]
    return next_stage(folder, recipe, contents, continues=continues)
