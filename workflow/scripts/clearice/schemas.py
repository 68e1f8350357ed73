"""Where the schemas lie."""

from pathlib import Path

_FOLDER = Path(__file__).resolve().parents[2] / "schemas"
CONFIG_SCHEMA = _FOLDER / "config.schema.yaml"
DATASET_SCHEMA = _FOLDER / "dataset.schema.json"
REFERENCE_SCHEMA = _FOLDER / "reference.schema.json"
