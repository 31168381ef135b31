"""Observations of any array, direction and length, from the run file to calibrated images."""

from __future__ import annotations

import astropy.units as u
import erfa
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from small_runs import changed, perform

from arl.io.zarr import read_dataset

pytestmark = pytest.mark.integration

#: Nine stations of another array, at 53 degrees north.
NORTH = "# longitude_deg: 6.9\n# latitude_deg: 52.9\n# height_m: 10\neast,north,up\n" + "".join(
    f"{x},{y},0\n" for x, y in [(0, 0), (40, 10), (-35, 22), (15, -60), (80, 75), (-90, 30),
                                (55, -95), (-20, 105), (-70, -66)])
LOW_LATITUDE = np.radians(-26.7)


def catalogue(folder, ra, dec):
    """Three sources about a direction (degrees), the brightest two degrees from it."""
    centre = SkyCoord(ra, dec, unit="deg")
    places = [centre.directional_offset_by(angle * u.deg, distance * u.deg)
              for angle, distance in ((70, 2.0), (190, 5.0), (300, 4.0))]
    rows = [f"{p.ra.deg},{p.dec.deg},{flux}" for p, flux in zip(places, (9, 5, 3), strict=True)]
    (folder / "sky.csv").write_text("\n".join(["ra_deg,dec_deg,flux_jy", *rows]) + "\n")
    return places[0]


@pytest.mark.parametrize(("layout", "ra", "dec", "time"), [
    ("LOWBD2", 0.5, -30.0, (-30.0, 30.0, 5)),       # sources on both sides of right ascension 0
    ("LOWBD2", -75.0, 10.0, (-30.0, 30.0, 5)),      # the northern sky from the south
    ("LOWBD2", 120.0, -90.0, (-180.0, 165.0, 24)),  # a full day at the pole
    ("LOWBD2", 200.0, -26.0, (0.0, 0.0, 1)),        # a snapshot at the zenith
    ("north.csv", 350.0, 70.0, (-60.0, 60.0, 7)),   # another array
    ("north.csv", 10.0, 85.0, (-180.0, 165.0, 24)),
])
def test_any_array_direction_and_length(one_worker, tmp_path, layout, ra, dec, time):
    (tmp_path / "north.csv").write_text(NORTH)
    brightest = catalogue(tmp_path, ra, dec)
    start, end, samples = time
    store = perform(tmp_path, changed({
        "observation.layout": layout, "observation.phase_centre": {"ra": ra, "dec": dec},
        "observation.time": {"start_hour_angle": start, "end_hour_angle": end, "samples": samples},
        "sky": {"catalogue": "sky.csv", "flux_limit": 0.0, "primary_beam": "none"},
        "gains": {"phase_error": 0.5}, "imaging.npixel": 96,
    }), one_worker, "anywhere", ("model", "image", "selfcal"))
    for stage in ("image", "selfcal"):
        with fits.open(store.folder / stage / "restored_combined.fits") as hdus:
            image, wcs = hdus[0].data[0, 0], WCS(hdus[0].header).celestial
        row, column = np.unravel_index(image.argmax(), image.shape)
        # within a pixel of 16 arcmin; a snapshot's phases may shift all the sky by as much
        assert wcs.pixel_to_world(column, row).separation(brightest).deg < (
            0.3 if stage == "image" else 0.6)
        assert image.max() == pytest.approx(9.0, rel=0.1)
    assert store.read_stage("selfcal")["outcome"]["status"] in ("CONVERGED", "MAX_CYCLES")


def test_nothing_is_observed_below_the_elevation_limit(one_worker, tmp_path):
    """Elevations by another library's spherical trigonometry."""
    run = changed({"observation.elevation_limit": 45.0, "observation.time": {
        "start_hour_angle": -75.0, "end_hour_angle": 75.0, "samples": 11, "integration": 10.0}})
    store = perform(tmp_path, run, one_worker, "limit", ("model",))
    with read_dataset(store.partition_path("band000_time0000")) as dataset:
        found = dataset["time"].values
    hour_angle = np.radians(np.linspace(-75, 75, 11))
    up = np.degrees(erfa.hd2ae(hour_angle, np.radians(-60.0), LOW_LATITUDE)[1]) > 45.0
    assert 3 < up.sum() < 9
    middle = found.mean()
    # a transit in the middle, and sidereal time 1.0027 times as fast
    np.testing.assert_allclose(found - middle, np.degrees(hour_angle[up]) * 240 / 1.00273790935,
                               atol=0.01)
