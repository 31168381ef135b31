"""What a run file asks to be done to solutions, seen in the gain tables of runs."""

from __future__ import annotations

import numpy as np
import pytest
from small_field import CENTRE, seen, small_array
from small_runs import SMALL, changed, perform
from written_ms import all_rows, write_ms

from arl.io.fits import ImageHeader, write_image
from arl.io.zarr import read_dataset
from ical.parameters import Parameters
from ical.stages.model import injected_gains, set_up

pytestmark = pytest.mark.integration

#: 48 times of 5 minutes and 8 channels of 1 MHz; gains that drift and are alike in all channels.
DRIFT = changed({
    "observation.time.samples": 48,
    "observation.frequency": {"start": 97e6, "end": 104e6, "channels": 8},
    "gains": {"drift_phase": 1.0, "drift_time": 5000.0}, "noise": {"sigma": 4.0},
    "imaging.bands": 2, "imaging.npixel": 64,
    "selfcal.cycles": 1, "selfcal.min_snr": 0.0, "selfcal.solution_interval": {"T": 60.0},
})


def sky_of(folder, run):
    """The true sky as a model image: only the gains are to be found."""
    setup = set_up(Parameters.model_validate(run))
    image = np.zeros((setup.npixel, setup.npixel))
    pixel = np.rint(setup.lmn[:, :2] / setup.cell).astype(int) + setup.npixel // 2
    np.add.at(image, tuple(pixel.T), setup.flux.mean(axis=1))
    write_image(folder / "sky.fits", image, ImageHeader(
        setup.cell, setup.phase_centre, 1e8, 2e7, "Jy/pixel", None, "2018-01-01T08:00:00", "sky",
        "t", "TOPO"))
    return {"selfcal.start_model": str(folder / "sky.fits")}


def gains(store, term="T"):
    with read_dataset(store.folder / "selfcal" / f"gains_{term}.zarr") as table:
        return np.where(table["FLAG"].values, np.nan, table["GAIN"].values)[..., 0]


def error(store, run):
    """Rms phase error, degrees, but for the phase that all antennas share."""
    parameters = Parameters.model_validate(run)
    turned = gains(store) * np.conj(injected_gains(parameters, set_up(parameters)))
    turned = turned * np.exp(-1j * np.angle(np.nanmean(turned, axis=1, keepdims=True)))
    return float(np.degrees(np.sqrt(np.nanmean(np.angle(turned) ** 2))))


@pytest.fixture(scope="module")
def plain(one_worker, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    run = changed(sky_of(folder, DRIFT), DRIFT)
    return run, error(perform(folder, run, one_worker, "plain"), DRIFT)


@pytest.mark.parametrize(("option", "width", "factor"), [
    # a kernel of s averages 2 s sqrt(pi) of samples: noise falls by the root of their number
    ("smoothing_time", 600.0, np.sqrt(2 * 600 * np.sqrt(np.pi) / 300)),
    ("smoothing_frequency", 1.5e6, np.sqrt(2 * 1.5 * np.sqrt(np.pi))),
])
def test_smoothing_averages_the_noise_away(one_worker, tmp_path, plain, option, width, factor):
    run, before = plain
    store = perform(tmp_path, changed({f"selfcal.{option}": {"T": width}}, run), one_worker, option)
    after = error(store, DRIFT)
    assert 0.75 * factor < before / after < 1.25 * factor
    steps = np.abs(np.diff(gains(store), axis=0 if option == "smoothing_time" else 2))
    assert steps.max() < 1.0  # neighbours are alike now
    np.testing.assert_allclose(np.abs(gains(store)), 1.0, atol=1e-6)  # and T has phases alone


def test_channels_within_the_bandwidth_share_a_solution(one_worker, tmp_path, plain):
    run, before = plain
    store = perform(tmp_path, changed({"selfcal.solution_bandwidth": {"T": 4e6}}, run), one_worker,
                    "wide")
    found = gains(store)
    for block in (slice(0, 4), slice(4, 8)):
        own = found[..., block]
        np.testing.assert_allclose(own, np.repeat(own[..., :1], 4, axis=2), atol=1e-12)
    assert np.abs(found[..., 3] - found[..., 4]).max() > 1e-3
    assert error(store, DRIFT) == pytest.approx(before / 2, rel=0.15)  # four channels' noise


def test_a_bandpass_and_what_drifts_are_solved_apart(one_worker, tmp_path):
    """B has one solution for all times, T, over all channels, one for each.

    T is solved before B is known, and what it takes of the bandpass's phases, which are small here,
    is of second order.
    """
    errors = {"drift_phase": 1.0, "drift_time": 5000.0, "bandpass_phase": 0.15,
              "bandpass_amplitude": 0.2}
    run = changed({"gains": errors, "noise": {"sigma": 0.1}, "selfcal.terms": "TB",
                   "selfcal.first_cycle": {"B": 1},
                   "selfcal.global_solution": True}, DRIFT)
    store = perform(tmp_path, changed(sky_of(tmp_path, run), run), one_worker, "bandpass")
    drift, bandpass = gains(store, "T"), gains(store, "B")
    np.testing.assert_allclose(bandpass, np.repeat(bandpass[:1], 48, axis=0), atol=1e-12)
    np.testing.assert_allclose(drift, np.repeat(drift[..., :1], 8, axis=2), atol=1e-12)
    parameters = Parameters.model_validate(run)
    true = injected_gains(parameters, set_up(parameters))
    # the flux scale stays that of the data: a channel's mean amplitude is 1
    size = np.abs(true) / np.abs(true).mean(axis=1, keepdims=True)
    np.testing.assert_allclose(np.abs(bandpass), size, atol=0.01)
    turn = drift * bandpass * np.conj(true)
    turn *= np.exp(-1j * np.angle(turn.mean(axis=1, keepdims=True)))
    assert np.sqrt(np.mean(np.angle(turn) ** 2)) < 0.1 * errors["bandpass_phase"]


@pytest.mark.parametrize(("sigma", "solutions"), [(0.5, 8), (8.0, 2), (16.0, 1)])
def test_channels_are_joined_where_all_times_are_too_few(
    one_worker, tmp_path, sigma, solutions
):
    """A snapshot: one time, and the interval is left to the noise."""
    snapshot = changed({
        "observation.time": {"start_hour_angle": 0.0, "end_hour_angle": 0.0, "samples": 1},
        "noise": {"sigma": sigma}, "selfcal.solution_interval": {"T": None}}, DRIFT)
    run = changed(sky_of(tmp_path, snapshot), snapshot)
    found = gains(perform(tmp_path, run, one_worker, "joined"))
    different = np.abs(np.diff(found, axis=2)).max(axis=(0, 1)) > 1e-9
    assert found.shape[0] == 1
    assert 1 + different.sum() == solutions


def test_an_amplitude_that_is_far_from_its_antennas_others_is_flagged(one_worker, tmp_path):
    """One antenna, one time: three times as sensitive as at the eleven others."""
    array, frequency = small_array(np.linspace(-30, 30, 12)), np.array([1e8])
    n, pairs = array.n_antenna, array.pairs
    sky = seen(array, frequency, np.zeros((1, 2)), np.array([5.0]))
    generator = np.random.default_rng(1)
    gain = 1 + 0.02 * generator.standard_normal((12, n, 1))
    gain[4, 2] *= 3
    vis = sky * gain[:, pairs[0]] * gain[:, pairs[1]]
    write_ms(tmp_path / "a.ms", all_rows(array.uvw, 1.5e9 + 1200.0 * np.arange(12), pairs,
                                         vis[..., None].repeat(2, axis=-1)), frequency,
             correlations=("XX", "YY"), n_antenna=n, phase_centre=CENTRE)
    (tmp_path / "sky.csv").write_text("ra_deg,dec_deg,flux_jy\n30,-60,5\n")
    run = {"input": {"measurement_set": "a.ms"},
           "imaging": {"npixel": 64, "cell_rad": 4.6e-3, "clean": {"scales": [0]}},
           "selfcal": {"terms": "G", "first_cycle": {"G": 1}, "cycles": 1, "min_snr": 0.0,
                       "start_model": "sky.csv", "solution_interval": {"G": 60.0},
                       "outlier_mad": 10.0}}
    found = gains(perform(tmp_path, run, one_worker, "mad"), "G")
    assert np.argwhere(np.isnan(found)).tolist() == [[4, 2, 0]]


@pytest.mark.parametrize("change", [
    {"selfcal.expected_rms": 50.0},
    {"noise": {"sigma": 3.0}, "imaging.weighting": "briggs", "imaging.taper_rad": 0.02},
])
def test_the_loop_ends_at_the_noise_that_is_given_or_known(one_worker, tmp_path, change):
    """One source, which a cycle or two have in the model."""
    catalogue = tmp_path / "one.csv"
    catalogue.write_text("ra_deg,dec_deg,flux_jy,spectral_index,reference_frequency_hz\n"
                         "30.0,-60.0,50.0,0.0,1e8\n")
    run = changed({**change, "sky.catalogue": str(catalogue)})
    store = perform(tmp_path, run, one_worker, "noise")
    outcome = store.read_stage("selfcal")["outcome"]
    assert outcome["status"] == "CONVERGED"
    assert "the expected noise is" in outcome["reason"]
    assert len(store.read_stage("selfcal")["history"]) < SMALL["selfcal"]["cycles"]
    # 50 Jy are no noise of this image; what is known of the simulation is
    doubted = ["below selfcal.expected_rms, 50," in w
               for w in store.read_stage("selfcal")["warnings"]]
    assert doubted == [True] * ("selfcal.expected_rms" in change)
