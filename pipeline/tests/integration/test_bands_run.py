"""Bands as the run chooses them, against one band a channel."""

from __future__ import annotations

import numpy as np
import pytest
from direct import direct_sum
from small_field import CELL, CENTRE, NPIXEL, small_array
from small_runs import changed, perform
from written_ms import all_rows, write_ms

from arl.conventions import lmn
from arl.io.fits import read_image
from ical.store import read_json

pytestmark = pytest.mark.integration


def test_a_band_of_one_percent_is_as_good_as_its_channels(one_worker, tmp_path):
    """Sources with spectral indices of about -0.8 behind an Airy beam."""
    run = changed({"observation.frequency": {"start": 99.6e6, "end": 100.4e6, "channels": 8},
                   "imaging.clean": {"scales": [0], "major_cycles": 10}})
    found = []
    for name, bands in (("chosen", None), ("channels", 8)):
        store = perform(tmp_path, changed({"imaging.bands": bands}, run), one_worker, name,
                        ("model", "image"))
        restored, _ = read_image(store.folder / "image" / "restored_combined.fits")
        quality = store.read_stage("image")["quality"]
        found.append((len(read_json(store.folder / "plan.json")["bands"]), restored.max(),
                      quality["residual_rms_jy"]))
    (few, peak, residual), (many, other_peak, other_residual) = found
    assert (few, many) == (1, 8)
    assert peak == pytest.approx(other_peak, rel=2e-3)
    assert residual < other_residual + 1e-4 * peak


@pytest.fixture(scope="module")
def two_bands(one_worker, tmp_path_factory):
    """A source S ~ frequency^-1 in two bands of which the lower has four times the weight."""
    folder = tmp_path_factory.mktemp("bands")
    time, frequency = 1.5e9 + 1200.0 * np.arange(7), np.array([90e6, 110e6])
    array, flux = small_array(np.linspace(-40, 40, time.size)), 10 * 100e6 / frequency
    vis = direct_sum(array.uvw, frequency, lmn([16 * CELL], [-14 * CELL]), flux[None])
    rows = all_rows(array.uvw, time, array.pairs, vis[..., None].repeat(2, axis=-1))
    rows["WEIGHT_SPECTRUM"] = np.broadcast_to(
        np.array([[4.0], [1.0]], np.float32), rows["DATA"].shape).copy()
    write_ms(folder / "a.ms", rows, frequency, correlations=("XX", "YY"),
             n_antenna=array.n_antenna, phase_centre=CENTRE)
    return perform(folder, {
        "input": {"measurement_set": "a.ms", "station_diameter": 12.0},
        "selfcal": {"enabled": False},
        "imaging": {"npixel": NPIXEL, "cell_rad": CELL, "primary_beam": "airy",
                    "clean": {"scales": [0]}}}, one_worker, "run", ("model", "image"))


def test_the_combined_image_says_at_which_frequency_it_has_the_fluxes(two_bands):
    for kind in ("restored", "model"):
        image, header = read_image(two_bands.folder / "image" / f"{kind}_combined.fits")
        assert header["CRVAL3"] == header["RESTFRQ"] == pytest.approx(94e6)
        assert header["CDELT3"] == pytest.approx(40e6)  # from edge to edge: channels are 20 MHz
        # of the power law's curvature the mean of fluxes keeps 0.8 %
        assert image[80, 50] == pytest.approx(10 * 100e6 / header["CRVAL3"], rel=0.015)


@pytest.mark.parametrize("kind", ["restored_combined", "pbcorrected_combined", "restored_band00"])
def test_a_source_has_the_width_of_the_beam_that_the_file_names(two_bands, kind):
    """Added up over the beam's area its pixels are its peak, as a point's must be."""
    image, header = read_image(two_bands.folder / "image" / f"{kind}.fits")
    area = np.pi * np.prod(np.radians([header["BMAJ"], header["BMIN"]])) / (4 * np.log(2))
    flux = image[70:91, 40:61].sum() / (area / CELL**2)
    assert flux == pytest.approx(image[80, 50], rel=5e-3)
