"""The rows of a micrograph as a network sees them, in training and in denoising alike."""

from clearice.micrographs.mrc import BLOCK_BYTES
from clearice.micrographs.pixels.clear_hot_pixels import ClearHotPixels
from clearice.micrographs.pixels.hot_pixels import HotPixels, local_std
from clearice.micrographs.pixels.survey import survey_micrograph

AUTO = "auto"


def hot_pixel_limit(micrograph, threshold):
    """Return how far a pixel may lie from its neighbours, in the units of `micrograph` (open).

    `threshold` is in standard deviations of the local noise; `auto` (what is clearly hot is
    replaced, ClearHotPixels) and None (nothing is) stay what they are.
    """
    return threshold if threshold in (None, AUTO) else threshold * local_std(micrograph)


class MicrographRows:
    """The rows of an open micrograph, hot pixels replaced.

    `limit` is what hot_pixel_limit returned. `memory`, if given, is called with (H, W) and returns
    a float32 array of that shape: the survey leaves the rows there, so that the file is read once.
    path, height_px, width_px are the micrograph's; `hot_pixels` is the number of pixels that the
    last pass over blocks() replaced; `numbers` are those of the checks, by name, once the survey
    has been taken, even where it raised; `kept` is what is in the memory, float32 (H, W), or None.
    """

    def __init__(self, micrograph, limit=AUTO, memory=None):
        self.path = micrograph.path
        self.height_px, self.width_px = micrograph.height_px, micrograph.width_px
        self._micrograph, self._limit, self._cleaner = micrograph, limit, None
        self.numbers, self._survey = {}, None
        self._memory, self.kept = memory, None
        if limit == AUTO:
            self._cleaner = ClearHotPixels()
        elif limit is not None:
            self._cleaner = HotPixels(limit, micrograph.height_px)

    @property
    def hot_pixels(self):
        """Number of pixels replaced."""
        return self._cleaner.count if self._cleaner else 0

    def blocks(self):
        """Yield float32 (b, W), top to bottom, any number of times.

        A block is valid until the next one.
        """
        if self.kept is not None:
            return blocks_of(self.kept)
        return self._cleaner.blocks(self._stored()) if self._cleaner else self._stored()

    def _stored(self):
        """Yield the rows as they are stored."""
        return (rows for _, rows in self._micrograph.blocks())

    @property
    def survey(self):
        """The Survey of the rows; costs one pass over them, the first time.

        Raises InputError for a micrograph that cannot be used (checks.py).
        """
        # No functools.cached_property: in Python 3.11 one lock is all instances', and micrographs
        # that are under way at once would be surveyed in turn.
        if self._survey is None:
            self._survey = self._taken_survey()
        return self._survey

    def _taken_survey(self):
        automatic, shape = self._limit == AUTO, (self.height_px, self.width_px)
        keeper = None if self._memory is None else _Keeper(self._memory(shape))
        blocks = self._stored() if automatic else self.blocks()
        survey = survey_micrograph(
            blocks if automatic or keeper is None else map(keeper.keep, blocks),
            self.path,
            shape,
            hot=self._cleaner if automatic else None,
            before=None if automatic else self._cleaner,
            dtype=getattr(self._micrograph, "dtype", None),
            numbers=self.numbers,
            keep=keeper.keep if automatic and keeper is not None else None,
        )
        self.kept = keeper and keeper.rows
        return survey


def blocks_of(image):
    """Yield the rows of an array (H, W), float32, a few at a time."""
    step = max(2, BLOCK_BYTES // (4 * image.shape[1]))
    return (image[first : first + step] for first in range(0, len(image), step))


class _Keeper:
    """Copies rows that arrive in order into `rows`, (H, W)."""

    def __init__(self, rows):
        self.rows, self._count = rows, 0

    def keep(self, rows):
        """Copy rows (b, W), and return them."""
        self.rows[self._count : self._count + len(rows)] = rows
        self._count += len(rows)
        return rows
