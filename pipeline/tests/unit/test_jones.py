"""Diagonal gains and Jones matrices against injected ones."""

import numpy as np
import pytest

from arl.calibration import chain
from arl.calibration.apply import combine_gains, correct, correct_jones
from arl.calibration.conditioning import (
    Conditioning,
    Smoothing,
    condition,
    mean_amplitude,
    outliers,
    reference_phases,
    smooth,
)
from arl.calibration.normal import reduce
from arl.calibration.solver import Solution, solve
from arl.telescope import baselines

N, N_TIME, N_CHANNEL = 12, 3, 2
FIRST, SECOND = baselines(N)
OPTIONS = {"mode": "amplitude_phase", "start": None, "tolerance": 1e-10, "max_iterations": 2000}


def hermitian(matrix):
    return np.conj(np.swapaxes(matrix, -1, -2))


def corrupt(model, jones):
    """J_p M J_q^H, jones (time, ant, chan, 2, 2), model (time, baseline, chan)."""
    return jones[:, FIRST] @ (model[..., None, None] * np.eye(2)) @ hermitian(jones[:, SECOND])


@pytest.fixture(scope="module")
def case():
    """Model visibilities and Jones matrices near the unit matrix."""
    generator = np.random.default_rng(3)
    shape = (N_TIME, FIRST.size, N_CHANNEL)
    model = 3 + generator.standard_normal(shape) + 1j * generator.standard_normal(shape)
    noise = generator.standard_normal((2, N_TIME, N, N_CHANNEL, 2, 2))
    return model, np.eye(2) + 0.25 * (noise[0] + 1j * noise[1])


def one_each(vis, model):
    return reduce(vis, model, np.ones(model.shape, np.float32), FIRST, SECOND, N,
                  np.arange(N_TIME), np.arange(N_CHANNEL))


def test_jones_matrices_are_found_up_to_one_unitary_matrix(case):
    model, true = case
    solution = solve(*one_each(corrupt(model, true), model), jones="full", **OPTIONS)
    assert solution.converged.all()
    found = reference_phases(solution.gain, 4)
    expected = reference_phases(np.swapaxes(true, 1, 2), 4)
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert np.abs(found[:, :, 4] - hermitian(found[:, :, 4])).max() < 1e-12


def test_a_solution_of_one_gain_for_both_receptors_is_not_one_of_two(case):
    """Each kind finds what it can hold: the residual tells the kinds apart."""
    model, true = case
    misfit = {}
    vis = corrupt(model, true)
    for jones in ("scalar", "diagonal", "full"):
        gain = np.swapaxes(solve(*one_each(vis, model), jones=jones, **OPTIONS).gain, 1, 2)
        misfit[jones] = np.sum(np.abs(vis - corrupt(model, gain)) ** 2)
    assert misfit["full"] < 1e-8 * misfit["diagonal"]
    assert misfit["diagonal"] < 0.9 * misfit["scalar"]


@pytest.mark.parametrize("mode", ["phase", "amplitude_phase"])
def test_diagonal_gains_are_those_of_each_receptor(case, mode):
    model, jones = case
    true = np.zeros_like(jones)
    for k in range(2):
        phase = np.exp(1j * np.angle(jones[..., k, 0]))
        true[..., k, k] = phase if mode == "phase" else phase * (1 + 0.1 * jones[..., 0, k].imag)
    vis = corrupt(model, true)
    solution = solve(*one_each(vis, model), jones="diagonal", **(OPTIONS | {"mode": mode}))
    np.testing.assert_allclose(reference_phases(solution.gain),
                               reference_phases(np.swapaxes(true, 1, 2)), atol=2e-5)
    assert not solution.gain[..., 0, 1].any()


def test_noise_sets_the_signal_to_noise_of_a_jones_matrix(case):
    """An element's error is sigma / (S sqrt(N - 1)) in each component, as for scalar gains."""
    flux, sigma, n = 5.0, 0.5, 200
    generator = np.random.default_rng(8)
    shape = (n, FIRST.size, 1)
    noise = generator.standard_normal((2, *shape, 2, 2)) * sigma
    vis = flux * np.eye(2) + noise[0] + 1j * noise[1]
    model = np.full(shape, flux)
    solution = solve(*reduce(vis, model, np.ones(shape, np.float32), FIRST, SECOND, N,
                             np.arange(n), np.zeros(1, int)), jones="full", **OPTIONS)
    expected = flux * np.sqrt(N - 1) / (sigma * np.sqrt(2))
    assert np.median(solution.snr) == pytest.approx(expected, rel=0.1)


def test_correction_undoes_jones_matrices(case):
    model, true = case
    weight = np.ones(model.shape)
    corrected, new = correct_jones(corrupt(model, true), weight, true, FIRST, SECOND)
    np.testing.assert_allclose(corrected, model[..., None, None] * np.eye(2), atol=1e-10)
    # scalar gains are Jones matrices too, and their weights those of scalar gains
    scalar = true[..., 0, 0]
    vis = corrupt(model, scalar[..., None, None] * np.eye(2))
    _, expected = correct(vis[..., 0, 0], weight, scalar, FIRST, SECOND)
    _, new = correct_jones(vis, weight, scalar[..., None, None] * np.eye(2), FIRST, SECOND)
    np.testing.assert_allclose(new, expected)


def test_the_weight_of_corrected_stokes_i_is_its_inverse_variance(case):
    _, true = case
    generator = np.random.default_rng(5)
    shape = (20000, 1, 1, 2, 2)
    noise = generator.standard_normal(shape) + 1j * generator.standard_normal(shape)
    jones = np.broadcast_to(true[:1, :2, :1], (shape[0], 2, 1, 2, 2))
    corrected, weight = correct_jones(noise, np.ones(shape[:3]), jones, np.array([0]),
                                      np.array([1]))
    # uncorrected, Stokes I has half the variance of a correlation, 2: a weight of 1 is variance 1
    stokes_i = (corrected[..., 0, 0] + corrected[..., 1, 1]) / 2
    assert np.mean(np.abs(stokes_i) ** 2) == pytest.approx(1 / weight[0, 0, 0], rel=0.03)


def test_a_flagged_jones_matrix_flags_its_baselines(case):
    model, true = case
    flagged = true.copy()
    flagged[0, 3], flagged[1, 5] = np.nan, np.ones((2, 2))
    vis, weight = correct_jones(corrupt(model, true), np.ones(model.shape), flagged, FIRST, SECOND)
    for time, antenna in ((0, 3), (1, 5)):
        hit = (np.stack([FIRST, SECOND]) == antenna).any(axis=0)
        assert not weight[time, hit].any()
        assert not vis[time, hit].any()
        assert weight[time, ~hit].all()


def test_corrected_matrices_are_those_of_corrected_data(case):
    """Up to the weight of the data: here |det J_p| |det J_q|, which no solution depends on much."""
    model, true = case
    vis = corrupt(model * 1.3, true)
    a, b = chain.correct_matrices(*one_each(vis, model), np.swapaxes(true, 1, 2))
    np.testing.assert_allclose(a, b[..., None, None] * 1.3 * np.eye(2), atol=1e-4)
    det = np.abs(np.linalg.det(true))
    expected = det[:, FIRST] * det[:, SECOND] * np.abs(model) ** 2
    np.testing.assert_allclose(b[:, :, FIRST, SECOND], np.swapaxes(expected, 1, 2), rtol=1e-5)


def test_a_chain_separates_fast_scalar_phases_from_a_slow_jones_matrix(case):
    model, jones = case
    phase = np.exp(1j * np.random.default_rng(2).standard_normal((N_TIME, N, N_CHANNEL)))
    slow = np.broadcast_to(np.eye(2) + 0.2 * (jones[:1, :, :1] - np.eye(2)), jones.shape)
    vis = corrupt(model, phase[..., None, None] * slow)
    terms = (chain.TermBlocks("T", "phase", np.arange(N_TIME), np.arange(N_CHANNEL)),
             chain.TermBlocks("G", "amplitude_phase", np.zeros(N_TIME, int),
                              np.zeros(N_CHANNEL, int), "full"))
    cells = chain.CellMatrices(*one_each(vis, model),
                               chain.refine([t.time_block for t in terms]),
                               chain.refine([t.channel_block for t in terms]))
    solved, _ = chain.solve_chain(cells, terms, {}, lambda term, s: s.gain, chain.SolverOptions())
    product = combine_gains([chain.expand(solved[t.name], t) for t in terms])
    assert np.abs(vis - corrupt(model, product)).max() < 0.05 * np.abs(vis).max()
    alone = chain.expand(solved["T"], terms[0])
    assert np.abs(vis - corrupt(model, alone)).max() > 0.1 * np.abs(vis).max()


def test_normalised_jones_matrices_have_a_mean_amplitude_of_one(case):
    gain = np.swapaxes(case[1], 1, 2) * 1.7
    snr = np.full(gain.shape[:3], 50.0)
    snr[0, 0, 2] = 1.0
    solution = Solution(gain, snr, np.ones(gain.shape[:2], bool), np.ones(gain.shape[:2], int))
    ready = condition(solution, Conditioning(3.0), normalise=True)
    np.testing.assert_allclose(mean_amplitude(ready), 1.0)
    assert np.isnan(ready[0, 0, 2]).all()
    assert np.isnan(ready).sum() == 4


def test_outliers_are_counted_in_standard_deviations_of_their_own_antenna():
    generator = np.random.default_rng(1)
    size = 1 + 0.01 * generator.standard_normal((200, 1, 3))
    size[:, :, 1] += 0.5                      # another antenna's level is no outlier
    size[7, 0, 2] = 1.2
    size[9, 0, 0] = np.nan
    found = outliers(size, 6.0)
    assert np.argwhere(found).tolist() == [[7, 0, 2]]
    assert not outliers(np.ones((5, 1, 2)), 3.0).any()


def test_smoothing_averages_noise_and_fills_what_is_flagged():
    generator = np.random.default_rng(6)
    time = np.arange(100) * 10.0
    truth = np.exp(1j * np.sin(time / 300.0))[:, None, None]
    gain = truth + 0.1 * generator.standard_normal((100, 1, 8))
    gain[40:42, 0, 3] = np.nan
    gain[:, 0, 5] = np.nan
    found = smooth(gain, Smoothing(time, np.array([1e8]), 40.0, 0.0))
    good = np.delete(found, 5, axis=2)
    assert np.std(good - truth) < 0.05
    assert np.isfinite(good).all()
    assert np.isnan(found[:, 0, 5]).all()
    alone = smooth(gain, Smoothing(time, np.array([1e8]), 0.0, 0.0))
    np.testing.assert_allclose(alone, gain, rtol=1e-12)


@pytest.mark.parametrize("diagonal", [False, True])
def test_smoothing_keeps_the_amplitudes_of_gains_whose_phases_differ(diagonal):
    time, phase = 10.0 * np.arange(30), 0.5 * np.random.default_rng(3).standard_normal((30, 1, 4))
    size = np.array([1.0, 1.0, 1.3, 0.8])
    gain = size * np.exp(1j * phase)
    given = gain[..., None, None] * np.eye(2) if diagonal else gain
    found = smooth(given, Smoothing(time, np.array([1e8]), 20.0, 0.0))
    if diagonal:
        assert not found[..., 0, 1].any()
        found = found[..., 1, 1]
    np.testing.assert_allclose(np.abs(found), np.broadcast_to(size, found.shape), rtol=1e-12)
    near = [k for k in range(30) if abs(time[k] - time[12]) <= 60.0]
    mean = sum(np.exp(-0.5 * ((time[k] - time[12]) / 20.0) ** 2) * np.exp(1j * phase[k, 0])
               for k in near)
    np.testing.assert_allclose(np.angle(found[12, 0]), np.angle(mean), atol=1e-12)
