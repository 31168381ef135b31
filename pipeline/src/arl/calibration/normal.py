"""Reduce visibilities to the normal matrices from which gains are solved.

A_pq = sum w V_pq conj(M_pq) and B_pq = sum w |M_pq|^2 over a solution interval: all that the
least-squares solution for gains constant over the interval depends on. Where V are the four
correlations of two receptors (2 x 2 matrices) and M the visibilities of an unpolarised sky (M times
the unit matrix), A_pq is a 2 x 2 matrix and B_pq the same number as before.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def _accumulate(vis, model, weight, antenna1, antenna2, time_block, channel_block, a, b):
    # pragma: no cover - compiled
    for t in range(vis.shape[0]):
        for k in range(vis.shape[1]):
            p, q = antenna1[k], antenna2[k]
            if p == q:
                continue
            for c in range(vis.shape[2]):
                w = weight[t, k, c]
                if w > 0:
                    m = model[t, k, c]
                    value = w * vis[t, k, c] * np.conj(m)
                    power = w * (m.real * m.real + m.imag * m.imag)
                    i, j = time_block[t], channel_block[c]
                    a[i, j, p, q] += value
                    a[i, j, q, p] += np.conj(value)
                    b[i, j, p, q] += power
                    b[i, j, q, p] += power


@njit(nogil=True, cache=True)
def _accumulate_jones(vis, model, weight, antenna1, antenna2, time_block, channel_block, a, b):
    # pragma: no cover - compiled
    for t in range(vis.shape[0]):
        for k in range(vis.shape[1]):
            p, q = antenna1[k], antenna2[k]
            if p == q:
                continue
            for c in range(vis.shape[2]):
                w = weight[t, k, c]
                if w > 0:
                    m = model[t, k, c]
                    power = w * (m.real * m.real + m.imag * m.imag)
                    i, j = time_block[t], channel_block[c]
                    b[i, j, p, q] += power
                    b[i, j, q, p] += power
                    for x in range(2):
                        for y in range(2):
                            value = w * vis[t, k, c, x, y] * np.conj(m)
                            a[i, j, p, q, x, y] += value
                            a[i, j, q, p, y, x] += np.conj(value)


def reduce(
    vis: np.ndarray,
    model: np.ndarray,
    weight: np.ndarray,
    antenna1: np.ndarray,
    antenna2: np.ndarray,
    n_antenna: int,
    time_block: np.ndarray,
    channel_block: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The matrices A (Hermitian, complex128) and B (symmetric, float64).

    Parameters
    ----------
    vis: complex64 (time, baseline, chan), or (time, baseline, chan, 2, 2) of two receptors.
    model: complex64 (time, baseline, chan). weight: float32, the same shape.
    time_block (time,), channel_block (chan,): the solution interval of each sample.

    Returns
    -------
    A and B, both of shape (time block, channel block, ant, ant), A with another (2, 2) where `vis`
    has it. Autocorrelations are left out.
    """
    shape = (int(time_block.max()) + 1, int(channel_block.max()) + 1, n_antenna, n_antenna)
    a, b = np.zeros((*shape, *vis.shape[3:]), np.complex128), np.zeros(shape)
    accumulate = _accumulate if vis.ndim == 3 else _accumulate_jones
    accumulate(
        vis.astype(np.complex64, copy=False), model.astype(np.complex64, copy=False),
        weight.astype(np.float32, copy=False), antenna1.astype(np.int64),
        antenna2.astype(np.int64), time_block.astype(np.int64), channel_block.astype(np.int64),
        a, b,
    )
    return a, b
