"""Automatic solution intervals: the predicted signal-to-noise against that of real solutions."""

import numpy as np
import pytest

from arl.calibration.intervals import (
    TARGET_SNR,
    aligned_blocks,
    automatic_length,
    channel_blocks,
    equal_blocks,
    is_inside,
    scan_blocks,
    scans,
    station_information,
    time_blocks,
    unit_noise,
)
from arl.calibration.normal import reduce
from arl.calibration.solver import solve
from arl.simulation import corrupt, random_gains
from arl.telescope import baselines

N_ANTENNA, N_TIME, N_CHANNEL, SIGMA, FLUX = 20, 30, 20, 4.0, 3.0


@pytest.fixture(scope="module")
def observed():
    """A source of 3 Jy behind wrong gains and noise; weights that say nothing of the noise."""
    first, second = baselines(N_ANTENNA)
    gains = random_gains(3, np.arange(1), np.arange(1), N_ANTENNA, 1.0, 0.0)
    gains = np.repeat(np.repeat(gains, N_TIME, axis=0), N_CHANNEL, axis=2)
    generator = np.random.default_rng(5)
    shape = (N_TIME, first.size, N_CHANNEL)
    noise = SIGMA * (generator.standard_normal(shape) + 1j * generator.standard_normal(shape))
    vis = corrupt(np.full(shape, FLUX, complex), gains, first, second) + noise
    return first, second, gains, vis.astype(np.complex64), np.full(shape, 2.0, np.float32)


def test_the_noise_is_seen_in_the_differences_of_neighbours(observed):
    *_, vis, weight = observed
    # a sample of weight 2 has sigma, one of weight 1 would have sqrt(2) times that
    assert unit_noise(vis, weight) == pytest.approx(SIGMA * np.sqrt(2), rel=0.02)
    assert unit_noise(vis[:1, :, :1], weight[:1, :, :1]) is None
    holed = weight.copy()
    holed[::2] = 0
    assert unit_noise(vis, holed) == pytest.approx(SIGMA * np.sqrt(2), rel=0.02)


def test_the_predicted_signal_to_noise_is_that_of_solutions(observed):
    """The scatter of gains solved sample by sample from the true model, no formula."""
    first, second, gains, vis, weight = observed
    predicted = np.sqrt(station_information(vis, weight, first, second, N_ANTENNA,
                                            SIGMA * np.sqrt(2)))
    model = np.full(vis.shape, FLUX, np.complex64)
    a, b = reduce(vis, model, weight, first, second, N_ANTENNA, np.arange(N_TIME),
                  np.arange(N_CHANNEL))
    start = np.swapaxes(gains, 1, 2)
    found = solve(a, b, mode="amplitude_phase", start=start, tolerance=1e-6,
                  max_iterations=200).gain
    turn = np.sum(start * np.conj(found), axis=-1, keepdims=True)
    error = found * turn / np.abs(turn) - start
    measured = 1 / np.sqrt(np.mean(np.abs(error) ** 2))
    theory = FLUX * np.sqrt(N_ANTENNA - 1) / (SIGMA * np.sqrt(2))
    assert np.median(predicted) == pytest.approx(theory, rel=0.05)
    assert np.median(predicted) == pytest.approx(measured, rel=0.2)


def test_flagged_and_empty_stations_have_no_signal(observed):
    first, second, _, vis, weight = observed
    weight = weight.copy()
    weight[:, (first == 2) | (second == 2)] = 0
    found = station_information(vis, weight, first, second, N_ANTENNA, SIGMA * np.sqrt(2))
    assert found[2] == 0
    assert np.delete(found, 2).min() > 0
    noise_alone = vis - vis.mean(axis=(0, 2), keepdims=True)
    none = station_information(noise_alone, weight, first, second, N_ANTENNA, SIGMA * np.sqrt(2))
    # the mean power of n samples of noise scatters by 1 / sqrt(n), of 19 baselines together
    assert none.max() < 4 * np.sqrt(19 / (N_TIME * N_CHANNEL))


def test_intervals_are_as_short_as_the_target_allows():
    assert automatic_length("T", np.inf) == 1
    assert automatic_length("T", TARGET_SNR["T"]) == 1
    assert automatic_length("T", TARGET_SNR["T"] / 2) == 4
    assert automatic_length("G", np.inf) == 10
    assert automatic_length("G", 5.0) == 36
    assert automatic_length("T", 0.0) > 1e6


def test_blocks_of_equal_length_are_never_shorter_than_asked():
    for n_time, length in ((11, 1), (11, 3), (11, 10), (11, 12), (100, 7), (3, 10**9)):
        number, size = np.unique(equal_blocks(n_time, length), return_counts=True)
        assert number.tolist() == list(range(number.size))
        assert size.min() >= min(length, n_time)
        assert size.max() <= size.min() + 1


def test_aligned_blocks_end_where_pieces_end_and_are_never_shorter_than_asked():
    pieces = [(0, 18), (18, 36), (36, 55)]
    for length in (1, 5, 10, 18):
        block = aligned_blocks(pieces, length)
        number, size = np.unique(block, return_counts=True)
        assert number.tolist() == list(range(number.size))
        assert (np.diff(block) >= 0).all()
        assert size.min() >= length
        assert is_inside(block, pieces)
    for length in (19, 55, 10**9):
        assert aligned_blocks(pieces, length).tolist() == equal_blocks(55, length).tolist()


#: Whole and half steps: how many samples are in each interval, again and again.
SIZES = {1.0: [1], 2.0: [2], 3.0: [3], 1.5: [2, 1], 2.5: [3, 2]}


def two_scans(gap_steps, step=8.0):
    """120 times with a step in the middle of 1 + gap_steps."""
    number = np.arange(120.0)
    return step * np.where(number < 60, number, number + gap_steps)


@pytest.mark.parametrize("gap_steps", [0, 30, 30.5])
@pytest.mark.parametrize("steps", SIZES)
def test_times_that_jitter_are_in_the_intervals_of_regular_ones(steps, gap_steps):
    time, generator = two_scans(gap_steps), np.random.default_rng(1)
    exact = time_blocks(time, steps * 8.0)
    sizes = np.tile(SIZES[steps], 60)
    np.testing.assert_array_equal(exact[:60], np.repeat(np.arange(60), sizes[:60])[:60])
    for jitter in (1e-5, 1e-3, 0.1):
        shifted = time + generator.uniform(-jitter, jitter, time.size) * 8.0
        np.testing.assert_array_equal(time_blocks(shifted, steps * 8.0), exact)


@pytest.mark.parametrize("steps", [4 / 3, 10 / 3, 2.4, 1.3, 3.7])
def test_intervals_of_other_lengths_do_not_follow_jitter_of_milliseconds(steps):
    """Larger jitter moves samples, and still leaves as many as fit, or one more."""
    time, generator = 8.0 * np.arange(200), np.random.default_rng(1)
    exact = time_blocks(time, steps * 8.0)
    for jitter in (1e-4, 1e-2, 0.8):
        block = time_blocks(time + generator.uniform(-jitter, jitter, time.size), steps * 8.0)
        sizes = np.unique(block, return_counts=True)[1][1:-1]
        assert {*sizes} <= {np.floor(steps), np.ceil(steps)}
        assert block.max() == pytest.approx(200 / steps, abs=1.5)
        if jitter <= 1e-2:
            np.testing.assert_array_equal(block, exact)


@pytest.mark.parametrize("steps", SIZES)
def test_times_of_uvfits_are_in_intervals_as_long_as_asked(steps):
    """Single-precision fractions of a day, which are off by milliseconds."""
    time = 0.3 * 86400 + 8.0 * np.arange(450)
    rounded = np.float32(time / 86400).astype(float) * 86400
    assert 1e-3 < np.abs(rounded - time).max() < 3e-3
    size = np.unique(time_blocks(rounded, steps * 8.0), return_counts=True)[1]
    assert size.tolist() == np.tile(SIZES[steps], 450)[:size.size].tolist()


def test_a_few_times_and_uneven_ones_are_in_intervals_too():
    assert time_blocks(np.array([5e9]), 10.0).tolist() == [0]
    assert time_blocks(np.array([5e9, 5e9 + 9.0]), 18.0).tolist() == [0, 0]
    assert time_blocks(np.array([0.0, 1.0, 100.0]), 10.0).tolist() == [0, 0, 1]
    # snapshots, each much shorter than the interval that lies between them
    assert time_blocks(3600.0 * np.arange(4), 60.0).tolist() == [0, 1, 2, 3]
    # dumps of 20 s, then of 1 s: none of the intervals is longer than asked
    dumps = np.concatenate([20.0 * np.arange(30), 590.5 + np.arange(100)])
    block = time_blocks(dumps, 60.0)
    assert max(np.ptp(dumps[block == b]) for b in range(block.max() + 1)) < 60


def test_channels_are_counted_as_times_are():
    frequency = 1.3e8 + 0.1e6 / 3 * np.arange(30)
    assert channel_blocks(frequency, 0.1e6).tolist() == np.repeat(np.arange(10), 3).tolist()
    assert channel_blocks(frequency, np.inf).tolist() == [0] * 30
    assert channel_blocks(frequency[:1], 1e5).tolist() == [0]


def test_scans_are_what_gaps_leave():
    steady = np.arange(12) * 8.0
    # two missing times are none, whatever jitters, and three are one
    for jitter in (0.0, 1e-3, 1.0):
        later = steady + jitter * (np.arange(12) > 2)
        assert scans(later[[0, 1, 2, 5, 6, 7]]) == [(0, 6)]
        assert scans(later[[0, 1, 2, 6, 7, 8]]) == [(0, 3), (3, 6)]
    assert scans(steady) == [(0, 12)]
    assert scans(steady[[0, 1, 2, 4, 5]]) == [(0, 5)]
    later = np.where(np.arange(12) < 5, steady, steady + 600)
    assert scans(later) == [(0, 5), (5, 12)]
    assert scans(np.arange(5) * 3600.0) == [(0, 5)]
    assert scans(np.zeros(1)) == [(0, 1)]


def test_no_interval_spans_a_gap_where_scans_are_long_enough():
    found, pieces = [(0, 20), (20, 30), (30, 55)], [(0, 25), (25, 55)]
    for length in (1, 3, 5, 6, 10):
        block = scan_blocks(found, pieces, length)
        number, size = np.unique(block, return_counts=True)
        assert number.tolist() == list(range(number.size))
        assert (np.diff(block) >= 0).all()
        assert size.min() >= length
        assert is_inside(block, found)
        # and within a scan none spans two partitions, where both parts are long enough
        assert is_inside(block, pieces) == (length <= 5)


def test_scans_that_are_too_short_share_an_interval():
    found, whole = [(0, 3), (3, 6), (6, 10), (10, 11)], [(0, 11)]
    assert scan_blocks(found, whole, 4).tolist() == [0] * 6 + [1] * 5
    assert scan_blocks(found, whole, 3).tolist() == [0] * 3 + [1] * 3 + [2] * 5
    assert scan_blocks(found, whole, 12).tolist() == [0] * 11
    assert scan_blocks([(0, 11)], whole, 5).tolist() == equal_blocks(11, 5).tolist()
