"""Robust weights: samples that the model does not explain count less in a solution.

Residuals are taken to follow Student's t distribution with nu degrees of freedom instead of the
normal one (Kazemi & Yatawatta 2013, MNRAS 435, 597). A sample of d real numbers and squared
residual delta, in units of its variance, then has the weight

    u = (nu + d) / (nu + delta),

and gains, the scale of the variances and nu are found in turn (expectation and conditional
maximisation: Lange, Little & Taylor 1989, JASA 84, 881). nu lies between 2, where outliers are all
but left out, and 30, which is nearly normal.

The normal matrices of `arl.calibration.normal` are sums over many samples, so they are made again
in each turn: one pass over the visibilities that are at hand, without another prediction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numba import njit

from arl.calibration import chain
from arl.calibration.apply import combine_gains

MOST_DEGREES, LEAST_DEGREES = 30.0, 2.0
#: Turns at most; fewer where the weights change by less than CHANGE on average.
TURNS, CHANGE = 8, 0.01
#: nu and the scale are found from so many samples.
SAMPLES = 50_000
OPTIONS = chain.SolverOptions(tolerance=1e-4, max_iterations=50)


@njit(nogil=True, cache=True)
def _squares(vis, model, weight, antenna1, antenna2, gain, out):  # pragma: no cover - compiled
    for t in range(vis.shape[0]):
        for k in range(vis.shape[1]):
            p, q = antenna1[k], antenna2[k]
            for c in range(vis.shape[2]):
                w = weight[t, k, c]
                if w > 0:
                    r = vis[t, k, c] - gain[t, p, c] * model[t, k, c] * np.conj(gain[t, q, c])
                    out[t, k, c] = w * (r.real * r.real + r.imag * r.imag)


@njit(nogil=True, cache=True)
def _squares_jones(vis, model, weight, antenna1, antenna2, gain, out):
    # pragma: no cover - compiled
    for t in range(vis.shape[0]):
        for k in range(vis.shape[1]):
            p, q = antenna1[k], antenna2[k]
            for c in range(vis.shape[2]):
                w = weight[t, k, c]
                if w > 0:
                    m, total = model[t, k, c], 0.0
                    for x in range(2):
                        for y in range(2):
                            r = vis[t, k, c, x, y]
                            for z in range(2):
                                r -= gain[t, p, c, x, z] * m * np.conj(gain[t, q, c, y, z])
                            total += r.real * r.real + r.imag * r.imag
                    out[t, k, c] = w * total


def squared_residuals(
    vis: np.ndarray, model: np.ndarray, weight: np.ndarray, antenna1: np.ndarray,
    antenna2: np.ndarray, gain: np.ndarray,
) -> np.ndarray:
    """w |V - g_p M conj(g_q)|^2, or w |V - J_p M J_q^H|^2 (Frobenius), (time, baseline, chan).

    vis: (time, baseline, chan), or (..., 2, 2); model, weight: (time, baseline, chan); gain: (time,
    ant, chan), or (..., 2, 2). 0 where the weight is.
    """
    out = np.zeros(weight.shape)
    kernel = _squares if vis.ndim == 3 else _squares_jones
    kernel(vis, model, weight, antenna1, antenna2, gain, out)
    return out


def student_weights(square: np.ndarray, size: int) -> np.ndarray:
    """The weights u of samples of any shape, and of variances that are not known.

    The scale of the variances and nu come from at most SAMPLES of them, taken evenly.

    Parameters
    ----------
    square: squared residuals times weight, in any unit; 0 is one that fits exactly.
    size: d, how many real numbers a sample is.
    """
    from scipy.special import chdtri

    some = square.ravel()[::-(-square.size // SAMPLES)]
    scale, nu = float(np.median(some)) / chdtri(size, 0.5), LEAST_DEGREES
    if scale <= 0:  # half of the samples fit exactly: no noise to measure others by
        return np.ones_like(square)
    for _ in range(TURNS):
        before, nu = nu, degrees_of_freedom(some / scale, size)
        scale *= float(np.mean((nu + size) / (nu + some / scale) * some / scale)) / size
        if abs(nu - before) < CHANGE * nu:
            break
    return (nu + size) / (nu + square / scale)


def degrees_of_freedom(delta: np.ndarray, size: int) -> float:
    """The most likely nu of squared residuals in units of their variance, within its bounds.

    The root of the derivative of the likelihood (Liu & Rubin 1995, Statistica Sinica 5, 19).
    """
    # every worker imports this module, and few runs ask for robust weights
    from scipy.optimize import brentq
    from scipy.special import digamma

    def slope(nu: float) -> float:
        u = (nu + size) / (nu + delta)
        half = (nu + size) / 2
        return float(np.log(nu / 2) - digamma(nu / 2) + digamma(half) - np.log(half)
                     + 1 + np.mean(np.log(u) - u))

    if slope(LEAST_DEGREES) <= 0:
        return LEAST_DEGREES
    if slope(MOST_DEGREES) >= 0:
        return MOST_DEGREES
    return float(brentq(slope, LEAST_DEGREES, MOST_DEGREES, xtol=CHANGE))


def reweigh(
    vis: np.ndarray, model: np.ndarray, weight: np.ndarray, antenna1: np.ndarray,
    antenna2: np.ndarray, n_antenna: int, terms: Sequence[chain.TermBlocks],
    start: Mapping[str, np.ndarray],
) -> np.ndarray:
    """Weights (time, baseline, chan) times Student's, from a solution of these samples alone.

    Terms whose intervals reach beyond these samples are solved on what is here: good enough to
    tell outliers by.

    Parameters
    ----------
    vis, model, weight: as in `squared_residuals`. terms, start: as in `chain.solve_chain`.
    """
    used, robust, u = weight > 0, weight, np.ones(int((weight > 0).sum()))
    products = int(np.count_nonzero(vis.reshape(-1, *vis.shape[3:]).any(axis=0)))
    gains = dict(start)
    for _ in range(TURNS if used.any() else 0):
        matrices = chain.reduce_terms(vis, model, robust, antenna1, antenna2, n_antenna, terms)
        solved, _ = chain.solve_chain(matrices, terms, gains, lambda term, s: s.gain, OPTIONS)
        gains = {name: solution.gain for name, solution in solved.items()}
        whole = np.nan_to_num(combine_gains([chain.expand(solved[t.name], t) for t in terms]))
        square = squared_residuals(vis, model, weight, antenna1, antenna2, whole)
        new = student_weights(square[used], 2 * max(1, products))
        change, u = float(np.mean(np.abs(new - u))), new
        robust = weight.copy()
        robust[used] *= u.astype(weight.dtype)
        if change < CHANGE:
            break
    return robust
