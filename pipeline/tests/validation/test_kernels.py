"""The rows of docs/quality.md about single kernels, against truth.

Data sets, at declination -60 degrees. Small: LOWBD2 stations within 120 m of the centre (17, 136
baselines), hour angles -45, 0 and 45 degrees, channels at 90 and 100 MHz; images of 128 x 128
pixels of 4 mrad, 29 degrees across, so that w matters. Full size, by `make bench` alone: that of
the run `reference`, 94 stations within 300 m, 11 times over 120 degrees, 7 channels from 90 to 110
MHz, images of 512 x 512 pixels of 1.59 mrad, 47 degrees across.
"""

from dataclasses import dataclass

import numpy as np
import pytest
from direct import direct_sum

from arl import gridding, simulation
from arl.calibration.normal import reduce
from arl.calibration.solver import solve
from arl.conventions import lm_axis, lmn
from arl.telescope import baseline_uvw, baselines, load_layout, within

pytestmark = pytest.mark.validation

DIRECT = "predict / invert against the direct Fourier sum"
SOURCES = np.array([[30, 40], [64, 64], [100, 77], [20, 110]])
FLUX = np.array([1.5, 4.0, 0.7, 2.2])


@dataclass(frozen=True)
class Observation:
    """A data set: coordinates (m) and antennas of its baselines, channels (Hz), an image of
    `npixel` pixels of `cell` (rad), of which every `step`th is summed directly."""

    label: str
    uvw: np.ndarray
    pairs: tuple[np.ndarray, np.ndarray]
    frequency: np.ndarray
    npixel: int
    cell: float
    step: int

    @property
    def sources(self):
        """Their pixels, (source, 2)."""
        return SOURCES * self.npixel // 128

    def directions(self, pixels):
        axis = lm_axis(self.npixel, self.cell)
        return lmn(axis[pixels[:, 0]], axis[pixels[:, 1]])

    def directly(self, frequency):
        """The visibilities of the sources, summed without a gridder."""
        return direct_sum(self.uvw, frequency, self.directions(self.sources),
                          np.repeat(FLUX[:, None], frequency.size, 1))


def _observation(label, r_max, hour_angles, frequency, npixel, cell, step):
    layout = within(load_layout("LOWBD2"), r_max)
    uvw = baseline_uvw(layout, np.radians(-60.0), np.radians(hour_angles))
    return Observation(label, uvw, baselines(len(layout.names)), frequency, npixel, cell, step)


@pytest.fixture(scope="module",
                params=["small", pytest.param("full", marks=pytest.mark.bench)])
def observed(request):
    if request.param == "full":
        return _observation("full size: ", 300.0, np.linspace(-60, 60, 11),
                            np.linspace(90e6, 110e6, 7), 512, 1.5904e-3, 31)
    return _observation("", 120.0, [-45.0, 0.0, 45.0], np.array([90e6, 100e6]), 128, 4e-3, 3)


def distance(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize(("real", "epsilon"), [(np.float32, 1e-4), (np.float64, 1e-9)])
def test_predict_within_epsilon_of_the_direct_sum(observed, real, epsilon, measured_as):
    image = np.zeros((observed.npixel, observed.npixel), real)
    image[tuple(observed.sources.T)] = FLUX
    found = gridding.predict(observed.uvw, observed.frequency, image, cell=observed.cell,
                             epsilon=epsilon, threads=1)
    off = distance(found, observed.directly(observed.frequency))
    measured_as(DIRECT, f"{observed.label}predict, {real.__name__}: relative L2", off,
                f"≤ {epsilon:g}")
    assert off <= epsilon


@pytest.mark.parametrize(("kind", "epsilon"), [(np.complex64, 1e-4), (np.complex128, 1e-9)])
def test_invert_within_epsilon_of_the_direct_sum(observed, kind, epsilon, measured_as):
    """Pixels all over the image of a field of sources, summed without a gridder."""
    vis = observed.directly(observed.frequency).astype(kind)
    found = invert(observed, vis, np.ones(vis.shape, np.float32), epsilon)
    some = np.arange(0, observed.npixel, observed.step)
    pixels = np.stack(np.meshgrid(some, some, indexing="ij"), -1).reshape(-1, 2)
    far = observed.directions(pixels) - [0.0, 0.0, 1.0]
    path = observed.uvw.reshape(-1, 3) @ far.T
    expected = sum(
        vis[..., c].reshape(-1).astype(complex) @ np.exp(-2j * np.pi * path * f / simulation.C)
        for c, f in enumerate(observed.frequency)).real
    off = distance(found[tuple(pixels.T)], expected)
    measured_as(DIRECT, f"{observed.label}invert, {kind.__name__}: relative L2", off,
                f"≤ {epsilon:g}")
    assert off <= epsilon


def invert(observed, vis, weight, epsilon):
    return gridding.invert(observed.uvw, observed.frequency, vis, weight, npixel=observed.npixel,
                           cell=observed.cell, epsilon=epsilon, threads=1)


def test_predict_and_invert_are_adjoint_to_1e_12(observed, measured_as):
    generator = np.random.default_rng(1)
    image = generator.standard_normal((observed.npixel, observed.npixel))
    shape = (*observed.uvw.shape[:2], observed.frequency.size)
    vis = generator.standard_normal(shape) + 1j * generator.standard_normal(shape)
    predicted = gridding.predict(observed.uvw, observed.frequency, image, cell=observed.cell,
                                 epsilon=1e-10, threads=1)
    inverted = invert(observed, vis, np.ones(shape), 1e-10)
    there, back = np.vdot(predicted, vis).real, np.vdot(image, inverted)
    off = abs(there - back) / (np.linalg.norm(predicted) * np.linalg.norm(vis))
    measured_as(DIRECT, f"{observed.label}predict and invert as adjoints", off, "≤ 1e-12")
    assert off <= 1e-12


def test_the_image_of_noise_has_the_rms_of_theory(observed, measured_as):
    """Natural weights 1 / sigma^2: the rms is 1 / sqrt(sum of weights), within 5 %."""
    generator = np.random.default_rng(2)
    shape = (*observed.uvw.shape[:2], observed.frequency.size)
    sigma = generator.uniform(0.5, 2.0, shape)
    noise = sigma * (generator.standard_normal(shape) + 1j * generator.standard_normal(shape))
    weight = (1 / sigma**2).astype(np.float32)
    found = invert(observed, noise.astype(np.complex64), weight, 1e-4) / weight.sum()
    ratio = np.sqrt(np.mean(found**2) * weight.sum())
    measured_as("noise-only image, natural weighting", f"{observed.label}rms over theory", ratio,
                "1 ± 0.05")
    assert ratio == pytest.approx(1.0, abs=0.05)


def solved_error(observed, sigma, mode, n_channel, seed):
    """Gains solved per time and channel on the exact model less the injected ones.

    The mean phase of every time and channel, which no visibility sees, is taken out. Shape (time,
    ant, chan); and the squared information sum_q |M_pq|^2 of each.
    """
    first, second = observed.pairs
    model = observed.directly(np.linspace(90e6, 100e6, n_channel))
    n = int(second.max()) + 1
    times, channels = np.arange(model.shape[0]), np.arange(n_channel)
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
def test_gains_of_noiseless_data_are_the_injected_ones(observed, mode, measured_as):
    error, _ = solved_error(observed, 0.0, mode, 2, 3)
    measured_as("gains, noiseless data, exact model", f"{observed.label}{mode}: largest error",
                np.abs(error).max(), "≤ 1e-5")
    assert np.abs(error).max() <= 1e-5


def test_gains_of_noisy_data_reach_the_theoretical_error(observed, measured_as):
    """At most 1.2 sigma / sqrt(sum_q |M_pq|^2) in each component of g_p.

    With the other gains known (|g_q| = 1) the least-squares estimate of g_p is
    sum_q V_pq conj(M_pq) g_q / sum_q |M_pq|^2. Noise of variance sigma^2 in each component of
    V_pq gives it the variance sigma^2 / sum_q |M_pq|^2: for a single source of S Jy and n samples
    this is the theory's sigma / (S sqrt((N - 1) n)).
    """
    sigma = 0.3
    error, information = solved_error(observed, sigma, "amplitude_phase", 40, 4)
    measured = np.sqrt(np.mean(np.abs(error) ** 2 / 2))
    theory = sigma * np.sqrt(np.mean(1 / information))
    measured_as("gains, noisy, exact model", f"{observed.label}rms error over theory",
                measured / theory, "≤ 1.2")
    assert measured <= 1.2 * theory
    assert measured >= 0.8 * theory  # a smaller error would be that of another problem
