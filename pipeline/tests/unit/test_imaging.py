"""Cleaning, restoring and weighting against skies and theory that are known."""

import numpy as np
import pytest

from arl import deconvolution, gridding, weighting
from arl.conventions import C, lm_axis, lmn
from arl.errors import InputError
from arl.restoration import Beam, fit_beam, gaussian, restore
from arl.simulation import predict_components

NPIXEL, CELL = 128, 4e-3
FREQUENCY = np.array([95e6, 100e6, 105e6])


def images_of(uvw, vis, weight):
    options = {"npixel": NPIXEL, "cell": CELL, "epsilon": 1e-4, "threads": 1}
    return np.stack([
        gridding.invert(uvw, FREQUENCY[k:k + 1], vis[..., k:k + 1].astype(np.complex64),
                        weight[..., k:k + 1], **options) / weight[..., k].sum()
        for k in range(FREQUENCY.size)
    ])


@pytest.mark.parametrize("scales", [(0,), (0, 3, 10)])
def test_cleaning_finds_the_sources_and_their_spectra(uvw, scales):
    axis = lm_axis(NPIXEL, CELL)
    pixels = np.array([[70, 40], [30, 90]])
    true = np.array([[10.0], [4.0]]) * (FREQUENCY / 100e6) ** np.array([[-0.7], [0.5]])
    vis = predict_components(uvw, FREQUENCY, lmn(axis[pixels[:, 0]], axis[pixels[:, 1]]), true)
    weight = np.ones(vis.shape, np.float32)
    psf = images_of(uvw, np.ones(vis.shape), weight)
    model = np.zeros_like(psf)
    dirty = residual = images_of(uvw, vis, weight)
    kept = dirty.copy()
    bands = deconvolution.Bands(FREQUENCY[:, None] + [-2.5e6, 2.5e6], weight.sum(axis=(0, 1)),
                                fit_beam(psf[1], CELL).major, CELL)
    options = deconvolution.CleanOptions(scales=scales, spectral_terms=2, threshold=0.02)
    for _ in range(4):
        model = deconvolution.clean(residual, psf, model, bands, options, threads=1).model
        predicted = np.concatenate(
            [gridding.predict(uvw, FREQUENCY[k:k + 1], model[k], cell=CELL, epsilon=1e-4,
                              threads=1) for k in range(3)], axis=-1)
        residual = images_of(uvw, vis - predicted, weight)
    np.testing.assert_array_equal(dirty, kept)
    assert np.abs(residual).max() < 0.03 * 2
    for (i, j), flux in zip(pixels, true, strict=True):
        found = model[:, i - 3:i + 4, j - 3:j + 4].sum(axis=(1, 2))
        np.testing.assert_allclose(found, flux, rtol=0.01)


def test_the_fitted_beam_is_the_gaussian_it_was_made_of():
    true = Beam(0.020, 0.012, 0.6)
    axis = lm_axis(64, CELL)
    found = fit_beam(gaussian(true, axis[:, None], axis[None, :]), CELL)
    assert (found.major, found.minor) == pytest.approx((true.major, true.minor), rel=1e-6)
    assert found.position_angle == pytest.approx(true.position_angle, abs=1e-6)


def test_the_beam_is_at_half_power_half_a_width_from_its_centre():
    beam = Beam(0.02, 0.01, np.radians(30))
    along = np.array([np.sin(beam.position_angle), np.cos(beam.position_angle)]) * beam.major / 2
    assert gaussian(beam, *along) == pytest.approx(0.5)


def test_an_empty_psf_is_refused():
    with pytest.raises(InputError, match="no visibilities"):
        fit_beam(np.zeros((32, 32)), CELL)


def test_a_restored_point_has_its_flux_at_the_peak_and_nothing_wraps_around():
    beam = Beam(0.02, 0.012, 0.4)
    model = np.zeros((64, 64))
    model[1, 40] = 3.0
    image = restore(model, np.zeros((64, 64)), beam, CELL)
    assert image[1, 40] == pytest.approx(3.0, rel=1e-9)
    axis = lm_axis(64, CELL)
    expected = 3.0 * gaussian(beam, (axis - axis[1])[:, None], (axis - axis[40])[None, :])
    np.testing.assert_allclose(image, expected, atol=1e-4)
    assert np.abs(image[-8:]).max() < 1e-9


def test_the_residual_is_kept_in_the_restored_image():
    residual = np.random.default_rng(1).standard_normal((32, 32))
    np.testing.assert_allclose(
        restore(np.zeros((32, 32)), residual, Beam(0.02, 0.02, 0), CELL), residual, atol=1e-12)


def test_uniform_weights_give_every_cell_the_same(uvw):
    weight = np.random.default_rng(1).uniform(0.5, 2, (*uvw.shape[:2], 1)).astype(np.float32)
    grid = {"npixel": NPIXEL, "cell": CELL}
    density = weighting.uv_density(uvw, FREQUENCY[:1], weight, **grid)
    new = weighting.reweight(uvw, FREQUENCY[:1], weight, density, scheme="uniform", robust=0.0,
                             cell=CELL)
    again = weighting.uv_density(uvw, FREQUENCY[:1], new, **grid)
    np.testing.assert_allclose(again[density > 0], 1.0, rtol=1e-5)


@pytest.mark.parametrize(("robust", "like"), [(7.0, "natural"), (-7.0, "uniform")])
def test_briggs_reaches_both_its_limits(uvw, robust, like):
    weight = np.random.default_rng(1).uniform(0.5, 2, (*uvw.shape[:2], 1)).astype(np.float32)
    density = weighting.uv_density(uvw, FREQUENCY[:1], weight, npixel=NPIXEL, cell=CELL)
    found = weighting.reweight(uvw, FREQUENCY[:1], weight, density, scheme="briggs",
                               robust=robust, cell=CELL)
    expected = weight if like == "natural" else weighting.reweight(
        uvw, FREQUENCY[:1], weight, density, scheme="uniform", robust=0.0, cell=CELL)
    np.testing.assert_allclose(found / found.sum(), expected / expected.sum(), rtol=1e-3)


def test_a_visibility_and_its_conjugate_share_a_cell():
    uvw = np.array([[[30.0, 10.0, 0.0], [-30.0, -10.0, 0.0]]]) * C / FREQUENCY[0]
    density = weighting.uv_density(uvw, FREQUENCY[:1], np.ones((1, 2, 1), np.float32),
                                   npixel=NPIXEL, cell=CELL)
    assert density.max() == 2.0
    assert np.count_nonzero(density) == 1
