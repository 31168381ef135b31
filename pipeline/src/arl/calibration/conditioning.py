"""What is done to solutions before they are applied: flag, smooth, reference, normalise.

Gains are (time block, channel block, ant), or (time block, channel block, ant, 2, 2) where they are
Jones matrices; NaN marks a flagged one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from arl.calibration.solver import Solution
from arl.conventions import MAD_TO_SIGMA

#: Neighbours farther than this many standard deviations of the kernel take no part.
REACH = 3.0


@dataclass(frozen=True)
class Smoothing:
    """Gaussian kernels along time and frequency, by their standard deviations.

    Attributes
    ----------
    time, frequency: centres of the solution intervals (s; Hz), (time block,), (channel block,).
    time_width, frequency_width: standard deviations, in s and Hz; 0: none.
    complex_mean: as complex numbers, for the elements of full Jones matrices, which may vanish;
        else amplitudes and phases are smoothed apart.
    """

    time: np.ndarray
    frequency: np.ndarray
    time_width: float
    frequency_width: float
    complex_mean: bool = False


@dataclass(frozen=True)
class Conditioning:
    """How solutions are made ready.

    Attributes
    ----------
    min_snr: solutions below it are flagged.
    outlier_mad: amplitudes farther than this many (scaled) median absolute deviations from their
        antenna's median are flagged; None: none are.
    reference: number of the antenna whose phase is zero; None: the first that is not flagged.
    """

    min_snr: float
    outlier_mad: float | None = None
    reference: int | None = None


def condition(
    solution: Solution, how: Conditioning, *, normalise: bool, smoothing: Smoothing | None = None
) -> np.ndarray:
    """Gains ready to be applied: flagged, referenced, smoothed, and normalised when asked to.

    A solution below the least signal-to-noise, or of an antenna without data, is flagged, never
    applied as if it were good.
    """
    good = solution.snr >= how.min_snr
    if how.outlier_mad is not None:
        good &= ~outliers(amplitude(solution.gain, good), how.outlier_mad)
    gain = _where(good, solution.gain)
    gain = reference_phases(gain, how.reference)
    if smoothing is not None:
        gain = smooth(gain, smoothing)
    return normalise_amplitudes(gain) if normalise else gain


def flag_faint(gain: np.ndarray, snr: np.ndarray, min_snr: float) -> np.ndarray:
    """Gains that are NaN where their signal-to-noise is below a limit."""
    return _where(snr >= min_snr, gain)


def _is_jones(gain: np.ndarray) -> bool:
    return gain.ndim == 5


def _where(good: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Gains that are NaN where they are not good (time block, channel block, ant)."""
    return np.where(good[..., None, None] if _is_jones(gain) else good, gain, np.nan)


def amplitude(gain: np.ndarray, good: np.ndarray | None = None) -> np.ndarray:
    """|g|, or the root of half the squares of a Jones matrix (time block, channel block, ant).

    NaN where it is not `good`.
    """
    size = (np.sqrt(np.sum(np.abs(gain) ** 2, axis=(-1, -2)) / 2) if _is_jones(gain)
            else np.abs(gain))
    return size if good is None else np.where(good, size, np.nan)


def outliers(size: np.ndarray, limit: float) -> np.ndarray:
    """Amplitudes far from the median of their antenna's, the same shape (..., ant).

    The deviation is counted in 1.4826 median absolute deviations, the standard deviation of
    Gaussian numbers. Where more than half of an antenna's amplitudes are the same none is one.
    """
    flat = size.reshape(-1, size.shape[-1])
    known = np.isfinite(flat).any(axis=0)
    middle, spread = np.full((2, size.shape[-1]), np.nan)
    middle[known] = np.nanmedian(flat[:, known], axis=0)
    spread[known] = MAD_TO_SIGMA * np.nanmedian(np.abs(flat - middle)[:, known], axis=0)
    # numbers that agree to their last digits have no spread that could tell an outlier
    return (spread > 1e-9 * middle) & (np.abs(size - middle) > limit * spread)


def reference_phases(gain: np.ndarray, reference: int | None = None) -> np.ndarray:
    """Turn every interval so that the reference antenna's phases are zero.

    Without one, or where it is flagged, the first unflagged antenna is taken. A Jones matrix is
    multiplied from the right by the unitary matrix that makes the reference's Hermitian (its polar
    decomposition): an unpolarised sky does not see it.
    """
    good = np.isfinite(gain).all(axis=(-1, -2)) if _is_jones(gain) else np.isfinite(gain)
    index = np.argmax(good, axis=-1)
    if reference is not None:
        index = np.where(good[..., reference], reference, index)
    if not _is_jones(gain):
        chosen = np.take_along_axis(gain, index[..., None], axis=-1)
        return gain * np.exp(-1j * np.where(np.isfinite(chosen), np.angle(chosen), 0.0))
    chosen = np.take_along_axis(gain, index[..., None, None, None], axis=2)[..., 0, :, :]
    left, _, right = np.linalg.svd(np.where(np.isfinite(chosen), chosen, np.eye(2)))
    unitary = left @ right
    return gain @ np.conj(np.swapaxes(unitary, -1, -2))[..., None, :, :]


def smooth(gain: np.ndarray, smoothing: Smoothing) -> np.ndarray:
    """Means of neighbours in time and frequency, weighted by Gaussians and without flagged ones.

    A mean of complex numbers is shorter than they are where their phases differ, and would move
    the flux scale: the phase is that of the mean of e^(i phase), and the amplitude the mean of
    amplitudes. A flagged solution is interpolated from neighbours within the kernel's reach;
    where there are none it stays flagged.
    """
    if smoothing.complex_mean:
        return _mean_of_neighbours(gain, smoothing)
    size = np.abs(gain)
    turn = np.divide(gain, size, out=np.where(np.isnan(gain), np.nan, 1.0 + 0j), where=size > 0)
    phase = np.angle(_mean_of_neighbours(turn, smoothing))
    return _mean_of_neighbours(size, smoothing) * np.exp(1j * phase)


def _mean_of_neighbours(value: np.ndarray, smoothing: Smoothing) -> np.ndarray:
    good = np.isfinite(value)
    kernels = (_kernel(smoothing.time, smoothing.time_width),
               _kernel(smoothing.frequency, smoothing.frequency_width))
    total, weight = (np.einsum("tT,cC,TC...->tc...", *kernels, x)
                     for x in (np.where(good, value, 0.0), good.astype(float)))
    return np.divide(total, weight, out=np.full_like(total, np.nan), where=weight > 0)


def _kernel(centre: np.ndarray, width: float) -> np.ndarray:
    if not width:
        return np.eye(centre.size)
    distance = (centre[:, None] - centre[None, :]) / width
    return np.where(np.abs(distance) <= REACH, np.exp(-0.5 * distance**2), 0.0)


def normalise_amplitudes(gain: np.ndarray) -> np.ndarray:
    """Divide every interval by the mean of its amplitudes, so that the flux scale stays.

    The scale of baseline pq is |g_p g_q|, whose mean over baselines is the square of the mean
    amplitude; a geometric mean would move it by the variance of the amplitudes.
    """
    return gain / _spread(mean_amplitude(gain), gain)


def scale_amplitudes(gain: np.ndarray, scale: np.ndarray | float) -> np.ndarray:
    """Gains times a factor for all, or for each interval (time block, channel block, 1)."""
    return gain * _spread(np.asarray(scale), gain)


def _spread(per_antenna: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Numbers (..., ant or 1) in a shape that multiplies gains."""
    return per_antenna[..., None, None] if _is_jones(gain) and per_antenna.ndim else per_antenna


def mean_amplitude(gain: np.ndarray) -> np.ndarray:
    """The mean amplitude of every interval over its unflagged antennas (last axis, kept as 1).

    Where all are flagged it is 1.
    """
    size = amplitude(gain)
    good = np.isfinite(size) & (size != 0)
    total = np.where(good, size, 0.0).sum(axis=-1, keepdims=True)
    count = good.sum(axis=-1, keepdims=True)
    return np.where(count > 0, total / np.maximum(count, 1), 1.0)


def flagged_fraction(gain: np.ndarray) -> np.ndarray:
    """The fraction of flagged solutions of each antenna, shape (ant,)."""
    return np.mean(~np.isfinite(amplitude(gain)), axis=(0, 1))
