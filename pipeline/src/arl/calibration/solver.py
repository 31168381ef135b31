"""Gains from normal matrices: averaged alternating directions.

StEFCal (Salvini & Wijnholds 2014, A&A 571, A97), on the matrices of `arl.calibration.normal`:

    g_p <- sum_q A_pq g_q / sum_q B_pq |g_q|^2,

where every second iterate is replaced by the mean of the last two. For phases alone g_p is brought
back to |g_p| = 1 each time. With two receptors and an unpolarised model the gain is a Jones matrix,

    J_p <- (sum_q A_pq J_q) (sum_q B_pq J_q^H J_q)^-1,

of which any J_p U, U unitary and the same for all p, is as good a solution.
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
    gain: complex128 (time block, channel block, ant), with another (2, 2) where the matrices have
        it; 1 (the unit matrix) where an antenna has no data.
    snr: |gain| over its estimated error, of the worse receptor (time block, channel block, ant);
        0 where an antenna has no data.
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


@njit(nogil=True, cache=True)
def _divide(top, bottom, out):  # pragma: no cover - compiled
    """out = top / bottom of 2 x 2 matrices; False where bottom is singular."""
    det = bottom[0, 0] * bottom[1, 1] - bottom[0, 1] * bottom[1, 0]
    if abs(det) <= 1e-14 * abs(bottom[0, 0] * bottom[1, 1]):
        return False
    for x in range(2):
        first, second = top[x, 0], top[x, 1]
        out[x, 0] = (first * bottom[1, 1] - second * bottom[1, 0]) / det
        out[x, 1] = (second * bottom[0, 0] - first * bottom[0, 1]) / det
    return True


@njit(nogil=True, cache=True)
def _iterate_jones(a, b, gain, tolerance, max_iterations):  # pragma: no cover - compiled
    n = gain.shape[0]
    new = gain.copy()
    top, bottom = np.empty((2, 2), np.complex128), np.empty((2, 2), np.complex128)
    for iteration in range(1, max_iterations + 1):
        for p in range(n):
            top[:] = 0
            bottom[:] = 0
            for q in range(n):
                power = b[p, q]
                if power > 0:
                    for x in range(2):
                        for y in range(2):
                            for z in range(2):
                                top[x, y] += a[p, q, x, z] * gain[q, z, y]
                                bottom[x, y] += power * np.conj(gain[q, z, x]) * gain[q, z, y]
            _divide(top, bottom, new[p])
        half = 0.5 if iteration % 2 == 0 else 1.0
        change, norm = 0.0, 0.0
        for p in range(n):
            for x in range(2):
                for y in range(2):
                    value = half * new[p, x, y] + (1.0 - half) * gain[p, x, y]
                    change += abs(value - gain[p, x, y]) ** 2
                    norm += abs(value) ** 2
                    gain[p, x, y] = value
        if change <= tolerance * tolerance * norm:
            return iteration, True
    return max_iterations, False


@njit(nogil=True, cache=True)
def _solve_all_jones(a, b, gain, tolerance, max_iterations, iterations, converged):
    # pragma: no cover - compiled
    for i in range(gain.shape[0]):
        for j in range(gain.shape[1]):
            iterations[i, j], converged[i, j] = _iterate_jones(
                a[i, j], b[i, j], gain[i, j], tolerance, max_iterations)


def solve(
    a: np.ndarray,
    b: np.ndarray,
    *,
    mode: str,
    start: np.ndarray | None,
    tolerance: float,
    max_iterations: int,
    jones: str = "scalar",
    free_amplitude: bool = False,
) -> Solution:
    """Solve every interval on its own.

    Parameters
    ----------
    a, b: normal matrices (time block, channel block, ant, ant); a may have another (2, 2).
    mode: "phase" or "amplitude_phase".
    start: gains to start from (time block, channel block, ant), with (2, 2) as `a`; None: all 1.
        NaN counts as 1.
    tolerance: relative change of the gains at which an interval has converged.
    jones: "scalar", one gain for both receptors; "diagonal", one each; "full", a Jones matrix, of
        which mode "phase" is no subset. Acts where `a` has its (2, 2).
    free_amplitude: the signal-to-noise of phases is that of gains with amplitudes: what those and
        the model's flux scale are off is no noise, which it else counts as. Not with "full".
    """
    if a.ndim == b.ndim:
        return _solve_scalar(a, b, mode, start, tolerance, max_iterations, free_amplitude)
    if jones == "full":
        return _solve_full(a, b, start, tolerance, max_iterations)
    if jones == "scalar":
        both = _solve_scalar(a[..., 0, 0] + a[..., 1, 1], 2 * b, mode,
                             None if start is None else start[..., 0, 0], tolerance,
                             max_iterations, free_amplitude)
        return _join(both, both)
    return _join(*(
        _solve_scalar(a[..., k, k], b, mode, None if start is None else start[..., k, k],
                      tolerance, max_iterations, free_amplitude) for k in range(2)))


def _join(one: Solution, other: Solution) -> Solution:
    """Diagonal Jones matrices of the gains of two receptors."""
    gain = np.zeros((*one.gain.shape, 2, 2), complex)
    gain[..., 0, 0], gain[..., 1, 1] = one.gain, other.gain
    return Solution(gain, np.minimum(one.snr, other.snr), one.converged & other.converged,
                    np.maximum(one.iterations, other.iterations))


def _solve_full(
    a: np.ndarray, b: np.ndarray, start: np.ndarray | None, tolerance: float, max_iterations: int
) -> Solution:
    """Jones matrices (time block, channel block, ant, 2, 2)."""
    gain = np.broadcast_to(np.eye(2, dtype=complex), (*b.shape[:-1], 2, 2)).copy()
    if start is not None:
        gain = np.where(np.isfinite(start), start, gain)
    iterations = np.zeros(a.shape[:2], np.int64)
    converged = np.zeros(a.shape[:2], np.bool_)
    _solve_all_jones(np.ascontiguousarray(a), np.ascontiguousarray(b), gain, tolerance,
                     max_iterations, iterations, converged)
    has_data = b.sum(axis=-1) > 0
    gain = np.where(has_data[..., None, None], gain, np.eye(2))
    snr = np.where(has_data, _signal_to_noise_full(a, b, gain), 0.0)
    return Solution(gain, snr, converged, iterations)


def _signal_to_noise_full(a: np.ndarray, b: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """The length of a Jones matrix's row over the error of one element, of the worse receptor.

    As `_signal_to_noise`, with r_pq = A_pq / B_pq - J_p J_q^H and the information of an element
    sum_q B_pq |J_q|^2 / 2.
    """
    used = b > 0
    average = np.divide(a, b[..., None, None], out=np.zeros_like(a), where=used[..., None, None])
    product = np.einsum("...pxz,...qyz->...pqxy", gain, np.conj(gain))
    free = 4 * _redundancy(used)
    square = np.sum(np.abs(average - product) ** 2, axis=(-1, -2))
    noise = (b * square).sum(axis=(-1, -2)) / 2 / free
    power = np.sum(np.abs(gain) ** 2, axis=(-1, -2)) / 2
    information = (b * power[..., None, :]).sum(axis=-1)
    error = np.sqrt(noise[..., None] / np.where(information > 0, information, np.inf))
    row = np.sqrt(np.sum(np.abs(gain) ** 2, axis=-1)).min(axis=-1)
    return row / np.maximum(error, 1e-12)


def _redundancy(used: np.ndarray) -> np.ndarray:
    """How many baselines more there are than gains that are fitted to them (...), at least 1.

    `used` (..., ant, ant): an antenna without data has neither.
    """
    return np.maximum(used.sum(axis=(-1, -2)) / 2 - used.any(axis=-1).sum(axis=-1), 1.0)


def _solve_scalar(
    a: np.ndarray, b: np.ndarray, mode: str, start: np.ndarray | None, tolerance: float,
    max_iterations: int, free_amplitude: bool,
) -> Solution:
    """One gain of each antenna (time block, channel block, ant)."""
    gain = np.ones(b.shape[:-1], complex)
    if start is not None:
        gain = np.where(np.isfinite(start), start, 1.0).astype(complex)
    iterations = np.zeros(a.shape[:2], np.int64)
    converged = np.zeros(a.shape[:2], np.bool_)
    _solve_all(np.ascontiguousarray(a), np.ascontiguousarray(b), gain, mode == "phase", tolerance,
               max_iterations, iterations, converged)
    has_data = b.sum(axis=-1) > 0
    gain = np.where(has_data, gain, 1.0)
    if mode == "phase" and free_amplitude:
        snr = _solve_scalar(a, b, "amplitude_phase", gain, tolerance, max_iterations, False).snr
    else:
        snr = np.where(has_data, _signal_to_noise(a, b, gain), 0.0)
    return Solution(gain, snr, converged, iterations)


def _signal_to_noise(a: np.ndarray, b: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """|g_p| over its error, (time block, channel block, ant); block by block, to save memory."""
    return np.stack([_signal_to_noise_at(*block) for block in zip(a, b, gain, strict=True)])


def _signal_to_noise_at(a: np.ndarray, b: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """That of one time block, (channel block, ant).

    With r_pq = A_pq / B_pq - g_p conj(g_q) the noise per unit weight is s^2 = mean of B |r|^2,
    corrected for the fitted gains, and the error of g_p is s / sqrt(sum_q B_pq |g_q|^2).
    """
    used = b > 0
    average = np.divide(a, b, out=np.zeros_like(a), where=used)
    r = average - gain[..., :, None] * np.conj(gain[..., None, :])
    noise = (b * np.abs(r) ** 2).sum(axis=(-1, -2)) / 2 / _redundancy(used)
    information = (b * np.abs(gain[..., None, :]) ** 2).sum(axis=-1)
    error = np.sqrt(noise[..., None] / np.where(information > 0, information, np.inf))
    return np.abs(gain) / np.maximum(error, 1e-12)
