"""Phases referenced to an antenna that is flagged for some intervals, against injected drifts."""

from __future__ import annotations

import numpy as np
import pytest

from arl.calibration import chain
from arl.calibration.conditioning import Conditioning, Smoothing, condition, reference_phases
from arl.calibration.interpolation import interpolate
from arl.calibration.solver import Solution

N, BLOCKS, STEP = 8, 9, 60.0
TIME, FREQUENCY = STEP * np.arange(BLOCKS), np.array([1e8, 1.2e8])
GONE = np.array([3, 4, 5])
HOW = Conditioning(3.0, reference=0)


def phases(time):
    """Drifts of up to 15 degrees in a block (time, channel, ant), rad, that also bend a little."""
    generator = np.random.default_rng(3)
    rate, start, turn = generator.uniform(-1, 1, (3, N))
    bend = 0.1 * np.sin(np.asarray(time)[:, None] / 200 + 6 * turn)
    drift = 3 * start + 0.25 * rate * np.asarray(time)[:, None] / STEP + bend
    return drift[:, None] * (1e8 / FREQUENCY)[:, None]


def injected(kind, time=TIME):
    """Gains (time, channel, ant), or matrices whose receptors drift apart, or leak besides."""
    gain = np.exp(1j * phases(time))
    if kind == "scalar":
        return gain
    jones = np.zeros((*gain.shape, 2, 2), complex)
    jones[..., 0, 0], jones[..., 1, 1] = gain, np.roll(gain, 1, axis=-1)
    return jones if kind == "diagonal" else jones @ np.array([[1, 0.1j], [-0.2, 0.9]])


def solved(kind, flagged):
    """What a solver finds: each interval with a phase, or unitary matrix, of its own in common."""
    gain, generator = injected(kind), np.random.default_rng(5)
    angle = generator.uniform(-np.pi, np.pi, (2, BLOCKS, FREQUENCY.size, 1))
    if kind == "scalar":
        gain = gain * np.exp(1j * angle[0])
    else:
        gain = gain @ (np.exp(1j * np.moveaxis(angle, 0, -1))[..., None] * np.eye(2))
    if kind == "full":
        cos, sin = np.cos(angle[0]), np.sin(angle[0])
        gain = gain @ np.stack([cos, sin, -sin, cos], axis=-1).reshape(*cos.shape, 2, 2)
    snr = np.where(flagged, 0.0, 100.0)
    cells = gain.shape[:2]
    return Solution(gain, snr, np.ones(cells, bool), np.ones(cells, int))


def flags(times, channels=slice(None), antenna=0):
    flagged = np.zeros((BLOCKS, FREQUENCY.size, N), bool)
    flagged[times, channels, antenna] = True
    return flagged


def errors(found, true):
    """g_p g_q* (or J_p J_q^H), that a common phase leaves alone, against the truth, in degrees:
    (time, channel, ant, ant); NaN of flagged ones."""
    found, true = (x if x.ndim == 5 else x[..., None, None] for x in (found, true))
    both = [x[:, :, :, None] @ np.conj(np.swapaxes(x, -1, -2))[:, :, None] for x in (found, true)]
    size = np.linalg.norm(both[1], axis=(-1, -2))
    return np.degrees(np.linalg.norm(both[0] - both[1], axis=(-1, -2)) / size)


@pytest.mark.parametrize("kind", ["scalar", "diagonal", "full"])
def test_smoothing_crosses_intervals_without_the_reference_antenna(kind):
    """But for the ends, whose means are of one side: as near to the truth as without the flags, and
    so are those that are filled."""
    smoothing = Smoothing(TIME, FREQUENCY, STEP, 0.0, complex_mean=kind == "full")
    error = {name: errors(condition(solved(kind, flagged), HOW, normalise=False,
                                    smoothing=smoothing), injected(kind))[2:-2]
             for name, flagged in (("none", flags([])), ("some", flags(GONE)))}
    assert np.isfinite(error["some"]).all()
    limit = 5 if kind == "full" else 1.5  # a mean of complex numbers loses amplitude
    assert error["none"].max() < limit
    assert error["some"].max() < limit


@pytest.mark.parametrize("kind", ["scalar", "diagonal", "full"])
def test_interpolation_crosses_the_edge_to_intervals_without_it(kind):
    """A sample of such an interval is between the gains of neighbours, in step with each other."""
    gain = condition(solved(kind, flags(GONE)), HOW, normalise=False)
    time = np.arange(0.0, 6 * BLOCKS) * 10 - 25
    term = chain.TermBlocks("G", "amplitude_phase", np.arange(6 * BLOCKS) // 6, np.arange(2), kind)
    found = interpolate(chain.given("G", np.arange(BLOCKS), np.arange(2), gain), term, term,
                        (time, time), (FREQUENCY, FREQUENCY))
    error = errors(np.swapaxes(found, 1, 2), injected(kind, time))[3:-3]
    assert np.nanmax(error) < 1.5
    assert np.isnan(error[18 - 3:36 - 3, :, 0]).all()  # what is flagged stays so


@pytest.mark.parametrize("kind", ["scalar", "diagonal", "full"])
@pytest.mark.parametrize("where", [
    (GONE, slice(None)),        # between intervals that have it
    ([0, 1, 8], slice(None)),   # at the ends
    (slice(None), 1),           # all times of a channel: from the other channel
])
def test_an_antennas_phases_are_continuous(kind, where):
    """In every interval as far from the neighbour's as the drifts are, 30 degrees at most."""
    flagged = flags(*where)
    found = condition(solved(kind, flagged), HOW, normalise=False)
    good = condition(solved(kind, flags([])), HOW, normalise=False)
    np.testing.assert_allclose(found[~flagged[..., 0]][:, 1:], good[~flagged[..., 0]][:, 1:],
                               atol=1e-9)  # where the reference is, it is the reference
    apart = np.abs(np.diff(found[:, :, 1:], axis=0)).max()
    assert apart < 2 * np.sin(np.radians(30) / 2)
    if kind == "diagonal":
        assert not found[..., 0, 1][~flagged].any()


def test_an_interval_without_any_solution_is_passed_over():
    flagged = flags(GONE)
    flagged[4] = True
    found = condition(solved("scalar", flagged), HOW, normalise=False)
    assert np.isnan(found[4]).all()
    apart = np.abs(np.angle(found[5, :, 1:] * np.conj(found[3, :, 1:])))
    assert np.degrees(apart).max() < 60


def test_its_phase_against_the_mean_of_all_runs_linearly_where_it_is_flagged():
    """Antenna 0 alone moves, by 0.2 rad an interval, and so do all others against it."""
    phase = np.zeros((5, 1, 4))
    phase[:, 0, 0] = 0.2 * np.arange(5)
    gain = np.exp(1j * phase)
    gain[1:4, 0, 0] = np.nan
    found = reference_phases(gain * np.exp(1j * np.arange(5.0))[:, None, None], 0)
    np.testing.assert_allclose(np.angle(found[:, 0, 1]), -0.2 * np.arange(5), atol=1e-12)


@pytest.mark.parametrize(("asked", "expected"), [(3, 3), (None, 2), (0, 2)])
def test_the_reference_antenna_is_the_one_asked_for_or_has_most_of_its_solutions(asked, expected):
    """Antenna 0 has none and antenna 1 two; antenna 2 lacks one."""
    flagged = flags(slice(None)) | flags(slice(2, None), antenna=1) | flags(6, antenna=2)
    found = condition(solved("scalar", flagged), Conditioning(3.0, reference=asked),
                      normalise=False)
    own = found[..., expected]
    np.testing.assert_allclose(np.angle(own[np.isfinite(own)]), 0, atol=1e-12)
