"""Where the schemas lie: inside the package, so that an installed one has them."""

from pathlib import Path

_FOLDER = Path(__file__).resolve().parent / "schema_files"
CONFIG_SCHEMA = _FOLDER / "config.schema.yaml"
DATASET_SCHEMA = _FOLDER / "dataset.schema.json"
REFERENCE_SCHEMA = _FOLDER / "reference.schema.json"
