"""The rows of a micrograph, and the survey of them."""

import threading

import numpy as np
import pytest

from clearice.micrographs.rows import AUTO, MicrographRows
from memory_images import MemoryReader
from mrc_files import noise_image


class Halting(MemoryReader):
    """It waits in its first row until it is told to go on."""

    def __init__(self, image):
        super().__init__(image)
        self.begun, self.may_go_on = threading.Event(), threading.Event()

    def blocks(self, rows=7):
        self.begun.set()
        assert self.may_go_on.wait(60)
        yield from super().blocks(rows)


def test_a_survey_waits_for_no_other_micrographs():
    """functools.cached_property lets them wait, in Python 3.11."""
    slow = Halting(noise_image(128, 128, 0))
    first, second = MicrographRows(slow), MicrographRows(MemoryReader(noise_image(128, 128, 1)))
    found = []
    threads = [
        threading.Thread(target=lambda rows=rows: found.append(rows.survey), daemon=True)
        for rows in (first, second)
    ]
    threads[0].start()
    assert slow.begun.wait(60)
    threads[1].start()
    threads[1].join(30)
    assert found == [second.survey]
    slow.may_go_on.set()
    threads[0].join(60)
    assert found[1] is first.survey


@pytest.mark.parametrize("limit", [AUTO, 30.0, None])
def test_rows_that_the_survey_keeps_are_those_of_a_second_pass(limit):
    image = noise_image(300, 200, 2)
    image[5::17, 3] = 1e4
    twice, passes = MicrographRows(MemoryReader(image), limit), []
    expected = twice.survey
    rows = np.concatenate([rows.copy() for rows in twice.blocks()])

    class Once(MemoryReader):
        def blocks(self, rows=7):
            passes.append(rows)
            yield from super().blocks(rows)

    once = MicrographRows(Once(image), limit, lambda shape: np.empty(shape, np.float32))
    assert once.kept is None
    assert once.survey.input == expected.input
    assert np.array_equal(once.kept, rows)
    assert np.array_equal(np.concatenate(list(once.blocks())), rows)
    assert once.hot_pixels == twice.hot_pixels
    assert len(passes) == 1
