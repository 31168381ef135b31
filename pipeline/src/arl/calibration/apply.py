"""Correct visibilities for gains."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
from numba import njit


def correct(
    vis: np.ndarray,
    weight: np.ndarray,
    gains: np.ndarray,
    antenna1: np.ndarray,
    antenna2: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """V / (g_p conj(g_q)) and w |g_p|^2 |g_q|^2, so that w |V - gMg|^2 stays what it was.

    vis, weight: (time, baseline, chan); gains: (time, ant, chan). A gain that is not finite or
    is zero flags its visibilities: both vis and weight become 0.
    """
    usable = np.isfinite(gains) & (gains != 0)
    inverse = np.divide(1.0, gains, out=np.zeros_like(gains), where=usable).astype(vis.dtype)
    power = np.where(usable, np.abs(gains) ** 2, 0.0).astype(weight.dtype)
    corrected, new_weight = np.empty_like(vis), np.empty_like(weight)
    _correct(vis, weight, inverse, power, antenna1, antenna2, corrected, new_weight)
    return corrected, new_weight


@njit(nogil=True, cache=True)
def _correct(vis, weight, inverse, power, antenna1, antenna2, corrected, new_weight):
    # pragma: no cover - compiled
    for t in range(vis.shape[0]):
        for k in range(vis.shape[1]):
            p, q = antenna1[k], antenna2[k]
            for c in range(vis.shape[2]):
                corrected[t, k, c] = vis[t, k, c] * inverse[t, p, c] * np.conj(inverse[t, q, c])
                new_weight[t, k, c] = weight[t, k, c] * power[t, p, c] * power[t, q, c]


def combine_gains(gains: Sequence[np.ndarray]) -> np.ndarray:
    """The product of several terms' gains (time, ant, chan), or matrices (time, ant, chan, 2, 2).

    The first is the one nearest to the receiver: it is solved on the data as they are.
    """
    return reduce(np.matmul if gains[0].ndim == 5 else np.multiply, gains)


def invert_jones(jones: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inverses of matrices (..., 2, 2), zero where they have none, and |det| (...), zero there."""
    finite = np.isfinite(jones).all(axis=(-1, -2))
    matrix = np.where(finite[..., None, None], jones, 0.0)
    (a, b), (c, d) = np.moveaxis(matrix, (-2, -1), (0, 1))
    det = a * d - b * c
    usable = np.abs(det) > 1e-14 * np.sum(np.abs(matrix) ** 2, axis=(-1, -2))
    factor = np.divide(1.0, det, out=np.zeros_like(det), where=usable)
    adjugate = np.stack([np.stack([d, -b], axis=-1), np.stack([-c, a], axis=-1)], axis=-2)
    return adjugate * factor[..., None, None], np.where(usable, np.abs(det), 0.0)


def correct_jones(
    vis: np.ndarray,
    weight: np.ndarray,
    jones: np.ndarray,
    antenna1: np.ndarray,
    antenna2: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """J_p^-1 V J_q^-H, and the weight of its Stokes I.

    With I = (V_00 + V_11) / 2 = tr(J_p^-1 V J_q^-H) / 2 and the same noise in the four
    correlations, the variance of I is |J_q^-H J_p^-1|^2 / 4 of theirs (Frobenius norm), and that of
    uncorrected data 1 / 2: so the weight is multiplied by 2 / |J_q^-H J_p^-1|^2.

    vis: (time, baseline, chan, 2, 2); weight: of Stokes I, (time, baseline, chan); jones: (time,
    ant, chan, 2, 2). One that is not finite or has no inverse flags its visibilities: both vis and
    weight become 0.
    """
    inverse, _ = invert_jones(jones)
    left = inverse[:, antenna1].astype(vis.dtype)
    right = np.conj(np.swapaxes(inverse, -1, -2))[:, antenna2].astype(vis.dtype)
    norm = np.sum(np.abs(right @ left) ** 2, axis=(-1, -2))
    factor = np.divide(2.0, norm, out=np.zeros_like(norm), where=norm > 0)
    return left @ vis @ right, (weight * factor).astype(weight.dtype)


def correct_weights(
    weight: np.ndarray, jones: np.ndarray, antenna1: np.ndarray, antenna2: np.ndarray
) -> np.ndarray:
    """The weight of each correlation of J_p^-1 V J_q^-H, whose noise is independent in V.

    The variance of V'_ij is sum_kl |(J_p^-1)_ik|^2 |(J_q^-1)_jl|^2 / w_kl; with diagonal matrices
    w'_ij is w_ij |J_p,ii|^2 |J_q,jj|^2. How corrected correlations covary it does not tell.

    weight: (time, baseline, chan, 2, 2), where flagged 0 in all; of parallel hands alone, whose
    gains are diagonal, the others are 0. jones and what flags as in `correct_jones`.
    """
    power = (np.abs(invert_jones(jones)[0]) ** 2).astype(weight.dtype)
    variance = np.divide(1.0, weight, out=np.zeros_like(weight), where=weight > 0)
    variance = power[:, antenna1] @ variance @ np.swapaxes(power, -1, -2)[:, antenna2]
    return np.divide(1.0, variance, out=np.zeros_like(variance), where=variance > 0)
