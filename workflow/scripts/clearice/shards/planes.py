"""The plane of one side of a micrograph: all its normalised rows, from which patches are cut."""

from clearice.shards.patches import WRITE_BYTES, aligned


class PlaneGatherer:
    """Gathers rows that arrive in order into blocks of WRITE_BYTES, and hands them to `write`.

    A block is contiguous (k,), aligned to ALIGNMENT_BYTES, and valid during the call only. Rows
    follow one another without a gap, whatever the blocks.
    """

    def __init__(self, dtype, write):
        self._write, self._filled = write, 0
        self._block = aligned((WRITE_BYTES // dtype.itemsize,), dtype)

    def add(self, rows):
        """Take in the next rows, float (b, W), and write the blocks that they complete."""
        values = rows.reshape(-1)
        while len(values):
            count = min(len(values), len(self._block) - self._filled)
            self._block[self._filled : self._filled + count] = values[:count]
            self._filled += count
            values = values[count:]
            if self._filled == len(self._block):
                self.close()

    def close(self):
        """Write what is left."""
        if self._filled:
            self._write(self._block[: self._filled])
        self._filled = 0
