"""The stages of a run, each on its own cluster, meeting only through the store."""

from __future__ import annotations

import io

import numpy as np
import xarray as xr

from arl.beam import beam_power
from arl.io.fits import read_image
from arl.io.zarr import read_dataset
from arl.quality import isolated, match_truth
from arl.restoration import Beam
from arl.visibility import antennas, stokes_i
from ical.context import ClusterOptions, RunContext
from ical.parameters import Parameters
from ical.progress import JsonLines, Progress
from ical.stages.model import set_up
from ical.stages.run import run_image, run_model, run_selfcal
from ical.store import Store

RUN = {
    "name": "small", "seed": 5,
    "observation": {
        "r_max": 200.0, "phase_centre": {"ra": 30.0, "dec": -60.0},
        "frequency": {"start": 95e6, "end": 105e6, "channels": 2},
        "time": {"start_hour_angle": -30.0, "end_hour_angle": 30.0, "samples": 3},
    },
    "sky": {"flux_limit": 5.0, "positions": "pixel"},
    "gains": {"phase_error": 1.0, "amplitude_error": 0.05},
    "imaging": {"npixel": 256, "clean": {"scales": [0]}},
    "selfcal": {"terms": "TG", "cycles": 6},
}


def context_of(stage, results, stream):
    parameters = Parameters.model_validate(RUN)
    folder = results / "run-1"
    store = (Store.open(parameters, results, run_id="run-1") if folder.exists()
             else Store.create(parameters, results, run_id="run-1"))
    return RunContext(parameters, store, Progress(stage, JsonLines(stream)),
                      ClusterOptions(None, 2, 1, None), False)


def the_sky_is_that_of_the_catalogue(context, folder):
    """Isolated sources off the axis: flux and spectral index of the catalogue, not the apparent."""
    setup, corrected = set_up(context.parameters), read_image(folder / "pbcorrected_band00.fits")[0]
    whole, weight, index, error = (
        read_image(folder / f"{kind}_combined.fits")[0]
        for kind in ("pbcorrected", "pbweight", "spectralindex", "spectralindexerror"))
    l, m = setup.lmn[:, 0], setup.lmn[:, 1]
    power = beam_power("airy", l, m, setup.frequency, 35.0)
    true = setup.flux / power
    _, header = read_image(folder / "restored_band00.fits")
    beam = Beam(*np.radians([header["BMAJ"], header["BMIN"], header["BPA"]]))
    chosen = np.flatnonzero(isolated(l, m, setup.flux[:, 0], beam) & (setup.flux[:, 0] > 2.0)
                            & (power[:, 1] > 0.11))
    assert chosen.size >= 3
    assert power[chosen].min() < 0.7
    for k in chosen:
        i, j = (round(x / setup.cell) + setup.npixel // 2 for x in (l[k], m[k]))
        np.testing.assert_allclose(corrected[i, j], true[k, 0], rtol=0.05)
        np.testing.assert_allclose(whole[i, j], true[k].mean(), rtol=0.05)
        np.testing.assert_allclose(weight[i, j], (power[k] ** 2).mean(), rtol=0.02)
        slope = np.log(true[k, 1] / true[k, 0]) / np.log(setup.frequency[1] / setup.frequency[0])
        assert abs(index[i, j] - slope) < max(0.3, 3 * error[i, j]), k


def the_mean_of_bands_has_the_beam_that_its_header_says(context, folder):
    """Sources fitted with that beam have the mean of their fluxes; with a band's own, 5 % more."""
    setup = set_up(context.parameters)
    restored, header = read_image(folder / "restored_combined.fits")
    beam = Beam(*np.radians([header["BMAJ"], header["BMIN"], header["BPA"]]))
    found = match_truth(restored, setup.lmn[:, 0], setup.lmn[:, 1], setup.flux.mean(axis=1), beam,
                        setup.cell, flux_limit=1.0)
    assert found.n >= 3
    assert abs(found.ratio_median - 1) < 0.01


def the_weights_follow_the_gains(folder, dataset, before):
    """w |g_p|^2 |g_q|^2 of the tables that the run has written, in the lowest channel."""
    power = 1.0
    for term in "TG":
        with read_dataset(folder / "selfcal" / f"gains_{term}.zarr") as table:
            power = power * np.abs(table["GAIN"].values[:, :, 0, 0]) ** 2
    first, second, _ = antennas(dataset)
    _, weight = stokes_i(dataset, "VISIBILITY_CORRECTED")
    expected = before[..., 0] * power[:, first] * power[:, second]
    np.testing.assert_allclose(weight[..., 0], expected, rtol=1e-4)
    assert np.ptp(weight) > 0.1


def test_three_stages_leave_images_gains_and_calibrated_visibilities(tmp_path):
    stream = io.StringIO()
    for stage, work in (("model", run_model), ("image", run_image), ("selfcal", run_selfcal)):
        context = context_of(stage, tmp_path, stream)
        work(context)
        assert context.store.is_done(stage)
    folder = context.store.folder
    for stage in ("image", "selfcal"):
        for kind in ("dirty", "psf", "model", "residual", "restored"):
            for part in ("band00", "band01", "combined"):
                image, header = read_image(folder / stage / f"{kind}_{part}.fits")
                assert np.isfinite(image).all()
                assert header["BUNIT"] == ("Jy/pixel" if kind == "model" else "Jy/beam")
                assert ("BMAJ" in header) == (kind != "model")
    the_sky_is_that_of_the_catalogue(context, folder / "image")
    the_mean_of_bands_has_the_beam_that_its_header_says(context, folder / "image")
    restored, _ = read_image(folder / "image" / "restored_combined.fits")
    calibrated, _ = read_image(folder / "selfcal" / "restored_combined.fits")
    assert np.unravel_index(restored.argmax(), restored.shape) == np.unravel_index(
        calibrated.argmax(), calibrated.shape)
    np.testing.assert_allclose(calibrated.max(), restored.max(), rtol=0.03)
    record = context.store.read_stage("selfcal")
    assert record["outcome"]["status"] in ("CONVERGED", "MAX_CYCLES")
    assert record["quality"]["completeness"] == 1.0
    assert record["quality"]["reliability"] > 0.9
    assert record["quality"]["found_sources"] > 5
    assert record["quality"]["residual_rms_jy"] < 0.02 * restored.max()
    with xr.open_zarr(folder / "selfcal" / "gains_T.zarr") as table:
        assert table["GAIN"].dims == ("time", "antenna_name", "frequency", "receptor")
        np.testing.assert_allclose(np.abs(table["GAIN"].values), 1.0)
        assert not table["FLAG"].values.any()
    with read_dataset(context.store.partition_path("band000_time0000")) as dataset:
        assert set(dataset.attrs["data_groups"]) == {"base", "ideal", "corrected"}
        corrected = dataset["VISIBILITY_CORRECTED"].values[..., 0]
        ideal, _ = stokes_i(dataset, "VISIBILITY_IDEAL")
        observed, weight = stokes_i(dataset, "VISIBILITY")
        the_weights_follow_the_gains(folder, dataset, weight)
    error = np.linalg.norm(corrected - ideal) / np.linalg.norm(ideal)
    assert error < 0.1 < np.linalg.norm(observed - ideal) / np.linalg.norm(ideal)
