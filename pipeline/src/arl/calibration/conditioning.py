"""What is done to solutions before they are applied: flag, reference, normalise."""

from __future__ import annotations

import numpy as np

from arl.calibration.solver import Solution


def condition(solution: Solution, *, min_snr: float, normalise: bool) -> np.ndarray:
    """Gains ready to be applied: NaN where flagged, referenced, and normalised when asked to.

    Shape (time block, channel block, ant), as in the solution. A solution below `min_snr`, or of
    an antenna without data, is flagged, never applied as if it were good.
    """
    gain = np.where(solution.snr >= min_snr, solution.gain, np.nan)
    gain = reference_phases(gain)
    return normalise_amplitudes(gain) if normalise else gain


def reference_phases(gain: np.ndarray) -> np.ndarray:
    """Turn every interval so that its first unflagged antenna (last axis) has phase zero."""
    good = np.isfinite(gain)
    first = np.argmax(good, axis=-1)[..., None]
    reference = np.take_along_axis(gain, first, axis=-1)
    phase = np.where(np.isfinite(reference), np.angle(reference), 0.0)
    return gain * np.exp(-1j * phase)


def normalise_amplitudes(gain: np.ndarray) -> np.ndarray:
    """Divide every interval by the mean of its amplitudes, so that the flux scale stays.

    The scale of baseline pq is |g_p g_q|, whose mean over baselines is the square of the mean
    amplitude; a geometric mean would move it by the variance of the amplitudes.
    """
    return gain / mean_amplitude(gain)


def mean_amplitude(gain: np.ndarray) -> np.ndarray:
    """The mean amplitude of every interval over its unflagged antennas (last axis, kept as 1).

    Where all are flagged it is 1.
    """
    good = np.isfinite(gain) & (gain != 0)
    total = np.where(good, np.abs(gain), 0.0).sum(axis=-1, keepdims=True)
    count = good.sum(axis=-1, keepdims=True)
    return np.where(count > 0, total / np.maximum(count, 1), 1.0)


def flagged_fraction(gain: np.ndarray) -> np.ndarray:
    """The fraction of flagged solutions of each antenna, shape (ant,)."""
    return np.mean(~np.isfinite(gain), axis=tuple(range(gain.ndim - 1)))
