"""Gains against injected ones and against theory."""

from dataclasses import replace

import numpy as np
import pytest

from arl.calibration import chain
from arl.calibration.apply import correct
from arl.calibration.conditioning import (
    Conditioning,
    condition,
    flag_faint,
    flagged_fraction,
    normalise_amplitudes,
)
from arl.calibration.gains import gain_table
from arl.calibration.intervals import channel_blocks, is_inside, time_blocks
from arl.calibration.normal import reduce
from arl.calibration.solver import solve
from arl.simulation import corrupt, predict_components, random_gains
from arl.telescope import baselines

N_ANTENNA, N_TIME, N_CHANNEL = 24, 4, 3
OPTIONS = {"start": None, "tolerance": 1e-9, "max_iterations": 500}


@pytest.fixture(scope="module")
def observation():
    """Visibilities of three sources with phase errors of 1 rad per time and channel."""
    first, second = baselines(N_ANTENNA)
    generator = np.random.default_rng(4)
    position = generator.uniform(-150, 150, (N_ANTENNA, 3)) * [1, 1, 0.05]
    uvw = np.repeat((position[second] - position[first])[None], N_TIME, axis=0)
    lmn = np.array([[0, 0, 1], [0.05, 0.02, 0.998549], [-0.03, 0.06, 0.997747]])
    model = predict_components(uvw, np.linspace(90e6, 110e6, N_CHANNEL), lmn,
                               np.array([[5.0], [3.0], [2.0]]) * np.ones((1, N_CHANNEL)))
    return first, second, model


def phase_aligned(found, true):
    """The error of gains (time, ant, chan) once the common phase is taken out."""
    turn = np.sum(true * np.conj(found), axis=1, keepdims=True)
    return np.abs(found * turn / np.abs(turn) - true).max()


def matrices(vis, model, first, second, times, channels):
    return reduce(vis, model, np.ones(vis.shape, np.float32), first, second, N_ANTENNA, times,
                  channels)


@pytest.mark.parametrize(("mode", "amplitude"), [("phase", 0.0), ("amplitude_phase", 0.1)])
def test_noiseless_data_give_back_the_injected_gains(observation, mode, amplitude):
    first, second, model = observation
    true = random_gains(5, np.arange(N_TIME), np.arange(N_CHANNEL), N_ANTENNA, 1.0, amplitude)
    vis = corrupt(model, true, first, second)
    a, b = matrices(vis, model, first, second, np.arange(N_TIME), np.arange(N_CHANNEL))
    solution = solve(a, b, mode=mode, **OPTIONS)
    assert solution.converged.all()
    assert phase_aligned(np.swapaxes(solution.gain, 1, 2), true) <= 1e-5


def test_noisy_gains_reach_the_theoretical_error(observation):
    """A point source of S Jy, n samples an interval, noise sigma in each component.

    Each of the N - 1 baselines of a station measures its complex gain with variance
    sigma^2 / (S^2 n) in each component, when the other gains are known: so the error of each
    component of g is sigma / (S sqrt((N - 1) n)).
    """
    first, second = baselines(N_ANTENNA)
    n, flux, sigma = 20, 3.0, 1.0
    true = random_gains(6, np.arange(1), np.arange(30), N_ANTENNA, 1.0, 0.0)
    model = np.full((n, first.size, 30), flux, complex)
    generator = np.random.default_rng(8)
    noise = sigma * (generator.standard_normal(model.shape)
                     + 1j * generator.standard_normal(model.shape))
    vis = corrupt(model, np.repeat(true, n, axis=0), first, second) + noise
    a, b = matrices(vis, model, first, second, np.zeros(n, int), np.arange(30))
    solution = solve(a, b, mode="amplitude_phase", **OPTIONS)
    found = np.swapaxes(solution.gain, 1, 2)
    turn = np.sum(true * np.conj(found), axis=1, keepdims=True)
    error = found * turn / np.abs(turn) - true
    theory = sigma / (flux * np.sqrt((N_ANTENNA - 1) * n))
    assert np.sqrt(np.mean(np.abs(error) ** 2) / 2) <= 1.2 * theory
    # the reported signal-to-noise is that of both components together
    assert np.median(solution.snr) == pytest.approx(1 / (theory * np.sqrt(2)), rel=0.1)


@pytest.mark.parametrize(("scale", "amplitude"), [(1e-3, 0.0), (1.0, 0.0), (1e4, 0.0), (1.0, 0.2)])
def test_the_error_of_phases_is_known_whatever_the_amplitudes(scale, amplitude):
    """As above, of phases alone: their standard deviation is 1 / (sqrt(2) S/N), that of one of the
    two components."""
    first, second = baselines(N_ANTENNA)
    n, flux, sigma = 20, 3.0, 1.0
    true = random_gains(6, np.arange(1), np.arange(30), N_ANTENNA, 1.0, amplitude)
    model = np.full((n, first.size, 30), flux, complex)
    generator = np.random.default_rng(8)
    noise = sigma * (generator.standard_normal(model.shape)
                     + 1j * generator.standard_normal(model.shape))
    vis = scale * (corrupt(model, np.repeat(true, n, axis=0), first, second) + noise)
    a, b = matrices(vis, model, first, second, np.zeros(n, int), np.arange(30))
    solution = solve(a, b, mode="phase", free_amplitude=True, **OPTIONS)
    turned = np.swapaxes(solution.gain, 1, 2) * np.conj(true) / np.abs(true)
    error = np.angle(turned * np.exp(-1j * np.angle(turned.mean(axis=1, keepdims=True))))
    assert np.median(solution.snr) == pytest.approx(1 / (np.sqrt(2) * error.std()), rel=0.1)


def test_matrices_are_the_sums_they_are_defined_as(observation):
    first, second, model = observation
    generator = np.random.default_rng(2)
    vis = (model * np.exp(1j * generator.standard_normal(model.shape))).astype(np.complex64)
    model = model.astype(np.complex64)
    weight = generator.uniform(0, 1, model.shape).astype(np.float32)
    times, channels = np.array([0, 0, 1, 1]), np.zeros(N_CHANNEL, int)
    a, b = reduce(vis, model, weight, first, second, N_ANTENNA, times, channels)
    k = 17
    p, q = first[k], second[k]
    expected = np.sum(weight[:2, k] * vis[:2, k] * np.conj(model[:2, k]))
    assert a[0, 0, p, q] == pytest.approx(expected, rel=1e-5)
    assert a[0, 0, q, p] == pytest.approx(np.conj(expected), rel=1e-5)
    assert b[1, 0, q, p] == pytest.approx(
        np.sum(weight[2:, k] * np.abs(model[2:, k]) ** 2), rel=1e-5)


@pytest.mark.parametrize("min_snr", [3.0, 0.0])
def test_an_antenna_without_data_is_flagged_whatever_is_asked_and_left_at_one(
    observation, min_snr
):
    """Nor is it the reference, nor counted among the amplitudes whose mean is 1."""
    first, second, model = observation
    true = random_gains(9, np.zeros(1, int), np.zeros(1, int), N_ANTENNA, 1.0, 0.2)
    weight = np.ones(model.shape, np.float32)
    weight[:, (first == 0) | (second == 0)] = 0
    a, b = reduce(corrupt(model, true, first, second), model, weight, first, second, N_ANTENNA,
                  np.zeros(N_TIME, int), np.zeros(N_CHANNEL, int))
    solution = solve(a, b, mode="amplitude_phase", **OPTIONS)
    assert solution.gain[0, 0, 0] == 1
    gain = condition(solution, Conditioning(min_snr), normalise=True)
    assert np.isnan(gain[0, 0, 0])
    assert flagged_fraction(gain)[0] == 1
    assert np.delete(flagged_fraction(gain), 0).max() == 0
    seen = true[0, 1:, 0]
    expected = seen * np.exp(-1j * np.angle(seen[0])) / np.abs(seen).mean()
    np.testing.assert_allclose(gain[0, 0, 1:], expected, atol=1e-6)


@pytest.mark.parametrize("jones", ["scalar", "diagonal", "full"])
def test_antennas_without_data_take_nothing_from_the_others_signal_to_noise(jones):
    """Eight antennas alone, and the same among sixty of which no baseline is left."""
    first, second = baselines(8)
    generator = np.random.default_rng(2)
    shape = (1, first.size, 1) if jones == "scalar" else (1, first.size, 1, 2, 2)
    unit = 1.0 if jones == "scalar" else np.eye(2)
    noise = generator.standard_normal((2, *shape)) / 10
    vis = 5.0 * unit + noise[0] + 1j * noise[1]
    model, weight = np.full((1, first.size, 1), 5.0, complex), np.ones((1, first.size, 1))
    found = []
    for count in (8, 60):
        a, b = reduce(vis, model, weight, first, second, count, np.zeros(1, int), np.zeros(1, int))
        found.append(solve(a, b, mode="amplitude_phase", jones=jones, **OPTIONS).snr)
    np.testing.assert_allclose(found[1][..., :8], found[0], rtol=1e-6)
    assert not found[1][..., 8:].any()


def test_pure_noise_is_flagged(observation):
    first, second, model = observation
    generator = np.random.default_rng(1)
    noise = generator.standard_normal((2, *model.shape))
    a, b = matrices(1000 * (noise[0] + 1j * noise[1]), model, first, second, np.arange(N_TIME),
                    np.arange(N_CHANNEL))
    solution = solve(a, b, mode="phase", **OPTIONS)
    assert np.isnan(condition(solution, Conditioning(5.0), normalise=False)).mean() > 0.9


def test_correction_undoes_corruption_and_keeps_the_weighted_misfit(observation):
    first, second, model = observation
    true = random_gains(9, np.arange(N_TIME), np.arange(N_CHANNEL), N_ANTENNA, 1.0, 0.2)
    vis = corrupt(model, true, first, second)
    weight = np.ones(vis.shape)
    corrected, new_weight = correct(vis, weight, true, first, second)
    np.testing.assert_allclose(corrected, model, atol=1e-10)
    other = model * 1.1
    np.testing.assert_allclose(
        np.sum(new_weight * np.abs(corrected - other) ** 2),
        np.sum(weight * np.abs(vis - corrupt(other, true, first, second)) ** 2))


def test_a_flagged_gain_flags_its_baselines(observation):
    first, second, model = observation
    gains = np.ones((N_TIME, N_ANTENNA, N_CHANNEL), complex)
    gains[1, 4] = np.nan
    vis, weight = correct(model, np.ones(model.shape, np.float32), gains, first, second)
    hit = (first == 4) | (second == 4)
    assert np.all(weight[1, hit] == 0)
    assert np.all(vis[1, hit] == 0)
    assert np.all(weight[1, ~hit] == 1)
    assert np.all(weight[0] == 1)


@pytest.mark.parametrize("matrix", [(), (2, 2)])
def test_what_is_fainter_than_the_limit_is_flagged_and_nothing_else(matrix):
    snr = np.array([[[0.0, 2.9, 3.0, np.inf]]])
    gain = np.full((*snr.shape, *matrix), 1j)
    found = flag_faint(gain, snr, 3.0).reshape(4, -1)
    assert np.isnan(found[:2]).all()
    np.testing.assert_array_equal(found[2:], 1j)
    # what has no data has no signal-to-noise, however little is asked for
    assert np.isnan(flag_faint(gain, snr, 0.0).reshape(4, -1)).all(axis=1).tolist() == [
        True, False, False, False]


def test_normalisation_keeps_the_flux_scale():
    gain = random_gains(3, np.arange(5), np.arange(5), 200, 1.0, 0.1)
    gain = np.swapaxes(gain, 1, 2) * 1.7
    normal = normalise_amplitudes(gain)
    scale = np.abs(normal[..., :, None] * np.conj(normal[..., None, :])).mean()
    assert scale == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("matrix", [False, True])
def test_flags_that_come_and_go_do_not_move_the_flux_scale(matrix):
    """Amplitudes that stay, times a factor of each interval, of antennas flagged now and then."""
    generator = np.random.default_rng(7)
    true = 1 + 0.2 * generator.standard_normal(20)
    factor = generator.uniform(0.5, 2.0, (6, 3, 1))
    gain = true * factor * np.exp(1j * generator.uniform(-3, 3, (6, 3, 20)))
    gain[:3, :, np.argsort(true)[-5:]] = np.nan  # the strongest, in the first half
    gain[1:, 2, 4] = np.nan
    gain[5, 1] = np.nan                          # a whole interval
    gain[..., 7] = np.nan                        # one that is never there
    if matrix:
        gain = gain[..., None, None] * np.eye(2)
    found = normalise_amplitudes(gain)
    size = np.abs(found[..., 0, 0] if matrix else found)
    there = np.isfinite(size)
    assert there.sum() == np.isfinite(gain).sum() // (4 if matrix else 1)
    expected = np.broadcast_to(true / np.delete(true, 7).mean(), size.shape)
    np.testing.assert_allclose(size[there], expected[there], rtol=1e-4)


def test_antennas_that_are_never_there_together_have_a_mean_of_one_each_time():
    """Nothing tells their levels."""
    gain = np.array([[[2.0, 4.0, np.nan, np.nan]], [[np.nan, np.nan, 5.0, 15.0]]])
    np.testing.assert_allclose(np.nanmean(normalise_amplitudes(gain), axis=-1), 1.0)


def two_terms():
    """T per time and channel (phase), G over all of it (amplitude and phase)."""
    t = chain.TermBlocks("T", "phase", np.arange(N_TIME), np.arange(N_CHANNEL))
    g = chain.TermBlocks("G", "amplitude_phase", np.zeros(N_TIME, int), np.zeros(N_CHANNEL, int))
    return t, g


def cell_matrices(vis, model, first, second, terms, times=slice(None)):
    rows = chain.refine([t.time_block[times] for t in terms])
    columns = chain.refine([t.channel_block for t in terms])
    a, b = matrices(vis[times], model[times], first, second, rows.index, columns.index)
    return chain.CellMatrices(a, b, rows, columns)


def test_a_chain_separates_fast_phases_from_slow_amplitudes(observation):
    first, second, model = observation
    fast = random_gains(1, np.arange(N_TIME), np.arange(N_CHANNEL), N_ANTENNA, 1.0, 0.0)
    slow = np.abs(random_gains(2, np.arange(1), np.arange(1), N_ANTENNA, 0.0, 0.1))
    vis = corrupt(model, fast * slow, first, second)
    t, g = two_terms()
    joined = cell_matrices(vis, model, first, second, (t, g))
    solved, rest = chain.solve_chain(joined, (t, g), {}, lambda term, s: s.gain,
                                     chain.SolverOptions())
    found = chain.expand(solved["T"], t) * chain.expand(solved["G"], g)
    assert phase_aligned(found, fast * slow) < 5e-3
    np.testing.assert_allclose(np.abs(chain.expand(solved["T"], t)), 1.0)
    assert rest is None
    alone, rest = chain.solve_chain(joined, (t,), {}, lambda term, s: s.gain,
                                    chain.SolverOptions())
    np.testing.assert_array_equal(alone["T"].gain, solved["T"].gain)
    np.testing.assert_allclose(rest.a, np.conj(np.swapaxes(rest.a, -1, -2)), atol=1e-6)


def test_corrected_matrices_are_those_of_corrected_data(observation):
    first, second, model = observation
    gain = random_gains(2, np.arange(N_TIME), np.arange(N_CHANNEL), N_ANTENNA, 1.0, 0.2)
    vis = corrupt(model, gain, first, second) * 1.3
    times, channels = np.arange(N_TIME), np.arange(N_CHANNEL)
    a, b = chain.correct_matrices(
        *matrices(vis, model, first, second, times, channels), np.swapaxes(gain, 1, 2))
    corrected, weight = correct(vis, np.ones(vis.shape, np.float32), gain, first, second)
    expected_a, expected_b = reduce(corrected, model, weight, first, second, N_ANTENNA, times,
                                    channels)
    np.testing.assert_allclose(a, expected_a, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(b, expected_b, rtol=1e-5)


def test_partitions_merge_to_the_matrices_of_the_whole(observation):
    first, second, model = observation
    gain = random_gains(2, np.arange(N_TIME), np.arange(N_CHANNEL), N_ANTENNA, 1.0, 0.0)
    vis = corrupt(model, gain, first, second)
    t, g = two_terms()
    whole = chain.keep_terms(cell_matrices(vis, model, first, second, (t, g)), 1)
    parts = [chain.keep_terms(cell_matrices(vis, model, first, second, (t, g), half), 1)
             for half in (slice(0, 2), slice(2, 4))]
    merged = chain.merge(parts)
    np.testing.assert_allclose(merged.a, whole.a, rtol=1e-10)
    np.testing.assert_allclose(merged.b, whole.b, rtol=1e-10)
    np.testing.assert_array_equal(merged.times.blocks, whole.times.blocks)


def test_what_partitions_solved_apart_is_put_together():
    """Two times by two bands, in no order; of an interval that two have they know the same."""
    generator = np.random.default_rng(1)
    gain, snr = generator.normal(size=(4, 3, 5)) + 0j, generator.uniform(1, 9, (4, 3, 5))
    whole = chain.TermSolution("G", np.array([0, 1, 4, 7]), np.arange(3), gain, snr)
    parts = [chain.restrict(whole, chain.TermBlocks("G", "phase", np.array(t), np.array(c)))
             for t in ([4, 7], [0, 1, 4]) for c in ([2], [0, 1])]
    found = chain.assemble(parts)
    assert found.name == "G"
    for name in ("time_blocks", "channel_blocks", "gain", "snr"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))
    some = chain.assemble(parts[:1] + parts[3:])
    assert np.isnan(some.gain[0, 2]).all()  # nobody has it
    assert not some.snr[0, 2].any()
    np.testing.assert_array_equal(some.gain[3, 2], gain[3, 2])


@pytest.mark.parametrize("receptors", [1, 2])
def test_gains_without_data_are_told_from_others_that_are_flagged(observation, receptors):
    """An antenna without data at one time, all of one channel; another that is flagged with data.

    For the second term what the first has flagged are no data either.
    """
    first, second, model = observation
    weight = np.ones(model.shape, np.float32)
    weight[1, (first == 3) | (second == 3)] = 0
    weight[..., 2] = 0
    vis = model + 1e-3 * np.random.default_rng(5).normal(size=model.shape)
    data = vis if receptors == 1 else vis[..., None, None] * np.eye(2)
    t, g = two_terms()
    if receptors == 2:
        t, g = replace(t, jones="diagonal"), replace(g, jones="full")
    joined = chain.reduce_terms(data, model, weight, first, second, N_ANTENNA, (t, g))

    def finish(term, solution):
        gain = condition(solution, Conditioning(3.0), normalise=False)
        gain[:, :, 5] = np.nan
        return gain

    solved, _ = chain.solve_chain(joined, (t, g), {}, finish, chain.SolverOptions())
    expected = np.zeros((N_TIME, N_ANTENNA, N_CHANNEL), bool)
    expected[1, 3] = expected[:, :, 2] = True
    np.testing.assert_array_equal(chain.without_data(solved["T"], t), expected)
    gain = chain.expand(solved["T"], t)
    flagged = ~np.isfinite(gain if receptors == 1 else gain[..., 0, 0])
    expected[:, 5] = True
    np.testing.assert_array_equal(flagged, expected)
    alone = np.zeros_like(expected)
    alone[:, 5] = True
    np.testing.assert_array_equal(chain.without_data(solved["G"], g), alone)
    part = replace(t, time_block=t.time_block[1:2], channel_block=t.channel_block[:2])
    np.testing.assert_array_equal(
        chain.without_data(solved["T"], part), (np.arange(N_ANTENNA) == 3)[None, :, None]
        * np.ones((1, 1, 2), bool))


def test_of_gains_that_were_given_nobody_knows_whether_there_are_data():
    gain = np.ones((2, 1, 3), complex)
    gain[0, 0, 1] = np.nan
    term = chain.TermBlocks("G", chain.FIXED, np.arange(2), np.zeros(1, int))
    solution = chain.given("G", np.arange(2), np.arange(1), gain)
    assert not chain.without_data(solution, term).any()
    np.testing.assert_array_equal(np.isnan(flag_faint(gain, solution.snr, 0.0)), np.isnan(gain))


def test_solution_intervals():
    time = np.arange(6) * 10.0
    np.testing.assert_array_equal(time_blocks(time, None), np.arange(6))
    np.testing.assert_array_equal(time_blocks(time, 20.0), [0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(time_blocks(np.array([0.0, 1.0, 100.0]), 10.0), [0, 0, 1])
    frequency = np.array([100.0, 101.0, 102.0])
    np.testing.assert_array_equal(channel_blocks(frequency, None), [0, 1, 2])
    np.testing.assert_array_equal(channel_blocks(frequency, 2.0), [0, 0, 1])
    np.testing.assert_array_equal(channel_blocks(frequency, np.inf), [0, 0, 0])
    assert is_inside(np.array([0, 0, 1, 1]), [(0, 2), (2, 4)])
    assert not is_inside(np.array([0, 1, 1, 2]), [(0, 2), (2, 4)])


def test_a_gain_table_marks_its_flags():
    gain = np.ones((2, 3, 1), complex)
    gain[0, 1] = np.nan
    table = gain_table("T", np.arange(2.0), ("a", "b", "c"), np.array([1e8]), gain)
    assert table["GAIN"].dims == ("time", "antenna_name", "frequency", "receptor")
    assert bool(table["FLAG"].sel(antenna_name="b", time=0.0).item())
    assert int(table["FLAG"].sum()) == 1
    assert np.isfinite(table["GAIN"]).all()
    assert "NO_DATA" not in table
