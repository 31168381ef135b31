import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from arl.conventions import lm_axis, lmn_to_radec
from arl.errors import InputError
from arl.io.fits import ImageHeader, read_image, read_mask, write_image
from arl.restoration import Beam

CENTRE = tuple(np.radians([30.0, -60.0]))
HEADER = ImageHeader(5e-3, CENTRE, 100e6, 20e6, "Jy/beam", Beam(0.02, 0.01, 0.3),
                     "2018-01-01T08:00:00", "reference", "ical", "BARY")


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
    assert header["SPECSYS"] == "BARYCENT"
    assert header["DATE-OBS"] == "2018-01-01T08:00:00"


def test_an_image_comes_back_as_it_was(tmp_path):
    image = np.random.default_rng(1).standard_normal((16, 16)).astype(np.float32)
    write_image(tmp_path / "a.fits", image, HEADER)
    found, header = read_image(tmp_path / "a.fits")
    np.testing.assert_array_equal(found, image)
    assert header["ORIGIN"] == "ical"
    assert [p.name for p in tmp_path.iterdir()] == ["a.fits"]


def test_a_mask_of_the_same_grid_comes_back_and_a_nan_masks_nothing(tmp_path):
    image = np.zeros((64, 64), np.float32)
    image[40:44, 10:12] = 1.0
    image[0, 0] = np.nan
    write_image(tmp_path / "mask.fits", image, HEADER)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.fits", 64, 5e-3, CENTRE), image == 1)


def test_a_mask_of_another_grid_covers_the_same_sky(tmp_path):
    """A file about another centre, with pixels three times as fine: found by astropy's angles."""
    other = tuple(np.radians([33.0, -58.0]))
    image = np.zeros((256, 256), np.float32)
    image[100:140, 150:170] = 1.0
    header = ImageHeader(5e-3 / 3, other, 1e8, 1e6, "", None, "2018-01-01T08:00:00", "m", "t",
                         "TOPO")
    write_image(tmp_path / "mask.fits", image, header)
    found = read_mask(tmp_path / "mask.fits", 64, 5e-3, CENTRE)
    wcs = WCS(fits.getheader(tmp_path / "mask.fits")).celestial
    axis, data = lm_axis(64, 5e-3), fits.getdata(tmp_path / "mask.fits")[0, 0]
    assert 60 < found.sum() < 120
    for i, j in [*np.argwhere(found)[::7], (0, 0), (32, 32), (60, 10)]:
        sky = SkyCoord(*lmn_to_radec(axis[i], axis[j], *CENTRE), unit="rad")
        x, y = (int(np.round(v)) for v in wcs.world_to_pixel(sky))
        inside = 0 <= x < 256 and 0 <= y < 256
        assert found[i, j] == bool(inside and data[y, x])


@pytest.mark.parametrize("what", ["text", "far"])
def test_a_mask_that_is_of_no_use_is_refused(tmp_path, what):
    path = tmp_path / "mask.fits"
    if what == "text":
        path.write_text("no image")
    else:
        write_image(path, np.ones((8, 8)), HEADER)
    centre = CENTRE if what == "text" else tuple(np.radians([80.0, 10.0]))
    with pytest.raises(InputError, match="can't be read" if what == "text" else "leaves no pixel"):
        read_mask(path, 64, 1e-3, centre)
