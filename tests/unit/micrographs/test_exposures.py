"""Images of one exposure belong together, and what only begins alike does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearice.dataset.splits import split_of
from clearice.errors import InputError
from clearice.micrographs.whole_set.exposures import MAX_DERIVED, bases, exposures, is_no_micrograph

EPU = "FoilHole_24015405_Data_24016401_24016403_20200225_{}_Fractions"


@pytest.mark.parametrize(
    "names",
    [
        ["X", "X_DW", "X_DWS"],
        ["X_DW", "X_DWS"],
        ["X_noDW", "X_DW"],
        ["X_EVN", "X_ODD"],
        ["X", "X_PS", "X_shr", "X_thumb_@1x", "X-bin4"],
        ["X_patch_aligned", "X_patch_aligned_doseweighted"],
        ["X_rigid_aligned", "X_patch_aligned", "X_background"],
        ["001234567890123456789_X_patch_aligned", "009876543210987654321_X_patch_aligned"],
        ["X.frames", "X.frames-a", "X.frames-a-DW"],
        ["X_frame", "X_rest"],
        ["X aligned", "X aligned DW"],
    ],
)
def test_images_of_one_exposure(names):
    others = [name.replace("X", "Y7") for name in names]
    found = exposures(names + others)
    assert len({found[name] for name in names}) == 1
    assert len({found[name] for name in others}) == 1
    assert len(set(found.values())) == 2


@pytest.mark.parametrize(
    "names",
    [
        [EPU.format(f"{i:04d}") for i in range(30)],
        [f"14sep05c_000{i}sq_00003hl_0000{j}es_c" for i in (24, 31) for j in range(2, 9)],
        ["mic_1", "mic_1_2", "mic_1_10", "mic_10"],
        ["May10_11.22.33", "May10_11.22.34", "May10_11.22.33_2"],
        ["grid_a", "grid_b", "grid_c"],
        ["Position_99_035[-61_00]", "Position_99_036[-64_00]"],
        ["session", *(f"session_{chr(97 + i)}{i}" for i in range(MAX_DERIVED + 1))],
        [f"s_{i:05d}_aligned_mic_DW" for i in range(20)],
    ],
)
def test_every_other_image_is_an_exposure_of_its_own(names):
    assert exposures(names) == {name: name for name in names}


def test_the_base_is_the_shortest_name_that_is_there():
    names = ["a", "a_DW", "a_DW_PS", "ab_DW", "a_2", "a_2_PS"]
    assert bases(names) == {"a_DW": "a", "a_DW_PS": "a", "a_2_PS": "a_2"}


@pytest.mark.parametrize(
    "suffix", ["_PS", "_shr", "_thumb", "_bg", "_ctf", "-background", "_x_fft"]
)
def test_words_of_what_is_no_micrograph(suffix):
    assert is_no_micrograph(suffix)


@pytest.mark.parametrize("suffix", ["_DW", "_EVN", "_noDW", "_upstream", "_psi", "_2"])
def test_words_of_micrographs(suffix):
    assert not is_no_micrograph(suffix)


WORDS = ("", "_DW", "_DWS", "_EVN", "_PS")


@given(
    st.lists(
        st.tuples(st.from_regex(r"m[0-9]{1,3}", fullmatch=True), st.sampled_from(WORDS)),
        min_size=3,
    ),
    st.floats(0.01, 0.99),
    st.booleans(),
)
def test_no_split_tears_an_exposure(parts, fraction, named):
    names = sorted({stem + word for stem, word in parts})
    stems = {stem for stem, _ in parts}
    if len(stems) < 2:
        return
    tested = {names[0]} if named else None
    splits = split_of(names, fraction, 0, tested)
    assert set(splits.values()) == {"train", "test"}
    for stem in stems:
        of_one = {splits[stem + word] for word in WORDS if stem + word in splits}
        assert len(of_one) == 1
    if named:
        assert splits[names[0]] == "test"


def test_one_exposure_cannot_be_split():
    with pytest.raises(InputError, match=r"need two exposures.* found X, X_DW"):
        split_of(["X", "X_DW"], 0.5, 0)
