import numpy as np
import pytest
from direct import direct_sum

from arl.conventions import lmn
from arl.simulation import (
    corrupt,
    predict_components,
    random_gains,
    sidereal_seconds,
    sigma_from_sefd,
    thermal_noise,
)

REGULAR = np.linspace(90e6, 110e6, 7)
IRREGULAR = np.array([90e6, 91e6, 110e6])


@pytest.mark.parametrize("frequency", [REGULAR, IRREGULAR, REGULAR[:1]])
def test_prediction_is_the_direct_sum_in_a_wide_field(uvw, frequency):
    generator = np.random.default_rng(1)
    directions = lmn(*generator.uniform(-0.35, 0.35, (2, 20)))
    flux = generator.uniform(0.1, 5.0, (20, frequency.size))
    expected = direct_sum(uvw, frequency, directions, flux)
    found = predict_components(uvw, frequency, directions, flux)
    assert np.abs(found - expected).max() < 1e-9 * np.abs(expected).max()


def test_a_source_at_the_phase_centre_has_zero_phase(uvw):
    vis = predict_components(uvw, REGULAR, np.array([[0.0, 0.0, 1.0]]), np.full((1, 7), 2.0))
    np.testing.assert_allclose(vis, 2.0, atol=1e-12)


def test_a_partition_made_alone_has_the_gains_of_the_whole():
    whole = random_gains(7, np.arange(6), np.arange(4), 5, 1.0, 0.1)
    part = random_gains(7, np.arange(2, 4), np.arange(1, 3), 5, 1.0, 0.1)
    np.testing.assert_array_equal(part, whole[2:4, :, 1:3])
    assert not np.array_equal(whole, random_gains(8, np.arange(6), np.arange(4), 5, 1.0, 0.1))


def test_gain_errors_have_the_asked_spread():
    gains = random_gains(3, np.arange(40), np.arange(40), 20, 0.3, 0.1)
    assert np.angle(gains).std() == pytest.approx(0.3, rel=0.02)
    assert np.abs(gains).std() == pytest.approx(0.1, rel=0.02)


def test_noise_has_the_asked_spread_and_no_bias():
    noise = thermal_noise(3, np.arange(20), np.arange(10), 500, 2.0)
    assert noise.real.std() == pytest.approx(2.0, rel=0.02)
    assert noise.imag.std() == pytest.approx(2.0, rel=0.02)
    assert abs(noise.mean()) < 5 * 2.0 * np.sqrt(2 / noise.size)
    np.testing.assert_array_equal(
        thermal_noise(3, np.array([4]), np.array([6]), 500, 2.0), noise[4:5, :, 6:7])


def test_corruption_is_p_times_conjugate_q(pairs, layout):
    first, second = pairs
    gains = random_gains(1, np.arange(1), np.arange(1), len(layout.names), 1.0, 0.2)
    vis = corrupt(np.ones((1, first.size, 1), complex), gains, first, second)
    expected = gains[0, first[10], 0] * np.conj(gains[0, second[10], 0])
    assert vis[0, 10, 0] == pytest.approx(expected)


def test_radiometer_equation():
    # 1000 Jy over 1 MHz and 1 s: 1000 / sqrt(2e6) in one polarisation, sqrt(2) less for two
    assert sigma_from_sefd(1000.0, 1e6, 1.0) == pytest.approx(1000 / np.sqrt(2e6) / np.sqrt(2))


def test_a_sidereal_day_is_shorter_than_a_day():
    assert sidereal_seconds(np.array(2 * np.pi)) == pytest.approx(86164.09, abs=0.01)


def test_a_gaussian_is_the_sum_of_the_points_it_is_made_of():
    """Points on a fine grid with the weights exp(-4 ln 2 (x^2 / a^2 + y^2 / b^2)), summed."""
    rng = np.random.default_rng(4)
    uvw = rng.normal(scale=800, size=(2, 5, 3)) * [1, 1, 0.0]
    frequency = np.array([1e8, 1.4e8])
    major, minor, angle = 3e-3, 1.5e-3, 0.6
    x, y = (p.ravel() for p in np.meshgrid(*2 * [np.linspace(-7.5e-3, 7.5e-3, 121)]))
    weight = np.exp(-4 * np.log(2) * ((x / major) ** 2 + (y / minor) ** 2))
    l = x * np.sin(angle) + y * np.cos(angle)  # the angle runs from north through east
    m = x * np.cos(angle) - y * np.sin(angle)
    flux = np.outer(weight / weight.sum(), [2.0, 3.0])
    expected = direct_sum(uvw, frequency, np.stack([l, m, np.ones_like(l)], axis=1), flux)
    found = predict_components(uvw, frequency, np.array([[0.0, 0.0, 1.0]]),
                               np.array([[2.0, 3.0]]), np.array([[major, minor, angle]]))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.abs(found).min() < 0.5


def test_points_and_gaussians_add_up():
    uvw = np.random.default_rng(5).normal(scale=100, size=(1, 4, 3))
    frequency, lm = np.array([1e8]), np.array([[0.1, 0.0], [0.0, 0.2]])
    lmn = np.concatenate([lm, np.sqrt(1 - (lm**2).sum(axis=1, keepdims=True))], axis=1)
    flux, shape = np.array([[1.0], [2.0]]), np.array([[0.0, 0, 0], [2e-3, 1e-3, 0.3]])
    both = predict_components(uvw, frequency, lmn, flux, shape)
    parts = [predict_components(uvw, frequency, lmn[[k]], flux[[k]], shape[[k]]) for k in (0, 1)]
    np.testing.assert_allclose(both, sum(parts))
