"""Simulated observations: exact visibilities of components, gain errors and noise.

All random numbers are a pure function of (seed, purpose, global time, global channel), so that
any partition can be made alone, and again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from arl.conventions import C

#: Philox streams; one number per purpose (those from 3 on are in `arl.corruption`).
GAIN_STREAM, NOISE_STREAM = 1, 2
SIDEREAL_RATE = 1.00273790935  # sidereal seconds per second
#: Taylor coefficients of sine and cosine.
S3, S5, S7, S9, S11, S13, S15, S17 = ((-1) ** k / math.factorial(2 * k + 1) for k in range(1, 9))
C2, C4, C6, C8, C10, C12, C14, C16, C18 = ((-1) ** k / math.factorial(2 * k) for k in range(1, 10))


@njit(nogil=True, cache=True, fastmath=True)
def _predict_rows(uvw, wavenumber, lmn, flux):  # pragma: no cover - compiled
    """Visibilities (row, chan); the inner loop has no branch and no call, so it is vectorised.

    With x = half the phase in [-pi/2, pi/2], cos(2x) = 1 - 2 sin(x)^2 and sin(2x) = 2 sin(x)
    cos(x); the Taylor series of sin and cos to x^17 and x^18 are exact to 1e-13 there.
    """
    n_row, n_component, n_channel = uvw.shape[0], lmn.shape[1], flux.shape[0]
    out = np.empty((n_row, n_channel), np.complex128)
    for r in range(n_row):
        for c in range(n_channel):
            u, v, w = uvw[r] * wavenumber[c]
            real = imaginary = 0.0
            for k in range(n_component):
                turns = u * lmn[0, k] + v * lmn[1, k] + w * lmn[2, k]
                x = math.pi * (turns - math.floor(turns + 0.5))
                y = x * x
                sine = x * (1 + y * (S3 + y * (S5 + y * (S7 + y * (S9 + y * (S11 + y * (
                    S13 + y * (S15 + y * S17))))))))
                cosine = 1 + y * (C2 + y * (C4 + y * (C6 + y * (C8 + y * (C10 + y * (C12 + y * (
                    C14 + y * (C16 + y * C18))))))))
                real += flux[c, k] * (1 - 2 * sine * sine)
                imaginary += flux[c, k] * 2 * sine * cosine
            out[r, c] = complex(real, imaginary)
    return out


@njit(nogil=True, cache=True, fastmath=True)
def _predict_smeared_rows(
    uvw, swept, wavenumber, width, lmn, flux
):  # pragma: no cover - compiled
    """As `_predict_rows`, each term times sinc of its turns over integration and channel."""
    n_row, n_component, n_channel = uvw.shape[0], lmn.shape[1], flux.shape[0]
    out = np.empty((n_row, n_channel), np.complex128)
    for r in range(n_row):
        for c in range(n_channel):
            total = 0j
            for k in range(n_component):
                path = uvw[r, 0] * lmn[0, k] + uvw[r, 1] * lmn[1, k] + uvw[r, 2] * lmn[2, k]
                moved = (swept[r, 0] * lmn[0, k] + swept[r, 1] * lmn[1, k]
                         + swept[r, 2] * lmn[2, k])
                across, along = math.pi * path * width, math.pi * moved * wavenumber[c]
                left = 1.0 if abs(across) < 1e-6 else math.sin(across) / across
                left *= 1.0 if abs(along) < 1e-6 else math.sin(along) / along
                phase = 2 * math.pi * path * wavenumber[c]
                total += flux[c, k] * left * complex(math.cos(phase), math.sin(phase))
            out[r, c] = total
    return out


@dataclass(frozen=True)
class Smearing:
    """What a sample is averaged over: the way its baseline moves within the integration, m
    (time, baseline, 3), and the width of its channel, Hz."""

    swept: np.ndarray
    channel_width: float


def predict_components(
    uvw: np.ndarray, frequency: np.ndarray, lmn: np.ndarray, flux: np.ndarray,
    shape: np.ndarray | None = None, smearing: Smearing | None = None,
) -> np.ndarray:
    """The exact visibilities of components, complex128 (time, baseline, chan).

    Parameters
    ----------
    uvw: metres, (time, baseline, 3). frequency: Hz, (chan,).
    lmn: direction cosines (component, 3). flux: Jy, (component, chan).
    shape: of Gaussians, (component, 3) as in `arl.sky.Components`; None: all are points.
    smearing: the mean over integration and channel, to first order in both (Thompson, Moran &
        Swenson 2017, section 6.4), for the centre of a Gaussian; None: the value in the middle.
    """
    extended = np.zeros(len(lmn), bool) if shape is None else shape[:, 0] > 0
    vis = _predict_points(uvw, frequency, lmn[~extended], flux[~extended], smearing)
    for k in np.flatnonzero(extended):
        one = slice(k, k + 1)
        vis += (gaussian_envelope(uvw, frequency, shape[k])  # type: ignore[index]  # not None
                * _predict_points(uvw, frequency, lmn[one], flux[one], smearing))
    return vis


def _predict_points(
    uvw: np.ndarray, frequency: np.ndarray, lmn: np.ndarray, flux: np.ndarray,
    smearing: Smearing | None,
) -> np.ndarray:
    rows = np.ascontiguousarray(uvw.reshape(-1, 3), float)
    directions = np.ascontiguousarray((np.asarray(lmn, float) - [0.0, 0.0, 1.0]).T)
    wavenumber = np.asarray(frequency, float) / C
    fluxes = np.ascontiguousarray(np.asarray(flux, float).T)
    if smearing is None:
        vis = _predict_rows(rows, wavenumber, directions, fluxes)
    else:
        swept = np.ascontiguousarray(smearing.swept.reshape(-1, 3), float)
        vis = _predict_smeared_rows(rows, swept, wavenumber, smearing.channel_width / C,
                                    directions, fluxes)
    return vis.reshape(*uvw.shape[:-1], len(frequency))


def gaussian_envelope(
    uvw: np.ndarray, frequency: np.ndarray, shape: np.ndarray
) -> np.ndarray:
    """The visibility of a Gaussian of 1 Jy at the phase centre, (time, baseline, chan).

    exp(-pi^2 (a^2 + b^2) / (4 ln 2)) with a, b the baseline along the axes in units of one over
    the full width: the transform of exp(-4 ln 2 (x^2 / major^2 + y^2 / minor^2)).
    """
    major, minor, angle = shape
    u, v = uvw[..., 0, None], uvw[..., 1, None]
    along = major * (u * np.sin(angle) + v * np.cos(angle))
    across = minor * (u * np.cos(angle) - v * np.sin(angle))
    scale = (np.asarray(frequency) / C) ** 2
    return np.exp(-(np.pi**2) / (4 * math.log(2)) * (along**2 + across**2) * scale)


def seeded_generator(seed: int, stream: int, time: int, channel: int) -> np.random.Generator:
    """Random numbers of one purpose (stream), global time and channel."""
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
            generator = seeded_generator(seed, GAIN_STREAM, int(t), int(c))
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
            generator = seeded_generator(seed, NOISE_STREAM, int(t), int(c))
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
