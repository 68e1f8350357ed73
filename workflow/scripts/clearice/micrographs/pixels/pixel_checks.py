"""The checks of checks.py that look at the pixels of one image."""

from clearice.micrographs.check import REJECTED, WARNING, Check

HOT_PIXELS = Check(
    "hot_pixels",
    "share of the pixels that are clearly hot: 20 noise levels beyond seven of their eight "
    "neighbours, or 200 from the median of those",
    1e-5,
    WARNING,
    "{pixels} clearly hot: {treatment}",
    "a good camera leaves a few in ten million; chance makes no such pixel, nor do electrons, gold "
    "or crystals",
)
NOT_FINITE = Check(
    "not_finite",
    "share of the pixels that are NaN or infinite; also any that is left without a median of its "
    "neighbours",
    1e-3,
    REJECTED,
    "{pixels} NaN or infinite, the first at row {row}, column {column}, the last in row {last_row}",
    "a gain reference divides by zero at 1 of 10,000 pixels and fewer",
)
REPLACED_NOT_FINITE = Check(
    "replaced_not_finite",
    "NaN or infinite pixels that became the median of their neighbours",
    None,
    WARNING,
    "{pixels} NaN or infinite: replaced by the median of their neighbours",
    "no camera counts them: whatever made the micrograph should know",
)
IMPOSSIBLE_VALUES = Check(
    "impossible_values",
    "connected pixels more than 10,000 noise levels from the median",
    32,
    REJECTED,
    "impossible values: {pixels} more than 10,000 noise levels off, the first at row {row}, "
    "column {column}",
    "16-bit counts don't reach it, 128 bytes of text read as float32 do; a smaller cluster is a "
    "warning",
)
IMPOSSIBLE_CLUSTER = Check(
    "impossible_cluster",
    "the same, but fewer",
    None,
    WARNING,
    IMPOSSIBLE_VALUES.message,
    "a cluster of hot pixels, too large to be replaced",
)
TEXT_INSIDE = Check(
    "text_inside",
    "text among the pixels",
    None,
    REJECTED,
    "text in the place of pixels, in row {row}: {text!r}",
    "64 printable bytes in a row, where the pixels are far out, or the beginning of a web page",
)
BLANK = Check(
    "blank",
    "share of the pixels in blank areas: whole rows, columns at the sides, and 64 rows of 64 px, "
    "of one value, as chance can't make them",
    0.005,
    WARNING,
    "{percent} of the pixels have one value: {place}{question}; statistics and patches leave them "
    "out",
    "alignment leaves borders of 1 to 3 %",
)
MOSTLY_BLANK = Check(
    "mostly_blank",
    "share of the pixels in blank areas",
    0.5,
    REJECTED,
    "{percent} of the pixels have one value: {place}",
    "half of the exposure is missing",
)
UNFINISHED_COPY = Check(
    "unfinished_copy",
    "share of the rows that are blank at the end of the file; or a blank stretch that begins or "
    "ends in the middle of a row",
    0.1,
    REJECTED,
    "an unfinished copy? {percent} of the pixels have one value: {place}",
    "borders of an alignment are narrower, and straight",
)
DEAD_LINES = Check(
    "dead_lines",
    "rows or columns off by so many noise levels from those beside them along their whole length, "
    "or of one value",
    2,
    WARNING,
    "{lines} dead or hot, off by {value:.1f} noise levels: a network keeps them",
    "the mean of a line of 1,000 px is known to 0.03",
)
STRIPES = Check(
    "stripes",
    "deviation of what rows or columns keep over their whole length, in noise levels",
    0.1,
    WARNING,
    "striped along its {direction}: {value:.2f} noise levels, more than {threshold}; a network "
    "keeps stripes",
    "faint particles are as strong; good cameras are below 0.02",
)
LEVEL_STEP = Check(
    "level_step",
    "step from one row or column to the next, of the level, in noise levels, straight over half "
    "the image",
    0.5,
    WARNING,
    "from {direction} {line} on another level, by {value:.1f} noise levels: a part of the detector "
    "with another gain?",
    "no specimen ends along a row or a column of the detector",
)
NOISE_STEP = Check(
    "noise_step",
    "the same of the noise: by what part of itself it grows or falls",
    0.5,
    WARNING,
    "from {direction} {line} on other noise, by a factor of {value:.2g}: a part of the detector "
    "with another gain?",
    "carbon and ice differ by less, and not along a row or a column",
)
LOST_BYTES = Check(
    "lost_bytes",
    "the same from one row to the next, over the whole width",
    3,
    REJECTED,
    "bytes are lost or foreign? From row {line} on the noise is another, by a factor of "
    "{value:.3g}",
    "a lost byte makes factors of 30 and more of counts",
)

OF_PIXELS = (
    HOT_PIXELS,
    NOT_FINITE,
    REPLACED_NOT_FINITE,
    IMPOSSIBLE_VALUES,
    IMPOSSIBLE_CLUSTER,
    TEXT_INSIDE,
    BLANK,
    MOSTLY_BLANK,
    UNFINISHED_COPY,
    DEAD_LINES,
    STRIPES,
    LEVEL_STEP,
    NOISE_STEP,
    LOST_BYTES,
)
