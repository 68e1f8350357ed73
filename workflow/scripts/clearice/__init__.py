"""clearice: from cryo-EM micrographs to a validated denoiser."""

__version__ = "0.1.0"
