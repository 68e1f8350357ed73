"""Blank areas: pixels that hold one value because nobody measured them.

Alignment leaves such borders, a detector gap or a mask such bands and corners, an unfinished copy
such a tail. They are taken out of statistics and of patches, and no result may be praised for them.
A sparse count has many equal pixels too: an area counts as blank only where chance cannot make it.
"""

import math

import numpy as np

RUN_ROWS = 64  # a blank area inside the image: at least that many rows of one piece of 64 px
HOLE_PIECES = 8  # pieces of one row: 512 px, half a page of 4 KiB float32 pixels
CHANCE = 1e-6  # that chance makes a row or a column of one value, anywhere in the image


class BlankArea:
    """Which pixels of an image are blank. height_px, width_px: the image's.

    `rows` (H,) and `columns` (W,) are bool: blank from side to side; `pieces` (H, P) is bool: blank
    pieces of `piece_px` pixels of a row; `holes` counts rows that begin or end to be blank in the
    middle, as only a part of a file that never arrived does. `dead_rows` and `dead_columns` are the
    numbers of single lines and pairs of one value inside the image: dead, rather than blank.
    """

    def __init__(self, rows, columns, pieces, piece_px, holes=0, dead_columns=()):
        self.rows, self.columns, self.pieces, self.piece_px = rows, columns, pieces, piece_px
        self.height_px, self.width_px = len(rows), len(columns)
        self.holes, self.dead_columns = holes, dead_columns
        self.dead_rows = _thin(rows)

    def __bool__(self):
        return bool(self.rows.any() or self.columns.any() or self.pieces.any())

    def mask(self, first, count):
        """Return which pixels of rows `first` to `first + count` are blank, bool (count, W)."""
        part = slice(first, first + count)
        mask = np.repeat(self.pieces[part], self.piece_px, axis=1)
        mask = np.pad(mask, ((0, 0), (0, self.width_px - mask.shape[1])))
        return mask | self.columns | self.rows[part, None]

    def masks(self, rows=256):
        """Yield the mask in bands, top to bottom."""
        for first in range(0, self.height_px, rows):
            yield first, self.mask(first, min(rows, self.height_px - first))

    @property
    def fraction(self):
        """Share of the pixels that are blank."""
        if not self:
            return 0.0
        blank = sum(int(mask.sum()) for _, mask in self.masks())
        return blank / (self.height_px * self.width_px)

    @property
    def tail_rows(self):
        """Number of blank rows at the end of the image."""
        live = np.nonzero(~self.rows)[0]
        return self.height_px - 1 - int(live[-1]) if len(live) else self.height_px

    def union(self, other):
        """Return what is blank in this image or in the other of the same size."""
        return BlankArea(
            self.rows | other.rows,
            self.columns | other.columns,
            self.pieces | other.pieces,
            self.piece_px,
        )

    def live_pieces(self):
        """Return which pieces hold measured pixels only, bool (H, P)."""
        width = self.pieces.shape[1] * self.piece_px
        columns = self.columns[:width].reshape(-1, self.piece_px).any(axis=1)
        return ~(self.pieces | self.rows[:, None] | columns)

    def counted_pieces(self):
        """Return the live pieces, bool (H, P), or None where all count: all live, or none."""
        if not self:
            return None
        live = self.live_pieces()
        return live if live.any() else None

    def blank_fractions(self, origins, size_px):
        """Return the blank share of patches of `size_px`, (n,), at `origins` (n, 2), y and x."""
        shares = np.zeros(len(origins))
        if not self:
            return shares
        starts = {}
        for number, (y, x) in enumerate(origins.tolist()):
            starts.setdefault(y, []).append((number, x))
        for y, row in starts.items():
            columns = self.mask(y, size_px).sum(axis=0)  # (W,)
            total = np.concatenate([[0], np.cumsum(columns)])
            for number, x in row:
                shares[number] = (total[x + size_px] - total[x]) / size_px**2
        return shares

    def filled(self, blocks, value):
        """Yield the rows of `blocks`, float32 (b, W) in order, with `value` where they are blank.

        `value` is a number, or an image that blocks() yields in like blocks.
        """
        if not self:
            yield from blocks
            return
        first = 0
        for rows in blocks:
            mask = self.mask(first, len(rows))
            yield np.where(mask, np.float32(value), rows) if mask.any() else rows
            first += len(rows)

    def words(self):
        """Say where the blank pixels are: "rows 307 to 511"."""
        said = [f"rows {a} to {b}" for a, b in _runs(self.rows)]
        said += [f"columns {a} to {b}" for a, b in _runs(self.columns)]
        inner = self.pieces & ~self.rows[:, None]
        if inner.any():
            ys, xs = np.nonzero(inner.any(axis=1))[0], np.nonzero(inner.any(axis=0))[0]
            last = (xs[-1] + 1) * self.piece_px - 1
            said.append(
                f"within rows {ys[0]} to {ys[-1]}, columns {xs[0] * self.piece_px} to {last}"
            )
        shown = said[:4]
        return ", ".join(shown) + (f" and {len(said) - 4} more" if len(said) > 4 else "")


def _runs(flags):
    """Return (first, last) of each run of true values."""
    edges = np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8))
    return list(
        zip(
            np.nonzero(edges == 1)[0].tolist(),
            (np.nonzero(edges == -1)[0] - 1).tolist(),
            strict=True,
        )
    )


def find_blank(values, constant, columns, piece_px, equal_share):
    """Return the BlankArea of an image.

    `constant` (H, P) says which pieces of rows hold one value, `values` (H, P) which; `columns`
    (W,) which columns hold one value from top to bottom. `equal_share` is that of neighbouring
    pixels that are equal in the picture: the larger it is, the longer a line must be to be blank.
    """
    height, width = len(values), len(columns)
    certain_columns = _beyond_chance(equal_share, height, width)
    columns = columns.copy() if certain_columns else np.zeros(width, bool)
    dead = _thin(columns)
    columns[dead] = False
    if not constant.any():
        rows = np.zeros(height, bool)
        return BlankArea(rows, columns, np.zeros_like(constant), piece_px, 0, dead)
    whole = constant & (values == values[:, :1])
    rows = whole.all(axis=1) & _beyond_chance(equal_share, width, height)
    pieces = _long_runs(constant, values, min(RUN_ROWS, height)) & ~rows[:, None]
    if not _beyond_chance(equal_share, RUN_ROWS * piece_px, constant.size):
        pieces[:] = False
    length = min(HOLE_PIECES, max(2, constant.shape[1] // 4))
    holes = _holes(constant & ~pieces, rows, length)
    if not _beyond_chance(equal_share, length * piece_px, constant.size):
        holes = 0
    return BlankArea(rows, columns, pieces, piece_px, holes, dead)


def _beyond_chance(equal_share, length_px, lines):
    """Say whether chance makes no line of `length_px` equal pixels, of so many lines.

    Neighbours are equal with probability s; a pixel has the commonest value with at most sqrt(s).
    """
    if equal_share <= 0:
        return length_px > 1
    return length_px / 2 * math.log(min(equal_share, 1)) < math.log(CHANCE / lines)


def _thin(lines):
    """Return the numbers of single lines and pairs inside the image."""
    runs = [(a, b) for a, b in _runs(lines) if b - a < 2 and a > 0 and b < len(lines) - 1]
    return [number for a, b in runs for number in range(a, b + 1)]


def _long_runs(constant, values, length):
    """Return pieces in vertical runs of at least `length` of one value, bool (H, P)."""
    height, width = constant.shape
    linked = constant[1:] & constant[:-1] & (values[1:] == values[:-1])
    total = np.concatenate([np.zeros((1, width), np.int32), linked.cumsum(0, dtype=np.int32)])
    full = total[length - 1 :] - total[: height - length + 1] == length - 1  # runs start here
    full &= constant[: height - length + 1]
    begun = np.concatenate([np.zeros((1, width), np.int32), full.cumsum(0, dtype=np.int32)])
    rows = np.arange(height)
    last = np.minimum(rows + 1, height - length + 1)
    first = np.clip(rows - length + 1, 0, height - length + 1)
    return begun[last] > begun[first]


def _holes(constant, rows, length):
    """Count rows that are blank for `length` pieces, as at most one row beside them is.

    So a stretch that begins or ends in the middle of a row; a border at an angle ends in many.
    """
    constant = constant & ~rows[:, None]
    pairs = constant[:, 1:] & constant[:, :-1]
    if constant.shape[1] < 2 or not pairs.any():
        return 0
    total = np.concatenate([np.zeros((len(rows), 1), np.int32), pairs.cumsum(1, dtype=np.int32)], 1)
    long = (total[:, length - 1 :] - total[:, : -(length - 1)] == length - 1).any(axis=1)
    groups = _runs(pairs.any(axis=1))
    return sum(int(long[a : b + 1].sum()) for a, b in groups if b - a < 2)
