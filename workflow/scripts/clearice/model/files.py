"""Which files a model and the records of its training are. Light on purpose: no PyTorch."""

from pathlib import Path

GENERAL = Path(__file__).parent / "general" / "weights.safetensors"
# What a training leaves: the model, one row per epoch, and how it was trained.
MODEL, HISTORY, RECORD = "denoiser.safetensors", "history.tsv", "training.json"


def model_file(name):
    """Return the file of a model: that of the pretrained network for `general`, else `name`."""
    return GENERAL if str(name) == "general" else Path(name)
