import subprocess
import sys

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse

from arl import quality
from arl.conventions import lm_axis
from arl.errors import InputError
from arl.restoration import Beam, gaussian

NPIXEL, CELL = 128, 1.6e-3
BEAM = Beam(5.5e-3, 4.2e-3, 0.5)


def sky(l, m, flux):
    axis = lm_axis(NPIXEL, CELL)
    return sum(s * gaussian(BEAM, axis[:, None] - x, axis[None, :] - y)
               for x, y, s in zip(l, m, flux, strict=True))


def test_the_robust_rms_is_sigma_in_spite_of_sources():
    values = np.random.default_rng(1).normal(0.0, 2.0, (200, 200))
    values[:3, :50] = 1e4
    assert quality.robust_rms(values) == pytest.approx(2.0, rel=0.03)


def test_statistics_of_what_is_known():
    noise = np.random.default_rng(2).normal(0.0, 3.0, (300, 300))
    found = quality.image_statistics(noise)
    assert found.rms == pytest.approx(3.0, rel=0.01)
    assert abs(found.skew) < 0.03
    assert abs(found.kurtosis) < 0.06
    exponential = np.random.default_rng(3).exponential(1.0, (400, 400))
    assert quality.image_statistics(exponential).skew == pytest.approx(2.0, rel=0.1)
    assert quality.image_statistics(exponential).kurtosis == pytest.approx(6.0, rel=0.3)


def test_a_mask_leaves_out_pixels():
    image = np.array([[1.0, -5.0], [1.0, 1.0]])
    found = quality.image_statistics(image, image > 0)
    assert (found.peak, found.minimum, found.rms) == (1.0, 1.0, 1.0)
    with pytest.raises(InputError, match="no pixel"):
        quality.image_statistics(image, image > 9)


def test_off_source_pixels_are_those_outside_the_circles():
    away = quality.off_source(NPIXEL, CELL, [10 * CELL], [-62.5 * CELL], 3 * CELL)
    i, j = np.indices((NPIXEL, NPIXEL)) - NPIXEL // 2
    np.testing.assert_array_equal(away, np.hypot(i - 10, j + 62.5) > 3)


def test_isolation_asks_for_distance_and_for_relative_flux():
    b = BEAM.major
    l = np.array([0.0, 1.9, 10.0, 11.9, 20.0, 22.1]) * b
    flux = np.array([1.0, 0.05, 1.0, 0.2, 1.0, 1.0])
    found = quality.isolated(l, np.zeros(6), flux, BEAM)
    assert found.tolist() == [True, False, False, False, True, True]


def test_fits_are_exact_off_the_grid_and_at_the_rim():
    rim = CELL * (NPIXEL // 2 - 1)
    l, m = np.array([0.4, -20.3, 30.49]) * CELL, np.array([-0.3, 15.5, -8.25]) * CELL
    l, m = np.append(l, rim), np.append(m, 0.0)
    flux = np.array([2.0, 0.7, 5.0, 1.0])
    shift = 0.4 * CELL
    found = quality.fit_sources(sky(l, m, flux), l + shift, m - shift, 0.6 * flux, BEAM, CELL)
    np.testing.assert_allclose(found.flux, flux, rtol=1e-6)
    np.testing.assert_allclose(found.l, l, atol=1e-6 * CELL)
    np.testing.assert_allclose(found.m, m, atol=1e-6 * CELL)
    assert found.converged.all()


def test_neighbours_share_a_fit():
    l, m = np.array([0.0, 1.2 * BEAM.major]), np.array([0.1, 0.3]) * CELL
    flux = np.array([1.0, 4.0])
    image = sky(l, m, flux)
    together = quality.fit_sources(image, l, m, flux, BEAM, CELL,
                                   wanted=np.array([True, False]))
    assert together.flux[0] == pytest.approx(1.0, rel=1e-5)
    assert np.isnan(together.flux[1])
    alone = quality.fit_sources(image, l[:1], m[:1], flux[:1], BEAM, CELL)
    assert not abs(alone.flux[0] - 1.0) < 0.05  # nor NaN: what the joint fit is for


@pytest.fixture
def fits(monkeypatch):
    """What scipy's least squares returned, each time that a group was fitted."""
    results = []

    def recorded(*arguments, **settings):
        results.append(least_squares(*arguments, **settings))
        return results[-1]

    least_squares = scipy.optimize.least_squares
    monkeypatch.setattr(scipy.optimize, "least_squares", recorded)
    return results


def test_a_crowd_that_touches_is_fitted_in_few_steps_of_sparse_derivatives(fits):
    # 20 x 20 sources, each within two beams of the next: one group of 1200 parameters
    axis = 1.6 * BEAM.major * (np.arange(20) - 9.5)
    random = np.random.default_rng(6)
    l, m = (x.ravel() + random.normal(0, 0.1 * BEAM.minor, 400) for x in np.meshgrid(axis, axis))
    flux = random.uniform(1.0, 10.0, 400)
    found = quality.fit_sources(sky(l, m, flux), l + 0.1 * BEAM.minor, m, 1.05 * flux, BEAM, CELL)
    # 1200 parameters: differences of models, or a full matrix, would take minutes
    (fit,) = fits
    assert fit.nfev < 20
    assert scipy.sparse.issparse(fit.jac)
    assert fit.jac.shape[1] == 1200
    assert fit.jac.nnz < 0.05 * np.prod(fit.jac.shape)
    assert found.converged.all()
    np.testing.assert_allclose(found.flux, flux, rtol=1e-5)
    np.testing.assert_allclose(found.l, l, atol=1e-5 * BEAM.major)


def test_sources_that_no_beam_tells_apart_do_not_hold_a_fit_up(fits):
    random = np.random.default_rng(7)
    l, m = random.normal(0, 0.7 * BEAM.major, (2, 40))
    flux = np.r_[20.0, random.uniform(0.1, 1.0, 39)]
    image = sky(l, m, flux) + random.normal(0, 0.03, (NPIXEL, NPIXEL))
    found = quality.fit_sources(image, l, m, flux, BEAM, CELL, wanted=flux > 10)
    assert sum(fit.nfev for fit in fits) <= quality.MOST_STEPS
    assert found.flux[0] == pytest.approx(20.0, rel=0.3)


def test_a_source_that_is_not_there_does_not_count_as_fitted():
    l = np.array([20 * CELL, 0.0])
    image = sky([20.0 * CELL + 1.3 * BEAM.major], [0.0], [1.0])
    found = quality.fit_sources(image, l[:1], np.zeros(1), np.ones(1), BEAM, CELL)
    assert not found.converged[0]
    assert np.isnan(found.flux[0])


def test_fits_have_the_noise_of_theory():
    """Flux error of a least-squares fit in white noise: after Condon 1997, PASP 109, 166.

    Of fixed shape g the flux has variance sigma^2 / sum(g^2), and sum(g^2) = area / (2 cell^2);
    the position is odd where g is even and does not add to it.
    """
    generator = np.random.default_rng(4)
    axis = np.arange(-7, 8) * 8.0 * CELL
    l, m = (x.ravel() + 0.3 * CELL for x in np.meshgrid(axis, axis))
    image = sky(l, m, np.ones(l.size)) + generator.normal(0, 0.01, (NPIXEL, NPIXEL))
    found = quality.fit_sources(image, l, m, np.ones(l.size), BEAM, CELL)
    theory = 0.01 * np.sqrt(2 * CELL**2 / BEAM.area)
    assert np.std(found.flux) == pytest.approx(theory, rel=0.2)
    assert np.mean(found.flux) == pytest.approx(1.0, abs=4 * theory / np.sqrt(l.size))


def test_truth_is_matched_with_its_isolated_sources():
    l, m = np.array([-40, 0, 2, 40, 45.0]) * CELL, np.array([5.2, 0, 0, -9.4, 30]) * CELL
    true = np.array([1.0, 2.0, 1.5, 3.0, 0.01])
    moved = 0.05 * BEAM.major
    image = sky(l + moved, m, 0.98 * true)
    found = quality.match_truth(image, l, m, true, BEAM, CELL, flux_limit=0.5)
    assert found.index.tolist() == [0, 1, 2, 3]
    assert found.isolated.tolist() == [True, False, False, True]
    assert found.n == 2
    assert found.ratio_median == pytest.approx(0.98, rel=1e-4)
    assert found.ratio_scatter < 1e-4
    assert found.position_offset_beam == pytest.approx(0.05, rel=1e-2)
    np.testing.assert_allclose(found.offset_l_beam, 0.05, rtol=1e-2)
    np.testing.assert_allclose(found.offset_m_beam, 0.0, atol=1e-3)


@pytest.mark.parametrize("share", [0.05, 0.1, 1.0, 4.0])
def test_a_wide_source_is_not_taken_for_a_point(share):
    """Of a perfect model of three points and a Gaussian only points are compared: the ratio is 1.

    A fit of the beam to a Gaussian as wide as it would show two thirds of its flux. A point that
    the wide one reaches is not isolated. Gaussians convolve to one of the sum of their squares.
    """
    size = np.array([0.0, 0.0, 0.0, share * BEAM.major])
    l, m = np.array([-50, 40, 0, 0]) * CELL, np.array([10, -30, 11, 0]) * CELL
    flux = np.array([1.0, 2.0, 3.0, 3.0])
    wide = Beam(np.hypot(BEAM.major, size[3]), np.hypot(BEAM.minor, size[3]), BEAM.position_angle)
    axis = lm_axis(NPIXEL, CELL)
    image = sky(l[:3], m[:3], flux[:3]) + flux[3] * BEAM.area / wide.area * gaussian(
        wide, axis[:, None], axis[None, :])
    found = quality.match_truth(image, l, m, flux, BEAM, CELL, flux_limit=0.5, size=size)
    assert found.index.tolist() == ([0, 1, 2, 3] if share <= 0.1 else [0, 1, 2])
    assert found.isolated[:3].tolist() == [True, True, share < 4.0]
    np.testing.assert_allclose((found.flux / found.true_flux)[found.isolated], 1.0, atol=9e-3)


def test_a_wide_source_need_not_be_found_but_may_be():
    image = sky([0.0], [0.0], [0.4]) + sky([0.05], [0.02], [1.0])
    l, m, flux = np.array([0.0, 0.05]), np.array([0.0, 0.02]), np.array([1.0, 1.0])
    found = quality.detection(image, 0.09, l, m, flux, BEAM, CELL, size=np.array([1e-3, 0.0]))
    assert (found.found, found.completeness, found.reliability) == (1, 1.0, 1.0)


def test_no_source_above_the_limit_is_no_number():
    found = quality.match_truth(np.zeros((32, 32)), [0.0], [0.0], [0.1], BEAM, CELL, flux_limit=0.5)
    assert found.n == 0
    assert np.isnan(found.ratio_median)


def test_differing_lists_are_refused():
    with pytest.raises(InputError, match="differ in number"):
        quality.fit_sources(np.zeros((8, 8)), [0.0], [0.0, 1.0], [1.0], BEAM, CELL)


def test_a_source_serves_one_partner_the_nearest():
    found = quality.cross_match(
        np.array([0.0, 0.1, 5.0]), np.zeros(3), np.array([0.02, 9.0]), np.zeros(2), 0.5)
    assert found.index.tolist() == [0, -1, -1]
    assert found.fraction == pytest.approx(1 / 3)
    assert quality.cross_match(np.zeros(2), np.zeros(2), [], [], 1.0).fraction == 0.0


def test_found_sources_are_those_that_are_there():
    """Of nine true sources one is not in the image and one is below 10 sigma; one found is false.

    Two of 5 Jy lie within two beams of each other and are not isolated.
    """
    l = np.array([-60, -40, -20, 0, 20, 40, 60, 0, 6.0]) * CELL
    m = np.array([-50, 30, -10, 40, 20.4, -30.3, 0.5, -50, -50]) * CELL
    flux = np.array([1.0, 2, 3, 1, 1, 0.09, 1, 5, 5])
    there = np.arange(9) != 4
    image = sky(l[there], m[there], flux[there]) + sky([-0.06], [0.07], [0.4])
    image += np.random.default_rng(5).normal(0, 0.01, image.shape)
    found = quality.detection(image, 0.01, l, m, flux, BEAM, CELL)
    assert found.found == 9
    assert found.completeness == pytest.approx(5 / 6)
    assert (found.bright, found.bright_completeness) == (6, pytest.approx(5 / 6))
    assert found.reliability == pytest.approx(8 / 9)


def test_a_bright_source_of_which_little_is_left_is_found_but_not_there():
    """Of four one has 0.4 of its flux, one 0.7, and one of 30 sigma is not bright: the noise is of
    no image, but what the limits are made from. A companion takes no part in that of its source."""
    l = np.array([-50, -10, 30, 10, 50, 31.0]) * CELL
    m = np.array([-40, -30, 40, 0, 0, 40.5]) * CELL
    flux = np.array([1.0, 2.0, 3.0, 4.0, 0.3, 0.1])
    image = sky(l, m, flux * [1.0, 0.4, 1.0, 0.7, 0.6, 1.0])
    found = quality.detection(image, 0.01, l, m, flux, BEAM, CELL)
    assert (found.completeness, found.bright, found.bright_completeness) == (1.0, 4, 0.75)


def test_peaks_are_at_their_sources_and_nowhere_else():
    l, m = np.array([-0.05, 0.03]), np.array([0.0204, -0.0597])
    found_l, found_m, value = quality.find_peaks(sky(l, m, [2.0, 1.0]), 0.1, CELL)
    order = np.argsort(found_l)
    assert np.abs(found_l[order] - l).max() <= CELL / 2
    assert np.abs(found_m[order] - m).max() <= CELL / 2
    np.testing.assert_allclose(value[order], [2.0, 1.0], rtol=0.1)


@pytest.mark.parametrize("fainter", [1.0, 0.3])
def test_sources_a_beam_and_a_half_apart_are_two(fainter):
    angle = np.arange(0, 2 * np.pi, 0.3)
    for x, y in 1.5 * BEAM.major * np.column_stack([np.cos(angle), np.sin(angle)]):
        image = sky([0.3 * CELL, x], [0.2 * CELL, y], [1.0, fainter])
        found_l, found_m, _ = quality.find_peaks(image, 0.01, CELL)
        assert np.hypot(np.sort(found_l) - np.sort([0.0, x]), 0).max() < 1.5 * CELL
        assert np.hypot(np.sort(found_m) - np.sort([0.0, y]), 0).max() < 1.5 * CELL


def test_every_peak_is_higher_than_its_neighbours():
    """In a field where sources run into one another, slopes are not taken for sources."""
    generator = np.random.default_rng(9)
    l, m = generator.uniform(-60, 60, (2, 300)) * CELL
    image = sky(l, m, generator.pareto(1.2, 300) + 0.05)
    i, j = (np.rint(x / CELL).astype(int) + NPIXEL // 2 for x in quality.find_peaks(
        image, 0.02, CELL)[:2])
    around = [image[i + a, j + b] for a in (-1, 0, 1) for b in (-1, 0, 1)]
    assert i.size > 100
    np.testing.assert_array_equal(image[i, j], np.max(around, axis=0))


def test_a_field_full_of_sources_is_no_more_than_the_finder_can_hold(monkeypatch):
    """Its buffers are of fixed sizes: 300000 pixels, 1024 sources in one piece."""
    monkeypatch.setattr(quality, "DEBLEND_LEVELS", 8)
    axis = np.arange(-100, 100, 6)
    image = np.ones((600, 600))
    image[np.ix_(axis + 300, axis + 300)] = 2.0
    found_l, found_m, _ = quality.find_peaks(image, 0.5, CELL)
    assert {*zip(np.rint(found_l / CELL), np.rint(found_m / CELL), strict=True)} == {
        (x, y) for x in axis for y in axis}


def test_what_finds_sources_is_imported_only_to_find_them():
    code = "import sys, arl.quality; assert 'sep' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_image_of_noise_and_no_truth_has_nothing_to_count():
    noise = np.random.default_rng(6).normal(0, 1.0, (64, 64))
    none = np.zeros(0)
    found = quality.detection(noise, 1.0, none, none, none, BEAM, CELL)
    assert (found.found, found.bright) == (0, 0)
    assert np.isnan(found.completeness)
    assert np.isnan(found.bright_completeness)
    assert np.isnan(found.reliability)
