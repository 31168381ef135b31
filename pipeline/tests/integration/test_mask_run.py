"""A mask from a FITS file: what lies in it is cleaned, however bright the sky is outside."""

from __future__ import annotations

import numpy as np
import pytest
from small_field import CELL, CENTRE, NPIXEL, seen, small_array
from small_runs import perform
from written_ms import all_rows, write_ms

from arl.io.fits import ImageHeader, read_image, write_image

pytestmark = pytest.mark.integration

#: A source of 5 Jy inside the mask, where sidelobes of the one of 50 Jy outside are below 0.2 Jy:
#: pixels from the centre.
PIXELS, FLUX = np.array([[22, -1], [-24, 26]]), np.array([5.0, 50.0])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("mask")
    hour_angle, frequency = np.linspace(-45, 45, 31), np.array([95e6, 105e6])
    array = small_array(hour_angle)
    vis = seen(array, frequency, PIXELS, FLUX)
    write_ms(place / "a.ms", all_rows(array.uvw, 1.5e9 + 720.0 * np.arange(31), array.pairs,
                                      vis[..., None].repeat(2, axis=-1)), frequency,
             correlations=("XX", "YY"), n_antenna=array.n_antenna, phase_centre=CENTRE)
    return place


def test_the_source_in_the_mask_is_cleaned_to_its_flux_and_nothing_outside(folder, one_worker):
    i, j = PIXELS[0] + NPIXEL // 2
    mask = np.zeros((NPIXEL, NPIXEL), bool)
    mask[i - 5:i + 6, j - 4:j + 5] = True
    write_image(folder / "mask.fits", mask.astype(np.float32), ImageHeader(
        CELL, CENTRE, 100e6, 20e6, "", None, "2017-07-14T02:40:00", "mask", "test", "TOPO"))
    store = perform(folder, {
        "input": {"measurement_set": "a.ms"},
        "imaging": {"npixel": NPIXEL, "cell_rad": CELL, "mask": "mask.fits",
                    "weighting": "uniform", "clean": {"scales": [0], "auto_threshold": 0.5}}},
        one_worker, "masked", ("model", "image"))
    model, _ = read_image(store.folder / "image" / "model_combined.fits")
    assert not model[~mask].any()
    assert np.unravel_index(model.argmax(), model.shape) == (i, j)
    assert model.sum() == pytest.approx(5.0, rel=0.05)
