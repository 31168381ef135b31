"""A bright source outside the images: a border in which it is cleaned takes its sidelobes away."""

from __future__ import annotations

import numpy as np
import pytest
from small_field import CELL, CENTRE, seen, small_array
from small_runs import perform
from written_ms import all_rows, write_ms

from arl.io.fits import read_image

pytestmark = pytest.mark.integration

NPIXEL = 64
#: A source of 1 Jy within the images, and one of 30 Jy 44 pixels from their middle, outside.
PIXELS, FLUX = np.array([[10, -7], [44, 6]]), np.array([1.0, 30.0])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("border")
    array, frequency = small_array(np.linspace(-30, 30, 7)), np.array([95e6, 105e6])
    vis = seen(array, frequency, PIXELS, FLUX)
    write_ms(place / "a.ms", all_rows(array.uvw, 1.5e9 + 2400.0 * np.arange(7), array.pairs,
                                      vis[..., None].repeat(2, axis=-1)), frequency,
             correlations=("XX", "YY"), n_antenna=array.n_antenna, phase_centre=CENTRE)
    return place


def imaged(folder, cluster, name, border, weighting="natural"):
    """The written residual, model and header of a run."""
    store = perform(folder, {
        "input": {"measurement_set": "a.ms"},
        "imaging": {"npixel": NPIXEL, "cell_rad": CELL, "clean_border": border,
                    "weighting": weighting, "clean": {"scales": [0]}}},
        cluster, name, ("model", "image"))
    residual, header = read_image(store.folder / "image" / "residual_combined.fits")
    model, _ = read_image(store.folder / "image" / "model_combined.fits")
    psf, _ = read_image(store.folder / "image" / "psf_combined.fits")
    return residual, model, psf, header, store.read_stage("image")["quality"]


def test_a_source_in_the_border_leaves_no_sidelobes_in_the_image(folder, one_worker):
    without, _, psf, _, _ = imaged(folder, one_worker, "without", 0.0)
    within_it, model, same_psf, header, quality = imaged(folder, one_worker, "within", 0.25)
    assert within_it.shape == without.shape == (NPIXEL, NPIXEL)
    assert within_it.std() < without.std() / 20
    assert np.abs(within_it).max() < 0.02
    assert np.abs(without).max() > 0.5
    middle = NPIXEL // 2
    assert model[tuple(PIXELS[0] + middle)] == pytest.approx(1.0, abs=0.03)
    assert header["CRPIX2"] == middle + 1
    np.testing.assert_allclose(psf, same_psf, atol=1e-4)  # the same centre
    assert quality["residual_rms_jy"] == pytest.approx(
        np.sqrt(np.mean(within_it.astype(float) ** 2)), rel=1e-5)


def test_a_border_changes_no_weights(folder, one_worker):
    """The uv-cells of uniform weights are those of the images' own field."""
    _, _, one, _, _ = imaged(folder, one_worker, "uniform", 0.0, "uniform")
    _, _, other, _, _ = imaged(folder, one_worker, "uniform-border", 0.25, "uniform")
    np.testing.assert_allclose(one, other, atol=1e-4)
