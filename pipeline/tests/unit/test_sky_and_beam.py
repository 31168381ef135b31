import numpy as np
import pytest
from astropy.table import Table
from astropy.wcs import WCS

from arl.beam import airy_power, beam_power
from arl.conventions import C
from arl.errors import InputError
from arl.sky import in_field, lmn_of, load_catalogue, snap_to_pixels, spectrum

RA0, DEC0 = np.radians([30.0, -60.0])


def test_the_shipped_catalogue_is_complete():
    sky = load_catalogue("gleam")
    assert len(sky) == 7260
    assert np.degrees(sky.ra[0]) == pytest.approx(329.284576)
    assert sky.flux[0] == pytest.approx(87.1711)
    assert sky.spectral_index[0] == pytest.approx(-0.4873)


def test_the_field_holds_what_astropys_projection_puts_on_the_image():
    cell = 1.5904e-3
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---SIN", "DEC--SIN"], [30.0, -60.0]
    wcs.wcs.cdelt, wcs.wcs.crpix = [-np.degrees(cell), np.degrees(cell)], [256, 257]
    bright = load_catalogue("gleam")
    bright = bright.select(bright.flux > 1.0)
    x, y = wcs.all_world2pix(np.degrees(bright.ra), np.degrees(bright.dec), 1)
    expected = np.sum((x >= 1) & (x <= 512) & (y >= 1) & (y <= 512))
    assert len(in_field(bright, RA0, DEC0, 512, cell)) == expected > 1000


def test_a_power_law_spectrum():
    sky = load_catalogue("gleam").select(np.array([0]))
    flux = spectrum(sky, np.array([200e6, 100e6]))
    assert flux[0, 0] == pytest.approx(87.1711)
    assert flux[0, 1] == pytest.approx(87.1711 * 2**0.4873)


def test_snapping_moves_components_to_pixel_centres():
    cell = 1.5904e-3
    sky = snap_to_pixels(in_field(load_catalogue("gleam"), RA0, DEC0, 256, cell), RA0, DEC0, cell)
    pixels = lmn_of(sky, RA0, DEC0)[:, :2] / cell
    np.testing.assert_allclose(pixels, np.round(pixels), atol=1e-8)


@pytest.mark.parametrize("suffix", ["fits", "xml", "csv"])
def test_a_users_catalogue_in_the_published_columns(tmp_path, suffix):
    path = tmp_path / f"egc.{suffix}"
    table = Table({"RAJ2000": [10.0, 20.0], "DEJ2000": [-30.0, -31.0], "Fintwide": [1.0, 2.0],
                   "alpha": [-0.8, np.nan]})
    table.write(path, format={"fits": "fits", "xml": "votable", "csv": "ascii.csv"}[suffix])
    sky = load_catalogue(str(path))
    np.testing.assert_allclose(np.degrees(sky.ra), [10, 20])
    np.testing.assert_allclose(sky.spectral_index, [-0.8, 0.0])


def test_a_source_of_the_published_catalogue_without_a_fit_has_its_wide_band_flux(tmp_path):
    """Fintfit200 is empty where no spectrum fitted (VizieR VIII/100, note 1)."""
    path = tmp_path / "egc.fits"
    Table({"RAJ2000": [10.0, 20.0], "DEJ2000": [-30.0, -31.0], "Fpwide": [0.9, 1.8],
           "Fintwide": [1.0, 2.0], "Fintfit200": [1.1, np.nan],
           "alpha": [-0.8, np.nan]}).write(path)
    np.testing.assert_allclose(load_catalogue(str(path)).flux, [1.1, 2.0])


def test_a_csv_of_components_with_spectra_and_sizes(tmp_path):
    path = tmp_path / "model.csv"
    path.write_text(
        "# a comment\nra_deg,dec_deg,flux_jy,spectral_index,spectral_curvature,"
        "reference_frequency_hz,major_arcsec,minor_arcsec,position_angle_deg\n"
        "10,-30,2,-0.7,0.5,1.5e8,60,30,20\n11,-30,1,,,,,,\n12,-30,1,,,,36,,\n")
    sky = load_catalogue(str(path))
    # log10 S = log10 2 - 0.7 x + 0.5 x^2 at x = 1
    np.testing.assert_allclose(spectrum(sky, np.array([1.5e9]))[:, 0],
                               [2 * 10**-0.2, 1.0, 1.0])
    np.testing.assert_allclose(np.degrees(sky.shape) * [3600, 3600, 1],
                               [[60, 30, 20], [0, 0, 0], [36, 36, 0]])


@pytest.mark.parametrize(("text", "words"), [
    ("ra_deg,dec_deg,flux_jy\n1,2,bright\n", "Column flux_jy of catalogue .* not a number"),
    ("ra_deg,flux_jy\n1,2\n", "no column for dec: name one of them dec_deg or DEJ2000"),
    ("ra_deg,dec_deg,flux_jy\n", "no row with a position and a flux"),
    ("ra_deg,dec_deg,flux_jy,major_arcsec\n1,2,3,-4\n", "a size below 0"),
])
def test_what_is_wrong_with_a_catalogue_is_said(tmp_path, text, words):
    path = tmp_path / "poor.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        load_catalogue(str(path))


@pytest.mark.parametrize(("name", "words"), [
    ("poor.fits", r"can't be read as FITS: it is not a FITS file, or broken\.$"),
    ("poor.csv", "has no column for ra"),
    ("poor.py", r"neither CSV \(a name in \.csv\) nor FITS \(\.fits\) nor a VOTable\.$"),
])
def test_a_file_that_is_no_table_is_refused(tmp_path, name, words):
    path = tmp_path / name
    path.write_text("no table")
    with pytest.raises(InputError, match=words):
        load_catalogue(str(path))


def test_a_catalogue_without_fluxes_is_refused(tmp_path):
    path = tmp_path / "poor.csv"
    path.write_text("ra_deg,dec_deg\n1,2\n")
    with pytest.raises(InputError, match="no column for flux"):
        load_catalogue(str(path))


def test_the_airy_pattern_has_its_null_and_half_power():
    frequency, diameter = np.array([100e6]), 35.0
    null = 1.2196699 * C / frequency[0] / diameter
    half = 0.5144897 * C / frequency[0] / diameter
    power = airy_power(np.array([0.0, null, half]), np.zeros(3), frequency, diameter)
    np.testing.assert_allclose(power[:, 0], [1.0, 0.0, 0.5], atol=2e-5)


def test_a_beam_profile_from_a_file_scales_with_wavelength(tmp_path):
    path = tmp_path / "beam.csv"
    path.write_text("# frequency_hz: 100e6\nangle_deg,power\n0,1\n10,0\n")
    l = np.sin(np.radians([0.0, 5.0, 2.5]))
    power = beam_power(str(path), l, np.zeros(3), np.array([100e6, 200e6]), 35.0)
    np.testing.assert_allclose(power, [[1, 1], [0.5, 0], [0.75, 0.5]], atol=1e-12)


def test_an_unreadable_beam_is_refused():
    with pytest.raises(InputError, match="not airy, none"):
        beam_power("nowhere.csv", np.zeros(1), np.zeros(1), np.array([1e8]), 35.0)


@pytest.mark.parametrize(("text", "words"), [
    ("angle_deg,power\n0,1\n", "the frequency is missing"),
    ("# frequency_hz: 1e8\nangle,power\n0,1\n1,0\n", "columns angle_deg, power"),
    ("# frequency_hz: 1e8\nangle_deg,power\n0,1\n0,0\n", "each larger than the one before"),
    ("# frequency_hz: 0\nangle_deg,power\n0,1\n1,0\n", "a frequency above 0"),
    ("# frequency_hz: 1e8\nangle_deg,power\n0,1\n1,?\n", "finite power"),
])
def test_what_is_wrong_with_a_beam_is_said(tmp_path, text, words):
    path = tmp_path / "beam.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        beam_power(str(path), np.zeros(1), np.zeros(1), np.array([1e8]), 35.0)
