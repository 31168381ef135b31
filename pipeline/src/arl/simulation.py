"""Simulated observations: exact visibilities of components, gain errors and noise.

All random numbers are a pure function of (seed, purpose, global time, global channel), so that
any partition can be made alone, and again.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from arl.conventions import C

#: Philox streams; one number per purpose.
GAIN_STREAM, NOISE_STREAM = 1, 2
SIDEREAL_RATE = 1.00273790935  # sidereal seconds per second
#: The recurrence over channels is exact to rounding only when they are evenly spaced.
SPACING_TOLERANCE = 1e-9


@njit(nogil=True, cache=True, fastmath=True)
def _predict_rows(uvw, first, step, lmn, flux):  # pragma: no cover - compiled
    n_row, n_component, n_channel = uvw.shape[0], lmn.shape[0], flux.shape[1]
    out = np.zeros((n_row, n_channel), np.complex128)
    for r in range(n_row):
        for k in range(n_component):
            path = uvw[r, 0] * lmn[k, 0] + uvw[r, 1] * lmn[k, 1] + uvw[r, 2] * (lmn[k, 2] - 1.0)
            turns = path * first
            angle = 2 * math.pi * (turns - math.floor(turns))
            phasor = complex(math.cos(angle), math.sin(angle))
            turns = path * step
            angle = 2 * math.pi * (turns - math.floor(turns))
            turn = complex(math.cos(angle), math.sin(angle))
            for c in range(n_channel):
                out[r, c] += flux[k, c] * phasor
                phasor *= turn
    return out


def predict_components(
    uvw: np.ndarray, frequency: np.ndarray, lmn: np.ndarray, flux: np.ndarray
) -> np.ndarray:
    """The exact visibilities of point components, complex128 (time, baseline, chan).

    Parameters
    ----------
    uvw: metres, (time, baseline, 3). frequency: Hz, (chan,).
    lmn: direction cosines (component, 3). flux: Jy, (component, chan).
    """
    rows = np.ascontiguousarray(uvw.reshape(-1, 3), float)
    lmn, flux = np.ascontiguousarray(lmn, float), np.ascontiguousarray(flux, float)
    shape = (*uvw.shape[:-1], frequency.size)
    if _evenly_spaced(frequency):
        step = (frequency[1] - frequency[0]) / C if frequency.size > 1 else 0.0
        return _predict_rows(rows, frequency[0] / C, step, lmn, flux).reshape(shape)
    channels = [_predict_rows(rows, f / C, 0.0, lmn, flux[:, k:k + 1])
                for k, f in enumerate(frequency)]
    return np.concatenate(channels, axis=1).reshape(shape)


def _evenly_spaced(frequency: np.ndarray) -> bool:
    spacing = np.diff(frequency)
    return bool(spacing.size == 0
                or np.ptp(spacing) <= SPACING_TOLERANCE * np.abs(frequency).max())


def _generator(seed: int, stream: int, time: int, channel: int) -> np.random.Generator:
    cell = (stream << 48) | (time << 24) | channel
    return np.random.Generator(np.random.Philox(key=[seed, cell]))


def random_gains(
    seed: int,
    time_index: np.ndarray,
    channel_index: np.ndarray,
    n_antenna: int,
    phase_error: float,
    amplitude_error: float,
) -> np.ndarray:
    """Gains (time, antenna, chan) = (1 + a) exp(i phi), a and phi normal, all independent.

    `phase_error` is the standard deviation of phi in rad, `amplitude_error` that of a; the
    indices are global numbers of times and channels.
    """
    gains = np.empty((len(time_index), n_antenna, len(channel_index)), complex)
    for i, t in enumerate(time_index):
        for k, c in enumerate(channel_index):
            generator = _generator(seed, GAIN_STREAM, int(t), int(c))
            phase, amplitude = generator.standard_normal((2, n_antenna))
            gains[i, :, k] = (1 + amplitude_error * amplitude) * np.exp(1j * phase_error * phase)
    return gains


def corrupt(
    vis: np.ndarray, gains: np.ndarray, antenna1: np.ndarray, antenna2: np.ndarray
) -> np.ndarray:
    """g_p V conj(g_q); vis (time, baseline, chan), gains (time, antenna, chan)."""
    return gains[:, antenna1] * vis * np.conj(gains[:, antenna2])


def thermal_noise(
    seed: int, time_index: np.ndarray, channel_index: np.ndarray, n_baseline: int, sigma: float
) -> np.ndarray:
    """Complex noise (time, baseline, chan), standard deviation sigma (Jy) in each component."""
    noise = np.empty((len(time_index), n_baseline, len(channel_index)), complex)
    for i, t in enumerate(time_index):
        for k, c in enumerate(channel_index):
            generator = _generator(seed, NOISE_STREAM, int(t), int(c))
            real, imaginary = generator.standard_normal((2, n_baseline))
            noise[i, :, k] = sigma * (real + 1j * imaginary)
    return noise


def sigma_from_sefd(sefd: float, channel_width: float, integration_time: float) -> float:
    """Noise (Jy) of one component of one Stokes I visibility of two equal stations.

    SEFD / sqrt(2 bandwidth time) for one polarisation (Thompson, Moran & Swenson 2017, eq. 6.50),
    and another sqrt(2) less for the mean of two.
    """
    return sefd / math.sqrt(4 * channel_width * integration_time)


def sidereal_seconds(hour_angle: np.ndarray) -> np.ndarray:
    """Seconds of time after transit at which an hour angle (rad) is reached."""
    return np.asarray(hour_angle) * 86400 / (2 * np.pi) / SIDEREAL_RATE
