"""What is looked at in a set: checks of micrographs against each other, by names and headers.

They need the other micrographs, so their numbers are in no record of a shard.
"""

from clearice.micrographs.check import STOPS, WARNING, Check

NO_MICROGRAPH = Check(
    "no_micrograph",
    "names that are another's plus a word of a spectrum, a background, a thumbnail, a mask",
    None,
    STOPS,
    "named as {base} plus {suffix}, which programs add for what is no micrograph",
    "RELION's X_PS beside X, X_shr, X_thumb, X_background; unless micrographs.mixed is warn, and "
    "unless it is one file or under 1 % of the set",
)
SIBLING = Check(
    "sibling",
    "names that are one exposure's plus a word (X, X_DW, X_EVN, and X_DW beside X_DWS)",
    None,
    WARNING,
    "of one exposure with {base}: both are kept in one split",
    "sums with and without dose weighting share their noise; X_2 after X is the next exposure, "
    "and what more than 12 share is a prefix",
)
OTHER_SCALE = Check(
    "other_scale",
    "area in pixels against that of most micrographs, larger over smaller",
    3.6,
    STOPS,
    "{value} px, where most are {most}",
    "binning by 2 gives 4, two cameras at most 3.4; unless micrographs.mixed is warn, and unless "
    "it is one file or under 1 % of the set",
)
OTHER_SHAPE = Check(
    "other_shape",
    "sides against those of most micrographs, larger over smaller, less 1; longer with longer",
    0.05,
    WARNING,
    "{value} px, where most are {most}",
    "programs cut off up to 4 % of a camera's sides, and some turn the image",
)
MIXED_PIXEL_SIZES = Check(
    "mixed_pixel_sizes",
    "pixel size that is used, against that of most micrographs, larger over smaller, less 1",
    0.1,
    STOPS,
    "pixel size {value} angstrom, where most have {most}",
    "another magnification or binning: one network can't learn both; unless micrographs.mixed is "
    "warn, and unless it is one file or under 1 % of the set",
)
PIXEL_SIZE = Check(
    "pixel_size",
    "pixel size that is used, against that of most micrographs, larger over smaller, less 1",
    0.02,
    WARNING,
    "pixel size {value} angstrom, where most have {most}",
    "calibrations and rounding to two digits differ by up to 2 %",
)
HEADER_PIXEL_SIZE = Check(
    "header_pixel_size",
    "pixel size of the header, where a table states another one, against that of most headers",
    0.02,
    WARNING,
    "pixel size {value} angstrom in its header, where most headers say {most}",
    "as for pixel_size; it is not used",
)
ENTRY_PIXEL_SIZE = Check(
    "entry_pixel_size",
    "pixel size of most headers over that of the EMPIAR entry's description, less 1",
    0.01,
    WARNING,
    "the description of EMPIAR-{entry} says {stated} angstrom per pixel, the headers {header}: "
    "{header} is used",
    "one of the two is of another binning or calibration; both are given with 3 digits at least",
)
ONE_IMAGE_TWO_NAMES = Check(
    "one_image_two_names",
    "hash of the pixels (float32), of inputs and targets alike",
    None,
    STOPS,
    "{count} with several names: copies could end up in both splits",
    "noise is never equal by chance: equal pixels are one image, whatever the header says",
)

SET_CHECKS = (
    NO_MICROGRAPH,
    SIBLING,
    OTHER_SCALE,
    OTHER_SHAPE,
    MIXED_PIXEL_SIZES,
    PIXEL_SIZE,
    HEADER_PIXEL_SIZE,
    ENTRY_PIXEL_SIZE,
    ONE_IMAGE_TWO_NAMES,
)
