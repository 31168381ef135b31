"""Gains from normal matrices: averaged alternating directions.

StEFCal (Salvini & Wijnholds 2014, A&A 571, A97), on the matrices of `arl.calibration.normal`:

    g_p <- sum_q A_pq g_q / sum_q B_pq |g_q|^2,

where every second iterate is replaced by the mean of the last two. For phases alone g_p is brought
back to |g_p| = 1 each time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit


@dataclass(frozen=True)
class Solution:
    """Gains of every solution interval.

    Attributes
    ----------
    gain: complex128 (time block, channel block, ant); 1 where an antenna has no data.
    snr: |gain| over its estimated error, the same shape; 0 where an antenna has no data.
    converged, iterations: shape (time block, channel block).
    """

    gain: np.ndarray
    snr: np.ndarray
    converged: np.ndarray
    iterations: np.ndarray


@njit(nogil=True, cache=True)
def _iterate(a, b, gain, phase_only, tolerance, max_iterations):  # pragma: no cover - compiled
    n = gain.size
    new = gain.copy()
    for iteration in range(1, max_iterations + 1):
        for p in range(n):
            top, bottom = 0j, 0.0
            for q in range(n):
                power = b[p, q]
                if power > 0:
                    top += a[p, q] * gain[q]
                    bottom += power * (gain[q].real ** 2 + gain[q].imag ** 2)
            size = abs(top)
            if bottom > 0 and size > 0:
                new[p] = top / size if phase_only else top / bottom
        change, norm = 0.0, 0.0
        for p in range(n):
            value = new[p]
            if iteration % 2 == 0:
                value = 0.5 * (value + gain[p])
                if phase_only and abs(value) > 0:
                    value = value / abs(value)
            change += abs(value - gain[p]) ** 2
            norm += abs(value) ** 2
            gain[p] = value
        if change <= tolerance * tolerance * norm:
            return iteration, True
    return max_iterations, False


@njit(nogil=True, cache=True)
def _solve_all(a, b, gain, phase_only, tolerance, max_iterations, iterations, converged):
    # pragma: no cover - compiled
    for i in range(gain.shape[0]):
        for j in range(gain.shape[1]):
            iterations[i, j], converged[i, j] = _iterate(
                a[i, j], b[i, j], gain[i, j], phase_only, tolerance, max_iterations)


def solve(
    a: np.ndarray,
    b: np.ndarray,
    *,
    mode: str,
    start: np.ndarray | None,
    tolerance: float,
    max_iterations: int,
) -> Solution:
    """Solve every interval on its own.

    Parameters
    ----------
    a, b: normal matrices (time block, channel block, ant, ant).
    mode: "phase" or "amplitude_phase".
    start: gains to start from (time block, channel block, ant), None: all 1. NaN counts as 1.
    tolerance: relative change of the gains at which an interval has converged.
    """
    gain = np.ones(a.shape[:-1], complex)
    if start is not None:
        gain = np.where(np.isfinite(start), start, 1.0).astype(complex)
    iterations = np.zeros(a.shape[:2], np.int64)
    converged = np.zeros(a.shape[:2], np.bool_)
    _solve_all(np.ascontiguousarray(a), np.ascontiguousarray(b), gain, mode == "phase", tolerance,
               max_iterations, iterations, converged)
    has_data = b.sum(axis=-1) > 0
    gain = np.where(has_data, gain, 1.0)
    snr = np.where(has_data, _signal_to_noise(a, b, gain), 0.0)
    return Solution(gain, snr, converged, iterations)


def _signal_to_noise(a: np.ndarray, b: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """|g_p| over its error.

    With r_pq = A_pq / B_pq - g_p conj(g_q) the noise per unit weight is s^2 = mean of B |r|^2,
    corrected for the fitted gains, and the error of g_p is s / sqrt(sum_q B_pq |g_q|^2).
    """
    used = b > 0
    average = np.divide(a, b, out=np.zeros_like(a), where=used)
    r = average - gain[..., :, None] * np.conj(gain[..., None, :])
    pairs = used.sum(axis=(-1, -2)) / 2
    free = np.maximum(pairs - gain.shape[-1], 1.0)
    noise = (b * np.abs(r) ** 2).sum(axis=(-1, -2)) / 2 / free
    information = (b * np.abs(gain[..., None, :]) ** 2).sum(axis=-1)
    error = np.sqrt(noise[..., None] / np.where(information > 0, information, np.inf))
    return np.abs(gain) / np.maximum(error, 1e-12)
