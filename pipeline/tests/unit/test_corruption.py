"""Structured gain errors against what defines them, and smearing against averaging by force."""

import numpy as np
import pytest
from direct import direct_sum
from scipy.special import j0

from arl import corruption
from arl.conventions import lmn
from arl.simulation import Smearing, predict_components
from arl.telescope import baseline_uvw
from ical.parameters import Parameters, load
from ical.stages import model

SCREEN = {"rms": 1.5, "reference_frequency": 1e8, "scale": 10e3, "speed": 50.0}
FREQUENCY = np.array([0.8e8, 1e8])


def screen(seed, position, time, **more):
    return corruption.phase_screen(seed, np.asarray(position, float), np.asarray(time, float),
                                   FREQUENCY, **(SCREEN | more))


def test_a_screen_is_carried_along_and_goes_as_one_over_the_frequency():
    here = np.random.default_rng(1).uniform(-5e3, 5e3, (20, 2))
    moved = screen(3, here, [100.0])
    np.testing.assert_allclose(moved, screen(3, here - [5000.0, 0.0], [0.0]), atol=1e-9)
    np.testing.assert_allclose(moved[..., 0] / moved[..., 1], 1.25)
    assert np.abs(moved - screen(4, here, [100.0])).max() > 0.5


def test_a_screen_has_its_rms_and_kolmogorovs_structure():
    """<(phi(x + r) - phi(x))^2> = 2 integral of (1 - J0(k r)) over the power, k^(-5/3) d ln k."""
    start = np.random.default_rng(2).uniform(-1e6, 1e6, (3000, 2))
    log_k = np.linspace(np.log(2 * np.pi / 10e3), np.log(2 * np.pi / 200.0), 4000)
    power = np.exp(-5 / 3 * log_k)
    base = [screen(seed, start, [0.0])[0, :, 1] for seed in range(12)]
    assert np.std(base) == pytest.approx(1.5, rel=0.05)
    for r in (100.0, 500.0, 2000.0):
        east = start + np.array([r, 0.0])
        found = np.mean([(screen(seed, east, [0.0])[0, :, 1] - base[seed]) ** 2
                         for seed in range(12)])
        expected = 2 * 1.5**2 * np.sum(power * (1 - j0(np.exp(log_k) * r))) / power.sum()
        assert found == pytest.approx(expected, rel=0.15), r


def test_drifts_have_unit_variance_and_forget_over_their_time():
    time = np.arange(60) * 100.0
    phase, amplitude = corruption.drifts(1, 3000, time, 1000.0)
    for curves in (phase, amplitude):
        assert curves.std() == pytest.approx(1.0, rel=0.03)
        for lag in (5, 10, 20):
            found = np.mean(curves[:-lag] * curves[lag:])
            assert found == pytest.approx(np.exp(-((lag * 0.1) ** 2) / 2), abs=0.04)
    assert abs(np.mean(phase * amplitude)) < 0.03
    np.testing.assert_allclose(corruption.drifts(1, 3000, time[7:9], 1000.0)[0], phase[7:9])


def test_a_bandpass_is_alike_at_all_times_and_can_be_made_in_parts():
    whole = corruption.bandpasses(1, np.arange(200), 50, 0.3, 0.1)
    assert whole.shape == (1, 50, 200)
    assert np.angle(whole).std() == pytest.approx(0.3, rel=0.03)
    assert np.abs(whole).std() == pytest.approx(0.1, rel=0.03)
    np.testing.assert_array_equal(
        corruption.bandpasses(1, np.arange(30, 32), 50, 0.3, 0.1), whole[..., 30:32])


def test_smeared_visibilities_are_the_mean_over_time_and_channel(layout):
    """61 x 61 values within 20 minutes and 5 MHz, averaged; without smearing they differ."""
    dec, hour, half = np.radians(-60.0), np.radians([-30.0, 20.0]), np.radians(2.5)
    frequency, width = np.array([95e6, 105e6]), 5e6
    directions = lmn(np.array([0.15, -0.1, 0.0]), np.array([0.05, 0.2, 0.0]))
    flux = np.array([[1.0, 2.0], [0.5, 0.7], [3.0, 3.0]])
    steps = (np.arange(61) - 30) / 61
    expected = np.mean([
        direct_sum(baseline_uvw(layout, dec, hour + 2 * half * t), frequency + width * f,
                   directions, flux) for t in steps for f in steps], axis=0)
    uvw = baseline_uvw(layout, dec, hour)
    smearing = Smearing(baseline_uvw(layout, dec, hour + half)
                        - baseline_uvw(layout, dec, hour - half), width)
    found = predict_components(uvw, frequency, directions, flux, smearing=smearing)
    plain = predict_components(uvw, frequency, directions, flux)

    def off(vis):
        return np.linalg.norm(vis - expected) / np.linalg.norm(expected)

    assert off(plain) > 0.1
    assert off(found) < 0.05 * off(plain)


KINDS = {"phase_error": 0.3, "screen_phase": 1.0, "screen_scale": 500.0, "drift_phase": 0.4,
         "drift_amplitude": 0.1, "bandpass_phase": 0.2, "bandpass_amplitude": 0.05}


def run_with(**changes):
    data = load("tiny").to_dict()
    data["observation"] |= changes.pop("observation", {})
    parameters = Parameters.model_validate(data | changes)
    return parameters, model.set_up(parameters)


def test_all_kinds_of_errors_act_and_a_partition_has_those_of_the_whole():
    parameters, setup = run_with(gains=KINDS)
    whole = model.injected_gains(parameters, setup)
    part = model._gains(parameters, setup, np.array([3, 4]), np.array([1]))
    np.testing.assert_allclose(part, whole[3:5, :, 1:2], rtol=1e-12)
    for kind in set(KINDS) - {"screen_scale"}:
        without, _ = run_with(gains=KINDS | {kind: 0.0})
        assert np.abs(model.injected_gains(without, setup) / whole - 1).max() > 0.05, kind


def test_smearing_in_a_run_file_moves_baselines_over_the_integration():
    axis = {"start_hour_angle": -30.0, "end_hour_angle": 30.0, "samples": 5, "integration": 100.0}
    parameters, setup = run_with(observation={"smearing": True, "time": axis})
    found = model._smearing(parameters, setup, slice(1, 3))
    turn = 2 * np.pi * 100.0 / 86164.0905
    for k, hour in enumerate(setup.hour_angle[1:3]):
        uvw = [baseline_uvw(setup.layout, setup.phase_centre[1], [hour + t * turn / 2])[0]
               for t in (-1, 1)]
        np.testing.assert_allclose(found.swept[k], uvw[1] - uvw[0], atol=1e-6)
    assert found.channel_width == setup.channel_width
    plain, _ = run_with()
    assert model._smearing(plain, setup, slice(1, 3)) is None
