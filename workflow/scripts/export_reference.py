"""Write the reference bundle of a trained model: tensors, losses, tolerances, an oracle."""

from pathlib import Path

import jsonschema

from clearice.bridge import run_job
from clearice.dataset.reader import open_split
from clearice.errors import InputError
from clearice.files import read_json, read_result, xxh3_of_file
from clearice.model.weights import load_model
from clearice.reference import cases
from clearice.reference.export import write_bundle
from clearice.schemas import REFERENCE_SCHEMA


def export_reference(model, dataset, manifest, settings, **_only_for_the_workflow):
    """Write the bundle into the folder of `manifest` (the bundle's, results/reference).

    `model`: a safetensors file of simple_cnn; `dataset`: the dataset's manifest.json;
    `settings`: config["reference"]. Raises InputError for what does not fit together.
    """
    network, metadata = load_model(model)
    if metadata["architecture"] != settings["architecture"]:
        raise InputError(
            "is of another architecture",
            file=model,
            expected=settings["architecture"],
            found=metadata["architecture"],
        )
    weights = {
        name.replace(".", "_"): tensor.detach().cpu().numpy()
        for name, tensor in network.state_dict().items()
    }
    with open_split(dataset, "test") as reader:
        bundle_cases, training = cases.bundle_data(reader, settings)
    provenance = {
        "model_xxh3": xxh3_of_file(model),
        "dataset_xxh3": read_result(dataset).get("data_xxh3"),
    }
    folder = Path(manifest).parent
    written = write_bundle(folder, weights, bundle_cases, training, provenance)
    jsonschema.validate(written, read_json(REFERENCE_SCHEMA))
    print(f"bundle {written['bundle_id']} of {len(written['tensors'])} tensors in {folder}")


if "snakemake" in globals():
    run_job(export_reference, snakemake)
