"""The rows of docs/quality.md about single kernels, against truth.

Data set: LOWBD2 stations within 120 m of the centre (17, 136 baselines), declination -60 degrees,
hour angles -45, 0 and 45 degrees, channels at 90 and 100 MHz; images of 128 x 128 pixels of 4 mrad,
29 degrees across, so that w matters.
"""

import numpy as np
import pytest
from direct import direct_sum

from arl import gridding, simulation
from arl.calibration.normal import reduce
from arl.calibration.solver import solve
from arl.conventions import lm_axis, lmn

pytestmark = pytest.mark.validation

FREQUENCY, NPIXEL, CELL = np.array([90e6, 100e6]), 128, 4e-3
DIRECT = "predict / invert against the direct Fourier sum"
SOURCES = np.array([[30, 40], [64, 64], [100, 77], [20, 110]])
FLUX = np.array([[1.5], [4.0], [0.7], [2.2]]) * np.ones((1, 2))


def directions(pixels):
    axis = lm_axis(NPIXEL, CELL)
    return lmn(axis[pixels[:, 0]], axis[pixels[:, 1]])


def distance(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize(("real", "epsilon"), [(np.float32, 1e-4), (np.float64, 1e-9)])
def test_predict_within_epsilon_of_the_direct_sum(uvw, real, epsilon, measured_as):
    image = np.zeros((NPIXEL, NPIXEL), real)
    image[tuple(SOURCES.T)] = FLUX[:, 0]
    found = gridding.predict(uvw, FREQUENCY, image, cell=CELL, epsilon=epsilon, threads=1)
    off = distance(found, direct_sum(uvw, FREQUENCY, directions(SOURCES), FLUX))
    measured_as(DIRECT, f"predict, {real.__name__}: relative L2", off, f"≤ {epsilon:g}")
    assert off <= epsilon


@pytest.mark.parametrize(("kind", "epsilon"), [(np.complex64, 1e-4), (np.complex128, 1e-9)])
def test_invert_within_epsilon_of_the_direct_sum(uvw, kind, epsilon, measured_as):
    """Every pixel of the image of a field of sources, summed without a gridder."""
    vis = direct_sum(uvw, FREQUENCY, directions(SOURCES), FLUX).astype(kind)
    found = gridding.invert(uvw, FREQUENCY, vis, np.ones(vis.shape, np.float32), npixel=NPIXEL,
                            cell=CELL, epsilon=epsilon, threads=1)
    every = np.stack(np.meshgrid(*[np.arange(0, NPIXEL, 3)] * 2, indexing="ij"), -1).reshape(-1, 2)
    far = directions(every) - [0.0, 0.0, 1.0]
    path = uvw.reshape(-1, 3) @ far.T
    expected = sum(
        (np.exp(-2j * np.pi * path * f / simulation.C) * vis[..., c].reshape(-1, 1)).sum(0).real
        for c, f in enumerate(FREQUENCY))
    off = distance(found[tuple(every.T)], expected)
    measured_as(DIRECT, f"invert, {kind.__name__}: relative L2", off, f"≤ {epsilon:g}")
    assert off <= epsilon


def test_predict_and_invert_are_adjoint_to_1e_12(uvw, measured_as):
    generator = np.random.default_rng(1)
    image = generator.standard_normal((NPIXEL, NPIXEL))
    shape = (*uvw.shape[:2], 2)
    vis = generator.standard_normal(shape) + 1j * generator.standard_normal(shape)
    predicted = gridding.predict(uvw, FREQUENCY, image, cell=CELL, epsilon=1e-10, threads=1)
    inverted = gridding.invert(uvw, FREQUENCY, vis, np.ones(shape), npixel=NPIXEL, cell=CELL,
                               epsilon=1e-10, threads=1)
    there, back = np.vdot(predicted, vis).real, np.vdot(image, inverted)
    off = abs(there - back) / (np.linalg.norm(predicted) * np.linalg.norm(vis))
    measured_as(DIRECT, "predict and invert as adjoints", off, "≤ 1e-12")
    assert off <= 1e-12


def test_the_image_of_noise_has_the_rms_of_theory(uvw, measured_as):
    """Natural weights 1 / sigma^2: the rms is 1 / sqrt(sum of weights), within 5 %."""
    generator = np.random.default_rng(2)
    shape = (*uvw.shape[:2], 2)
    sigma = generator.uniform(0.5, 2.0, shape)
    noise = sigma * (generator.standard_normal(shape) + 1j * generator.standard_normal(shape))
    weight = (1 / sigma**2).astype(np.float32)
    found = gridding.invert(uvw, FREQUENCY, noise.astype(np.complex64), weight, npixel=NPIXEL,
                            cell=CELL, epsilon=1e-4, threads=1) / weight.sum()
    ratio = np.sqrt(np.mean(found**2) * weight.sum())
    measured_as("noise-only image, natural weighting", "rms over theory", ratio, "1 ± 0.05")
    assert ratio == pytest.approx(1.0, abs=0.05)


def solved_error(uvw, pairs, sigma, mode, n_channel, seed):
    """Gains solved per time and channel on the exact model less the injected ones.

    The mean phase of every time and channel, which no visibility sees, is taken out. Shape (time,
    ant, chan); and the squared information sum_q |M_pq|^2 of each.
    """
    first, second = pairs
    frequency = np.linspace(90e6, 100e6, n_channel)
    model = direct_sum(uvw, frequency, directions(SOURCES), np.repeat(FLUX[:, :1], n_channel, 1))
    n = int(second.max()) + 1
    times, channels = np.arange(uvw.shape[0]), np.arange(n_channel)
    true = simulation.random_gains(seed, times, channels, n, 1.0, 0.1 * (mode != "phase"))
    vis = simulation.corrupt(model, true, first, second)
    vis = vis + simulation.thermal_noise(seed, times, channels, first.size, sigma)
    a, b = reduce(vis, model, np.ones(vis.shape, np.float32), first, second, n, times, channels)
    # the fit stops short of the chord between two phases unless it starts near them
    found = solve(a, b, mode=mode, start=np.swapaxes(true, 1, 2) if sigma else None,
                  tolerance=1e-9, max_iterations=2000).gain
    found = np.swapaxes(found, 1, 2)
    turn = np.sum(true * np.conj(found), axis=1, keepdims=True)
    return found * turn / np.abs(turn) - true, np.swapaxes(b.sum(-1), 1, 2)


@pytest.mark.parametrize("mode", ["phase", "amplitude_phase"])
def test_gains_of_noiseless_data_are_the_injected_ones(uvw, pairs, mode, measured_as):
    error, _ = solved_error(uvw, pairs, 0.0, mode, 2, 3)
    measured_as("gains, noiseless data, exact model", f"{mode}: largest error",
                np.abs(error).max(), "≤ 1e-5")
    assert np.abs(error).max() <= 1e-5


def test_gains_of_noisy_data_reach_the_theoretical_error(uvw, pairs, measured_as):
    """At most 1.2 sigma / sqrt(sum_q |M_pq|^2) in each component of g_p.

    With the other gains known (|g_q| = 1) the least-squares estimate of g_p is
    sum_q V_pq conj(M_pq) g_q / sum_q |M_pq|^2. Noise of variance sigma^2 in each component of
    V_pq gives it the variance sigma^2 / sum_q |M_pq|^2: for a single source of S Jy and n samples
    this is the theory's sigma / (S sqrt((N - 1) n)).
    """
    sigma = 0.3
    error, information = solved_error(uvw, pairs, sigma, "amplitude_phase", 40, 4)
    measured = np.sqrt(np.mean(np.abs(error) ** 2 / 2))
    theory = sigma * np.sqrt(np.mean(1 / information))
    measured_as("gains, noisy, exact model", "rms error over theory", measured / theory, "≤ 1.2")
    assert measured <= 1.2 * theory
    assert measured >= 0.8 * theory  # a smaller error would be that of another problem
