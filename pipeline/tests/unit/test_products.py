"""Spectral indices and beam-corrected fluxes against those that were put in."""

import numpy as np
import pytest

from arl.beam import beam_power
from arl.conventions import lm_axis
from arl.errors import InputError
from arl.products import combine_corrected, correct_beam, spectral_index

FREQUENCY = np.array([90e6, 96e6, 103e6, 110e6])


def test_the_index_is_the_injected_one_and_faint_pixels_have_none():
    true = np.linspace(-2.0, 1.0, 50).reshape(5, 10)
    images = 3.0 * (FREQUENCY[:, None, None] / 1e8) ** true
    images[:, 2, 3] = 1e-3
    images[1, 4, 4] = -1.0
    found = spectral_index(images, [0.01] * 4, FREQUENCY)
    faint = np.zeros((5, 10), bool)
    faint[2, 3] = faint[4, 4] = True
    np.testing.assert_array_equal(np.isnan(found.index), faint)
    np.testing.assert_array_equal(np.isnan(found.error), faint)
    np.testing.assert_allclose(found.index[~faint], true[~faint], atol=1e-9)


def test_the_error_is_the_scatter_of_the_index_over_many_noises():
    """Unequal noise of the bands: mean and standard deviation of 20,000 trials."""
    noise = np.array([0.02, 0.01, 0.03, 0.015])
    truth = (FREQUENCY / 1e8) ** -0.7
    draws = np.random.default_rng(1).standard_normal((4, 100, 200))
    found = spectral_index(truth[:, None, None] + noise[:, None, None] * draws, noise, FREQUENCY)
    assert found.index.std() == pytest.approx(found.error.mean(), rel=0.03)
    assert found.index.mean() == pytest.approx(-0.7, abs=0.01)
    # the same by the textbook's matrix: covariance = (A^T W A)^-1
    a = np.stack([np.ones(4), np.log(FREQUENCY)], axis=1)
    theory = np.sqrt(np.linalg.inv(a.T @ np.diag((truth / noise) ** 2) @ a)[1, 1])
    assert np.median(found.error) == pytest.approx(theory, rel=0.02)


def test_one_band_has_no_index():
    with pytest.raises(InputError, match="two bands"):
        spectral_index(np.ones((1, 4, 4)), [0.1], FREQUENCY[:1])


@pytest.fixture(scope="module")
def powers():
    axis = lm_axis(64, 2e-3)
    l, m = (x.ravel() for x in np.meshgrid(axis, axis, indexing="ij"))
    return beam_power("airy", l, m, FREQUENCY, 35.0).T.reshape(4, 64, 64)


def test_corrected_images_have_the_flux_of_the_sky_out_to_a_tenth_of_the_power(powers):
    sky = np.random.default_rng(2).uniform(1, 2, (64, 64))
    for power in powers:
        found = correct_beam(sky * power, power)
        np.testing.assert_array_equal(np.isnan(found), power < 0.1)
        np.testing.assert_allclose(found[power >= 0.1], sky[power >= 0.1], rtol=1e-12)
    together = combine_corrected(sky * powers, powers, np.array([1.0, 2.0, 3.0, 1.0]))
    seen = together.weight >= 0.01
    np.testing.assert_allclose(together.image[seen], sky[seen], rtol=1e-12)
    assert np.isnan(together.image[~seen]).all()
    assert together.weight[32, 32] == pytest.approx(1.0)


def test_the_weight_map_tells_the_noise_of_the_corrected_mean(powers):
    weight = np.array([1.0, 2.0, 3.0, 1.0])
    draws = np.random.default_rng(3).standard_normal((400, 4, 64, 64)) / np.sqrt(
        weight[:, None, None])
    found = [combine_corrected(d, powers, weight) for d in draws]
    scatter = np.std([f.image[20:45, 30] for f in found], axis=0)
    expected = 1 / np.sqrt(weight.sum() * found[0].weight[20:45, 30])
    np.testing.assert_allclose(scatter, expected, rtol=0.15)
    assert np.mean(scatter / expected) == pytest.approx(1.0, abs=0.02)
