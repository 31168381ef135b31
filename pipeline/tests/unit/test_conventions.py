import numpy as np
import pytest
from astropy.wcs import WCS

from arl.conventions import (
    from_fits_axes,
    lm_axis,
    lmn,
    lmn_to_radec,
    radec_to_lmn,
    to_fits_axes,
    uvw_rotation,
)

RA0, DEC0 = np.radians([30.0, -60.0])


def test_directions_agree_with_astropys_sin_projection():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---SIN", "DEC--SIN"]
    wcs.wcs.crval = [30.0, -60.0]
    wcs.wcs.crpix = [1.0, 1.0]
    wcs.wcs.cdelt = [1.0, 1.0]
    ra, dec = np.array([30.0, 45.0, 10.0]), np.array([-60.0, -50.0, -72.0])
    expected = np.sin(np.radians(1.0)) * 0 + np.radians(wcs.wcs_world2pix(ra, dec, 0))
    found = radec_to_lmn(np.radians(ra), np.radians(dec), RA0, DEC0)
    np.testing.assert_allclose(found[:, :2].T, expected, atol=1e-12)


def test_directions_there_and_back():
    l, m = np.array([0.0, 0.3, -0.2]), np.array([0.0, -0.1, 0.4])
    ra, dec = lmn_to_radec(l, m, RA0, DEC0)
    np.testing.assert_allclose(radec_to_lmn(ra, dec, RA0, DEC0), lmn(l, m), atol=1e-14)


def test_a_direction_has_unit_length():
    directions = radec_to_lmn(np.radians([31.0, 80.0]), np.radians([-61.0, -10.0]), RA0, DEC0)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=-1), 1.0)


@pytest.mark.parametrize("hour_angle", [-0.7, 0.0, 1.1])
def test_w_points_to_the_source(hour_angle):
    dec = -0.4
    source = np.array([np.cos(dec) * np.cos(hour_angle), -np.cos(dec) * np.sin(hour_angle),
                       np.sin(dec)])
    rotation = uvw_rotation(hour_angle, dec)
    np.testing.assert_allclose(rotation @ source, [0, 0, 1], atol=1e-14)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-14)


def test_u_is_east_and_v_is_north_at_transit():
    rotation = uvw_rotation(0.0, 0.5)
    np.testing.assert_allclose(rotation @ [0, 1, 0], [1, 0, 0], atol=1e-14)
    assert (rotation @ [0, 0, 1])[1] > 0


def test_fits_axes_put_east_left_and_north_up():
    image = np.zeros((8, 8))
    image[6, 5] = 1.0  # l > 0 (east), m > 0 (north)
    data = to_fits_axes(image)
    row, column = np.argwhere(data)[0]
    assert row == 5
    assert column == 8 - 1 - 6
    np.testing.assert_array_equal(from_fits_axes(data), image)


def test_the_middle_pixel_is_the_phase_centre():
    axis = lm_axis(8, 0.1)
    assert axis[4] == 0.0
    assert axis[0] == pytest.approx(-0.4)
