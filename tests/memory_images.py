"""Images in memory in place of files."""

import numpy as np

from clearice.micrographs.pixels.survey import survey_micrograph


class MemoryReader:
    """An image in memory with the interface of an open micrograph."""

    path = "memory.mrc"

    def __init__(self, image):
        self.image = np.asarray(image, dtype=np.float32)
        self.height_px, self.width_px = self.image.shape

    def blocks(self, rows=7):
        """Yield (first row, rows) in order, in a buffer that is used again."""
        buffer = np.empty((rows, self.width_px), np.float32)
        for first in range(0, self.height_px, rows):
            count = min(rows, self.height_px - first)
            buffer[:count] = self.image[first : first + count]
            yield first, buffer[:count]
            buffer[:] = np.nan

    def rows(self):
        """Yield rows in order, in a buffer that is used again."""
        return (rows for _, rows in self.blocks())

    def read_rows(self, first, count):
        """Return rows first to first + count."""
        return self.image[first : first + count].copy()


class MemoryRows:
    """An image in memory with the interface of MicrographRows."""

    path = "memory.mrc"
    hot_pixels, kept = 0, None

    def __init__(self, image):
        self.image = np.asarray(image, dtype=np.float32)
        self.height_px, self.width_px = self.image.shape

    def blocks(self):
        """Yield the rows in order."""
        yield from MemoryReader(self.image).rows()

    @property
    def survey(self):
        """The Survey of the rows."""
        return survey_micrograph(self.blocks(), self.path, self.image.shape)


def noisy_pair(shape=(300, 260)):
    """A smooth truth and two halves with unit noise."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    truth = 50 + 2 * np.sin(x / 9) * np.cos(y / 13)
    generator = np.random.default_rng(0)
    return truth, truth + generator.normal(size=shape), truth + generator.normal(size=shape)
