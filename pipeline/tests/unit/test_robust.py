"""Robust weights: the distribution they come from, and gains beside outliers."""

from __future__ import annotations

import numpy as np
import pytest

from arl.calibration import chain, robust
from arl.calibration.robust import squared_residuals, student_weights
from arl.simulation import corrupt, predict_components, random_gains
from arl.telescope import baselines

N_ANTENNA, N_TIME, N_CHANNEL, SIGMA = 20, 12, 2, 0.3


@pytest.mark.parametrize("size", [2, 8])
def test_the_weights_are_those_of_the_distribution_the_residuals_have(size):
    """Student's t with nu = 4 in any unit: u = (4 + d) / (4 + delta); normal numbers: nearly 1."""
    generator = np.random.default_rng(3)
    normal = generator.standard_normal((40000, size))
    student = normal / np.sqrt(generator.chisquare(4, 40000) / 4)[:, None]
    delta = np.sum(student**2, axis=1)
    np.testing.assert_allclose(
        student_weights(7e-4 * delta, size), (4 + size) / (4 + delta), rtol=0.1)
    delta = np.sum(normal**2, axis=1)
    np.testing.assert_allclose(
        student_weights(3e5 * delta, size), (30 + size) / (30 + delta), rtol=0.03)


def test_weights_fall_with_the_residual_and_outliers_have_none():
    generator = np.random.default_rng(3)
    square = np.sum(generator.standard_normal((1000, 2)) ** 2, axis=1)
    square[:50] = 1e4
    weights = student_weights(square, 2)
    assert weights[:50].max() < 1e-3
    assert np.median(weights) > 0.5
    assert (np.diff(weights[np.argsort(square)]) <= 1e-12).all()


def test_samples_that_fit_exactly_leave_all_weights_alone():
    assert student_weights(np.array([0.0, 0.0, 0.0, 5.0]), 2).tolist() == [1, 1, 1, 1]


@pytest.fixture(scope="module")
def observation():
    first, second = baselines(N_ANTENNA)
    generator = np.random.default_rng(4)
    position = generator.uniform(-150, 150, (N_ANTENNA, 3)) * [1, 1, 0.05]
    uvw = np.repeat((position[second] - position[first])[None], N_TIME, axis=0)
    lmn = np.array([[0, 0, 1], [0.05, 0.02, 0.998549]])
    model = predict_components(uvw, np.linspace(95e6, 105e6, N_CHANNEL), lmn,
                               np.array([[5.0], [3.0]]) * np.ones((1, N_CHANNEL)))
    noise = SIGMA * (generator.standard_normal(model.shape)
                     + 1j * generator.standard_normal(model.shape))
    return first, second, model, noise


@pytest.mark.parametrize("matrix", [False, True])
def test_residuals_are_what_they_are_defined_as(observation, matrix):
    first, second, model, noise = observation
    gain = random_gains(1, np.arange(N_TIME), np.arange(N_CHANNEL), N_ANTENNA, 1.0, 0.1)
    vis, weight = model + noise, np.ones(model.shape, np.float32)
    weight[2, 5] = 0
    if matrix:
        generator = np.random.default_rng(1)
        gain = gain[..., None, None] * (np.eye(2) + 0.1 * generator.standard_normal((2, 2)))
        vis = vis[..., None, None] * np.array([[1, 0.1], [0.2, 0.9]])
        expected = np.sum(np.abs(
            vis - model[..., None, None] * gain[:, first] @ np.conj(
                np.swapaxes(gain, -1, -2))[:, second]) ** 2, axis=(-1, -2))
    else:
        expected = np.abs(vis - gain[:, first] * model * np.conj(gain[:, second])) ** 2
    np.testing.assert_allclose(
        squared_residuals(vis, model, weight, first, second, gain), weight * expected, rtol=1e-9)


def solved(vis, model, terms, observation, weight=None):
    """The product of all terms' gains (time, ant, chan), each solved as it says."""
    first, second, *_ = observation
    weight = np.ones(model.shape, np.float32) if weight is None else weight
    plain = chain.reduce_terms(vis, model, weight, first, second, N_ANTENNA, terms)
    matrices = plain
    if any(t.robust for t in terms):
        found = robust.reweigh(vis, model, weight, first, second, N_ANTENNA, terms, {})
        other = chain.reduce_terms(vis, model, found, first, second, N_ANTENNA, terms)
        matrices = chain.CellMatrices(plain.a, plain.b, plain.times, plain.channels,
                                      (other.a, other.b))
    solution, _ = chain.solve_chain(matrices, terms, {}, lambda term, s: s.gain,
                                    chain.SolverOptions())
    return {t.name: chain.expand(solution[t.name], t) for t in terms}


def error(found, true):
    turn = np.sum(true * np.conj(found), axis=1, keepdims=True)
    return float(np.sqrt(np.mean(np.abs(found * turn / np.abs(turn) - true) ** 2)))


def terms_of(*names, length=6):
    blocks = np.arange(N_TIME) // length
    return tuple(chain.TermBlocks(name[0], "amplitude_phase", blocks,
                                  np.zeros(N_CHANNEL, int), robust=name.endswith("!"))
                 for name in names)


def outliers(observation, share):
    """Interference: a few samples of all baselines, twenty times as strong as the sky."""
    _, _, model, noise = observation
    generator = np.random.default_rng(9)
    hit = generator.random(model.shape) < share
    turned = np.exp(2j * np.pi * generator.random(model.shape))
    return np.where(hit, 100.0 * turned, 0) + noise


def test_outliers_move_robust_gains_twenty_times_less(observation):
    """2 % of the samples: gains are as good as without them, to a quarter."""
    first, second, model, noise = observation
    slow = np.repeat(random_gains(5, np.arange(2), np.arange(1), N_ANTENNA, 1.0, 0.1), 6, axis=0)
    true = np.repeat(slow, N_CHANNEL, axis=2)
    sky = corrupt(model, true, first, second)
    hit = sky + outliers(observation, 0.02)
    clean = error(solved(sky + noise, model, terms_of("G"), observation)["G"], true)
    plain = error(solved(hit, model, terms_of("G"), observation)["G"], true)
    found = error(solved(hit, model, terms_of("G!"), observation)["G"], true)
    assert found < 1.25 * clean
    assert found < plain / 20


def test_without_outliers_robust_weights_cost_little(observation):
    first, second, model, noise = observation
    slow = np.repeat(random_gains(5, np.arange(2), np.arange(1), N_ANTENNA, 1.0, 0.1), 6, axis=0)
    true = np.repeat(slow, N_CHANNEL, axis=2)
    vis = corrupt(model, true, first, second) + noise
    plain, found = (error(solved(vis, model, terms_of(name), observation)["G"], true)
                    for name in ("G", "G!"))
    assert found < 1.1 * plain


def test_only_the_terms_that_are_robust_change(observation):
    """Two terms on the same intervals; the first takes all the errors there are."""
    model = observation[2]
    vis = model + outliers(observation, 0.02)
    both = solved(vis, model, terms_of("T", "G"), observation)
    second_only = solved(vis, model, terms_of("T", "G!"), observation)
    np.testing.assert_array_equal(second_only["T"], both["T"])
    assert np.abs(second_only["G"] - both["G"]).max() > 1e-3
    first_only = solved(vis, model, terms_of("T!", "G"), observation)
    assert np.abs(first_only["T"] - both["T"]).max() > 1e-3


def test_robust_matrices_merge_as_the_others(observation):
    first, second, model, noise = observation
    terms = terms_of("T", "G")
    parts = []
    for half in (slice(0, 6), slice(6, 12)):
        own = [chain.TermBlocks(t.name, t.mode, t.time_block[half], t.channel_block)
               for t in terms]
        m = chain.reduce_terms(model[half] + noise[half], model[half],
                               np.ones(model[half].shape, np.float32), first, second, N_ANTENNA,
                               own)
        parts.append(chain.keep_terms(chain.CellMatrices(
            m.a, m.b, m.times, m.channels, (2 * m.a, 2 * m.b)), 1))
    merged = chain.merge(parts)
    np.testing.assert_array_equal(merged.robust[0], 2 * merged.a)
    np.testing.assert_array_equal(merged.robust[1], 2 * merged.b)
