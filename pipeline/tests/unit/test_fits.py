from dataclasses import replace

import numpy as np
import pytest
from astropy.coordinates import FK4, ICRS, Galactic, SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from arl.conventions import lm_axis, lmn_to_radec
from arl.errors import InputError
from arl.io.fits import (
    ImageHeader,
    is_image,
    place_model,
    read_image,
    read_mask,
    read_model,
    write_image,
)
from arl.restoration import Beam

CENTRE = tuple(np.radians([30.0, -60.0]))
HEADER = ImageHeader(5e-3, CENTRE, 100e6, 20e6, "Jy/beam", Beam(0.02, 0.01, 0.3),
                     "2018-01-01T08:00:00", "reference", "ical", "BARY")


#: At a pole a direction of north must be said: without LONPOLE files turn at just one of them.
POLES = [(CENTRE[0], np.radians(dec)) for dec in (90.0, -90.0)]


@pytest.mark.parametrize("centre", [CENTRE, *POLES])
def test_a_source_lands_at_its_right_ascension_and_declination(tmp_path, centre):
    image = np.zeros((128, 128), np.float32)
    i, j = 110, 30  # 15 degrees off centre
    image[i, j] = 7.0
    write_image(tmp_path / "a.fits", image, replace(HEADER, phase_centre=centre))
    with fits.open(tmp_path / "a.fits") as hdus:
        data, header = hdus[0].data[0, 0], hdus[0].header
        row, column = np.argwhere(data)[0]
        sky = WCS(header).celestial.pixel_to_world(column, row)
    axis = lm_axis(128, 5e-3)
    ra, dec = lmn_to_radec(axis[i], axis[j], *centre)
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


@pytest.mark.parametrize("centre", [CENTRE, *POLES])
def test_a_mask_of_the_same_grid_comes_back_and_a_nan_masks_nothing(tmp_path, centre):
    image = np.zeros((64, 64), np.float32)
    image[40:44, 10:12] = 1.0
    image[0, 0] = np.nan
    write_image(tmp_path / "mask.fits", image, replace(HEADER, phase_centre=centre))
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.fits", 64, 5e-3, centre), image == 1)


def test_a_compressed_mask_is_read(tmp_path):
    image = np.zeros((64, 64), np.float32)
    image[40:44, 10:12] = 1.0
    write_image(tmp_path / "mask.fits", image, HEADER)
    with fits.open(tmp_path / "mask.fits") as hdus:
        packed = fits.CompImageHDU(hdus[0].data, hdus[0].header, compression_type="GZIP_2")
        fits.HDUList([fits.PrimaryHDU(), packed]).writeto(tmp_path / "packed.fits")
    assert is_image(tmp_path / "packed.fits")
    np.testing.assert_array_equal(read_mask(tmp_path / "packed.fits", 64, 5e-3, CENTRE), image == 1)


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


#: The frames that masks and models come in, their longitudes and latitudes, and cards.
FRAMES = {
    "galactic": (Galactic(), ("GLON-SIN", "GLAT-SIN"), {}),
    "B1950": (FK4(equinox="B1950"), ("RA---SIN", "DEC--SIN"),
              {"RADESYS": "FK4", "EQUINOX": 1950.0}),
    "ICRS": (ICRS(), ("RA---SIN", "DEC--SIN"), {"RADESYS": "ICRS"}),
}


def sky_header(frame, centre, step=5e-3, latitude_first=False):
    """Cards of a model of 64 x 64 pixels about a place in ICRS (rad), in a frame's coordinates."""
    system, kinds, cards = FRAMES[frame]
    there = SkyCoord(*centre, unit="rad").transform_to(system).spherical
    first, second = (2, 1) if latitude_first else (1, 2)
    return fits.Header({
        "BUNIT": "Jy/pixel", f"CTYPE{first}": kinds[0], f"CTYPE{second}": kinds[1],
        "CRPIX1": 33.0, "CRPIX2": 33.0,
        f"CRVAL{first}": there.lon.deg, f"CRVAL{second}": there.lat.deg,
        f"CDELT{first}": -np.degrees(step), f"CDELT{second}": np.degrees(step)} | cards)


@pytest.mark.parametrize("latitude_first", [False, True])
@pytest.mark.parametrize("frame", FRAMES)
def test_a_mask_in_other_coordinates_covers_the_same_sky(tmp_path, frame, latitude_first):
    """Astropy's own angles: all pixels of the mask, and no other, are near the source."""
    source = SkyCoord(*lmn_to_radec(7 * 5e-3, -4 * 5e-3, *CENTRE), unit="rad")
    header = sky_header(frame, CENTRE, 2e-3, latitude_first)
    y, x = np.mgrid[:64, :64]
    near = WCS(header).pixel_to_world(x, y).icrs.separation(source).rad < 12e-3
    fits.PrimaryHDU(near.astype(np.float32), header).writeto(tmp_path / "mask.fits")
    found = read_mask(tmp_path / "mask.fits", 64, 5e-3, CENTRE)
    ra, dec = lmn_to_radec(*np.meshgrid(*[lm_axis(64, 5e-3)] * 2, indexing="ij"), *CENTRE)
    away = SkyCoord(ra, dec, unit="rad").separation(source).rad
    assert found[away < 10e-3].all()
    assert not found[away > 14e-3].any()


def test_a_mask_of_unknown_coordinates_is_refused(tmp_path):
    header = sky_header("ICRS", CENTRE)
    header["CTYPE1"], header["CTYPE2"] = "XLON-SIN", "XLAT-SIN"
    fits.PrimaryHDU(np.ones((64, 64), np.float32), header).writeto(tmp_path / "mask.fits")
    with pytest.raises(InputError, match="XLON-SIN and XLAT-SIN of a frame that is not known"):
        read_mask(tmp_path / "mask.fits", 64, 5e-3, CENTRE)


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


MODEL = replace(HEADER, unit="Jy/pixel", beam=None)
EDGES = np.array([[90e6, 100e6], [100e6, 110e6]])


def placed(path, npixel=64, cell=5e-3, centre=CENTRE, edges=EDGES):
    return place_model(read_model(path), npixel, cell, centre, edges)


def some_pixels(n, reach):
    """An image with ten pixels within `reach` of its centre."""
    generator, image = np.random.default_rng(2), np.zeros((n, n), np.float32)
    i, j = generator.integers(n // 2 - reach, n // 2 + reach, (2, 10))
    image[i, j] = generator.standard_normal(10)
    return image


@pytest.mark.parametrize("size", [64, 48, 96])
def test_a_model_of_any_size_comes_to_the_same_pixels(tmp_path, size):
    image = some_pixels(size, 20)
    write_image(tmp_path / "m.fits", image, MODEL)
    found = placed(tmp_path / "m.fits")
    middle = slice(32 - 20, 32 + 20)
    own = slice(size // 2 - 20, size // 2 + 20)
    np.testing.assert_array_equal(found[0, middle, middle], image[own, own])
    np.testing.assert_array_equal(found[1], found[0])
    assert np.count_nonzero(found[0]) == np.count_nonzero(image)
    assert is_image(tmp_path / "m.fits")


@pytest.mark.parametrize("centre", POLES)
def test_a_model_about_a_pole_comes_to_the_same_pixels(tmp_path, centre):
    image = some_pixels(64, 20)
    write_image(tmp_path / "m.fits", image, replace(MODEL, phase_centre=centre))
    np.testing.assert_array_equal(placed(tmp_path / "m.fits", centre=centre)[0], image)


def test_the_axes_of_a_model_of_others_are_found_by_its_coordinates(tmp_path):
    """As WSClean writes it: the reference pixel one further along right ascension."""
    sky = SkyCoord(*lmn_to_radec(7 * 5e-3, -4 * 5e-3, *CENTRE), unit="rad")
    header = fits.Header({"BUNIT": "JY/PIXEL", "CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN",
                          "CRPIX1": 33.0, "CRPIX2": 33.0, "CRVAL1": 30.0, "CRVAL2": -60.0,
                          "CDELT1": -np.degrees(5e-3), "CDELT2": np.degrees(5e-3)})
    x, y = (int(np.round(v)) for v in WCS(header).world_to_pixel(sky))
    data = np.zeros((64, 64), np.float32)
    data[y, x] = 3.0
    fits.PrimaryHDU(data, header).writeto(tmp_path / "w.fits")
    assert np.argwhere(placed(tmp_path / "w.fits")[0]).tolist() == [[32 + 7, 32 - 4]]


def test_a_model_whose_declination_runs_along_rows_is_turned(tmp_path):
    data = np.zeros((64, 64), np.float32)
    data[32 - 7, 32 - 4] = 3.0  # its rows run along right ascension, to the west
    header = sky_header("ICRS", CENTRE, latitude_first=True)
    fits.PrimaryHDU(data, header).writeto(tmp_path / "t.fits")
    assert np.argwhere(placed(tmp_path / "t.fits")[0]).tolist() == [[32 + 7, 32 - 4]]


@pytest.mark.parametrize(("frame", "centre", "words"), [
    ("B1950", CENTRE, None), ("galactic", CENTRE, "pixels beside those"),
    ("ICRS", (CENTRE[0] + np.pi, -CENTRE[1]), "flux outside")])
def test_a_model_in_other_coordinates_lies_on_our_pixels_or_is_refused(
    tmp_path, frame, centre, words
):
    """A single pixel of B1950 is a place as good as any; the grids as a whole are turned."""
    data = np.zeros((64, 64), np.float32)
    data[32, 32] = 3.0
    if words == "pixels beside those":
        data[:, 3] = 1.0
    fits.PrimaryHDU(data, sky_header(frame, centre)).writeto(tmp_path / "m.fits")
    if words is None:
        assert np.argwhere(placed(tmp_path / "m.fits")[0]).tolist() == [[32, 32]]
    else:
        with pytest.raises(InputError, match=words):
            placed(tmp_path / "m.fits")


def test_planes_are_interpolated_to_the_bands(tmp_path):
    image = some_pixels(64, 20)
    write_image(tmp_path / "m.fits", image, replace(MODEL, frequency=92e6, bandwidth=16e6))
    with fits.open(tmp_path / "m.fits") as hdus:
        two = np.concatenate([hdus[0].data, 3 * hdus[0].data], axis=1)  # at 92 and 108 MHz
        fits.PrimaryHDU(two, hdus[0].header).writeto(tmp_path / "c.fits")
    found = placed(tmp_path / "c.fits")
    np.testing.assert_allclose(found[0], (1 + 2 * 3 / 16) * image, rtol=1e-6)
    np.testing.assert_allclose(found[1], (1 + 2 * 13 / 16) * image, rtol=1e-6)
    with pytest.raises(InputError, match=r"from 84 to 116 MHz, and the bands reach from 130"):
        placed(tmp_path / "c.fits", edges=EDGES + 40e6)


@pytest.mark.parametrize(("change", "words"), [
    ({"cell": 5.1e-3}, "pixels beside those"), ({"npixel": 32}, "flux outside the 32 x 32"),
    ({"centre": (0.53, -1.05)}, "pixels beside those"),
    ({"edges": EDGES + 30e6}, "from 90 to 110 MHz, and the bands reach from 120 to 140 MHz"),
])
def test_a_model_of_another_grid_or_frequency_is_refused(tmp_path, change, words):
    write_image(tmp_path / "m.fits", some_pixels(64, 28), MODEL)
    with pytest.raises(InputError, match=words):
        placed(tmp_path / "m.fits", **change)


def test_what_is_no_model_is_refused(tmp_path):
    write_image(tmp_path / "restored.fits", some_pixels(64, 20), HEADER)
    with pytest.raises(InputError, match="is in Jy/beam; a model image is in Jy/pixel"):
        read_model(tmp_path / "restored.fits")
    write_image(tmp_path / "empty.fits", np.zeros((8, 8)), MODEL)
    with pytest.raises(InputError, match="is 0 everywhere"):
        read_model(tmp_path / "empty.fits")
    with fits.open(tmp_path / "restored.fits") as hdus:
        header = hdus[0].header
        header["BUNIT"] = "Jy/pixel"
        four = np.repeat(hdus[0].data, 4, axis=0)
        fits.PrimaryHDU(four, header).writeto(tmp_path / "iquv.fits")
        header["CRVAL4"] = 2
        fits.PrimaryHDU(four[:1], header).writeto(tmp_path / "q.fits")
    with pytest.raises(InputError, match="4 planes along STOKES"):
        read_model(tmp_path / "iquv.fits")
    with pytest.raises(InputError, match="is of Stokes Q; a model image is of Stokes I"):
        read_model(tmp_path / "q.fits")
    (tmp_path / "model.csv").write_text("ra_deg,dec_deg,flux_jy\n1,2,3\n")
    assert not is_image(tmp_path / "model.csv")
