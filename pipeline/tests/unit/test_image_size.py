"""How large images are, and which nobody can mean."""

import numpy as np
import pytest

from arl.conventions import C
from arl.errors import InputError
from ical.parameters import Imaging
from ical.stages.observed import image_size

FREQUENCY, UVW = np.array([95e6, 105e6]), np.array([[200.0, 0.0, 0.0], [0.0, 50.0, 10.0]])
FRINGE = C / (200.0 * 105e6)


def test_a_field_smaller_than_the_finest_fringe_is_refused():
    """A cell in another unit was meant, or another image: the beam would fill it many times."""
    fits = image_size(Imaging(npixel=128, cell_rad=1.01 * FRINGE / 128), UVW, FREQUENCY, 35.0)
    assert fits[:2] == (128, 128)
    with pytest.raises(InputError, match="are smaller than the beam"):
        image_size(Imaging(npixel=128, cell_rad=0.99 * FRINGE / 128), UVW, FREQUENCY, 35.0)


def test_pixels_that_alias_the_longest_baseline_are_refused():
    """A run file of other baselines was copied; the grid would take them for shorter ones."""
    fits = image_size(Imaging(npixel=128, cell_rad=0.49 * FRINGE), UVW, FREQUENCY, 35.0)
    assert fits[:2] == (128, 128)
    with pytest.raises(InputError, match=r"too coarse for baselines of 200 m.*max_m: 195.9"):
        image_size(Imaging(npixel=128, cell_rad=0.51 * FRINGE), UVW, FREQUENCY, 35.0)


def test_w_needs_no_finer_pixels():
    """The phase of w is not a fringe on the grid."""
    low = np.array([[20.0, 0.0, 200.0]])
    assert image_size(Imaging(npixel=64, cell_rad=FRINGE), low, FREQUENCY, 35.0)[2] == FRINGE


@pytest.mark.parametrize("rounding", ["fft", "power_of_two"])
def test_a_size_that_is_given_needs_no_diameter(rounding):
    """Without one the advice is no field at all, and is not asked for."""
    given = Imaging(npixel=128, cell_rad=FRINGE / 10, size_rounding=rounding)
    assert image_size(given, UVW, FREQUENCY, np.inf) == (128, 128, FRINGE / 10)
