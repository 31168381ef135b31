import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from arl.conventions import lm_axis, lmn_to_radec
from arl.io.fits import ImageHeader, read_image, write_image
from arl.restoration import Beam

CENTRE = tuple(np.radians([30.0, -60.0]))
HEADER = ImageHeader(5e-3, CENTRE, 100e6, 20e6, "Jy/beam", Beam(0.02, 0.01, 0.3),
                     "2018-01-01T08:00:00", "reference", "ical")


def test_a_source_lands_at_its_right_ascension_and_declination(tmp_path):
    image = np.zeros((128, 128), np.float32)
    i, j = 110, 30  # 15 degrees off centre
    image[i, j] = 7.0
    write_image(tmp_path / "a.fits", image, HEADER)
    with fits.open(tmp_path / "a.fits") as hdus:
        data, header = hdus[0].data[0, 0], hdus[0].header
        row, column = np.argwhere(data)[0]
        sky = WCS(header).celestial.pixel_to_world(column, row)
    axis = lm_axis(128, 5e-3)
    ra, dec = lmn_to_radec(axis[i], axis[j], *CENTRE)
    expected = SkyCoord(ra, dec, unit="rad")
    assert sky.separation(expected).arcsec < 0.1
    assert header["BUNIT"] == "Jy/beam"
    assert header["BMAJ"] == pytest.approx(np.degrees(0.02))
    assert header["BPA"] == pytest.approx(np.degrees(0.3))
    assert header["CRVAL3"] == 100e6
    assert header["DATE-OBS"] == "2018-01-01T08:00:00"


def test_an_image_comes_back_as_it_was(tmp_path):
    image = np.random.default_rng(1).standard_normal((16, 16)).astype(np.float32)
    write_image(tmp_path / "a.fits", image, HEADER)
    found, header = read_image(tmp_path / "a.fits")
    np.testing.assert_array_equal(found, image)
    assert header["ORIGIN"] == "ical"
    assert [p.name for p in tmp_path.iterdir()] == ["a.fits"]
