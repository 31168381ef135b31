import numpy as np
import pytest

from arl.conventions import lm_axis
from arl.restoration import Beam, fit_beam, gaussian, restore

ROUND, LONG, WIDE = (0.012, 0.010, 1.2), (0.030, 0.004, 0.3), (0.120, 0.080, 2.5)


def psf_of(beam, npixel, cell):
    axis = lm_axis(npixel, cell)
    return gaussian(beam, axis[:, None], axis[None, :])


@pytest.mark.parametrize(("shape", "npixel", "cell"), [
    (ROUND, 64, 4e-3), (LONG, 256, 1e-3), (WIDE, 512, 1e-3)])
def test_beams_long_or_oversampled_are_fitted(shape, npixel, cell):
    found = fit_beam(psf_of(Beam(*shape), npixel, cell), cell)
    assert (found.major, found.minor) == pytest.approx(shape[:2], rel=1e-5)
    assert found.position_angle == pytest.approx(shape[2], abs=1e-5)


def test_sidelobes_do_not_enter_the_fit():
    beam = Beam(0.012, 0.010, 1.2)
    psf = psf_of(beam, 128, 2e-3)
    axis = lm_axis(128, 2e-3)
    away = np.hypot(axis[:, None], axis[None, :]) > 0.03
    psf += 0.35 * away * np.random.default_rng(1).uniform(-1, 1, psf.shape)
    found = fit_beam(psf, 2e-3)
    assert (found.major, found.minor) == pytest.approx((0.012, 0.010), rel=1e-5)


def test_the_position_angle_turns_from_north_to_east():
    """East is +l, the first axis: a beam at 90 degrees is long along it."""
    image = psf_of(Beam(0.04, 0.01, np.pi / 2), 64, 2e-3)
    # 0.008 rad off: a fifth of the major, four fifths of the minor width
    assert image[36, 32] == pytest.approx(np.exp(-4 * np.log(2) / 25))
    assert image[32, 36] == pytest.approx(np.exp(-4 * np.log(2) * 16 / 25))


def test_the_area_is_the_integral():
    beam = Beam(0.02, 0.013, 0.7)
    assert beam.area == pytest.approx(psf_of(beam, 256, 1e-3).sum() * 1e-6, rel=1e-6)


@pytest.mark.parametrize("corner", [(0, 0), (0, 63), (63, 31)])
def test_a_corner_does_not_wrap_around(corner):
    model = np.zeros((64, 64))
    model[corner] = 1.0
    image = restore(model, np.zeros((64, 64)), Beam(0.05, 0.03, 0.4), 4e-3)
    i, j = np.indices(image.shape)
    far = np.hypot(i - corner[0], j - corner[1]) * 4e-3 > 0.15
    assert image[corner] == pytest.approx(1.0, rel=1e-9)
    assert np.abs(image[far]).max() < 1e-9


def test_a_beam_of_many_images_takes_no_more_than_the_images():
    beam, cell = Beam(40.0, 30.0, 0.4), 4e-3
    model = np.zeros((32, 32))
    model[3, 5], model[31, 31] = 2.0, 1.0
    l, m = np.meshgrid(lm_axis(32, cell), lm_axis(32, cell), indexing="ij")
    direct = sum(s * gaussian(beam, l - l[at], m - m[at])
                 for s, at in ((2.0, (3, 5)), (1.0, (31, 31))))
    np.testing.assert_allclose(restore(model, np.zeros((32, 32)), beam, cell), direct, rtol=1e-12)
