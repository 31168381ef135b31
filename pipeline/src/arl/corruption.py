"""Gain errors with a structure: ionospheric phase screens, slow drifts, bandpasses.

Random numbers follow from the seed and the purpose alone, and each curve is a sum of waves with
such amplitudes, so that any time, channel or station can be had alone, and again.
"""

from __future__ import annotations

import numpy as np

from arl.simulation import seeded_generator

SCREEN_STREAM, DRIFT_STREAM, BANDPASS_STREAM = 3, 4, 5
#: Waves of a screen, and the shortest of them as a share of the longest.
SCREEN_WAVES, SHORTEST_WAVE = 256, 0.02
DRIFT_WAVES = 64


def phase_screen(
    seed: int, position: np.ndarray, time: np.ndarray, frequency: np.ndarray, *,
    rms: float, reference_frequency: float, scale: float, speed: float,
) -> np.ndarray:
    """Phases (rad) of stations below a frozen Kolmogorov screen, (time, ant, chan).

    A sum of plane waves, their lengths from `scale` down, with the power of k^(-11/3) in two
    dimensions (van der Tol 2009, PhD thesis, section 5.2), carried to the east. Phases go as one
    over the frequency, as a plasma's do, and are the same for all directions.

    Parameters
    ----------
    position: east and north (ant, 2), m. time: s. frequency: Hz.
    rms: rad at `reference_frequency` (Hz). scale: m, the longest wave. speed: m/s.
    """
    length, turn, start = seeded_generator(seed, SCREEN_STREAM, 0, 0).uniform(
        size=(3, SCREEN_WAVES))
    k = 2 * np.pi / (scale * SHORTEST_WAVE**length)
    wave = k[:, None] * np.stack([np.cos(2 * np.pi * turn), np.sin(2 * np.pi * turn)], axis=1)
    amplitude = k ** (-5 / 6)  # power per logarithm of k: k^2 k^(-11/3)
    amplitude *= rms * np.sqrt(2 / np.sum(amplitude**2))
    east = np.array([speed, 0.0])
    phase = np.stack([np.cos((position - east * t) @ wave.T + 2 * np.pi * start) @ amplitude
                      for t in time])
    return phase[..., None] * (reference_frequency / np.asarray(frequency))


def drifts(seed: int, n_antenna: int, time: np.ndarray, timescale: float) -> np.ndarray:
    """Two smooth curves of unit variance for each station, (2, time, ant): phase and amplitude.

    Sums of waves whose angular frequencies are normal, with standard deviation 1 / timescale: the
    correlation at a lag d is exp(-(d / timescale)^2 / 2) (Rahimi & Recht 2007, NIPS 20, 1177).
    """
    generator = seeded_generator(seed, DRIFT_STREAM, 0, 0)
    omega = generator.standard_normal((2, n_antenna, DRIFT_WAVES)) / timescale
    start = generator.uniform(0, 2 * np.pi, omega.shape)
    curves = [np.cos(omega * t + start).sum(axis=-1) for t in time]
    return np.stack(curves, axis=1) * np.sqrt(2 / DRIFT_WAVES)


def bandpasses(
    seed: int, channel_index: np.ndarray, n_antenna: int, phase: float, amplitude: float
) -> np.ndarray:
    """Gains (1, ant, chan), (1 + a) exp(i phi), a and phi normal and the same at all times.

    `phase` (rad) and `amplitude` are the standard deviations; indices are global channel numbers.
    """
    draws = np.stack([seeded_generator(seed, BANDPASS_STREAM, 0, int(c)).standard_normal(
        (2, n_antenna)) for c in channel_index], axis=-1)
    return ((1 + amplitude * draws[1]) * np.exp(1j * phase * draws[0]))[None]
