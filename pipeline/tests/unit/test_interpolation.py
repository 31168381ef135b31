"""Gains between the centres of solution intervals, against gains that are known everywhere."""

from __future__ import annotations

import numpy as np
import pytest

from arl.calibration import chain
from arl.calibration.interpolation import interpolate

TIME, FREQUENCY = 10.0 * np.arange(24), 1e8 + 1e5 * np.arange(12)
SIZE = np.array([1.0, 2.0, 0.5])


def truth(jones=False):
    """Gains (time, ant, chan): phases that turn more than once round, amplitudes that grow."""
    turns = np.array([0.3, -1.0, 2.0])[None, :, None] * 2 * np.pi * (
        TIME[:, None, None] / 240 + (FREQUENCY - 1e8) / 4e6)
    growth = 1 + 0.2 * TIME[:, None, None] / 240 + 0.1 * (FREQUENCY - 1e8) / 1e6
    gain = SIZE[None, :, None] * growth * np.exp(1j * turns)
    return gain[..., None, None] * np.array([[1, 0.1j], [-0.1, 0.8]]) if jones else gain


def blocks(n_time=4, n_channel=3, jones="scalar"):
    return chain.TermBlocks("G", "amplitude_phase", np.arange(24) // n_time,
                            np.arange(12) // n_channel, jones)


def centred(term, gain):
    """The exact gains at the centres of the intervals: linear means of amplitude and phase."""
    n_time, n_channel = term.time_block.max() + 1, term.channel_block.max() + 1
    size, phase = np.abs(gain), np.unwrap(np.unwrap(np.angle(gain), axis=0), axis=2)
    found = np.empty((n_time, n_channel, *gain.shape[1:2], *gain.shape[3:]), complex)
    for i in range(n_time):
        for j in range(n_channel):
            own = np.ix_(term.time_block == i, np.arange(3), term.channel_block == j)
            found[i, j] = size[own].mean(axis=(0, 2)) * np.exp(1j * phase[own].mean(axis=(0, 2)))
    return chain.given("G", np.arange(n_time), np.arange(n_channel), found)


def everywhere(solution, term, rows=slice(None), columns=slice(None)):
    part = chain.TermBlocks(term.name, term.mode, term.time_block[rows],
                            term.channel_block[columns], term.jones)
    return interpolate(solution, part, term, (TIME[rows], TIME),
                       (FREQUENCY[columns], FREQUENCY))


@pytest.mark.parametrize("jones", [False, True])
def test_what_is_linear_in_amplitude_and_phase_is_met_exactly(jones):
    """Between the outermost centres; phases pass from +180 to -180 degrees on the way."""
    gain, term = truth(jones), blocks(jones="diagonal")
    found = everywhere(centred(term, gain), term)
    inside = np.s_[2:-2, :, 1:-1]
    # amplitudes are bilinear, which two linear steps meet; only their product with phases bends
    np.testing.assert_allclose(found[inside], gain[inside], rtol=2e-3)
    constant = chain.expand(centred(term, gain), term)
    assert np.abs(constant - gain).max() > 20 * np.abs(found - gain)[inside].max()


def test_at_a_centre_it_is_the_solution_and_outside_the_own_interval():
    term = blocks(n_time=5, n_channel=12)
    solution = centred(term, truth())
    found = everywhere(solution, term)
    np.testing.assert_allclose(found[2], np.repeat(solution.gain[0, 0][:, None], 12, axis=1))
    np.testing.assert_allclose(found[0], found[2])
    np.testing.assert_allclose(found[-1, :, 0], solution.gain[-1, 0])


def test_a_part_has_the_gains_of_the_whole():
    term = blocks()
    solution = centred(term, truth())
    np.testing.assert_array_equal(everywhere(solution, term, slice(6, 11), slice(2, 7)),
                                  everywhere(solution, term)[6:11, :, 2:7])


def test_flagged_intervals_stay_flagged_and_touch_no_neighbour():
    term = blocks(n_channel=12)
    solution = centred(term, truth())
    whole = everywhere(solution, term)
    solution.gain[2, 0, 1] = np.nan
    found = everywhere(solution, term)
    assert np.isnan(found[8:12, 1]).all()
    assert np.isfinite(np.delete(found, np.s_[8:12], axis=0)).all()
    np.testing.assert_array_equal(found[:, [0, 2]], whole[:, [0, 2]])
    np.testing.assert_allclose(found[6:8, 1, 0], solution.gain[1, 0, 1])  # beside the flagged one
    np.testing.assert_array_equal(found[:6, 1], whole[:6, 1])


def test_matrices_of_full_jones_run_linearly_through_zero():
    term = blocks(n_time=12, n_channel=12, jones="full")
    gain = np.zeros((2, 1, 3, 2, 2), complex)
    gain[0, ..., 0, 1], gain[1, ..., 0, 1] = -0.2, 0.2
    found = everywhere(chain.given("G", np.arange(2), np.arange(1), gain), term)
    line = np.interp(TIME, [TIME[:12].mean(), TIME[12:].mean()], [-0.2, 0.2])
    np.testing.assert_allclose(found[:, 0, 0, 0, 1], line, atol=1e-12)


def test_an_interval_without_data_is_passed_over():
    """A band of flags alone has no partition, and no solution."""
    term = blocks(n_time=4, n_channel=12)
    solution = centred(term, truth())
    some = chain.given("G", np.array([0, 1, 3, 4, 5]), np.array([0]),
                       solution.gain[[0, 1, 3, 4, 5]])
    rows = np.r_[0:8, 12:24]
    part = chain.TermBlocks("G", "amplitude_phase", term.time_block[rows], term.channel_block)
    found = interpolate(some, part, term, (TIME[rows], TIME), (FREQUENCY, FREQUENCY))
    np.testing.assert_allclose(found[7, 0, 0], everywhere(solution, term)[7, 0, 0], rtol=2e-3)
