"""The rows of a micrograph as a network sees them, in training and in denoising alike."""

import functools

from clearice.micrographs.hot_pixels import HotPixels, local_std
from clearice.micrographs.survey import survey_micrograph


def hot_pixel_limit(micrograph, threshold):
    """Return how far a pixel may lie from its neighbours, in the units of `micrograph` (open).

    `threshold` is in standard deviations of the local noise; None, to replace none, stays None.
    """
    return None if threshold is None else threshold * local_std(micrograph)


class MicrographRows:
    """The rows of an open micrograph, hot pixels replaced.

    `limit` is what hot_pixel_limit returned. path, height_px, width_px are the micrograph's;
    `hot_pixels` is the number of pixels that the last pass over blocks() replaced.
    """

    def __init__(self, micrograph, limit=None):
        self.path = micrograph.path
        self.height_px, self.width_px = micrograph.height_px, micrograph.width_px
        self._micrograph, self._cleaner = micrograph, None
        if limit is not None:
            self._cleaner = HotPixels(limit, micrograph.height_px)

    @property
    def hot_pixels(self):
        """Number of pixels replaced."""
        return self._cleaner.count if self._cleaner else 0

    def blocks(self):
        """Yield float32 (b, W), top to bottom, any number of times.

        A block is valid until the next one.
        """
        rows = (rows for _, rows in self._micrograph.blocks())
        return self._cleaner.blocks(rows) if self._cleaner else rows

    @functools.cached_property
    def survey(self):
        """The Survey of the rows; costs one pass over them.

        Raises InputError for a micrograph that is constant, not finite or out of range.
        """
        return survey_micrograph(self.blocks(), self.path)
