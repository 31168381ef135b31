"""Runs that begin with a model of the sky: what is in it need not be found, and is used."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from small_runs import SMALL, changed, perform

from arl.conventions import lmn_to_radec
from arl.io.fits import ImageHeader, read_image, write_image
from arl.io.zarr import read_dataset
from ical.parameters import Parameters
from ical.stages.model import injected_gains, set_up

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def setup():
    return set_up(Parameters.model_validate(SMALL))


@pytest.fixture(scope="module")
def truth(setup, tmp_path_factory):
    """The true sky of both channels as a cube: Jy per pixel of sources that lie on pixels."""
    folder = tmp_path_factory.mktemp("truth")
    n, cubes = setup.npixel, []
    i, j = (np.rint(x / setup.cell).astype(int) + n // 2 for x in setup.lmn[:, :2].T)
    for channel, frequency in enumerate(setup.frequency):
        image = np.zeros((n, n), np.float32)
        np.add.at(image, (i, j), setup.flux[:, channel])
        cubes.append(image)
        write_image(folder / f"{channel}.fits", image, ImageHeader(
            setup.cell, setup.phase_centre, frequency, 10e6, "Jy/pixel", None,
            "2018-01-01T08:00:00", "truth", "test", "TOPO"))
    return cube_of(folder), np.array(cubes)


def cube_of(folder):
    """One file of two planes along FREQ, from two of one."""
    planes = [fits.getdata(folder / f"{k}.fits") for k in range(2)]
    header = fits.getheader(folder / "0.fits")
    header["CDELT3"] = 10e6
    fits.PrimaryHDU(np.concatenate(planes, axis=1), header).writeto(folder / "cube.fits")
    return folder / "cube.fits"


def test_imaging_begins_with_the_model_and_adds_nothing_to_the_truth(
    one_worker, tmp_path, truth, setup
):
    path, sky = truth
    store = perform(tmp_path, changed({"imaging.start_model": str(path)}), one_worker, "known",
                    ("model", "image"))
    for band in range(2):
        found, _ = read_image(store.folder / "image" / f"model_band{band:02d}.fits")
        np.testing.assert_allclose(found, sky[band], atol=2e-3 * setup.flux.max())
    assert store.read_stage("image")["quality"]["residual_rms_jy"] < 1e-3 * setup.flux.max()
    # the residual image before anything is cleaned is already that
    assert store.read_stage("image")["rms_jy"][0] < 1e-3 * setup.flux.max()


def test_half_a_model_is_completed_by_cleaning(one_worker, tmp_path, truth, setup):
    path, sky = truth
    with fits.open(path) as hdus:
        half = hdus[0].data / 2
        fits.PrimaryHDU(half, hdus[0].header).writeto(tmp_path / "half.fits")
    store = perform(tmp_path, changed({"imaging.start_model": "half.fits"}), one_worker, "half",
                    ("model", "image"))
    found, _ = read_image(store.folder / "image" / "model_band00.fits")
    brightest = np.unravel_index(sky[0].argmax(), sky[0].shape)
    assert found[brightest] == pytest.approx(sky[0][brightest], rel=0.05)


def test_components_are_put_on_pixels_to_begin_with(one_worker, tmp_path, truth, setup):
    """The true sources as a catalogue, each on its pixel, with their fluxes at both channels."""
    _, sky = truth
    ra, dec = np.degrees(lmn_to_radec(*setup.lmn[:, :2].T, *setup.phase_centre))
    index = np.log(setup.flux[:, 1] / setup.flux[:, 0]) / np.log(105 / 95)
    rows = [f"{a},{d},{s},{i},95e6"
            for a, d, s, i in zip(ra, dec, setup.flux[:, 0], index, strict=True)]
    (tmp_path / "sky.csv").write_text("\n".join(
        ["ra_deg,dec_deg,flux_jy,spectral_index,reference_frequency_hz", *rows]))
    store = perform(tmp_path, changed({"imaging.start_model": "sky.csv"}), one_worker, "catalogue",
                    ("model", "image"))
    assert store.read_stage("image")["rms_jy"][0] < 1e-3 * setup.flux.max()
    found, _ = read_image(store.folder / "image" / "model_band01.fits")
    np.testing.assert_allclose(found, sky[1], atol=2e-3 * setup.flux.max())


@pytest.mark.parametrize("key", ["imaging.start_model", "selfcal.start_model"])
def test_self_calibration_begins_with_the_gains_of_the_model(
    one_worker, tmp_path, truth, setup, key
):
    """On the true sky the very first cycle finds the injected gains, the position with them."""
    path, _ = truth
    run = changed({key: str(path), "selfcal.cycles": 1})
    blank = perform(tmp_path, changed({"selfcal.cycles": 1}), one_worker, "blank")
    known = perform(tmp_path, run, one_worker, "known")
    raw = [s.read_stage("selfcal")["quality"]["gain_phase_rms_raw_deg"] for s in (blank, known)]
    assert raw[1] < 0.01 < 1.0 < raw[0]
    with read_dataset(known.folder / "selfcal" / "gains_T.zarr") as table:
        found = table["GAIN"].values[..., 0]
    injected = injected_gains(Parameters.model_validate(SMALL), setup)
    turned = found * np.conj(injected) * np.conj(found[:, :1]) * injected[:, :1]
    assert np.abs(np.angle(turned)).max() < 1e-3
